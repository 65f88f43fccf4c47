"""The printed summary of `mer run`: the plan before the work, results and times after it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from components.contracts.atomic import read_json
from components.contracts.config import MODALITIES, Params
from components.contracts.errors import MerError
from components.contracts.findings import comparison_in_words, split_in_words
from components.contracts.layout import Layout
from components.tracking.address import exists, tracking_uri
from components.tracking.versions import version_info
from pipelines.commands.versions.gates import comparison_line
from pipelines.memory import BYTES_PER_GIB
from pipelines.served import bundle_people, served_line
from pipelines.stage import Timing, last_facts

# Key in metrics.json → heading and whether its interval is shown; so the table fits 80 columns.
FIGURES = {"macro_f1": ("macro-F1", True), "accuracy": ("accuracy", True), "ece": ("ECE", False)}


def print_plan(scope: Sequence[str], pending: Sequence[str], reasons: Mapping[str, Sequence[str]]) -> None:
    """Prints the stages to run, and why the first of them changed."""
    print(f"{len(pending)} of {len(scope)} stages to bring up to date: {', '.join(pending)}", file=sys.stderr)
    if len(reasons) < len(pending):  # a first run, where everything is new, needs no reasons
        for name in pending:
            if name in reasons:
                print(f"  {name}: {'; '.join(reasons[name])}", file=sys.stderr)


def print_results(layout: Layout, params: Params, console: Console | None = None) -> None:
    """The table of figures per modality subset, and where to look next. Missing outputs are skipped."""
    console = console or Console()
    metrics = layout.evaluated / "metrics.json"
    if metrics.is_file():
        table = figures(read_json(metrics), params.evaluate.confidence)
        if table is not None:
            console.print(table)
        for words in (split_in_words(read_json(metrics)), comparison_in_words(read_json(metrics))):
            if words:
                console.print(words, soft_wrap=True, highlight=False)
    for line in pointers(layout, params):
        console.print(line, soft_wrap=True, highlight=False)


def figures(metrics: Mapping[str, Any], confidence: float) -> Table | None:
    """The test split's figures, one row per subset of modalities; None when the evaluation wrote none.

    Args:
        metrics: `data/evaluated/metrics.json`.
        confidence: of the intervals, as a share.
    """
    subsets = metrics.get("subsets")
    if not subsets:
        return None
    table = Table(
        title=f"Held-out subjects, {metrics.get('level', 'clip')} level, {confidence:.0%} intervals over subjects",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("modalities present", no_wrap=True)
    for heading, _ in FIGURES.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for name in sorted(subsets, key=_most_modalities_first):
        table.add_row(name, *_row(subsets[name]))
    baselines = metrics.get("baselines", {})
    if baselines:
        table.add_section()
    for name, scores in baselines.items():
        table.add_row(f"({name.replace('_', ' ')})", *_row(scores))
    return table


def pointers(layout: Layout, params: Params) -> list[str]:
    """Where to look next: the version that was registered, the report, the data docs, the commands."""
    lines = []
    registered = layout.registered / "registered.json"
    if registered.is_file():
        facts = read_json(registered)
        verdict = "gates passed" if facts["gates_passed"] else "gates not passed"
        version = _version(layout, facts["bundle_sha256"])
        lines.append(f"Registered  {facts['model_name']}{version}, bundle {facts['bundle_sha256'][:12]}, {verdict}")
        lines.append(f"            {bundle_people(layout.state / 'bundles' / facts['bundle_sha256'])}")
        lines.append(f"Served      {_served(layout, params)}")
        if compared := _compared(layout, params):
            lines.append(f"Against     {compared}")
    pages = {"Report": layout.evaluated / "report.html", "Data Docs": layout.data_docs / "index.html"}
    for name, page in pages.items():
        if page.is_file():
            lines.append(f"{name:<11} {page.relative_to(layout.root).as_posix()}")
    if unused := unused_datasets(layout, params):
        lines.append(f"Not in use  {', '.join(unused)}: no longer in `datasets`; kept in data/*/ until you delete them")
    lines.append(f"MLflow      `make serve` opens the UI, experiment {params.tracking.experiment!r}")
    lines.append("Try it      `mer predict CLIP.mp4`")
    return lines


def _served(layout: Layout, params: Params) -> str:
    """The version that answers, which is often not the one that was registered."""
    uri = tracking_uri(params.tracking, layout.root)
    try:
        served = served_line(params, layout, uri=uri) if exists(uri) else None
    except MerError as error:
        return f"not known: {error.what}"
    return served or f"nothing until a version has the alias {params.rollout.alias!r}"


def _compared(layout: Layout, params: Params) -> str | None:
    """The last comparison of the registered version with the champion."""
    facts, uri = last_facts(layout, "register"), tracking_uri(params.tracking, layout.root)
    try:
        known = "version" in facts and exists(uri)
        info = version_info(params.registry.model_name, str(facts["version"]), tracking_uri=uri) if known else None
    except MerError:
        return None
    return None if info is None else comparison_line(info)


def unused_datasets(layout: Layout, params: Params) -> list[str]:
    """Datasets that have outputs and are not in `datasets`: no stage reads them, and they are deleted only by hand."""
    stages = (layout.dataset, layout.aligned, layout.features, layout.validated)
    parents = {stage("any").parent for stage in stages}
    stored = {path.name for parent in parents if parent.is_dir() for path in parent.iterdir() if path.is_dir()}
    return sorted(name for name in stored - set(params.datasets) if not name.startswith("."))


def print_timings(
    scope: Sequence[str], done: Sequence[Timing], *, seconds: float, peak_bytes: int, console: Console | None = None
) -> None:
    """How long each stage took; a stage in scope that did not run was unchanged."""
    console = console or Console()
    took = {timing.stage: timing.seconds for timing in done}
    table = Table(title="Stages", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("stage")
    table.add_column("time", justify="right")
    for name in scope:
        table.add_row(name, f"{took[name]:.1f} s" if name in took else "unchanged")
    table.add_section()
    table.add_row("whole run", f"{seconds:.1f} s")
    console.print(table)
    console.print(f"Peak memory over all processes: {peak_bytes / BYTES_PER_GIB:.1f} GiB", highlight=False)


def _most_modalities_first(subset: str) -> tuple[int, list[int]]:
    names = subset.split("+")
    order = [MODALITIES.index(name) if name in MODALITIES else len(MODALITIES) for name in names]
    return -len(names), order


def _is_figure(value: Any) -> bool:
    return isinstance(value, Mapping) and {"value", "low", "high"} <= set(value)


def _row(scores: Mapping[str, Any]) -> list[str]:
    return [_figure(scores.get(key), interval=interval) for key, (_, interval) in FIGURES.items()]


def _figure(value: Any, *, interval: bool) -> str:
    if not _is_figure(value) or value["value"] is None:
        return "–"
    if not interval or value["low"] is None or value["high"] is None:
        return f"{value['value']:.3f}"
    return f"{value['value']:.3f} \\[{value['low']:.2f}, {value['high']:.2f}]"


def _version(layout: Layout, bundle_sha256: str) -> str:
    """The registered version's number. It is not part of the data, so it comes from the stage's last record."""
    facts = last_facts(layout, "register")
    return f" version {facts['version']}" if facts.get("bundle_sha256") == bundle_sha256 and "version" in facts else ""
