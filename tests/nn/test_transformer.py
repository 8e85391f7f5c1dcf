"""Transformers: values and gradients beside PyTorch's, decoding, and transformations of blocks."""

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import jit, nn, random, vmap
from fstensor.errors import ArgumentError, OptionError
from tests.nn.golden_cases import assert_agrees, case

KEY = random.key(0)


def gelu(x):
    return nn.gelu(x, approximate=False)


@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_layer(norm_first):
    arrays = case("attention", "encoder_norm_first" if norm_first else "encoder_norm_last")
    out, gradients, mask = arrays.pop("out"), arrays.pop("grad"), arrays.pop("mask")
    layer = nn.TransformerEncoderLayer(2, 3, 0.0, gelu, norm_first)
    assert_agrees(lambda g: layer(g["params"], g["x"], mask=mask), arrays, out, gradients)


@pytest.mark.parametrize("norm_first", [False, True])
def test_decoder_layer(norm_first):
    arrays = case("attention", "decoder_norm_first" if norm_first else "decoder_norm_last")
    out, gradients = arrays.pop("out"), arrays.pop("grad")
    layer = nn.TransformerDecoderLayer(2, 3, 0.0, norm_first=norm_first)
    assert_agrees(lambda g: layer(g["params"], g["x"], g["memory"]), arrays, out, gradients)


def test_transformer():
    arrays = case("attention", "transformer")
    out, gradients = arrays.pop("out"), arrays.pop("grad")
    layer = nn.Transformer(2, 1, 1, 3, 0.0)
    lengths = np.array([2, 3])

    def run(g):
        return layer(g["params"], g["source"], g["target"], source_seq_lengths=lengths)

    assert_agrees(run, arrays, out, gradients)
    inputs = [arrays[n].astype(np.float32) for n in ("source", "target")]
    made, _ = layer.init(KEY, *inputs)
    shapes = fst.tree.map(lambda p: p.shape, arrays["params"])
    assert fst.tree.map(lambda p: p.shape, made) == shapes


def test_swiglu():
    layer = nn.SwiGLU(5)
    x = random.normal(KEY, (2, 3))
    params, _ = layer.init(KEY, x)
    gate, value, out = (np.asarray(params[n]["kernel"]) for n in ("gate", "value", "out"))
    first = x @ gate
    expected = (first / (1 + np.exp(-first)) * (x @ value)) @ out
    np.testing.assert_allclose(layer(params, x), expected, 1e-5, 1e-6)


def test_feed_forward():
    """As written down; and layers one after the other are an encoder and a decoder."""
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    inner = nn.FeedForward(5, nn.silu)
    params, _ = inner.init(KEY, x)
    hidden, out = params["hidden"], params["out"]
    wide = x @ np.asarray(hidden["kernel"]) + hidden["bias"]
    expected = (wide / (1 + np.exp(-wide))) @ out["kernel"] + out["bias"]
    np.testing.assert_allclose(inner(params, x), expected, 1e-6, 1e-7)
    for many, one, memory in (
        (nn.TransformerEncoder, nn.TransformerEncoderLayer(2, 5, 0.0), ()),
        (nn.TransformerDecoder, nn.TransformerDecoderLayer(2, 5, 0.0), (x[:, :2],)),
    ):
        whole = many(one, 2, nn.LayerNorm())
        params, _ = whole.init(KEY, x, *memory)
        y = one(params["layer1"], one(params["layer0"], x, *memory), *memory)
        expected = nn.LayerNorm()(params["norm"], y)
        np.testing.assert_allclose(whole(params, x, *memory), expected, 1e-12)


class Language(nn.Layer):
    """A small model of sequences, as in use: an embedding, blocks, and the embedding as output."""

    embed: nn.Embedding = nn.Embedding(11, 16)
    positions: nn.SinusoidalEncoding = nn.SinusoidalEncoding()
    blocks: nn.Layer = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(
            4,
            nn.SwiGLU(24),
            norm=nn.RMSNorm(),
            norm_first=True,
            kv_heads=2,
            rotary=nn.RotaryEncoding(),
            bias=False,
        ),
        2,
        nn.RMSNorm(),
    )

    def forward(self, net, x, decode=None):
        x = net.positions(net.embed(x), decode=decode)
        x = net.blocks(x, is_causal=True, decode=decode)
        return net.embed(x, attend=True)


