from __future__ import annotations

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
