"""Judges one dataset, table by table: rows that break a `row` expectation are set aside, a broken `critical` one stops.

First the structure: nothing else can be judged without it. Then clips, alignment, features and encoders. Then the
accepted clips, and how far they have moved from those that a person last accepted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from components.contracts.columns import places_of, values_by_key
from components.contracts.config import AlignmentQuality, Labels, Validation
from components.contracts.errors import ContractError
from components.contracts.fingerprint import fingerprint
from components.contracts.labels import Taxonomy
from components.contracts.readmitted import Readmitted
from components.contracts.records import Quarantined
from components.features.store import FeatureStore
from components.validation import accepted as accepted_clips
from components.validation import suites, tables
from components.validation.checkpoint import ExpectationOutcome, Outcome, critical, error_of, figures
from components.validation.drift import Compared, compare, drift_json
from components.validation.expectation import Suite
from components.validation.measure import measure_store
from components.validation.profile import profile
from components.validation.quarantine import Waivers, quarantined_rows
from components.validation.structure import structure_table
from components.validation.upstream import Upstream


class SuiteRunner(Protocol):
    """The interface of `checkpoint.Checker`."""

    def check(self, suite: Suite, table: pa.Table) -> Outcome:
        """Judges every expectation of a suite on a table."""


@dataclass(frozen=True, kw_only=True)
class DatasetValidation:
    """The outcome for a dataset.

    `quarantined` holds the rows of all stages up to here; `accepted` (ACCEPTED_SCHEMA) and `profile` are empty when the
    structure does not hold. `readmitted` are the decisions by which a clip is accepted as it is.
    """

    upstream: Upstream
    outcomes: tuple[Outcome, ...]
    quarantined: tuple[Quarantined, ...]
    accepted: pa.Table
    readmitted: tuple[Readmitted, ...] = ()
    profile: Mapping[str, Any]
    compared: Compared

    @property
    def broken(self) -> tuple[tuple[Outcome, ExpectationOutcome], ...]:
        """The critical expectations that do not hold."""
        return critical(self.outcomes)

    def result(self, taxonomy: Taxonomy) -> dict[str, Any]:
        """The content of `result.json`: a pure function of the tables, with its own hash as `fingerprint`.

        `drift` is not part of that hash: it depends on earlier data, and accepting these must not train a model again.
        """
        accepted = self.accepted
        judged = [outcome for outcome in self.outcomes if outcome.suite != suites.DRIFT]
        moved = [measure for outcome in self.outcomes if outcome.suite == suites.DRIFT for measure in outcome.failed]
        counts = accepted_clips.class_counts(accepted, taxonomy)
        aside = pa.chunked_array([list({row.clip_id for row in self.quarantined})], pa.string())
        result = {
            "dataset": self.upstream.dataset,
            "success": not self.broken,
            "statistics": {
                "expectations": sum(len(outcome.judged) for outcome in judged),
                "failed": sum(len(outcome.failed) for outcome in judged),
                "clips": self.upstream.clips.num_rows,
                "accepted": accepted.num_rows,
                "subjects": pc.count_distinct(accepted["subject_id"]).as_py(),
                "set_aside": int((places_of(aside, accepted["clip_id"]) < 0).sum()),
                "quarantined": dict(sorted(Counter(row.code for row in self.quarantined).items())),
            },
            "suites": {outcome.suite: figures(outcome) for outcome in judged},
            "readmitted": [asdict(decision) for decision in self.readmitted],
            "taxonomy": taxonomy.to_json(),
            "per_class": counts,
            "absent_classes": [name for name in taxonomy.classes if name not in counts],
            "encoders": {modality: dict(encoder) for modality, encoder in sorted(self.upstream.encoders.items())},
            "alignment_fingerprint": self.upstream.alignment_fingerprint,
        }
        drift = drift_json(self.compared, [measure.expectation.name for measure in moved])
        return {**result, "fingerprint": fingerprint(result), "drift": drift}

    def error(self, look: str) -> ContractError:
        """The error for the first broken critical expectation, which names the others; `look` points to more.

        Call it only when `broken` is not empty.
        """
        return error_of(self.broken, where=self.upstream.dataset, look=look)


def judge(
    upstream: Upstream,
    store: FeatureStore,
    runner: SuiteRunner,
    *,
    labels: Labels,
    quality: AlignmentQuality,
    validation: Validation,
    waivers: Waivers | None = None,
    reference: Mapping[str, Any] | None = None,
) -> DatasetValidation:
    """Judges a dataset; nothing is written here.

    Args:
        upstream: the tables. store: the features. runner: of suites.
        labels, quality, validation: the taxonomy and the thresholds.
        waivers: people's decisions on its quarantine.
        reference: its profile when it was last accepted, if ever.

    Raises:
        ContractError: an expectation could not be computed.
    """
    outcomes = [runner.check(suites.structure_suite(), structure_table(upstream))]
    quarantined: list[Quarantined] = []
    readmitted: list[Readmitted] = []
    accepted = accepted_clips.ACCEPTED_SCHEMA.empty_table()
    summary: Mapping[str, Any] = {}
    compared = Compared(before=reference)
    if not outcomes[0].failed:
        outcomes += _rows(upstream, store, runner, quality, validation, names=labels.resolved.names)
        quarantined, readmitted = quarantined_rows(upstream.dataset, outcomes, waivers or Waivers())
        accepted = accepted_clips.accepted_table(upstream, quarantined)
        refused = [*upstream.quarantined, *quarantined]
        counts = accepted_clips.class_counts(accepted, labels.resolved)
        outcomes += _dataset(upstream, accepted, refused, counts, validation=validation, runner=runner)
        summary = profile(upstream, accepted, store)
        # Without accepted clips there is nothing to compare, and the expectation `min_clips` is broken.
        compared = compare(summary, reference if accepted.num_rows else None, validation.drift)
        if compared.measures:
            suite = suites.drift_suite(compared.measures, validation.drift)
            outcomes.append(runner.check(suite, compared.table(upstream.dataset)))
    return DatasetValidation(
        upstream=upstream,
        outcomes=tuple(outcomes),
        quarantined=(*upstream.quarantined, *quarantined),
        accepted=accepted,
        readmitted=tuple(readmitted),
        profile=summary,
        compared=compared,
    )


def _rows(
    upstream: Upstream,
    store: FeatureStore,
    runner: SuiteRunner,
    quality: AlignmentQuality,
    validation: Validation,
    *,
    names: Sequence[str],
) -> list[Outcome]:
    measured = measure_store(store, values_by_key(upstream.index["keys"]))
    alignment = suites.alignment_suite(quality, validation, upstream.modalities)
    return [
        runner.check(suites.clip_suite(names), tables.clip_rows(upstream, names)),
        runner.check(alignment, tables.alignment_rows(upstream)),
        runner.check(suites.feature_suite(upstream.modalities), tables.feature_rows(upstream, measured)),
        runner.check(suites.encoder_suite(), tables.encoder_rows(upstream, measured)),
    ]


def _dataset(
    upstream: Upstream,
    accepted: pa.Table,
    quarantined: list[Quarantined],
    counts: Mapping[str, Any],
    *,
    validation: Validation,
    runner: SuiteRunner,
) -> list[Outcome]:
    return [
        runner.check(suites.dataset_suite(validation), accepted_clips.dataset_rows(upstream, accepted, quarantined)),
        runner.check(suites.accepted_suite(validation), accepted_clips.people_rows(accepted)),
        runner.check(suites.class_suite(validation), accepted_clips.class_rows(counts)),
    ]
