"""Activation functions: elementwise, unless they say otherwise.

Names and signatures are those of `jax.nn`; what only PyTorch has is as there. Where a function has
a kink, its derivative there is the one on the side of smaller x, as in both: relu'(0) = 0.
"""

from __future__ import annotations

import math
from typing import Literal

from fstensor import dtypes, lax, random
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike, DtypeLike
from fstensor.core.boundary import boundary
from fstensor.errors import OptionError, ShapeError
from fstensor.numpy import tanh as tanh
from fstensor.numpy.promote import inexact, promote_all, select
from fstensor.scipy import special
from fstensor.scipy.special import logsumexp as logsumexp

# Klambauer et al., 2017, eq. 14: with these, mean 0 and variance 1 are kept.
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def _where(condition: Array, x: Array | complex, y: Array | complex, like: Array) -> Array:
    """`x` where the condition holds, else `y`, numbers in the dtype of `like`."""
    x, y = (a if isinstance(a, Array) else fnp.asarray(a, like.dtype) for a in (x, y))
    return select(condition, x, y)


@boundary
def identity(x: ArrayLike) -> Array:
    """x itself."""
    return fnp.asarray(x)


@boundary
def relu(x: ArrayLike) -> Array:
    """max(x, 0)."""
    x = fnp.asarray(x)
    return _where(x <= 0, 0, x, x)


@boundary
def relu6(x: ArrayLike) -> Array:
    """min(max(x, 0), 6)."""
    return hardtanh(x, 0, 6)


@boundary
def hardtanh(x: ArrayLike, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """x, moved between two bounds; the derivative at the bounds is 0.

    Raises: OptionError for bounds in the wrong order.
    """
    if min_val > max_val:
        raise OptionError(f"hardtanh: min_val must be at most max_val, got {min_val} and {max_val}")
    x = fnp.asarray(x)
    return _where(x <= min_val, min_val, _where(x >= max_val, max_val, x, x), x)


@boundary
def hard_tanh(x: ArrayLike) -> Array:
    """`hardtanh` between -1 and 1, with derivative 1 at them, as in `jax.nn`."""
    x = fnp.asarray(x)
    return _where(x > 1, 1, _where(x < -1, -1, x, x), x)


@boundary
def sigmoid(x: ArrayLike) -> Array:
    """1 / (1 + exp(-x))."""
    return lax.logistic(inexact("sigmoid", x))


@boundary
def hard_sigmoid(x: ArrayLike) -> Array:
    """relu6(x + 3) / 6."""
    return relu6(inexact("hard_sigmoid", x) + 3.0) / 6.0


@boundary
def log_sigmoid(x: ArrayLike) -> Array:
    """log(sigmoid(x)), also where that is tiny."""
    return -softplus(-inexact("log_sigmoid", x))


@boundary
def softplus(x: ArrayLike, beta: float = 1.0) -> Array:
    """log(1 + exp(beta x)) / beta."""
    x = inexact("softplus", x)
    return fnp.logaddexp(x, 0.0) if beta == 1 else fnp.logaddexp(beta * x, 0.0) / beta


@boundary
def soft_sign(x: ArrayLike) -> Array:
    """x / (1 + |x|)."""
    x = inexact("soft_sign", x)
    return x / (1 + fnp.abs(x))


softsign = soft_sign


@boundary
def silu(x: ArrayLike) -> Array:
    """x sigmoid(x) (Ramachandran et al., 2017, there called swish)."""
    x = inexact("silu", x)
    return x * lax.logistic(x)


swish = silu


@boundary
def hard_silu(x: ArrayLike) -> Array:
    """x relu6(x + 3) / 6 (Howard et al., 2019)."""
    x = inexact("hard_silu", x)
    return x * hard_sigmoid(x)


hard_swish = hard_silu


@boundary
def mish(x: ArrayLike) -> Array:
    """x tanh(softplus(x)) (Misra, 2019)."""
    x = inexact("mish", x)
    return x * fnp.tanh(softplus(x))


@boundary
def gelu(x: ArrayLike, approximate: bool = True) -> Array:
    """x Phi(x), with the distribution function of the normal distribution (Hendrycks, 2016).

    approximate: 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) instead, as in `jax.nn`.
    """
    x = inexact("gelu", x)
    if approximate:
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))
        return x * (0.5 * (1.0 + fnp.tanh(inner)))
    return 0.5 * x * lax.erfc(-x * math.sqrt(0.5))


@boundary
def elu(x: ArrayLike, alpha: float = 1.0) -> Array:
    """x where that is positive, else alpha (exp(x) - 1) (Clevert et al., 2016)."""
    x = inexact("elu", x)
    # Where x is positive, exp does not get it: infinity times 0 would be the derivative.
    below = _where(x > 0, 0, x, x)
    return _where(x > 0, x, alpha * fnp.expm1(below), x)


@boundary
def selu(x: ArrayLike) -> Array:
    """elu with the scale and alpha that keep mean 0 and variance 1 (Klambauer et al., 2017)."""
    return _SELU_SCALE * elu(x, _SELU_ALPHA)


