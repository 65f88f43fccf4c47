"""What every stage command shares: find the project, read the configuration, do the work, record its time.

What a stage does is defined in the table, `pipelines/stages.py`. The records go to `.mer/timings/`, from where
`mer run` reads them for its summary; they hold times and are therefore never below `data/`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.contracts.atomic import read_json, write_json
from components.contracts.config import Params
from components.contracts.errors import ConfigError, MerError, nearest
from components.contracts.layout import Layout
from pipelines.project import find_root, load, refusals_named
from pipelines.quiet import quiet_libraries
from pipelines.stages import call_stage
from pipelines.start import INTERRUPTED

RUN_ID_VARIABLE = "MER_RUN_ID"
# `runtime.profile_steps` of one run, whatever `params.yaml` has.
PROFILE_VARIABLE = "MER_PROFILE_STEPS"

Summary = dict[str, Any]
Work = Callable[[Params, Layout], Mapping[str, Any] | None]

# Sums of floats depend on the number of threads that compute them. One thread per process gives the same
# bytes on every machine and through every runner; parallelism comes from Ray's processes.
THREADS = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def one_thread() -> None:
    """Limits this process to one thread of arithmetic unless the environment sets a number; call it before importing
    torch."""
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The outcome of one stage: `seconds` of wall clock, the exit code, the first line of its error, if any, and the
    plain values of its summary, those one level down as `name.inner`."""

    stage: str
    seconds: float
    exit_code: int
    error: str | None
    run_id: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def address(stage: str, item: str | None = None) -> str:
    """A stage's name in `dvc.yaml`: `train`, or `features@ravdess` for one of a `foreach`."""
    return stage if item is None else f"{stage}@{item}"


def run(name: str, dataset: str | None = None) -> Summary:
    """Runs a stage of the table, for one dataset of `params.yaml` if it runs once per dataset; see `run_stage`."""
    return run_stage(name, lambda params, layout: call_stage(name, params, layout, dataset), item=dataset)


def run_stage(stage: str, work: Work, *, item: str | None = None, root: Path | None = None) -> Summary:
    """Runs one stage in this process and prints a line about it.

    Args:
        stage: the stage's name.
        work: takes the configuration and the layout, writes the stage's outputs, returns a small summary.
        item: the dataset, for the stages that run once per dataset.
        root: the project; found from the current folder when left out.

    Raises:
        MerError: any error of the work; the timing is recorded all the same.
    """
    one_thread()
    quiet_libraries()
    layout = Layout(root or find_root())
    name = address(stage, item)
    begin = time.monotonic()
    exit_code, complaint = 1, None
    summary: Summary = {}
    try:
        params = _for_this_run(load(layout.root))
        if item is not None:
            _check_dataset(item, params)
        with refusals_named(layout.root):
            summary = dict(work(params, layout) or {})
        exit_code = 0
    except MerError as error:
        exit_code, complaint = error.exit_code, str(error)
        raise
    except KeyboardInterrupt:
        exit_code, complaint = INTERRUPTED, "interrupted"
        raise
    except Exception as error:
        complaint = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        raise
    finally:
        timing = Timing(
            stage=name,
            seconds=time.monotonic() - begin,
            exit_code=exit_code,
            error=complaint,
            run_id=os.environ.get(RUN_ID_VARIABLE, ""),
            facts=_facts(summary),
        )
        write_json(timings_folder(layout) / f"{name}.json", asdict(timing))
    print(f"{name}: {_line(summary)} ({timing.seconds:.1f} s)", file=sys.stderr)
    return summary


def timings_folder(layout: Layout) -> Path:
    """The folder with the record of each stage's last execution."""
    return layout.state / "timings"


def timings(layout: Layout, run_id: str) -> list[Timing]:
    """The records of one `mer run`, in order of name."""
    recorded = [Timing(**read_json(path)) for path in sorted(timings_folder(layout).glob("*.json"))]
    return [timing for timing in recorded if timing.run_id == run_id]


def last_facts(layout: Layout, name: str) -> Mapping[str, Any]:
    """The plain values of the summary of a stage's last execution; empty if it never ran here."""
    path = timings_folder(layout) / f"{name}.json"
    return dict(read_json(path).get("facts", {})) if path.is_file() else {}


def _for_this_run(params: Params) -> Params:
    steps = os.environ.get(PROFILE_VARIABLE)
    if steps is None:
        return params
    return params.model_copy(update={"runtime": params.runtime.model_copy(update={"profile_steps": int(steps)})})


def _check_dataset(name: str, params: Params) -> None:
    if name not in params.datasets:
        raise ConfigError(
            "this dataset is not in use",
            where="params.yaml: datasets",
            seen=name,
            allowed=", ".join(params.datasets),
            remedy=nearest(name, params.datasets) or "Add it to `datasets` first",
        )


def _plain(summary: Summary) -> Summary:
    return {key: value for key, value in summary.items() if isinstance(value, (str, int, float, bool))}


def _facts(summary: Summary) -> Summary:
    inner = {
        f"{name}.{key}": value
        for name, values in summary.items()
        if isinstance(values, Mapping)
        for key, value in _plain(dict(values)).items()
    }
    return {**_plain(summary), **inner}


def _line(summary: Summary) -> str:
    shown = [
        f"{key.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else f"{key.replace('_', ' ')} {value}"
        for key, value in _plain(summary).items()
        if len(str(value)) <= 40
    ]
    return ", ".join(shown[:8]) or "done"
