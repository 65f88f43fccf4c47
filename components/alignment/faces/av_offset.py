"""How far lips and sound are apart, measured from their content, not from the container.

After Slaney & Covell 2000 ("FaceSync", NIPS 13): the linear combination of what the mouth shows that correlates best
with the sound, here its envelope (Chandrasekaran et al. 2009, PLoS Comput Biol 5(7): opening of the mouth and envelope
go together at 2 to 7 Hz). It is computed for every lag within a second, and the lag of the highest multiple
correlation R is the offset.

Its uncertainty is that of a regression with one non-linear parameter, the lag (Seber & Wild 1989, "Nonlinear
Regression", concentrated likelihood): with n independent values the likelihood of a lag goes as (1 - R^2)^(-n/2), and
what is reported is the root mean square distance from the best lag under it. Where another syllable fits nearly as
well, that is large, and no offset is reported at all.

It is an estimate to look at, and never applied: a mouth opens up to 0.1 s and more before its sound in some people and
languages, and a beard, a smile or a head that turns may hide it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.alignment.faces.envelope import RATE_HZ, Envelope
from components.alignment.faces.lips import Lips

MAX_LAG_S = 1.0
SMOOTH_S = 0.03  # takes out what is faster than a syllable,
TREND_S = 0.5  # and this what is slower than a few: smiles, light, a head that turns
INDEPENDENT_HZ = 8.0  # between the two remain about 0.3 to 4.4 Hz, so this many independent values a second
RIDGE = 0.05  # keeps near-equal numbers of a mouth from cancelling each other
MIN_SEEN_S = 2.5
MAX_ERROR_S = 0.15
MAX_R = 0.99
TINY = 1e-9


@dataclass(frozen=True, kw_only=True)
class AvOffset:
    """`offset_s`: the sound comes this much after the lips (+) or before them (-); `error_s` its standard error;
    `correlation` the multiple correlation there."""

    offset_s: float
    error_s: float
    correlation: float


def estimate(lips: Lips, sound: Envelope) -> AvOffset | None:
    """The offset between a mouth and the sound; None when it cannot be determined.

    Args:
        lips: of the face that is used.
        sound: of the clip. Cost: about 10 ms for 5 s, 1 s for half an hour.
    """
    count = sound.level_db.size
    values, seen = lips.sampled(count)
    if seen.sum() < MIN_SEEN_S * RATE_HZ:
        return None
    moments = _moments(_band(values), _band(sound.level_db[:, None])[:, 0], seen)
    if moments[:, 0, 0].min() < MIN_SEEN_S * RATE_HZ / 2:
        return None
    curve = multiple_correlation(moments)
    best = _peak(curve)
    if best is None:
        return None
    likelihood = -0.5 * moments[:, 0, 0] * (INDEPENDENT_HZ / RATE_HZ) * np.log1p(-(np.minimum(curve, MAX_R) ** 2))
    weight = np.exp(likelihood - likelihood.max())
    lags_s = (np.arange(curve.size) - curve.size // 2) / RATE_HZ
    error_s = float(np.sqrt(np.average((lags_s - best) ** 2, weights=weight)))
    if error_s > MAX_ERROR_S:
        return None
    return AvOffset(
        offset_s=round(best, 3),
        error_s=round(max(error_s, 0.5 / RATE_HZ), 3),  # no finer than the grid on which they are compared
        correlation=round(float(curve.max()), 2),
    )


def _band(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, D) between SMOOTH_S and TREND_S."""
    from scipy.ndimage import gaussian_filter1d  # imports that clips without speech and a face spare

    smooth = gaussian_filter1d(values, SMOOTH_S * RATE_HZ, axis=0)
    return np.asarray(smooth - gaussian_filter1d(smooth, TREND_S * RATE_HZ, axis=0))


def _moments(values: NDArray[np.float64], level: NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(lags, D + 2, D + 2) sums of products of (1, values, level a lag later) where the mouth was seen."""
    count, reach = level.size, round(MAX_LAG_S * RATE_HZ)
    rows = np.column_stack([np.ones(count), values, np.zeros(count)])
    moments = np.zeros((2 * reach + 1, rows.shape[1], rows.shape[1]))
    for k, lag in enumerate(range(-reach, reach + 1)):
        first, last = max(0, -lag), min(count, count - lag)
        if first < last:
            part = rows[first:last]
            part[:, -1] = level[first + lag : last + lag]
            part = part[seen[first:last]]
            moments[k] = part.T @ part
    return moments


def multiple_correlation(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """(L,) correlation of the last variable with the best ridge combination of the others.

    Args:
        moments: (L, D + 2, D + 2) sums of products; variable 0 is the constant 1.
    """
    count = np.maximum(moments[:, :1, :1], 1.0)
    mean = moments[:, 0, 1:] / count[:, 0]
    covariance = moments[:, 1:, 1:] / count - mean[:, :, None] * mean[:, None, :]
    scale = np.sqrt(np.maximum(np.einsum("lii->li", covariance), TINY))
    correlation = covariance / (scale[:, :, None] * scale[:, None, :])
    with_level = correlation[:, :-1, -1]
    among = correlation[:, :-1, :-1] + RIDGE * np.eye(with_level.shape[1])
    weights = np.linalg.solve(among, with_level[..., None])[..., 0]
    return np.asarray(np.sqrt(np.maximum(np.sum(with_level * weights, axis=1), 0.0)))


def _peak(curve: NDArray[np.float64]) -> float | None:
    """The lag of the maximum, by the parabola through it and its neighbours; None at the end of the range."""
    top = int(curve.argmax())
    if top in (0, curve.size - 1):
        return None
    left, middle, right = curve[top - 1 : top + 2]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend < -TINY else 0.0
    return float((top + shift - curve.size // 2) / RATE_HZ)
