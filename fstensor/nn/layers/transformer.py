"""Transformers (Vaswani et al., 2017), and what they are built of.

Inputs are (batch, time, features), or without batch. Options of a call, such as `is_causal`, go to
the attention of x with itself: see `MultiheadAttention`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from fstensor.array import Array, ArrayLike
from fstensor.errors import ArgumentError, OptionError
from fstensor.nn import initializers
from fstensor.nn.activations import relu, silu
from fstensor.nn.dropouts import check_rate
from fstensor.nn.layer import Initializer, Layer, Net
from fstensor.nn.layers.attention import MultiheadAttention
from fstensor.nn.layers.dropout import Dropout
from fstensor.nn.layers.embedding import RotaryEncoding
from fstensor.nn.layers.linear import Linear
from fstensor.nn.layers.norm import LayerNorm

Activation = Callable[[Array], Array]


@final
class FeedForward(Layer):
    """out(activation(hidden(x))), back to the features of x (Vaswani et al., 2017, eq. 2).

    dropout: after the activation, while training. kernel_init: of both kernels; out_init: of that
    of `out` instead, if given. Shapes: (..., features), kept.
    """

    features: int
    activation: Activation = relu
    dropout: float = 0.0
    bias: bool = True
    kernel_init: Initializer = initializers.lecun_normal()
    out_init: Initializer | None = None

    def forward(self, net: Net, x: Array) -> Array:
        first = Linear(self.features, self.bias, self.kernel_init)
        hidden = self.activation(net.child("hidden", first)(x))
        hidden = net.child("drop", Dropout(self.dropout))(hidden)
        out_init = self.kernel_init if self.out_init is None else self.out_init
        y: Array = net.child("out", Linear(x.shape[-1], self.bias, out_init))(hidden)
        return y


@final
class SwiGLU(Layer):
    """out(silu(gate(x)) * value(x)), back to the features of x (Shazeer, 2020, eq. 6).

    dropout: of the product, while training. kernel_init: of all three kernels.
    Shapes: (..., features), kept.
    """

    features: int
    dropout: float = 0.0
    bias: bool = False
    kernel_init: Initializer = initializers.lecun_normal()

    def forward(self, net: Net, x: Array) -> Array:
        first = Linear(self.features, self.bias, self.kernel_init)
        hidden = silu(net.child("gate", first)(x)) * net.child("value", first)(x)
        hidden = net.child("drop", Dropout(self.dropout))(hidden)
        y: Array = net.child("out", Linear(x.shape[-1], self.bias, self.kernel_init))(hidden)
        return y


def _around(
    net: Net,
    layer: TransformerEncoderLayer | TransformerDecoderLayer,
    number: int,
    x: Array,
    inner: Callable[[Array], Array],
) -> Array:
    """x + drop(inner(x)), normalized afterwards, or within before all else."""
    norm = net.child(f"norm{number}", layer.norm)
    drop = net.child(f"dropout{number}", Dropout(layer.dropout))
    y: Array = x + drop(inner(norm(x))) if layer.norm_first else norm(x + drop(inner(x)))
    return y


def _attention(
    net: Net, name: str, layer: TransformerEncoderLayer | TransformerDecoderLayer, rotary: bool
) -> Net:
    attention = MultiheadAttention(
        layer.heads,
        kv_heads=layer.kv_heads,
        bias=layer.bias,
        dropout=layer.dropout,
        rotary=layer.rotary if rotary else None,
    )
    return net.child(name, attention)


def _feed_forward(net: Net, layer: TransformerEncoderLayer | TransformerDecoderLayer) -> Net:
    given = layer.feed_forward
    if not isinstance(given, Layer):
        given = FeedForward(given, layer.activation, layer.dropout, layer.bias)
    return net.child("feed_forward", given)


@final
class TransformerEncoderLayer(Layer):
    """norm(x + attention(x)), then norm(x + feed_forward(x)).

    norm_first: x + attention(norm(x)), then x + feed_forward(norm(x)), instead (Xiong et al.,
        2020).
    feed_forward: how many features are hidden in a `FeedForward`, or any layer that keeps shapes.
    dropout: of the weights of attention, of hidden features, and of both results. norm: the layer
        that normalizes. kv_heads, rotary: as in `MultiheadAttention`.
    Shapes: (batch, time, features), kept. With `is_causal`, it is a layer of a decoder alone.
    """

    heads: int
    feed_forward: int | Layer = 2048
    dropout: float = 0.1
    activation: Activation = relu
    norm_first: bool = False
    norm: Layer = LayerNorm()
    bias: bool = True
    kv_heads: int | None = None
    rotary: RotaryEncoding | None = None

    def __post_init__(self) -> None:
        check_rate("TransformerEncoderLayer", self.dropout)

    def forward(self, net: Net, x: Array, **options: Any) -> Array:
        attention = _attention(net, "attention", self, rotary=True)
        x = _around(net, self, 1, x, lambda x: attention(x, **options))
        return _around(net, self, 2, x, _feed_forward(net, self))


@final
class TransformerDecoderLayer(Layer):
    """As `TransformerEncoderLayer`, with attention to a memory between the two.

    Unlike in PyTorch, attention of x with itself is causal unless `is_causal=False`.
    memory_mask, memory_seq_lengths: what of the memory is seen. decode: as in `MultiheadAttention`.
    The state then has the keys and values of the memory, too, which only the first call must give.
    Shapes: x (batch, time, features), kept; memory (batch, steps, any).
    """

    heads: int
    feed_forward: int | Layer = 2048
    dropout: float = 0.1
    activation: Activation = relu
    norm_first: bool = False
    norm: Layer = LayerNorm()
    bias: bool = True
    kv_heads: int | None = None
    rotary: RotaryEncoding | None = None

    def __post_init__(self) -> None:
        check_rate("TransformerDecoderLayer", self.dropout)

    def forward(
        self,
        net: Net,
        x: Array,
        memory: Array | None = None,
        *,
        is_causal: bool = True,
        memory_mask: ArrayLike | None = None,
        memory_seq_lengths: ArrayLike | None = None,
        decode: int | None = None,
        **options: Any,
    ) -> Array:
        if memory is None and (decode is None or net.making):
            raise ArgumentError(
                "TransformerDecoderLayer: takes a memory, but for the later steps of decoding"
            )
        attention = _attention(net, "attention", self, rotary=True)
        memory_attention = _attention(net, "memory_attention", self, rotary=False)

        def attend_memory(x: Array) -> Array:
            y: Array = memory_attention(
                x,
                memory,
                mask=memory_mask,
                key_value_seq_lengths=memory_seq_lengths,
                keep=decode is not None,
            )
            return y

        options = {"is_causal": is_causal, "decode": decode, **options}
        x = _around(net, self, 1, x, lambda x: attention(x, **options))
        x = _around(net, self, 2, x, attend_memory)
        return _around(net, self, 3, x, _feed_forward(net, self))


def _check_times(what: str, times: int) -> None:
    if times < 1:
        raise OptionError(f"{what}: must have one layer or more, got {times}")


@final
class TransformerEncoder(Layer):
    """A layer several times, each time with parameters of its own, and a norm at the end.

    The sublayers are named layer0, layer1, ...; `Repeat` makes one loop of them instead.
    norm: none for None. Options go to each layer. Shapes: (batch, time, features), kept.
    """

    layer: TransformerEncoderLayer
    times: int
    norm: Layer | None = None

    def __post_init__(self) -> None:
        _check_times("TransformerEncoder", self.times)

    def forward(self, net: Net, x: Array, **options: Any) -> Array:
        for i in range(self.times):
            x = net.child(f"layer{i}", self.layer)(x, **options)
        return x if self.norm is None else net.norm(x)


@final
class TransformerDecoder(Layer):
    """As `TransformerEncoder`, of decoder layers, each of which sees the memory.

    decode: as in `TransformerDecoderLayer`; only the first call must give the memory.
    Shapes: x (batch, time, features), kept; memory (batch, steps, any).
    """

    layer: TransformerDecoderLayer
    times: int
    norm: Layer | None = None

    def __post_init__(self) -> None:
        _check_times("TransformerDecoder", self.times)

    def forward(self, net: Net, x: Array, memory: Array | None = None, **options: Any) -> Array:
        for i in range(self.times):
            x = net.child(f"layer{i}", self.layer)(x, memory, **options)
        return x if self.norm is None else net.norm(x)


@final
class Transformer(Layer):
    """decoder(target, encoder(source)) (Vaswani et al., 2017, figure 1), without embeddings.

    Both end with a norm, as in PyTorch; unlike there, the decoder is causal. Fields are those of
    `TransformerEncoderLayer`. source_mask is for the encoder, target_mask for the decoder with
    itself, memory_mask for what it sees of the encoder's outputs. source_seq_lengths: how many
    steps of each source count, in the encoder and for the decoder.
    Shapes: source (batch, steps, features), target (batch, time, features), as the outputs.
    """

    heads: int = 8
    encoder_layers: int = 6
    decoder_layers: int = 6
    feed_forward: int | Layer = 2048
    dropout: float = 0.1
    activation: Activation = relu
    norm_first: bool = False
    norm: Layer = LayerNorm()
    bias: bool = True

    def forward(
        self,
        net: Net,
        source: Array,
        target: Array,
        *,
        source_mask: ArrayLike | None = None,
        target_mask: ArrayLike | None = None,
        memory_mask: ArrayLike | None = None,
        source_seq_lengths: ArrayLike | None = None,
        is_causal: bool = True,
    ) -> Array:
        fields = (self.heads, self.feed_forward, self.dropout, self.activation, self.norm_first)
        encoder_layer = TransformerEncoderLayer(*fields, self.norm, self.bias)
        decoder_layer = TransformerDecoderLayer(*fields, self.norm, self.bias)
        encoder = TransformerEncoder(encoder_layer, self.encoder_layers, self.norm)
        decoder = TransformerDecoder(decoder_layer, self.decoder_layers, self.norm)
        memory = net.child("encoder", encoder)(
            source, mask=source_mask, key_value_seq_lengths=source_seq_lengths
        )
        y: Array = net.child("decoder", decoder)(
            target,
            memory,
            mask=target_mask,
            is_causal=is_causal,
            memory_mask=memory_mask,
            memory_seq_lengths=source_seq_lengths,
        )
        return y
