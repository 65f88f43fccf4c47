"""Training from stored features against a loop that encodes its windows anew in every epoch.

The published code of arXiv 2603.11971 cuts a clip into windows of 90 frames, one every 15, and runs its frozen encoders
over every frame of every window in every epoch: six passes a frame and epoch, 180 in 30 epochs. Ours encodes each clip
once, writes the features, reads them, and trains on the same windows of them.

Both sides are `train_steps` with the same model on the same windows in the same order, and the same encoders behind
the same interface; they differ in where a window's features come from. One epoch of each is measured, in turn; 30 are
*extrapolated*: every epoch does the same work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, overload

import torch

from bench.benchmark import Benchmark
from bench.made import CLASSES, aligned_clip, spec, window_of
from bench.pairs import PairedTimes, alternate
from bench.published_encoders import published_encoders
from bench.report import Comparison, Figure, Outcome, Spread, duration
from components.catalog.cases import Case
from components.contracts.config import Features, Train
from components.contracts.presets import with_preset
from components.contracts.records import AlignedClip
from components.features.base import Encoded, Encoder
from components.features.registry import create
from components.features.store import FeatureStore, feature_key
from components.features.transform import Transform
from components.training.loop import TrainingTask, new_learner, train_steps
from components.training.samples.items import cut

GOAL = 50.0
EPOCHS = 30
WINDOW, STRIDE = 90, 15
RATE_HZ = 30.0


@dataclass(frozen=True, kw_only=True)
class TrainingSetup:
    """What is trained on what: a model of a preset, on clips of `steps` steps at 30 Hz; `measured` epochs are timed."""

    name: str
    preset: Literal["default", "paper"]
    encoders: Callable[[Path], Mapping[str, Encoder]]
    clips: int
    steps: int
    measured: int


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The corpora."""

    corpora: tuple[TrainingSetup, ...]


@dataclass(frozen=True, kw_only=True)
class StoredPass:
    """The clips after one pass, and the seconds of its two parts."""

    cases: list[Case]
    transform: Transform
    encode_s: float
    store_s: float


class Reencoded(Sequence[Case]):
    """Windows of aligned clips, encoded on every access."""

    def __init__(
        self,
        clips: Sequence[AlignedClip],
        windows: Sequence[tuple[int, int]],
        *,
        encoders: Mapping[str, Encoder],
        transform: Transform,
    ) -> None:
        self.clips, self.windows, self.encoders, self.transform = clips, windows, encoders, transform
        self.encode_s = 0.0

    def __len__(self) -> int:
        return len(self.windows)

    @overload
    def __getitem__(self, place: int) -> Case: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Case]: ...
    def __getitem__(self, place: int | slice) -> Case | Sequence[Case]:
        if isinstance(place, slice):
            return [self[at] for at in range(len(self))[place]]
        index, first = self.windows[place]
        clip = window_of(self.clips[index], first, WINDOW)
        started = time.perf_counter()
        encoded = {name: encoder.encode([clip])[0] for name, encoder in self.encoders.items()}
        self.encode_s += time.perf_counter() - started
        return as_case(clip, encoded, self.transform, label=label_of(index))


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """Two rows per corpus: the whole training, and the work of its encoders alone."""
    for number, corpus in enumerate(sizes.corpora):
        yield from _rows(corpus, folder / str(number))


def _rows(corpus: TrainingSetup, folder: Path) -> Iterator[Outcome]:
    clips = [aligned_clip(index, steps=corpus.steps, rate_hz=RATE_HZ) for index in range(corpus.clips)]
    encoders = corpus.encoders(folder / "checkpoints")
    for encoder in encoders.values():
        encoder.encode([window_of(clips[0], 0, WINDOW)])  # loads the weights, which costs both sides the same
    stored = encode_once(clips, encoders, FeatureStore(folder / "features"))
    windows = windows_of(clips)
    ours = [cut(stored.cases[index], first, WINDOW) for index, first in windows]
    anew = Reencoded(clips, windows, encoders=encoders, transform=stored.transform)
    task = task_of(corpus.preset, encoders)
    measured = alternate(
        _epoch(task, ours, anew),
        _epoch(task, ours, ours),
        pairs=corpus.measured,
        warmup=0,
        what=f"epochs on windows, {corpus.name}",
    )
    yield _training(corpus, stored, measured, len(windows))
    yield _encoding(corpus, stored, anew.encode_s / corpus.measured, len(windows))


def task_of(preset: str, encoders: Mapping[str, Encoder]) -> TrainingTask:
    """The training of a preset on windows of these encoders' features; without a contrastive text, to need no third
    encoder."""
    own = {"model": {"preset": preset}, "train": {"contrastive_loss": 0.0}}
    sections = with_preset(own, where="bench", loss_weights=Train.loss_weights())
    widths = {name: encoder.width for name, encoder in encoders.items()}
    train = Train.model_validate({**sections["train"], "epochs": EPOCHS, "max_steps_per_clip": WINDOW})
    return TrainingTask(spec=spec(widths, rate_hz=RATE_HZ, **sections["model"]), train=train, seed=0)


def _epoch(task: TrainingTask, labelled: Sequence[Case], windows: Sequence[Case]) -> Callable[[], None]:
    """The next epoch of a training on `windows`; `labelled` gives their labels without encoding them.

    Nothing is made ahead, or the encodings of a later epoch would count in this one.
    """
    steps = train_steps(new_learner(task, labelled), task, windows, ahead=0)
    count = task.order(windows).steps_per_epoch

    def epoch() -> None:
        for _ in range(count):
            next(steps)

    return epoch


