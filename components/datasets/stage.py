"""The `datasets` stage: one corpus in its own layout → `clips.parquet`, `quarantine.parquet`, `summary.json`.

It runs the corpus's adapter, then does what is the same for all: moves duplicate ids, unknown emotion names and files
that are not media into quarantine, and hashes the content of the rest. It reads names and hashes files; no Ray needed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from components.contracts.atomic import write_json, write_table
from components.contracts.codes import Code
from components.contracts.config import Labels
from components.contracts.errors import DataError, MediaError
from components.contracts.fingerprint import fingerprint
from components.contracts.labels import Taxonomy
from components.contracts.layout import Layout
from components.contracts.records import Clip, GivenFeatures, Quarantined, clip_table, quarantine_table
from components.datasets import registry
from components.datasets.base import STAGE, Adapter
from components.datasets.content import HashCache, clips_cache, content_sha256, inputs_cache
from components.datasets.given_check import check_given
from components.datasets.names import scan_of
from components.datasets.withdrawn import leave_out, read_withdrawn
from components.media.numbered import numbered_pictures
from components.media.probe import probe_media, probe_physio
from components.runtime.progress import progress

HASHING_THREADS = 4
DEFAULT_LABELS = Labels()
# One word that ends like the name of a file: the path of a transcript, where its words belong.
TEXT_PATH = re.compile(
    r"\S+\.(?:txt|srt|vtt|json|jsonl|textgrid|csv|tsv|ass|ssa|lab|ctm|docx?|rtf|pdf|wav|mp3|m4a|flac|mp4|mkv)",
    re.IGNORECASE,
)
CORRECT = "Correct the text; unreadable text often comes from a wrong encoding, or from a different file"
MAX_TEXT_CHARACTERS = 100_000  # half an hour of fast speech has a third as many
FIRST_PRINTABLE = 0x20


def run(
    name: str, layout: Layout, *, section: Mapping[str, Any], seed: int, labels: Labels = DEFAULT_LABELS
) -> dict[str, Any]:
    """Scans one dataset and writes its clip table; `section` is the dataset's section of `params.yaml`, and `labels`
    says which names of emotions are known beside the canonical ones.

    Returns:
        The summary, which is also written as `summary.json`.

    Raises:
        ConfigError: the dataset or a key of its section is unknown, or the list of withdrawals is damaged.
        DataError: the corpus folder does not exist, or no clip in it can be used (the quarantine table is written
            first, so that nothing is lost).
    """
    adapter = registry.adapter(name, section)
    options = adapter.options(section)
    withdrawn = read_withdrawn(layout.root, name)
    scan, left_out = leave_out(scan_of(adapter, options, layout.root, seed), withdrawn)
    _remove_own_media(left_out, layout, name)
    unrepeated, repeated = unique(scan.clips)
    named, unknown = with_known_labels(unrepeated, labels.resolved)
    cache = HashCache(clips_cache(layout, name), known=inputs_cache(layout, name))
    readable = check_given(named, layout.root)
    clips, refused = _checked(list(readable.clips), readable.hashes, layout.root, cache)
    cache.save()
    set_aside = (*scan.quarantined, *repeated, *unknown, *readable.quarantined, *refused)
    quarantined = [portable(row, layout.root) for row in set_aside]
    folder = layout.dataset(name)
    write_table(folder / "quarantine.parquet", quarantine_table(quarantined))
    if not clips:
        for stale in ("clips.parquet", "summary.json"):  # of an earlier run: no longer valid
            (folder / stale).unlink(missing_ok=True)
        first = f"the first of them: {quarantined[0].message}" if quarantined else "the folder holds no clip of it"
        if left_out:
            first = f"{len(left_out)} clips of people who withdrew"
        raise DataError(
            f"not one usable clip; {len(quarantined)} in quarantine",
            where=name,
            seen=first,
            remedy=f"See {folder / 'quarantine.parquet'} and the section `{name}:` of params.yaml",
            code=Code.EMPTY_CORPUS,
        )
    write_table(folder / "clips.parquet", clip_table(clips))
    summary = _summary(adapter, clips, quarantined, scan.notes)
    write_json(folder / "summary.json", summary)
    return summary


def _remove_own_media(clips: Iterable[Clip], layout: Layout, name: str) -> None:
    """Deletes media that the adapter rendered for these clips; a corpus outside the project is never touched."""
    own = layout.dataset(name)
    for clip in clips:
        for path in (clip.video_path, clip.audio_path, clip.physio_path):
            if path is not None and (layout.root / path).is_relative_to(own):
                (layout.root / path).unlink(missing_ok=True)


def unique(clips: Iterable[Clip]) -> tuple[list[Clip], list[Quarantined]]:
    """The first clip with each id, and a quarantine row for each further one."""
    first: dict[str, Clip] = {}
    repeated: list[Quarantined] = []
    for clip in clips:
        if clip.clip_id not in first:
            first[clip.clip_id] = clip
            continue
        used, repeat = first[clip.clip_id].main_path, clip.main_path
        repeated.append(
            _refusal(
                clip,
                code=Code.DUPLICATE_ID,
                message=f"two clips are called {clip.clip_id}; {used} is used, {repeat} is not",
                path=repeat,
                remedy="Rename or remove one of the two files",
            )
        )
    return list(first.values()), repeated


def _checked(
    clips: list[Clip], hashes: Mapping[GivenFeatures, str], root: Path, cache: HashCache
) -> tuple[list[Clip], list[Quarantined]]:
    """Clips with their content hash, and a quarantine row for each that cannot be used."""
    good: list[Clip] = []
    refused: list[Quarantined] = []
    with ThreadPoolExecutor(HASHING_THREADS) as pool, progress("datasets: check and hash", len(clips)) as advance:
        for outcome in pool.map(lambda clip: _check(clip, hashes, root, cache), clips):
            if isinstance(outcome, Clip):
                good.append(outcome)
            else:
                refused.append(outcome)
            advance(1)
    return good, refused


def _check(clip: Clip, hashes: Mapping[GivenFeatures, str], root: Path, cache: HashCache) -> Clip | Quarantined:
    refusal = unusable(clip, root)
    if refusal is not None:
        return refusal
    digests = [hashes[features] for features in clip.given]
    return replace(clip, content_sha256=content_sha256(clip, root, cache, given=digests))


def with_known_labels(clips: Iterable[Clip], taxonomy: Taxonomy) -> tuple[list[Clip], list[Quarantined]]:
    """The clips with every label under the name by which it is known, and a quarantine row for each unknown label.

    A clip of unknown emotion is left out. So is a recording with an unknown label in one of its segments, unless it is
    a sequence of given features, of which that utterance alone stays without a label.
    """
    known: list[Clip] = []
    refused: list[Quarantined] = []
    for clip in clips:
        names = {label: taxonomy.name_of(label) for label in _labels(clip)}
        unknown = [label for label, name in names.items() if name is None]
        keeps = bool(clip.given) and (clip.emotion is None or names[clip.emotion] is not None)
        refused += [_unknown(clip, label, taxonomy, used=keeps) for label in (unknown if keeps else unknown[:1])]
        if unknown and not keeps:
            continue
        segments = tuple(replace(one, emotion=name) for one in clip.segments if (name := names[one.emotion]))
        emotion = None if clip.emotion is None else names[clip.emotion]
        same = (emotion, segments) == (clip.emotion, clip.segments)
        known.append(clip if same else replace(clip, emotion=emotion, segments=segments))
    return known, refused


def _labels(clip: Clip) -> list[str]:
    names = [clip.emotion, *(segment.emotion for segment in clip.segments)]
    return list(dict.fromkeys(name for name in names if name is not None))


def _unknown(clip: Clip, label: str, taxonomy: Taxonomy, *, used: bool) -> Quarantined:
    starts_s = [segment.start_s for segment in clip.segments if segment.emotion == label]
    where = f" at {starts_s[0]:g} s; what has it ({len(starts_s)} in all) is used without a label" if used else ""
    return _refusal(
        clip,
        code=Code.UNKNOWN_EMOTION,
        message=f"{clip.clip_id}: unknown emotion name {label!r}{where}",
        path=clip.main_path,
        field="emotion",
        seen=label,
        allowed=", ".join(taxonomy.names),
        remedy=taxonomy.remedy(label),
    )


def unusable(clip: Clip, root: Path) -> Quarantined | None:
    """The reason why a clip cannot be used, as far as its names and the first bytes of its files show one."""
    if any(path != _printable(path) for path in (clip.clip_id, *clip.media_paths)):
        return _refusal(
            clip,
            code=Code.BAD_NAME,
            message=f"{clip.clip_id}: the name of the file, or of a folder above it, is not UTF-8",
            path=clip.main_path,
            remedy="Rename it; names in a different encoding often come from an old archive",
        )
    wrong = _wrong_text(clip)
    if wrong is not None:
        field, message, remedy = wrong
        return _refusal(
            clip,
            code=Code.BAD_TEXT,
            message=f"{clip.clip_id}: {message}",
            path=clip.main_path,
            field=field,
            remedy=remedy,
        )
    path: str | None = None
    try:
        for path in (clip.video_path, clip.audio_path):
            if path is not None:
                probe_media(root / path)
        path = clip.physio_path
        if path is not None:
            probe_physio(root / path)
        path = clip.pictures_path
        if path is not None:
            numbered_pictures(root / path)
    except MediaError as error:
        # The message names the file as the clip row does: outputs do not contain the project's location.
        named = error if path is None else error.at(path)
        return Quarantined.from_error(named, dataset=clip.dataset, clip_id=clip.clip_id, stage=STAGE, path=path)
    if clip.main_path is None and not clip.transcript:
        message = f"{clip.clip_id}: no usable video, sound, physiology, words or features"
        return _refusal(clip, code=Code.NO_MEDIA, message=message)
    return None


def _wrong_text(clip: Clip) -> tuple[str, str, str] | None:
    """(field, defect, remedy) of the first malformed text of a clip, if there is one."""
    texts = {"transcript": clip.transcript, "subject_id": clip.subject_id, "session_id": clip.session_id}
    texts |= {"text_id": clip.text_id, "words": " ".join(word.text for word in clip.words)}
    texts |= {f"group {name}": value for name, value in clip.groups.items()}
    for field, text in texts.items():
        if text is None:
            continue
        if len(text) > MAX_TEXT_CHARACTERS:
            return field, f"the {field} has {len(text)} characters; allowed: {MAX_TEXT_CHARACTERS}", CORRECT
        if text != _printable(text) or any(ord(sign) < FIRST_PRINTABLE and not sign.isspace() for sign in text):
            return field, f"the {field} holds bytes that are not text", CORRECT
    if TEXT_PATH.fullmatch((clip.transcript or "").strip()):
        what = f"the transcript is the path of a file, {clip.transcript!r}, not the words in it"
        return "transcript", what, "Write the words; a manifest names such a file in the column transcript_file"
    return None


def portable(row: Quarantined, root: Path) -> Quarantined:
    """The row as a table can hold it: names in UTF-8, and a path below the project relative to it, since outputs do not
    contain the project's location."""
    texts = {name: _printable(value) for name, value in asdict(row).items() if value is not None}
    path = Path(texts.get("path", ""))
    if path.is_relative_to(root.resolve()):
        texts["path"] = path.relative_to(root.resolve()).as_posix()
    return Quarantined(**texts)


