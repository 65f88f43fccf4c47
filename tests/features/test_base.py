from __future__ import annotations

import numpy as np
import pytest

from components.contracts.errors import DataError
from components.features.base import Encoded, empty, mask_of, masked
from tests.builders import make_aligned_clip


@pytest.mark.parametrize(("values", "valid"), [((3,), 3), ((3, 2), 4)])
def test_a_misfit_is_refused(values: tuple[int, ...], valid: int) -> None:
    with pytest.raises(DataError, match="do not fit together"):
        Encoded(np.zeros(values, np.float32), np.zeros(valid, bool))


def test_masked_values_are_zero_even_where_they_were_nan() -> None:
    encoded = masked(np.array([[1.0], [np.nan]], np.float32), np.array([True, False]))
    assert encoded.values.tolist() == [[1.0], [0.0]]
    assert encoded.values.dtype == np.float32


def test_a_clip_without_the_modality_has_an_empty_mask() -> None:
    assert not mask_of(make_aligned_clip(masks={}), "voice").any()
    assert mask_of(make_aligned_clip(), "voice").all()
    assert empty(4, 3).values.shape == (4, 3)
