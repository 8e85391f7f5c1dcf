"""Language models that are decoders alone: each token is predicted from those before it.

`model(params, tokens)` gives logits of the token that follows each one. See
`fstensor.nn.models.generate` for text from them.

>>> import fstensor as fst
>>> from fstensor.nn import models
>>> model = models.GPT(vocabulary=65, length=32, features=48, heads=4, layers=2)
>>> tokens = fst.numpy.zeros((1, 8), "int32")
>>> params, _ = model.init(fst.random.key(0), tokens)
>>> model(params, tokens).shape
(1, 8, 65)

The published models are functions, such as `gpt2`; their sizes are known without any memory:

>>> shapes, _ = fst.eval_shape(models.gpt2().init, fst.random.key(0), tokens)
>>> sum(p.size for p in fst.tree.leaves(shapes))
124439808
"""

from __future__ import annotations

import math
from typing import Any, final

from fstensor.array import Array
from fstensor.errors import OptionError, ShapeError
from fstensor.nn import initializers
from fstensor.nn.activations import gelu
from fstensor.nn.dropouts import check_rate
from fstensor.nn.layer import Layer, Net
from fstensor.nn.layers.attention import MultiheadAttention
from fstensor.nn.layers.combine import Repeat
from fstensor.nn.layers.dropout import Dropout
from fstensor.nn.layers.embedding import Embedding, LearnedEncoding, RotaryEncoding
from fstensor.nn.layers.linear import Linear
from fstensor.nn.layers.norm import LayerNorm, RMSNorm
from fstensor.nn.layers.transformer import FeedForward, SwiGLU
from fstensor.transforms.checkpoint import checkpoint as checkpointed

# The standard deviation that both families begin with.
_STDDEV = 0.02


@final
class DecoderBlock(Layer):
    """x + attention(norm1(x)), causal, then x + feed_forward(norm2(x)).

    dropout: of both results, while training. checkpoint: whether the backward pass computes again
    what is within, rather than keeping it. Options go to the attention.
    Shapes: (batch, time, features), kept.
    """

    attention: MultiheadAttention
    feed_forward: Layer
    norm: Layer = LayerNorm()
    dropout: float = 0.0
    checkpoint: bool = False

    def __post_init__(self) -> None:
        check_rate("DecoderBlock", self.dropout)

    def forward(self, net: Net, x: Array, **options: Any) -> Array:
        def run(x: Array) -> Array:
            inner = net.attention(net.child("norm1", self.norm)(x), is_causal=True, **options)
            x = x + net.child("dropout1", Dropout(self.dropout))(inner)
            inner = net.feed_forward(net.child("norm2", self.norm)(x))
            y: Array = x + net.child("dropout2", Dropout(self.dropout))(inner)
            return y

        # What is computed again cannot make parameters or change state.
        plain = net.making or options.get("decode") is not None
        return checkpointed(run)(x) if self.checkpoint and not plain else run(x)


def _check_sizes(model: GPT | Llama) -> None:
    if model.layers < 1:
        what = type(model).__name__
        raise OptionError(f"{what}: must have one layer or more, got {model.layers}")


def _stacked(net: Net, model: GPT | Llama, block: DecoderBlock, x: Array, **options: Any) -> Array:
    """The blocks one after the other: block0, block1, ..., or one loop named blocks."""
    if model.loop:
        y: Array = net.child("blocks", Repeat(block, model.layers))(x, **options)
        return y
    for i in range(model.layers):
        x = net.child(f"block{i}", block)(x, **options)
    return x


@final
class GPT(Layer):
    """GPT-2 (Radford et al., 2019): learned positions, norms before sublayers, a tied output.

    x = embed(tokens) + positions; blocks of attention and of linear, gelu, linear; logits =
    embed^T norm(x). Weights begin normal with 0.02, those that end a block's sublayer divided by
    sqrt(2 layers), as section 2.3 says.
    length: how many positions there are. hidden: features between the two linear sublayers, four
    times as many for None. dropout: of embeddings, of the weights of attention, and of what
    sublayers give, while training. loop: one `Repeat` instead of blocks apart, for programs that
    compile as fast as that of one block; parameters are then stacked. checkpoint: of each block;
    loops that are trained also run faster with it, as they need not keep weights of attention.

    Options of a call: decode, as in `MultiheadAttention`. last: logits of the last token alone.
    Shapes: tokens (batch, time) or (time,) -> (..., time, vocabulary); (..., 1, vocabulary) for
    `last`. Dtypes: integers -> that of the parameters.
    Raises: ShapeError for more steps than `length`, DtypeError for tokens that are no integers.
    """

    vocabulary: int
    length: int
    features: int
    heads: int
    layers: int
    hidden: int | None = None
    dropout: float = 0.0
    bias: bool = True
    epsilon: float = 1e-5
    loop: bool = False
    checkpoint: bool = False

    def __post_init__(self) -> None:
        check_rate("GPT", self.dropout)
        _check_sizes(self)

    def forward(
        self, net: Net, tokens: Array, *, decode: int | None = None, last: bool = False
    ) -> Array:
        if decode is not None and decode > self.length:
            raise ShapeError(
                f"GPT: decode must be within its {self.length} positions, got {decode}"
            )
        first = initializers.normal(_STDDEV)
        embed = net.child("embed", Embedding(self.vocabulary, self.features, table_init=first))
        x = net.child("positions", LearnedEncoding(self.length))(embed(tokens), decode=decode)
        x = net.child("dropout", Dropout(self.dropout))(x)
        x = _stacked(net, self, self._block(), x, decode=decode)
        x = net.child("norm", LayerNorm(epsilon=self.epsilon))(x[..., -1:, :] if last else x)
        logits: Array = embed(x, attend=True)
        return logits

    def _block(self) -> DecoderBlock:
        first = initializers.normal(_STDDEV)
        ends = initializers.normal(_STDDEV / math.sqrt(2 * self.layers))
        attention = MultiheadAttention(
            self.heads, bias=self.bias, dropout=self.dropout, kernel_init=first, out_init=ends
        )
        hidden = 4 * self.features if self.hidden is None else self.hidden
        feed_forward = FeedForward(hidden, gelu, bias=self.bias, kernel_init=first, out_init=ends)
        norm = LayerNorm(epsilon=self.epsilon)
        return DecoderBlock(attention, feed_forward, norm, self.dropout, self.checkpoint)


