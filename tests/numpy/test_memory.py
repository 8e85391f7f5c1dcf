"""Arrays never change: no result shares memory that its owner could write into."""

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors, lax
from fstensor.scipy import linalg as scipy_linalg

FUNCTIONS = [
    pytest.param(getattr(module, name), id=f"{label}.{name}")
    for label, module in (
        ("numpy", fnp),
        ("lax", lax),
        ("numpy.linalg", fnp.linalg),
        ("scipy.linalg", scipy_linalg),
    )
    for name in module.__all__
    if callable(getattr(module, name)) and not isinstance(getattr(module, name), type)
]
# Further arguments that one function or another takes after the array.
MORE = [(), (0,), (1,), ((0,),), (1.0,), (np.float32,), (None, None)]
SHAPES = [(), (1,), (3,), (2, 2)]


def results(function, x, more):
    """The Arrays that `function` gives, or none when it does not take these arguments."""
    try:
        out = function(x, *more)
    except (TypeError, ValueError, IndexError, AttributeError, errors.UnboundAxisNameError):
        return []
    return [y for y in fst.tree.leaves(out) if isinstance(y, fst.Array)]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_shares_memory_with_a_writable_argument(function):
    for shape in SHAPES:
        for dtype in (np.float32, np.int32, bool, np.complex64):
            for more in (*MORE, (shape,), ((1,) * len(shape),)):
                x = np.ones(shape, dtype)
                for y in results(function, x, more):
                    assert not np.may_share_memory(y._buffer, x), (shape, dtype, more)


def test_what_is_no_copy_says_so():
    x = np.ones(3)
    assert np.shares_memory(np.asarray(fnp.asarray(x, copy=False)), x)
    assert not np.shares_memory(np.asarray(fnp.asarray(x)), x)
    x.flags.writeable = False
    assert np.shares_memory(np.asarray(fnp.asarray(x)), x), "nobody can write into it"
