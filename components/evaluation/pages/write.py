"""An evaluation as files. Equal evaluations give equal bytes."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.catalog.cases import shown_clips
from components.contracts.atomic import atomic_dir, atomic_file, write_json
from components.contracts.config import Evaluate
from components.evaluation import metrics
from components.evaluation.coverage import curve
from components.evaluation.disagreement import KIND, spans_of
from components.evaluation.evaluate import Evaluation
from components.evaluation.intervals import rounded
from components.evaluation.measure import Sample
from components.evaluation.pages import plots
from components.evaluation.pages.report import render
from components.evaluation.pages.timeline_plot import timeline

# Clips whose predictions are in memory at once, as rows and as columns.
ROWS_AT_ONCE, GROUP_ROWS = 256, 8192
LINES_AT_ONCE = 4096

PREDICTIONS_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("subject_id", pa.string(), nullable=False),
        pa.field("present", pa.list_(pa.string())),
        pa.field("label", pa.string()),
        pa.field("answer", pa.string(), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
        pa.field("posterior", pa.list_(pa.float32())),
        pa.field("unimodal", pa.map_(pa.string(), pa.list_(pa.float32()))),
        pa.field("contradiction", pa.float64()),
        pa.field("contradiction_pair", pa.list_(pa.string())),
        pa.field("valence_arousal", pa.list_(pa.float32())),
        pa.field("step_contradiction", pa.list_(pa.float64())),
        pa.field("step_valence_arousal", pa.list_(pa.list_(pa.float32()))),
        pa.field("rate_hz", pa.float64(), nullable=False),
        pa.field("step_label", pa.list_(pa.int32())),
        pa.field("step_posterior", pa.list_(pa.list_(pa.float32()))),
        pa.field(
            "episodes",
            pa.list_(
                pa.struct(
                    [
                        ("onset_s", pa.float64()),
                        ("offset_s", pa.float64()),
                        ("emotion", pa.string()),
                        ("intensity", pa.float64()),
                        ("kind", pa.string()),
                    ]
                )
            ),
        ),
    ]
)


def write_evaluation(
    folder: Path, evaluation: Evaluation, *, title: str, datasets: Sequence[str], config: Evaluate
) -> None:
    """Writes `metrics.json`, `gates.json`, `calibration.json`, `smoothing.json`, `reference.*`, `predictions.parquet`,
    `plots/` and `report.html`; the folder appears complete or not at all."""
    pictures = draw(evaluation, config)
    with atomic_dir(folder) as beside:
        write_json(beside / "metrics.json", evaluation.metrics)
        write_json(beside / "gates.json", [gate.to_json() for gate in evaluation.gates])
        write_json(beside / "calibration.json", evaluation.fitted.calibration.to_json())
        write_json(beside / "smoothing.json", evaluation.fitted.smoother.to_json())
        evaluation.fitted.reference.save(beside)
        write_predictions(beside / "predictions.parquet", evaluation)
        (beside / "plots").mkdir()
        for name, data in pictures.items():
            (beside / "plots" / f"{name}.png").write_bytes(data)
        for level, sample in evaluation.samples.items():
            text = _csv(("confidence", "accuracy", "items"), reliability_rows(sample, config.calibration_bins))
            (beside / "plots" / f"reliability-{level}.csv").write_text(text, encoding="utf-8")
        (beside / "plots" / "risk-coverage.csv").write_text(coverage_csv(evaluation), encoding="utf-8")
        (beside / "plots" / "per-class.csv").write_text(per_class_csv(evaluation), encoding="utf-8")
        with (beside / "plots" / "confusion.csv").open("w", encoding="utf-8") as stream:
            stream.writelines(confusion_csv(evaluation))
        (beside / "plots" / "subsets.csv").write_text(subsets_csv(evaluation), encoding="utf-8")
        page = render(evaluation, pictures, title=title, datasets=datasets, config=config)
        (beside / "report.html").write_text(page, encoding="utf-8")


def draw(evaluation: Evaluation, config: Evaluate) -> dict[str, bytes]:
    """Name → PNG of every picture."""
    sample = evaluation.samples[evaluation.level]
    threshold = evaluation.fitted.calibration.contradiction_threshold
    pictures = {
        "subsets": plots.subsets(evaluation.table, level=evaluation.level),
        "confusion": plots.confusion(sample, evaluation.classes),
    }
    pictures["per-class"] = plots.per_class(evaluation.metrics["per_class"], evaluation.classes, level=evaluation.level)
    for level, after in evaluation.samples.items():
        pictures[f"reliability-{level}"] = plots.reliability(
            evaluation.uncalibrated[level], after, bins=config.calibration_bins, level=level
        )
    pictures["risk-coverage"] = plots.risk_coverage(sample, evaluation.metrics["coverage"], level=evaluation.level)
    if (group := plots.slices(evaluation.metrics["slices"])) is not None:
        pictures["slices"] = group
    if "contradiction" in evaluation.metrics:
        scores, planted = array("d"), array("b")
        for case, scored in zip(evaluation.cases, evaluation.scored, strict=True):
            if scored.contradiction is not None:
                scores.append(scored.contradiction)
                planted.append(case.has_planted(KIND))
        pictures["contradiction"] = plots.contradiction(np.array(scores), np.array(planted, dtype=bool), threshold)
    for place, index in enumerate(shown_clips(evaluation.cases, config.timelines), start=1):
        case, scored = evaluation.cases[index], evaluation.scored[index]
        pictures[f"timeline-{place:02d}"] = timeline(
            case,
            scored,
            evaluation.episodes[index],
            spans_of(case, scored, threshold=threshold, classes=evaluation.classes),
            evaluation.classes,
            threshold=threshold,
        )
    return pictures


def write_predictions(path: Path, evaluation: Evaluation) -> None:
    """Writes one row a test clip, in the order of the evaluation; the clips of a row group are in memory at a time."""
    rows = _prediction_rows(evaluation)
    with atomic_file(path) as beside, pq.ParquetWriter(beside, PREDICTIONS_SCHEMA, compression="zstd") as writer:
        while (group := _next_group(rows)) is not None:
            writer.write_table(group, row_group_size=GROUP_ROWS)


def _next_group(rows: Iterator[dict[str, Any]]) -> pa.Table | None:
    parts = []
    for _ in range(GROUP_ROWS // ROWS_AT_ONCE):
        if not (some := list(islice(rows, ROWS_AT_ONCE))):
            break
        parts.append(pa.Table.from_pylist(some, schema=PREDICTIONS_SCHEMA))
    return pa.concat_tables(parts).combine_chunks() if parts else None


def _prediction_rows(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    for case, scored, episodes in zip(evaluation.cases, evaluation.scored, evaluation.episodes, strict=True):
        answer = int(scored.clip_posterior.argmax())
        yield {
            "clip_id": case.clip_id,
            "dataset": case.dataset,
            "subject_id": case.subject_id,
            "present": list(case.present),
            "label": evaluation.classes[case.clip_label] if case.clip_label >= 0 else None,
            "answer": evaluation.classes[answer],
            "confidence": float(scored.clip_posterior[answer]),
            "posterior": scored.clip_posterior.tolist(),
            "unimodal": [(name, value.tolist()) for name, value in sorted(scored.unimodal_posterior.items())],
            "contradiction": scored.contradiction,
            "contradiction_pair": list(scored.contradiction_pair or ()),
            "valence_arousal": _plain(scored.valence_arousal),
            "step_contradiction": [None if np.isnan(x) else float(x) for x in scored.step_contradiction],
            "step_valence_arousal": _plain(scored.step_valence_arousal),
            "rate_hz": case.rate_hz,
            "step_label": case.step_labels.tolist(),
            "step_posterior": scored.step_posterior.tolist(),
            "episodes": [episode.to_json() for episode in episodes],
        }


def reliability_rows(sample: Sample, bins: int) -> list[tuple[Any, ...]]:
    """(mean confidence, share right, items) of equal-mass bins, as `dvc plots` draws them: a line a revision."""
    some = sample.thinned()
    by_mass = metrics.mass_bins(some.posterior, some.truth, bins)
    confidence, accuracy = (by_mass.confidence / by_mass.count).tolist(), (by_mass.correct / by_mass.count).tolist()
    return [
        (rounded(sure), rounded(right), int(count))
        for sure, right, count in zip(confidence, accuracy, by_mass.count, strict=True)
    ]


def coverage_csv(evaluation: Evaluation) -> str:
    """The share of answers that are kept, the surest first, and the share of those that are wrong."""
    kept = curve(evaluation.samples[evaluation.level])
    pairs = zip(kept.coverage.tolist(), kept.risk.tolist(), strict=True)
    return _csv(("coverage", "wrong"), [(rounded(coverage), rounded(risk)) for coverage, risk in pairs])


def per_class_csv(evaluation: Evaluation) -> str:
    """One row an emotion: F1 with its interval, recall, precision, items."""
    header = ("emotion", "f1", "low", "high", "recall", "precision", "items")
    rows = [
        (name, row["f1"]["value"], row["f1"]["low"], row["f1"]["high"], row["recall"], row["precision"], row["items"])
        for name, row in evaluation.metrics["per_class"].items()
    ]
    return _csv(header, rows)


def confusion_csv(evaluation: Evaluation) -> Iterator[str]:
    """`actual,predicted` rows, as DVC's confusion template reads them, some at a time."""
    counts, names = evaluation.samples[evaluation.level].confusion(), evaluation.classes
    yield _csv(("actual", "predicted"), [])
    for truth, answer in sorted(np.argwhere(counts).tolist(), key=lambda cell: [names[place] for place in cell]):
        line = _csv((names[truth], names[answer]), [])
        for first in range(0, int(counts[truth, answer]), LINES_AT_ONCE):
            yield line * min(LINES_AT_ONCE, int(counts[truth, answer]) - first)


