"""Operations that move elements about, as native code: against the NumPy executor."""

import ml_dtypes
import numpy as np
import pytest

import fstensor.numpy as fnp
from fstensor import config, grad, lax, make_jaxpr, vmap
from fstensor.compiler.native import Native
from fstensor.compiler.numpy_executor import Program
from fstensor.compiler.pipeline import Pipeline
from fstensor.compiler.scatter import ScatterStep
from fstensor.compiler.simplify import simplify
from fstensor.compiler.steps import HostStep

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [np.dtype(d) for d in ("bool", "int8", "int32", "uint64", "float16", "f4", "f8")]
DTYPES.append(BFLOAT16)
MODES = ["clip", "fill", "promise_in_bounds"]


def compiled(f, *args):
    return Pipeline(simplify(make_jaxpr(f)(*args)))


def hosts(native):
    return [s.eqn.primitive.name for s in native.steps if isinstance(s, HostStep)]


def both(f, *args):
    """The results of a program as native code, and those of the NumPy executor."""
    closed = make_jaxpr(f)(*args)
    args = list(map(np.asarray, args))
    found = Program(closed, lambda source: Native(source).result).run(np, args)
    with np.errstate(all="ignore"):
        return found, Program(closed).run(np, args)


def check(f, *args, tolerance=None):
    """That a program runs without the host, and gives what the NumPy executor gives."""
    assert hosts(compiled(f, *args)) == []
    check_values(f, *args, tolerance=tolerance)


def check_values(f, *args, tolerance=None):
    for got, expected in zip(*both(f, *args), strict=True):
        assert got.dtype == expected.dtype
        assert got.shape == expected.shape
        if tolerance is None:
            np.testing.assert_array_equal(plain(got), plain(expected))
        else:
            np.testing.assert_allclose(plain(got), plain(expected), tolerance, tolerance)


def plain(x):
    return x.astype(np.float32) if x.dtype == BFLOAT16 else x


def numbers(shape, dtype="f4", seed=0):
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "b":
        return np.asarray(random.random(shape) < 0.5)
    return np.asarray(random.integers(0, 100, shape), dtype)


def places(shape, low, high, dtype="int32", seed=1):
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


# Gathers


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_lookup_of_rows(dtype, mode):
    low, high = (0, 9) if mode == "promise_in_bounds" else (-3, 12)
    x, i = numbers((9, 37), dtype), places((4, 3), low, high)
    check(lambda x, i: fnp.take(x, i, axis=0, mode=mode), x, i)
    check(lambda x, i: fnp.take(x, i, axis=1, mode=mode), x, i)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint64"])
def test_dtypes_of_indices(dtype):
    x, i = numbers((9, 5)), places(6, 0, 9, dtype)
    check(lambda x, i: x[i] * 2, x, i)


def test_rows_are_loaded_as_vectors():
    x, i = numbers((50, 64)), places(7, 0, 50)
    native = compiled(lambda x, i: x[i], x, i)
    assert "masked.gather" not in native.code.llvm
    assert "load <" in native.code.llvm


def test_indices_are_computed_where_they_are_read():
    x, i = numbers((6, 40)), places(6, -6, 6)
    for f in (lambda x, i: x[i], lambda x, i: x[fnp.arange(6), i], lambda x, i: x[i, (i + 1) * 2]):
        assert len(compiled(f, x, i).steps) == 1
        check(f, x, i)
    assert len(compiled(lambda x, i: x.at[i, i + 2].add(x[:, 0] * 2), x, i).steps) == 2


GATHERS = {
    "labels": lambda x, i: x[fnp.arange(6), i],
    "column": lambda x, i: x[:, i],
    "scalar": lambda x, i: x[i[0]],
    "two": lambda x, i: x[i[0], i[1]],
    "mixed": lambda x, i: x[i, ::2, None] + 1,
    "both": lambda x, i: x[i[:3, None], i[None, 3:]],
    "reversed": lambda x, i: x[::-1][i],
    "transposed": lambda x, i: x.T[i],
    "reshaped": lambda x, i: x.reshape(-1)[i * 2],
    "of an iota": lambda x, i: fnp.arange(9)[i] * x[0, 0],
    "of a sum": lambda x, i: (x + x)[i] - x[i],
    "by computed": lambda x, i: x[(i * 5) % 6],
    "along": lambda x, i: fnp.take_along_axis(x, i[:, None], 1),
    "batch": lambda x, i: vmap(lambda row, k: row[k])(x, i),
    "batch of slices": lambda x, i: vmap(lambda row, k: lax.dynamic_slice(row, (k,), (1,)))(x, i),
    "slice": lambda x, i: lax.dynamic_slice(x, (i[0], 2), (3, 1)),
    "nested": lambda x, i: x[i][i],
}


