"""People who took their consent back: `withdrawn.json` at the project's root, and a corpus without them.

The file is written by `mer withdraw` and committed by whoever runs the project, so it must tell a reader no more than
that somebody withdrew. It holds no id but a SHA-256 of it, with a salt of its own an entry: the stage, which has the
corpus and so the ids, can tell who is meant, and two entries cannot be compared. Who has the same corpus can try its
ids too: it keeps names out of sight, it makes nobody anonymous.

As long as an entry stands, the `datasets` stage leaves the person out, whatever the corpus still holds.
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
        """Whether the entry is about this person."""
        return salted_sha256(self.salt, subject_id) == self.sha256


def salted_sha256(salt: str, subject_id: str) -> str:
    """SHA-256 in hex of a subject id behind a salt."""
    return hashlib.sha256(f"{salt}\0{subject_id}".encode(errors="surrogateescape")).hexdigest()


def read_withdrawn(root: Path, dataset: str | None = None) -> tuple[Withdrawal, ...]:
    """The entries of a project, of one dataset or of all; none when there is no file.

    Raises:
        ConfigError: the file is damaged. Nothing may be read from a corpus then: it would bring everybody back.
    """
    path = root / FILE
    if not path.exists():
        return ()
    try:
        entries = tuple(Withdrawal(**entry) for entry in read_json(path))
        if not all(isinstance(value, str) for entry in entries for value in asdict(entry).values()):
            raise TypeError("a value is no text")
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            "this is no list of withdrawals",
            where=FILE,
            seen=str(error),
            allowed="a list of {dataset, salt, sha256, at}",
            remedy="Bring it back as it was committed; `mer withdraw` alone writes it",
        ) from error
    return tuple(entry for entry in entries if dataset in (None, entry.dataset))


def withdrawal_of(root: Path, dataset: str, subject_id: str) -> Withdrawal | None:
    """The entry about a person, or None."""
    return next((entry for entry in read_withdrawn(root, dataset) if entry.means(subject_id)), None)


def record(root: Path, dataset: str, subject_id: str, *, day: date) -> Withdrawal:
    """Adds a person to the file, unless they stand in it; returns their entry."""
    known = withdrawal_of(root, dataset, subject_id)
    if known is not None:
        return known
    salt = secrets.token_hex(SALT_BYTES)
    entry = Withdrawal(dataset=dataset, salt=salt, sha256=salted_sha256(salt, subject_id), at=day.isoformat())
    entries = sorted((*read_withdrawn(root), entry), key=lambda one: (one.dataset, one.at, one.sha256))
    write_json(root / FILE, [asdict(one) for one in entries])
    return entry


def people_in(scan: Scan, clip: Clip) -> tuple[str, ...]:
    """The subject ids of everybody in a clip."""
    return tuple(f"{clip.dataset}/{name}" for name in scan.people.get(clip.clip_id, ())) or (clip.subject_id,)


def leave_out(scan: Scan, withdrawn: Collection[Withdrawal]) -> tuple[Scan, tuple[Clip, ...]]:
    """What is left of a corpus, as though it had never held those people, and the clips that are left out.

    A clip of several people (a dialogue) goes when one of them withdraws. Who counted as one person only by such a
    clip no longer does. An entry that is of nobody is noted: either the corpus no longer holds them, or it names them
    differently now and they are back.
    """
    if not withdrawn:
        return scan, ()
    # Under its joint name too: that is all an earlier table may have told.
    people = {clip.clip_id: {*people_in(scan, clip), clip.subject_id} for clip in scan.clips}
    everybody = {subject for subjects in people.values() for subject in subjects}
    gone = {subject for subject in everybody if any(entry.means(subject) for entry in withdrawn)}
    nobody = sum(not any(entry.means(subject) for subject in gone) for entry in withdrawn)
    notes = [f"{nobody} of {len(withdrawn)} withdrawals are of nobody in the corpus"] if nobody else []
    if not gone:
        return replace(scan, notes=[*scan.notes, *notes]), ()
    left_out = tuple(clip for clip in scan.clips if gone.intersection(people[clip.clip_id]))
    theirs = {clip.clip_id for clip in left_out}
    kept = [clip for clip in scan.clips if clip.clip_id not in theirs]
    rest = replace(
        scan,
        clips=_named_anew(kept, scan),
        quarantined=[row for row in scan.quarantined if row.clip_id not in theirs],
        notes=[*scan.notes, f"{len(left_out)} clips left out: {len(withdrawn) - nobody} people withdrew", *notes],
    )
    return rest, left_out


def _named_anew(clips: Sequence[Clip], scan: Scan) -> list[Clip]:
    """The clips with the joint names that the people in them have without the others."""
    joint = joint_subjects(scan.people[clip.clip_id] for clip in clips if clip.clip_id in scan.people)
    named = []
    for clip in clips:
        names = scan.people.get(clip.clip_id)
        named.append(replace(clip, subject_id=f"{clip.dataset}/{joint[names[0]]}") if names else clip)
    return named
