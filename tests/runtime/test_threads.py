from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from components.runtime.threads import one_thread


def test_one_thread_and_the_number_before_comes_back_also_after_an_error() -> None:
    original = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), one_thread():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(original)


# Embedded encoders without weights need no torch, whose import takes longer than their work.
LATER = """\
import sys
from components.features.pools import ActorPool, _created
from components.runtime.threads import one_thread
specs = {"face": "hog", "voice": "signal", "text": "hashing", "physio": "signal"}
with one_thread():
    assert "torch" not in sys.modules
_created(ActorPool(specs=specs, device="cpu", actors=1, num_cpus=1.0, num_gpus=0.0))
assert "torch" not in sys.modules
import torch
assert torch.get_num_threads() == 1
"""


def test_it_holds_for_a_torch_that_is_imported_later() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", LATER], env=environment, check=True)
