"""Every name of the standard exists, and takes the arguments that the standard says."""

import inspect

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from tests.array_api.standard import (
    ATTRIBUTES,
    CONSTANTS,
    DTYPES,
    FUNCTIONS,
    METHODS,
    NAMES,
    find,
    ours,
    strict,
    theirs,
    ways_to_call,
)


def test_the_standard_is_the_one_meant():
    assert strict.__array_api_version__ == "2025.12"
    assert len(FUNCTIONS) > 170


@pytest.mark.parametrize("name", NAMES)
def test_name_exists(name):
    find(fnp, name)
    assert name.startswith("__") or name.split(".")[0] in fnp.__all__


@pytest.mark.parametrize("name", CONSTANTS)
def test_constant(name):
    got, expected = getattr(fnp, name), getattr(strict, name)
    assert got is expected if expected is None else np.array_equal(got, expected, equal_nan=True)
    assert type(got) in (float, type(None))


@pytest.mark.parametrize("name", DTYPES)
def test_dtype(name):
    """A dtype object equals itself, and is what arrays made with it have."""
    kind = getattr(fnp, name)
    assert kind == kind
    assert fnp.zeros(2, dtype=kind).dtype == kind
    assert fnp.zeros(2, dtype=kind).dtype == name
    assert all(kind != getattr(fnp, other) for other in DTYPES if other != name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signature(name):
    """Each way to call the standard's function binds to ours, with the same defaults."""
    standard, own = inspect.signature(theirs(name)), inspect.signature(ours(name))
    for args, kwargs in ways_to_call(standard):
        own.bind(*args, **kwargs)
    for p in standard.parameters.values():
        if p.default is p.empty or p.kind is p.POSITIONAL_ONLY:
            continue
        default = own.parameters[p.name].default
        assert default == p.default or (p.name, default) in SAME_EFFECT


# Defaults that are written otherwise, to the same effect.
SAME_EFFECT = {
    ("step", None),  # 1
    ("norm", None),  # "backward"
    ("copy", False),  # of astype: an Array never changes, so that a copy would not show
    ("copy", None),
    ("device", None),  # that of the argument
    ("correction", None),  # ddof, which is 0
}


@pytest.mark.parametrize("name", [name for name in METHODS if name != "to_device"])
def test_method(name):
    standard, own = (inspect.signature(getattr(a, name)) for a in (strict_array, fst.Array))
    for args, kwargs in ways_to_call(standard):
        own.bind(*args, **kwargs)


def test_to_device():
    """Its `stream` is a keyword in the standard, but not in array-api-strict 2.6.1."""
    signature = inspect.signature(fst.Array.to_device)
    signature.bind("self", "device")
    signature.bind("self", "device", stream=None)
    assert signature.parameters["stream"].kind is inspect.Parameter.KEYWORD_ONLY


strict_array = type(strict.asarray(1))


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attribute(name):
    x = fnp.zeros((2, 3))
    getattr(x, name)
    with pytest.raises(AttributeError):
        setattr(x, name, None)