@boundary
def celu(x: ArrayLike, alpha: float = 1.0) -> Array:
    """max(x, 0) + min(alpha (exp(x / alpha) - 1), 0) (Barron, 2017)."""
    x = inexact("celu", x)
    below = _where(x > 0, 0, x, x)
    return _where(x > 0, x, alpha * fnp.expm1(below / alpha), x)


@boundary
def leaky_relu(x: ArrayLike, negative_slope: float = 0.01) -> Array:
    """x where that is not negative, else negative_slope x."""
    x = inexact("leaky_relu", x)
    return _where(x >= 0, x, negative_slope * x, x)


@boundary
def prelu(x: ArrayLike, slope: ArrayLike) -> Array:
    """x where that is positive, else slope x, for slopes that are learned (He et al., 2015).

    Shapes: slope broadcasts with x.
    """
    x, slope = promote_all("prelu", inexact("prelu", x), slope)
    return _where(x > 0, x, slope * x, x)


@boundary
def rrelu(
    x: ArrayLike,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    key: Array | None = None,
    train: bool = False,
) -> Array:
    """x where that is not negative, else x times a slope (Xu et al., 2015).

    train: the slope of each element is random, uniform between the bounds; otherwise their mean.
    Raises: OptionError when training without a key, or for bounds in the wrong order.
    """
    if lower > upper:
        raise OptionError(f"rrelu: lower must be at most upper, got {lower} and {upper}")
    x = inexact("rrelu", x)
    if not train:
        return leaky_relu(x, (lower + upper) / 2)
    if key is None:
        raise OptionError("rrelu: train=True needs random numbers, got no key; pass key=...")
    return _where(x >= 0, x, x * random.uniform(key, x.shape, x.dtype, lower, upper), x)


@boundary
def squareplus(x: ArrayLike, b: ArrayLike = 4) -> Array:
    """(x + sqrt(x^2 + b)) / 2 (Barron, 2021)."""
    x = inexact("squareplus", x)
    return 0.5 * (x + fnp.sqrt(x * x + b))


@boundary
def sparse_plus(x: ArrayLike) -> Array:
    """0 below -1, x above 1, and (x + 1)^2 / 4 between."""
    x = inexact("sparse_plus", x)
    return _where(x <= -1, 0, _where(x >= 1, x, (x + 1.0) ** 2 / 4, x), x)


@boundary
def sparse_sigmoid(x: ArrayLike) -> Array:
    """The derivative of `sparse_plus`: (x + 1) / 2, moved between 0 and 1."""
    return 0.5 * fnp.clip(inexact("sparse_sigmoid", x) + 1.0, 0.0, 2.0)


@boundary
def hardshrink(x: ArrayLike, threshold: float = 0.5) -> Array:
    """x where |x| > threshold, else 0."""
    x = fnp.asarray(x)
    return _where(fnp.abs(x) <= threshold, 0, x, x)


@boundary
def softshrink(x: ArrayLike, threshold: float = 0.5) -> Array:
    """x moved towards 0 by threshold, and no further. Raises: OptionError for a negative one."""
    if threshold < 0:
        raise OptionError(f"softshrink: threshold must not be negative, got {threshold}")
    x = inexact("softshrink", x)
    moved = _where(x > threshold, x - threshold, x + threshold, x)
    return _where(fnp.abs(x) <= threshold, 0, moved, x)


@boundary
def tanhshrink(x: ArrayLike) -> Array:
    """x - tanh(x)."""
    x = inexact("tanhshrink", x)
    return x - fnp.tanh(x)


@boundary
def threshold(x: ArrayLike, threshold: float, value: float) -> Array:
    """x where x > threshold, else value."""
    x = fnp.asarray(x)
    return _where(x <= threshold, value, x, x)


@boundary
def glu(x: ArrayLike, axis: int = -1) -> Array:
    """a sigmoid(b), for the halves a and b of x along an axis (Dauphin et al., 2017).

    Raises: ShapeError for an odd size.
    """
    x = inexact("glu", x)
    if x.shape[axis] % 2:
        raise ShapeError(f"glu: axis {axis} must have an even size, got {x.aval}")
    a, b = fnp.split(x, 2, axis)
    return a * sigmoid(b)


@boundary
def softmax(
    x: ArrayLike, axis: int | tuple[int, ...] | None = -1, where: ArrayLike | None = None
) -> Array:
    """exp(x) divided by its sum over `axis`.

    where: which elements there are, at least one in each sum; the others become 0.
    """
    x = inexact("softmax", x)
    if where is None:
        return special.softmax(x, axis=axis)
    mask, shifted = _shifted(x, axis, where)
    terms = _where(mask, fnp.exp(shifted), 0, x)
    return terms / fnp.sum(terms, axis, keepdims=True)


@boundary
def log_softmax(
    x: ArrayLike, axis: int | tuple[int, ...] | None = -1, where: ArrayLike | None = None
) -> Array:
    """Logarithm of `softmax`, without underflow.

    where: which elements there are, at least one in each sum; the others become minus infinity.
    """
    x = inexact("log_softmax", x)
    if where is None:
        return special.log_softmax(x, axis=axis)
    mask, shifted = _shifted(x, axis, where)
    terms = _where(mask, fnp.exp(shifted), 0, x)
    return _where(mask, shifted - fnp.log(fnp.sum(terms, axis, keepdims=True)), -math.inf, x)


