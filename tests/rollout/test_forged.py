"""Attempts to get a doctored bundle served with access to MLflow alone: its versions, tags, aliases and artifacts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.contracts.fingerprint import canonical_json, file_sha256
from components.registry.bundle import DESCRIPTION, load_bundle
from components.registry.proof import PROOF_TAG, SigningKey
from components.rollout.versions import AT, CODE, OF, REASON, STATE
from components.tracking.client import default_store
from components.tracking.packaging import BUNDLE_PATH
from components.tracking.versions import BUNDLE_TAG
from tests.rollout.registry import signed
from tests.rollout.test_reconcile import World
from tests.serving.bundles import tiny_bundle

pytestmark = pytest.mark.integration


def reverse_labels(bundle: Path) -> str:
    """Gives the classes of a bundle in reversed order and returns its new hash. Every file's hash and all golden
    examples still hold: names of classes are not in them."""
    value = json.loads((bundle / DESCRIPTION).read_text(encoding="utf-8"))
    value["classes"].reverse()
    value["model"]["classes"].reverse()
    (bundle / DESCRIPTION).write_text(canonical_json(value) + "\n", encoding="utf-8")
    load_bundle(bundle).check_goldens()
    return file_sha256(bundle / DESCRIPTION)


@pytest.fixture
def world(mlflow_uri: str, tmp_path: Path, request: pytest.FixtureRequest) -> World:
    world = World(mlflow_uri, request.node.name, tmp_path)
    world.registry.promote(world.add(1))
    world.settle()
    return world


def test_a_new_version_with_copied_tags(world: World) -> None:
    world.add(2)
    doctored = world.folder / "bundle-2"
    copied = world.registry.tags("1")[PROOF_TAG]
    version = world.registry.add(doctored, reverse_labels(doctored), proof=copied, **{"gates.ece": "passed: fine"})
    world.registry.promote(version)
    world.settle()
    assert version not in world.serve.deployed


def test_the_files_of_the_served_version_are_replaced(world: World) -> None:
    stored = next(world.registry.folder.iterdir()) / BUNDLE_PATH
    world.registry.client.set_model_version_tag(world.registry.name, "1", BUNDLE_TAG, reverse_labels(stored))
    served = world.serve.state.applied
    world.settle()
    assert world.serve.state.applied == served


def test_a_version_that_claims_to_have_been_served(world: World) -> None:
    world.add(2)
    doctored = world.folder / "bundle-2"
    version = world.registry.add(doctored, reverse_labels(doctored), proof="", **{STATE: "serving", AT: "9999"})
    world.registry.promote(world.add(3, gates="false"))
    world.settle()
    assert version not in world.serve.deployed


def refused(world: World, version: str, code: str, words: str) -> bool:
    tags = world.registry.tags(version)
    return (tags[STATE], tags[CODE]) == ("refused", code) and words in tags[REASON]


def test_refusals_have_code_reason_and_remedy_and_end_when_the_version_is_signed(world: World) -> None:
    world.add(2)
    folder = world.folder / "bundle-2"
    sha256 = load_bundle(folder).sha256
    unsigned = world.registry.add(folder, sha256, proof="")
    strange = world.registry.add(folder, sha256, proof=signed(sha256, SigningKey.generate()))
    borrowed = world.registry.add(folder, sha256, proof=world.registry.tags("1")[PROOF_TAG])
    for version, code, words in (
        (unsigned, "unsigned", f"`mer sign {unsigned}`"),
        (strange, "untrusted-key", "rollout.trusted_keys"),
        (borrowed, "bad-signature", "proof is of a different bundle"),
    ):
        world.registry.promote(version)
        world.settle()
        assert refused(world, version, code, words)
        assert world.serve.deployed == ["1"]
    world.registry.client.set_model_version_tag(world.registry.name, borrowed, PROOF_TAG, signed(sha256))
    world.settle()
    assert world.serve.deployed == ["1", borrowed]
    tags = world.registry.tags(borrowed)
    assert tags[STATE] == "serving"
    assert CODE not in tags


def test_a_signed_version_with_failed_gates_and_a_tag_that_says_otherwise(world: World) -> None:
    folder = world.folder / "failed"
    sha256 = tiny_bundle(folder, seed=4, gates=[{"name": "ece", "passed": False, "verdict": "failed", "words": "off"}])
    version = world.registry.add(folder, sha256)
    world.registry.promote(version)
    world.settle()
    assert refused(world, version, "gates", "the gates in the bundle did not pass")


def test_a_version_copied_to_a_different_model_is_verified_and_brings_no_marks(world: World) -> None:
    """As the button *Promote model* of the MLflow UI does it, which also copies the tags of the rollout."""
    assert world.state("1") == "serving"
    production = World(world.registry.uri, f"{world.registry.name}-production", world.folder / "production")
    with default_store(world.registry.uri):
        source = f"models:/{world.registry.name}/1"
        copy = world.registry.client.copy_model_version(source, production.registry.name).version
    assert production.registry.tags(copy)[STATE] == "serving"
    production.registry.promote(str(copy))
    assert production.reconciler.versions.marked() == []
    production.settle()
    assert production.serve.deployed == [str(copy)]
    tags = production.registry.tags(str(copy))
    assert (tags[STATE], tags[OF]) == ("serving", f"{production.registry.name}/{copy}")
    # A doctored copy of the copy is not.
    world.add(2)
    doctored = world.folder / "bundle-2"
    forged = production.registry.add(doctored, reverse_labels(doctored), proof=tags[PROOF_TAG], **{STATE: "serving"})
    production.registry.promote(forged)
    production.settle()
    assert production.serve.deployed == [str(copy)]
