"""The page of `mer datasets preview`: one self-contained HTML file; positions are percent of a clip."""

from __future__ import annotations

import base64
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.catalog.splits import SPLITS
from components.contracts.records import AlignedClip, Clip, Quarantined
from components.inference.episodes import runs
from components.runtime.pages.drawing import BLUE, FAINT, ORANGE, colour
from components.runtime.pages.templates import render as render_template
from pipelines.commands.datasets.sample import UNLABELLED, Preview, Sampled, emotion_of

TEMPLATE = Path(__file__).parent / "preview.html.j2"
CROPS = 12
WORDS_SOURCES = {
    "given": "times from the corpus",
    "lines": "times of lines from the corpus, words spread over the speech within",
    "spread": "spread over the speech",
}
WAVE_COLUMNS = 480
LINE_COLUMNS = 240
MAX_CHANNELS = 6
MAX_GROUP_VALUES = 12
SPLIT_COLOURS = {"train": BLUE, "calibration": "#9fb3c8", "test": ORANGE, "none": FAINT}


def render(preview: Preview) -> str:
    """The page as HTML."""
    clips = preview.clips
    return render_template(
        TEMPLATE,
        name=preview.name,
        licence=preview.licence,
        origin=preview.origin,
        taxonomy=preview.classes.name,
        count=len(clips),
        people=len({clip.subject_id for clip in clips}),
        emotions=len({emotion_of(clip) for clip in clips} - {UNLABELLED}),
        skipped=len(preview.quarantined),
        reasons=reasons(preview.quarantined),
        notes=preview.notes,
        balance=balance(preview),
        split_totals=split_totals(preview),
        split_colours=SPLIT_COLOURS,
        no_splits=preview.split_of if isinstance(preview.split_of, str) else "",
        groups=list(groups(clips)),
        clips=[card(sampled, preview) for sampled in preview.sampled],
    )


def reasons(rows: Sequence[Quarantined]) -> list[dict[str, Any]]:
    """Reason code → how many, and the first of them in words."""
    by_code: dict[str, list[Quarantined]] = defaultdict(list)
    for row in rows:
        by_code[row.code].append(row)
    return [{"code": code, "count": len(found), "example": found[0].message} for code, found in sorted(by_code.items())]


