"""What a training was made from, as one artifact of its run: enough to do it again (`mer reproduce`).

Beside the commit these are the two files that a run changes and that are committed after it, if ever: `params.yaml`, as
the training read it, and `dvc.lock`, which names the data. Software and hardware are recorded because sums of floats
may differ with them.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.contracts.layout import Layout
from components.contracts.lineage import UNKNOWN, changed_files, commit_of
from components.contracts.requirements import pinned_requirements

ORIGIN = "made_from.json"
CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a training was made from.

    Attributes:
        commit: of the project; "unknown" outside a Git repository.
        changed: files under Git that differed from it, relative to the project, without `dvc.lock`.
        params, dvc_lock: the texts of `params.yaml` and `dvc.lock`.
        data_sha256: of the catalog.
        software: Python, the system and the packages that the project names, by name.
        hardware: processor, vector instructions and GPUs of the process that started the training.
    """

    commit: str
    changed: tuple[str, ...]
    params: str
    dvc_lock: str
    data_sha256: str
    software: Mapping[str, str]
    hardware: Mapping[str, str]

    @classmethod
    def of_project(cls, root: Path, *, data_sha256: str) -> Origin:
        """Of a training that begins now in this process."""
        return cls(
            commit=commit_of(root),
            changed=changed_files(root),
            params=_text(Layout(root).params),
            dvc_lock=_text(root / "dvc.lock"),
            data_sha256=data_sha256,
            software=software(),
            hardware=hardware(),
        )

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {**asdict(self), "changed": list(self.changed)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Origin:
        """From the value of `to_json`. Raises TypeError or KeyError when it is not one."""
        return cls(**{**value, "changed": tuple(value["changed"])})


def software() -> dict[str, str]:
    """The versions with which this process computes."""
    packages = dict(pinned.split("==", 1) for pinned in pinned_requirements())
    return {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}", **packages}


def hardware() -> dict[str, str]:
    """What this process computes on."""
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "processor": _processor(),
        "vector instructions": torch.backends.cpu.get_cpu_capability(),
        "GPUs": ", ".join(gpus) or "none",
    }


def _processor() -> str:
    lines = _text(CPU_INFO).splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or UNKNOWN)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
