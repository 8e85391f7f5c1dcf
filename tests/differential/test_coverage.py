"""Every public function of fstensor.numpy is compared here, or says why it is not."""

import types

import numpy as np

import fstensor.numpy as fnp
from tests.differential.cases import FUNCTIONS

# Two names of one object: the table has the first.
ALIASES = {
    "abs": ["absolute"],
    "arccos": ["acos"],
    "arccosh": ["acosh"],
    "arcsin": ["asin"],
    "arcsinh": ["asinh"],
    "arctan": ["atan"],
    "arctan2": ["atan2"],
    "arctanh": ["atanh"],
    "conj": ["conjugate"],
    "deg2rad": ["radians"],
    "divide": ["true_divide"],
    "invert": ["bitwise_invert", "bitwise_not"],
    "left_shift": ["bitwise_left_shift"],
    "max": ["amax"],
    "min": ["amin"],
    "power": ["pow"],
    "rad2deg": ["degrees"],
    "remainder": ["mod"],
    "right_shift": ["bitwise_right_shift"],
    "round": ["around"],
}

# What is tested elsewhere, with the reason for which it does not fit into the table.
ELSEWHERE = {
    "__array_namespace_info__": "no function of arrays; tests/numpy/test_dispatch.py",
    "can_cast": "of dtypes; tests/test_dtypes.py",
    "isdtype": "of dtypes; tests/test_dtypes.py",
    "issubdtype": "of dtypes; tests/test_dtypes.py",
    "promote_types": "of dtypes; tests/test_dtypes.py",
    "result_type": "of dtypes; tests/test_dtypes.py",
    "einsum_path": "a plan, not an array; tests/numpy/test_linear.py",
    "finfo": "of dtypes; tests/test_dtypes.py",
    "frompyfunc": "makes functions; tests/numpy/test_vectorize.py",
    "iinfo": "of dtypes; tests/test_dtypes.py",
    "load": "reads files; tests/numpy/test_files.py",
    "save": "writes files; tests/numpy/test_files.py",
    "permute_dims": "transpose, whose axes must be given; tests/numpy/test_shape.py",
    "polyfit": "several kinds of results; tests/numpy/test_polynomials.py",
    "roots": "in no order; tests/numpy/test_polynomials.py",
    "vectorize": "makes functions; tests/numpy/test_vectorize.py",
}


def test_every_function_is_compared():
    public = {n for n in fnp.__all__ if isinstance(getattr(fnp, n), types.FunctionType)}
    others = {n for names in ALIASES.values() for n in names} | set(ELSEWHERE)
    compared = {f.name for f in FUNCTIONS}
    missing = sorted(public - compared - others)
    assert missing == [], "add them to a table in tests/differential/cases"
    assert not compared & others
    assert compared <= public


def test_aliases_are_aliases():
    for name, aliases in ALIASES.items():
        for alias in aliases:
            assert getattr(fnp, alias) is getattr(fnp, name), alias


def test_exceptions_from_the_rules_say_why():
    for f in FUNCTIONS:
        usual = f.traceable or not f.differentiable
        assert usual or f.why, f.id


def test_what_is_no_function_is_a_type_a_constant_or_a_grid():
    named = {"c_", "fft", "linalg", "mgrid", "ogrid", "r_", "s_", "newaxis", "random"}
    for name in set(fnp.__all__) - named:
        value = getattr(fnp, name)
        assert isinstance(value, (types.FunctionType, type, float)), name


def test_numbers_of_kinds():
    # That the table is not hollow: most functions have values, a trace and derivatives.
    assert len(FUNCTIONS) > 280
    assert np.mean([f.traceable for f in FUNCTIONS]) > 0.8
    assert np.mean([f.differentiable for f in FUNCTIONS]) > 0.6
