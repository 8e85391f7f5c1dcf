"""How far results may differ, by dtype. An exception stands in its case, with its reason."""

import numpy as np

from fstensor import dtypes

# Relative to the largest magnitude in the expected array.
_BY_DTYPE = {
    np.dtype(np.float16): 2e-3,
    np.dtype(dtypes.bfloat16): 2e-2,
    np.dtype(np.float32): 2e-6,
    np.dtype(np.float64): 1e-14,
    np.dtype(np.complex64): 2e-6,
    np.dtype(np.complex128): 1e-14,
}
# A derivative applies several operations after each other.
_FOR_DERIVATIVES = 10
# Central differences with step 1e-5 in float64: truncation and cancellation both near 1e-10.
FINITE_DIFFERENCES = 1e-7


def assert_close(got, expected, *, factor=1.0, derivative=False, err_msg=""):
    """Equal shapes and dtypes; integers equal, floats within the tolerance of their dtype."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, (got.shape, expected.shape, err_msg)
    assert got.dtype == expected.dtype, (got.dtype, expected.dtype, err_msg)
    if not dtypes.is_inexact(got.dtype):
        np.testing.assert_array_equal(got, expected, err_msg=err_msg)
        return
    rtol = _BY_DTYPE[got.dtype] * factor * (_FOR_DERIVATIVES if derivative else 1)
    wide = np.complex128 if dtypes.is_complex(got.dtype) else np.float64
    got, expected = got.astype(wide), expected.astype(wide)
    finite = np.abs(expected[np.isfinite(expected)])
    scale = finite.max() if finite.size else 0.0
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol * scale, err_msg=err_msg)
