"""The machine under the figures, and how busy it was."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

# Load a core that other work may cause before the figures are not worth keeping.
BUSY = 0.25


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a figure depends on. `load_before` is the load average over 1, 5 and 15 minutes when the run began."""

    cpu: str
    cores: int
    memory_gib: float
    gpus: tuple[str, ...]
    python: str
    torch: str
    threads: int
    load_before: tuple[float, float, float]

    @classmethod
    def here(cls) -> Machine:
        """This one, now."""
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return cls(
            cpu=_cpu(),
            cores=len(os.sched_getaffinity(0)),
            memory_gib=psutil.virtual_memory().total / 2**30,
            gpus=tuple(torch.cuda.get_device_name(index) for index in range(count)),
            python=platform.python_version(),
            torch=torch.__version__,
            threads=torch.get_num_threads(),
            load_before=os.getloadavg(),
        )

    @property
    def busy(self) -> bool:
        """Whether other work was running."""
        return self.load_before[0] > BUSY * self.cores

    def lines(self) -> str:
        """Two lines for a person; the second has the load before and now."""
        gpu = ", ".join(self.gpus) or "no GPU"
        before, now = (", ".join(f"{value:.2f}" for value in load) for load in (self.load_before, os.getloadavg()))
        warning = " **Other work was running: do not keep these figures.**" if self.busy else ""
        return (
            f"{self.cpu}, {self.cores} cores, {self.memory_gib:.0f} GiB, {gpu}; Python {self.python}, torch "
            f"{self.torch}; {self.threads} thread{'s' if self.threads > 1 else ''}.\n"
            f"Load average (1, 5, 15 minutes) before: {before}; after: {now}.{warning}"
        )


def _cpu() -> str:
    """The processor's name, as the kernel reports it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