@final
class Llama(Layer):
    """Llama (Touvron et al., 2023): rotary positions, RMSNorm before sublayers, SwiGLU, no biases.

    x = embed(tokens); blocks of attention and SwiGLU; logits = out(norm(x)).
    hidden: features within SwiGLU. kv_heads: of keys and values, as in `MultiheadAttention`. tied:
    whether the output has the weights of the embedding. base: of the rotary positions.
    interleaved: how these pair features, see `nn.rotary_encoding`; False as in the weights that are
    published for `transformers`. dropout, loop, checkpoint: as in `GPT`, none in the paper.
    There is no largest number of positions, though none is better than those trained on.

    Options of a call: decode, as in `MultiheadAttention`. last: logits of the last token alone.
    Shapes and dtypes: as in `GPT`. Raises: DtypeError for tokens that are no integers.
    """

    vocabulary: int
    features: int
    heads: int
    layers: int
    hidden: int
    kv_heads: int | None = None
    tied: bool = False
    base: float = 10000.0
    interleaved: bool = False
    epsilon: float = 1e-5
    dropout: float = 0.0
    loop: bool = False
    checkpoint: bool = False

    def __post_init__(self) -> None:
        check_rate("Llama", self.dropout)
        _check_sizes(self)

    def forward(
        self, net: Net, tokens: Array, *, decode: int | None = None, last: bool = False
    ) -> Array:
        first = initializers.normal(_STDDEV)
        embed = net.child("embed", Embedding(self.vocabulary, self.features, table_init=first))
        x = net.child("dropout", Dropout(self.dropout))(embed(tokens))
        x = _stacked(net, self, self._block(), x, decode=decode)
        x = net.child("norm", RMSNorm(epsilon=self.epsilon))(x[..., -1:, :] if last else x)
        logits: Array
        if self.tied:
            logits = embed(x, attend=True)
        else:
            logits = net.child("out", Linear(self.vocabulary, bias=False, kernel_init=first))(x)
        return logits

    def _block(self) -> DecoderBlock:
        first = initializers.normal(_STDDEV)
        attention = MultiheadAttention(
            self.heads,
            kv_heads=self.kv_heads,
            bias=False,
            dropout=self.dropout,
            rotary=RotaryEncoding(self.base, self.interleaved),
            kernel_init=first,
        )
        feed_forward = SwiGLU(self.hidden, kernel_init=first)
        norm = RMSNorm(epsilon=self.epsilon)
        return DecoderBlock(attention, feed_forward, norm, self.dropout, self.checkpoint)


def gpt2(**options: Any) -> GPT:
    """GPT-2 small: 124,439,808 parameters (Radford et al., 2019, table 2). options: of `GPT`."""
    return GPT(50257, 1024, 768, 12, 12, **options)


def gpt2_medium(**options: Any) -> GPT:
    """GPT-2 medium: 354,823,168 parameters. options: of `GPT`."""
    return GPT(50257, 1024, 1024, 16, 24, **options)


def gpt2_large(**options: Any) -> GPT:
    """GPT-2 large: 774,030,080 parameters. options: of `GPT`."""
    return GPT(50257, 1024, 1280, 20, 36, **options)


def gpt2_xl(**options: Any) -> GPT:
    """GPT-2 XL: 1,557,611,200 parameters. options: of `GPT`."""
    return GPT(50257, 1024, 1600, 25, 48, **options)


def llama2_7b(**options: Any) -> Llama:
    """Llama 2 7B: 6,738,415,616 parameters (Touvron et al., 2023). options: of `Llama`."""
    return Llama(32000, 4096, 32, 32, 11008, **options)


def llama3_8b(**options: Any) -> Llama:
    """Llama 3 8B: 8,030,261,248 parameters (Grattafiori et al., 2024). options: of `Llama`."""
    return Llama(128256, 4096, 32, 32, 14336, kv_heads=8, base=500000.0, **options)


def tiny_llama(**options: Any) -> Llama:
    """TinyLlama 1.1B: 1,100,048,384 parameters (Zhang et al., 2024). options: of `Llama`."""
    return Llama(32000, 2048, 32, 22, 5632, kv_heads=4, **options)