LAYER = nn.TransformerEncoderLayer(2, 12, norm_first=True)


@pytest.mark.parametrize("blocks", [Language.blocks, nn.Repeat(Language.blocks.layer, 3)])
def test_decoding_step_by_step_is_the_whole_with_a_causal_mask(blocks):
    model = Language(blocks=blocks)
    tokens = random.randint(random.key(1), (3, 8), 0, 11)
    params, state = model.init(KEY, tokens)
    assert state == {}
    whole = jit(model)(params, tokens)

    same, cache = model.init(KEY, tokens[:, :1], decode=8)
    assert fst.tree.structure(same) == fst.tree.structure(params)
    step = jit(lambda cache, x: model.apply(params, cache, x, decode=8))
    logits, cache = step(cache, tokens[:, :3])
    found = [logits]
    for t in range(3, 8):
        logits, cache = step(cache, tokens[:, t : t + 1])
        found.append(logits)
    np.testing.assert_allclose(fnp.concatenate(found, 1), whole, 1e-4, 1e-4)


def test_decoding_within_scan():
    model = Language()
    tokens = random.randint(random.key(1), (3, 8), 0, 11)
    params, cache = model.init(KEY, tokens[:, :1], decode=8)

    def step(cache, token):
        logits, cache = model.apply(params, cache, token[:, None], decode=8)
        return cache, logits[:, 0]

    _, logits = jit(lambda cache: fst.lax.scan(step, cache, tokens.T))(cache)
    np.testing.assert_allclose(fnp.moveaxis(logits, 0, 1), model(params, tokens), 1e-4, 1e-4)


def test_decoder_layer_with_a_cache():
    layer = nn.TransformerDecoderLayer(2, 12)
    x, memory = random.normal(KEY, (2, 5, 8)), random.normal(random.key(1), (2, 7, 8))
    params, cache = layer.init(KEY, x[:, :1], memory, decode=5)
    found = []
    for t in range(5):
        y, cache = layer.apply(params, cache, x[:, t : t + 1], memory, decode=5)
        found.append(y)
    np.testing.assert_allclose(fnp.concatenate(found, 1), layer(params, x, memory), 1e-4, 1e-5)


def test_lengths_and_memory():
    layer = nn.TransformerDecoderLayer(2, 12)
    x, memory = random.normal(KEY, (2, 5, 8)), random.normal(random.key(1), (2, 7, 8))
    params, _ = layer.init(KEY, x, memory)
    lengths = np.array([4, 7])
    y = layer(params, x, memory, memory_seq_lengths=lengths)
    np.testing.assert_allclose(y[:1], layer(params, x[:1], memory[:1, :4]), 1e-4, 1e-5)
    mask = (np.arange(7) < lengths[:, None])[:, None, None]
    masked = layer(params, x, memory, memory_mask=mask)
    np.testing.assert_allclose(masked, y, 1e-5, 1e-6)
    open_ended = layer(params, x, memory, is_causal=False)
    short = layer(params, x, memory, is_causal=False, key_value_seq_lengths=np.array([3, 3]))
    assert not np.allclose(open_ended, short)
    np.testing.assert_allclose(
        short[:, :3], layer(params, x[:, :3], memory, is_causal=False), 1e-4, 1e-5
    )


def test_options_reach_attention():
    x = random.normal(KEY, (2, 5, 8))
    params, _ = LAYER.init(KEY, x)
    window = LAYER(params, x, local_window_size=(5, 0))
    np.testing.assert_allclose(window, LAYER(params, x, is_causal=True), 1e-4, 1e-5)
    for layer in (LAYER, nn.MultiheadAttention(2), nn.GRU(3)):
        with pytest.raises(TypeError, match="is_casual"):
            layer.init(KEY, x, is_casual=True)


