"""Attention with several heads, and decoding step by step with the keys and values so far.

>>> import fstensor as fst
>>> from fstensor import nn
>>> attention = nn.MultiheadAttention(heads=2)
>>> x = fst.random.normal(fst.random.key(0), (1, 3, 8))
>>> params, cache = attention.init(fst.random.key(1), x[:, :1], decode=3)
>>> for t in range(3):
...     y, cache = attention.apply(params, cache, x[:, t : t + 1], decode=3)
>>> bool(fst.numpy.allclose(y, attention(params, x, is_causal=True)[:, 2:], atol=1e-5))
True
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import final

import numpy as np

from fstensor import lax
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.errors import ArgumentError, OptionError, ShapeError
from fstensor.nn import dropouts, initializers
from fstensor.nn.attention import attended
from fstensor.nn.layer import Initializer, Layer, Net
from fstensor.nn.layers.embedding import RotaryEncoding
from fstensor.nn.layers.linear import Linear


@final
class MultiheadAttention(Layer):
    """out(attention(query(x), key(y), value(z))), for several heads (Vaswani et al., 2017, 3.2.2).

    `attention(x)` is of x with itself; keys are of a second input, if given, and values of a third,
    or also of the second. The four linear sublayers are named query, key, value and out.
    kv_heads: of keys and values, which divides `heads` (Ainslie et al., 2023); the same for None.
    head_features, out_features: features of a head and of the outputs; those of x divided by heads,
        and those of x, for None. dropout: of the weights of attention, while training.
    rotary: turns queries and keys by their positions. kernel_init: of the four kernels, or of all
        but that of `out` where there is an out_init for it.

    Options of a call: bias, mask, is_causal, query_seq_lengths, key_value_seq_lengths and
    local_window_size are as in `nn.dot_product_attention`. decode: how many steps the state holds
    keys and values of. Then x has the steps that follow those of the calls before, and pays
    attention to these and to itself, causally. More steps than `decode` in all give NaN.
    `init(..., decode=n)` gives the state to begin with; the parameters are the same without.
    keep: whether the state keeps the keys and values of y, so that later calls, also with it, can
    do without y.
    Shapes: x (batch, time, features), or without batch; y and z (batch, steps, any).
    Raises: ShapeError for others, OptionError for heads that do not divide features, or options
        that decoding does not have.
    """

    heads: int
    kv_heads: int | None = None
    head_features: int | None = None
    out_features: int | None = None
    bias: bool = True
    dropout: float = 0.0
    rotary: RotaryEncoding | None = None
    kernel_init: Initializer = initializers.glorot_uniform()
    bias_init: Initializer = initializers.zeros
    out_init: Initializer | None = None

    def __post_init__(self) -> None:
        dropouts.check_rate("MultiheadAttention", self.dropout)
        kv_heads = self.heads if self.kv_heads is None else self.kv_heads
        if self.heads < 1 or kv_heads < 1 or self.heads % kv_heads:
            raise OptionError(
                "MultiheadAttention: kv_heads must divide heads, "
                f"got {self.kv_heads} and {self.heads}"
            )

    def forward(
        self,
        net: Net,
        x: Array,
        y: Array | None = None,
        z: Array | None = None,
        *,
        bias: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        is_causal: bool = False,
        query_seq_lengths: ArrayLike | None = None,
        key_value_seq_lengths: ArrayLike | None = None,
        local_window_size: int | tuple[int, int] | None = None,
        decode: int | None = None,
        keep: bool = False,
    ) -> Array:
        others = (y, key_value_seq_lengths, query_seq_lengths, local_window_size)
        if decode is not None and any(a is not None for a in others):
            raise OptionError(
                "MultiheadAttention: decoding is of an input with itself, without lengths and "
                "windows; leave them out, or decode"
            )
        if keep and (decode is not None or self.rotary is not None):
            raise OptionError(
                "MultiheadAttention: what keeps the keys of another input neither decodes nor is "
                "rotary; leave these out, or keep"
            )
        project = self._kept if keep else self._projected
        query, key, value = project(net, x, y, z)
        if decode is not None:
            query, key, value, seen = self._continued(net, query, key, value, decode)
            mask = seen if mask is None else seen & fnp.asarray(mask)
        elif self.rotary is not None:
            query, key = net.rotary(query), net.rotary(key)
        outputs, _ = attended(
            query,
            key,
            value,
            bias,
            mask,
            is_causal=is_causal and decode is None,
            query_lengths=query_seq_lengths,
            key_lengths=key_value_seq_lengths,
            window=local_window_size,
            drop=self._drop(net),
        )
        joined = outputs.reshape(*x.shape[:-1], -1)
        features = x.shape[-1] if self.out_features is None else self.out_features
        init = self.kernel_init if self.out_init is None else self.out_init
        projected: Array = net.child("out", self._linear(features, init))(joined)
        return projected

    def _linear(self, features: int, init: Initializer) -> Linear:
        return Linear(features, bias=self.bias, kernel_init=init, bias_init=self.bias_init)

    def _projected(
        self, net: Net, x: Array, y: Array | None, z: Array | None
    ) -> tuple[Array, Array, Array]:
        """Queries, keys and values as (batch, time, heads, features)."""
        x = fnp.asarray(x)
        y = x if y is None else fnp.asarray(y)
        z = y if z is None else fnp.asarray(z)
        if x.ndim not in (2, 3) or not x.ndim == y.ndim == z.ndim:
            raise ShapeError(
                "MultiheadAttention: all inputs must be (batch, time, features), or (time, "
                f"features), got {x.aval}, {y.aval} and {z.aval}"
            )
        features = self._features(x)
        kv_heads = self.heads if self.kv_heads is None else self.kv_heads
        return (
            self._in_heads(net, "query", x, self.heads, features),
            self._in_heads(net, "key", y, kv_heads, features),
            self._in_heads(net, "value", z, kv_heads, features),
        )

    def _features(self, x: Array) -> int:
        """How many a head has, where queries are of x."""
        features = self.head_features
        if features is None:
            if x.shape[-1] % self.heads:
                raise OptionError(
                    f"MultiheadAttention: {self.heads} heads must divide the features of {x.aval}; "
                    "or give head_features"
                )
            return x.shape[-1] // self.heads
        return features

    def _in_heads(self, net: Net, name: str, x: Array, heads: int, features: int) -> Array:
        """A projection of x, as (batch, time, heads, features)."""
        projected = net.child(name, self._linear(heads * features, self.kernel_init))(x)
        batch = x.shape[0] if x.ndim == 3 else 1
        split: Array = projected.reshape(batch, x.shape[-2], heads, features)
        return split

    def _kept(
        self, net: Net, x: Array, y: Array | None, z: Array | None
    ) -> tuple[Array, Array, Array]:
        """As `_projected`. Keys and values go to the state; without y they come from there."""
        if y is not None:
            query, key, value = self._projected(net, x, y, z)
            for name, a in (("keys", key), ("values", value)):
                net.variable(name, functools.partial(fnp.zeros, a.shape, a.dtype))
                net.assign(name, a)
            return query, key, value
        if net.making or z is not None:
            raise ArgumentError(
                "MultiheadAttention: to keep keys and values, pass y, which has them"
            )
        x = fnp.asarray(x)
        query = self._in_heads(net, "query", x, self.heads, self._features(x))
        keys, values = (net.variable(name, lambda: query) for name in ("keys", "values"))
        return query, keys, values

    def _continued(
        self, net: Net, query: Array, key: Array, value: Array, size: int
    ) -> tuple[Array, Array, Array, Array]:
        """Queries, with all keys and values so far, and which of these each query sees."""
        batch, time, heads, features = key.shape
        if time > size:
            raise ShapeError(
                f"MultiheadAttention: {time} steps must be within the {size} that decode allows"
            )
        shape = (batch, size, heads, features)
        keys = net.variable("keys", lambda: fnp.zeros(shape, key.dtype))
        values = net.variable("values", lambda: fnp.zeros(shape, value.dtype))
        if keys.shape != shape:
            raise ShapeError(
                f"MultiheadAttention: the state must hold keys of shape {shape}, got {keys.aval}"
            )
        start = net.variable("position", lambda: fnp.zeros((), np.int32))
        positions = start + fnp.arange(time)
        if self.rotary is not None:
            query, key = net.rotary(query, positions), net.rotary(key, positions)
        keys = lax.dynamic_update_slice(keys, key.astype(keys.dtype), (0, start, 0, 0))
        values = lax.dynamic_update_slice(values, value.astype(values.dtype), (0, start, 0, 0))
        for name, after in (("keys", keys), ("values", values), ("position", start + time)):
            net.assign(name, after)
        # An update beyond the end would overwrite steps before: better to give nothing then.
        query = fnp.where(start + time <= size, query, fnp.nan)
        return query, keys, values, fnp.arange(size) <= positions[:, None]

    def _drop(self, net: Net) -> Callable[[Array], Array] | None:
        if not net.training or not self.dropout:
            return None
        return lambda weights: dropouts.dropout(net.random_key(), weights, self.dropout)
