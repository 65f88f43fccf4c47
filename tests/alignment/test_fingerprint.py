from __future__ import annotations

from components.alignment.fingerprint import alignment_fingerprint, served_fingerprints
from components.contracts import versions
from components.contracts.atomic import read_json
from components.contracts.config import Alignment
from tests.rollout.versions_of_before import BUNDLE


def test_a_bundle_of_a_version_that_aligns_ordinary_recordings_alike_is_served() -> None:
    before = read_json(BUNDLE / "bundle.json")["alignment"]
    config = Alignment.model_validate(before["settings"])
    assert before["fingerprint"] != alignment_fingerprint(config)
    assert served_fingerprints(config) >= {before["fingerprint"], alignment_fingerprint(config)}
    assert alignment_fingerprint(config, version=2) not in served_fingerprints(config)


def test_other_settings_are_not_those_that_a_bundle_was_made_with() -> None:
    config = Alignment.model_validate({"face": {"crop_margin": 0.3}})
    assert served_fingerprints(config).isdisjoint(served_fingerprints(Alignment()))


def test_a_setting_counts_since_the_version_that_added_it() -> None:
    finer = Alignment.model_validate({"face": {"fine_side_px": 1920}})
    assert alignment_fingerprint(finer) != alignment_fingerprint(Alignment())
    assert alignment_fingerprint(finer, version=3) == alignment_fingerprint(Alignment(), version=3)
    assert alignment_fingerprint(Alignment(), version=versions.ALIGNMENT) == alignment_fingerprint(Alignment())
