"""`mer adapt`: the statistics of a person's own recordings, without labels, as a file for `mer predict`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.contracts.codes import Code
from components.contracts.errors import DataError, MerError
from components.features.adaptation import MIN_CLIPS, Adaptation
from components.features.base import Encoded
from components.features.recordings import gather
from components.runtime.progress import progress
from components.tracking.client import impatient, without_progress_bars
from pipelines.stage import one_thread

if TYPE_CHECKING:
    from components.serving.predictor import Predictor


def run(recordings: Sequence[Path], *, out: Path, version: str | None = None, root: Path | None = None) -> int:
    """Measures recordings and writes the file; one that cannot be used is named and left out.

    Args:
        recordings: videos, sound files or photographs, or folders of them.
        out: the file to write.
        version, root: the version whose encoders measure, as in `mer predict`.

    Raises:
        MerError: there is no such version, or fewer than `MIN_CLIPS` recordings can be used.
    """
    from pipelines.commands.predict import command as predict

    one_thread()
    without_progress_bars()
    impatient()  # a person waits
    files = list(predict.media_files(recordings))
    predictor = predict.predictor_of(version, root)
    adaptation = measure(files, predictor, name=out.name)
    adaptation.save(out)
    print(f"Measured  {adaptation.words}")
    print(f"Use it    `mer predict CLIP --adaptation {out}`")
    return 0


def measure(files: Iterable[Path], predictor: Predictor, *, name: str) -> Adaptation:
    """What recordings have in common. Raises DataError: fewer than `MIN_CLIPS` can be used."""
    from components.serving.clips import clip_of_file

    named = list(files)
    encoded: list[dict[str, Encoded]] = []
    with progress("adapt: recordings", len(named)) as advance:
        for file in named:
            try:
                encoded.append(predictor.encoded(clip_of_file(file, predictor.guard)))
            except MerError as error:
                print(f"{file}: left out: {error}", file=sys.stderr)
            advance(1)
    if len(encoded) < MIN_CLIPS:
        raise DataError(
            "too few recordings to learn what they have in common",
            where=name,
            seen=len(encoded),
            allowed=f"{MIN_CLIPS} or more",
            remedy="Add recordings of the same kind, of several people and moods; no labels are needed",
            code=Code.NO_CLIPS,
        )
    modalities = gather(encoded, predictor.bundle.transform.widths)
    fingerprints = {name: predictor.bundle.encoders[name].fingerprint for name in modalities}
    return Adaptation(name=name, clips=len(encoded), modalities=modalities, encoders=fingerprints)