def test_repeat_is_the_encoder():
    x = random.normal(KEY, (2, 5, 8))
    repeated, encoder = nn.Repeat(LAYER, 3), nn.TransformerEncoder(LAYER, 3)
    params, _ = repeated.init(KEY, x)
    apart = {f"layer{i}": fst.tree.map(lambda p, i=i: p[i], params["layer"]) for i in range(3)}
    assert fst.tree.structure(apart) == fst.tree.structure(encoder.init(KEY, x)[0])
    np.testing.assert_allclose(repeated(params, x), encoder(apart, x), 1e-4, 1e-5)
    loss = lambda layer, p: (layer(p, x, is_causal=True) ** 2).sum()
    one = jit(fst.grad(lambda p: loss(repeated, p)))(params)["layer"]
    other = fst.grad(lambda p: loss(encoder, p))(apart)
    for i in range(3):
        of_one = fst.tree.map(lambda p, i=i: p[i], one)
        for a, b in zip(fst.tree.leaves(of_one), fst.tree.leaves(other[f"layer{i}"]), strict=True):
            np.testing.assert_allclose(a, b, 1e-3, 1e-4)


def test_a_checkpointed_block_has_the_same_gradients():
    x = random.normal(KEY, (2, 5, 8))
    params, _ = LAYER.init(KEY, x)

    def run(params, x):
        return LAYER(params, x, key=KEY, train=True)

    def gradient(f):
        return jit(fst.grad(lambda p: (f(p, x) ** 2).sum()))(params)

    held = fst.tree.leaves(gradient(run))
    for a, b in zip(fst.tree.leaves(gradient(fst.checkpoint(run))), held, strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-5)


def test_ensemble():
    x = random.normal(KEY, (2, 5, 8))
    params, _ = vmap(lambda key: LAYER.init(key, x))(random.split(KEY, 3))
    ys = jit(vmap(LAYER, (0, None)))(params, x)
    for i in range(3):
        one = fst.tree.map(lambda p, i=i: p[i], params)
        np.testing.assert_allclose(ys[i], LAYER(one, x), 1e-4, 1e-5)


def test_dropout_is_only_in_training():
    x = random.normal(KEY, (2, 5, 8))
    params, _ = LAYER.init(KEY, x)
    np.testing.assert_array_equal(LAYER(params, x, key=KEY), LAYER(params, x))
    first, second = (LAYER(params, x, key=random.key(n), train=True) for n in (1, 2))
    assert not np.allclose(first, second)
    with pytest.raises(ArgumentError, match="MultiheadAttention at attention: needs random"):
        LAYER(params, x, train=True)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: nn.TransformerEncoder(LAYER, 0), "TransformerEncoder: must have one layer"),
        (lambda: nn.TransformerDecoder(LAYER, 0), "TransformerDecoder: must have one layer"),
        (
            lambda: nn.TransformerEncoderLayer(2, dropout=2.0),
            "rate must be within 0 and 1, got 2.0",
        ),
    ],
)
def test_errors(call, text):
    with pytest.raises(OptionError, match=text):
        call()


def test_keys_of_another_input_are_kept():
    attention = nn.MultiheadAttention(2, kv_heads=1)
    x, y = random.normal(KEY, (2, 1, 8)), random.normal(random.key(1), (2, 5, 6))
    params, state = attention.init(KEY, x, y, keep=True)
    assert state["keys"].shape == (2, 5, 1, 4)
    expected = attention(params, x, y)
    found, state = attention.apply(params, state, x, y, keep=True)
    np.testing.assert_array_equal(found, expected)
    found, _ = attention.apply(params, state, x, keep=True)
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ArgumentError, match="to keep keys and values, pass y"):
        attention.init(KEY, x, keep=True)
    with pytest.raises(OptionError, match="neither decodes nor is rotary"):
        attention.init(KEY, x, keep=True, decode=3)
    with pytest.raises(ArgumentError, match="takes a memory"):
        nn.TransformerDecoderLayer(2, 12).init(KEY, x)
