"""People who withdrew their consent: `withdrawn.json` at the project's root, and a corpus without them.

The file is written by `mer withdraw` and committed by the operator, so it must not reveal more than that a person
withdrew. Instead of an id it holds a SHA-256 of it, with a separate salt per entry: the stage, which has the corpus and
so the ids, can match the entry to a person, and two entries cannot be compared. Anyone with the same corpus can try its
ids too: the file keeps names out of sight, it does not make anyone anonymous.

As long as an entry exists, the `datasets` stage leaves the person out, whatever the corpus still contains.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

from components.contracts.atomic import read_json, write_json
from components.contracts.errors import ConfigError
from components.contracts.records import Clip
from components.datasets.base import Scan
from components.datasets.names import spellings
from components.datasets.sequences import joint_subjects

FILE = "withdrawn.json"
SALT_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class Withdrawal:
    """One person of one dataset: `sha256` of the salted subject id, both in hex, and the day, `YYYY-MM-DD`."""

    dataset: str
    salt: str
    sha256: str
    at: str

    def means(self, subject_id: str) -> bool:
        """Whether the entry is about this person, in this spelling of the id or one of before (`names.spellings`)."""
        return any(salted_sha256(self.salt, spelled) == self.sha256 for spelled in spellings(subject_id))


def salted_sha256(salt: str, subject_id: str) -> str:
    """SHA-256 in hex of a subject id behind a salt."""
    return hashlib.sha256(f"{salt}\0{subject_id}".encode(errors="surrogateescape")).hexdigest()


def read_withdrawn(root: Path, dataset: str | None = None) -> tuple[Withdrawal, ...]:
    """The entries of a project, of one dataset or of all; none when there is no file.

    Raises:
        ConfigError: the file is damaged. No corpus may be read then: it would include the withdrawn people again.
    """
    path = root / FILE
    if not path.exists():
        return ()
    try:
        entries = tuple(Withdrawal(**entry) for entry in read_json(path))
        if not all(isinstance(value, str) for entry in entries for value in asdict(entry).values()):
            raise TypeError("a value is not text")
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            "this is not a list of withdrawals",
            where=FILE,
            seen=str(error),
            allowed="a list of {dataset, salt, sha256, at}",
            remedy="Restore the committed file; only `mer withdraw` writes it",
        ) from error
    return tuple(entry for entry in entries if dataset in (None, entry.dataset))


def withdrawal_of(root: Path, dataset: str, subject_id: str) -> Withdrawal | None:
    """The entry about a person, or None."""
    return next((entry for entry in read_withdrawn(root, dataset) if entry.means(subject_id)), None)


def record(root: Path, dataset: str, subject_id: str, *, day: date) -> Withdrawal:
    """Adds a person to the file, unless it contains them already; returns their entry."""
    existing = withdrawal_of(root, dataset, subject_id)
    if existing is not None:
        return existing
    salt = secrets.token_hex(SALT_BYTES)
    entry = Withdrawal(dataset=dataset, salt=salt, sha256=salted_sha256(salt, subject_id), at=day.isoformat())
    entries = sorted((*read_withdrawn(root), entry), key=lambda other: (other.dataset, other.at, other.sha256))
    write_json(root / FILE, [asdict(listed) for listed in entries])
    return entry


def people_in(scan: Scan, clip: Clip) -> tuple[str, ...]:
    """The subject ids of all people in a clip."""
    return tuple(f"{clip.dataset}/{name}" for name in scan.people.get(clip.clip_id, ())) or (clip.subject_id,)


def leave_out(scan: Scan, withdrawn: Collection[Withdrawal]) -> tuple[Scan, tuple[Clip, ...]]:
    """The corpus as though it had never contained those people, and the clips that are left out.

    A clip of several people (a dialogue) is left out when one of them withdraws. People who counted as one subject only
    because of such a clip no longer do. An entry that matches no one is noted: either the corpus no longer contains the
    person, or it now names them differently and they are back.
    """
    if not withdrawn:
        return scan, ()
    # Under the clip's joint name too: an earlier table may have held nothing else.
    people = {clip.clip_id: {*people_in(scan, clip), clip.subject_id} for clip in scan.clips}
    subjects = {subject for subjects_of_clip in people.values() for subject in subjects_of_clip}
    gone = {subject for subject in subjects if any(entry.means(subject) for entry in withdrawn)}
    unmatched = sum(not any(entry.means(subject) for subject in gone) for entry in withdrawn)
    notes = [f"{unmatched} of {len(withdrawn)} withdrawals match no one in the corpus"] if unmatched else []
    if not gone:
        return replace(scan, notes=[*scan.notes, *notes]), ()
    left_out = tuple(clip for clip in scan.clips if gone.intersection(people[clip.clip_id]))
    left_out_ids = {clip.clip_id for clip in left_out}
    remaining = [clip for clip in scan.clips if clip.clip_id not in left_out_ids]
    rest = replace(
        scan,
        clips=_renamed(remaining, scan),
        quarantined=[row for row in scan.quarantined if row.clip_id not in left_out_ids],
        notes=[*scan.notes, f"{len(left_out)} clips left out: {len(withdrawn) - unmatched} people withdrew", *notes],
    )
    return rest, left_out


def _renamed(clips: Sequence[Clip], scan: Scan) -> list[Clip]:
    """The clips with the joint names that follow from these clips alone."""
    joint = joint_subjects(scan.people[clip.clip_id] for clip in clips if clip.clip_id in scan.people)
    renamed = []
    for clip in clips:
        names = scan.people.get(clip.clip_id)
        renamed.append(replace(clip, subject_id=f"{clip.dataset}/{joint[names[0]]}") if names else clip)
    return renamed
