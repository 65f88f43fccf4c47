"""The golden clip: a short drawn recording in the bundle, and what the version gave for it on the whole way.

The golden examples (`goldens.py`) begin behind the transform; this one begins with a media file, so it also notices a
decoder, a detector, a recogniser of speech or an encoder that gives different results than where the version was
registered. Those differ in their last digits between processors, and a crop of a face is compressed, so the tolerance
is wider. A replica makes this check before it serves a version. Bundles of before have no golden clip.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.alignment.guard import Guard
from components.contracts.config import Alignment
from components.contracts.errors import BundleError, ConfigError
from components.contracts.fingerprint import fingerprint
from components.contracts.records import Clip
from components.features.encoders.given import is_given
from components.features.registry import create
from components.features.transform import Transform
from components.inference.scoring import Features, Masks, Scorer
from components.registry.goldens import CLIP, UNIMODAL, GoldenClip, outputs

# In probability, or as a share of the clip's steps.
TOLERANCE = 0.05
# Four seconds of one rendered person who speaks, small pictures: about 20 kB, rendered in a third of a second.
SEED, PERSON, TAKE, PICTURE_PX = 7, 0, 0, 96
PRESENCE = "presence."

# From a clip to the input of the model: media opened, aligned, encoded, transformed.
Transformed = Callable[[Clip], tuple[Features, Masks]]


def check(
    golden: GoldenClip, transformed: Transformed, scorer: Scorer, *, where: str, folder: Path | None = None
) -> float:
    """Scores the golden clip again, from its media file on, and returns the largest deviation.

    Args:
        transformed, scorer: of the process that is going to serve the version.
        where: the version, for messages.
        folder: where the clip is written; by default that of temporary files.

    Raises:
        BundleError: it exceeds `TOLERANCE`, or an output is missing.
        MediaError: the clip cannot be used here.
    """
    actual = _way(golden.media, golden.transcript, transformed, scorer, folder)
    worst, place = 0.0, ""
    for name in sorted(actual.keys() | golden.expected.keys()):
        deviation = _deviation(actual.get(name), golden.expected.get(name))
        if not deviation <= worst:  # NaN counts as a deviation
            worst, place = deviation, name
    if not worst <= TOLERANCE:
        raise BundleError(
            "the golden clip does not hold: from a media file on, this installation gives something different",
            where=f"{where}: {place}",
            seen=worst,
            allowed=f"at most {TOLERANCE}",
            remedy="Compare the media libraries and the weights of the encoders with those where it was registered.",
        )
    return worst


def _deviation(actual: NDArray[np.float32] | None, expected: NDArray[np.float32] | None) -> float:
    if actual is None or expected is None or actual.shape != expected.shape:
        return float("inf")
    return float(np.abs(actual.astype(np.float64) - expected).max(initial=0.0))


def record(
    encoders: Mapping[str, str], transform: Transform, scorer: Scorer, alignment: Alignment
) -> GoldenClip | None:
    """The golden clip of a version; None where the version cannot judge media: its features come ready-made, or the
    rendered clip has none of its modalities.

    Args:
        encoders: modality → spec, of the modalities of the transform.
    """
    try:
        made = {name: create(spec, name, "cpu") for name, spec in encoders.items() if not is_given(spec)}
    except ConfigError:  # features of an encoder that is not part of this code
        return None
    if made.keys() != encoders.keys():
        return None
    # The renderer takes a second to import, which those who only check the clip spare.
    from components.datasets.synthetic.media import MediaNames, render
    from components.datasets.synthetic.plan import plan_clip

    with tempfile.TemporaryDirectory(prefix="mer-golden-") as scratch:
        plan = plan_clip(seed=SEED, subject=PERSON, clip=TAKE, picture_px=PICTURE_PX)
        render(plan, Path(scratch))
        media = (Path(scratch) / str(MediaNames.of(plan).video)).read_bytes()
    transcript = " ".join(word.text for word in plan.words)

    with Guard(alignment, Path()) as guard:

        def transformed(clip: Clip) -> tuple[Features, Masks]:
            aligned = guard.aligned(clip)
            encoded = {name: encoder.encode([aligned])[0] for name, encoder in made.items()}
            return transform.apply(encoded, aligned.grid.num_steps)

        expected = _way(media, transcript, transformed, scorer)
    return GoldenClip(media=media, transcript=transcript, expected=expected) if CLIP in expected else None


def _way(
    media: bytes, transcript: str, transformed: Transformed, scorer: Scorer, folder: Path | None = None
) -> dict[str, NDArray[np.float32]]:
    with tempfile.TemporaryDirectory(prefix="mer-golden-", dir=folder) as scratch:
        path = Path(scratch) / "golden.mp4"
        path.write_bytes(media)
        features, masks = transformed(_clip(path, transcript))
    presence = {
        f"{PRESENCE}{name}": np.array([mask.mean() if mask.size else 0.0], np.float32) for name, mask in masks.items()
    }
    if not any(mask.any() for mask in masks.values()):
        return presence
    scored: dict[str, Any] = outputs(scorer.score(features, masks))
    return {**presence, **{name: value for name, value in scored.items() if name == CLIP or name.startswith(UNIMODAL)}}


def _clip(path: Path, transcript: str) -> Clip:
    return Clip(
        clip_id=path.name,
        dataset="golden",
        content_sha256=fingerprint([path.name, transcript]),
        subject_id="golden/drawn",
        session_id="golden/drawn",
        video_path=str(path),
        transcript=transcript or None,
    )
