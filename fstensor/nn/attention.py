"""Attention, on arrays laid out as (batch, time, heads, features).

It is written as two products around a softmax, which the compiler makes one kernel of that keeps
no scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, overload

import numpy as np

from fstensor import dtypes, lax
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.core.boundary import boundary
from fstensor.errors import DtypeError, OptionError, ShapeError
from fstensor.numpy.promote import inexact, select
from fstensor.scipy.special import logsumexp, softmax

# Of the largest float: what masked scores are. It is finite, so that rows of nothing else give the
# same weight to all rather than NaN.
_MASKED = -0.7


@overload
def dot_product_attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    bias: ArrayLike | None = ...,
    mask: ArrayLike | None = ...,
    *,
    scale: float | None = ...,
    is_causal: bool = ...,
    query_seq_lengths: ArrayLike | None = ...,
    key_value_seq_lengths: ArrayLike | None = ...,
    local_window_size: int | tuple[int, int] | None = ...,
    return_residual: Literal[False] = ...,
) -> Array: ...


@overload
def dot_product_attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    bias: ArrayLike | None = ...,
    mask: ArrayLike | None = ...,
    *,
    scale: float | None = ...,
    is_causal: bool = ...,
    query_seq_lengths: ArrayLike | None = ...,
    key_value_seq_lengths: ArrayLike | None = ...,
    local_window_size: int | tuple[int, int] | None = ...,
    return_residual: Literal[True],
) -> tuple[Array, Array]: ...


@boundary
def dot_product_attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    bias: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    *,
    scale: float | None = None,
    is_causal: bool = False,
    query_seq_lengths: ArrayLike | None = None,
    key_value_seq_lengths: ArrayLike | None = None,
    local_window_size: int | tuple[int, int] | None = None,
    return_residual: bool = False,
) -> Array | tuple[Array, Array]:
    """softmax(query key^T * scale + bias) value, for each head (Vaswani et al., 2017, eq. 1).

    Shapes: query (b, t, heads, d), key and value (b, s, kv_heads, d) -> (b, t, heads, d), or all
        without b. kv_heads divides heads: each is for heads / kv_heads neighboring ones (Ainslie
        et al., 2023). bias and mask broadcast to (b, heads, t, s), the lengths are (b,).
    Dtypes: floats, the same for all three. float16 and bfloat16 have their scores in float32;
        float64, unlike in JAX, has them in float64.
    mask: bool, True where attention is paid. is_causal: none to later keys. scale: 1 / sqrt(d) for
        None. local_window_size: how many keys before and after a query are seen.
    query_seq_lengths, key_value_seq_lengths: of each example, how many count; outputs after the end
        of the queries are 0. Where nothing is left to pay attention to, it is paid to all alike.
    return_residual: whether to return also the logarithm of the sum of the exponentials of the
        scores, (b, t, heads), through which no derivative goes.
    Raises: ShapeError and DtypeError for others.
    """
    query, key, value = (inexact("dot_product_attention", a) for a in (query, key, value))
    shape = query.shape
    query, key, value = (_with_batch(a) for a in (query, key, value))
    _check(query, key, value)
    outputs, logits = attended(
        query,
        key,
        value,
        bias,
        mask,
        scale=scale,
        is_causal=is_causal,
        query_lengths=query_seq_lengths,
        key_lengths=key_value_seq_lengths,
        window=local_window_size,
    )
    outputs = outputs.reshape(shape)
    if not return_residual:
        return outputs
    residual = fnp.moveaxis(fnp.asarray(logsumexp(logits, -1)), -1, 1).astype(key.dtype)
    return outputs, lax.stop_gradient(residual.reshape(shape[:-1]))


def attended(
    query: Array,
    key: Array,
    value: Array,
    bias: ArrayLike | None,
    mask: ArrayLike | None,
    *,
    scale: float | None = None,
    is_causal: bool = False,
    query_lengths: ArrayLike | None = None,
    key_lengths: ArrayLike | None = None,
    window: int | tuple[int, int] | None = None,
    drop: Callable[[Array], Array] | None = None,
) -> tuple[Array, Array]:
    """The outputs and the scores, (b, heads, t, s), of arrays with four axes.

    drop: is applied to the weights of attention, which are as the scores.
    """
    b, t, heads, d = query.shape
    s, kv_heads = key.shape[1:3]
    if heads != kv_heads:
        # Copies of keys and values are small beside the scores, and the compiler makes one kernel
        # of heads that share none, and one of their gradients.
        key, value = (fnp.repeat(x, heads // kv_heads, axis=2) for x in (key, value))
    wide = dtypes.to_inexact(fnp.promote_types(query.dtype, np.float32))
    logits = fnp.einsum("bthd,bshd->bhts", query.astype(wide), key.astype(wide))
    logits = logits * (1 / math.sqrt(d) if scale is None else scale)
    shape = (b, heads, t, s)
    if bias is not None:
        logits = logits + _of_scores("bias", bias, shape).astype(wide)
    least = fnp.asarray(_MASKED * float(dtypes.finfo(wide).max), wide)
    # One after the other, so that none of them is kept for each score.
    for seen in _seen(mask, shape, is_causal, query_lengths, key_lengths, window):
        logits = select(seen, logits, least)
    weights = softmax(logits, axis=-1).astype(value.dtype)
    if drop is not None:
        weights = drop(weights)
    outputs = fnp.einsum("bhts,bshd->bthd", weights, value)
    if query_lengths is not None:
        ends = _lengths("query_seq_lengths", query_lengths, b)
        within = fnp.arange(t)[:, None, None] < ends[:, None, None, None]
        outputs = fnp.where(within, outputs, 0)
    return outputs, logits


def _with_batch(x: Array) -> Array:
    if x.ndim not in (3, 4):
        raise ShapeError(
            f"dot_product_attention: query, key and value must have four axes or three, got "
            f"{x.aval}"
        )
    return x[None] if x.ndim == 3 else x


def _check(query: Array, key: Array, value: Array) -> None:
    avals = f"got {query.aval}, {key.aval} and {value.aval}"
    if not query.dtype == key.dtype == value.dtype:
        raise DtypeError(f"dot_product_attention: all must have one dtype, {avals}")
    if key.shape != value.shape:
        raise ShapeError(f"dot_product_attention: key and value must have one shape, {avals}")
    if query.shape[0] != key.shape[0] or query.shape[-1] != key.shape[-1]:
        raise ShapeError(
            f"dot_product_attention: query and key must have one batch and one depth, {avals}"
        )
    if not key.shape[2] or query.shape[2] % key.shape[2]:
        raise ShapeError(
            f"dot_product_attention: heads of keys must divide those of queries, {avals}"
        )


def _of_scores(name: str, x: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Something that broadcasts to the scores, with four axes."""
    x = fnp.asarray(x)
    four = x.reshape((1,) * (4 - x.ndim) + x.shape)
    if x.ndim > 4 or any(n not in (1, m) for n, m in zip(four.shape, shape, strict=True)):
        raise ShapeError(
            f"dot_product_attention: {name} must broadcast to shape {shape}, got {x.aval}"
        )
    return four


