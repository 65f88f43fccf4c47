from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from components.contracts.errors import BundleError
from components.contracts.records import Clip
from components.features.base import Encoded
from components.inference.scoring import Features, Masks
from components.registry import golden_clip
from components.registry.bundle import load_bundle, write_bundle
from components.serving.predictor import Predictor
from tests.serving.bundles import SPECS, tiny_bundle


def test_the_whole_way_from_a_drawn_clip_is_in_the_bundle_and_checked_before_serving(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "before")
    bundle = load_bundle(tmp_path / "before")
    assert bundle.golden_clip is None
    recorded = golden_clip.record(SPECS, bundle.transform, bundle.scorer(), bundle.alignment)
    assert recorded is not None
    assert len(recorded.media) < 100_000
    assert recorded.expected["presence.face"] > 0.9
    assert set(recorded.expected) == {
        "clip", *(f"{kind}.{name}" for kind in ("presence", "unimodal") for name in ("face", "voice", "text"))
    }  # fmt: skip
    write_bundle(
        tmp_path / "with",
        description=bundle.description,
        model=bundle.model,
        transform=bundle.transform,
        reference=bundle.reference,
        goldens=bundle.goldens,
        lineage=bundle.lineage,
        golden_clip=recorded,
    )
    whole = load_bundle(tmp_path / "with")
    assert whole.golden_clip is not None
    assert (whole.golden_clip.media, whole.golden_clip.transcript) == (recorded.media, recorded.transcript)
    assert whole.check_goldens() <= 1e-6
    predictor = Predictor(whole)
    predictor.check_golden_clip()

    def unread(clip: Clip) -> dict[str, Encoded]:
        raise AssertionError("decoded again by the same children")

    next_one = Predictor(whole, pool=predictor.pool)
    next_one.encoded = unread  # type: ignore[method-assign]
    next_one.check_golden_clip()

    def shuffled(encoded: Mapping[str, Encoded]) -> tuple[Features, Masks]:
        features, masks = Predictor._of_encoded(predictor, encoded)
        return {name: np.roll(rows, 1, axis=1) for name, rows in features.items()}, masks

    predictor._of_encoded = shuffled  # type: ignore[method-assign]
    with pytest.raises(BundleError, match="the golden clip does not hold"):
        predictor.check_golden_clip()


def test_features_that_come_ready_made_have_no_way_from_a_clip(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    for spec in ("given:5", "made elsewhere"):
        specs = {**SPECS, "face": spec}
        assert golden_clip.record(specs, bundle.transform, bundle.scorer(), bundle.alignment) is None


def test_an_output_that_is_missing_or_no_number_does_not_hold() -> None:
    zero, nan = np.zeros(1, np.float32), np.full(1, np.nan, np.float32)
    assert golden_clip._deviation(None, zero) == golden_clip._deviation(zero, None) == float("inf")
    assert not golden_clip._deviation(nan, zero) <= golden_clip.TOLERANCE