@pytest.mark.parametrize("name", GATHERS)
@pytest.mark.parametrize("width", [1, 9, 40])
def test_gathers(name, width):
    x = numbers((6, width))
    check(GATHERS[name], x, places(6, 0, min(6, width)))


def test_boxes_with_windows_on_indexed_axes():
    x, i = numbers((7, 11, 19)), places((5, 2), -2, 12)
    for mode in MODES[:2]:
        gather = lax.GatherDimensionNumbers((0, 2), (0,), (2, 0))
        check(lambda x, i, m=mode, g=gather: lax.gather(x, i, g, (1, 11, 6), mode=m), x, i)


def test_batching_axes():
    x, i = numbers((7, 4, 9)), places((4, 3, 1), -2, 12)
    gather = lax.GatherDimensionNumbers((2,), (0,), (0,), (1,), (0,))
    for mode, fill in (("clip", None), ("fill", 5.0), ("fill", None)):
        check(
            lambda x, i, m=mode, v=fill: lax.gather(x, i, gather, (1, 1, 9), mode=m, fill_value=v),
            x,
            i,
        )


# Padding and joining


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "padding",
    [
        ((1, 2, 0), (3, 0, 0)),
        ((0, 0, 0), (17, 5, 0)),
        ((-1, 2, 0), (4, -3, 0)),
        ((-2, -1, 0), (0, -1, 0)),
        ((1, 0, 2), (-1, 3, 1)),
        ((-4, 0, 1), (-3, -3, 3)),
        ((-9, 9, 1), (0, 0, 0)),
        ((9, -9, 0), (0, 0, 0)),
    ],
    ids=str,
)
def test_pad(padding, dtype):
    x, value = numbers((5, 33), dtype), numbers((), dtype)
    check(lambda x, value: lax.pad(x, value, padding), x, value)


def test_padding_is_computed_with_what_follows():
    x = numbers((5, 33))
    native = compiled(lambda x: lax.pad(x, 0.0, ((1, 1, 0), (2, 2, 0))) * 2 + 1, x)
    assert len(native.steps) == 1
    check(lambda x: lax.pad(x + 1, 0.0, ((1, 1, 0), (2, 2, 0))) * 2 + x[0, 0], x)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("count", [2, 3, 4, 5, 9])
def test_concatenate(count, axis, dtype):
    x = numbers((6, 35), dtype)
    parts = [lambda x, k=k: lax.slice_in_dim(x, 0, 1 + k % 3, axis=axis) for k in range(count)]
    check(lambda x: fnp.concatenate([part(x) for part in parts], axis), x)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("count", [2, 3, 5, 8, 9])
def test_elements_in_turn(count, dtype):
    for width in (1, 7, 16, 70, 200):
        x = numbers((3, width), dtype)
        check(lambda x: fnp.stack([x[::-1] if k % 2 else x for k in range(count)], -1), x)


