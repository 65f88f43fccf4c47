from __future__ import annotations

from typing import Any

import pytest

from components.datasets.corpora.feature_rows import FeatureRow
from components.datasets.sequences import joint_subjects, sequenced


def row(name: str, start_s: float | None = None, end_s: float | None = None, **fields: Any) -> FeatureRow:
    defaults: dict[str, Any] = dict.fromkeys(
        ("label", "split", "session", "valence", "arousal", "text_id", "transcript"), None
    )
    values = {"subject": "ann", "sequence": "d", "groups": {}, **defaults, **fields}
    return FeatureRow(clip_id=name, start_s=start_s, end_s=end_s, **values)


def places(*rows: FeatureRow) -> list[tuple[str, float, float]]:
    sequence, _ = sequenced("d", rows, 0.1, dataset="x")
    assert sequence is not None
    return [(one.row.clip_id, one.start_s, one.end_s) for one in sequence.utterances]


def test_rows_with_times_are_placed_by_them_from_the_first_on() -> None:
    assert places(row("b", 14.0, 15.0), row("a", 10.0, 12.0)) == [("a", 0.0, 2.0), ("b", 4.0, 5.0)]


def test_rows_without_times_follow_each_other_in_the_tables_order() -> None:
    found = places(row("z"), row("a"), row("m"))
    assert [name for name, _, _ in found] == ["z", "a", "m"]
    assert [start_s for _, start_s, _ in found] == pytest.approx([0.0, 0.1, 0.2])


def test_an_utterance_ends_where_the_next_one_begins() -> None:
    assert places(row("a", 0.0, 3.0), row("b", 2.0, 4.0)) == [("a", 0.0, 2.0), ("b", 2.0, 4.0)]


def test_of_two_that_begin_together_the_first_counts() -> None:
    sequence, [refused] = sequenced("d", [row("a", 1.0, 2.0), row("b", 1.0, 5.0)], 0.1, dataset="x")
    assert sequence is not None
    assert [one.row.clip_id for one in sequence.utterances] == ["a"]
    assert (refused.clip_id, refused.code) == ("x/b", "bad-sequence")
    assert "begins together with 'a'" in refused.message


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row("a", 0.0, 1.0), row("b")], "some rows have times and others none, the first 'b'"),
        ([row("a", split="train"), row("b", split="test")], "several splits: test, train"),
        ([row("a", split="train"), row("b")], "several splits: none, train"),
    ],
)
def test_a_sequence_that_does_not_hold_together_is_set_aside(rows: list[FeatureRow], words: str) -> None:
    sequence, [refused] = sequenced("d", rows, 0.1, dataset="x")
    assert sequence is None
    assert refused.code == "bad-sequence"
    assert words in refused.message


def test_a_sequence_has_the_groups_that_all_its_rows_share() -> None:
    first = row("a", groups={"language": "en", "gender": "f"})
    second = row("b", groups={"language": "en", "gender": "m"})
    sequence, _ = sequenced("d", [first, second], 0.1, dataset="x")
    assert sequence is not None
    assert sequence.groups == {"language": "en"}


def test_people_who_meet_count_as_one_across_sequences() -> None:
    found = joint_subjects([["ann", "bo"], ["bo", "cy"], ["dee", "dee"]])
    assert found == {"ann": "ann+bo+cy", "bo": "ann+bo+cy", "cy": "ann+bo+cy", "dee": "dee"}


def test_a_name_for_many_people_stays_short_and_their_own() -> None:
    crowd = [f"p{number}" for number in range(40)]
    one, other = (set(joint_subjects([people]).values()) for people in (crowd, crowd[:-1]))
    assert one != other
    assert all(len(name) < 60 for name in one | other)
