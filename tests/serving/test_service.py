from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from components.contracts.config import MediaLimits
from components.contracts.errors import BundleError, ConfigError, UnavailableError
from components.features.adaptation import Adaptation
from components.features.recordings import RecordingStatistics
from components.serving.assignment import VersionRef
from components.serving.service import Service, ServiceSettings, load_version
from tests.serving.bundles import break_goldens, tiny_bundle

# Nothing listens there, so a bundle can only come from the cache.
NOWHERE = "http://127.0.0.1:9"


def cached(cache: Path, *, seed: int = 0, broken: bool = False, version: str = "1") -> VersionRef:
    """A version whose bundle is in the cache."""
    folder = cache / "making"
    sha256 = tiny_bundle(folder, seed=seed)
    if broken:
        sha256 = break_goldens(folder)
    shutil.move(folder, cache / sha256)
    return VersionRef(model_name="tiny", version=version, bundle_sha256=sha256, tracking_uri=NOWHERE)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(
        ServiceSettings(cache=tmp_path, limits=MediaLimits(), golden_tolerance=1e-4, alias="champion"), replica="r1"
    )


def test_without_a_version_the_error_has_a_remedy(service: Service) -> None:
    for method in (service.current, service.served_version):
        with pytest.raises(UnavailableError) as caught:
            method()
        assert caught.value.code == "no-version"
        assert "champion" in str(caught.value)


def test_the_hint_names_the_alias_that_is_configured(tmp_path: Path) -> None:
    settings = ServiceSettings(cache=tmp_path, limits=MediaLimits(), golden_tolerance=1e-4, alias="live")
    with pytest.raises(UnavailableError, match="Give a version the alias `live` in the MLflow UI; it is served"):
        Service(settings).current()


def test_it_changes_its_version_and_goes_back(service: Service, tmp_path: Path) -> None:
    first, second = cached(tmp_path, seed=1), cached(tmp_path, seed=2, version="2")
    for version in (first, second, first):
        service.load(version.model_dump())
        served = service.served_version()
        assert (served.version, served.bundle_sha256, served.replica) == (version.version, version.bundle_sha256, "r1")
    service.load({})
    with pytest.raises(UnavailableError):
        service.current()


def test_a_version_that_the_recordings_to_adapt_to_do_not_fit_is_refused(tmp_path: Path) -> None:
    version, file = cached(tmp_path, seed=1), tmp_path / "studio.safetensors"
    settings = ServiceSettings(
        cache=tmp_path, limits=MediaLimits(), golden_tolerance=1e-4, alias="champion", adaptation=file
    )
    with pytest.raises(BundleError, match="cannot read the adaptation"):
        Service(settings).load(version.model_dump())
    voice = RecordingStatistics(mean=np.zeros(9), variance=np.ones(9), steps=90, clips=9)
    Adaptation(name="", clips=9, modalities={"voice": voice}, encoders={"voice": "0" * 64}).save(file)
    with pytest.raises(BundleError, match=r"studio\.safetensors: voice: .* a different encoder"):
        Service(settings).load(version.model_dump())


def test_a_version_that_fails_leaves_the_old_one_in_place(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    good, broken = cached(tmp_path, seed=1), cached(tmp_path, seed=2, broken=True, version="2")
    service.load(good.model_dump())
    before = service.current()
    with pytest.raises(BundleError, match="golden"):
        service.load(broken.model_dump())
    absent = good.model_copy(update={"bundle_sha256": "0" * 64})
    with pytest.raises((UnavailableError, BundleError)):
        service.load(absent.model_dump())
    with pytest.raises(ConfigError, match="bundle_sha"):
        service.load({**good.model_dump(), "bundle_sha": "x"})
    assert service.current() is before


def test_a_string_that_is_not_a_hash_reaches_no_path() -> None:
    fields = {"model_name": "tiny", "version": "1", "tracking_uri": NOWHERE}
    with pytest.raises(ConfigError):
        VersionRef.of({**fields, "bundle_sha256": "../../etc"})


@pytest.mark.integration
def test_a_damaged_copy_in_the_cache_is_replaced_from_the_registry(tmp_path: Path, mlflow_uri: str) -> None:
    from tests.rollout.registry import KEYRING, TinyRegistry, signed

    (tmp_path / "registry").mkdir()
    registry = TinyRegistry(mlflow_uri, "damaged", tmp_path / "registry")
    sha256 = tiny_bundle(tmp_path / "bundle")
    version = registry.add(tmp_path / "bundle", sha256)
    reference = VersionRef(
        model_name="damaged",
        version=version,
        bundle_sha256=sha256,
        tracking_uri=mlflow_uri,
        proof=signed(sha256),
    )
    cache = tmp_path / "cache"
    assert load_version(reference, cache, KEYRING).sha256 == sha256
    (cache / sha256 / "model.safetensors").write_bytes(b"torn")
    assert load_version(reference, cache, KEYRING).sha256 == sha256
    other = reference.model_copy(update={"bundle_sha256": "0" * 64, "proof": signed("0" * 64)})
    with pytest.raises(BundleError, match="has a different bundle for this version than was requested"):
        load_version(other, cache, KEYRING)