def encode_once(clips: Sequence[AlignedClip], encoders: Mapping[str, Encoder], store: FeatureStore) -> StoredPass:
    """Encodes every clip, writes its features in their final form, reads them back and fits the transform."""
    started = time.perf_counter()
    encoded = {name: encoder.encode(clips) for name, encoder in encoders.items()}
    encode_s = time.perf_counter() - started
    keys = {
        name: [feature_key(clip.content_sha256, clip.alignment_fingerprint, encoder.fingerprint) for clip in clips]
        for name, encoder in encoders.items()
    }
    for name, items in encoded.items():
        store.write(name, dict(zip(keys[name], items, strict=True)))
        store.compact(name, keys[name])
    features_of = {name: store.read(name, keys[name]) for name in encoders}
    features = [{name: features_of[name][keys[name][index]] for name in encoders} for index in range(len(clips))]
    transform = Transform.fit(features, {name: encoder.width for name, encoder in encoders.items()})
    cases = [
        as_case(clip, one, transform, label=label_of(index))
        for index, (clip, one) in enumerate(zip(clips, features, strict=True))
    ]
    return StoredPass(
        cases=cases, transform=transform, encode_s=encode_s, store_s=time.perf_counter() - started - encode_s
    )


def as_case(clip: AlignedClip, encoded: Mapping[str, Encoded], transform: Transform, *, label: int) -> Case:
    """An encoded clip, transformed and labelled."""
    features, masks = transform.apply(encoded, clip.grid.num_steps)
    return Case(
        clip_id=clip.clip_id,
        dataset="made",
        subject_id="made/s",
        features=features,
        masks=masks,
        step_labels=torch.full((clip.grid.num_steps,), label).numpy(),
        clip_label=label,
        rate_hz=clip.grid.rate_hz,
        groups={},
    )


def label_of(index: int) -> int:
    """The class of a clip."""
    return index % len(CLASSES)


def windows_of(clips: Sequence[AlignedClip]) -> list[tuple[int, int]]:
    """(clip, first step) of every window that lies within a clip."""
    return [
        (index, first)
        for index, clip in enumerate(clips)
        for first in range(0, clip.grid.num_steps - WINDOW + 1, STRIDE)
    ]


def _training(corpus: TrainingSetup, stored: StoredPass, measured: PairedTimes, windows: int) -> Comparison:
    once_s = stored.encode_s + stored.store_s
    anew_s, ours_s = measured.medians_s
    gains = Spread.of(
        EPOCHS * anew / (once_s + EPOCHS * own) for anew, own in zip(measured.baseline_s, measured.ours_s, strict=True)
    )
    return Comparison(
        what=f"training for {EPOCHS} epochs (extrapolated), {_words(corpus, windows)}",
        unit="training",
        baseline=Figure(name="windows encoded in every epoch", amount=EPOCHS * anew_s),
        ours=Figure(name="encoded once", amount=once_s + EPOCHS * ours_s),
        kind="gain",
        ratio=gains,
        pairs=measured.count,
        goal=GOAL,
        note=(
            f"{corpus.name}: extrapolated from {measured.count} measured epoch(s) of each side: {EPOCHS} × "
            f"{duration(anew_s)} against {duration(stored.encode_s)} of encoding once + {duration(stored.store_s)} of "
            f"writing, reading and fitting the transform + {EPOCHS} × {duration(ours_s)}. The model's own step, equal "
            f"on both sides, bounds the gain at {anew_s / ours_s:.0f}×."
        ),
    )


def _encoding(corpus: TrainingSetup, stored: StoredPass, anew_s: float, windows: int) -> Comparison:
    once_s = stored.encode_s + stored.store_s
    passes = EPOCHS * windows * WINDOW / (corpus.clips * corpus.steps)
    gain = EPOCHS * anew_s / once_s
    return Comparison(
        what=f"the encoders' work in it, {corpus.name}",
        unit="training",
        baseline=Figure(name=f"{passes:.0f} passes a frame", amount=EPOCHS * anew_s),
        ours=Figure(name="one pass, written and read", amount=once_s),
        kind="gain",
        ratio=Spread(median=gain, low=gain, high=gain),
        pairs=1,
    )


def _words(corpus: TrainingSetup, windows: int) -> str:
    clips = f"{corpus.clips} clip{'s' if corpus.clips > 1 else ''} of {corpus.steps / RATE_HZ:g} s at {RATE_HZ:g} Hz"
    return f"{corpus.preset} model on {corpus.name}: {clips}, {windows} windows of {WINDOW} steps every {STRIDE}"


def embedded_encoders(folder: Path) -> dict[str, Encoder]:
    """The encoders that come with the project; `folder` is not needed."""
    encoders = Features().encoders
    return {name: create(encoders[name], name) for name in ("face", "voice")}


EMBEDDED = TrainingSetup(
    name="fer + whisper-tiny", preset="default", encoders=embedded_encoders, clips=4, steps=600, measured=3
)
PUBLISHED = TrainingSetup(
    name="CLIP ViT-B/32 + wav2vec2-base", preset="paper", encoders=published_encoders, clips=1, steps=480, measured=1
)

BENCHMARK = Benchmark(
    question="training from stored features against encoding overlapping windows anew in every epoch",
    run=run,
    full=Sizes(corpora=(EMBEDDED, PUBLISHED)),
    quick=Sizes(corpora=(replace(EMBEDDED, clips=2, steps=180, measured=1),)),
)
