"""`mer predict`, once in a process of its own, as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.contracts.errors import DataError
from components.serving.answers.schemas import Answer, Problem
from pipelines.commands.predict import command as predict

# Prints what was imported after the command is done; the command's own output comes before.
SCRIPT = """
import sys
from pathlib import Path
from pipelines.commands.predict import command as predict
code = predict.run([Path(p) for p in sys.argv[3:]], version=sys.argv[1], as_json=sys.argv[2] == "json")
print("ray" in sys.modules, "mlflow" in sys.modules, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.integration
def test_one_bad_clip_does_not_stop_the_others_and_ray_stays_out(
    bundle_folder: Path, clip_path: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "text.mp4"
    bad.write_text("not a clip at all\n")
    clips = [tmp_path / "none.mp4", bad, clip_path]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(bundle_folder), "json", *map(str, clips)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 3
    missing, text, answer = done.stdout.splitlines()
    assert Problem.model_validate(json.loads(missing)).error.code == "missing-file"
    assert Problem.model_validate(json.loads(text)).error.code == "unsupported-media"
    assert Answer.model_validate_json(answer).clip.name == "clip.mp4"
    assert done.stderr.splitlines()[-1] == "False False"


@pytest.mark.integration
def test_for_people_it_prints_a_timeline_and_ends_with_zero(
    bundle_folder: Path, clip_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict.run([clip_path.parent], version=str(bundle_folder)) == 0
    shown = capsys.readouterr().out
    assert "clip.mp4  2.0 s" in shown
    assert "emotion" in shown
    assert "version" in shown


@pytest.mark.parametrize(
    ("given", "words"),
    [("{folder}/words.srt", "Write @"), ("@{folder}/words.doc", "bytes|not text"), ("@{folder}/gone", "cannot read")],
)
def test_a_transcript_that_cannot_be_read_is_refused_before_any_clip(tmp_path: Path, given: str, words: str) -> None:
    (tmp_path / "words.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nwell\n")
    (tmp_path / "words.doc").write_bytes(b"\xd0\xcf\x11\xe0")
    with pytest.raises(DataError, match=words):
        predict.run([tmp_path / "a.mp4"], transcript=given.format(folder=tmp_path))
