"""What programs are fused into, as text: a change of the compiler shows here."""

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import lax, random
from fstensor.scipy.special import logsumexp


def f32(*shape):
    return fst.ShapeDtypeStruct(shape, np.float32)


def i32(*shape):
    return fst.ShapeDtypeStruct(shape, np.int32)


def softmax(x):
    e = fnp.exp(x - fnp.max(x, axis=-1, keepdims=True))
    return e / fnp.sum(e, axis=-1, keepdims=True)


def layer_norm(x, scale, shift):
    centered = x - fnp.mean(x, axis=-1, keepdims=True)
    variance = fnp.mean(centered**2, axis=-1, keepdims=True)
    return centered * lax.rsqrt(variance + 1e-5) * scale + shift


def cross_entropy(logits, labels):
    log_total = logsumexp(logits, axis=-1)
    return fnp.mean(log_total - logits[fnp.arange(labels.shape[0]), labels])


def adam(p, g, m, v):
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    return p - 0.001 * m / (fnp.sqrt(v) + 1e-8), m, v


def attention(q, k, v):
    scores = fnp.einsum("nqhc,nkhc->nhqk", q, k) / 4.0
    return fnp.einsum("nhqk,nkhc->nqhc", softmax(scores), v)


def dropout(key_data, x):
    kept = random.bernoulli(random.wrap_key_data(key_data), 0.9, x.shape)
    return fnp.where(kept, x / 0.9, 0)


def lookup(table, tokens):
    return fnp.sum(table[tokens] ** 2)


def dense(x, w, b):
    return fnp.maximum(x @ w + b, 0)


def mlp_loss(params, x, y):
    (w1, b1), (w2, b2) = params
    return fnp.mean((dense(x, w1, b1) @ w2 + b2 - y) ** 2)


def recurrent(w, h, xs):
    def cell(h, x):
        h = fnp.tanh(h @ w + x)
        return h, h

    return lax.scan(cell, h, xs)


def counting(xs):
    """How many of the numbers in a row are positive, starting anew at each that is not."""
    step = lambda n, x: lax.cond(x > 0, lambda n: (n + 1,) * 2, lambda n: (0 * n,) * 2, n)
    return lax.scan(step, fnp.int32(0), xs)


PARAMS = ((f32(8, 16), f32(16)), (f32(16, 2), f32(2)))

PROGRAMS = {
    "map": (lambda x, y: fnp.tanh(x) * y + 1, f32(4, 8), f32(8)),
    "sums": (lambda x: (fnp.sum(x, axis=0), fnp.sum(x, axis=1)), f32(64, 128)),
    "softmax": (softmax, f32(64, 128)),
    "layer_norm": (layer_norm, f32(64, 128), f32(128), f32(128)),
    "cross_entropy_gradient": (fst.grad(cross_entropy), f32(32, 10), i32(32)),
    "adam": (adam, f32(64, 32), f32(64, 32), f32(64, 32), f32(64, 32)),
    "dense": (dense, f32(16, 32), f32(32, 8), f32(8)),
    "attention": (attention, f32(2, 6, 3, 4), f32(2, 6, 3, 4), f32(2, 6, 3, 4)),
    "dropout": (dropout, fst.ShapeDtypeStruct((2,), np.uint32), f32(32, 16)),
    "lookup_gradient": (fst.grad(lookup), f32(100, 16), i32(12)),
    "rearrangements": (lambda x: fnp.pad(x.T[::-1], 1) + 1, f32(6, 5)),
    "recurrent": (recurrent, f32(8, 8), f32(4, 8), f32(10, 4, 8)),
    "counting": (counting, f32(10)),
    "mlp_gradient": (fst.value_and_grad(mlp_loss), PARAMS, f32(4, 8), f32(4, 2)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_kernels(name, golden):
    f, *args = PROGRAMS[name]
    lowered = fst.jit(f).lower(*args)
    golden(f"kernels/{name}.txt", f"{lowered.as_text('kernels')}\n\n{lowered.as_text('plan')}")


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_kernels_for_memory_of_other_dtypes_are_others(half):
    """Their arithmetic is the same, in float32, but they are not one."""

    def f(x, y):
        return ((y @ y) @ y).astype("float32"), fnp.sum(x, 1), fnp.sum(y.astype("float32"), 1)

    x = fnp.arange(16.0).reshape(4, 4) / 8
    y = (x + 1).astype(half)
    with fst.config.override(executor="llvm"):
        for got, expected in zip(fst.jit(f)(x, y), f(x, y), strict=True):
            # The product between is rounded to 8 bits; memory of another dtype gave other numbers.
            np.testing.assert_allclose(got, expected, rtol=1e-2)
