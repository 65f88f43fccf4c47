from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.alignment.streams import STILL_NOTE
from components.contracts.atomic import write_table
from components.contracts.config import Features, MediaLimits, Params, RayResources
from components.contracts.errors import BundleError, MediaError
from components.contracts.labels import taxonomy
from components.contracts.layout import Layout
from components.contracts.records import Word, clip_table
from components.features.adaptation import Adaptation
from components.features.base import Encoded, pretrained_of
from components.features.recordings import gather
from components.features.registry import create
from components.features.store import FeatureStore
from components.inference.contradiction import Rarity
from components.inference.experts import posterior
from components.registry.bundle import Bundle, EncoderSpec, Expert, load_bundle
from components.serving.answers.schemas import Answer
from components.serving.clips import clip_of_file
from components.serving.compatible import check_adaptation, check_fits
from components.serving.pool import ChildPool
from components.serving.predictor import Predictor
from pipelines.stages import call_stage
from tests.serving import media
from tests.serving.bundles import ALIGNMENT, CLASSES, SPECS, tiny_bundle

WORDS = (Word(text="what", start_s=0.2, end_s=0.5), Word(text="rain", start_s=0.6, end_s=1.1))
PARITY = 1e-5


@pytest.fixture(scope="module")
def pool() -> ChildPool:
    return ChildPool()


@pytest.fixture(scope="module")
def predictor(bundle_folder: Path, pool: ChildPool) -> Predictor:
    return Predictor(load_bundle(bundle_folder), name="tiny", version="7", pool=pool)


@pytest.fixture(scope="module")
def answer(predictor: Predictor, clip_path: Path) -> Answer:
    return predictor.predict(clip_of_file(clip_path, predictor.guard, words=WORDS))


def test_an_answer_names_the_version_that_gave_it(answer: Answer, predictor: Predictor) -> None:
    assert (answer.model.name, answer.model.version) == ("tiny", "7")
    assert answer.model.bundle_sha256 == predictor.bundle.sha256
    assert answer.model.data_sha256 == "3" * 64
    assert answer.clip.name == "clip.mp4"


def test_features_that_are_asked_about_at_the_same_time_are_judged_together(predictor: Predictor) -> None:
    """Clips of different lengths, one of them with nothing in it; as each of them alone, up to rounding."""
    rng = np.random.default_rng(3)
    widths = predictor.bundle.transform.widths
    clips = [
        {
            name: Encoded(rng.standard_normal((steps, width)).astype(np.float32), np.full(steps, steps != 5))
            for name, width in widths.items()
        }
        for steps in (20, 31, 5, 40)
    ]
    alone = [predictor.predict_features(clip, name="features") for clip in clips]
    with ThreadPoolExecutor(len(clips)) as threads, predictor.pool.lock:
        asked = [threads.submit(predictor.predict_features, clip, name="features") for clip in clips]
        while len(predictor._together._waiting) < len(clips) - 1:
            pass
    assert alone[2].emotion is None
    for one, other in zip(alone, (answer.result() for answer in asked), strict=True):
        assert other.emotion == one.emotion
        assert other.posterior == pytest.approx(one.posterior, abs=PARITY)
        assert len(other.timeline) == len(one.timeline)
        for moment, again in zip(one.timeline, other.timeline, strict=True):
            assert again.posterior == pytest.approx(moment.posterior, abs=PARITY)


def test_an_answer_covers_the_clip_step_by_step(answer: Answer) -> None:
    assert len(answer.timeline) == pytest.approx(answer.clip.duration_s * answer.clip.rate_hz, abs=1)
    starts = [moment.start_s for moment in answer.timeline]
    assert np.allclose(starts, np.arange(len(starts)) / answer.clip.rate_hz)
    for moment in answer.timeline:
        if moment.present:
            assert sum(moment.posterior.values()) == pytest.approx(1, abs=1e-5)
            assert moment.emotion == max(moment.posterior, key=lambda name: moment.posterior[name])
        else:
            assert (moment.emotion, moment.posterior) == (None, {})
    assert tuple(answer.posterior) == CLASSES
    assert sum(answer.posterior.values()) == pytest.approx(1, abs=1e-5)
    assert answer.confidence == max(answer.posterior.values()) == answer.posterior[answer.emotion]


def test_presence_follows_what_the_clip_has(answer: Answer) -> None:
    assert answer.presence["face"] == 1.0
    assert answer.presence["voice"] > 0.8
    assert 0 < answer.presence["text"] < 1
    present = {name: np.mean([name in moment.present for moment in answer.timeline]) for name in answer.presence}
    assert present == pytest.approx(answer.presence)
    assert set(answer.contradiction.modalities) == {"face", "voice", "text"}


