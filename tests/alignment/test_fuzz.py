from __future__ import annotations

from pathlib import Path

from tests.alignment.fuzz import STRUCTURED, SUFFIXES, case, main, original, run

CASES = 400
STAMPS_CASES = 60
STRUCTURED_CASES = 60
# What earlier runs found, each with what it was.
FOUND = {
    1957: "sound without timestamps",
    4867: "sound without timestamps in a stream of its own",
    2019: "a stream that begins within the file",
    9743: "more channels than have names",
    11403: "a jump of the timestamps at every sample",
    21036: "a column whose name is not UTF-8",
    32674: "more planes than PyAV knows of, which ended the process",
}


def test_whatever_the_bytes_are_they_are_aligned_or_refused(tmp_path: Path) -> None:
    words, failures = run(iter(range(CASES)), tmp_path, None, float("inf"))
    assert not failures
    assert words.total() == CASES
    assert words["aligned"] > CASES // 10
    assert {"not-media", "truncated"} <= words.keys()


def test_odd_matrices_sizes_and_layouts_are_aligned_or_refused(tmp_path: Path) -> None:
    words, failures = run(iter(range(STRUCTURED, STRUCTURED + STRUCTURED_CASES)), tmp_path, None, float("inf"))
    assert not failures
    assert words["aligned"] > STRUCTURED_CASES // 3


def test_what_was_found_stays_mended(tmp_path: Path) -> None:
    words, failures = run(iter(FOUND), tmp_path, None, float("inf"))
    assert not failures
    assert words.total() == len(FOUND)


def test_whatever_the_stamps_are_the_file_is_aligned_or_refused(tmp_path: Path) -> None:
    words, failures = run(iter(range(STAMPS_CASES)), tmp_path, None, float("inf"), "stamps")
    assert not failures
    assert words["aligned"] > STAMPS_CASES // 2


def test_most_cases_have_other_stamps() -> None:
    cases = [case(seed, "stamps") for seed in range(60)]
    assert sum(data not in (original(suffix, 0), original(suffix, 1)) for suffix, data in cases) > 40
    assert case(7, "stamps") == case(7, "stamps")


def test_a_case_is_a_function_of_its_seed() -> None:
    assert case(7) == case(7)
    seen = {case(seed)[0] for seed in range(200)}
    assert seen == set(SUFFIXES)
    changed = [case(seed) for seed in range(100)]
    assert sum(data not in (original(suffix, 0), original(suffix, 1)) for suffix, data in changed) > 90


def test_the_file_of_a_case_is_kept(tmp_path: Path) -> None:
    assert main(["--write", "7", str(tmp_path)]) == 0
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes() == case(7)[1]
