"""`mer submit`: a version's predictions for the frames of the ABAW expression challenge."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.contracts.atomic import atomic_file
from components.contracts.codes import Code
from components.contracts.errors import DataError
from components.evaluation.abaw import CLASSES, RequestedFrames, VideoClasses, judge, order_of, read_list, rows
from components.runtime.progress import progress
from pipelines.commands.predict import command as predict
from pipelines.project import find_root, load

if TYPE_CHECKING:
    from collections.abc import Iterable

    from components.datasets.corpora.affwild2 import CorpusFiles
    from components.serving.predictor import Predictor

DATASET = "affwild2"


def run(
    frames: Path,
    out: Path,
    *,
    version: str | None = None,
    corpus: Path | None = None,
    fill: str | None = None,
    root: Path | None = None,
) -> int:
    """Judges every video of a list and writes the submission.

    Args:
        frames: the challenge's list: lines `video/00001.jpg`, or names of videos.
        out: the file to write, atomically.
        version: as in `predict.run`.
        corpus: the folder of crops and recordings; by default `affwild2: root:` of params.yaml.
        fill: the class of videos that cannot be judged. None: a video that cannot be judged is an error.
        root: the project; by default the one around the current folder.

    Returns:
        0.

    Raises:
        MerError: there is no such version, list or corpus; the version's classes are not those of the challenge; a
            video cannot be judged and `fill` is None.
    """
    from components.datasets.corpora.affwild2 import Affwild2, CorpusFiles
    from components.serving.predictor import Predictor

    try:
        listed = read_list(frames.read_text(encoding="utf-8"), where=frames.name)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            "cannot read the list of frames", where=str(frames), seen=str(error), code=Code.BAD_LIST
        ) from error
    if fill is not None and fill not in CLASSES.values():
        raise DataError.unknown("class", fill, CLASSES.values(), where="--fill")
    root = root or find_root()
    params, chosen = predict.model_of(version, root)
    params = params or load(root)
    order_of(chosen.bundle.spec.classes)
    section = {**params.sources.get(DATASET, {}), **({} if corpus is None else {"root": str(corpus.absolute())})}
    files = CorpusFiles(Affwild2().options(section), root)
    predictor = Predictor(
        chosen.bundle,
        name=chosen.name,
        version=chosen.version,
        limits=params.alignment.limits,
        root=root,
        device=params.features.device,
    )
    judged: dict[str, VideoClasses] = {}
    filled: Counter[str] = Counter()
    names = list(dict.fromkeys(frame.video for frame in listed))
    with progress("submit: judge", len(names)) as advance:
        for name in names:
            try:
                judged[name] = _video(name, files, predictor)
            except DataError as error:
                if fill is None:
                    raise _unjudged(name, error) from error
                judged[name] = _filled(name, listed, files, fill)
                filled[f"of {name}, which cannot be judged: {fill} ({error.what})"] = judged[name].classes.size
            advance(1)
    counts: Counter[str] = Counter()
    with atomic_file(out) as beside:
        beside.write_text("".join(f"{row}\n" for row in rows(listed, judged, counts)), encoding="utf-8")
    print(f"{out}: {counts.pop('frames')} frames of {len(judged)} videos, by {chosen.name} {chosen.version}")
    for words, count in sorted((counts + filled).items()):
        print(f"  {count} {words}", file=sys.stderr)
    return 0


def _video(name: str, files: CorpusFiles, predictor: Predictor) -> VideoClasses:
    """The frames of one video. Raises DataError: it cannot be judged."""
    recording = files.find(name)
    clock = files.clock(recording, max(files.pictures(recording)))
    answer = predictor.predict(files.clip(recording))
    classes = predictor.bundle.spec.classes
    posterior = [[moment.posterior.get(name, 0.0) for name in classes] for moment in answer.timeline]
    return judge(
        clock.times_s,
        np.array(posterior),
        np.array([bool(moment.present) for moment in answer.timeline]),
        rate_hz=answer.clip.rate_hz,
        classes=classes,
    )


def _filled(name: str, listed: Iterable[RequestedFrames], files: CorpusFiles, fill: str) -> VideoClasses:
    """One class for all listed frames of a video. Raises DataError: the whole video is listed, and its frames cannot be
    counted."""
    numbers = [frame.frame for frame in listed if frame.video == name]
    last = max(number or 0 for number in numbers)
    if None in numbers:
        recording = files.find(name)
        last = files.clock(recording, max(files.pictures(recording))).times_s.size
    return VideoClasses(
        classes=np.full(last, list(CLASSES.values()).index(fill), dtype=np.int64), borrowed=np.zeros(last, dtype=bool)
    )


def _unjudged(name: str, error: DataError) -> DataError:
    return DataError(
        f"a video of the list cannot be judged: {error.what}",
        where=name,
        seen=error.seen,
        allowed=error.allowed,
        remedy=f"{error.remedy or 'Correct it'}; or choose with --fill the class of the frames of such videos",
        code=error.code,
    )