def test_contradictions_are_spans_of_the_moments_that_reach_the_threshold(
    predictor: Predictor, bundle_folder: Path, clip_path: Path
) -> None:
    bundle = load_bundle(bundle_folder)
    clip = clip_of_file(clip_path, predictor.guard, words=WORDS)
    # An identity of conflict and rarity, and a threshold between its values, so that some moments reach it.
    identity = Rarity(conflict=(0.0, 1.0), rarity=(0.0, 1.0))

    def answered(threshold: float) -> Answer:
        calibration = replace(bundle.calibration, rarity=identity, contradiction_threshold=threshold)
        described = replace(bundle.description, calibration=calibration)
        return Predictor(replace(bundle, description=described), pool=predictor.pool).predict(clip)

    scores = [moment.contradiction for moment in answered(1.0).timeline if moment.contradiction is not None]
    assert max(scores) > min(scores)
    threshold = float(np.median(scores))
    answer = answered(threshold)
    assert answer.contradiction.score == max(scores)
    reached = [m.contradiction is not None and m.contradiction >= threshold for m in answer.timeline]
    inside = [any(s.onset_s <= m.start_s < s.offset_s - 1e-9 for s in answer.contradictions) for m in answer.timeline]
    assert inside == reached
    assert 0 < len(answer.contradictions) < len(answer.timeline)
    for span in answer.contradictions:
        assert threshold <= span.score <= answer.contradiction.score
        assert set(span.pair) <= set(span.says)
        assert all(emotion in CLASSES for emotion in span.says.values())
        assert span.offset_s <= answer.clip.duration_s
    assert answer.contradiction.words.startswith("The modalities contradict each other, most strongly around")


def test_an_answer_says_where_the_face_is(predictor: Predictor, answer: Answer, tmp_path: Path) -> None:
    """This version takes the whole picture for the face."""
    assert answer.face_boxes == ((0.0, 0.0, 1.0, 1.0),) * len(answer.timeline)
    silent = predictor.predict(clip_of_file(media.sound(tmp_path / "voice.wav"), predictor.guard))
    assert silent.face_boxes == ()


def test_the_same_clip_gives_the_same_answer(predictor: Predictor, clip_path: Path, answer: Answer) -> None:
    again = predictor.predict(clip_of_file(clip_path, predictor.guard, words=WORDS))
    assert again.to_json() == answer.to_json()


def test_why_is_added_where_it_is_asked_for_and_changes_nothing_else(
    predictor: Predictor, clip_path: Path, answer: Answer
) -> None:
    def bare(whole: Answer) -> Answer:
        parts = {"episodes": whole.episodes, "transitions": whole.transitions}
        return whole.model_copy(
            update={name: tuple(one.model_copy(update={"why": None}) for one in own) for name, own in parts.items()}
        )

    clip = clip_of_file(clip_path, predictor.guard, words=WORDS)
    why = predictor.predict(clip, why=True)
    assert bare(why) == bare(answer) == answer
    assert why.episodes
    for episode in why.episodes:
        assert episode.why is not None
        assert set(episode.why.modalities) <= {"face", "voice", "text"}
        assert episode.intensity == pytest.approx(
            np.mean(
                [m.posterior[episode.emotion] for m in why.timeline if episode.onset_s <= m.start_s < episode.offset_s]
            )
        )
    assert why.episodes[0].why.spoken == "what rain"
    assert all(change.why is not None for change in why.transitions)


def test_limits_of_the_media_change_no_number(
    predictor: Predictor, bundle_folder: Path, clip_path: Path, tmp_path: Path, answer: Answer
) -> None:
    strict = Predictor(load_bundle(bundle_folder), name="tiny", version="7", limits=MediaLimits(max_duration_s=3))
    assert strict.predict(clip_of_file(clip_path, strict.guard, words=WORDS)) == answer
    long = media.sound(tmp_path / "long.wav", seconds=3.5)
    clip = clip_of_file(long, predictor.guard)
    assert predictor.predict(clip).clip.duration_s == 3.5
    for refused in (lambda: strict.predict(clip), lambda: clip_of_file(long, strict.guard)):
        with pytest.raises(MediaError) as caught:
            refused()
        assert caught.value.code == "too-long"


