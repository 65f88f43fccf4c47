"""Downloads from a mirror on loopback that has the files under the hosts' own names, through the command line."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.datasets.download.sources import SOURCES
from components.datasets.registry import ADAPTERS
from pipelines.cli import call
from pipelines.commands.datasets import download
from pipelines.commands.datasets.download import mirrored
from tests.datasets.file_server import Files, serving
from tests.datasets.tiny_corpora import CORPORA

ZENODO = "/zenodo.org/api/records/1188976"
CREMAD = "CheyneyComputerScience/CREMA-D/master"
RAW, LFS = f"/raw.githubusercontent.com/{CREMAD}", f"/media.githubusercontent.com/media/{CREMAD}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "params.yaml").write_text("datasets: [synthetic]\nemodb:\n  root: berlin\n")
    (root / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def files() -> Iterator[Files]:
    with serving(Files()) as running:
        yield running


def zipped(folder: Path, top: str = "") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"{top}{path.relative_to(folder).as_posix()}")
    return stream.getvalue()


def corpus(name: str, folder: Path) -> Path:
    folder.mkdir(parents=True)
    CORPORA[name](folder)
    return folder


def get(name: str, files: Files, *more: str) -> int:
    return call(["datasets", "download", name, "--mirror", files.url, *more])


def ravdess(files: Files, tmp_path: Path, **changes: str) -> None:
    """A record with two archives of speech, of which each has a published checksum, and one of song."""
    made = corpus("ravdess", tmp_path / "made")
    listed = []
    for actor in ("01", "02"):
        key, body = f"Video_Speech_Actor_{actor}.zip", zipped(made / f"Actor_{actor}", f"Actor_{actor}/")
        files.content[f"/zenodo.org/api/records/1188976/files/{key}/content"] = body
        listed.append(
            {
                "key": key,
                "size": len(body),
                "checksum": f"md5:{hashlib.md5(body).hexdigest()}",
                "links": {"self": f"https://zenodo.org/api/records/1188976/files/{key}/content"},
                **changes,
            }
        )
    listed.append({**listed[0], "key": "Video_Song_Actor_01.zip"})
    files.content[ZENODO] = json.dumps({"files": listed}).encode()


def test_a_zenodo_record_is_fetched_unpacked_and_checked(
    project: Path, files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ravdess(files, tmp_path)
    assert get("ravdess", files, "--accept-licence", "--to", "here") == 0
    shown = capsys.readouterr().out
    assert "CC BY-NC-SA 4.0 (accepted)" in shown
    assert "2 of 2 files fetched" in shown
    assert (project / "here/Actor_01/01-01-03-01-01-01-01.mp4").is_file()
    assert sorted(path.name for path in (project / "here/.downloads").iterdir()) == [
        f"Video_Speech_Actor_{actor}.zip.{end}" for actor in ("01", "02") for end in ("sha256", "unpacked")
    ]
    assert call(["datasets", "check", "ravdess", "--root", "here"]) == 0
    asked = len(files.asked)
    assert get("ravdess", files, "--accept-licence", "--to", "here") == 0
    assert "all 2 files were there already" in capsys.readouterr().out
    assert len(files.asked) == asked + 1  # the record


def test_what_was_deleted_comes_again(
    project: Path, files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ravdess(files, tmp_path)
    first = next(path for path in files.content if path.endswith("content"))
    wanted = ("--accept-licence", "--to", "here", "--part", "speech")
    assert get("ravdess", files, *wanted) == 0
    shutil.rmtree(project / "here/Actor_01")
    files.asked.clear()
    capsys.readouterr()
    assert get("ravdess", files, *wanted, "--keep") == 0
    assert "1 of 2 files fetched" in capsys.readouterr().out
    assert (project / "here/Actor_01/01-01-03-01-01-01-01.mp4").is_file()
    assert [path for path, _ in files.asked if path != ZENODO] == [first]
    # An archive that was kept is unpacked again; one file that is gone is enough.
    (project / "here/Actor_01/01-01-03-01-01-01-01.mp4").unlink()
    files.asked.clear()
    assert get("ravdess", files, *wanted) == 0
    assert (project / "here/Actor_01/01-01-03-01-01-01-01.mp4").is_file()
    assert [path for path, _ in files.asked] == [ZENODO]


def test_a_broken_off_download_is_completed_by_the_same_command(
    project: Path, files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ravdess(files, tmp_path)
    files.headers[ZENODO] = {"X-Example": "none"}
    (record, first, second) = (ZENODO, *[path for path in files.content if path.endswith("content")])
    assert get("ravdess", files, "--accept-licence", "--to", "here", "--part", "speech") == 0
    (project / "here/.downloads/Video_Speech_Actor_02.zip.unpacked").unlink()
    part = project / "here/.downloads/Video_Speech_Actor_02.zip.part"
    part.write_bytes(files.content[second][:200])
    files.asked.clear()
    assert get("ravdess", files, "--accept-licence", "--to", "here") == 0
    assert files.asked == [(record, None), (second, "bytes=200-")]
    assert not part.exists()
    assert "1 of 2 files fetched" in capsys.readouterr().out
    assert first != second


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"checksum": "md5:" + "0" * 32}, "not the published one"),
        ({"checksum": "none"}, "not a checksum"),
        ({"key": "Video_Speech_Actor_/../../x.zip"}, "not a plain file name"),
        ({"size": "large"}, "not as expected"),
    ],
)
def test_a_record_that_is_wrong_stops_it(  # noqa: PLR0917
    changes: dict[str, str], said: str, project: Path, files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ravdess(files, tmp_path, **changes)
    assert get("ravdess", files, "--accept-licence") == 3
    assert said in capsys.readouterr().err
    assert not list((project / "corpora").rglob("*.mp4"))
    assert not list(project.rglob("x.zip*"))


@pytest.mark.parametrize("many", [1, 50], ids=["several at a time", "one by one"])
def test_git_lfs_files_are_held_against_their_pointers(  # noqa: PLR0917
    many: int,
    project: Path,
    files: Files,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = corpus("cremad", tmp_path / "made")
    (made / "AudioWAV/1001_WSI_HAP_MD.wav").write_bytes((made / "AudioWAV/1001_IEO_ANG_HI.wav").read_bytes())
    for path in made.rglob("*"):
        if path.is_file():
            name, body = path.relative_to(made).as_posix(), path.read_bytes()
            files.content[f"{RAW}/{name}"] = body
            if path.suffix != ".csv":
                digest = hashlib.sha256(body).hexdigest()
                pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(body)}\n"
                files.content[f"{RAW}/{name}"] = pointer.encode()
                files.content[f"{LFS}/{name}"] = body
    monkeypatch.setattr(download, "MANY", many)
    arguments = ("--accept-licence", "--part", "tables", "--part", "sound", "--to", "here")
    whole = files.content[f"{LFS}/AudioWAV/1002_TSI_SAD_LO.wav"]
    files.content[f"{LFS}/AudioWAV/1002_TSI_SAD_LO.wav"] = whole[:-1] + b"x"
    assert get("cremad", files, *arguments) == 3
    assert "not the published one" in capsys.readouterr().err
    files.content[f"{LFS}/AudioWAV/1002_TSI_SAD_LO.wav"] = whole
    assert get("cremad", files, *arguments) == 0
    assert (project / "here/AudioWAV/1002_TSI_SAD_LO.wav").read_bytes() == whole
    files.asked.clear()
    assert get("cremad", files, *arguments) == 0
    assert [path for path, _ in files.asked] == [f"{RAW}/processedResults/summaryTable.csv"]
    assert call(["datasets", "check", "cremad", "--root", "here", "--strict"]) == 0


def test_a_site_without_checksums_is_trusted_the_first_time_and_its_root_is_the_configured_one(
    project: Path, files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = "/emodb.bilderbar.info/download/download.zip"
    files.content[address] = zipped(corpus("emodb", tmp_path / "made"))
    assert get("emodb", files, "--accept-licence", "--keep") == 0
    folder = project / "berlin"
    assert (folder / "wav/03a01Fa.wav").is_file()
    recorded = (folder / ".downloads/emodb.zip.sha256").read_text().split()
    assert recorded == [hashlib.sha256(files.content[address]).hexdigest(), "emodb.zip"]
    (folder / ".downloads/emodb.zip").unlink()
    (folder / ".downloads/emodb.zip.unpacked").unlink()
    files.content[address] = zipped(tmp_path / "made", "new/")
    assert get("emodb", files, "--accept-licence") == 3
    assert "not the file of the first download" in capsys.readouterr().err


def test_a_large_file_is_held_against_the_header_of_its_host(
    project: Path, files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = corpus("meld", tmp_path / "made")
    for table in made.glob("*.csv"):
        files.content[f"/raw.githubusercontent.com/declare-lab/MELD/master/data/MELD/{table.name}"] = table.read_bytes()
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as archive:
        archive.add(made / "train_splits", "train_splits")
    outer = io.BytesIO()
    with tarfile.open(fileobj=outer, mode="w:gz") as archive:
        info = tarfile.TarInfo("MELD.Raw/train.tar.gz")
        info.size = len(inner.getvalue())
        archive.addfile(info, io.BytesIO(inner.getvalue()))
    body = outer.getvalue()
    path = "/huggingface.co/datasets/declare-lab/MELD/resolve/main/MELD.Raw.tar.gz"
    files.content[path] = body
    files.headers[path] = {"X-Linked-ETag": f'"{"0" * 64}"', "X-Linked-Size": str(len(body))}
    assert get("meld", files, "--accept-licence") == 3
    assert "not the published one" in capsys.readouterr().err
    files.headers[path]["X-Linked-ETag"] = f'"{hashlib.sha256(body).hexdigest()}"'
    assert get("meld", files, "--accept-licence") == 0
    folder = project / "corpora/meld"
    assert (folder / "train_splits/dia0_utt1.mp4").is_file()
    assert (folder / "test_sent_emo.csv").is_file()
    assert "1 of 4 files fetched" in capsys.readouterr().out


def test_without_the_licence_accepted_nothing_is_asked_for(
    project: Path, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    assert get("ravdess", files) == 2
    shown = capsys.readouterr().err
    assert "CC BY-NC-SA 4.0" in shown
    assert "--accept-licence" in shown
    assert "https://zenodo.org/records/1188976" in shown
    assert files.asked == []


@pytest.mark.parametrize("name", sorted(set(ADAPTERS) - set(SOURCES)))
def test_for_the_others_it_says_what_to_do(name: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about = ADAPTERS[name].about
    assert call(["datasets", "download", name, "--accept-licence"]) == (7 if about.access == "apply" else 2)
    shown = capsys.readouterr().err
    assert about.how in shown
    assert about.homepage in shown


def test_what_can_be_downloaded_is_what_the_adapters_say() -> None:
    assert {name for name, one in ADAPTERS.items() if one.about.access == "open"} == set(SOURCES)


def test_an_unknown_part_names_the_nearest(project: Path, files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert get("ravdess", files, "--accept-licence", "--part", "speach") == 2
    assert "Did you mean 'speech'?" in capsys.readouterr().err


def test_a_mirror_has_the_files_by_host() -> None:
    assert mirrored("https://a.org/b/c?d=1", "http://m/x/") == "http://m/x/a.org/b/c?d=1"
    assert mirrored("https://a.org/b", None) == "https://a.org/b"


@pytest.mark.parametrize("proxy", ["socks5://user:secret@127.0.0.1:9", "gopher://user:secret@127.0.0.1:9"])
@pytest.mark.parametrize("variable", ["ALL_PROXY", "https_proxy"])
def test_a_proxy_of_an_unknown_kind_is_named_without_its_password(
    variable: str, proxy: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, proxy)
    assert call(["datasets", "download", "emodb", "--accept-licence"]) == 7
    shown = capsys.readouterr().err
    assert f"{variable.lower()}={proxy.partition(':')[0]}://…" in shown
    assert "Name an HTTP proxy" in shown
    assert "secret" not in shown