def _shifted(x: Array, axis: int | tuple[int, ...] | None, where: ArrayLike) -> tuple[Array, Array]:
    """The mask, and x minus its largest element along `axis` that counts; 0 for the others.

    Those others may hold anything: not even their derivatives are infinite.
    """
    mask = fnp.broadcast_to(fnp.asarray(where, bool), x.shape)
    top = lax.stop_gradient(fnp.max(x, axis, keepdims=True, initial=-math.inf, where=mask))
    return mask, _where(mask, x, top, x) - top


@boundary
def logmeanexp(
    x: ArrayLike,
    axis: int | tuple[int, ...] | None = None,
    where: ArrayLike | None = None,
    keepdims: bool = False,
) -> Array:
    """log(mean(exp(x))) over `axis`, without overflow.

    where: which elements there are; minus infinity of none.
    """
    x = inexact("logmeanexp", x)
    total = logsumexp(x, axis, keepdims=keepdims, where=where)
    counted = True if where is None else where
    number = fnp.sum(fnp.broadcast_to(fnp.asarray(counted), x.shape), axis, keepdims=keepdims)
    # Without any, the sum is minus infinity already.
    return total - fnp.log(fnp.maximum(number, 1).astype(x.real.dtype))


@boundary
def softmin(x: ArrayLike, axis: int | tuple[int, ...] | None = -1) -> Array:
    """softmax(-x)."""
    return softmax(-inexact("softmin", x), axis=axis)


@boundary
def log1mexp(x: ArrayLike) -> Array:
    """log(1 - exp(-x)) for x > 0, accurate near 0 and far from it (Maechler, 2012)."""
    x = inexact("log1mexp", x)
    near = x < math.log(2)
    small, large = _where(near, x, 1, x), _where(near, 1, x, x)
    return _where(near, fnp.log(-fnp.expm1(-small)), fnp.log1p(-fnp.exp(-large)), x)


@boundary
def gumbel_softmax(
    key: Array, logits: ArrayLike, tau: float = 1.0, hard: bool = False, axis: int = -1
) -> Array:
    """Samples of a relaxed categorical distribution (Jang et al., 2017).

    softmax((logits + g) / tau), g from the Gumbel distribution. hard: the largest becomes 1 and the
    others 0, with the derivative of the soft sample. Shapes: those of logits.
    Raises: OptionError for a temperature that is not positive.
    """
    if tau <= 0:
        raise OptionError(f"gumbel_softmax: tau must be positive, got {tau}")
    logits = inexact("gumbel_softmax", logits)
    soft = softmax((logits + random.gumbel(key, logits.shape, logits.dtype)) / tau, axis=axis)
    if not hard:
        return soft
    largest = one_hot(fnp.argmax(soft, axis), logits.shape[axis], dtype=soft.dtype, axis=axis)
    return largest + (soft - lax.stop_gradient(soft))


@boundary
def standardize(
    x: ArrayLike,
    axis: int | tuple[int, ...] | None = -1,
    mean: ArrayLike | None = None,
    variance: ArrayLike | None = None,
    epsilon: float = 1e-5,
    where: ArrayLike | None = None,
    *,
    algorithm: Literal["fast", "stable"] = "fast",
) -> Array:
    """(x - mean) / sqrt(variance + epsilon), with those along `axis` where they are not given.

    where: which elements count for mean and variance.
    algorithm: of the variance: "fast", the mean of squares minus the square of the mean, or
        "stable", the mean of squares of x - mean. Raises: OptionError for another.
    """
    if algorithm not in ("fast", "stable"):
        raise OptionError(f"standardize: algorithm must be fast or stable, got {algorithm!r}")
    x = inexact("standardize", x)
    if mean is None:
        mean = fnp.mean(x, axis, keepdims=True, where=where)
    if variance is None and algorithm == "stable":
        variance = fnp.mean(fnp.square(x - mean), axis, keepdims=True, where=where)
    elif variance is None:
        square = fnp.mean(x * x, axis, keepdims=True, where=where)
        variance = fnp.maximum(square - fnp.square(mean), 0)
    return (x - fnp.asarray(mean)) * lax.rsqrt(fnp.asarray(variance, x.dtype) + epsilon)


@boundary
def one_hot(x: ArrayLike, num_classes: int, *, dtype: DtypeLike = None, axis: int = -1) -> Array:
    """A vector for each index in x: 1 at that place, 0 elsewhere; all 0 for one outside.

    Shapes: x any -> one axis more, of size num_classes, at `axis`. Dtypes: the default float.
    """
    x = fnp.asarray(x)
    kind = dtypes.default_float() if dtype is None else dtype
    at = axis % (x.ndim + 1)
    shape = [1] * (x.ndim + 1)
    shape[at] = num_classes
    places = fnp.arange(num_classes, dtype=x.dtype).reshape(shape)
    return (fnp.expand_dims(x, at) == places).astype(kind)
