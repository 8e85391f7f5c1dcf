"""Attention: values and gradients beside PyTorch's and JAX's, masks, and the kernel it becomes."""

import re

import jax
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import ShapeDtypeStruct, jit, nn, random, vmap
from fstensor.errors import ArgumentError, DtypeError, OptionError, ShapeError
from tests.nn.golden_cases import assert_agrees, case

KEY = random.key(0)
FUNCTIONS = {
    "plain": {},
    "mask": {},
    "bias": {},
    "causal": {"is_causal": True},
    "scale": {"scale": 0.3},
    "grouped": {},
    "one_key_head": {"is_causal": True},
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients(name):
    arrays = case("attention", name)
    out, gradients, mask = arrays.pop("out"), arrays.pop("grad"), arrays.pop("mask", None)

    def run(given):
        q, k, v, bias = (given.get(n) for n in ("q", "k", "v", "bias"))
        return nn.dot_product_attention(q, k, v, bias, mask, **FUNCTIONS[name])

    assert_agrees(run, arrays, out, gradients)


def operands(heads=4, kv_heads=4, time=48, depth=16, dtype=np.float32):
    rng = np.random.default_rng(0)
    shapes = [(2, time, n, depth) for n in (heads, kv_heads, kv_heads)]
    return [rng.normal(size=s).astype(dtype) for s in shapes]


RNG = np.random.default_rng(1)
LENGTHS = {
    "query_seq_lengths": np.array([30, 48], np.int32),
    "key_value_seq_lengths": np.array([40, 20], np.int32),
}
OPTIONS = {
    "none": {},
    "mask": {"mask": RNG.random((2, 4, 48, 48)) > 0.3},
    "bias": {"bias": RNG.normal(size=(1, 4, 48, 48)).astype(np.float32), "is_causal": True},
    "lengths": LENGTHS,
    "causal_lengths": {**LENGTHS, "is_causal": True},
    "window": {"local_window_size": (3, 2)},
    "narrow_window": {"local_window_size": 1, "is_causal": True, "scale": 0.5},
}


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("options", OPTIONS)
def test_options_are_as_in_jax(options, kv_heads):
    options = OPTIONS[options]
    q, k, v = operands(kv_heads=kv_heads)
    ours = nn.dot_product_attention(q, k, v, **options, return_residual=True)
    theirs = jax.nn.dot_product_attention(q, k, v, **options, return_residual=True)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-5)
    compiled = jit(lambda *a: nn.dot_product_attention(*a, **options))
    np.testing.assert_allclose(compiled(q, k, v), theirs[0], 1e-4, 1e-5)


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("options", ["none", "mask", "bias", "causal_lengths", "window"])
def test_it_is_one_kernel(options, kv_heads):
    def run(q, k, v):
        return nn.dot_product_attention(q, k, v, **OPTIONS[options])

    def gradients(q, k, v):
        return fst.vjp(run, q, k, v)[1](q)

    arrays = operands(kv_heads=kv_heads)
    for f in (run, gradients):
        compiled = jit(f).lower(*arrays).compile()
        plan = compiled.as_text("plan")
        assert len(re.findall(r"\n  attention \d+: ", plan)) == 1
        made = "\n".join(line.partition("->")[2] for line in plan.splitlines())
        assert "48,48]" not in made
        for a, b in zip(
            fst.tree.leaves(compiled(*arrays)), fst.tree.leaves(f(*arrays)), strict=True
        ):
            np.testing.assert_allclose(a, b, 1e-3, 1e-4)


def test_rows_that_see_nothing_see_all_alike():
    q, k, v = operands(time=5)
    y = nn.dot_product_attention(q, k, v, mask=np.zeros((1, 1, 5, 5), bool))
    np.testing.assert_allclose(y, np.broadcast_to(v.mean(1, keepdims=True), y.shape), 1e-4, 1e-5)


