"""The model card of a version: its data, results, limits, intended use and forbidden uses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.contracts.findings import comparison_in_words, split_in_words
from components.model.spec import LORA, UpperSpec
from components.registry.bundle import Expert
from components.registry.terms import Corpus, Count
from components.training.earlier import Taken

SYNTHETIC = (
    "**This version was trained and measured on a synthetic corpus** that the project draws and synthesises itself: "
    "parametric faces, a synthesised voice, written sentences, simulated body signals. Its scores show that the whole "
    "pipeline works, and that the model combines modalities and uses order in time. They are **no evidence** of how "
    "well it works on real people, since it was trained on none. Do not judge a person with it."
)
PART_SYNTHETIC = (
    "Part of the data is a synthetic corpus that the project draws and synthesises itself; scores on that part are "
    "no evidence about real people."
)
LAW = """## Intended use
Research, and products whose use the people concerned know of and agreed to: analysing recordings of consenting \
people, studying expression over time, testing media. It infers what a face, a voice and words *show*, not what a \
person feels.

## Uses that are forbidden
* Inferring emotions of people **at work or in education**: forbidden in the EU by Art. 5(1)(f) of the AI Act \
(Regulation (EU) 2024/1689), medical and safety reasons excepted.
* Deciding about people (hiring, credit, insurance, policing, border control), lie detection, diagnosis.
* Any use without telling the people exposed to it: Art. 50(3) requires disclosure of emotion recognition."""


DATA_HEADING = "## Data and consent"
# The gates against the champion, in the description of a version.
AGAINST = "## Against the champion, version"
COMPARISON = re.compile(rf"^{AGAINST} .*?(?:\n\n|\Z)", re.MULTILINE | re.DOTALL)
# Pairs of licence and consent listed per corpus, those with unknowns first; further ones are only counted.
MAX_TERMS = 6
MARKUP = re.compile(r"[\\`*_\[\]<>#|]")
NOT_STATED = {"", "unknown", "not stated yet"}
ASK_LICENCE = "**unknown**: ask its owner under which licence it may be used, and do not use it until then"
ASK_CONSENT = (
    "**unknown**: ask its authors what the people in it agreed to, record that on its clips, and until then assume "
    "that they did not agree"
)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of a version: trained parameters (encoders not counted), bytes of its weights, and seconds that the
    model itself takes for a clip of `clip_s` seconds on one CPU, measured when it was registered."""

    parameters: int
    weights_bytes: int
    seconds: float
    clip_s: float


