"""What the package exports, and what importing it costs."""

import importlib
import json
import subprocess
import sys
import types

import numpy as np
import pytest

import fstensor as fst

MODULES = [
    "fstensor",
    "fstensor.ad_checkpoint",
    "fstensor.custom_batching",
    "fstensor.custom_derivatives",
    "fstensor.extend",
    "fstensor.extend.core",
    "fstensor.experimental.jet",
    "fstensor.experimental.ode",
    "fstensor.flatten_util",
    "fstensor.lax",
    "fstensor.lax.linalg",
    "fstensor.metrics",
    "fstensor.numpy",
    "fstensor.numpy.fft",
    "fstensor.numpy.linalg",
    "fstensor.nn",
    "fstensor.nn.models",
    "fstensor.optim",
    "fstensor.random",
    "fstensor.scipy",
    "fstensor.scipy.linalg",
    "fstensor.scipy.special",
    "fstensor.test_util",
    "fstensor.tree_util",
]


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("name", MODULES)
def test_all_lists_what_exists_in_order(name):
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    for exported in module.__all__:
        assert getattr(module, exported) is not None or exported == "newaxis"


@pytest.mark.parametrize("name", ["fstensor", "fstensor.lax", "fstensor.numpy"])
def test_public_names_are_listed(name):
    module = importlib.import_module(name)
    homes = ("fstensor.ops", "fstensor.lax", "fstensor.numpy", "fstensor.transforms")
    ours = {
        n
        for n, value in vars(module).items()
        if not n.startswith("_")
        and isinstance(value, types.FunctionType)
        and value.__module__.startswith(homes)
    }
    # What Array's methods and NumPy's protocols reach, under no public name.
    served = {
        "array_namespace",
        "dispatch_function",
        "dispatch_ufunc",
        "getitem",
        "to_device",
        "view",
    }
    assert ours - served <= set(module.__all__)


def test_functions_are_documented():
    for name in ("fstensor.lax", "fstensor.numpy", "fstensor"):
        module = importlib.import_module(name)
        for exported in module.__all__:
            value = getattr(module, exported)
            if isinstance(value, types.FunctionType):
                assert value.__doc__, f"{name}.{exported}"


def test_functions_carry_the_parameters_of_jax():
    """Each parameter of ours that JAX's function has too stands in the same order."""
    import inspect

    import jax.numpy as jnp

    import fstensor.numpy as fnp

    checked = 0
    for name in fnp.__all__:
        own, theirs = getattr(fnp, name), getattr(jnp, name, None)
        if not isinstance(own, types.FunctionType) or theirs is None:
            continue
        try:
            expected = inspect.signature(theirs).parameters
        except ValueError:
            continue
        got = inspect.signature(own).parameters
        shared = [p for p in got if p in expected]
        assert shared == [p for p in expected if p in got], name
        kinds = {p: (got[p].kind, expected[p].kind) for p in shared}
        for p, (ours, jax_s) in kinds.items():
            keyword_only = inspect.Parameter.KEYWORD_ONLY
            assert ours == jax_s or ours is not keyword_only, (name, p)
        checked += len(shared)
    assert checked > 300


def test_light_imports():
    heavy = ["cupy", "llvmlite", "scipy", "matplotlib", "opt_einsum", "jax", "onnx"]
    code = (
        f"import json, sys, fstensor; print(json.dumps([m for m in {heavy} if m in sys.modules]))"
    )
    assert json.loads(run(code)) == []


def test_imports_leave_numpy_alone():
    code = "import numpy as np; a = np.geterr(); import fstensor; print(a == np.geterr())"
    assert run(code).strip() == "True"


def test_version():
    assert fst.__version__.count(".") == 2


def test_constants_of_numpy():
    import fstensor.numpy as fnp

    for name in ("pi", "e", "inf", "euler_gamma"):
        assert getattr(fnp, name) == getattr(np, name)
    assert fnp.newaxis is None
    assert np.isnan(fnp.nan)
    assert fnp.ndarray is fst.Array
