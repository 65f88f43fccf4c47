"""`mer submit` on a tiny corpus in the challenge's layout, with a real version."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.errors import DataError, MediaError
from components.contracts.labels import ABAW8
from components.evaluation.abaw import HEADER
from components.registry.bundle import load_bundle
from components.serving.predictor import Predictor
from pipelines.commands import abaw
from tests.datasets.tiny_corpora import affwild2, crops, talking
from tests.serving.bundles import tiny_bundle


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    (root / "corpus").mkdir()
    affwild2(root / "corpus")
    talking(root / "corpus" / "test.mp4", fps=20.0)
    crops(root / "corpus" / "cropped_aligned" / "test", [2, 3, 9, 10, 11])
    tiny_bundle(root / "bundle", modalities=("face",))
    (root / "params.yaml").write_text("datasets: [affwild2]\naffwild2: {root: corpus}\n")
    return root


def submit(project: Path, text: str, **options: str) -> list[str]:
    (project / "list.txt").write_text(text)
    out = project / "out" / "predictions.txt"
    out.unlink(missing_ok=True)
    assert abaw.run(project / "list.txt", out, version=str(project / "bundle"), root=project, **options) == 0
    return out.read_text().splitlines()


def test_every_frame_of_the_list_has_a_class_in_its_order(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = f"{HEADER}\ntest/00012.jpg\nvideo5_right/00003.jpg,0\ntest/00001.jpg\nvideo5_left\ntest/00040.jpg\n"
    lines = submit(project, text)
    assert lines[0] == HEADER
    assert [line.partition(",")[0] for line in lines[1:]] == [
        "test/00012.jpg",
        "video5_right/00003.jpg",
        "test/00001.jpg",
        *(f"video5_left/{number:05d}.jpg" for number in range(1, 13)),
        "test/00040.jpg",
    ]
    assert all(0 <= int(line.partition(",")[2]) < 8 for line in lines[1:])
    printed = capsys.readouterr()
    assert "16 frames of 3 videos, by bundle unregistered" in printed.out
    assert "1 beyond the video's last frame" in printed.err


def test_a_frame_has_the_answer_of_its_own_moment_and_without_a_crop_that_of_the_nearest(project: Path) -> None:
    from components.datasets.corpora.affwild2 import Affwild2Options, CorpusFiles

    files = CorpusFiles(Affwild2Options(root="corpus"), project)
    answer = Predictor(load_bundle(project / "bundle"), root=project).predict(files.clip(files.find("test")))
    # At 20 frames per second frames 1 and 2 are of step 0, 3 and 4 of step 1, 9 and 10 of step 4, 11 and 12 of step 5.
    assert [bool(moment.present) for moment in answer.timeline][:6] == [True, True, False, False, True, True]
    classes = [None if moment.emotion is None else ABAW8.classes.index(moment.emotion) for moment in answer.timeline]
    lines = submit(project, "test")
    step_of_frame = [0, 0, 1, 1, 1, 1, 4, 4, 4, 4, 5, 5]
    assert [int(line.partition(",")[2]) for line in lines[1:]] == [classes[step] for step in step_of_frame]


def test_a_video_that_cannot_be_judged_stops_it_unless_a_class_is_named(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "test/00002.jpg\nvideo8/00001.jpg\nnowhere/00003.jpg\n"
    with pytest.raises(DataError, match="cannot be judged") as refused:
        submit(project, text)
    assert refused.value.where == "video8"
    assert refused.value.code == "lfs-pointer"
    assert not (project / "out" / "predictions.txt").exists()
    lines = submit(project, text, fill="other")
    assert lines[2:] == ["video8/00001.jpg,7", "nowhere/00003.jpg,7"]
    assert "of nowhere, which cannot be judged: other (there are no cropped pictures of this name)" in (
        capsys.readouterr().err
    )
    with pytest.raises(MediaError):
        submit(project, "nowhere", fill="other")  # the number of its frames is unknown
    with pytest.raises(DataError, match="happiness"):
        submit(project, text, fill="hapiness")


def test_the_corpus_can_lie_elsewhere(project: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus").symlink_to(project / "corpus")
    (project / "list.txt").write_text("test/00002.jpg")
    out = tmp_path / "out.txt"
    (tmp_path / "params.yaml").write_text("datasets: [synthetic]\n")
    abaw.run(project / "list.txt", out, version=str(project / "bundle"), corpus=tmp_path / "corpus", root=tmp_path)
    assert out.read_text().splitlines() == submit(project, "test/00002.jpg")
