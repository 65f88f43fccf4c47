"""One clip in, one answer out: the same alignment, encoders and transform as the stages, then the model of one bundle.

No Ray here: `mer predict`, a replica and a test call the same object. A predictor belongs to one version and never
changes; a different version has its own. Media are opened and encoded only in guarded children, so a file that kills a
decoder is refused like any other, and a caller that gives up ends the work on its clip.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.alignment.guard import Guard, unpacked_row
from components.alignment.quality import gate
from components.contracts.codes import Code
from components.contracts.config import AlignmentQuality, MediaLimits
from components.contracts.errors import BundleError, MediaError
from components.contracts.labels import Taxonomy
from components.contracts.records import AlignedClip, Clip, Word
from components.features.adaptation import Adaptation
from components.features.base import Encoded, pretrained_of
from components.features.encoders.given import is_given
from components.features.guard import Encodings
from components.inference.attribution import LeftOut, leave_one_out
from components.inference.episodes import find_episodes, transitions
from components.inference.experts import Opinion, posterior
from components.inference.live import Past, StreamScorer
from components.inference.outliers import OutlierCheck
from components.inference.scoring import Scored, Scorer
from components.registry import golden_clip
from components.registry.bundle import Bundle
from components.runtime.patience import Patience
from components.runtime.together import Together
from components.serving.answers.reasons import why_episodes, why_transitions
from components.serving.answers.schemas import (
    Answer,
    ClipFacts,
    ModelIdentity,
    Moment,
    Transition,
)
from components.serving.answers.views import (
    FaceBox,
    by_class,
    contradiction,
    contradiction_spans,
    episode_view,
    face_boxes,
    mood_of,
    outside_training,
    timeline,
)
from components.serving.answers.words import (
    adaptation_notes,
    apart_note,
    expert_notes,
    presence_notes,
    training_people,
)
from components.serving.compatible import check_adaptation, check_alignment, used_encoders
from components.serving.metrics import DECODE, FEATURES, MODEL, metrics
from components.serving.pool import ChildPool, matching_encoder

# A clip on its grid, and its features as the encoders give them.
Reading = tuple[AlignedClip, Encodings]
# The model's input: {m: (T, D)}, {m: (T,)}.
Transformed = tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.bool_]]]
UNREGISTERED = "unregistered"
MOST_TOGETHER = 16  # clips of which only features are known
FROM_FEATURES = "judged from features that came ready-made; how they were made is not known"


@dataclass(frozen=True, kw_only=True)
class _Judgement:
    """What became of one clip: `masks` {m: (T,)} of the modalities that the version was trained on, the opinions of
    pretrained classifiers on others, the joint outputs (None where there is nothing to judge), how far the clip is from
    the training data, and where that was asked for, the outputs without each modality."""

    masks: Mapping[str, NDArray[np.bool_]]
    opinions: Mapping[str, Opinion] = field(default_factory=dict)
    scored: Scored | None = None
    distances: Mapping[str, OutlierCheck] = field(default_factory=dict)
    left_out: LeftOut | None = None


@dataclass(frozen=True, kw_only=True)
class _Input:
    """What an answer has of its clip, besides the judgement: its name, grid and length, remarks on it, the modalities
    that it has by step {m: (T,)}, its words and their language, where its face is by step, and by modality why an
    encoder does not read it."""

    name: str
    rate_hz: float
    steps: int
    duration_s: float
    notes: tuple[str, ...] = ()
    masks: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    words: tuple[Word, ...] = ()
    face_boxes: tuple[FaceBox | None, ...] = ()
    language: str | None = None
    unread: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, clip: Clip, aligned: AlignedClip, encodings: Encodings, bounds: AlignmentQuality) -> _Input:
        """That of an aligned clip."""
        return cls(
            name=Path(clip.clip_id).name,
            rate_hz=aligned.grid.rate_hz,
            steps=aligned.grid.num_steps,
            duration_s=aligned.quality.duration_s,
            notes=(*aligned.quality.notes, *_gate_note(aligned, bounds)),
            masks=aligned.masks,
            words=aligned.words,
            face_boxes=face_boxes(aligned),
            language=encodings.language,
            unread={name: why.words for name, why in encodings.unread.items()},
        )


class Predictor:
    """A bundle, ready to judge clips.

    Args:
        bundle: what was trained.
        name, version: in the registry.
        pool: guarded children to share with other versions; a pool of its own by default.
        limits: what the media may cost; the bundle's alignment settings by default. They never change an answer.
        root: where relative media paths start.
        only: the one folder whose files may be judged, where they are strangers' files; None: any.
        device: where checkpoint encoders run. The model itself always runs on the CPU in float32.
        wait: whether the children are ready when this object is. Without, the first clip is opened while the encoders
            are being loaded, and weights that are not installed are an error of that clip.
        expected: the modalities of the clips to come; None: any. Encoders of others are loaded when a clip has them.

    Raises:
        BundleError: an encoder or the alignment installed here differs from the one that the bundle was made with.
        UnavailableError: weights that are not installed.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        name: str = "mer",
        version: str = UNREGISTERED,
        pool: ChildPool | None = None,
        limits: MediaLimits | None = None,
        root: Path = Path(),
        only: Path | None = None,
        device: str = "cpu",
        wait: bool = True,
        expected: Collection[str] | None = None,
    ) -> None:
        check_alignment(bundle)
        self.bundle = bundle
        self.pool = pool or ChildPool(device)
        self._only = only
        limits = limits or bundle.alignment.limits
        self.guard: Guard = self.pool.guard(bundle.alignment.model_copy(update={"limits": limits}), root, only=only)
        self._check_classifiers()
        experts = {name: expert.encoder for name, expert in bundle.experts.items()}
        self.encoders = self.pool.encoders(used_encoders(bundle), experts, limits, expected)
        self.modalities = tuple(bundle.transform.modalities)
        self.model = ModelIdentity(
            name=name,
            version=version,
            git_commit=bundle.lineage.git_commit,
            data_sha256=bundle.lineage.data_sha256,
            bundle_sha256=bundle.sha256,
            trained_on=training_people(bundle.description.learned_from),
        )
        self._ready_made = frozenset(name for name, spec in used_encoders(bundle).items() if is_given(spec.spec))
        self._scorer = Scorer(bundle.model, bundle.calibration)
        self.live = StreamScorer(self._scorer)
        self._transform = bundle.transform
        self._together = Together(self._judged_together, MOST_TOGETHER)
        self.adaptation: Adaptation | None = None
        if wait:
            self.encoders.wait()
            self.guard.wait()  # both started together

    def _check_classifiers(self) -> None:
        """Raises BundleError where a classifier for a modality that this version was trained without is another one
        here."""
        for name, expert in self.bundle.experts.items():
            own = pretrained_of(matching_encoder(name, expert.encoder, self.pool.device))
            if own is None or own.labels != expert.classifier.labels:
                raise BundleError(
                    "the classifier installed here is not the one this version was registered with",
                    where=f"classifier of {name}: {expert.encoder.spec}",
                    seen=None if own is None else own.labels,
                    allowed=expert.classifier.labels,
                    remedy="Serve it with the code and weights it was registered with, or register it again.",
                    code=Code.ENCODER_MISMATCH,
                )

    def adapted(self, adaptation: Adaptation) -> Predictor:
        """The same version for more recordings like those of `adaptation`; this object stays as it is.

        Raises:
            BundleError: the version does not standardise, or the features were made by different encoders.
        """
        check_adaptation(self.bundle, adaptation)
        other = copy(self)
        other._transform = self.bundle.transform.adapted(adaptation.modalities)
        other._together = Together(other._judged_together, MOST_TOGETHER)
        other.adaptation = adaptation
        return other

    def again(self) -> Predictor:
        """The same version with guarded children of its own, for one more clip at the same time."""
        other = Predictor(
            self.bundle,
            name=self.model.name,
            version=self.model.version,
            limits=self.guard.limits,
            root=self.guard.root,
            only=self._only,
            device=self.pool.device,
        )
        return other if self.adaptation is None else other.adapted(self.adaptation)

    def predict(self, clip: Clip, *, patience: Patience | None = None, why: bool = False) -> Answer:
        """Judges one clip; `patience` is how long the caller waits, by default as long as it takes.

        With `why`, episodes and transitions have what they rest on: one more pass of the model, over as many variants
        of the clip as it has modalities. Nothing else in the answer changes.

        A clip that has none of the modalities this version was trained on is answered too: without an emotion, and
        with the modalities that it does have in the notes. That is a fact about the version, not a fault of the media.

        Raises:
            MediaError: the media cannot be used.
            DataError: the clip has more words than can be said in its time.
            UnavailableError: the patience of the caller ended before the turn of the clip came.
            GivenUpError: the caller has given up.
        """
        return self.judge(clip, self.read(clip, patience=patience), why=why)

    def judge(self, clip: Clip, reading: Reading, *, why: bool = False) -> Answer:
        """Judges a clip that this version, or one that reads clips alike, has read; `why` as for `predict`."""
        aligned, encodings = reading
        with metrics().stage(MODEL), self.pool.lock:
            judgement = self._judgement(encodings, aligned.grid.num_steps, why=why)
        return self._answer(_Input.of(clip, aligned, encodings, self.bundle.alignment.quality), judgement)

    def read(self, clip: Clip, *, before: str = "", patience: Patience | None = None) -> Reading:
        """A clip on its grid, and its features; `before` as of `EncoderGuard.encode`. Raises as `predict`."""
        with metrics().stage(DECODE):
            row = self.guard.aligned_row(clip, patience=patience)
            aligned = unpacked_row(row)
        with metrics().stage(FEATURES):
            return aligned, self.encoders.encode(row, aligned, before=before, patience=patience)

    def advance(self, encodings: Encodings, num_steps: int, new: slice, past: Past) -> tuple[tuple[Moment, ...], Past]:
        """The moments of the new steps of a stream.

        Args:
            encodings: of a part of the stream, on `num_steps` steps.
            num_steps: of that part.
            new: the steps that are new; the others were given before and are context alone.
            past: what the steps before gave.

        Returns:
            the moments, whose times count from the first new step, and the past of the next ones.

        Raises:
            DataError, ModelError: the past is of a different version.
        """
        features, masks = self._transform.apply(encodings.features, num_steps)
        opinions = {
            name: Opinion(step=opinion.step[new], valid=opinion.valid[new])
            for name, opinion in self._opinions(encodings.scores).items()
            if opinion.valid[new].any()
        }
        masks = {name: mask[new] for name, mask in masks.items()}
        with metrics().stage(MODEL), self.pool.lock:
            scored, past = self.live.advance({name: rows[new] for name, rows in features.items()}, masks, past)
        steps, rate_hz = len(scored.step_posterior), self.bundle.alignment.rate_hz
        scored = scored.joined(opinions, masks)
        masks |= {name: opinion.valid for name, opinion in opinions.items()}
        moments = timeline(
            self.bundle.spec.classes, scored.step_posterior, masks, scored, rate_hz=rate_hz, duration_s=steps / rate_hz
        )
        return moments, past

    def predict_features(self, features: Mapping[str, Encoded], *, name: str, why: bool = False) -> Answer:
        """Judges a clip of which only features are known, as `encoded` gives them: {m: (T, D)}, all of the same T, of
        modalities and widths that this version has. `why` is as for `predict`; without it, what threads ask for at the
        same time is judged together, which changes scores by the rounding of float32 alone."""
        steps = next(iter(features.values())).valid.size
        rate_hz = self.bundle.spec.rate_hz
        with metrics().stage(MODEL):
            if why:
                with self.pool.lock:
                    judgement = self._judgement(Encodings(features=features, scores={}), steps, why=True)
            else:
                judgement = self._together(features)
        facts = _Input(name=name, rate_hz=rate_hz, steps=steps, duration_s=steps / rate_hz, notes=(FROM_FEATURES,))
        return self._answer(facts, judgement)

    def _judged_together(self, clips: Sequence[Mapping[str, Encoded]]) -> list[_Judgement]:
        """The judgements of clips of which only features are known."""
        with self.pool.lock:
            inputs = [self._transform.apply(features, next(iter(features.values())).valid.size) for features in clips]
            there = [index for index, (_, masks) in enumerate(inputs) if any(mask.any() for mask in masks.values())]
            scored = dict(zip(there, self._scorer.score_all([inputs[index] for index in there]), strict=True))
            return [
                _Judgement(
                    masks=masks,
                    scored=scored.get(index),
                    distances=self.bundle.reference.judge(features, masks) if index in scored else {},
                )
                for index, (features, masks) in enumerate(inputs)
            ]

    def _judgement(self, encodings: Encodings, num_steps: int, *, why: bool) -> _Judgement:
        features, masks = self._transform.apply(encodings.features, num_steps)
        opinions = self._opinions(encodings.scores)
        if not opinions and not any(bool(mask.any()) for mask in masks.values()):
            return _Judgement(masks=masks)
        own = self._scorer.score(features, masks)
        return _Judgement(
            masks=masks,
            opinions=opinions,
            scored=own.joined(opinions, masks),
            distances=self.bundle.reference.judge(features, masks),
            left_out=leave_one_out(self._scorer, own, features, masks, opinions) if why else None,
        )

    def check_golden_clip(self, folder: Path | None = None) -> None:
        """Judges the bundle's golden clip on the way that every clip takes; nothing without one. Where the version
        before had the same clip, and this one has its children, they have gone that way up to the features.

        Args:
            folder: where to write the clip: one that the child which opens media may read.

        Raises:
            BundleError: it does not give what it gave where the version was registered.
            MediaError: it cannot be used here.
        """
        golden = self.bundle.golden_clip
        if golden is None:
            return

        def transformed(clip: Clip) -> Transformed:
            children, key = (self.guard, self.encoders), (golden.media, golden.transcript)
            return self._of_encoded(self.pool.read_once(children, key, lambda: self.encoded(clip)))

        golden_clip.check(
            golden,
            transformed,
            self._scorer,
            folder=folder,
            where=f"{self.model.name} version {self.model.version}",
        )

    def _opinions(self, scores: Mapping[str, Encoded]) -> dict[str, Opinion]:
        """Of the pretrained classifiers on the modalities of a clip that this version was trained without."""
        taxonomy = Taxonomy.from_json(self.bundle.description.taxonomy)
        return {
            name: Opinion(step=posterior(own.values, self.bundle.experts[name].classifier, taxonomy), valid=own.valid)
            for name, own in scores.items()
            if own.valid.any()
        }

    def encoded(self, clip: Clip) -> dict[str, Encoded]:
        """The features of a clip as the encoders give them, by modality. Raises as `predict`."""
        row = self.guard.aligned_row(clip)
        return dict(self.encoders.encode(row, unpacked_row(row)).features)

    def transformed(self, clip: Clip) -> Transformed:
        """The model's input for a clip: {m: (T, D)}, {m: (T,)}. Raises as `predict`."""
        return self._of_encoded(self.encoded(clip))

    def _of_encoded(self, encoded: Mapping[str, Encoded]) -> Transformed:
        return self._transform.apply(encoded, len(next(iter(encoded.values())).valid))

    def _answer(self, clip: _Input, judgement: _Judgement) -> Answer:
        classes, rate_hz, duration_s = self.bundle.spec.classes, clip.rate_hz, clip.duration_s
        opinions, scored = judgement.opinions, judgement.scored
        masks = {**judgement.masks, **{name: opinion.valid for name, opinion in opinions.items()}}
        valid = np.any(list(masks.values()), axis=0)
        steps_TK = np.zeros((clip.steps, len(classes)), np.float32) if scored is None else scored.step_posterior
        on_grid = find_episodes(steps_TK, valid, classes, rate_hz, self.bundle.smoother) if scored else []
        # The last step of the grid may reach beyond the clip; no time in an answer does.
        episodes = [replace(episode, offset_s=min(episode.offset_s, duration_s)) for episode in on_grid]
        views = tuple(episode_view(episode, steps=clip.steps) for episode in episodes)
        changes = tuple(Transition.model_validate(change.to_json()) for change in transitions(episodes))
        if judgement.left_out is not None:
            views = why_episodes(views, judgement.left_out.of_episodes(on_grid), clip.words)
            changes = why_transitions(changes, judgement.left_out.of_transitions(on_grid), clip.words)
        presence = {name: float(mask.mean()) for name, mask in masks.items()}
        unused = {
            name: float(mask.mean()) for name, mask in clip.masks.items() if name not in masks and bool(mask.any())
        }
        clip_posterior = by_class(classes, scored.clip_posterior) if scored else {}
        threshold = self.bundle.calibration.contradiction_threshold
        valence, arousal = mood_of(scored.valence_arousal if scored else None)
        emotion = max(clip_posterior, key=lambda name: clip_posterior[name], default=None)
        return Answer(
            model=self.model,
            clip=ClipFacts(name=clip.name, duration_s=duration_s, rate_hz=rate_hz, language=clip.language),
            presence=presence,
            notes=(
                *clip.notes,
                *presence_notes(presence, unused, self._ready_made, clip.unread),
                *apart_note(scored.groups if scored else ()),
                *expert_notes({name: self.bundle.experts[name].classifier.trained_on for name in opinions}),
                *adaptation_notes(self.adaptation, [name for name in judgement.masks if presence[name] > 0]),
            ),
            adapted_to=None if self.adaptation is None else self.adaptation.words,
            posterior=clip_posterior,
            emotion=emotion,
            confidence=None if emotion is None else clip_posterior[emotion],
            contradiction=contradiction(classes, scored, threshold, rate_hz),
            contradictions=contradiction_spans(classes, scored, threshold, rate_hz, duration_s),
            valence=valence,
            arousal=arousal,
            outside_training=outside_training(
                judgement.distances, trained_on=tuple(judgement.masks), experts=tuple(opinions)
            ),
            timeline=timeline(classes, steps_TK, masks, scored, rate_hz=rate_hz, duration_s=duration_s),
            face_boxes=clip.face_boxes if "face" in masks else (),
            episodes=views,
            transitions=changes,
        )


def _gate_note(aligned: AlignedClip, bounds: AlignmentQuality) -> list[str]:
    """A clip of too poor a quality to train on is answered too, with this note."""
    try:
        gate(aligned.quality, bounds, where=aligned.clip_id)
    except MediaError as error:
        bound = f"{error.what} (seen {error.seen}, allowed {error.allowed})"
        return [f"a clip of this quality is not used in training: {bound}"]
    return []