def test_cheap_parts_are_computed_where_they_are_read():
    x = numbers((6, 40))
    f = lambda x: fnp.concatenate([-x[:, 20:], x[:, :20] * x[0, 1] + 1], 1) * x
    assert len(compiled(f, x).steps) == 1
    check(f, x)
    check(lambda x: lax.pad(x[:, 1:] * x[:, :-1], 0.0, ((1, 1, 0), (1, 0, 0))) - x[0, 0], x)
    check(lambda x: fnp.concatenate([fnp.sin(x), (x * 2).T.reshape(6, 40)], 0), x, tolerance=1e-6)
    check(lambda x: fnp.concatenate([(x * 2).reshape(40, 6)[:6], x], 1), x)
    check(lambda x, i: x[(i * 2).reshape(3, 2)], x, places(6, 0, 3))
    check(lambda x, i: x[(i * 2)[:, None] + i], x, places(6, 0, 2))
    check(lambda x, i: x[(i * 2).reshape(2, 3).T.reshape(6)], x, places(6, 0, 3))
    check(lambda x: fnp.pad((x * 2).T.reshape(-1), 3), x)
    # A divisor that does not exist is not divided by.
    y = numbers((6, 40), "int32") + 1
    check(lambda y: lax.pad(100 // y, 0, ((3, 1, 0), (1, 0, 0))), y)


def test_parts_may_be_of_any_kind():
    x = numbers((6, 35))
    check(lambda x: fnp.concatenate([x * 2, fnp.zeros((6, 3), x.dtype), x[::-1]], 1) + 1, x)
    check(lambda x: fnp.concatenate([fnp.arange(35.0)[None], x, fnp.ones((9, 35))], 0), x)
    check(lambda x: fnp.stack([x * k for k in range(7)] + [fnp.ones_like(x)], 1).sum(1), x)


def test_a_part_does_not_give_its_place_to_the_whole():
    # What is joined is larger than its parts, though the first begins at the same place.
    x = numbers((6, 35))
    check(lambda x: fnp.concatenate([fnp.sin(x), x], 0) * 2, x, tolerance=1e-6)
    check(lambda x: fnp.concatenate([fnp.sin(x)] * 6, 0) * 2, x, tolerance=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_split(axis):
    x = numbers((6, 35))
    native = compiled(lambda x: [p * 2 for p in fnp.split(x, [2, 3], axis)], x)
    assert hosts(native) == []
    check(lambda x: fnp.split(x * 2, [1, 4], axis), x)
    check(lambda x: [p.sum() for p in fnp.split(x, [2, 3], axis)], x)


def test_memory_behind_an_operand_is_not_touched():
    # With a condition that holds nowhere the address is far outside.
    x = numbers((1, 16))
    check(lambda x: lax.pad(x, 0.0, ((0, 0, 0), (1 << 20, 0, 0))), x)
    check(lambda x: fnp.concatenate([fnp.zeros((1 << 10, 16), x.dtype), x], 0), x)


# Scatters


@pytest.mark.parametrize("mode", [None, "clip", "drop", "promise_in_bounds"])
@pytest.mark.parametrize("method", ["set", "add", "subtract", "multiply", "min", "max"])
def test_scatter(method, mode):
    low, high = (0, 9) if mode == "promise_in_bounds" else (-12, 14)
    x, i, u = numbers((9, 37)), places((4, 3), low, high), numbers((4, 3, 37), seed=2)
    j = places((4, 3), 0, 37, seed=3)
    check(lambda x, i, u: getattr(x.at[i], method)(u, mode=mode), x, i, u)
    check(lambda x, i, j, u: getattr(x.at[i, j], method)(u[..., 0], mode=mode), x, i, j, u)
    check(lambda x, i: getattr(x.at[i], method)(2.0, mode=mode), x, i)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_scatter_of_dtypes(dtype):
    x, i, u = numbers((9, 37), dtype), places(20, 0, 9), numbers((20, 37), dtype, 2)
    methods = ["set", "add", "multiply", "min", "max"]
    for method in methods if dtype.kind != "b" else ["set", "min", "max"]:
        check(lambda x, i, u, m=method: getattr(x.at[i], m)(u), x, i, u)
        check(lambda x, i, u, m=method: getattr(x.at[i, i], m)(u[:, 0]), x, i, u)


def test_scatter_of_nans():
    x = np.asarray([1, np.nan, 3, 4, np.inf], np.float32)
    i, u = np.asarray([0, 1, 2, 2, 3]), np.asarray([np.nan, 1, 2, np.nan, 5], np.float32)
    for method in ("min", "max", "add", "multiply"):
        check(lambda x, i, u, m=method: getattr(x.at[i], m)(u), x, i, u)


def test_overlapping_boxes_are_written_in_order():
    x, i, u = numbers((9, 37)), places((6, 2), -1, 8), numbers((6, 5, 4), seed=2)
    dims = lax.ScatterDimensionNumbers((1, 2), (), (1, 0))
    for function in (lax.scatter, lax.scatter_add, lax.scatter_mul, lax.scatter_max):
        for mode in ("clip", "drop"):
            check(lambda x, i, u, f=function, m=mode: f(x, i, u, dims, mode=m), x, i, u)


def test_scatter_along_batching_axes():
    x, i, u = numbers((7, 4, 9)), places((4, 3, 1), -2, 9), numbers((4, 3, 9), seed=2)
    dims = lax.ScatterDimensionNumbers((2,), (0,), (0,), (1,), (0,))
    check(lambda x, i, u: lax.scatter_add(x, i, u, dims), x, i, u)
    check(lambda x, i, u: vmap(lambda a, k, b: a.at[k].add(b), (1, 0, 0))(x, i[..., 0], u), x, i, u)


UPDATES = {
    "zeros": lambda x, i: fnp.zeros_like(x).at[i].add(x[:6]),
    "counts": lambda x, i: fnp.zeros(9, fnp.int32).at[i].add(1),
    "of a view": lambda x, i: x.T.at[i].set(1.0),
    "of a reshaped view": lambda x, i: x.reshape(-1, 9).at[i].set(x[:, 0]),
    "of an iota": lambda x, i: fnp.arange(9).at[i].set(3),
    "of itself": lambda x, i: x.at[i].set(x[i[::-1]] * 2),
    "twice": lambda x, i: x.at[i].add(1.0).at[i + 1].multiply(2.0) - x,
    "used again": lambda x, i: (lambda y: (y.at[i].set(0.0), y * 2))(x + 1),
    "whole": lambda x, i: x.at[...].set(x * 2),
    "rows": lambda x, i: x.at[2:7:2].add(x[:3]),
    "one": lambda x, i: x.at[i[0], i[1]].set(5.0),
    "slice": lambda x, i: lax.dynamic_update_slice(x, x[:3, :5] * 2, (i[0], i[1])),
    "slice outside": lambda x, i: lax.dynamic_update_slice(x, x[:8, :5], (i[0], i[1])),
    "slice in place": lambda x, i: lax.dynamic_update_slice(x + 1, x[:2], (i[0], 0)) * 2,
    "batch of slices": lambda x, i: vmap(
        lambda row, k: lax.dynamic_update_slice(row, row[:2] * 2, (k,))
    )(x[:6], i),
    "gradient of a lookup": lambda x, i: grad(lambda x: (x[i] ** 2).sum())(x),
    "gradient of labels": lambda x, i: grad(lambda x: x[fnp.arange(6), i].sum())(x),
    "gradient of a slice": lambda x, i: grad(lambda x: (x[1:5, ::3] ** 2).sum())(x),
}


@pytest.mark.parametrize("name", UPDATES)
def test_updates(name):
    check(UPDATES[name], numbers((9, 37)), places(6, 0, 9))


def test_an_operand_that_dies_is_changed_in_place():
    x, i = numbers((9, 37)), places(6, 0, 9)
    native = compiled(lambda x, i: fnp.sqrt((x + 1).at[i].add(1.0)), x, i)
    (segment,) = native.parts
    step = next(s for s in segment.steps if isinstance(s, ScatterStep))
    first = segment.steps[0].writes[0]
    at = {segment.places[v] for s in segment.steps[:-1] for v in s.writes if v.aval.ndim == 2}
    assert step.writes[0] in segment.places
    assert segment.places[first] in at
    assert len(at) == 1


def test_zeros_are_not_made_twice():
    x, i = numbers((9, 37)), places(6, 0, 9)
    native = compiled(lambda x, i: fnp.zeros((9, 37)).at[i].add(x[:6]), x, i)
    assert sum(v.aval.shape == (9, 37) for s in native.steps for v in s.writes) == 2
    (segment,) = native.parts
    assert segment.scratch <= 64 + i.nbytes


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads(threads):
    x, i = numbers((300, 515)), places(2000, 0, 300)
    u, j = numbers((2000, 515), seed=3), places(2000, 0, 515)
    with config.override(threads=threads):
        check_values(lambda x, i, u: x.at[i].add(u), x, i, u)
        check_values(lambda x, i, u: x.at[i].set(u) * 2, x, i, u)
        check_values(lambda x, i, u: x.at[i, 3:400].add(u[:, 3:400]), x, i, u)
        check_values(lambda x, i, j: x.at[i, j].add(1.0), x, i, j)
        check_values(lambda x, i: x[i] + 1, x, i)
        check_values(lambda x: lax.pad(x, 1.0, ((1, 2, 1), (3, 4, 0))), x)
        check_values(lambda x: fnp.concatenate([x, x * 2, x, x + 1, x], 1), x)
        check_values(lambda x: fnp.concatenate([x, x * 2], 0), x)
        check_values(lambda x: fnp.cumsum(x, 0), x)
        check_values(lambda x: fnp.cumsum(x, 1), x)
        check_values(lambda x: fnp.argmax(x, 0), x)
        three = numbers((8, 100, 64))
        k = places((8, 200, 1), 0, 100)
        check_values(
            lambda x, i, u: vmap(lambda a, b, c: a.at[b[:, 0]].add(c))(x, i, u),
            three,
            k,
            numbers((8, 200, 64)),
        )


# Scans and extrema


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_scans(dtype, axis, reverse):
    x = numbers((4, 1, 19), dtype) if axis == 1 else numbers((3, 5, 19), dtype)
    for scan in (lax.cummax, lax.cummin):
        check(lambda x, f=scan: f(x, axis, reverse), x)
    if dtype.kind != "b":
        check(lambda x: lax.cumsum(x, axis, reverse), x)
        check(lambda x: lax.cumprod(x, axis, reverse), x)
    if dtype in (np.float32, np.float64):
        y = x / 10 - 4
        check(lambda x: lax.cumlogsumexp(x, axis, reverse), y, tolerance=1e-5)


def test_scans_of_special_numbers():
    x = np.asarray([[-np.inf, 1], [-np.inf, np.inf], [0, np.inf], [np.nan, 2], [1, 1]], np.float32)
    check(lambda x: lax.cumlogsumexp(x, 0), x, tolerance=1e-6)
    check(lambda x: lax.cummax(x, 0), x)
    check(lambda x: lax.cummin(x, 0, True), x)
    check(lambda x: lax.cumsum(-x * 0, 1), x)


def test_scans_are_computed_with_what_is_beside_them():
    x = numbers((5, 19))
    native = compiled(lambda x: fnp.cumsum(x * 2, 0) / 3, x)
    assert len(native.steps) == 1
    check(lambda x: fnp.cumsum(fnp.cumsum(x / x.sum(0), 0) + 1, 0), x)
    check(lambda x: fnp.cumsum(x, 0).max(0) + fnp.cumsum(x * 2, 0), x)
    check(lambda x: grad(lambda x: (fnp.cumsum(x, 1) ** 2).sum())(x), x)


@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_extrema(dtype, axis):
    x = numbers((7, 41), dtype)
    check(lambda x: (fnp.argmax(x, axis), fnp.argmin(x, axis)), x)
    check(lambda x: lax.argmax(x[:, :1], 1, np.int8), x)


def test_extrema_of_special_numbers():
    x = numbers((4, 41))
    x[0, 5] = x[0, 20] = np.nan
    x[1] = np.inf
    x[2] = -np.inf
    x[3, :2] = 1000, 1000
    check(lambda x: (fnp.argmax(x, 1), fnp.argmin(x, 1), fnp.argmax(x * 2, 1) + x.max(1)), x)


# What else needs no host

FUNCTIONS = {
    "one_hot": lambda x, i: (i[:, None] == fnp.arange(50)).astype(x.dtype),
    "where": lambda x, i: fnp.where(x > 3, x, 0.0),
    "reverse": lambda x, i: x[::-1, ::2],
    "flip": lambda x, i: fnp.flip(x),
    "roll": lambda x, i: fnp.roll(x, (2, -3), (0, 1)),
    "roll by": lambda x, i: fnp.roll(x, i[0], 1),
    "tile": lambda x, i: fnp.tile(x, (2, 3)),
    "repeat": lambda x, i: fnp.repeat(x, 3, 0),
    "repeat each": lambda x, i: fnp.repeat(x, np.arange(9), 0, total_repeat_length=36),
    "stack": lambda x, i: fnp.stack([x, x + 1, x * 2], -1),
    "hstack": lambda x, i: fnp.hstack([x] * 12),
    "eye": lambda x, i: fnp.eye(9, 37) * x,
    "tril": lambda x, i: fnp.tril(x) - fnp.triu(x, 2),
    "diag": lambda x, i: fnp.diag(x[:, :9]),
    "diag of": lambda x, i: fnp.diag(x[0]),
    "diff": lambda x, i: fnp.diff(x, axis=1),
    "pad": lambda x, i: fnp.pad(x, ((1, 2), (0, 3))),
    "pad reflect": lambda x, i: fnp.pad(x, 3, mode="reflect"),
    "pad edge": lambda x, i: fnp.pad(x, 3, mode="edge"),
    "rotate": lambda x, i: fnp.concatenate([-x[:, 18:36], x[:, :18]], 1) * x[:, :36],
    "bincount": lambda x, i: fnp.bincount(i, length=9),
    "digitize": lambda x, i: fnp.digitize(x, np.asarray([0.0, 20, 50], np.float32)),
    "select": lambda x, i: fnp.select([x > 50, x > 20], [x, x * 2], 0.0),
    "choose": lambda x, i: fnp.choose(i[:, None] % 2, [x[:6], x[:6] * 2], mode="clip"),
    "meshgrid": lambda x, i: fnp.stack(fnp.meshgrid(x[0], x[1]), 0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    check(FUNCTIONS[name], numbers((9, 37)), places(6, 0, 9))


def test_empty_arrays():
    x, none = numbers((6, 35)), np.zeros(0, np.int32)
    check_values(lambda x, i: x[i], x, none)
    check_values(lambda x, i: x.at[i].add(1.0), x, none)
    check_values(lambda x: fnp.concatenate([x[:0], x, x[:, :35]], 0), x)
    check_values(lambda x: fnp.split(x, [0, 6], 0), x)
    check_values(lambda x: fnp.cumsum(x[:0], 1), x)
    check_values(lambda x: lax.pad(x[:0], 1.0, ((2, 1, 0), (0, 0, 0))), x)
