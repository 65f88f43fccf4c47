"""What the tables must promise, as plain data; `checkpoint.py` turns it into Great Expectations objects.

Each suite is about one table of `tables.py`. An expectation has one of two levels:

* ``row``: the rows that break it go to quarantine, the run goes on with the others;
* ``critical``: the stage stops.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from components.contracts.config import MODALITIES, AlignmentQuality, Validation
from components.contracts.labels import CANONICAL

Level = Literal["row", "critical"]


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One promise.

    Attributes:
        name: its own name in the project, which becomes the quarantine code of the rows that break it.
        kind: Great Expectations' name of the test.
        arguments: its arguments.
        level: see the module.
        says: the promise in words, for Data Docs and messages.
        allowed: what would be right, in words.
        remedy: what a person can do about it.
    """

    name: str
    kind: str
    arguments: Mapping[str, Any]
    level: Level = "row"
    says: str
    allowed: str
    remedy: str

    @property
    def field(self) -> str:
        """The column or columns it looks at; empty for a whole table."""
        names = (self.arguments.get("column"), self.arguments.get("column_A"), self.arguments.get("column_B"))
        return ", ".join(name for name in names if name)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The promises of one table; `key` is the column that names a row."""

    name: str
    key: str
    expectations: tuple[Expectation, ...]


def structure_suite() -> Suite:
    """One row a column of the three tables that come in: `seen` and `wanted` type."""
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
                remedy="Run the stage that writes this table again; it was written by other code",
            ),
        ),
    )


def clip_suite() -> Suite:
    """The clip table."""
    broken = "Mend the label in the corpus, or its mapping in the adapter"
    return Suite(
        name="clips",
        key="clip_id",
        expectations=(
            _unique("clip_id_is_unique", "Give every clip of the corpus its own id in the adapter"),
            _filled("subject_id", "Say who is in the clip: without it no split can keep people apart"),
            _filled("licence", "Say in the adapter under which licence the corpus may be used"),
            _matches("content_sha256", r"^[0-9a-f]{64}$", "a SHA-256 in hex"),
            Expectation(
                name="emotion_is_known",
                kind="expect_column_values_to_be_in_set",
                arguments={"column": "emotion", "value_set": list(CANONICAL)},
                says="The clip's emotion is a canonical name",
                allowed=", ".join(CANONICAL),
                remedy=broken,
            ),
            _none(
                "unknown_segment_emotion",
                "segment_emotion_is_known",
                "No segment has an emotion that is no canonical name",
                ", ".join(CANONICAL),
                broken,
            ),
            _between("num_labels", 1, None, "at least one", "Label the clip, or leave it out", name="has_a_label"),
            _none(
                "bad_segment",
                "segment_times",
                "Every segment starts before it ends, lies inside the clip and overlaps no other",
                "0 <= start_s < end_s <= duration, no overlap",
                broken,
            ),
            _none(
                "bad_word",
                "word_times",
                "Every word starts before it ends and lies inside the clip",
                "0 <= start_s < end_s <= duration",
                "Mend the transcript's times",
            ),
            _between("valence", -1, 1, "-1 to 1", "Scale the ratings in the adapter"),
            _between("arousal", -1, 1, "-1 to 1", "Scale the ratings in the adapter"),
            _between(
                "subjects_of_content",
                1,
                1,
                "one person",
                "The same recording stands under several people, which would leak between splits; keep one",
                name="one_person_a_recording",
            ),
            _between(
                "emotions_of_content",
                0,
                1,
                "one emotion",
                "The same recording has several labels; keep the right one",
                name="one_emotion_a_recording",
            ),
            _true("aligned", "the clip has a row in the alignment table", "Run the alignment stage again"),
            _true("encoded", "the clip has a row in the feature index", "Run the features stage again"),
        ),
    )


def alignment_suite(quality: AlignmentQuality, validation: Validation) -> Suite:
    """The alignment quality table."""
    offset, drift = quality.max_abs_offset_s, quality.max_abs_drift_s_per_min
    clock = "Look at the file's timestamps; the streams do not belong together as they stand"
    return Suite(
        name="alignment",
        key="clip_id",
        expectations=(
            _unique("clip_id_is_unique", "Run the alignment stage again"),
            _true("has_clip", "the row belongs to a clip of the clip table", "Remove it, or bring the clip back"),
            _true("same_content", "the clip's content is what was aligned", "Run the alignment stage again"),
            *(_given(column, clock) for column in ("duration_s", "offset_s", "drift_s_per_min")),
            _between("duration_s", 0, None, "above 0 s", "The file has no usable length", strict_min=True),
            _between("offset_s", -offset, offset, f"{-offset:g} to {offset:g} s", clock),
            _between("drift_s_per_min", -drift, drift, f"{-drift:g} to {drift:g} s a minute", clock),
            *_coverages(),
            _between(
                "best_coverage",
                quality.min_coverage_any,
                1,
                f"at least {quality.min_coverage_any:g} of the steps in some modality",
                "The clip holds nothing that can be used",
            ),
            _between(
                "speech_fraction",
                validation.min_speech_fraction,
                1,
                f"at least {validation.min_speech_fraction:g}",
                "Lower validation.min_speech_fraction, or leave the clip out",
            ),
        ),
    )


def feature_suite() -> Suite:
    """The feature index, with figures of the stored features beside each row."""
    again = "Delete this dataset's feature folder and run the features stage again"
    return Suite(
        name="features",
        key="clip_id",
        expectations=(
            _unique("clip_id_is_unique", again),
            _true("has_clip", "the row belongs to a clip of the clip table", "Remove it, or bring the clip back"),
            _true("same_content", "the clip's content is what was encoded", "Run the features stage again"),
            _matches("content_sha256", r"^[0-9a-f]{64}$", "a SHA-256 in hex"),
            _between("num_steps", 1, None, "at least one step", again),
            _between("rate_hz", 0, None, "above 0 Hz", again, strict_min=True),
            _between(
                "num_modalities",
                1,
                None,
                "at least one",
                "The clip has no face, voice, words or signal that an encoder could use",
                name="has_a_modality",
            ),
            *_coverages(),
            _none("missing", "features_are_stored", "Every key of the index is in the store", "all keys stored", again),
            _none(
                "wrong_steps", "features_fit_the_grid", "Features have one row a step", "num_steps rows a key", again
            ),
            _none(
                "not_finite",
                "features_are_finite",
                "No valid step has a value that is not finite",
                "finite numbers",
                "Look at the clip's media; if it is sound, the encoder is at fault",
            ),
            _none(
                "constant",
                "features_are_not_constant",
                "No modality is one single number throughout",
                "numbers that differ",
                "Look at the clip's media; if it is sound, the encoder is at fault",
            ),
        ),
    )


def encoder_suite() -> Suite:
    """One row a modality: what the features stage says of its encoder and what is stored."""
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
    """The clips that are left."""
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
    """One row a class that occurs among the clips that are left."""
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
                allowed=f"at least {validation.min_clips_per_class} clips a class",
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
                remedy="`mer quarantine list` says why each clip was set aside",
            ),
        ),
    )


def _unique(name: str, remedy: str) -> Expectation:
    return Expectation(
        name=name,
        kind="expect_column_values_to_be_unique",
        arguments={"column": "clip_id"},
        level="critical",
        says="No clip id stands twice",
        allowed="each clip id once",
        remedy=remedy,
    )


def _filled(column: str, remedy: str) -> Expectation:
    return _matches(column, r"\S", "a non-empty text", name=f"{column}_is_given", remedy=remedy)


def _given(column: str, remedy: str) -> Expectation:
    return Expectation(
        name=f"{column}_is_known",
        kind="expect_column_values_to_not_be_null",
        arguments={"column": column},
        says=f"`{column}` is a number",
        allowed="a number",
        remedy=remedy,
    )


def _matches(
    column: str, regex: str, allowed: str, *, name: str | None = None, remedy: str = "Run the stage before again"
) -> Expectation:
    return Expectation(
        name=name or f"{column}_format",
        kind="expect_column_values_to_match_regex",
        arguments={"column": column, "regex": regex},
        says=f"`{column}` is {allowed}",
        allowed=allowed,
        remedy=remedy,
    )


def _between(
    column: str,
    low: float | None,
    high: float | None,
    allowed: str,
    remedy: str,
    *,
    strict_min: bool = False,
    name: str | None = None,
) -> Expectation:
    bounds: dict[str, Any] = {"min_value": low, "max_value": high, "strict_min": strict_min or None}
    return Expectation(
        name=name or f"{column}_in_range",
        kind="expect_column_values_to_be_between",
        arguments={"column": column, **{key: value for key, value in bounds.items() if value is not None}},
        says=f"`{column}` is in range: {allowed}",
        allowed=allowed,
        remedy=remedy,
    )


def _none(column: str, name: str, says: str, allowed: str, remedy: str) -> Expectation:
    # The column holds the first thing that is wrong with the row, in words, so that the report can show it.
    return Expectation(
        name=name,
        kind="expect_column_values_to_be_null",
        arguments={"column": column},
        says=says,
        allowed=allowed,
        remedy=remedy,
    )


def _true(column: str, says: str, remedy: str) -> Expectation:
    return Expectation(
        name=column,
        kind="expect_column_values_to_be_in_set",
        arguments={"column": column, "value_set": ["yes"]},
        says=says[0].upper() + says[1:],
        allowed="yes",
        remedy=remedy,
    )


def _coverages() -> Iterable[Expectation]:
    for modality in MODALITIES:
        yield _between(f"coverage_{modality}", 0, 1, "0 to 1", "Run the stage that wrote it again")
