"""The published model over clips, held against a plain loop over windows with the independent reference in it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from components.contracts.config import Model
from components.contracts.errors import ModelError
from components.model.base import ABSENT_LOGIT, ModelOutput
from components.model.build import build_model
from components.model.published.paper import load_reference_state_dict
from components.model.published.paper_clips import PaperClipModel
from components.model.spec import ModelSpec
from components.model.streaming import StreamingModel
from tests.model.published.reference import Reference, random_reference

CLASSES = tuple(f"class{index}" for index in range(8))
PUBLISHED = {"face": 512, "voice": 768}
SMALL = {"face": 6, "voice": 5}
WINDOW, STRIDE, FILL = 30, 5, 1


def spec_of(modalities: dict[str, int], **fields: object) -> ModelSpec:
    return ModelSpec(modalities=modalities, classes=CLASSES, model=Model(preset="paper"), **fields)  # type: ignore[arg-type]


def small_model(**fields: object) -> PaperClipModel:
    torch.manual_seed(3)
    model = build_model(spec_of(SMALL, **fields)).eval()
    assert isinstance(model, PaperClipModel)
    return model


def clip(steps: int, modalities: dict[str, int] = SMALL, *, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(1, steps, width, generator=generator) for name, width in modalities.items()}


def everywhere(features: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.ones(values.shape[:2], dtype=torch.bool) for name, values in features.items()}


def said(model: PaperClipModel, features: dict[str, Tensor], masks: dict[str, Tensor] | None = None) -> ModelOutput:
    with torch.no_grad():
        return model(features, everywhere(features) if masks is None else masks)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return random_reference()


@pytest.fixture(scope="module")
def loaded(reference: Reference) -> PaperClipModel:
    model = build_model(spec_of(PUBLISHED, embedding=512)).eval()
    assert isinstance(model, PaperClipModel)
    load_reference_state_dict(model.published, reference.state_dict())
    return model


def by_hand(reference: Reference, face: Tensor, voice: Tensor, seen: Tensor, heard: Tensor) -> tuple[Tensor, ...]:
    """One clip (T, D), (T,) step by step in plain words: steps (T, 8), clip (8,), embedding (512,)."""
    there = (seen | heard).nonzero().flatten().tolist()
    first, end = there[0], there[-1] + 1
    starts = [0] if end - first < WINDOW else list(range(0, end - first - WINDOW + 1, STRIDE))
    logits, videos, ends = [], [], []
    for start in starts:
        low, high = first + start, min(first + start + WINDOW, end)
        rows = []
        for values, valid in ((face, seen), (voice, heard)):
            kept: list[Tensor] = []
            last, gap = -1, 0
            for step in range(low, high):
                if valid[step]:
                    if last >= 0 and 0 < gap <= FILL:
                        kept.extend([values[last]] * gap)
                    kept.append(values[step])
                    last, gap = step, 0
                else:
                    gap += 1
            rows.append(torch.stack(kept or [torch.zeros_like(values[0])]).unsqueeze(0))
        with torch.no_grad():
            scores, video = reference(*rows)
        logits.append(scores[0])
        videos.append(video[0])
        ends.append(high)
    steps = [logits[max([i for i, e in enumerate(ends) if e <= step + 1], default=0)] for step in range(len(face))]
    embedding = torch.stack(videos).mean(0)
    return torch.stack(steps), torch.stack(logits).mean(0), embedding / embedding.norm()


@pytest.mark.parametrize("steps", [12, 30, 47])
@pytest.mark.parametrize("gaps", [False, True])
def test_a_clip_gets_what_the_reference_says_of_its_windows(
    reference: Reference, loaded: PaperClipModel, steps: int, gaps: bool
) -> None:
    features = clip(steps, PUBLISHED, seed=steps)
    masks = everywhere(features)
    if gaps:
        masks["face"][0, 4], masks["face"][0, 7:10], masks["voice"][0, 5:7] = False, False, False
        masks["face"][0, :2] = masks["voice"][0, :2] = False
        for name, mask in masks.items():
            features[name][~mask] = torch.nan
    output = said(loaded, features, masks)
    step, whole, embedding = by_hand(
        reference, features["face"][0], features["voice"][0], masks["face"][0], masks["voice"][0]
    )
    assert whole.std() > 1e-2
    torch.testing.assert_close(output.step_logits[0], step, atol=1e-5, rtol=0)
    torch.testing.assert_close(output.clip_logits[0], whole, atol=1e-5, rtol=0)
    assert output.embedding is not None
    torch.testing.assert_close(output.embedding[0], embedding, atol=1e-5, rtol=0)


def test_at_the_published_widths_it_has_the_published_parameters(reference: Reference, loaded: PaperClipModel) -> None:
    names = {name for name, _ in reference.named_parameters(remove_duplicate=False)}
    own = {name.removeprefix("published.") for name in loaded.state_dict()}
    assert own == {name for name in names if not name.startswith(("clip.", "wav2vec.")) and ".net." not in name}


def test_a_step_keeps_the_scores_of_the_newest_window_until_the_next_ends() -> None:
    model, features = small_model(), clip(47)
    steps = said(model, features).step_logits[0]
    changes = [step for step in range(1, 47) if not torch.equal(steps[step], steps[step - 1])]
    assert changes == [34, 39, 44]
    for end, step in ((30, 0), (30, 29), (35, 34), (45, 46)):
        alone = said(model, {name: values[:, end - WINDOW : end] for name, values in features.items()})
        torch.testing.assert_close(steps[step], alone.clip_logits[0])


def test_a_clips_posterior_is_the_geometric_mean_of_its_windows() -> None:
    model, features = small_model(), clip(40)
    windows = [said(model, {n: x[:, s : s + WINDOW] for n, x in features.items()}).clip_logits[0] for s in (0, 5, 10)]
    mean = torch.stack([scores.log_softmax(-1) for scores in windows]).mean(0)
    torch.testing.assert_close(said(model, features).clip_logits[0].softmax(-1), mean.softmax(-1))


def test_a_clip_does_not_depend_on_what_it_is_batched_with() -> None:
    model = small_model(embedding=7)
    clips = [clip(steps, seed=steps) for steps in (8, 47, 33)]
    masks = [everywhere(features) for features in clips]
    masks[1]["voice"][0, 10:20] = False
    masks[2]["face"][0, :9] = masks[2]["voice"][0, :4] = False
    together, hidden = {}, {}
    for name, width in SMALL.items():
        together[name] = torch.full((3, 60, width), torch.nan)
        hidden[name] = torch.zeros(3, 60, dtype=torch.bool)
        for row, (features, own) in enumerate(zip(clips, masks, strict=True)):
            together[name][row, : features[name].shape[1]] = features[name][0]
            hidden[name][row, : features[name].shape[1]] = own[name][0]
    batch = said(model, together, hidden)
    for row, (features, own) in enumerate(zip(clips, masks, strict=True)):
        alone = said(model, features, own)
        steps = alone.step_logits.shape[1]
        torch.testing.assert_close(batch.clip_logits[row], alone.clip_logits[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(batch.step_logits[row, :steps], alone.step_logits[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(batch.embedding[row], alone.embedding[0], atol=1e-5, rtol=1e-5)


def test_many_windows_go_through_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model, features = small_model(), clip(60)
    at_once = said(model, features)
    monkeypatch.setattr("components.model.published.paper_clips.WINDOWS_AT_ONCE", 2)
    torch.testing.assert_close(said(model, features).step_logits, at_once.step_logits)


def test_a_gap_is_filled_up_to_the_bound_and_left_out_beyond_it() -> None:
    model, features = small_model(), clip(20)
    masks = everywhere(features)
    masks["face"][0, 8] = False
    repeated = {name: values.clone() for name, values in features.items()}
    repeated["face"][0, 8] = features["face"][0, 7]
    torch.testing.assert_close(said(model, features, masks).clip_logits, said(model, repeated).clip_logits)
    masks["face"][0, 9] = False
    repeated["face"][0, 9] = features["face"][0, 7]
    assert not torch.allclose(said(model, features, masks).clip_logits, said(model, repeated).clip_logits, atol=1e-4)


def test_an_absent_stream_is_a_step_of_zeros_and_an_empty_clip_is_answered() -> None:
    model, features = small_model(), clip(10)
    zero = {"face": features["face"], "voice": torch.zeros(1, 1, SMALL["voice"])}
    silent = said(model, {"face": features["face"]})
    with torch.no_grad():
        expected = model.published(zero["face"], zero["voice"])
    torch.testing.assert_close(silent.clip_logits, expected)
    nothing = said(model, features, {name: torch.zeros(1, 10, dtype=torch.bool) for name in SMALL})
    assert not nothing.clip_logits.any()
    assert not nothing.step_logits.any()


def test_it_has_no_opinion_of_single_modalities_and_closes_absent_classes() -> None:
    output = said(small_model(absent=("class2",)), clip(40))
    assert output.unimodal_clip_logits == output.unimodal_step_logits == {}
    assert output.valence_arousal is output.embedding is None
    assert (output.clip_logits[:, 2] == ABSENT_LOGIT).all()
    assert (output.step_logits[..., 2] == ABSENT_LOGIT).all()
    assert (output.clip_logits[:, :2] > ABSENT_LOGIT).all()


@pytest.mark.parametrize(
    ("modalities", "words"),
    [
        ({"face": 6}, "none of voice"),
        ({"voice": 5}, "none of face"),
        ({"face": 6, "voice": 5, "text": 3}, "no more.*text.*face and voice"),
        ({"face": 6, "voice": 5, "face_au": 3}, "no more.*face_au.*face and voice"),
    ],
)
def test_other_modalities_are_refused_with_what_to_do(modalities: dict[str, int], words: str) -> None:
    with pytest.raises(ModelError, match=rf"preset: paper: .*{words}.*features\.encoders"):
        build_model(spec_of(modalities))


def test_what_a_corpus_brings_ready_made_of_faces_stands_for_the_face() -> None:
    features = clip(47)
    masks = everywhere(features)
    masks["face"][0, 9:20] = False
    face = small_model()
    units = build_model(spec_of({"face_au": SMALL["face"], "voice": SMALL["voice"]})).eval()
    units.load_state_dict(face.state_dict())
    renamed, hidden = ({"face_au": own["face"], "voice": own["voice"]} for own in (features, masks))
    assert isinstance(units, PaperClipModel)
    torch.testing.assert_close(said(units, renamed, hidden).step_logits, said(face, features, masks).step_logits)


def test_what_it_has_no_head_for_is_refused() -> None:
    with pytest.raises(ModelError, match="no head for valence and arousal"):
        build_model(spec_of(SMALL, valence_arousal=True))


def test_it_does_not_stream() -> None:
    with pytest.raises(ModelError, match="cannot run step by step"):
        StreamingModel(small_model())
