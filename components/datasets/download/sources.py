"""Sources of the openly licensed corpora: hosts, file names, sizes and checksums as their hosts publish them.

Checksums are requested from the host at download time: Zenodo's record, the git-LFS pointer, the header of a large file
on Hugging Face. Two archives (EmoDB, WESAD) come from sites without checksums: the first download is recorded, see
`fetch.py`.
"""

from __future__ import annotations

import csv
import fnmatch
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from components.contracts.codes import Code
from components.contracts.errors import DataError
from components.datasets.corpora.cremad import NAME as CREMAD_NAME
from components.datasets.download.fetch import Remote, checksum, get

if TYPE_CHECKING:
    import httpx

ZENODO = "https://zenodo.org/api/records/1188976"
CREMAD_RAW = "https://raw.githubusercontent.com/CheyneyComputerScience/CREMA-D/master"
CREMAD_LFS = "https://media.githubusercontent.com/media/CheyneyComputerScience/CREMA-D/master"
CREMAD_VOTES = "processedResults/summaryTable.csv"
MELD_TABLES = "https://raw.githubusercontent.com/declare-lab/MELD/master/data/MELD"
MELD_RAW = "https://huggingface.co/datasets/declare-lab/MELD/resolve/main/MELD.Raw.tar.gz"
EMODB = "http://emodb.bilderbar.info/download/download.zip"
WESAD = "https://uni-siegen.sciebo.de/s/HGdUkoNlW1Ub0Gx/download"
LFS_POINTER = re.compile(r"version https://git-lfs\S*\noid sha256:([0-9a-f]{64})\nsize (\d+)\n")

Url = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class CorpusPart:
    """A part of a corpus that can be fetched by itself; `files` requests the list of its files from the host."""

    meaning: str
    files: Callable[[httpx.Client, Url], list[Remote]]
    usual: bool = True


def _zenodo(pattern: str) -> Callable[[httpx.Client, Url], list[Remote]]:
    def files(client: httpx.Client, url: Url) -> list[Remote]:
        record: Any = get(client, url(ZENODO)).json()
        try:
            listed = [(str(file["key"]), int(file["size"]), str(file["checksum"]), file) for file in record["files"]]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                "the record is not as expected", where=ZENODO, seen=repr(error), code=Code.LISTING
            ) from error
        chosen = [entry for entry in listed if fnmatch.fnmatchcase(entry[0], pattern)]
        if not chosen:
            raise DataError("the record has no such file", where=ZENODO, seen=len(listed), allowed=pattern)
        return [
            Remote(
                url=url(str(file["links"]["self"])),
                path=_plain(key),
                size=size,
                checksum=checksum(*_halves(published), where=f"{ZENODO}: {key}"),
                unpack=True,
            )
            for key, size, published, file in sorted(chosen, key=lambda entry: entry[0])
        ]

    return files


def _cremad(folder: str, suffix: str) -> Callable[[httpx.Client, Url], list[Remote]]:
    def files(client: httpx.Client, url: Url) -> list[Remote]:
        """The files of every performance in the repository's table of votes."""
        rows = csv.DictReader(io.StringIO(get(client, url(f"{CREMAD_RAW}/{CREMAD_VOTES}")).text))
        names = [row.get("FileName") or "" for row in rows]
        if not names or not all(CREMAD_NAME.fullmatch(name) for name in names):
            seen = next((name for name in names if not CREMAD_NAME.fullmatch(name)), "an empty table")
            raise DataError("the table does not list performances", where=CREMAD_VOTES, seen=seen, code=Code.LISTING)
        paths = [f"{folder}/{name}{suffix}" for name in names]
        return [
            Remote(url=url(f"{CREMAD_LFS}/{path}"), path=path, pointer=url(f"{CREMAD_RAW}/{path}")) for path in paths
        ]

    return files


def _at(base: str, *paths: str) -> Callable[[httpx.Client, Url], list[Remote]]:
    return lambda client, url: [Remote(url=url(f"{base}/{path}"), path=path) for path in paths]


def _archive(address: str, name: str, *, strip: int = 0) -> Callable[[httpx.Client, Url], list[Remote]]:
    return lambda client, url: [Remote(url=url(address), path=name, unpack=True, strip=strip)]


def _meld_raw(client: httpx.Client, url: Url) -> list[Remote]:
    remote = Remote(url=url(MELD_RAW), path="MELD.Raw.tar.gz", unpack=True, strip=1)
    headers = client.head(remote.url, follow_redirects=False).headers
    digits, size = headers.get("X-Linked-ETag", "").strip('"'), headers.get("X-Linked-Size", "")
    if len(digits) != 64 or not size.isdecimal():
        return [remote]
    return [replace(remote, checksum=checksum("sha256", digits, where=MELD_RAW), size=int(size))]


SOURCES: Mapping[str, Mapping[str, CorpusPart]] = {
    "ravdess": {
        "speech": CorpusPart(
            meaning="speech, picture and sound, about 12 GB", files=_zenodo("Video_Speech_Actor_*.zip")
        ),
        "speech-sound": CorpusPart(
            meaning="speech, sound alone, 0.2 GB", files=_zenodo("Audio_Speech_Actors_*.zip"), usual=False
        ),
        "song": CorpusPart(meaning="song, picture and sound", files=_zenodo("Video_Song_Actor_*.zip"), usual=False),
        "song-sound": CorpusPart(meaning="song, sound alone", files=_zenodo("Audio_Song_Actors_*.zip"), usual=False),
    },
    "cremad": {
        "tables": CorpusPart(
            meaning="demographics and votes", files=_at(CREMAD_RAW, "VideoDemographics.csv", CREMAD_VOTES)
        ),
        "sound": CorpusPart(meaning="7,442 wav files", files=_cremad("AudioWAV", ".wav")),
        "picture": CorpusPart(meaning="7,442 flv files", files=_cremad("VideoFlash", ".flv")),
    },
    "emodb": {"all": CorpusPart(meaning="the archive, about 40 MB", files=_archive(EMODB, "emodb.zip"))},
    "meld": {
        "tables": CorpusPart(
            meaning="labels and words",
            files=_at(MELD_TABLES, "train_sent_emo.csv", "dev_sent_emo.csv", "test_sent_emo.csv"),
        ),
        "recordings": CorpusPart(meaning="the scenes, about 11 GB", files=_meld_raw),
    },
    "wesad": {"all": CorpusPart(meaning="the archive, about 2.5 GB", files=_archive(WESAD, "WESAD.zip", strip=1))},
}


def with_pointer(client: httpx.Client, remote: Remote) -> Remote:
    """The file with size and checksum from its git-LFS pointer, if it has one. Raises DataError, UnavailableError."""
    if remote.pointer is None:
        return remote
    text = get(client, remote.pointer).text
    match = LFS_POINTER.match(text)
    if match is None:
        raise DataError("this is not a git-LFS pointer", where=remote.pointer, seen=text[:60], code=Code.LISTING)
    return replace(remote, checksum=f"sha256:{match.group(1)}", size=int(match.group(2)), pointer=None)


def _halves(published: str) -> tuple[str, str]:
    kind, _, digits = published.partition(":")
    return kind, digits


def _plain(name: str) -> str:
    """A file name from a host, which must not lead into a different folder."""
    if PurePosixPath(name).name != name or name.startswith("."):
        raise DataError("this is not a plain file name", where=ZENODO, seen=name, code=Code.LISTING)
    return name
