import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check


@pytest.mark.parametrize("m", [-1, 0, 1, 2, 7, 8])
def test_windows(m):
    for name in ("bartlett", "blackman", "hamming", "hanning"):
        check(getattr(fnp, name)(m), getattr(np, name)(m), "float32")
    for beta in (0.0, 5.0, 14.0):
        check(fnp.kaiser(m, beta), np.kaiser(m, beta), "float32")
        check(fnp.kaiser(m, np.array(beta)), np.kaiser(m, beta), "float64", factor=20)


def test_double_precision_by_default():
    with fst.config.override(default_dtype_bits=64):
        check(fnp.hanning(7), np.hanning(7), "float64")
        check(fnp.kaiser(7, 3.0), np.kaiser(7, 3.0), "float64", factor=20)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_bessel_function(dtype):
    x = np.array([0, 1, -1, 2, -7, 15, 40, 80], dtype)
    got = fnp.i0(x)
    ratio = np.asarray(got, "float64") / scipy.special.i0(x.astype("float64"))
    check(fnp.asarray(ratio.astype(got.dtype)), np.ones(8), factor=20)
    check(fnp.i0(np.zeros((0, 2), "float32")), np.ones((0, 2)), "float32")


def test_bessel_function_far_out():
    assert np.asarray(fnp.i0(np.array([np.inf, -np.inf, 800]))).tolist() == [np.inf] * 3
    assert np.isnan(float(fnp.i0(np.nan)))
    check(fnp.i0(np.array(700.0)), scipy.special.i0(700.0), factor=100)


def test_gradients():
    x = np.array([0.0, 0.5, -3, 20], "float64")
    check(fst.grad(lambda v: fnp.i0(v).sum())(x), scipy.special.i1(x), factor=100)
    own = fst.jacfwd(lambda b: fnp.kaiser(6, b))(3.0)
    check(own, np.asarray(jax.jacfwd(lambda b: jnp.kaiser(6, b))(3.0)), factor=100)


def test_mistakes():
    with pytest.raises(errors.DtypeError, match="i0: takes real numbers"):
        fnp.i0(1j)
    with pytest.raises(errors.ShapeError, match="beta must be a scalar"):
        fnp.kaiser(3, np.ones(2))
