"""Kernels that read the same are one; so are those of scalars, and sums of columns with rows."""

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.compiler import partial


def numbers(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def kernels_of(f, *args):
    return fst.jit(f).lower(*args).as_text("kernels").split("\n\n")


def compare(f, *args):
    with fst.config.override(executor="numpy"):
        expected = fst.jit(lambda *a: f(*a))(*args)
    got = fst.jit(f)(*args)
    for a, b in zip(fst.tree.leaves(got), fst.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


# Neighbors


def test_reductions_and_maps_of_one_array_are_one_kernel():
    def f(x):
        return fnp.sum(x, axis=1), fnp.max(x, axis=1), fnp.tanh(x)

    assert len(kernels_of(f, numbers(20, 30))) == 1
    compare(f, numbers(20, 30))


def test_sums_along_other_axes_are_not():
    def f(x):
        return fnp.sum(x, axis=0), fnp.sum(x, axis=1), fnp.sin(x)

    assert len(kernels_of(f, numbers(20, 30))) == 2  # the map goes with the rows
    compare(f, numbers(20, 30))


def test_what_one_needs_of_the_other_comes_first():
    """The second sum needs the first, through a product that is no kernel."""

    def f(x, w):
        y = (fnp.sum(x, axis=0) @ w) * x
        return fnp.sum(y, axis=1), fnp.max(x, axis=1), fnp.sum(x, axis=0)

    compare(f, numbers(20, 30), numbers(30, 30))


def test_maps_of_different_arrays_stay_apart():
    assert len(kernels_of(lambda x, y: (x + 1, y + 1), numbers(64), numbers(64))) == 2


def test_scalars_are_computed_in_one_kernel():
    def f(count, rate, a, b):
        count = count + 1
        first = 1 - 0.9 ** count.astype(np.float32)
        second = 1 - 0.999 ** count.astype(np.float32)
        return count, rate * fnp.sqrt(second) / first, fnp.minimum(a, 1.0), fnp.exp(b) * 2

    args = np.int32(3), np.float32(0.1), np.float32(2), np.float32(0.5)
    assert len(kernels_of(f, *args)) == 1
    compare(f, *args)


def test_scalars_that_wait_for_others():
    def f(a, x):
        scale = fnp.sin(a)
        total = fnp.sum(x * scale)
        return total, fnp.cos(a) * total, fnp.exp(a), fnp.sqrt(fnp.abs(total)) + scale

    compare(f, np.float32(0.3), numbers(50))


# Sums of columns


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(partial, "_LEAST_BYTES", 0)
    monkeypatch.setattr(partial, "_LEAST_ELEMENTS", 16)


def layer_norm(x, scale, shift):
    centered = x - fnp.mean(x, axis=-1, keepdims=True)
    variance = fnp.mean(centered * centered, axis=-1, keepdims=True)
    return centered / fnp.sqrt(variance + 1e-5) * scale + shift


def pulled(x, scale, shift, ct):
    out, pull = fst.vjp(layer_norm, x, scale, shift)
    return out, pull(ct)


@pytest.mark.parametrize("rows", [64, 96, 63 * 5, 101])
@pytest.mark.parametrize("columns", [64, 100])
def test_the_gradient_of_a_layer_norm(rows, columns, small_parts):
    args = numbers(rows, columns), numbers(columns), numbers(columns), numbers(rows, columns) + 1
    compare(pulled, *args)


def test_it_is_one_pass(small_parts):
    args = numbers(64, 100), numbers(100), numbers(100), numbers(64, 100)
    first, *rest = kernels_of(pulled, *args)
    assert first.count("add along") == 2
    assert all("inner (i1<4)" in k for k in rest)  # the chunks' sums made one
    assert fst.jit(pulled).lower(*args).as_text("plan").count("f32[64,100]") == 4


def test_sums_of_what_is_a_result_too(small_parts):
    def f(x):
        y = x - fnp.max(x, axis=1, keepdims=True)
        return y, fnp.sum(y, axis=0), fnp.max(fnp.abs(x), axis=0)

    assert any(k.startswith("rows") and "along" in k for k in kernels_of(f, numbers(64, 100)))
    compare(f, numbers(64, 100))


def test_rows_that_need_the_sums(small_parts):
    def f(x):
        y = x - fnp.sum(x, axis=0)
        return y / fnp.sum(y * y, axis=1, keepdims=True), fnp.sum(x * x, axis=0)

    compare(f, numbers(64, 100))


def test_sums_of_the_rows_results(small_parts):
    def f(x, y):
        e = fnp.exp(x) / fnp.sum(fnp.exp(x), axis=1, keepdims=True)
        return fnp.sum(e * y, axis=0), fnp.sum(e + y, axis=0), fnp.sum(y.T[:, ::-1], axis=1)

    compare(f, numbers(64, 100), numbers(64, 100))


# Functions of one value


def relu_with_slope(x):
    return fnp.maximum(x, 0), fnp.where(x > 0, 1.0, fnp.where(x == 0, 0.5, 0.0))


def test_the_value_is_kept_instead_of_its_functions():
    def f(x, w, y):
        h = x @ w
        out, slope = relu_with_slope(h)
        pooled = fnp.max(out.reshape(10, 2, 30), axis=1)
        return pooled, fnp.sum(slope[::2] * y, axis=0)

    args = numbers(20, 8), numbers(8, 30), numbers(10, 30)
    product = kernels_of(f, *args)[0]
    assert product.startswith("product")
    assert product.count("\n  b") == 1  # one result in memory
    compare(f, *args)


@pytest.mark.parametrize(
    "use",
    [
        lambda out, slope: (out, fnp.sum(slope, axis=0)),
        lambda out, slope: (out @ numbers(30, 4), fnp.sum(slope, axis=0)),
        lambda out, slope: (fnp.sort(out, axis=0), fnp.sum(slope, axis=0)),
        lambda out, slope: (fnp.cumsum(out, axis=1), fnp.sum(slope, axis=0)),
        lambda out, slope: (out[fnp.array([3, 1])], slope[fnp.array([0, 2])] * 2),
        lambda out, slope: (fnp.pad(out, 1), fnp.flip(slope, 0) + 1),
        lambda out, slope: (out.reshape(30, 20).T.sum(0), slope.T.reshape(-1) * 3),
        lambda out, slope: (fnp.concatenate([out, slope]), slope.sum(1)),
    ],
)
def test_functions_that_others_read_from_memory(use):
    compare(lambda x, w: use(*relu_with_slope(x @ w)), numbers(20, 8), numbers(8, 30))


@pytest.mark.parametrize(("size", "stride", "padding"), [(2, 2, "VALID"), (3, 2, "SAME")])
@pytest.mark.parametrize("channels", [1, 20])
def test_the_gradient_of_relu_and_max_pool(channels, size, stride, padding):
    def loss(x, w):
        h = fst.lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        window, strides = (1, size, size, 1), (1, stride, stride, 1)
        pooled = fst.lax.reduce_window(
            fnp.maximum(h, 0), -np.inf, fst.lax.max, window, strides, padding
        )
        return fnp.mean(pooled**2)

    args = numbers(2, 9, 9, 3), numbers(3, 3, 3, channels)
    compare(fst.value_and_grad(loss, (0, 1)), *args)
