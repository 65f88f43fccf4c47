"""The model card of a version: what it is, what it was measured on, what it is for and what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SYNTHETIC = (
    "**This version was trained and measured on a synthetic corpus** that the project draws and synthesises itself: "
    "parametric faces, a synthesised voice, written sentences, simulated body signals. Its scores show that the whole "
    "line works, that the model combines modalities and follows order in time. They say **nothing** about how well it "
    "reads real people, of whom it has seen none. Do not judge a person with it."
)
PART_SYNTHETIC = (
    "Part of the data is a synthetic corpus that the project draws and synthesises itself; scores on that part say "
    "nothing about real people."
)
LAW = """## Intended use
Research, and products in which the people concerned know of it and agreed: analysing recordings of consenting people,
studying expression over time, testing media. It infers what a face, a voice and words *show*, not what a person feels.

## Uses that are forbidden
* Inferring emotions of people **at work or in education**: forbidden in the EU by Art. 5(1)(f) of the AI Act
  (Regulation (EU) 2024/1689), medical and safety reasons excepted.
* Deciding about people (hiring, credit, insurance, policing, border control), lie detection, diagnosis.
* Any use without telling the people exposed to it: Art. 50(3) demands disclosure of emotion recognition."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A corpus as the card names it."""

    name: str
    licence: str


def model_card(
    *,
    name: str,
    corpora: Sequence[Corpus],
    taxonomy: str,
    catalog: Mapping[str, Any],
    metrics: Mapping[str, Any],
    gates: Sequence[Mapping[str, Any]],
    encoders: Mapping[str, Mapping[str, Any]],
    parameters: int,
    lineage: Mapping[str, str],
) -> str:
    """The card as Markdown.

    Args:
        catalog: `catalog.json`; metrics: `metrics.json`; gates: `gates.json`.
        encoders: modality → spec and fingerprint.
        parameters: trained numbers of the model, encoders not counted.
        lineage: MLflow tags that say where it came from.
    """
    parts = [
        f"# {name}: emotion over time from {_listed(list(encoders))}",
        _synthetic(corpora),
        _results(metrics),
        _failures(metrics),
        LAW,
        _data(corpora, catalog, taxonomy),
        _gates(gates),
        _making(encoders, parameters, lineage),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _synthetic(corpora: Sequence[Corpus]) -> str:
    names = [corpus.name for corpus in corpora]
    if "synthetic" not in names:
        return ""
    return SYNTHETIC if names == ["synthetic"] else PART_SYNTHETIC


def _results(metrics: Mapping[str, Any]) -> str:
    level, counts = metrics["level"], metrics["counts"]
    lines = [
        "## Results",
        f"{counts['test']} test clips of {counts['test_subjects']} people who are in no other split. Brackets: "
        "intervals from redrawing people.",
        "",
        f"| present | macro-F1 ({level}) | UAR | accuracy | ECE | {level}s |",
        "|---|---|---|---|---|---|",
    ]
    rows = [*metrics["subsets"].items(), *metrics["baselines"].items()]
    modalities = max((name.count("+") for name, _ in metrics["subsets"].items()), default=0)
    for subset, scores in sorted(rows, key=lambda row: _order(row[0], modalities)):
        if 0 < subset.count("+") < modalities:
            continue  # the pairs and triples are in the report
        lines.append(
            f"| {subset.replace('+', ' + ').replace('_', ' ')} | {_interval(scores['macro_f1'])} | "
            f"{_number(scores['uar']['value'])} | {_number(scores['accuracy']['value'])} | "
            f"{_number(scores['ece']['value'])} | {scores['items']} |"
        )
    calibration = metrics["calibration"].get(level, {})
    lines += (
        [
            "",
            f"Calibration error {_interval(calibration['ece_before'])} before temperature scaling, "
            f"{_interval(calibration['ece_after'])} after.",
        ]
        if calibration
        else []
    )
    if "contradiction" in metrics:
        auroc = _interval(metrics["contradiction"]["auroc"])
        lines.append(f"Planted contradictions are told from other clips with AUROC {auroc}.")
    return "\n".join(lines)


def _failures(metrics: Mapping[str, Any]) -> str:
    lines = ["## Known failures"]
    worst = sorted(metrics["per_class"].items(), key=lambda row: row[1]["f1"]["value"] or 0.0)[:3]
    lines.append("* Worst emotions: " + ", ".join(f"{name} (F1 {_interval(row['f1'])})" for name, row in worst) + ".")
    drops = {name: row for name, row in metrics["all_minus"].items() if name in metrics["subsets"]}
    if drops:
        name = max(drops, key=lambda key: drops[key]["value"] or 0.0)
        lines.append(f"* With only {name.replace('+', ' and ')} it loses {_interval(drops[name])} macro-F1.")
    for key, group in metrics["slices"].items():
        lines.append(f"* Accuracy differs between values of `{key}` by {_interval(group['accuracy_gap'])}.")
    flash = metrics.get("episodes", {}).get("viterbi", {}).get("flash", {})
    if "recall" in flash:
        lines.append(f"* Of flashes under a second it finds {_interval(flash['recall'])}.")
    lines.append("* Clips unlike the training data get an answer too, with the flag `outside_training`: trust it less.")
    return "\n".join(lines)


def _data(corpora: Sequence[Corpus], catalog: Mapping[str, Any], taxonomy: str) -> str:
    lines = ["## Data", "| corpus | licence | hash |", "|---|---|---|"]
    lines += [f"| {corpus.name} | {corpus.licence} | `{catalog['datasets'][corpus.name][:12]}` |" for corpus in corpora]
    splits = ", ".join(
        f"{split} {counts['clips']} clips of {counts['subjects']} people" for split, counts in catalog["splits"].items()
    )
    classes = ", ".join(catalog["classes"])
    lines += ["", f"Taxonomy `{taxonomy}`: {classes}. Splits by person: {splits}."]
    if absent := catalog.get("absent_classes"):
        lines.append(f"No clip shows {', '.join(absent)}; these are never answered.")
    return "\n".join(lines)


def _gates(gates: Sequence[Mapping[str, Any]]) -> str:
    rows = [f"* {'passed' if gate['passed'] else '**failed**'}: {gate['words']}." for gate in gates]
    return "\n".join(["## Gates", *rows])


def _making(encoders: Mapping[str, Mapping[str, Any]], parameters: int, lineage: Mapping[str, str]) -> str:
    lines = ["## How it was made"]
    lines += [f"* {modality}: encoder `{entry['spec']}` (frozen)" for modality, entry in sorted(encoders.items())]
    lines.append(f"* {parameters:,} trained parameters")
    lines += [
        f"* {name.removeprefix('lineage.').replace('_', ' ')}: `{value[:40]}`"
        for name, value in sorted(lineage.items())
        if name in {"lineage.git_commit", "lineage.git_dirty", "lineage.data_sha256", "lineage.seed"}
    ]
    return "\n".join(lines)


def _order(name: str, modalities: int) -> tuple[int, str]:
    return (0, "") if name.count("+") == modalities and "_" not in name and name != "majority" else (1, name)


def _interval(value: Mapping[str, float | None]) -> str:
    if value["value"] is None:
        return "–"
    text = f"{value['value']:.3f}"
    return text if value["low"] is None else f"{text} [{value['low']:.3f}, {value['high']:.3f}]"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
