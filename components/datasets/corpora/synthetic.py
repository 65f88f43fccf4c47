"""The synthetic corpus, rendered by the project itself: the whole pipeline runs on real media without a download.

Faces are drawn, voices synthesised, words put together and hearts simulated, from a seed. `synthetic/signs.py` defines
which emotions each modality confuses and why order in time matters, `synthetic/plan.py` what is planted and how it is
labelled. A score on this corpus shows that the pipeline works from pixels and samples to a served answer, and that the
model uses every modality and their order; it shows nothing about people.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from pydantic import Field

from components.contracts.atomic import read_json, write_json
from components.contracts.config import Section
from components.contracts.fingerprint import file_sha256
from components.contracts.layout import Layout
from components.contracts.records import Clip, Segment
from components.datasets.about import About
from components.datasets.base import NOT_HASHED, Adapter, Scan
from components.datasets.synthetic.plan import ClipPlan, plan_corpus
from components.datasets.synthetic.signs import AFFECT
from components.runtime.progress import progress

INDEX = "index.json"


class SyntheticOptions(Section):
    """The section `synthetic:` of params.yaml."""

    subjects: int = Field(24, gt=0, le=1000)
    """How many people are rendered."""

    clips_per_subject: int = Field(8, gt=0, le=100)
    """How many clips are rendered per person."""

    picture_px: int = Field(256, ge=128, le=1024, multiple_of=2)
    """Width and height of the picture, in pixels."""

    processes: int = Field(2, ge=1)
    """Processes that render at once; it does not change what is rendered."""


class Synthetic(Adapter[SyntheticOptions]):
    """The rendered corpus."""

    name = "synthetic"
    licence = "CC0-1.0, rendered by this project"
    about = About(
        title="Rendered people",
        modalities=("face", "voice", "text", "physio"),
        access="rendered",
        how="No download: the first run renders it",
        consent="synthetic",
        splits="rendered people are dealt to splits",
    )
    Options = SyntheticOptions

    def scan(self, options: SyntheticOptions, root: Path, seed: int) -> Scan:
        """Renders what is not rendered yet and lists the clips; see `Adapter.scan`."""
        plans = plan_corpus(
            seed=seed,
            subjects=options.subjects,
            clips_per_subject=options.clips_per_subject,
            picture_px=options.picture_px,
        )
        folder = Layout(root).dataset(self.name) / "media"
        render_missing(plans, folder, processes=options.processes)
        relative = folder.relative_to(root)
        clips = [clip_of(plan, relative) for plan in plans]
        flaws = Counter(plan.flaw for plan in plans if plan.flaw)
        notes = [f"planted {flaw.replace('_', ' ')}: {count}" for flaw, count in sorted(flaws.items())]
        return Scan(clips=clips, notes=notes)


def render_missing(plans: list[ClipPlan], folder: Path, *, processes: int) -> int:
    """Renders the plans whose files are missing, and removes files without a plan. Returns how many were rendered.

    `index.json` beside the files holds their hashes; a file that was damaged since is rendered again.
    """
    # cv2, PyAV and scipy take a second to load; commands that only list datasets do not need them.
    from components.datasets.synthetic.media import MediaNames, render

    folder.mkdir(parents=True, exist_ok=True)
    stored = _index(folder / INDEX)
    todo = [plan for plan in plans if not all(_intact(folder / name, stored) for name in MediaNames.of(plan).all())]
    with progress("synthetic: render", len(todo)) as advance:
        if min(processes, len(todo)) <= 1:
            for plan in todo:
                render(plan, folder)
                advance(1)
        else:
            # spawn: a fork of a process with threads (Ray, OpenCV) may hang
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(min(processes, len(todo)), mp_context=context) as pool:
                for done in as_completed([pool.submit(render, plan, folder) for plan in todo]):
                    done.result()
                    advance(1)
    names = sorted(name for plan in plans for name in MediaNames.of(plan).all())
    for stray in set(folder.iterdir()) - {folder / name for name in (*names, INDEX)}:
        stray.unlink()
    fresh = {name for plan in todo for name in MediaNames.of(plan).all()}
    hashes = {
        name: stored[name] if name in stored and name not in fresh else file_sha256(folder / name) for name in names
    }
    if hashes != stored:
        write_json(folder / INDEX, hashes)
    return len(todo)


def clip_of(plan: ClipPlan, folder: Path) -> Clip:
    """The clip row of a plan whose files lie in `folder` (relative to the project's root)."""
    from components.datasets.synthetic.media import MediaNames

    names = MediaNames.of(plan)
    silent = plan.flaw == "no_words"
    valence, arousal = _affect(plan.segments, plan.duration_s)
    subject_id = f"{Synthetic.name}/s{plan.subject:03d}"
    return Clip(
        clip_id=f"{Synthetic.name}/{plan.name}",
        dataset=Synthetic.name,
        content_sha256=NOT_HASHED,
        subject_id=subject_id,
        session_id=f"{subject_id}/1",
        video_path=_below(folder, names.video),
        audio_path=_below(folder, names.audio),
        physio_path=_below(folder, names.physio),
        transcript=None if silent else " ".join(word.text for word in plan.words),
        words=() if silent else plan.words,
        emotion=plan.emotion,
        segments=plan.segments,
        valence=valence,
        arousal=arousal,
        text_id=None if silent else f"{Synthetic.name}/{plan.text_id}",
        groups={"gender": plan.gender, "age_band": plan.age_band},
        licence=Synthetic.licence,
        consent=Synthetic.about.consent,
        planted=plan.planted,
    )


def _affect(segments: tuple[Segment, ...], duration_s: float) -> tuple[float, float]:
    """Valence and arousal of a clip: the mean over its time."""
    weights = [((part.end_s - part.start_s) / duration_s, AFFECT[part.emotion]) for part in segments]
    valence = sum(share * affect[0] for share, affect in weights)
    arousal = sum(share * affect[1] for share, affect in weights)
    return round(valence, 4), round(arousal, 4)


def _below(folder: Path, name: str | None) -> str | None:
    return None if name is None else (folder / name).as_posix()


def _index(path: Path) -> dict[str, str]:
    try:
        stored = read_json(path)
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _intact(path: Path, hashes: dict[str, str]) -> bool:
    return path.is_file() and (path.name not in hashes or hashes[path.name] == file_sha256(path))
