from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.errors import UnavailableError
from components.runtime import weights


@pytest.fixture
def other_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MER_WEIGHTS", str(tmp_path))
    weights.weight_file.cache_clear()
    yield tmp_path
    weights.weight_file.cache_clear()


@pytest.mark.parametrize("name", sorted(weights.WEIGHTS))
def test_the_installed_bytes_are_the_measured_ones(name: str) -> None:
    assert weights.weight_file(name).is_file()


def test_a_missing_file_says_how_to_get_it(other_folder: Path) -> None:
    with pytest.raises(UnavailableError, match="make env"):
        weights.weight_file("fer")


def test_altered_bytes_are_refused(other_folder: Path) -> None:
    path = other_folder / weights.WEIGHTS["fer"].path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not the weights")
    with pytest.raises(UnavailableError, match="the bytes of this weight file differ"):
        weights.weight_file("fer")
