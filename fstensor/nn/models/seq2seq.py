"""An encoder and a decoder: from texts to texts, as in translation.

>>> import fstensor as fst
>>> from fstensor.nn import models
>>> model = models.Seq2Seq(50, 40, features=16, heads=2, layers=1, hidden=32)
>>> source = fst.numpy.array([[3, 4, 5, 0], [7, 8, 9, 9]])  # 0 fills the end
>>> target = fst.numpy.array([[1, 3, 4], [1, 9, 9]])
>>> params, _ = model.init(fst.random.key(0), source, target)
>>> model(params, source, target).shape
(2, 3, 40)
>>> models.translate(model, params, source, 6, start=1, end=2).shape
(2, 6)
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, TypeAlias, final

from fstensor import lax, tree
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.errors import ArgumentError, OptionError
from fstensor.nn import initializers
from fstensor.nn.activations import log_softmax, relu
from fstensor.nn.dropouts import check_rate
from fstensor.nn.layer import Layer, Net, Params, State
from fstensor.nn.layers.dropout import Dropout
from fstensor.nn.layers.embedding import Embedding, SinusoidalEncoding
from fstensor.nn.layers.linear import Linear
from fstensor.nn.layers.norm import LayerNorm
from fstensor.nn.layers.transformer import (
    FeedForward,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from fstensor.nn.models.generate import (
    Step,
    check_token,
    checked_tokens,
    choice,
    choices,
    decoded,
    empty_cache,
    wide,
)
from fstensor.transforms.jit import jit

# While searching: tokens (batch, beams, steps), the logarithms of probabilities, lengths, and which
# have ended, (batch, beams).
_Search: TypeAlias = tuple[Array, Array, Array, Array]


@final
class Seq2Seq(Layer):
    """The Transformer (Vaswani et al., 2017) on texts of integers.

    memory = encoder(sqrt(features) embed(source) + positions); logits = out(decoder(sqrt(features)
    embed(target) + positions, memory)), with sinusoidal positions, norms after sublayers, and no
    biases but in the feed-forward ones. Token `padding` fills sources; no attention is paid to it.
    In targets, where only what comes before counts, it may fill the end.
    layers: of the encoder, and of the decoder. one_embedding: whether source and target share it.
    tied: whether the output has the weights of the target's embedding, and no bias. norm_first:
    norms before sublayers and at both ends instead, which learns without a warm-up (Xiong et al.,
    2020). dropout: of embeddings, the weights of attention, and the results of sublayers, while
    training.

    `model(params, source)` gives the memory; `model(params, source, target, memory=memory)` does
    not run the encoder again. decode: as in `MultiheadAttention`; the first call then takes the
    memory, which later ones have in the state. last: logits of the last token alone.
    Shapes: source (batch, steps) or (steps,), target (..., time) -> (..., time, target_vocabulary).
    Raises: OptionError for `one_embedding` of vocabularies that differ, DtypeError for tokens that
        are no integers.
    """

    source_vocabulary: int
    target_vocabulary: int
    features: int = 512
    heads: int = 8
    layers: int = 6
    hidden: int = 2048
    dropout: float = 0.1
    padding: int = 0
    one_embedding: bool = False
    tied: bool = False
    norm_first: bool = False

    def __post_init__(self) -> None:
        check_rate("Seq2Seq", self.dropout)
        if self.one_embedding and self.source_vocabulary != self.target_vocabulary:
            raise OptionError(
                "Seq2Seq: one_embedding takes vocabularies of one size, got "
                f"{self.source_vocabulary} and {self.target_vocabulary}"
            )

    def forward(
        self,
        net: Net,
        source: Array,
        target: Array | None = None,
        *,
        memory: Array | None = None,
        decode: int | None = None,
        last: bool = False,
    ) -> Array:
        seen = (fnp.asarray(source) != self.padding)[..., None, None, :]
        embed = self._embedding(net, "source")
        if memory is None and (decode is None or net.making):
            x = self._placed(net, "source", embed(source))
            memory = net.child("encoder", self._encoder())(x, mask=seen)
        if target is None:
            if memory is None:
                raise ArgumentError("Seq2Seq: decoding takes a target")
            return memory
        embed = embed if self.one_embedding else self._embedding(net, "target")
        x = self._placed(net, "target", embed(target), decode)
        decoder = net.child("decoder", self._decoder())
        x = decoder(x, memory, memory_mask=seen, decode=decode)
        x = x[..., -1:, :] if last else x
        logits: Array
        if self.tied:
            logits = embed(x, attend=True)
        else:
            logits = net.child("out", Linear(self.target_vocabulary))(x)
        return logits

    def _embedding(self, net: Net, side: str) -> Net:
        rows = self.source_vocabulary if side == "source" else self.target_vocabulary
        first = initializers.normal(1 / math.sqrt(self.features))
        name = "embed" if self.one_embedding else f"embed_{side}"
        return net.child(name, Embedding(rows, self.features, table_init=first))

    def _placed(self, net: Net, side: str, x: Array, decode: int | None = None) -> Array:
        """Embeddings with positions."""
        x = x * math.sqrt(self.features)
        x = net.child(f"positions_{side}", SinusoidalEncoding())(x, decode=decode)
        dropped: Array = net.child(f"dropout_{side}", Dropout(self.dropout))(x)
        return dropped

    def _encoder(self) -> TransformerEncoder:
        layer = TransformerEncoderLayer(
            self.heads,
            FeedForward(self.hidden, relu),
            self.dropout,
            norm_first=self.norm_first,
            bias=False,
        )
        return TransformerEncoder(layer, self.layers, self._last_norm())

    def _decoder(self) -> TransformerDecoder:
        layer = TransformerDecoderLayer(
            self.heads,
            FeedForward(self.hidden, relu),
            self.dropout,
            norm_first=self.norm_first,
            bias=False,
        )
        return TransformerDecoder(layer, self.layers, self._last_norm())

    def _last_norm(self) -> LayerNorm | None:
        return LayerNorm() if self.norm_first else None


def transformer_base(vocabulary: int = 37000, **options: Any) -> Seq2Seq:
    """The base model of Vaswani et al., 2017, table 3, with one vocabulary: 63,045,632 parameters.

    The table says 65 million. options: of `Seq2Seq`.
    """
    return Seq2Seq(vocabulary, vocabulary, **{"one_embedding": True, "tied": True, **options})


def transformer_big(vocabulary: int = 37000, **options: Any) -> Seq2Seq:
    """The big model of Vaswani et al., 2017, table 3, with one vocabulary: 214,171,648 parameters.

    The table says 213 million. options: of `Seq2Seq`.
    """
    sizes = {"features": 1024, "heads": 16, "hidden": 4096, "dropout": 0.3}
    return Seq2Seq(
        vocabulary, vocabulary, **{"one_embedding": True, "tied": True, **sizes, **options}
    )


def translate(
    model: Layer,
    params: Params,
    source: ArrayLike,
    steps: int,
    *,
    start: int,
    end: int | None = None,
    key: ArrayLike | None = None,
    temperature: ArrayLike = 0.0,
    top_k: int | None = None,
    top_p: ArrayLike | None = None,
) -> Array:
    """The `steps` tokens that follow `start` for a source, of a model such as `Seq2Seq`.

    The greatest logit is taken at each step, or with a `temperature` above 0 a token is drawn. The
    encoder runs once; the decoder runs in one loop of a compiled program.
    key, temperature, top_k, top_p, end: as in `generate`.
    Shapes: source (batch, time) or (time,) -> (batch, steps) or (steps,). Raises: as `generate`.
    """
    tokens = checked_tokens("translate", "source", source, steps)
    check_token("translate", "start", start)
    how = choices("translate", key, temperature, top_k, top_p, end)
    found: Array = _translate(model, params, tokens, start, how, steps=steps, top_k=top_k)
    return found


def beam_search(
    model: Layer,
    params: Params,
    source: ArrayLike,
    steps: int,
    *,
    start: int,
    end: int,
    beams: int = 4,
    alpha: float = 0.6,
) -> tuple[Array, Array]:
    """The likeliest texts of up to `steps` tokens for a source, and their scores, best first.

    Of the continuations of `beams` texts by each token, as many of the best are kept. Scores are
    log p(text) / ((5 + length) / 6)^alpha (Wu et al., 2016, eq. 14), where a text has ended with
    `end` or at the last step; its length counts `end`, which also fills what comes after it. One
    beam is greedy; with as many as there are texts, the search is exhaustive.
    Shapes: source (batch, time) or (time,) -> (..., beams, steps) and (..., beams).
    Raises: OptionError for less than one beam or step, ShapeError and DtypeError for other sources.
    """
    tokens = checked_tokens("beam_search", "source", source, steps)
    check_token("beam_search", "start", start)
    check_token("beam_search", "end", end)
    if beams < 1:
        raise OptionError(f"beam_search: there must be one beam or more, got {beams}")
    given = tokens[None] if tokens.ndim == 1 else tokens
    found, scores = _beams(model, params, given, start, end, alpha, steps=steps, beams=beams)
    return (found[0], scores[0]) if tokens.ndim == 1 else (found, scores)


def _begun(
    model: Layer, params: Params, source: Array, start: ArrayLike, size: int
) -> tuple[Array, State]:
    """The logits after the first token, and the state then."""
    first = fnp.full((*source.shape[:-1], 1), start, source.dtype)
    cache = empty_cache(model, params, size, source, first)
    memory = model(params, source)
    after: tuple[Array, State] = model.apply(
        params, cache, source, first, memory=memory, decode=size
    )
    return after


def _step(model: Layer, params: Params, source: Array, size: int) -> Step:
    return lambda cache, tokens: model.apply(params, cache, source, tokens, decode=size)


@partial(jit, static_argnames=("model", "steps", "top_k"))
def _translate(
    model: Layer,
    params: Params,
    source: Array,
    start: ArrayLike,
    how: dict[str, Any],
    *,
    steps: int,
    top_k: int | None,
) -> Array:
    logits, cache = _begun(model, params, source, start, steps)
    step = _step(model, params, source, steps)
    return decoded(step, logits, cache, steps, choice(how, top_k), how["end"], source.dtype)


@partial(jit, static_argnames=("model", "steps", "beams"))
def _beams(
    model: Layer,
    params: Params,
    source: Array,
    start: ArrayLike,
    end: ArrayLike,
    alpha: ArrayLike,
    *,
    steps: int,
    beams: int,
) -> tuple[Array, Array]:
    """As `beam_search`, with a batch."""
    logits, cache = _begun(model, params, source, start, steps)
    # As many copies of each example, all but one of which are out of the question at first.
    source, logits, cache = (_repeated(a, beams) for a in (source, logits, cache))
    shape = (source.shape[0] // beams, beams)
    sums = fnp.where(fnp.arange(beams) == 0, fnp.zeros(shape, wide(logits)), -fnp.inf)
    texts = fnp.zeros((*shape, steps), source.dtype)
    search: _Search = (texts, sums, fnp.zeros(shape, int), fnp.zeros(shape, bool))
    step = _step(model, params, source, steps)

    def one(carry: Any, number: Array) -> Any:
        search, _, cache = carry
        logits, cache = step(cache, search[0][..., number - 1].reshape(-1, 1))
        search, scores, rows = _extended(search, logits, number, end, alpha)
        return (search, scores, _of_rows(cache, rows)), None

    search, scores, rows = _extended(search, logits, 0, end, alpha)
    carry: Any = (search, scores, _of_rows(cache, rows))
    ((texts, *_), scores, _), _ = lax.scan(one, carry, fnp.arange(1, steps))
    return texts, scores


def _repeated(values: Any, times: int) -> Any:
    """A tree whose arrays have each row several times; those without rows are as before."""
    return tree.map(lambda a: fnp.repeat(a, times, axis=0) if a.ndim else a, values)


def _of_rows(values: Any, rows: Array) -> Any:
    return tree.map(lambda a: a[rows] if a.ndim else a, values)


def _extended(
    search: _Search, logits: Array, number: int | Array, end: ArrayLike, alpha: ArrayLike
) -> tuple[_Search, Array, Array]:
    """The best texts that are one token longer, their scores, and which rows they came from."""
    texts, sums, lengths, ended = search
    batch, beams = sums.shape
    logs = fnp.reshape(log_softmax(logits.astype(sums.dtype), axis=-1), (batch, beams, -1))
    vocabulary = logs.shape[-1]
    # What has ended goes on with nothing but its end, at no cost.
    at_end = fnp.where(fnp.arange(vocabulary) == end, fnp.zeros((), logs.dtype), -fnp.inf)
    sums = sums[..., None] + fnp.where(ended[..., None], at_end, logs)
    lengths = fnp.where(ended, lengths, number + 1)
    scores = sums / fnp.expand_dims(((5 + lengths) / 6) ** alpha, -1).astype(sums.dtype)
    best, places = lax.top_k(scores.reshape(batch, -1), beams)
    parents, tokens = places // vocabulary, (places % vocabulary).astype(texts.dtype)
    texts = fnp.take_along_axis(texts, parents[..., None], 1).at[..., number].set(tokens)
    sums = fnp.take_along_axis(sums.reshape(batch, -1), places, 1)
    lengths, ended = (fnp.take_along_axis(a, parents, 1) for a in (lengths, ended))
    rows = (fnp.arange(batch)[:, None] * beams + parents).reshape(-1)
    return (texts, sums, lengths, ended | (tokens == end)), best, rows