def balance(preview: Preview) -> list[dict[str, Any]]:
    """Emotion by emotion: clips, people, and the clips of each split as shares of the commonest emotion's clips."""
    by_emotion: dict[str, list[Clip]] = defaultdict(list)
    for clip in preview.clips:
        by_emotion[emotion_of(clip)].append(clip)
    most = max(map(len, by_emotion.values()))
    rows = []
    for name, clips in sorted(by_emotion.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        parts = Counter(split_of(clip, preview) for clip in clips)
        rows.append(
            {
                "emotion": name,
                "class": None if name == UNLABELLED else preview.classes.class_of(name),
                "colour": shade(name, preview),
                "clips": len(clips),
                "people": len({clip.subject_id for clip in clips}),
                "parts": [(split, count, 100 * count / most) for split, count in _in_order(parts)],
            }
        )
    return rows


def split_totals(preview: Preview) -> list[dict[str, Any]]:
    """Split by split: clips and people."""
    by_split: dict[str, list[Clip]] = defaultdict(list)
    for clip in preview.clips:
        by_split[split_of(clip, preview)].append(clip)
    return [
        {"split": split, "clips": len(clips), "people": len({clip.subject_id for clip in clips})}
        for split, clips in _in_order(by_split)
    ]


def split_of(clip: Clip, preview: Preview) -> str:
    """The split of a clip; "none" where it has none."""
    return "none" if isinstance(preview.split_of, str) else preview.split_of.get(clip.clip_id, "none")


def groups(clips: Sequence[Clip]) -> Iterator[dict[str, Any]]:
    """Group by group (gender, age, …): the clips and people of each value, commonest first."""
    for group in sorted({group for clip in clips for group in clip.groups}):
        by_value: dict[str, list[Clip]] = defaultdict(list)
        for clip in clips:
            by_value[clip.groups.get(group, "not stated")].append(clip)
        ordered = sorted(by_value.items(), key=lambda entry: (-len(entry[1]), entry[0]))
        most = len(ordered[0][1])
        yield {
            "name": group.replace("_", " "),
            "more": max(0, len(ordered) - MAX_GROUP_VALUES),
            "rows": [
                {
                    "value": value,
                    "clips": len(found),
                    "people": len({clip.subject_id for clip in found}),
                    "share": 100 * len(found) / most,
                }
                for value, found in ordered[:MAX_GROUP_VALUES]
            ],
        }


def shade(name: str, preview: Preview) -> str:
    """The colour of an emotion, as in the reports."""
    if name == UNLABELLED:
        return FAINT
    return colour(name, sorted({*preview.classes.classes, *(emotion_of(clip) for clip in preview.clips), name}))


def card(sampled: Sampled, preview: Preview) -> dict[str, Any]:
    """One clip, ready to be drawn."""
    clip, aligned = sampled.clip, sampled.aligned
    emotion = emotion_of(clip)
    duration_s = aligned.quality.duration_s if aligned is not None else 0.0
    shown: dict[str, Any] = {
        "id": clip.clip_id,
        "person": clip.subject_id,
        "emotion": emotion,
        "colour": shade(emotion, preview),
        "split": split_of(clip, preview),
        "file": (clip.main_path or "").removeprefix(f"{preview.root}/"),
        "groups": sorted(clip.groups.items()),
        "transcript": clip.transcript or " ".join(word.text for word in clip.words),
        "affect": [(name, value) for name, value in affect(clip) if value is not None],
        "planted": sorted({planted.kind.replace("_", " ") for planted in clip.planted}),
        "duration_s": duration_s,
        "refused": None if sampled.quarantined is None else (sampled.quarantined.code, sampled.quarantined.message),
    }
    return shown if aligned is None else shown | _streams(clip, aligned, duration_s, preview)


def affect(clip: Clip) -> list[tuple[str, float | None]]:
    """Valence and arousal."""
    return [("valence", clip.valence), ("arousal", clip.arousal)]


def _streams(clip: Clip, aligned: AlignedClip, duration_s: float, preview: Preview) -> dict[str, Any]:
    quality = aligned.quality
    expected = {"face"} if clip.video_path or clip.pictures_path else set()
    covered = [(name, share) for name, share in sorted(quality.coverage.items()) if share > 0 or name in expected]
    facts = [f"{name.replace('_', ' ')} {100 * share:.0f} %" for name, share in covered]
    if aligned.pcm.any():
        facts.append(f"sound peaks at {20 * np.log10(peak(aligned.pcm)):.0f} dBFS")
    if quality.frame_rate_hz is not None:
        facts.append(f"{quality.frame_rate_hz:.1f} pictures per second")
    if abs(quality.offset_s) >= 0.01:
        facts.append(f"sound starts {quality.offset_s:+.2f} s")
    if abs(quality.drift_s_per_min) >= 0.001:
        facts.append(f"drift {1000 * quality.drift_s_per_min:+.0f} ms per minute")
    if quality.av_offset_s is not None:
        facts.append(f"lips to sound {1000 * quality.av_offset_s:+.0f} ms")
    segments = [(segment.start_s, segment.end_s, segment.emotion) for segment in clip.segments]
    if not segments and clip.emotion is not None:
        segments = [(0.0, duration_s, clip.emotion)]
    return {
        "facts": facts,
        "notes": list(quality.notes),
        "crops": crops(aligned),
        "wave": waveform(aligned.pcm) if aligned.pcm.any() else "",
        "speech": bars(aligned.masks["voice"] & (aligned.speech > 0.5)),
        "labels": [
            (_share(start_s, duration_s), _share(end_s - start_s, duration_s), name, shade(name, preview))
            for start_s, end_s, name in segments
        ],
        "words": [
            (_share(word.start_s, duration_s), _share(word.end_s - word.start_s, duration_s), word.text)
            for word in aligned.words
        ],
        "words_source": WORDS_SOURCES.get(aligned.words_source, ""),
        "lines": [(name, line(values)) for name, values in sorted(aligned.physio.items())[:MAX_CHANNELS]]
        + [
            (f"{name} (norm of {values.shape[1]})", line(np.linalg.norm(values, axis=1)))
            for name, values in sorted(aligned.given.items())
        ],
        "masks": [(name, bars(mask)) for name, mask in aligned.masks.items() if mask.any()],
        "ticks": [(_share(second, duration_s), f"{second:g} s") for second in ticks(duration_s)],
    }


def crops(aligned: AlignedClip) -> list[str | None]:
    """The crop nearest to the middle of each of `CROPS` stretches, as a data URL; None where there is no face."""
    if not any(aligned.face_jpeg):
        return []
    edges = np.linspace(0, aligned.grid.num_steps, CROPS + 1)
    urls: list[str | None] = []
    for first, last in pairwise(edges):
        middle = (first + last) / 2
        steps = [step for step in range(int(first), max(int(first) + 1, int(np.ceil(last)))) if _has(aligned, step)]
        jpeg = aligned.face_jpeg[min(steps, key=lambda step: abs(step + 0.5 - middle))] if steps else None
        urls.append(None if jpeg is None else f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}")
    return urls


def _has(aligned: AlignedClip, step: int) -> bool:
    return step < aligned.grid.num_steps and aligned.face_jpeg[step] is not None


def waveform(pcm: NDArray[np.int16]) -> str:
    """The envelope of a sound, as high as the box at its peak, as an SVG path in a box of `WAVE_COLUMNS` by 100."""
    columns = np.array_split(pcm / (32768 * peak(pcm)), min(WAVE_COLUMNS, pcm.size))
    width = WAVE_COLUMNS / len(columns)
    top = [f"{(index + 0.5) * width:.1f},{50 - 49 * block.max():.1f}" for index, block in enumerate(columns)]
    low = [f"{(index + 0.5) * width:.1f},{50 - 49 * block.min() + 0.4:.1f}" for index, block in enumerate(columns)]
    return f"M{' L'.join(top)} L{' L'.join(reversed(low))} Z"


def peak(pcm: NDArray[np.int16]) -> float:
    """The largest sample of a sound that is not silent, as a share of full scale."""
    return float(np.abs(pcm.astype(np.float64)).max()) / 32768


def line(values: NDArray[np.float32]) -> str:
    """A curve as an SVG path in a box of `LINE_COLUMNS` by 100, between its own extremes; broken where it is NaN."""
    blocks = np.array_split(np.asarray(values, dtype=np.float64), min(LINE_COLUMNS, max(1, values.size)))
    means = np.array([block[np.isfinite(block)].mean() if np.isfinite(block).any() else np.nan for block in blocks])
    finite = np.isfinite(means)
    if not finite.any():
        return ""
    low, high = means[finite].min(), means[finite].max()
    heights = 95 - 90 * (means - low) / ((high - low) or 1.0)
    width = LINE_COLUMNS / len(blocks)
    path, pen = [], "M"
    for index, height in enumerate(heights):
        if not finite[index]:
            pen = "M"
            continue
        path.append(f"{pen}{(index + 0.5) * width:.1f},{height:.1f}")
        pen = "L"
    return " ".join(path)


def bars(mask: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """(left, width) of each run of True, in percent."""
    found = runs(mask.astype(np.int64))
    return [(_share(first, mask.size), _share(last - first, mask.size)) for value, first, last in found if value]


def ticks(duration_s: float) -> list[float]:
    """Round seconds, five at most, from 0 on."""
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
    step = next((step for step in steps if duration_s / step <= 5), steps[-1])
    return [round(step * index, 1) for index in range(int(duration_s / step) + 1)]


def _share(part: float, whole: float) -> float:
    return round(min(100.0, max(0.0, 100 * part / whole)), 3) if whole > 0 else 0.0


def _in_order(counted: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(split, counted[split]) for split in (*SPLITS, "none") if split in counted]
