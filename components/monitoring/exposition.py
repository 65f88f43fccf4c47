"""The service's counters, as Prometheus reads them → a profile of the answers of a version."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from components.contracts.errors import DataError
from components.inference.profile import (
    BEYOND,
    CONFIDENCE,
    CONTRADICTION,
    DISTANCE,
    EMOTION,
    MISSING,
    PRESENCE,
    PRESENT,
    Profile,
)

HISTOGRAMS = {
    "mer_confidence": CONFIDENCE,
    "mer_contradiction_score": CONTRADICTION,
    "mer_training_distance_ratio": DISTANCE,
}
BUCKET = "_bucket"
ANSWERS, WITHOUT, VERSION = "mer_answers_total", "mer_missing_modalities_total", "mer_version_info"


@dataclass(frozen=True, kw_only=True)
class Counted:
    """The version in service, the answers counted since the service began, and whether other versions gave some of
    them: only emotions are counted by version, so that the others' cannot be taken out."""

    version: str
    profile: Profile
    mixed: bool


def read_exposition(text: str, *, where: str) -> Counted:
    """What a service has counted.

    Raises:
        DataError: not the metrics of a service, or no version is in service.
    """
    tables: dict[str, Counter[str]] = {}
    missing: dict[str, int] = {}
    version, ends, answered = "", [], set()
    try:
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except ValueError as error:
        raise DataError("not the metrics of a service", where=where, seen=str(error)) from error
    for sample in samples:
        count = int(sample.value)
        if sample.name == ANSWERS:
            answered.add(sample.labels["version"])
            tables.setdefault(EMOTION, Counter())[sample.labels["emotion"]] += count
        elif sample.name == WITHOUT:
            missing[sample.labels["modality"]] = count
        elif sample.name == VERSION and sample.value:
            version = sample.labels["version"]
        elif sample.name.endswith(BUCKET) and (name := sample.name.removesuffix(BUCKET)) in HISTOGRAMS:
            ends.append((name, sample.labels.get("modality"), sample.labels["le"], count))
    if not version:
        raise DataError("the metrics name no version in service", where=where, remedy="`mer serve` serves one.")
    below: Counter[tuple[str, str | None]] = Counter()
    for name, modality, end, count in sorted(ends, key=lambda entry: float(entry[2])):
        measure = HISTOGRAMS[name] + (f".{modality}" if modality else "")
        place = BEYOND if end == BEYOND else str(float(end))
        if own := count - below[name, modality]:
            tables.setdefault(measure, Counter())[place] = own
        below[name, modality] = count
    answers = sum(tables.get(EMOTION, Counter()).values())
    for modality, without in missing.items():
        tables[f"{PRESENCE}.{modality}"] = Counter({PRESENT: answers - without, MISSING: without})
    profile = Profile(tables={name: dict(table) for name, table in tables.items()})
    return Counted(version=version, profile=profile, mixed=bool(answered - {version}))
