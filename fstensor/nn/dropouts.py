"""Dropping at random, with keys that are given.

These drop always; the layers of the same names do it while training only.
"""

from __future__ import annotations

import math

from fstensor import numpy as fnp
from fstensor import random
from fstensor.array import Array, ArrayLike
from fstensor.core.boundary import boundary
from fstensor.errors import OptionError, ShapeError
from fstensor.numpy.promote import inexact

# Klambauer et al., 2017, section "alpha dropout": the limit of SELU for small x.
_SELU_LIMIT = -1.0507009873554804934193349852946 * 1.6732632423543772848170429916717


def check_rate(what: str, rate: float) -> None:
    if not 0 <= rate <= 1:
        raise OptionError(f"{what}: rate must be within 0 and 1, got {rate}")


@boundary
def dropout(key: Array, x: ArrayLike, rate: float = 0.5) -> Array:
    """Each element is 0 with probability `rate`; others are divided by 1 - rate.

    (Srivastava et al., 2014.) Shapes: any. Raises: OptionError for a rate outside [0, 1].
    """
    x = inexact("dropout", x)
    return _dropped("dropout", key, x, rate, x.shape)


@boundary
def dropout1d(key: Array, x: ArrayLike, rate: float = 0.5) -> Array:
    """As `dropout`, of whole channels (Tompson et al., 2015).

    Shapes: x (..., length, channels). Raises: OptionError for a rate outside [0, 1], ShapeError for
    fewer axes.
    """
    return _channels_dropped("dropout1d", key, x, rate, 1)


@boundary
def dropout2d(key: Array, x: ArrayLike, rate: float = 0.5) -> Array:
    """As `dropout1d`. Shapes: x (..., height, width, channels)."""
    return _channels_dropped("dropout2d", key, x, rate, 2)


@boundary
def dropout3d(key: Array, x: ArrayLike, rate: float = 0.5) -> Array:
    """As `dropout1d`. Shapes: x (..., depth, height, width, channels)."""
    return _channels_dropped("dropout3d", key, x, rate, 3)


@boundary
def alpha_dropout(key: Array, x: ArrayLike, rate: float = 0.5) -> Array:
    """Dropping that keeps mean 0 and variance 1 of what follows `selu`.

    Elements become the limit of selu, -1.758, with probability `rate`, and all are scaled and moved
    (Klambauer et al., 2017, section 3). Shapes: any. Raises: OptionError for a rate outside [0, 1].
    """
    x = inexact("alpha_dropout", x)
    return _moved("alpha_dropout", key, x, rate, x.shape)


@boundary
def feature_alpha_dropout(key: Array, x: ArrayLike, rate: float = 0.5) -> Array:
    """As `alpha_dropout`, of whole channels of an example.

    Shapes: x (n, ..., channels). Raises: OptionError for a rate outside [0, 1], ShapeError for
    fewer than two axes.
    """
    x = inexact("feature_alpha_dropout", x)
    if x.ndim < 2:
        raise ShapeError(f"feature_alpha_dropout: must have two axes or more, got {x.aval}")
    shape = (x.shape[0], *[1] * (x.ndim - 2), x.shape[-1])
    return _moved("feature_alpha_dropout", key, x, rate, shape)


def _moved(what: str, key: Array, x: Array, rate: float, shape: tuple[int, ...]) -> Array:
    """x, moved to the limit of selu where a mask of some shape says so, and scaled."""
    check_rate(what, rate)
    if rate == 1:
        return fnp.zeros_like(x)
    scale = 1 / math.sqrt((1 - rate) * (1 + rate * _SELU_LIMIT**2))
    kept = random.bernoulli(key, 1 - rate, shape)
    y: Array = fnp.where(kept, x, _SELU_LIMIT) * scale - scale * rate * _SELU_LIMIT
    return y


def _channels_dropped(what: str, key: Array, x: ArrayLike, rate: float, spatial: int) -> Array:
    x = inexact(what, x)
    if x.ndim <= spatial:
        raise ShapeError(f"{what}: must have {spatial + 1} axes or more, got {x.aval}")
    shape = x.shape[: -1 - spatial] + (1,) * spatial + x.shape[-1:]
    return _dropped(what, key, x, rate, shape)


def _dropped(what: str, key: Array, x: Array, rate: float, shape: tuple[int, ...]) -> Array:
    """x, dropped where a mask of some shape says so."""
    check_rate(what, rate)
    if rate == 0:
        return x
    if rate == 1:
        return fnp.zeros_like(x)
    kept = random.bernoulli(key, 1 - rate, shape)
    y: Array = fnp.where(kept, x / (1 - rate), 0)
    return y