def model_card(
    *,
    name: str,
    corpora: Sequence[Corpus],
    taxonomy: str,
    catalog: Mapping[str, Any],
    metrics: Mapping[str, Any],
    gates: Sequence[Mapping[str, Any]],
    encoders: Mapping[str, Mapping[str, Any]],
    cost: Cost,
    lineage: Mapping[str, str],
    preset: str = "default",
    experts: Mapping[str, Expert] | None = None,
    started: Taken | None = None,
    upper: Mapping[str, UpperSpec] | None = None,
) -> str:
    """The card as Markdown.

    Args:
        corpora: with their people and terms.
        catalog: `catalog.json`; metrics: `metrics.json`; gates: `gates.json`.
        encoders: modality → spec and fingerprint.
        cost: size and computing time of the model.
        preset: the value of `model.preset`.
        experts: modality that the training data lacked → the pretrained classifier that judges it.
        started: what the training took over from an earlier version; None where it started anew.
        upper: modality → the layers of its encoder that learned with the model.
        lineage: MLflow tags with the origin of the version.
    """
    parts = [
        f"# {name}: emotion over time from {_listed(list(encoders))}",
        _synthetic(corpora),
        _gates(gates),
        LAW,
        _results(metrics),
        _failures(metrics),
        _honesty(metrics),
        _data(corpora, catalog, taxonomy, refit=bool(metrics.get("refit")), started=started),
        _making(encoders, cost, lineage, preset, experts or {}, upper=upper or {}),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _synthetic(corpora: Sequence[Corpus]) -> str:
    rendered = [corpus.rendered for corpus in corpora]
    if not any(rendered):
        return ""
    return SYNTHETIC if all(rendered) else PART_SYNTHETIC


def _results(metrics: Mapping[str, Any]) -> str:
    level, counts = metrics["level"], metrics["counts"]
    lines = [
        "## Results",
        f"{counts['test']} test clips of {counts['test_subjects']} people who are in no other split. Brackets: "
        "confidence intervals, from resampling people.",
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
    for objective, levels in metrics.get("objectives", {}).items():
        row, own = levels[level], objective == metrics["objective"]
        who = "This version answers" if own else "The same training would answer"
        lines += [
            "",
            f"{who} for `train.objective: {objective}`: macro-F1 {_interval(row['macro_f1'])}, "
            f"UAR {_interval(row['uar'])}, accuracy {_interval(row['accuracy'])}, "
            f"weighted F1 {_interval(row['weighted_f1'])}.",
        ]
    if words := comparison_in_words(metrics):
        lines += ["", words]
    return "\n".join(lines)


def _honesty(metrics: Mapping[str, Any]) -> str:
    """How far its confidence and its contradiction score can be trusted."""
    lines = ["## Can its numbers be trusted?"]
    for level in ("clip", "step"):
        if level in metrics["calibration"]:
            row = metrics["calibration"][level]
            lines.append(
                f"* Confidence of {level}s: calibration error {_interval(row['ece_before'])} before temperature "
                f"scaling, {_interval(row['ece_after'])} after."
            )
    surest = metrics.get("coverage", {}).get("surest", {})
    if quarter := surest.get("0.25"):
        lines.append(
            f"* Of the surest quarter of {metrics['level']}s, of confidence {quarter['confidence']:.2f} and more, "
            f"{_share(quarter['wrong'])} are answered wrong; of all, {_share(surest['1']['wrong'])}."
        )
    if words := split_in_words(metrics):
        lines.append(f"* **{words.partition(': ')[0]}**: {words.partition(': ')[2]}")
    figures = metrics.get("contradiction")
    if figures:
        lines.append(
            f"* Contradiction score: {_share(figures['false_alarms_at_threshold'])} of ordinary clips reach "
            f"{figures['threshold']:g}; the target is at most {1 - figures['threshold']:.0%}."
        )
    if figures and figures["planted"]:
        lines.append(
            f"* Planted contradictions ({figures['planted']}) are separated from other clips with AUROC "
            f"{_interval(figures['auroc'])}, moments with {_interval(figures['step']['auroc'])}; answers list "
            f"{_share(figures['spans']['found'])} of them."
        )
    if not figures:
        lines.append("* It has no contradiction score: fewer than two modalities have a prediction of their own.")
    return "\n".join(lines)


def _failures(metrics: Mapping[str, Any]) -> str:
    lines = ["## Known failures"]
    worst = sorted(metrics["per_class"].items(), key=lambda row: row[1]["f1"]["value"] or 0.0)[:3]
    lines.append("* Worst emotions: " + ", ".join(f"{name} (F1 {_interval(row['f1'])})" for name, row in worst) + ".")
    if metrics["confusions"]:
        largest = list(metrics["confusions"].items())[:4]
        pairs = ", ".join(f"{name} ({row['items']}×, {row['share']:.0%} of it)" for name, row in largest)
        lines.append(f"* Confused emotions: {pairs}.")
    drops = {name: row for name, row in metrics["all_minus"].items() if name in metrics["subsets"]}
    if drops:
        name = max(drops, key=lambda key: drops[key]["value"] or 0.0)
        lines.append(f"* With only {name.replace('+', ' and ')} macro-F1 is {_interval(drops[name])} lower.")
    for key, group in metrics["slices"].items():
        worst = min(group["values"], key=lambda value: group["values"][value]["accuracy"]["value"])
        lines.append(
            f"* By `{key}`: worst for {worst} ({_interval(group['values'][worst]['accuracy'])} accuracy), "
            f"{_interval(group['accuracy_gap'])} below the best."
        )
    flash = metrics.get("episodes", {}).get("offline", {}).get("flash", {})
    if "recall" in flash:
        lines.append(f"* Recall of flashes under a second: {_interval(flash['recall'])}.")
    lines.append(
        "* Clips unlike the training data are answered too, with the flag `outside_training`: trust them less."
    )
    return "\n".join(lines)


def _data(
    corpora: Sequence[Corpus], catalog: Mapping[str, Any], taxonomy: str, *, refit: bool, started: Taken | None
) -> str:
    lines = [DATA_HEADING, "Licence and consent as recorded on the clips that were used:", ""]
    for corpus in corpora:
        lines += _corpus(corpus, catalog["datasets"][corpus.name])
    splits = ", ".join(
        f"{split} {counts['clips']} clips of {counts['subjects']} people" for split, counts in catalog["splits"].items()
    )
    classes = ", ".join(catalog["classes"])
    lines += ["", f"Taxonomy `{taxonomy}`: {classes}. Splits by person: {splits}."]
    if refit:
        begin = "the same start" if started else "the start"
        lines.append(
            "What is fitted on the calibration split was fitted for a model that was not trained on its people; then "
            f"the model was trained again, from {begin}, on both splits."
        )
    if started is not None:
        lines += ["", _started(started, catalog)]
    if absent := catalog.get("absent_classes"):
        lines.append(f"No clip shows {', '.join(absent)}; these are never predicted.")
    if shared := catalog["shared_texts"]:
        lines.append(
            f"{len(shared)} of {catalog['texts']} scripted texts are spoken in more than one split, so part of a score "
            "may come from memorised sentences."
        )
    if readmitted := catalog["readmitted"]:
        lines += ["", "Used because a person decided so, although they break a data contract:", ""]
        lines += [
            f"* `{clip['clip_id']}` ({clip['code']}, seen {clip['seen']}): {clip['reason']}" for clip in readmitted
        ]
    return "\n".join(lines)


def _started(started: Taken, catalog: Mapping[str, Any]) -> str:
    """What training started from, on whom that was trained, and whose figures it may flatter."""
    before = _listed([f"{name} ({kind} people)" for name, kind in sorted(started.corpora.items())] or ["unknown"])
    text = (
        f"Training started from {started.words}. That version was trained on {before}; its own terms hold for this "
        "one too."
    )
    both = sorted(started.corpora.keys() & catalog["datasets"].keys())
    if both:
        text += (
            f" **{_listed(both)} {'is' if len(both) == 1 else 'are'} among both**: people of the test split may be "
            "among those that it was trained on, so the figures above may be too good."
        )
    return text


def _corpus(corpus: Corpus, sha256: str) -> list[str]:
    people = "no real people: drawn and synthesised as " if corpus.rendered else ""
    lines = [f"* **{corpus.name}**: {people}{_count(corpus.total)}; source: {corpus.source}; hash `{sha256[:12]}`"]
    ordered = sorted(corpus.terms, key=lambda terms: not (_not_stated(terms.licence) or _not_stated(terms.consent)))
    for terms in ordered[:MAX_TERMS]:
        licence = ASK_LICENCE if _not_stated(terms.licence) else _plain(terms.licence)
        consent = ASK_CONSENT if _not_stated(terms.consent) else _plain(terms.consent)
        splits = ", ".join(f"{split} {_count(count)}" for split, count in terms.splits.items())
        lines += [f"  * licence: {licence}", f"    consent: {consent}", f"    clips: {splits}"]
    if rest := ordered[MAX_TERMS:]:
        clips = sum(terms.total.clips for terms in rest)
        lines.append(f"  * {len(rest)} more pairs of licence and consent, on {clips} clips")
    return lines


def _count(count: Count) -> str:
    return f"{count.clips} clips of {count.people} people"


def _not_stated(text: str) -> bool:
    return text.strip().lower() in NOT_STATED


def _plain(text: str) -> str:
    """A text from a table as one line of Markdown, with its markup escaped."""
    return MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def _gates(gates: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(["## Gates", *_gate_table(gates)])


def with_comparison(description: str, gates: Sequence[Mapping[str, Any]], champion: str) -> str:
    """A version's description with the gates against the champion before everything else but the title, where MLflow's
    limit on its length does not cut them off; they replace those of an earlier comparison.

    Args:
        gates: as JSON values.
        champion: the number of the version that it was compared with.
    """
    title, _, rest = COMPARISON.sub("", description).partition("\n\n")
    section = "\n".join([f"{AGAINST} {champion}", *_gate_table(gates)])
    return "\n\n".join(part for part in (title, section, rest) if part)


def _gate_table(gates: Sequence[Mapping[str, Any]]) -> list[str]:
    outcomes = [gate["verdict"] if gate["passed"] else f"**{gate['verdict']}**" for gate in gates]
    rows = [
        f"| {str(gate['name']).replace('_', ' ')} | {outcome} | {str(gate['words']).replace('|', '/')} |"
        for outcome, gate in zip(outcomes, gates, strict=True)
    ]
    return ["| gate | verdict | evidence |", "|---|---|---|", *rows]


def _learned(upper: UpperSpec | None) -> str:
    if upper is None:
        return ""
    how = f"LoRA of rank {upper.rank}" if upper.method == LORA else "all their weights"
    return f"; of the {upper.layers} layers after it the last {upper.learned} learned with the model ({how})"


def _making(
    encoders: Mapping[str, Mapping[str, Any]],
    cost: Cost,
    lineage: Mapping[str, str],
    preset: str,
    experts: Mapping[str, Expert],
    *,
    upper: Mapping[str, UpperSpec],
) -> str:
    lines = ["## Making and cost", f"* model of the preset `{preset}`"]
    lines += [
        f"* {modality}: encoder `{entry['spec']}` (frozen){_learned(upper.get(modality))}"
        for modality, entry in sorted(encoders.items())
    ]
    lines += [
        f"* {modality}: **not trained and not measured here**, since no training clip had it. In a clip it is "
        f"judged by the classifier that comes with the encoder `{expert.encoder.spec}`, trained on "
        f"{_plain(expert.classifier.trained_on)}"
        for modality, expert in sorted(experts.items())
    ]
    lines.append(
        f"* {cost.parameters:,} trained parameters, {cost.weights_bytes / 1e6:.1f} MB of weights; "
        f"{1000 * cost.seconds:.0f} ms of one CPU for a clip of {cost.clip_s:.1f} s (median), encoders not counted"
    )
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


def _share(value: Mapping[str, float | None]) -> str:
    if value["value"] is None:
        return "–"
    text = f"{value['value']:.0%}"
    return text if value["low"] is None else f"{text} [{value['low']:.0%}, {value['high']:.0%}]"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
