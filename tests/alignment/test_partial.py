from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from components.alignment.outcome import ClipOutcome, packed, refused
from components.alignment.partial import FILE_CLIPS, SUFFIX, Partial, PartialWriter, Receipt
from components.contracts.errors import MediaError
from components.contracts.records import ALIGNED_SCHEMA, Clip
from components.datasets.staged import Staging
from tests.builders import make_aligned_clip, make_clip


def asked(_: str) -> str:
    return "this"


def clip(number: int) -> Clip:
    return make_clip(f"{number:03d}", audio_path=f"{number}.wav")


def result(number: int) -> ClipOutcome:
    aligned = make_aligned_clip(f"{number:03d}", seed=number, steps=5)
    row = pa.Table.from_pylist([aligned.to_row()], schema=ALIGNED_SCHEMA)
    one = clip(number)
    return ClipOutcome(clip_id=one.clip_id, content_sha256=one.content_sha256, row=row, quality=aligned.quality)


def bad(number: int, code: str) -> ClipOutcome:
    error = MediaError("this is no media", where="x")
    error.code = code
    return refused(clip(number), error)


def write(folder: Path, results: list[ClipOutcome]) -> list[Receipt]:
    staging = Staging(folder=folder)
    staging.prepare()
    receipts = []
    with PartialWriter(staging) as written:
        for one in results:
            receipts += written.add(clip(int(one.clip_id.rpartition("/")[2])), asked(""), packed(one))
        receipts += written.flush()
    return receipts


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    results = [result(k) for k in range(FILE_CLIPS + 3)]
    first = Partial(tmp_path / "p", asked)
    receipts = write(tmp_path / "p", results)
    assert len(list((tmp_path / "p").iterdir())) == 2
    for number, receipt in enumerate(receipts):
        assert first.note(clip(number), receipt) == replace(results[number], row=None)
    assert first.row(results[-1].clip_id).equals(results[-1].row)
    again = Partial(tmp_path / "p", asked)
    for number in (FILE_CLIPS + 2, 0, 7):
        assert again.recall(clip(number)) == replace(results[number], row=None)
        assert again.row(results[number].clip_id).equals(results[number].row)
    assert again.recall(clip(99)) is None


def test_what_is_done_is_written_also_where_an_error_ends_the_rest(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), PartialWriter(Staging(folder=tmp_path)) as written:
        failing(written)
    assert Partial(tmp_path, asked).recall(clip(1)) is not None


def failing(written: PartialWriter) -> None:
    assert written.add(clip(1), asked(""), packed(result(1))) == []
    raise RuntimeError


def test_only_what_was_asked_of_the_same_content_holds(tmp_path: Path) -> None:
    write(tmp_path, [result(1), bad(2, "not-media")])
    assert Partial(tmp_path, lambda _: "something else").recall(clip(1)) is None
    again = Partial(tmp_path, asked)
    assert again.recall(replace(clip(1), content_sha256="0" * 64)) is None
    found = again.recall(clip(2))
    assert found is not None
    assert found.quarantined == bad(2, "not-media").quarantined
    assert again.recall(replace(clip(2), audio_path="elsewhere.wav")) is None


def test_what_may_have_passed_by_itself_is_not_kept(tmp_path: Path) -> None:
    (receipt,) = write(tmp_path, [bad(1, "missing-file")])
    assert receipt.file is None
    first = Partial(tmp_path, asked)
    assert first.note(clip(1), receipt).quarantined == bad(1, "missing-file").quarantined
    assert Partial(tmp_path, asked).recall(clip(1)) is None


def test_a_file_that_was_cut_off_or_changed_is_no_result(tmp_path: Path) -> None:
    write(tmp_path, [result(number) for number in range(2 * FILE_CLIPS)])
    cut, changed = sorted(tmp_path.glob(f"*{SUFFIX}"))
    cut.write_bytes(cut.read_bytes()[:-100])
    data = bytearray(changed.read_bytes())
    data[len(data) // 2] ^= 1
    changed.write_bytes(data)
    again = Partial(tmp_path, asked)
    assert [again.recall(clip(number)) for number in range(2 * FILE_CLIPS)] == [None] * 2 * FILE_CLIPS
    assert not list(tmp_path.iterdir())