def test_without_batch_and_other_dtypes():
    q, k, v = operands(time=6)
    expected = nn.dot_product_attention(q, k, v)
    alone, residual = nn.dot_product_attention(q[0], k[0], v[0], return_residual=True)
    np.testing.assert_allclose(alone, expected[0], 1e-5, 1e-6)
    assert residual.shape == (6, 4)
    mapped = vmap(nn.dot_product_attention)(q, k, v)
    np.testing.assert_allclose(mapped, expected, 1e-5, 1e-6)
    half = nn.dot_product_attention(*(a.astype(np.float16) for a in (q, k, v)))
    assert half.dtype == np.float16
    np.testing.assert_allclose(half.astype(np.float32), expected, 1e-2, 1e-2)


@pytest.mark.parametrize(
    ("change", "options", "error", "text"),
    [
        (lambda q, k, v: (q, k[:, :3], v), {}, ShapeError, "key and value must have one shape"),
        (lambda q, k, v: (q, k[..., :3], v[..., :3]), {}, ShapeError, "one batch and one depth"),
        (lambda q, k, v: (q[:, :, :3], k, v), {}, ShapeError, "must divide those of queries"),
        (lambda q, k, v: (q.astype("f8"), k, v), {}, DtypeError, "all must have one dtype"),
        (lambda q, k, v: (q[0, 0], k, v), {}, ShapeError, "must have four axes or three"),
        (None, {"mask": np.ones((6, 6))}, DtypeError, "mask must be bool.*go into bias"),
        (
            None,
            {"bias": np.ones((3, 6, 6))},
            ShapeError,
            r"bias must broadcast to shape \(2, 4, 6, 6\), got float64\[3,6,6\]",
        ),
        (None, {"query_seq_lengths": np.ones(3, int)}, ShapeError, "must be 2 integers"),
        (None, {"local_window_size": (-1, 2)}, OptionError, "must not be negative"),
    ],
)
def test_errors(change, options, error, text):
    arrays = operands(time=6)
    with pytest.raises(error, match=text):
        nn.dot_product_attention(*(change(*arrays) if change else arrays), **options)


# The layer


@pytest.mark.parametrize("name", ["multihead", "multihead_of_others"])
def test_the_layer_beside_pytorch(name):
    arrays = case("attention", name)
    out, gradients, mask = arrays.pop("out"), arrays.pop("grad"), arrays.pop("mask")
    layer = nn.MultiheadAttention(2, bias=name == "multihead")
    mask = mask if name == "multihead" else mask[:, None, None]

    def run(given):
        inputs = [given[n] for n in "xyz" if n in given]
        return layer(given["params"], *inputs, mask=mask)

    assert_agrees(run, arrays, out, gradients)


def test_parameters_and_shapes():
    layer = nn.MultiheadAttention(4, kv_heads=2, head_features=3, out_features=5)
    x, y = random.normal(KEY, (2, 6, 8)), random.normal(KEY, (2, 7, 9))
    params, state = layer.init(KEY, x, y)
    assert state == {}
    assert fst.tree.map(lambda p: p.shape, params) == {
        "query": {"kernel": (8, 12), "bias": (12,)},
        "key": {"kernel": (9, 6), "bias": (6,)},
        "value": {"kernel": (9, 6), "bias": (6,)},
        "out": {"kernel": (12, 5), "bias": (5,)},
    }
    assert layer(params, x, y).shape == (2, 6, 5)
    assert layer(params, x[0], y[0]).shape == (6, 5)
    np.testing.assert_allclose(layer(params, x[0], y[0]), layer(params, x, y)[0], 1e-4, 1e-5)


def test_attention_runs_along_time():
    layer = nn.MultiheadAttention(2)
    x = random.normal(KEY, (1, 6, 8))
    params, _ = layer.init(KEY, x)
    before = layer(params, x, is_causal=True)
    after = layer(params, x.at[:, 3].set(0), is_causal=True)
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (np.abs(before - after)[:, 3:].max((0, 2)) > 1e-6).all()


