from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
from mlflow import MlflowClient

from components.contracts.errors import BundleError, UnavailableError
from components.registry.bundle import load_bundle
from components.registry.fetch import fetch_bundle
from components.registry.register import Registered, register
from components.tracking.versions import BUNDLE_TAG
from tests.registry.made import make_bundle

pytestmark = pytest.mark.integration


def put(
    tmp_path: Path,
    uri: str,
    name: str,
    *,
    seed: int = 0,
    passed: bool = True,
    alias: str = "champion",
    card: str = "# card\n",
) -> tuple[str, Registered]:
    """Registers a made bundle; returns its hash and the outcome."""
    client = MlflowClient(uri)
    existing = client.get_experiment_by_name(name)
    location = str(tmp_path / "artifacts")
    experiment = existing.experiment_id if existing else client.create_experiment(name, artifact_location=location)
    run = client.create_run(experiment)
    sha256 = make_bundle(tmp_path / f"made-{seed}", seed=seed)
    done = register(
        tmp_path / f"made-{seed}",
        name=name,
        bundle_sha256=sha256,
        tags={"gates.passed": str(passed).lower()},
        leads=passed,
        card=card,
        run_id=run.info.run_id,
        alias=alias,
        tracking_uri=uri,
    )
    return sha256, done


def test_a_version_is_fetched_once_and_verified(tmp_path: Path, mlflow_uri: str) -> None:
    sha256, done = put(tmp_path, mlflow_uri, "fetch-once")
    cache = tmp_path / "cache"
    folder = fetch_bundle("fetch-once", done.version, tracking_uri=mlflow_uri, cache_dir=cache)
    assert folder == cache / sha256
    assert load_bundle(folder).sha256 == sha256
    assert [path.name for path in cache.iterdir()] == [sha256]
    shutil.rmtree(tmp_path / "artifacts")  # a second call must not need the store
    assert fetch_bundle("fetch-once", done.version, tracking_uri=mlflow_uri, cache_dir=cache) == folder


def test_a_damaged_cache_entry_is_replaced(tmp_path: Path, mlflow_uri: str) -> None:
    sha256, done = put(tmp_path, mlflow_uri, "fetch-damaged")
    cache = tmp_path / "cache"
    folder = fetch_bundle("fetch-damaged", done.version, tracking_uri=mlflow_uri, cache_dir=cache)
    (folder / "model.safetensors").write_bytes(b"half a file")
    assert fetch_bundle("fetch-damaged", done.version, tracking_uri=mlflow_uri, cache_dir=cache) == folder
    assert load_bundle(folder).sha256 == sha256


def test_a_file_altered_in_the_store_is_refused_and_leaves_nothing(tmp_path: Path, mlflow_uri: str) -> None:
    _, done = put(tmp_path, mlflow_uri, "fetch-altered")
    weights = next((tmp_path / "artifacts").rglob("model.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(BundleError, match=r"model.safetensors: the file was altered"):
        fetch_bundle("fetch-altered", done.version, tracking_uri=mlflow_uri, cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_version_whose_tag_has_the_hash_of_a_different_bundle_is_refused(tmp_path: Path, mlflow_uri: str) -> None:
    _, done = put(tmp_path, mlflow_uri, "fetch-swapped")
    MlflowClient(mlflow_uri).set_model_version_tag("fetch-swapped", done.version, BUNDLE_TAG, "0" * 64)
    with pytest.raises(BundleError, match="the version's bundle is not the one that its tag names"):
        fetch_bundle("fetch-swapped", done.version, tracking_uri=mlflow_uri, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("tag", ["../../etc", "", "Z" * 64])
def test_a_tag_that_is_not_a_hash_never_becomes_a_path(tmp_path: Path, mlflow_uri: str, tag: str) -> None:
    name = f"fetch-tag-{len(tag)}-{tag[:1] or 'none'}".replace(".", "dot")
    _, done = put(tmp_path, mlflow_uri, name)
    MlflowClient(mlflow_uri).set_model_version_tag(name, done.version, BUNDLE_TAG, tag)
    with pytest.raises(BundleError, match="not a SHA-256"):
        fetch_bundle(name, done.version, tracking_uri=mlflow_uri, cache_dir=tmp_path / "cache")


def test_a_version_without_a_bundle_tag_is_refused(tmp_path: Path, mlflow_uri: str) -> None:
    _, done = put(tmp_path, mlflow_uri, "fetch-untagged")
    MlflowClient(mlflow_uri).delete_model_version_tag("fetch-untagged", done.version, BUNDLE_TAG)
    with pytest.raises(BundleError, match="does not name its bundle"):
        fetch_bundle("fetch-untagged", done.version, tracking_uri=mlflow_uri, cache_dir=tmp_path / "cache")


def test_a_store_without_the_files_is_unavailable(tmp_path: Path, mlflow_uri: str) -> None:
    _, done = put(tmp_path, mlflow_uri, "fetch-gone")
    shutil.rmtree(tmp_path / "artifacts")
    with pytest.raises((UnavailableError, BundleError)):
        fetch_bundle("fetch-gone", done.version, tracking_uri=mlflow_uri, cache_dir=tmp_path / "cache")


def test_processes_may_share_a_cache(tmp_path: Path, mlflow_uri: str) -> None:
    sha256, done = put(tmp_path, mlflow_uri, "fetch-shared")
    cache, results = tmp_path / "cache", []

    def fetch() -> None:
        results.append(fetch_bundle("fetch-shared", done.version, tracking_uri=mlflow_uri, cache_dir=cache))

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [cache / sha256] * 4
    assert load_bundle(cache / sha256).sha256 == sha256
