"""An ablation as files: the table as JSON, CSV, Markdown and one HTML page with its picture, and every answer."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.ablation.answers import ALL
from components.ablation.figures import HEADLINE, MISSING, Items, TableRow
from components.ablation.folds import Fold
from components.ablation.forest import forest
from components.ablation.heatmap import heat_map
from components.ablation.transfer import Transfer
from components.ablation.transfer import to_markdown as transfer_tables
from components.contracts.atomic import atomic_dir, write_json, write_table
from components.contracts.config import Evaluate
from components.evaluation.pages.report import notes_for
from components.runtime.pages.templates import render as render_template

TEMPLATE = Path(__file__).parent / "report.html.j2"
PREDICTIONS_SCHEMA = pa.schema(
    [
        pa.field("row", pa.string(), nullable=False),
        pa.field("seed", pa.int32(), nullable=False),
        pa.field("fold", pa.string(), nullable=False),
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("subject_id", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("answer", pa.string(), nullable=False),
        pa.field("posterior", pa.list_(pa.float32()), nullable=False),
    ]
)
CSV_FIGURES = (HEADLINE, "accuracy", "uar", "ece", "nll", MISSING)


@dataclass(frozen=True, kw_only=True)
class Report:
    """The results of an ablation.

    Attributes:
        name: of its folder; datasets, classes, level ("clip" or "step"), folds, seeds, config: the comparison.
        rows, items, clips: the answers themselves, their people and labels, and the clip of each item.
        table: one entry per row, see `ablation.table`; steps: the same at the level of steps where both are labelled.
        details: by class and by group, of the default and of the best.
        chosen: the variant that each fold's calibration split chose.
        transfer: which dataset's model carries over to which, with folds by dataset.
        verdict: see `ablation.verdict`; failed: variant → the reason why it could not be compared.
    """

    name: str
    datasets: tuple[str, ...]
    classes: tuple[str, ...]
    level: str
    folds: tuple[Fold, ...]
    seeds: int
    config: Evaluate
    rows: tuple[TableRow, ...]
    items: Items
    clips: tuple[str, ...]
    table: list[dict[str, Any]]
    steps: list[dict[str, Any]] | None
    details: dict[str, Any]
    chosen: tuple[str, ...]
    verdict: dict[str, Any]
    failed: dict[str, str]
    transfer: Transfer | None = None

    def to_json(self) -> dict[str, Any]:
        """Everything but the single answers."""
        return {
            "name": self.name,
            "datasets": list(self.datasets),
            "level": self.level,
            "items": int(self.items.truth.size),
            "people": len(self.items.subjects.names),
            "folds": [{"name": fold.name, "unlearned": list(fold.unlearned)} for fold in self.folds],
            "seeds": self.seeds,
            "draws": self.config.bootstrap,
            "confidence": self.config.confidence,
            "rows": self.table,
            "steps": self.steps,
            "details": self.details,
            "chosen": dict(zip((fold.name for fold in self.folds), self.chosen, strict=True)),
            "verdict": self.verdict,
            "failed": self.failed,
            **({} if self.transfer is None else {"transfer": self.transfer.to_json()}),
        }


def write_report(folder: Path, report: Report) -> None:
    """Writes `table.json`, `table.csv`, `table.md`, `predictions.parquet`, `forest.png` and `report.html`, and with
    folds by dataset `transfer.png`; the folder appears whole or not at all."""
    picture = forest(report.table, confidence=report.config.confidence)
    heat = None if report.transfer is None else heat_map(report.transfer)
    with atomic_dir(folder) as beside:
        write_json(beside / "table.json", report.to_json())
        (beside / "table.csv").write_text(to_csv(report), encoding="utf-8")
        (beside / "table.md").write_text(to_markdown(report), encoding="utf-8")
        write_table(beside / "predictions.parquet", predictions(report))
        (beside / "forest.png").write_bytes(picture)
        if heat is not None:
            (beside / "transfer.png").write_bytes(heat)
        (beside / "report.html").write_text(render(report, picture, heat), encoding="utf-8")


def to_markdown(report: Report) -> str:
    """The table as Markdown, and the verdict in words."""
    people, items = len(report.items.subjects.names), report.items.truth.size
    missing = any(MISSING in row["figures"] for row in report.table)
    heads = ["variant", "macro-F1", "minus default", "accuracy", "UAR", "ECE", "NLL", "± seeds"]
    heads += ["a modality missing"] if missing else []
    lines = [
        f"{', '.join(report.datasets)}: {items:,} {report.level}s of {people} people, {len(report.folds)} folds, "
        f"seeds: {report.seeds}. Brackets: {report.config.confidence:.0%} intervals over people.",
        "",
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
    ]
    for row in report.table:
        own = row["figures"]
        cells = [
            f"{row['name']}{_same(row)}",
            figure(own[HEADLINE]),
            figure(row["minus_default"].get(HEADLINE), signed=True),
            *(figure(own[name], interval=False) for name in ("accuracy", "uar", "ece", "nll")),
            number(own[HEADLINE]["seed_sd"]),
        ]
        cells += [figure(own.get(MISSING), interval=False)] if missing else []
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", report.verdict["words"]]
    lines += [f"Not compared: {name}: {reason}" for name, reason in report.failed.items()]
    if report.transfer is not None:
        lines += ["", transfer_tables(report.transfer, figure)]
    return "\n".join(lines) + "\n"


def to_csv(report: Report) -> str:
    """One row per variant; each figure with its interval, its spread over seeds and its difference from the default."""
    parts = ("value", "low", "high", "seed_sd")
    names = [f"{name}_{part}" for name in CSV_FIGURES for part in parts]
    names += [f"minus_default_{name}_{part}" for name in CSV_FIGURES for part in parts]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["variant", "seeds", "parameters", "core_seconds", *names])
    for row in report.table:
        cells = [row[kind].get(name, {}).get(part) for kind in ("figures", "minus_default") for name in CSV_FIGURES
                 for part in parts]  # fmt: skip
        writer.writerow([row["name"], row["seeds"], row["parameters"], row["core_seconds"], *cells])
    return stream.getvalue()


def predictions(report: Report) -> pa.Table:
    """Every answer: one row per item, seed and row of the table. A row without a seed of its own has seed 0."""
    items, classes = report.items, np.asarray(report.classes)
    folds = np.asarray(items.folds)[items.fold]
    tables = []
    for row in report.rows:
        for seed, posterior in enumerate(row.posterior[ALL]):
            flat = pa.array(posterior.astype(np.float32).reshape(-1))
            offsets = pa.array(np.arange(len(posterior) + 1, dtype=np.int32) * posterior.shape[1])
            columns = [
                pa.array([row.name] * len(posterior)),
                pa.array(np.full(len(posterior), seed, dtype=np.int32)),
                pa.array(folds),
                pa.array(report.clips),
                pa.array(items.names),
                pa.array(classes[items.truth]),
                pa.array(classes[posterior.argmax(-1)]),
                pa.ListArray.from_arrays(offsets, flat),
            ]
            tables.append(pa.Table.from_arrays(columns, schema=PREDICTIONS_SCHEMA))
    return pa.concat_tables(tables)


def render(report: Report, picture: bytes, heat: bytes | None = None) -> str:
    """The report as one HTML page that loads nothing from elsewhere."""
    return render_template(
        TEMPLATE,
        figure=figure,
        number=number,
        same=_same,
        r=report.to_json(),
        head=HEADLINE,
        missing=MISSING,
        picture=base64.b64encode(picture).decode(),
        heat=None if heat is None else base64.b64encode(heat).decode(),
        notes=notes_for(report.datasets),
        patterns=list(dict.fromkeys(name for row in report.table for name in row["patterns"])),
        codes=sorted({code for row in report.table for code in row["code"]}),
    )


def figure(value: Mapping[str, float | None] | None, *, signed: bool = False, interval: bool = True) -> str:
    """Such as `0.712 [0.67, 0.75]`; a dash where there is none."""
    if value is None or value["value"] is None:
        return "–"
    sign = "+" if signed else ""
    text = f"{value['value']:{sign}.3f}"
    if not interval or value["low"] is None or value["high"] is None:
        return text
    return f"{text} [{value['low']:{sign}.3f}, {value['high']:{sign}.3f}]"


def number(value: float | None) -> str:
    """Three digits; a dash where there is none."""
    return "–" if value is None else f"{value:.3f}"


def _same(row: Mapping[str, Any]) -> str:
    """The names that resolve to the same settings."""
    same: Sequence[str] = row["same"]
    return f" (= {', '.join(same)})" if same else ""
