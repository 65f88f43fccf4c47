from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.contracts.errors import DataError
from components.contracts.labels import UNLABELLED
from components.training.samples.items import Augment, collate, cut
from tests.model.toys import Toy

AUGMENT = Augment(max_steps=10, modality_dropout=0.6, noise=0.1, seed=3)


def test_padding_is_masked_and_unlabelled() -> None:
    items = Toy(clips=4).items()
    batch = collate(items)
    longest = max(item.steps for item in items)
    for row, item in enumerate(items):
        for name, mask in batch.masks.items():
            assert mask.shape == (4, longest)
            assert mask[row, : item.steps].tolist() == item.masks[name].tolist()
            assert not mask[row, item.steps :].any()
            assert not batch.features[name][row, item.steps :].any()
        assert (batch.step_labels[row, item.steps :] == UNLABELLED).all()
        assert batch.step_labels[row, : item.steps].tolist() == item.step_labels.tolist()
        assert batch.clip_labels[row] == item.clip_label


def test_a_batch_has_the_same_modalities_throughout() -> None:
    one, other = Toy(clips=2).items()
    odd = replace(other, features={"face": other.features["face"]}, masks={"face": other.masks["face"]})
    with pytest.raises(DataError, match="toy/train/0001: clips of a batch differ"):
        collate([one, odd])


def test_augmentation_depends_on_seed_epoch_and_clip_alone() -> None:
    item = Toy(clips=1, steps=(30, 30)).items()[0]
    one, again = AUGMENT(item, epoch=2, index=5), AUGMENT(item, epoch=2, index=5)
    other = AUGMENT(item, epoch=3, index=5)
    for name in item.features:
        assert np.array_equal(one.features[name], again.features[name])
        assert np.array_equal(one.masks[name], again.masks[name])
    assert any(not np.array_equal(one.features[name], other.features[name]) for name in item.features)


def test_a_clip_is_normalised_like_an_unknown_one_in_a_share_of_epochs() -> None:
    plain = Toy(clips=1, steps=(30, 30)).items()[0]
    own = {name: values + 1 for name, values in plain.features.items()}
    item = replace(plain, features=own, pooled=plain.features)
    share = replace(AUGMENT, pooled_share=0.3)
    as_unknown = 0
    for epoch in range(200):
        changed = share(item, epoch=epoch, index=0)
        pooled = AUGMENT(plain, epoch=epoch, index=0)
        dataset = AUGMENT(replace(plain, features=own), epoch=epoch, index=0)
        chosen = [all(np.array_equal(changed.features[n], one.features[n]) for n in own) for one in (pooled, dataset)]
        # The other random changes are the same, and nothing of the other half travels with the clip.
        assert sorted(chosen) == [False, True]
        assert changed.pooled is None
        as_unknown += chosen[0]
    assert 0.2 < as_unknown / 200 < 0.4


def test_modality_dropout_hides_some_and_never_all() -> None:
    item = Toy(clips=1, missing=0.0).items()[0]
    present = [[mask.any() for mask in AUGMENT(item, epoch=epoch, index=0).masks.values()] for epoch in range(200)]
    assert all(any(row) for row in present)
    hidden = 1 - np.mean(present)
    assert 0.4 < hidden < 0.65


def test_the_only_modality_of_a_clip_stays() -> None:
    item = Toy(clips=1, missing=0.0).items()[0]
    nothing = {name: np.zeros_like(mask) for name, mask in item.masks.items()}
    alone = replace(item, masks={**nothing, "text": item.masks["text"]})
    always = replace(AUGMENT, modality_dropout=0.99)
    assert all(always(alone, epoch=epoch, index=0).masks["text"].any() for epoch in range(20))


def test_long_clips_are_cut_with_their_labels() -> None:
    item = Toy(clips=1, steps=(30, 30)).items()[0]
    item = replace(item, step_labels=np.arange(30))
    changed = replace(AUGMENT, noise=0.0)(item, epoch=0, index=0)
    first = int(changed.step_labels[0])
    assert changed.step_labels.tolist() == list(range(first, first + 10))
    assert np.array_equal(changed.features["face"], cut(item, first, 10).features["face"])


def test_usable_needs_a_label_and_a_valid_step() -> None:
    item = Toy(clips=1, missing=0.0).items()[0]
    assert item.usable
    assert replace(item, clip_label=UNLABELLED).usable
    unlabelled = np.full_like(item.step_labels, UNLABELLED)
    assert replace(item, step_labels=unlabelled).usable
    assert not replace(item, step_labels=unlabelled, clip_label=UNLABELLED).usable
    nothing = {name: np.zeros_like(mask) for name, mask in item.masks.items()}
    assert not replace(item, masks=nothing).usable