def _seen(
    mask: ArrayLike | None,
    shape: tuple[int, ...],
    is_causal: bool,
    query_lengths: ArrayLike | None,
    key_lengths: ArrayLike | None,
    window: int | tuple[int, int] | None,
) -> list[Array]:
    """Where attention is paid: where all of these say so, which broadcast to the scores."""
    parts: list[Array] = []
    if mask is not None:
        given = _of_scores("mask", mask, shape)
        if not dtypes.is_bool(given.dtype):
            raise DtypeError(
                f"dot_product_attention: mask must be bool, got {given.aval}; numbers that are "
                "added to scores go into bias"
            )
        parts.append(given)
    b, _, t, s = shape
    queries, keys = fnp.arange(t)[:, None], fnp.arange(s)
    if is_causal:
        parts.append(keys <= queries)
    if window is not None:
        before, after = (window, window) if isinstance(window, int) else window
        if before < 0 or after < 0:
            raise OptionError(
                f"dot_product_attention: local_window_size must not be negative, got {window}"
            )
        parts.append((keys >= queries - before) & (keys <= queries + after))
    if query_lengths is not None:
        ends = _lengths("query_seq_lengths", query_lengths, b)
        parts.append(queries < ends[:, None, None, None])
    if key_lengths is not None:
        ends = _lengths("key_value_seq_lengths", key_lengths, b)
        parts.append(keys < ends[:, None, None, None])
    return parts


def _lengths(name: str, lengths: ArrayLike, b: int) -> Array:
    found = fnp.asarray(lengths)
    if found.shape != (b,) or not dtypes.is_integer(found.dtype):
        raise ShapeError(
            f"dot_product_attention: {name} must be {b} integers, one for each example, got "
            f"{found.aval}"
        )
    return found
