"""Reductions in parts, values kept for the next stage, and stores past the caches."""

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.compiler import partial, saving, schedule
from fstensor.compiler.llvm import program
from fstensor.compiler.llvm.target import AVX512, host_target


@pytest.fixture
def small_parts(monkeypatch):
    """Small arrays are cut, too, and shared among threads."""
    for name, value in {
        "_LEAST_WORK": 100, "_LEAST_BYTES": 0, "_LEAST_ELEMENTS": 16, "_LEAST_COLUMNS": 20,
    }.items():  # fmt: skip
        monkeypatch.setattr(partial, name, value)
    for name in ("_WORK_TO_SHARE", "_WORK_TO_WAKE"):
        monkeypatch.setattr(program, name, 1)


def numbers(*shape, dtype=np.float32):
    rng = np.random.default_rng(0)
    return rng.standard_normal(shape).astype(dtype)


def kernels_of(f, *args):
    return fst.jit(f).lower(*args).as_text("kernels")


def softmax(x, axis):
    e = fnp.exp(x - fnp.max(x, axis=axis, keepdims=True))
    return e / fnp.sum(e, axis=axis, keepdims=True)


REDUCTIONS = {
    "sum": lambda x, axis: fnp.sum(x, axis=axis),
    "max": lambda x, axis: fnp.max(x, axis=axis),
    "prod": lambda x, axis: fnp.prod(1 + x / 1000, axis=axis),
    "any": lambda x, axis: fnp.any(x > 3, axis=axis),
    "var": lambda x, axis: fnp.var(x, axis=axis),
    "softmax": softmax,
    "sum everywhere": lambda x, axis: fnp.broadcast_to(fnp.sum(x, axis, keepdims=True), x.shape),
    "sum and square": lambda x, axis: (fnp.sum(x, axis=axis, keepdims=True) + 1, x * x),
    "two sums": lambda x, axis: (fnp.sum(x, axis=axis), fnp.sum(x * x, axis=axis)),
    "of indices": lambda x, axis: fnp.sum(
        fnp.where(fnp.arange(x.shape[-1]) % 3 == 0, x, 0), axis=axis
    ),
}


# Sizes with and without a rest, with few and with many rows.
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((4096,), 0), ((1009,), 0), ((3, 2048), 1), ((7, 1009), 1), ((512, 24), 0), ((331, 37), 0),
     ((5, 97, 24), 1), ((9, 11, 130), (0, 2)), ((600, 3), 0),
     ((2, 3, 2048), (0, 2)), ((2, 5, 300, 24), (0, 2)), ((64, 48), None)],
)  # fmt: skip
@pytest.mark.parametrize("name", REDUCTIONS)
def test_parts_give_the_same(name, shape, axis, small_parts):
    x = numbers(*shape)
    f = REDUCTIONS[name]
    got, expected = fst.jit(lambda x: f(x, axis))(x), f(x.astype(np.float64), axis)
    for a, b in zip(fst.tree.leaves(got), fst.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("size", "length", "at_once"),
    [(128, 16, 4), (136, 17, 1), (126, 18, 3), (105, 21, 3), (154, 22, 2), (175, 25, 5)],
)
def test_several_rows_of_columns_are_added_up_at_once(size, length, at_once, small_parts):
    x = numbers(size, 24)
    for f in (lambda x: fnp.sum(x, axis=0), lambda x: fnp.max(x, axis=0)):
        first = kernels_of(f, x).split("\n\n")[0]
        assert first.startswith(f"map (i0<{size // length} i1<{length // at_once} i2<24)")
        assert first.count("= load") == at_once
        rounding = np.finfo(np.float32).eps * np.abs(x).sum(0).max()  # in whatever order
        np.testing.assert_allclose(fst.jit(f)(x), f(fnp.asarray(x)), 0, rounding)


def test_arguments_of_extrema(small_parts):
    x = numbers(3, 2048)
    x[1, 700] = x[1, 1400] = 9
    got = fst.jit(lambda x: fnp.argmax(x, axis=1))(x)
    np.testing.assert_array_equal(got, np.argmax(x, axis=1))
    x[2, 1999] = np.nan
    assert int(fst.jit(lambda x: fnp.argmax(x, axis=1))(x)[2]) == 1999


@pytest.mark.parametrize("dtype", ["float64", "int32", "uint8", "float16", "bool"])
def test_parts_of_other_dtypes(dtype, small_parts):
    x = (numbers(2, 2051) * 9).astype(dtype)
    got = fst.jit(lambda x: (fnp.sum(x, axis=1), fnp.max(x, axis=1)))(x)
    expected = fnp.sum(x, axis=1), fnp.max(x, axis=1)
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-2 if dtype == "float16" else 1e-12)