def test_sound_alone_is_judged_by_the_voice(predictor: Predictor, tmp_path: Path) -> None:
    answer = predictor.predict(clip_of_file(media.sound(tmp_path / "a.wav"), predictor.guard))
    assert answer.presence["face"] == 0 == answer.presence["text"]
    assert list(answer.contradiction.modalities) == ["voice"]
    assert answer.contradiction.score is None
    assert answer.contradiction.at_s is None
    assert not answer.contradictions
    assert {moment.contradiction for moment in answer.timeline} == {None}
    assert "nothing to compare" in answer.contradiction.words
    assert "face: absent from this clip" in answer.notes


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_photograph_is_answered_as_one_moment(predictor: Predictor, tmp_path: Path, name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    Image.fromarray(pixels).resize((128, 128)).save(tmp_path / name)
    answer = predictor.predict(clip_of_file(tmp_path / name, predictor.guard))
    assert answer.emotion in CLASSES
    [moment] = answer.timeline
    assert (moment.start_s, moment.end_s, moment.present) == (0.0, answer.clip.duration_s, ("face",))
    assert answer.clip.duration_s == pytest.approx(1 / answer.clip.rate_hz)
    assert [episode.kind for episode in answer.episodes] == ["moment"]
    assert not answer.transitions
    assert STILL_NOTE in answer.notes
    assert not any("not used in training" in note for note in answer.notes)


def test_no_moment_or_episode_reaches_beyond_the_clip(predictor: Predictor, tmp_path: Path) -> None:
    clip = clip_of_file(media.sound(tmp_path / "a.wav", seconds=1.23), predictor.guard)
    answer = predictor.predict(clip)
    assert answer.clip.duration_s == pytest.approx(1.23, abs=1e-3)
    assert answer.timeline[-1].end_s == answer.clip.duration_s
    assert answer.timeline[-1].start_s == pytest.approx(1.2)
    assert max(episode.offset_s for episode in answer.episodes) <= answer.clip.duration_s


def test_a_clip_with_nothing_to_judge_gets_no_emotion_and_a_reason(predictor: Predictor, tmp_path: Path) -> None:
    answer = predictor.predict(clip_of_file(media.sound(tmp_path / "quiet.wav", level=0), predictor.guard))
    assert answer.emotion is None
    assert answer.confidence is None
    assert not answer.posterior
    assert not answer.episodes
    assert answer.outside_training.flag
    assert answer.outside_training.words.startswith("There is no answer: the clip has nothing that this version was")
    assert "the sound is silent" in answer.notes
    assert {moment.emotion for moment in answer.timeline} == {None}
    assert Answer.model_validate_json(answer.to_json()) == answer


def test_a_modality_that_the_version_was_trained_without_is_named_and_ignored(
    pool: ChildPool, tmp_path: Path, clip_path: Path
) -> None:
    tiny_bundle(tmp_path / "voice-only", modalities=("voice",))
    voice_only = Predictor(load_bundle(tmp_path / "voice-only"), pool=pool)
    answer = voice_only.predict(clip_of_file(clip_path, voice_only.guard))
    assert list(answer.presence) == ["voice"]
    assert "face: present in 100 % of the clip, ignored because this version was trained without it" in answer.notes


def test_words_that_the_encoder_does_not_know_are_missing_and_the_answer_says_so(
    pool: ChildPool, tmp_path: Path, clip_path: Path
) -> None:
    tiny_bundle(tmp_path / "english", specs={**SPECS, "text": "hashing?languages=en"})
    english = Predictor(load_bundle(tmp_path / "english"), pool=pool)
    said = [("nie", 0.2), ("wiem", 0.5), ("co", 0.8), ("mam", 1.0), ("teraz", 1.2), ("zrobić", 1.5)]
    polish = tuple(Word(text=text, start_s=start_s, end_s=start_s + 0.2) for text, start_s in said)
    answer = english.predict(clip_of_file(clip_path, english.guard, words=polish))
    assert answer.clip.language == "pl"
    assert answer.presence["text"] == 0.0
    assert answer.presence["voice"] > 0.0
    why = "text: the words were in Polish; the encoder hashing knows English, so they were not used"
    assert [note for note in answer.notes if note.startswith("text")] == [why]
    silent = english.predict(clip_of_file(clip_path, english.guard))
    assert silent.posterior == answer.posterior
    assert silent.clip.language is None
    assert "text: absent from this clip" in silent.notes


def expert(spec: str, modality: str) -> Expert:
    encoder = create(spec, modality)
    own = pretrained_of(encoder)
    assert own is not None
    return Expert(encoder=EncoderSpec(spec=spec, fingerprint=encoder.fingerprint, width=encoder.width), classifier=own)


@pytest.fixture(scope="module")
def judging_faces(pool: ChildPool, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A version of the voice, with the classifier of `fer` for faces."""
    folder = tmp_path_factory.mktemp("expert") / "bundle"
    tiny_bundle(folder, modalities=("voice",), experts={"face": expert("fer", "face")})
    return Predictor(load_bundle(folder), pool=pool)


def test_a_modality_that_was_not_trained_is_judged_by_its_encoders_own_classifier(
    judging_faces: Predictor, pool: ChildPool, tmp_path: Path, clip_path: Path
) -> None:
    bundle = judging_faces.bundle
    plain = Predictor(replace(bundle, description=replace(bundle.description, experts={})), pool=pool)
    clip = clip_of_file(clip_path, plain.guard)
    without, answer = plain.predict(clip), judging_faces.predict(clip)
    assert answer.presence == {**without.presence, "face": 1.0}
    assert [note for note in answer.notes if note.startswith("face: judged by the pretrained classifier")]
    assert not [note for note in answer.notes if "ignored" in note]
    face = np.array(list(answer.contradiction.modalities["face"].posterior.values()))
    product = np.array(list(without.posterior.values())) * face
    assert list(answer.posterior.values()) == pytest.approx(product / product.sum(), abs=1e-5)
    assert {moment.present for moment in answer.timeline} <= {("voice", "face"), ("face",)}
    assert answer.contradiction.score is None
    assert Answer.model_validate_json(answer.to_json()) == answer


def test_a_clip_of_nothing_else_is_answered_by_the_classifier_alone(judging_faces: Predictor, tmp_path: Path) -> None:
    silent = media.video(tmp_path / "silent.mp4", sound=False)
    clip = clip_of_file(silent, judging_faces.guard)
    answer = judging_faces.predict(clip)
    [scores] = create("fer", "face").classify([judging_faces.guard.aligned(clip)])
    own = judging_faces.bundle.experts["face"].classifier
    expected = posterior(scores.values[scores.valid], own, taxonomy("abaw8")).mean(0)
    assert list(answer.posterior.values()) == pytest.approx(expected, abs=1e-5)
    assert answer.posterior["other"] == pytest.approx(1 / 8)
    assert answer.confidence == max(answer.posterior.values())
    assert answer.outside_training.flag
    assert answer.outside_training.words.startswith("This version was not trained on the face")
    assert {moment.emotion is None for moment in answer.timeline} == {False}
    assert Answer.model_validate_json(answer.to_json()) == answer


def test_a_classifier_that_is_not_the_registered_one_is_refused(judging_faces: Predictor, pool: ChildPool) -> None:
    bundle = judging_faces.bundle
    known = bundle.experts["face"]
    other = replace(known, classifier=replace(known.classifier, labels=known.classifier.labels[::-1]))
    changed = replace(bundle, description=replace(bundle.description, experts={"face": other}))
    with pytest.raises(BundleError, match="the classifier installed here is not the one"):
        Predictor(changed, pool=pool)


def test_a_modality_that_comes_ready_made_is_absent_from_media_and_the_rest_is_judged(
    pool: ChildPool, tmp_path: Path, clip_path: Path
) -> None:
    specs = {**SPECS, "face_au": "given:6"}
    tiny_bundle(tmp_path / "both", modalities=("voice", "face_au"), specs=specs)
    bundle = load_bundle(tmp_path / "both")
    check_fits(bundle)
    both = Predictor(bundle, pool=pool)
    answer = both.predict(clip_of_file(clip_path, both.guard))
    assert answer.emotion in CLASSES
    assert answer.presence["face_au"] == 0.0
    assert answer.presence["voice"] > 0.0
    assert "face_au: absent from this clip; this version needs its features ready-made" in answer.notes


def _with_encoder(bundle: Bundle, **changes: object) -> Bundle:
    encoders = {**bundle.encoders, "voice": replace(bundle.encoders["voice"], **changes)}  # type: ignore[arg-type]
    return replace(bundle, description=replace(bundle.description, encoders=encoders))


def test_an_encoder_or_alignment_other_than_the_bundles_is_refused(bundle_folder: Path) -> None:
    bundle = load_bundle(bundle_folder)
    check_fits(bundle)
    for broken, code in (
        (_with_encoder(bundle, fingerprint="f" * 64), "encoder-mismatch"),
        (
            replace(bundle, description=replace(bundle.description, alignment_fingerprint="0" * 64)),
            "alignment-mismatch",
        ),
    ):
        for construct in (Predictor, check_fits):
            with pytest.raises(BundleError) as caught:
                construct(broken)
            assert caught.value.code == code


@pytest.mark.integration
def test_online_equals_offline_where_layers_of_an_encoder_learned(
    pool: ChildPool, clip_path: Path, tmp_path: Path
) -> None:
    specs = {**SPECS, "voice": "whisper-tiny-frames"}
    tiny_bundle(tmp_path / "bundle", specs=specs, adapt={"voice": {"rank": 4}})
    bundle = load_bundle(tmp_path / "bundle")
    bundle.check_goldens()
    learned = [name for name in bundle.model.state_dict() if name.startswith("upper.voice.") and ".lora_" in name]
    assert len(learned) == 2 * 2 * 4
    check_online_equals_offline(Predictor(bundle, pool=pool), specs, clip_path, tmp_path)


@pytest.mark.integration
def test_online_equals_offline(predictor: Predictor, clip_path: Path, tmp_path: Path) -> None:
    check_online_equals_offline(predictor, SPECS, clip_path, tmp_path)


def check_online_equals_offline(
    predictor: Predictor, specs: Mapping[str, str], clip_path: Path, tmp_path: Path
) -> None:
    """The stages, through Parquet and beside another clip, against the predictor on the media file."""
    online = clip_of_file(clip_path, predictor.guard, words=WORDS)
    other = clip_of_file(media.video(tmp_path / "other.mp4", seconds=3, seed=5), predictor.guard, transcript="oh well")
    clips = [replace(online, clip_id="tiny/a"), replace(other, clip_id="tiny/b")]
    params = Params(
        datasets=("tiny",), alignment=ALIGNMENT, features=Features(encoders=specs), ray=RayResources(num_cpus=2)
    )
    layout = Layout(tmp_path / "project")
    write_table(layout.dataset("tiny") / "clips.parquet", clip_table(clips))
    call_stage("alignment", params, layout, "tiny")
    call_stage("features", params, layout, "tiny")

    import pyarrow.parquet as pq

    rows = pq.read_table(layout.features("tiny") / "index.parquet").to_pylist()
    row = next(row for row in rows if row["clip_id"] == "tiny/a")
    store = FeatureStore(layout.features("tiny"))
    encoded = {name: store.read(name, [key])[key] for name, key in dict(row["keys"]).items()}
    bundle = predictor.bundle
    features, masks = bundle.transform.apply(encoded, row["num_steps"])
    offline = bundle.scorer().score(features, masks)

    answer = predictor.predict(online)
    assert np.allclose([answer.posterior[name] for name in CLASSES], offline.clip_posterior, atol=PARITY, rtol=0)
    assert len(answer.timeline) == row["num_steps"]
    for step, moment in enumerate(answer.timeline):
        assert moment.present == tuple(name for name, mask in masks.items() if mask[step])
        if moment.present:
            posterior = [moment.posterior[name] for name in CLASSES]
            assert np.allclose(posterior, offline.step_posterior[step], atol=PARITY, rtol=0)
    assert answer.contradiction.score == pytest.approx(offline.contradiction, abs=PARITY)
    judged = bundle.reference.judge(features, masks)
    for name, check in answer.outside_training.modalities.items():
        assert check.distance == pytest.approx(judged[name].distance, rel=PARITY)


def test_an_adapted_version_answers_by_the_recordings_and_says_so(predictor: Predictor, clip_path: Path) -> None:
    clip = clip_of_file(clip_path, predictor.guard, words=WORDS)
    encoded = predictor.encoded(clip)
    encoders = {name: spec.fingerprint for name, spec in predictor.bundle.encoders.items()}
    voice = {"voice": encoded["voice"]}
    modalities = gather([voice] * 12, {"voice": encoded["voice"].values.shape[1]})
    own = Adaptation(name="studio", clips=12, modalities=modalities, encoders=encoders)
    adapted = predictor.adapted(own)
    answer, before = adapted.predict(clip), predictor.predict(clip)
    assert (answer.adapted_to, before.adapted_to) == ("studio (voice of 12)", None)
    assert (
        "standardised by the recordings of studio (voice of 12), beside which the training data count as 3 clips"
        in answer.notes
    )
    assert "face: none of these recordings have it, so the training data count for more" in answer.notes
    assert not any("standardised" in note for note in before.notes)
    assert answer.posterior != before.posterior
    # Online as offline: the transform that a training or an evaluation would use.
    transform = predictor.bundle.transform.adapted(own.modalities)
    features, _ = adapted.transformed(clip)
    for name, values in transform.apply(encoded, len(answer.timeline))[0].items():
        np.testing.assert_array_equal(features[name], values)
    with pytest.raises(BundleError, match=r"a different encoder than this version has.*mer adapt"):
        predictor.adapted(replace(own, encoders={**encoders, "voice": "0" * 64}))
    as_given = replace(predictor.bundle, transform=replace(predictor.bundle.transform, standardise=False))
    with pytest.raises(BundleError, match="nothing to adapt"):
        check_adaptation(as_given, own)