def _printable(text: str) -> str:
    """The text with surrogates escaped: that is how a file name outside UTF-8 reaches Python, and no table holds it."""
    return text.encode("utf-8", "backslashreplace").decode()


def _refusal(clip: Clip, *, code: Code, message: str, **fields: str | None) -> Quarantined:
    return Quarantined(dataset=clip.dataset, clip_id=clip.clip_id, stage=STAGE, code=code, message=message, **fields)


def _summary(
    adapter: Adapter[Any], clips: list[Clip], quarantined: list[Quarantined], notes: list[str]
) -> dict[str, Any]:
    return {
        "dataset": adapter.name,
        **({} if adapter.kind == adapter.name else {"adapter": adapter.kind}),
        "licence": adapter.licence,
        "clips": len(clips),
        "subjects": len({clip.subject_id for clip in clips}),
        "emotions": dict(sorted(Counter(clip.emotion or "unlabelled" for clip in clips).items())),
        "planted": dict(sorted(Counter(planted.kind for clip in clips for planted in clip.planted).items())),
        "quarantined": len(quarantined),
        "quarantine_codes": dict(sorted(Counter(row.code for row in quarantined).items())),
        "content_sha256": fingerprint(sorted([clip.clip_id, clip.content_sha256] for clip in clips)),
        "notes": notes,
    }