def test_results_do_not_depend_on_threads():
    x, y = numbers(1 << 20), numbers(3000, 200)

    def f(x, y):
        return fnp.sum(fnp.sin(x)), fnp.sum(y, axis=0), fnp.var(y), softmax(x, 0)

    assert kernels_of(f, x, y).count("reduce") == 11
    found = []
    for threads in (1, 2, 3):
        with fst.config.override(threads=threads):
            found.append([np.asarray(a) for a in fst.jit(f)(x, y)])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_long_sums_are_exact():
    """A running sum of float32 would stay behind by a percent."""
    # With narrower vectors each lane adds up more elements, whose roundings all go one way here.
    longer = AVX512.vector_bytes // host_target().vector_bytes
    x = np.full((1 << 22, 1), 0.1, np.float32)
    for axis in (None, 0):
        total = fst.jit(lambda x, axis=axis: fnp.sum(x, axis=axis))(x)
        np.testing.assert_allclose(total, x.sum(dtype=np.float64), rtol=5e-6 * longer)
    columns = np.full((1 << 16, 64), 0.1, np.float32)
    total = fst.jit(lambda x: fnp.sum(x, axis=0))(columns)
    np.testing.assert_allclose(total, columns.sum(0, dtype=np.float64), rtol=2e-5)


def test_only_long_ones_are_cut():
    assert "b1[0] = %1" in kernels_of(fnp.sum, numbers(1000))
    assert kernels_of(fnp.sum, numbers(1000)).count("reduce") == 1
    assert kernels_of(fnp.sum, numbers(1 << 20)).count("reduce") == 2
    assert kernels_of(lambda x: fnp.sum(x, axis=1), numbers(1024, 1024)).count("reduce") == 1


# Values that are kept


def schedule_of(f, *args):
    from fstensor.transforms.programs import native_of

    (found,) = native_of(fst.jit(f).lower(*args).jaxpr).pipeline.code.schedules
    return found


def test_exponentials_are_kept_and_sums_are_not():
    found = schedule_of(lambda x: softmax(x, -1), numbers(64, 100))
    assert [found.kernel.instructions[k].op for k in found.kept] == ["exp"]
    assert found.kept_elements == (-(-100 // found.lanes) + 1) * found.lanes
    centered = schedule_of(lambda x: fnp.var(x, axis=-1), numbers(64, 100))
    assert not centered.kept


def test_long_rows_are_not_kept():
    assert not schedule_of(lambda x: softmax(x, -1), numbers(64, 1 << 16)).kept


@pytest.mark.parametrize("axis", [0, 1, (0, 1), (1, 2), 2])
@pytest.mark.parametrize("shape", [(6, 5, 37), (3, 64, 100), (2, 3, 1)])
def test_kept_values_are_those_computed(shape, axis, monkeypatch):
    x = numbers(*shape)

    def f(x):
        s = softmax(x, axis)
        return s, s - fnp.mean(s / (1 + x * x), axis=axis, keepdims=True)

    kept = fst.jit(f)(x)
    monkeypatch.setattr(saving, "_MOST_BYTES", 0)
    again = fst.jit(lambda x: f(x))(x)
    for a, b in zip(kept, again, strict=True):
        np.testing.assert_array_equal(a, b)


# Stores past the caches


def test_large_results_go_past_the_caches(monkeypatch):
    monkeypatch.setattr(schedule, "_LARGEST_CACHE", 1 << 18)
    monkeypatch.setattr(schedule, "_LEAST_STREAMED", 1 << 16)
    x = numbers(100_003)

    def f(x):
        return 2 * x, fnp.exp(x)

    lowered = fst.jit(f).lower(x)
    assert "!nontemporal" in lowered.as_text("llvm")
    double, e = lowered.compile()(x)
    np.testing.assert_array_equal(double, 2 * x)
    np.testing.assert_allclose(e, np.exp(x), rtol=1e-6)


def test_rows_that_are_not_aligned_do_not(monkeypatch):
    """In a loop, results are rows of arrays."""
    monkeypatch.setattr(schedule, "_LARGEST_CACHE", 1 << 12)
    monkeypatch.setattr(schedule, "_LEAST_STREAMED", 1 << 10)
    x = numbers(2053)
    carry, rows = fst.jit(lambda x: fst.lax.scan(lambda c, _: (c + 1, c * 2), x, None, length=3))(x)
    np.testing.assert_array_equal(carry, x + 1 + 1 + 1)
    np.testing.assert_array_equal(rows, [x * 2, (x + 1) * 2, (x + 1 + 1) * 2])


@pytest.mark.parametrize("columns", [1000, 1003, 1008, 136, 13])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_any_length_go_past_the_caches(columns, dtype, monkeypatch):
    """Their first and last elements do not, where they share a line with other rows."""
    monkeypatch.setattr(schedule, "_LARGEST_CACHE", 1 << 14)
    monkeypatch.setattr(schedule, "_LEAST_STREAMED", 1 << 12)
    x, bias = numbers(3, 41, columns, dtype=dtype), numbers(columns, dtype=dtype)

    def f(x, bias):
        return softmax(x, -1), 2 * x + bias, fnp.sum(x, axis=-1)

    lowered = fst.jit(f).lower(x, bias)
    assert ("!nontemporal" in lowered.as_text("llvm")) == (columns > 13)
    for a, b in zip(lowered.compile()(x, bias), f(x, bias), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_small_results_do_not():
    assert "!nontemporal" not in fst.jit(lambda x: 2 * x).lower(numbers(1000)).as_text("llvm")
