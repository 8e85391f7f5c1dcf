"""One element of each row, read and written without gathers of whole arrays."""

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp

N, M = 7, 23


def numbers(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


LABELS = np.array([3, 0, 22, -1, 5, 5, -23], np.int32)


def indexed(x, labels):
    return x[fnp.arange(N), labels]


def along(x, labels):
    return fnp.take_along_axis(x, labels[:, None], axis=1)[:, 0]


def log_likelihood(pick):
    def f(x, labels):
        shifted = x - fst.lax.stop_gradient(fnp.max(x, axis=1, keepdims=True))
        return fnp.sum(pick(shifted, labels) - fnp.log(fnp.sum(fnp.exp(shifted), axis=1)))

    return f


def without_compiling(f, *args):
    with fst.config.override(executor="numpy"):
        return fst.jit(lambda *a: f(*a))(*args)


def compare(f, *args):
    for a, b in zip(
        fst.tree.leaves(fst.jit(f)(*args)),
        fst.tree.leaves(without_compiling(f, *args)),
        strict=True,
    ):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pick", [indexed, along])
@pytest.mark.parametrize("dtype", ["int32", "int64", "int8"])
def test_losses_and_gradients(pick, dtype):
    compare(fst.value_and_grad(log_likelihood(pick)), numbers(N, M), LABELS.astype(dtype))


@pytest.mark.parametrize("pick", [indexed, along])
def test_labels_that_are_no_index(pick):
    """What is outside is read and dropped as ever."""
    labels = np.array([3, 23, 100, -24, -100, 5, 0], np.int32)
    x = numbers(N, M)
    compare(lambda x, labels: pick(fnp.exp(x) + x, labels), x, labels)
    compare(fst.grad(lambda x, labels: fnp.sum(fnp.sin(pick(x, labels)))), x, labels)


def test_what_is_picked_from():
    x, y, labels = numbers(N, M), numbers(N, 1), LABELS
    compare(lambda x, y: along(x * y + 1, labels), x, y)
    compare(lambda x, y: along(x * fnp.exp(y) - 2 * x, labels), x, y)
    compare(lambda x: along(fnp.tanh(x) + numbers(M), labels), x)  # differs along the picked axis
    compare(lambda x: along(fnp.broadcast_to(x[:, :1], (N, M)) * 2, labels), x)


def test_other_axes():
    x = numbers(4, 3, N)
    first = np.array([[2, 0, 1], [1, 1, 1], [1, 2, 0], [0, 1, 2]], np.int32)
    compare(lambda x: fnp.take_along_axis(2 * x, first[:, :, None], axis=2), x)
    compare(fst.grad(lambda x: fnp.sum((x * x)[:, :, 1][fnp.arange(4), first[:, 0]])), x)
    compare(
        fst.grad(lambda x: fnp.sum(fnp.take_along_axis(x, first[None, 0], axis=1) ** 2)),
        numbers(1, 3),
    )


def test_several_elements_of_a_row_are_scattered():
    x, columns = numbers(N, M), np.array([[1, 1, 4]] * N, np.int32)
    f = fst.grad(lambda x: fnp.sum(fnp.take_along_axis(x, columns, axis=1) ** 2))
    compare(f, x)
    assert "scatter" in fst.jit(f).lower(x).as_text("kernels")


@pytest.mark.parametrize("pick", [indexed, along])
def test_the_gradient_of_a_loss_writes_nothing_else(pick):
    """No zeros, no indices, no shifted logits in memory: only the gradient is as large."""
    f = fst.jit(fst.value_and_grad(log_likelihood(pick)))
    lowered = f.lower(numbers(N, M), LABELS)
    assert "scatter" not in lowered.as_text("kernels")
    assert lowered.as_text("plan").count(f"f32[{N},{M}]") == 2
