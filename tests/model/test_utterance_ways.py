"""Utterances in a clip are read in the ways that clips are, and weighed on held-out videos by the same code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from components.catalog.cases import Case
from components.contracts.config import Model, Train
from components.contracts.labels import UNLABELLED
from components.evaluation.fitting import fit_posteriors, one_by_one
from components.features.base import Encoded
from components.features.transform import Transform
from components.inference.calibration import PRODUCT, Calibration, mix
from components.inference.scoring import Scorer
from components.model.base import ClipFeatures, EmotionModel
from components.model.build import build_model
from components.model.carried import carry_over
from components.model.losses import step_part
from components.model.model import TemporalModel
from components.model.spec import ModelSpec
from components.model.streaming import StreamingModel
from components.training.loop import TrainingTask, new_learner
from components.training.prepare import spec_of
from components.training.samples.items import collate
from tests.model.toys import CLASSES, WIDTHS, Toy, toy_spec


def videos(split: str = "train") -> list[Case]:
    """Clips without a label, each step an utterance with its own; every fifth one has none."""
    made = []
    for item in Toy(clips=9).items(split):
        labels = (item.clip_label + np.arange(item.steps)) % len(CLASSES)
        made.append(
            replace(
                item,
                clip_label=UNLABELLED,
                step_labels=np.where(np.arange(item.steps) % 5 == 4, UNLABELLED, labels),
            )
        )
    return made


def spec(**fields: object) -> ModelSpec:
    return replace(toy_spec(**{"clip_head": "all", **fields}), utterances=True)


def drawn(model_spec: ModelSpec, seed: int = 0) -> EmotionModel:
    torch.manual_seed(seed)
    model = build_model(model_spec)
    model.set_from([ClipFeatures(case.features, case.masks) for case in videos()])
    return model.eval()


@pytest.mark.parametrize("head", ["all", "statistics", "temporal"])
def test_steps_are_read_in_all_ways_where_stretches_alone_have_labels(head: str) -> None:
    whole = Toy(clips=9).items()
    labelled = {"stretches": videos(), "clips": whole, "both": [replace(item, clip_label=1) for item in videos()]}
    transform = Transform.fit(
        [{name: Encoded(values=item.features[name], valid=item.masks[name]) for name in WIDTHS} for item in whole],
        WIDTHS,
    )
    for name, items in labelled.items():
        made = spec_of({"classes": CLASSES}, transform, items, model=Model(clip_head=head), train=Train())
        assert made.utterances is (name == "stretches" and head != "temporal"), name
        assert ("utterances" in made.to_json()) is made.utterances
        assert ModelSpec.from_json(made.to_json()) == made
        ways = {"all": {"statistics", "temporal"}, "statistics": {"statistics"}}.get(head, set())
        batch = collate(items[:2])
        output = build_model(made)(batch.features, batch.masks)
        assert set(output.step_ways) == (ways if made.utterances else set())


def test_without_utterances_every_weight_is_drawn_as_before_and_the_rest_reads_alike() -> None:
    bare, model = drawn(toy_spec(clip_head="all")), drawn(spec())
    weights = model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in bare.state_dict().items())
    assert {name.split(".")[0] for name in weights.keys() - bare.state_dict().keys()} == {"step_statistics"}
    batch = collate(videos())
    plain, output = bare(batch.features, batch.masks), model(batch.features, batch.masks)
    assert not plain.step_ways
    assert torch.equal(plain.clip_logits, output.clip_logits)
    assert torch.equal(plain.step_logits, output.step_ways["temporal"])


@pytest.mark.parametrize("fusion", ["bidirectional", "product"])
def test_a_step_is_the_mean_of_its_ways_and_its_statistics_depend_on_no_other_step(fusion: str) -> None:
    model = drawn(spec(fusion=fusion))
    batch = collate(videos())
    output = model(batch.features, batch.masks)
    mean = torch.stack([scores.log_softmax(-1) for scores in output.step_ways.values()]).mean(0)
    assert torch.allclose(output.step_logits, mean)
    order = torch.randperm(batch.step_labels.shape[1])
    shuffled = model(
        {name: x[:, order] for name, x in batch.features.items()},
        {name: m[:, order] for name, m in batch.masks.items()},
    )
    assert torch.allclose(shuffled.step_ways["statistics"], output.step_ways["statistics"][:, order], atol=1e-5)
    assert not torch.allclose(shuffled.step_ways["temporal"], output.step_ways["temporal"][:, order], atol=1e-2)
    nowhere = {name: x.masked_fill(~batch.masks[name][..., None], torch.nan) for name, x in batch.features.items()}
    assert torch.equal(model(nowhere, batch.masks).step_logits, output.step_logits)


def test_a_step_is_standardised_by_the_steps_of_the_training_clips() -> None:
    model = drawn(spec())
    assert isinstance(model, TemporalModel)
    assert model.step_statistics is not None
    for name, layer in model.step_statistics.by_modality.items():
        rows = torch.cat([torch.from_numpy(case.features[name][case.masks[name]]) for case in videos()])
        assert torch.allclose(layer.centre, rows.mean(0), atol=1e-5)
        assert torch.allclose(layer.spread, rows.std(0, correction=0), atol=1e-5)


def test_each_way_of_reading_a_step_learns_by_itself_and_mixtures_are_of_valid_steps() -> None:
    noisy = spec(statistics_noise=0.3, statistics_mixup=0.4)
    train = Train(epochs=2, batch_clips=5, label_smoothing=0.0, clip_loss=0.0, unimodal_loss=0.0)
    learner = new_learner(TrainingTask(spec=noisy, train=train, seed=1), videos())
    batch = collate(videos())
    output = learner.model.train()(batch.features, batch.masks)

    def part(ways: dict, mixed: dict) -> tuple[float, float]:
        inputs = learner.objective.inputs(
            output._replace(step_ways=ways, mixed_step_targets=mixed), batch.masks, batch.step_labels, batch.clip_labels
        )
        return tuple(float(value.detach()) for value in step_part(inputs))

    temporal = {"temporal": output.step_ways["temporal"]}
    mixed = dict(output.mixed_step_targets)
    alone, learned = part(temporal, {}), part(temporal, mixed)
    # Its mixtures stand in the place of a way's own scores.
    assert learned == pytest.approx(part({**temporal, "statistics": output.step_logits}, mixed))
    # Every labelled clip counts once in each way.
    assert alone[1] == pytest.approx(len(videos()))
    assert learned[1] == pytest.approx(2 * alone[1])
    targets = mixed["statistics"]
    valid = torch.stack(list(batch.masks.values())).any(0).flatten()
    assert valid[targets.item].all()
    assert torch.bincount(targets.item, minlength=valid.numel()).bool().equal(valid)
    labels, share = batch.step_labels.flatten(), (batch.step_labels != UNLABELLED)
    share = (share & valid.view_as(share)).float()
    share = (share / share.sum(-1, keepdim=True)).flatten()
    shift = torch.tensor(learner.objective.targets.step_balance.shift)
    log_p = (targets.scores + shift).log_softmax(-1)
    picked = log_p.gather(-1, labels[targets.item].clamp(min=0).unsqueeze(-1))[:, 0]
    expected = -(targets.weight * share[targets.item] * picked).sum()
    assert learned[0] - alone[0] == pytest.approx(float(expected.detach()), rel=1e-4)
    assert not learner.model.eval()(batch.features, batch.masks).mixed_step_targets


@pytest.mark.parametrize("head", ["all", "statistics"])
def test_step_by_step_a_stream_reads_each_step_as_the_whole_clip_does(head: str) -> None:
    model = drawn(spec(clip_head=head, causal=True))
    assert isinstance(model, TemporalModel)
    stream, batch = StreamingModel(model), collate(videos()[:3])
    state = stream.start(3)
    whole = model(batch.features, batch.masks)
    for step in range(batch.step_labels.shape[1]):
        present = {name: mask[:, step] for name, mask in batch.masks.items()}
        output, state = stream.step({name: x[:, step] for name, x in batch.features.items()}, present, state)
        assert torch.allclose(output.step_logits, whole.step_logits[:, step], atol=1e-5)


def test_an_earlier_version_gives_its_ways_of_reading_a_step() -> None:
    old, new = drawn(spec(), 2), drawn(spec(), 1)
    carry_over(new, old.state_dict(), spec(), modalities=tuple(WIDTHS))
    assert all(torch.equal(value, old.state_dict()[name]) for name, value in new.state_dict().items())
    fewer = replace(spec(), modalities={name: WIDTHS[name] for name in ("face", "voice")})
    model, batch = drawn_like(fewer), collate(videos())
    carry_over(model, old.state_dict(), spec(), modalities=("face", "voice"))
    features = {name: batch.features[name] for name in fewer.names}
    masks = {name: batch.masks[name] for name in fewer.names}
    mine, theirs = model(features, masks), old(features, masks)
    assert torch.allclose(mine.step_ways["statistics"], theirs.step_ways["statistics"], atol=1e-4)


def drawn_like(model_spec: ModelSpec) -> EmotionModel:
    torch.manual_seed(1)
    return build_model(model_spec).eval()


@pytest.mark.parametrize("right", ["statistics", "temporal", PRODUCT])
def test_held_out_utterances_weigh_the_ways_and_an_answer_uses_the_weights(right: str) -> None:
    model, cases = drawn(spec()), videos("calibration")[:6]
    rng = np.random.default_rng(0)

    def noise(case: Case) -> np.ndarray:
        return rng.normal(size=(case.steps, len(CLASSES))).astype(np.float32)

    def read(clips: list[Case]) -> list:
        read_all = one_by_one(model)(clips)
        made = []
        for case, item in zip(clips, read_all, strict=True):
            hit = 2 * np.eye(len(CLASSES), dtype=np.float32)[case.step_labels.clip(0)]
            told = {name: noise(case) + (hit if name == right else 0) for name in ("statistics", "temporal")}
            own = {name: noise(case) + (hit if right == PRODUCT else 0) for name in item.unimodal_step}
            made.append(replace(item, step_ways=told, unimodal_step=own))
        return made

    fitted, logits = fit_posteriors(model, cases, read)
    assert sum(fitted.step_ways.values()) == pytest.approx(1.0)
    assert max(fitted.step_ways, key=fitted.step_ways.__getitem__) == right
    assert fitted.clip_ways == {}  # no clip has a label
    assert Calibration.from_json(fitted.to_json()) == fitted
    scorer = Scorer(model, fitted)
    for case, item in zip(cases, logits, strict=True):
        ways = scorer.step_ways(item, case.masks)
        assert set(ways) == {"statistics", "temporal", PRODUCT}
        assert np.isfinite(ways[PRODUCT]).all()
        assert np.array_equal(scorer.step_scores(item, case.masks), mix(ways, fitted.step_ways))
    whole = scorer.score(cases[0].features, cases[0].masks).step_posterior
    assert np.allclose(whole.sum(-1), 1.0, atol=1e-5)
    bare = replace(fitted, step_ways={})
    assert "step_ways" not in bare.to_json()
    assert not np.allclose(Scorer(model, bare).score(cases[0].features, cases[0].masks).step_posterior, whole)
