"""The expectations of the tables; `checkpoint.py` turns them into Great Expectations objects.

Each suite is about one table of `structure.py`, `tables.py` or `accepted.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from components.alignment import quality
from components.contracts.config import MODALITIES, AlignmentQuality, Drift, Validation
from components.contracts.labels import CANONICAL
from components.validation.drift import Measure
from components.validation.expectation import (
    Expectation,
    Suite,
    between,
    coverages,
    filled,
    given,
    matches,
    none,
    true,
    unique,
)

DRIFT = "drift"

# The code with which alignment refuses a clip, and the expectation on the same figure with the same bounds: a decision
# on one holds for the other.
GATES = {gate.code: f"{gate.column}_in_range" for gate in quality.GATES}


def waivable() -> frozenset[str]:
    """The codes of quarantine rows of this stage for which a person may accept a clip."""
    suites = (clip_suite(), alignment_suite(AlignmentQuality(), Validation()), feature_suite())
    return frozenset(expectation.name for suite in suites for expectation in suite.expectations if expectation.waivable)


def structure_suite() -> Suite:
    """One row per column of the three input tables: `seen` and `wanted` type."""
    return Suite(
        name="structure",
        key="column",
        expectations=(
            Expectation(
                name="columns_and_types",
                kind="expect_column_pair_values_to_be_equal",
                arguments={"column_A": "seen", "column_B": "wanted"},
                level="critical",
                says="Every column is there and has its type",
                allowed="the schemas in components/contracts/records.py",
                remedy="Run the stage that writes this table again; it was written by different code",
            ),
        ),
    )


def clip_suite(names: Sequence[str] = CANONICAL) -> Suite:
    """The clip table; `names` are those that labels may have."""
    broken = "Mend the label in the corpus, or its mapping in the adapter"
    return Suite(
        name="clips",
        key="clip_id",
        expectations=(
            unique("clip_id_is_unique", "Give every clip of the corpus its own id in the adapter"),
            filled("subject_id", "Name the person in the clip: without it no split can keep people apart"),
            filled("licence", "State in the adapter under which licence the corpus may be used"),
            matches("content_sha256", r"^[0-9a-f]{64}$", "a SHA-256 in hex"),
            Expectation(
                name="emotion_is_known",
                kind="expect_column_values_to_be_in_set",
                arguments={"column": "emotion", "value_set": list(names)},
                says="The clip's emotion is a known name",
                allowed=", ".join(names),
                remedy=broken,
            ),
            none(
                "unknown_segment_emotion",
                "segment_emotion_is_known",
                "Every segment's emotion is a known name",
                ", ".join(names),
                broken,
            ),
            between("num_labels", 1, None, "at least one", "Label the clip, or leave it out", name="has_a_label"),
            none(
                "bad_segment",
                "segment_times",
                "Every segment starts before it ends, lies inside the clip and overlaps no other",
                "0 <= start_s < end_s <= duration, no overlap",
                broken,
                waivable=True,
            ),
            none(
                "bad_word",
                "word_times",
                "Every word starts before it ends and lies inside the clip",
                "0 <= start_s < end_s <= duration",
                "Mend the transcript's times",
                waivable=True,
            ),
            between("valence", -1, 1, "-1 to 1", "Scale the ratings in the adapter"),
            between("arousal", -1, 1, "-1 to 1", "Scale the ratings in the adapter"),
            between(
                "subjects_of_content",
                1,
                1,
                "one person",
                "The same recording is listed under several people, which would leak between splits; keep one",
                name="one_person_a_recording",
                waivable=True,
            ),
            between(
                "emotions_of_content",
                0,
                1,
                "one emotion",
                "The same recording has several labels; keep the right one",
                name="one_emotion_a_recording",
                waivable=True,
            ),
            true("aligned", "the clip has a row in the alignment table", "Run the alignment stage again"),
            true("encoded", "the clip has a row in the feature index", "Run the features stage again"),
        ),
    )


def alignment_suite(config: AlignmentQuality, validation: Validation, modalities: Iterable[str] = MODALITIES) -> Suite:
    """The alignment quality table."""
    gates = {gate.column: gate.bounds(config) for gate in quality.GATES}
    offset, drift, best = gates["offset_s"], gates["drift_s_per_min"], gates["best_coverage"]
    clock = "Check the file's timestamps; as they are, the streams do not belong together"
    return Suite(
        name="alignment",
        key="clip_id",
        expectations=(
            unique("clip_id_is_unique", "Run the alignment stage again"),
            true("has_clip", "the row belongs to a clip of the clip table", "Remove it, or bring the clip back"),
            true("same_content", "the clip's content is what was aligned", "Run the alignment stage again"),
            *(given(column, clock) for column in ("duration_s", "offset_s", "drift_s_per_min")),
            between("duration_s", 0, None, "above 0 s", "The file has no usable length", strict_min=True),
            between("offset_s", *offset, "{:g} to {:g} s".format(*offset), clock, waivable=True),
            between("drift_s_per_min", *drift, "{:g} to {:g} s a minute".format(*drift), clock, waivable=True),
            *coverages(modalities),
            between(
                "best_coverage",
                *best,
                f"at least {best[0]:g} of the steps in some modality",
                "The clip contains nothing usable",
                waivable=True,
            ),
            between(
                "speech_fraction",
                validation.min_speech_fraction,
                1,
                f"at least {validation.min_speech_fraction:g}",
                "Lower validation.min_speech_fraction, or leave the clip out",
                waivable=True,
            ),
        ),
    )


def feature_suite(modalities: Iterable[str] = MODALITIES) -> Suite:
    """The feature index, with figures of the stored features beside each row."""
    again = "Delete this dataset's feature folder and run the features stage again"
    return Suite(
        name="features",
        key="clip_id",
        expectations=(
            unique("clip_id_is_unique", again),
            true("has_clip", "the row belongs to a clip of the clip table", "Remove it, or bring the clip back"),
            true("same_content", "the clip's content is what was encoded", "Run the features stage again"),
            matches("content_sha256", r"^[0-9a-f]{64}$", "a SHA-256 in hex"),
            between("num_steps", 1, None, "at least one step", again),
            between("rate_hz", 0, None, "above 0 Hz", again, strict_min=True),
            between(
                "num_modalities",
                1,
                None,
                "at least one",
                "The clip has no face, voice, words, signal or given features that could be used",
                name="has_a_modality",
            ),
            *coverages(modalities),
            none("missing", "features_are_stored", "Every key of the index is in the store", "all keys stored", again),
            none(
                "wrong_steps", "features_fit_the_grid", "Features have one row a step", "num_steps rows per key", again
            ),
            none(
                "not_finite",
                "features_are_finite",
                "No valid step has a value that is not finite",
                "finite numbers",
                "Look at the clip's media; if it is sound, the encoder is at fault",
            ),
            none(
                "constant",
                "features_are_not_constant",
                "No encoded modality is one single number throughout",
                "numbers that differ",
                "Look at the clip's media; if it is sound, the encoder is at fault",
                waivable=True,
            ),
        ),
    )


def encoder_suite() -> Suite:
    """One row per modality: the encoder according to the features stage, and the stored width."""
    return Suite(
        name="encoders",
        key="modality",
        expectations=(
            Expectation(
                name="width_is_as_declared",
                kind="expect_column_pair_values_to_be_equal",
                arguments={
                    "column_A": "width",
                    "column_B": "stored_width",
                    "ignore_row_if": "either_value_is_missing",
                },
                level="critical",
                says="Stored features are as wide as their encoder says",
                allowed="the width in features/<dataset>/summary.json",
                remedy="Delete this dataset's feature folder and run the features stage again",
            ),
        ),
    )


def accepted_suite(validation: Validation) -> Suite:
    """The accepted clips."""
    lower = "Mend what is in quarantine, bring more clips, or lower {}"
    return Suite(
        name="accepted",
        key="clip_id",
        expectations=(
            Expectation(
                name="min_clips",
                kind="expect_table_row_count_to_be_between",
                arguments={"min_value": validation.min_clips},
                level="critical",
                says="Enough clips are left",
                allowed=f"at least {validation.min_clips} accepted clips",
                remedy=lower.format("validation.min_clips"),
            ),
            Expectation(
                name="min_subjects",
                kind="expect_column_unique_value_count_to_be_between",
                arguments={"column": "subject_id", "min_value": validation.min_subjects},
                level="critical",
                says="Enough people are left to keep them apart in the splits",
                allowed=f"at least {validation.min_subjects} subjects",
                remedy=lower.format("validation.min_subjects"),
            ),
        ),
    )


def class_suite(validation: Validation) -> Suite:
    """One row per class that occurs among the accepted clips."""
    return Suite(
        name="classes",
        key="class",
        expectations=(
            Expectation(
                name="min_clips_per_class",
                kind="expect_column_values_to_be_between",
                arguments={"column": "num_clips", "min_value": validation.min_clips_per_class},
                level="critical",
                says="Every class that occurs has enough clips",
                allowed=f"at least {validation.min_clips_per_class} clips per class",
                remedy="Bring more clips, choose a taxonomy that merges it, or lower validation.min_clips_per_class",
            ),
        ),
    )


def dataset_suite(validation: Validation) -> Suite:
    """One row: the dataset as a whole."""
    return Suite(
        name="dataset",
        key="dataset",
        expectations=(
            Expectation(
                name="features_of_this_alignment",
                kind="expect_column_pair_values_to_be_equal",
                arguments={"column_A": "encoded_from", "column_B": "aligned_as"},
                level="critical",
                says="Features were made from the clips as they are aligned now",
                allowed="one alignment fingerprint",
                remedy="Run the features stage again",
            ),
            Expectation(
                name="max_quarantined_fraction",
                kind="expect_column_values_to_be_between",
                arguments={"column": "quarantined_fraction", "max_value": validation.max_quarantined_fraction},
                level="critical",
                says="Not too much of the dataset is set aside",
                allowed=f"at most {validation.max_quarantined_fraction:g} of the clips",
                remedy="See `mer quarantine list` for the reason of each clip",
            ),
        ),
    )


def drift_suite(measures: Iterable[Measure], drift: Drift) -> Suite:
    """One row: the dataset, with one column per measure of how far it moved from the accepted version."""
    return Suite(
        name=DRIFT,
        key="dataset",
        expectations=tuple(
            Expectation(
                name=measure.name,
                kind="expect_column_values_to_be_between",
                arguments={"column": measure.name, "max_value": measure.limit},
                level="critical" if drift.on_drift == "stop" else "warning",
                says=f"As when it was last accepted: {measure.what} ({measure.seen})",
                allowed=f"at most {measure.limit:g} from the accepted version",
                remedy="If the change is intended, run `mer accept`; else find out what was lost, added or changed",
            )
            for measure in measures
        ),
    )
