from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.catalog.splits import SPLITS, Subject, deal, folds, leave_one_dataset_out, splits_of_folds
from components.contracts.errors import DataError

FRACTIONS = {"train": 0.6, "calibration": 0.2, "test": 0.2}
CLASSES = {"neutral": 2, "anger": 2}


def people(names: list[str] | range, dataset: str = "tiny", classes: dict[str, int] | None = None) -> list[Subject]:
    return [
        Subject(subject_id=f"{dataset}/{name}", datasets=(dataset,), clips_per_class=classes or CLASSES)
        for name in names
    ]


NAMES = st.lists(st.text("abcdefgh0123", min_size=1, max_size=4), min_size=3, max_size=40, unique=True)


@given(names=NAMES, seed=st.integers(0, 2**31))
def test_everyone_is_dealt_once_and_every_split_has_somebody(names: list[str], seed: int) -> None:
    dealt = deal(people(names), FRACTIONS, seed)
    assert sorted(dealt) == sorted(f"tiny/{name}" for name in names)
    counts = Counter(dealt.values())
    assert set(counts) == set(SPLITS)
    for split, share in FRACTIONS.items():
        assert abs(counts[split] - share * len(names)) <= 1.5


@given(names=NAMES, seed=st.integers(0, 2**31), data=st.data())
def test_the_deal_does_not_depend_on_order(names: list[str], seed: int, data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(names))
    assert deal(people(names), FRACTIONS, seed) == deal(people(list(shuffled)), FRACTIONS, seed)


@given(names=NAMES, seed=st.integers(0, 2**31))
def test_a_new_subject_moves_at_most_one_other_at_each_cut(names: list[str], seed: int) -> None:
    before = deal(people(names), FRACTIONS, seed)
    after = deal(people([*names, "newcomer"]), FRACTIONS, seed)
    moved = [subject for subject, split in before.items() if after[subject] != split]
    assert len(moved) <= len(FRACTIONS) - 1


@given(names=NAMES, more=NAMES, seed=st.integers(0, 2**31))
def test_another_dataset_moves_nobody(names: list[str], more: list[str], seed: int) -> None:
    before = deal(people(names), FRACTIONS, seed)
    after = deal([*people(names), *people(more, "other")], FRACTIONS, seed)
    assert {subject: after[subject] for subject in before} == before


@given(names=NAMES, seed=st.integers(0, 2**31))
def test_more_clips_of_the_same_people_move_nobody(names: list[str], seed: int) -> None:
    more = people(names, classes={"neutral": 50, "anger": 1})
    assert deal(people(names), FRACTIONS, seed) == deal(more, FRACTIONS, seed)


def test_another_seed_is_another_deal() -> None:
    subjects = people(range(24))
    assert len({tuple(sorted(deal(subjects, FRACTIONS, seed).items())) for seed in range(5)}) == 5


@settings(max_examples=50)
@given(
    kinds=st.lists(st.sets(st.sampled_from(["a", "b", "c", "d"]), min_size=1), min_size=3, max_size=15),
    seed=st.integers(0, 1000),
)
def test_the_repair_never_leaves_train_with_fewer_classes(kinds: list[set[str]], seed: int) -> None:
    mixed = [
        Subject(subject_id=f"tiny/{i}", datasets=("tiny",), clips_per_class=dict.fromkeys(sorted(kind), 1))
        for i, kind in enumerate(kinds)
    ]
    # Where everybody has every class there is nothing to repair, so this is the deal before the exchanges.
    plain = deal(people(range(len(kinds))), FRACTIONS, seed)
    dealt = deal(mixed, FRACTIONS, seed)
    assert Counter(dealt.values()) == Counter(plain.values())
    learned, before = (
        {name for subject in mixed if split_of[subject.subject_id] == "train" for name in subject.clips_per_class}
        for split_of in (dealt, plain)
    )
    assert len(learned) >= len(before)


@pytest.mark.parametrize("seed", range(10))
def test_the_only_person_with_a_class_is_in_train(seed: int) -> None:
    rare = Subject(subject_id="tiny/rare", datasets=("tiny",), clips_per_class={"fear": 1})
    assert deal([*people(range(9)), rare], FRACTIONS, seed)["tiny/rare"] == "train"


@pytest.mark.parametrize("seed", range(10))
def test_a_class_that_three_people_have_is_in_every_split(seed: int) -> None:
    rare = people(["x", "y", "z"], classes={"fear": 1})
    subjects = [*people(range(9)), *rare]
    dealt = deal(subjects, FRACTIONS, seed)
    assert {dealt[subject.subject_id] for subject in rare} == set(SPLITS)


def test_datasets_too_small_for_every_split_are_dealt_together() -> None:
    subjects = [subject for name in "abc" for subject in people(["only"], name)]
    assert sorted(deal(subjects, FRACTIONS, 0).values()) == sorted(SPLITS)


def test_one_person_in_two_datasets_is_in_one_split() -> None:
    both = Subject(subject_id="p", datasets=("a", "b"), clips_per_class=CLASSES)
    dealt = deal([both, *people(range(4), "a"), *people(range(4), "b")], FRACTIONS, 0)
    assert dealt["p"] in SPLITS


def test_fewer_people_than_splits_is_refused() -> None:
    with pytest.raises(DataError, match="too few subjects") as caught:
        deal(people(["a", "b"]), FRACTIONS, 0)
    assert "tiny/a, tiny/b" in str(caught.value)


@given(names=st.lists(st.text("abcdef", min_size=1), min_size=5, max_size=30, unique=True), seed=st.integers(0, 999))
def test_folds_are_even_and_a_new_subject_moves_at_most_one_at_each_cut(names: list[str], seed: int) -> None:
    before = folds(people(names), 5, seed)
    counts = Counter(before.values())
    assert set(counts) == set(range(5))
    assert max(counts.values()) - min(counts.values()) <= 1
    after = folds(people([*names, "newcomer"]), 5, seed)
    assert sum(after[subject] != fold for subject, fold in before.items()) <= 4


def test_every_fold_is_tested_once() -> None:
    fold_of = folds(people(range(10)), 5, 0)
    tested = [
        subject for fold in range(5) for subject, split in splits_of_folds(fold_of, fold).items() if split == "test"
    ]
    assert sorted(tested) == sorted(fold_of)
    assert Counter(splits_of_folds(fold_of, 4).values()) == {"train": 6, "calibration": 2, "test": 2}


def test_a_fold_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match="no such fold"):
        splits_of_folds({"a": 0, "b": 1, "c": 2}, 3)
    with pytest.raises(DataError, match="fewer folds than splits"):
        splits_of_folds({"a": 0, "b": 1}, 0)
    with pytest.raises(DataError, match="fewer subjects than folds"):
        folds(people(["a", "b"]), 3, 0)


def test_a_dataset_left_out_is_tested_by_all_of_its_people_and_by_nobody_else() -> None:
    both = Subject(subject_id="both", datasets=("one", "two"), clips_per_class=CLASSES)
    everyone = [*people(range(4), "one"), *people(range(8), "two"), *people(range(3), "three"), both]
    split_of = leave_one_dataset_out(everyone, "one", 0)
    assert {name for name, split in split_of.items() if split == "test"} == {*(f"one/{i}" for i in range(4)), "both"}
    assert Counter(split_of.values()) == {"test": 5, "train": 8, "calibration": 3}
    with pytest.raises(DataError, match="this dataset has no subjects"):
        leave_one_dataset_out(everyone, "four", 0)
    with pytest.raises(DataError, match="too few subjects"):
        leave_one_dataset_out(people(range(4), "one"), "one", 0)
