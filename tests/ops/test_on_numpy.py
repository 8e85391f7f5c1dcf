"""What eager calls use in place of `impl` gives the same bits."""

import numpy as np
import pytest

from fstensor.core.primitive import Primitive
from tests.ops.cases import CASES
from tests.ops.test_matrix import arrays

OWN = [
    pytest.param(c, d, id=f"{c.name}-{d}")
    for c in CASES
    for d in c.dtypes
    if type(c.primitive).on_numpy is not Primitive.on_numpy
]


@pytest.mark.parametrize(("case", "dtype"), OWN)
def test_same_as_impl(case, dtype):
    args = arrays(case.arguments(dtype))
    buffers = [x._buffer for x in args]
    function = case.primitive.on_numpy(*[x.aval for x in args])
    with np.errstate(all="ignore"):
        expected, got = case.primitive.impl(np, *buffers), function(*buffers)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)
    if got.dtype.kind != "c":
        np.testing.assert_array_equal(np.signbit(got), np.signbit(expected))


def test_there_are_cases_of_each():
    names = {p.values[0].primitive.name for p in OWN}
    assert {"add", "exp", "reduce_sum", "dot_general"} <= names
