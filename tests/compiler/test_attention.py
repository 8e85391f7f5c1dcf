"""Attention in native code, against the NumPy executor, and against JAX."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fstensor as fs
from fstensor import config, jit, lax, random
from fstensor import numpy as fnp
from fstensor.compiler import attention as recognition
from fstensor.compiler import pipeline
from fstensor.compiler.llvm.target import AVX2, AVX512, NEON, SSE2
from tests.compiler.guarded import in_guarded_memory
from tests.tolerances import assert_close

TARGETS = {"avx512": AVX512, "avx2": AVX2, "sse2": SSE2, "neon": NEON}


def numbers(shape, seed=0):
    return in_guarded_memory(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


pytestmark = pytest.mark.usefixtures("guarded_memory")


@pytest.fixture(autouse=True)
def few_scores(monkeypatch):
    """Scores are computed again also where they are so few that it does not pay."""
    monkeypatch.setattr(recognition, "FEWEST_TO_COMPUTE_AGAIN", 0)


def softmax(x, axis=-1):
    e = fnp.exp(x - lax.stop_gradient(fnp.max(x, axis=axis, keepdims=True)))
    return e / fnp.sum(e, axis=axis, keepdims=True)


# The axes of queries, keys and values, of scores, and of results.
LAYOUTS = {
    "bthd": ("nqhc,nkhc->nhqk", "nhqk,nkhc->nqhc"),
    "bhtd": ("nhqc,nhkc->nhqk", "nhqk,nhkc->nhqc"),
    "tbhd": ("qnhc,knhc->nhqk", "nhqk,knhc->qnhc"),
    "bhdt": ("nhcq,nhck->nhqk", "nhqk,nhck->nhcq"),
    "scores in another order": ("nqhc,nkhc->qnhk", "qnhk,nkhc->nqhc"),
}


def attention(layout, change=lambda s: s, normalize=softmax):
    first, second = LAYOUTS[layout]

    def f(q, k, v):
        scores = fnp.einsum(first, q, k) / math.sqrt(16)
        return fnp.einsum(second, normalize(change(scores)), v)

    return f


def operands(layout, n=2, h=3, queries=44, keys=44, depth=16, width=None):
    """Queries, keys and values, with as many axes as the layout says."""
    sizes = {"n": n, "h": h, "q": queries, "k": keys, "c": depth}
    q, k = LAYOUTS[layout][0].split("->")[0].split(",")
    shapes = [[sizes[x] for x in axes] for axes in (q, k, k)]
    if width is not None:
        shapes[2][k.index("c")] = width
    return [numbers(tuple(s), seed) for seed, s in enumerate(shapes)]


def with_gradients(f):
    """A function and its gradients, weighted with numbers that differ."""

    def both(*args):
        out, pull = fs.vjp(f, *args)
        weights = fnp.cos(fnp.arange(out.size, dtype=out.dtype)).reshape(out.shape)
        return out, pull(weights)

    return both


def run(f, *args, executor="llvm", threads=None):
    changes = {"executor": executor} | ({} if threads is None else {"threads": threads})
    with config.override(**changes):
        out = jit(lambda *xs: f(*xs))(*args)
        return [np.array(y) for y in fs.tree.leaves(out)]


def steps(f, *args):
    """How many steps of the program are attention."""
    with config.override(executor="llvm"):
        text = jit(lambda *xs: f(*xs)).lower(*args).as_text("plan")
    return text.count("  attention ")


def arena(f, *args):
    with config.override(executor="llvm"):
        return jit(lambda *xs: f(*xs)).lower(*args).cost_analysis()["arena size"]


def check(f, *args, factor=4.0, expected_steps=1):
    assert steps(f, *args) == expected_steps
    wanted = run(f, *args, executor="numpy")
    for got, want in zip(run(f, *args), wanted, strict=True):
        assert_close(got, want, factor=factor)


# Values and gradients

SIZES = {
    "the model's": {},
    "one vector": {"queries": 16, "keys": 100},
    "many keys": {"queries": 30, "keys": 400, "n": 1},
    "many queries": {"queries": 300, "keys": 64, "n": 1, "h": 2},
    "blocks and rests": {"queries": 131, "keys": 203, "n": 1, "h": 2, "depth": 40},
    "a depth of no vector": {"depth": 5},
    "a depth of one": {"depth": 1},
    "a large depth": {"depth": 130, "queries": 60, "h": 1},
    "values of another depth": {"depth": 24, "width": 11},
    "one entry": {"n": 1, "h": 1, "queries": 90, "keys": 70},
    "one entry in parts": {"n": 1, "h": 1, "queries": 1100, "keys": 70, "depth": 20},
}


@pytest.mark.parametrize("name", SIZES)
def test_forward(name):
    check(attention("bthd"), *operands("bthd", **SIZES[name]))


@pytest.mark.parametrize("name", SIZES)
def test_gradients(name):
    f = with_gradients(attention("bthd"))
    check(f, *operands("bthd", **SIZES[name]), factor=40)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout):
    sizes = {"queries": 50, "keys": 230, "depth": 20}
    check(attention(layout), *operands(layout, **sizes))
    check(with_gradients(attention(layout)), *operands(layout, **sizes), factor=40)


@pytest.mark.parametrize("target", TARGETS)
def test_targets(monkeypatch, target):
    monkeypatch.setattr(pipeline, "host_target", lambda: TARGETS[target])
    for sizes in ({}, {"queries": 77, "keys": 209, "depth": 19, "n": 1}):
        f = with_gradients(attention("bthd", causal))
        check(f, *operands("bthd", **sizes), factor=40)


def test_training_step_has_two_steps():
    """What the backward direction needs of the scores is computed again."""

    def loss(q, k, v):
        return fnp.sum(fnp.sin(attention("bthd")(q, k, v)))

    args = operands("bthd", queries=77, keys=70)
    check(fs.value_and_grad(loss, argnums=(0, 1, 2)), *args, factor=40, expected_steps=2)


def test_few_scores_are_kept(monkeypatch):
    monkeypatch.undo()

    def loss(q, k, v):
        return fnp.sum(fnp.sin(attention("bthd")(q, k, v)))

    args = operands("bthd", queries=77, keys=70)
    check(loss, *args)
    check(fs.grad(loss, argnums=(0, 1, 2)), *args, factor=40, expected_steps=0)


# What may stand between scores and weights


def causal(s):
    row, column = (lax.broadcasted_iota(np.int32, s.shape[-2:], a) for a in (0, 1))
    return fnp.where(row >= column, s, -np.inf)


def lower_triangle(s):
    return fnp.where(fnp.tril(fnp.ones(s.shape[-2:], bool)), s, -1e30)


def some_keys(s):
    """Some keys are left out, and all of them for one query."""
    row, column = (fnp.arange(s.shape[a]) for a in (-2, -1))
    return fnp.where((column % 3 != 1) & (row[:, None] != 7), s, -np.inf)


def distances(s):
    row, column = (fnp.arange(s.shape[a]) for a in (-2, -1))
    slopes = fnp.asarray(np.array([0.5, 0.25, 0.125], np.float32))
    return s - slopes[:, None, None] * fnp.abs(row[:, None] - column)


def capped(s):
    return 3 * fnp.tanh(s / 3)


CHANGES = {f.__name__: f for f in (causal, lower_triangle, some_keys, distances, capped)}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_scores(name):
    for sizes in ({}, {"queries": 120, "keys": 250, "n": 1}):
        args = operands("bthd", **sizes)
        check(attention("bthd", CHANGES[name]), *args)
        f = attention("bthd", CHANGES[name])
        check(with_gradients(f), *args, factor=40)


def test_rows_without_keys_are_nan_as_they_were():
    (out,) = run(attention("bthd", some_keys), *operands("bthd"))
    assert np.isnan(out[:, 7]).all()
    assert np.isfinite(np.delete(out, 7, axis=1)).all()


MASKS = {"keys of an entry": (2, 1, 1, 44), "all": (2, 3, 44, 44), "of scores": (44, 44)}


@pytest.mark.parametrize("name", MASKS)
def test_mask_in_memory(name):
    mask = in_guarded_memory(np.random.default_rng(5).random(MASKS[name]) < 0.7)

    def f(q, k, v, mask):
        return attention("bthd", lambda s: fnp.where(mask, s, -np.inf))(q, k, v)

    args = operands("bthd")
    check(f, *args, mask)
    check(lambda *xs: with_gradients(lambda *ys: f(*ys, xs[3]))(*xs[:3]), *args, mask, factor=40)


@pytest.mark.parametrize("shape", [(44, 44), (3, 44, 44), (2, 1, 44, 44), (3, 44, 1)])
def test_bias_in_memory(shape):
    bias = np.random.default_rng(6).standard_normal(shape).astype(np.float32)
    bias[bias > 1.5] = -np.inf
    args = [*operands("bthd"), in_guarded_memory(bias)]

    def f(q, k, v, bias):
        return attention("bthd", lambda s: s + bias)(q, k, v)

    check(f, *args)
    check(lambda *xs: with_gradients(lambda *ys: f(*ys, xs[3]))(*xs[:3]), *args, factor=40)


def test_infinities_and_nan_stay_where_they_are():
    q, k, v = (np.array(x) for x in operands("bthd"))
    q[0, 3, 1, 2], k[1, 4, 0, 0], v[0, 5, 2, 1] = np.nan, np.inf, -np.inf
    with np.errstate(all="ignore"):
        check(attention("bthd"), *map(in_guarded_memory, (q, k, v)))


def test_dropout():
    key = random.key(3)

    def f(q, k, v):
        def weights(s):
            p = softmax(s)
            return fnp.where(random.bernoulli(key, 0.8, p.shape), p / 0.8, 0)

        return attention("bthd", normalize=weights)(q, k, v)

    check(with_gradients(f), *operands("bthd"), factor=40)


# Other ways to write it


def test_matmul():
    def f(q, k, v):
        return softmax(q @ fnp.swapaxes(k, -1, -2) * 0.25) @ v

    args = operands("bhtd")
    check(f, *args)
    check(with_gradients(f), *args, factor=40)


def test_log_sum_exp():
    def normalize(s):
        top = lax.stop_gradient(fnp.max(s, axis=-1, keepdims=True))
        return fnp.exp(s - top - fnp.log(fnp.sum(fnp.exp(s - top), axis=-1, keepdims=True)))

    f = attention("bthd", normalize=normalize)
    check(f, *operands("bthd"))
    check(with_gradients(f), *operands("bthd"), factor=40)


def test_vmap():
    def one(q, k, v):
        return softmax(q @ k.T * 0.25) @ v

    f = fs.vmap(fs.vmap(one))
    check(f, *operands("bhtd"))
    check(with_gradients(f), *operands("bhtd"), factor=40)
    f = fs.vmap(fs.vmap(one, in_axes=1, out_axes=1))
    check(f, *operands("bthd"))
    check(with_gradients(f), *operands("bthd"), factor=40)


def test_one_head_of_one_entry():
    def f(q, k, v):
        return softmax(q @ k.T) @ v

    args = [numbers((90, 24), s) for s in range(3)]
    check(f, *args)
    check(with_gradients(f), *args, factor=40)


def test_several_heads_share_keys():
    """Queries of several heads look at the same keys."""

    def f(q, k, v):
        scores = fnp.einsum("nqhgc,nkhc->nhgqk", q, k) * 0.25
        return fnp.einsum("nhgqk,nkhc->nqhgc", softmax(scores), v)

    args = numbers((2, 40, 2, 3, 16)), numbers((2, 50, 2, 16), 1), numbers((2, 50, 2, 16), 2)
    check(f, *args)
    wanted = run(with_gradients(f), *args, executor="numpy")
    for got, want in zip(run(with_gradients(f), *args), wanted, strict=True):
        assert_close(got, want, factor=40)


def test_two_layers():
    def f(q, k, v):
        layer = attention("bthd", causal)
        return layer(layer(q, k, v), k, v)

    check(f, *operands("bthd"), expected_steps=2)
    # The second layer is one step in both directions: its cotangent needs no results.
    check(with_gradients(f), *operands("bthd"), factor=40, expected_steps=3)


def test_rematerialization():
    f = fs.checkpoint(attention("bthd"))
    wanted = run(with_gradients(f), *operands("bthd"), executor="numpy")
    for got, want in zip(run(with_gradients(f), *operands("bthd")), wanted, strict=True):
        assert_close(got, want, factor=40)


def test_second_derivative():
    def f(q, k, v):
        def first(q):
            return fnp.sum(fs.grad(lambda q: fnp.sum(fnp.sin(attention("bthd")(q, k, v))))(q) ** 2)

        return fs.grad(first)(q)

    args = operands("bthd")
    wanted = run(f, *args, executor="numpy")
    for got, want in zip(run(f, *args), wanted, strict=True):
        assert_close(got, want, factor=100)


# Against JAX


@pytest.mark.parametrize("is_causal", [False, True])
def test_as_jax(is_causal):
    args = operands("bthd", queries=60, keys=60)

    def ours(q, k, v):
        return fnp.sum(attention("bthd", causal if is_causal else lambda s: s)(q, k, v) ** 2)

    def theirs(q, k, v):
        return jnp.sum(jax.nn.dot_product_attention(q, k, v, is_causal=is_causal) ** 2)

    assert steps(fs.value_and_grad(ours, argnums=(0, 1, 2)), *args) == 2
    got = run(fs.value_and_grad(ours, argnums=(0, 1, 2)), *args)
    want = jax.value_and_grad(theirs, argnums=(0, 1, 2))(*map(np.asarray, args))
    for g, w in zip(got, jax.tree.leaves(want), strict=True):
        assert_close(g, np.asarray(w), factor=40)


# Memory, threads


def test_scores_are_not_stored():
    args = operands("bthd", n=1, h=1, queries=600, keys=600)
    scores = 600 * 600 * 4
    assert arena(attention("bthd"), *args) < scores / 10

    def loss(q, k, v):
        return fnp.sum(attention("bthd", causal)(q, k, v) ** 2)

    f = fs.grad(loss, argnums=(0, 1, 2))
    assert arena(f, *args) < scores / 2
    assert steps(f, *args) == 2


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("sizes", [{"n": 9}, {"n": 1, "h": 1, "queries": 1030}])
def test_threads_do_not_change_results(threads, sizes):
    args = operands("bthd", **{"queries": 130, "keys": 210, "depth": 32} | sizes)
    f = with_gradients(attention("bthd", causal))
    one = run(f, *args, threads=1)
    for got, want in zip(run(f, *args, threads=threads), one, strict=True):
        np.testing.assert_array_equal(got, want)


def test_text():
    args = operands("bthd")
    with config.override(executor="llvm"):
        lowered = jit(attention("bthd")).lower(*args)
        assert lowered.report() == "native: 1 kernels in one call"
        text = lowered.as_text("kernels")
    assert text.startswith("attention batch (2, 3), 44 queries by 44 keys\n")
    assert lowered.cost_analysis()["flops"] >= 4 * 2 * 3 * 44 * 44 * 16


# Where it must not be used


def scores_are_a_result(q, k, v):
    weights = softmax(fnp.einsum("nqhc,nkhc->nhqk", q, k))
    return fnp.einsum("nhqk,nkhc->nqhc", weights, v), weights


def scores_are_summed_over_queries(q, k, v):
    weights = softmax(fnp.einsum("nqhc,nkhc->nhqk", q, k))
    return fnp.einsum("nhqk,nkhc->nqhc", weights, v), fnp.sum(weights, axis=2)


def scores_are_sorted(q, k, v):
    scores = fnp.einsum("nqhc,nkhc->nhqk", q, k)
    return fnp.einsum("nhqk,nkhc->nqhc", softmax(scores), v), fnp.sort(scores)[..., :3]


def scores_are_compared(q, k, v):
    scores = fnp.einsum("nqhc,nkhc->nhqk", q, k)
    return fnp.einsum("nhqk,nkhc->nqhc", softmax(scores), v), fnp.any(scores > 8, axis=-1)


def softmax_over_queries_too(q, k, v):
    scores = fnp.einsum("nqhc,nkhc->nhqk", q, k)
    return fnp.einsum("nhqk,nkhc->nqhc", softmax(scores) + softmax(scores, axis=2), v)


def layer_norm(q, k, v):
    """The products are those of attention, and so is what is between them, but for the function."""
    scores = fnp.einsum("nqhc,nkhc->nhqk", q, k)
    centered = scores - fnp.mean(scores, axis=-1, keepdims=True)
    scale = lax.rsqrt(fnp.mean(centered**2, axis=-1, keepdims=True) + 1e-5)
    return fnp.einsum("nhqk,nkhc->nqhc", centered * scale, v)


def without_values(q, k, v):
    return fnp.sum(softmax(fnp.einsum("nqhc,nkhc->nhqk", q, k)) ** 2, axis=-1)


OTHERS = [
    scores_are_a_result,
    scores_are_summed_over_queries,
    scores_are_sorted,
    scores_are_compared,
    softmax_over_queries_too,
    layer_norm,
    without_values,
]


@pytest.mark.parametrize("f", OTHERS, ids=lambda f: f.__name__)
def test_left_alone(f):
    check(f, *operands("bthd"), expected_steps=0)


@pytest.mark.parametrize(
    "sizes",
    [
        {"depth": 300},
        {"queries": 1},
        {"queries": 11},
        {"queries": 20},
        {"keys": 3},
        {"n": 1, "h": 1},
    ],
)
def test_small_ones_are_left_alone(sizes):
    check(attention("bthd"), *operands("bthd", **sizes), expected_steps=0)


def test_gradient_of_a_bias_needs_all_scores():
    bias = numbers((44, 44), 9)

    def f(bias, q, k, v):
        return fnp.sum(attention("bthd", lambda s: s + bias)(q, k, v) ** 2)

    check(fs.grad(f), bias, *operands("bthd"), factor=40, expected_steps=0)