def subsets_csv(evaluation: Evaluation) -> str:
    """One row a pattern of present modalities and baseline."""
    rows = [
        (
            name,
            *(rounded(x) for x in (s.macro_f1.value, s.macro_f1.low, s.macro_f1.high, s.uar.value, s.accuracy.value)),
        )
        for name, s in evaluation.table
    ]
    return _csv(("present", "macro_f1", "low", "high", "uar", "accuracy"), rows)


def summary(evaluation: Evaluation, passed: bool) -> dict[str, Any]:
    """What a terminal shows: one row a pattern of present modalities, and the gates."""
    return {
        "level": evaluation.level,
        "rows": [_summary_row(name, scores.to_json()) for name, scores in evaluation.table],
        "gates": [gate.to_json() for gate in evaluation.gates],
        "gates_passed": passed,
        "clips": len(evaluation.cases),
    }


def _summary_row(name: str, scores: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "subset": name,
        "macro_f1": scores["macro_f1"]["value"],
        "low": scores["macro_f1"]["low"],
        "high": scores["macro_f1"]["high"],
        "uar": scores["uar"]["value"],
        "accuracy": scores["accuracy"]["value"],
        "ece": scores["ece"]["value"],
        "clips": scores["items"],
    }


def _plain(values: NDArray[np.float32] | None) -> Any:
    return None if values is None else values.tolist()


def _csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()
