from __future__ import annotations

from pathlib import Path

import numpy as np

from components.ablation.answers import ALL, Answers, FoldResult, load_result, save_result


def made() -> FoldResult:
    answers = Answers(
        clips=("a", "b"),
        clip=np.array([0, 0, 1]),
        truth=np.array([1, 0, 1]),
        posterior={
            ALL: np.full((3, 2), 0.5, dtype=np.float32),
            "face+voice": np.full((3, 2), np.nan, dtype=np.float32),
        },
        unimodal={"face": np.zeros((3, 2), dtype=np.float32)},
    )
    return FoldResult(
        answers={("test", "clip"): answers, ("calibration", "step"): answers},
        prior={"clip": np.array([0.25, 0.75], dtype=np.float32)},
        facts={"parameters": 3, "core_seconds": {"train": 1.5}},
    )


def test_a_result_comes_back_as_it_was(tmp_path: Path) -> None:
    result = made()
    save_result(tmp_path / "r", result)
    again = load_result(tmp_path / "r")
    assert again is not None
    assert again.facts == result.facts
    assert again.answers.keys() == result.answers.keys()
    for place, answers in result.answers.items():
        assert again.answers[place].clips == answers.clips
        np.testing.assert_array_equal(again.answers[place].clip, answers.clip)
        np.testing.assert_array_equal(again.answers[place].truth, answers.truth)
        for kind in ("posterior", "unimodal"):
            mine, other = getattr(answers, kind), getattr(again.answers[place], kind)
            assert mine.keys() == other.keys()
            for name in mine:
                np.testing.assert_array_equal(mine[name], other[name])
    np.testing.assert_array_equal(again.prior["clip"], result.prior["clip"])


def test_what_is_not_there_or_not_whole_is_made_again(tmp_path: Path) -> None:
    assert load_result(tmp_path / "none") is None
    save_result(tmp_path / "r", made())
    data = (tmp_path / "r").read_bytes()
    (tmp_path / "r").write_bytes(data[: len(data) // 2])
    assert load_result(tmp_path / "r") is None