def test_options_reach_attention():
    layer = nn.MultiheadAttention(2)
    x = random.normal(KEY, (2, 6, 8))
    params, _ = layer.init(KEY, x)
    lengths = np.array([3, 6])
    y = layer(params, x, key_value_seq_lengths=lengths, query_seq_lengths=lengths)
    alone = layer(params, x[:1, :3])
    np.testing.assert_allclose(y[:1, :3], alone, 1e-5, 1e-6)
    bias = fnp.where(fnp.arange(6) < 3, 0.0, -1e9)
    np.testing.assert_allclose(layer(params, x, bias=bias)[:1, :3], alone, 1e-5, 1e-6)
    window = layer(params, x, local_window_size=(6, 0))
    np.testing.assert_allclose(window, layer(params, x, is_causal=True), 1e-5, 1e-6)


def test_dropout_of_weights():
    layer = nn.MultiheadAttention(2, dropout=0.5)
    x = random.normal(KEY, (2, 6, 8))
    params, _ = layer.init(KEY, x)
    same = nn.MultiheadAttention(2)(params, x)
    np.testing.assert_array_equal(layer(params, x), same)
    ys = vmap(lambda key: layer(params, x, key=key, train=True))(random.split(KEY, 2000))
    assert not np.allclose(ys[0], ys[1])
    np.testing.assert_allclose(ys.mean(0), same, atol=0.15)
    with pytest.raises(ArgumentError, match="MultiheadAttention: needs random numbers"):
        layer(params, x, train=True)


@pytest.mark.parametrize(
    "rotary", [None, nn.RotaryEncoding(), nn.RotaryEncoding(interleaved=False)]
)
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_decoding_step_by_step_is_causal_attention(kv_heads, rotary):
    layer = nn.MultiheadAttention(4, kv_heads=kv_heads, rotary=rotary)
    x = random.normal(KEY, (2, 9, 16))
    params, cache = layer.init(KEY, x[:, :1], decode=12)
    assert fst.tree.structure(params) == fst.tree.structure(layer.init(KEY, x)[0])
    assert fst.tree.map(lambda c: c.shape, cache) == {
        "keys": (2, 12, kv_heads, 4),
        "values": (2, 12, kv_heads, 4),
        "position": (),
    }
    step = jit(lambda cache, x: layer.apply(params, cache, x, decode=12))
    ys = []
    for part in (x[:, :4], x[:, 4:5], x[:, 5:6], x[:, 6:]):
        y, cache = step(cache, part)
        ys.append(y)
    expected = layer(params, x, is_causal=True)
    np.testing.assert_allclose(fnp.concatenate(ys, 1), expected, 1e-4, 1e-5)
    assert cache["position"] == 9
    y, _ = step(cache, x[:, :4])
    assert np.isnan(y).all()
    y, _ = step(cache, x[:, :3])
    assert np.isfinite(y).all()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda p, x: nn.MultiheadAttention(3)(p, x), OptionError, "3 heads must divide the feat"),
        (lambda p, x: nn.MultiheadAttention(4, kv_heads=3), OptionError, "kv_heads must divide"),
        (lambda p, x: nn.MultiheadAttention(2)(p, x[0, 0]), ShapeError, "all inputs must be"),
        (
            lambda p, x: nn.MultiheadAttention(2).apply(p, {}, x, x, decode=9),
            OptionError,
            "decoding is of an input with itself",
        ),
        (
            lambda p, x: nn.MultiheadAttention(2).init(KEY, x, decode=5),
            ShapeError,
            "6 steps must be within the 5",
        ),
        (
            lambda p, x: nn.MultiheadAttention(2).apply(
                p, nn.MultiheadAttention(2).init(KEY, x, decode=7)[1], x, decode=9
            ),
            ShapeError,
            r"must hold keys of shape \(2, 9, 2, 4\), got float32\[2,7,2,4\]",
        ),
    ],
)
def test_errors_of_the_layer(call, error, text):
    params, _ = nn.MultiheadAttention(2).init(KEY, ShapeDtypeStruct((2, 6, 8), np.float32))
    with pytest.raises(error, match=text):
        call(params, np.ones((2, 6, 8), np.float32))
