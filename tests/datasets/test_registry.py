from __future__ import annotations

import subprocess
import sys

import pytest

from components.contracts.errors import ConfigError
from components.datasets.registry import adapter


def test_an_unknown_dataset_gets_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'ravdess'"):
        adapter("ravdes")


def test_listing_datasets_loads_no_renderer() -> None:
    heavy = "{'cv2', 'av', 'scipy', 'ray', 'torch'} & set(sys.modules)"
    code = f"import sys; import components.datasets.registry; print(sorted({heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
