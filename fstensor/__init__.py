"""JAX's programming model on NumPy and CuPy buffers: pure functions in, pure functions out."""

import importlib
from typing import Any

from fstensor import (
    custom_batching,
    custom_derivatives,
    debug,
    dtypes,
    errors,
    experimental,
    extend,
    flatten_util,
    lax,
    numpy,
    random,
    test_util,
    tree,
    tree_util,
)
from fstensor.array import Array
from fstensor.config import (
    checking_leaks,
    config,
    debug_infs,
    debug_nans,
    explain_cache_misses,
    log_compiles,
)
from fstensor.control.callbacks import pure_callback
from fstensor.device import default_device, devices
from fstensor.dtypes import float0
from fstensor.transforms import checkpoint_policies, stages
from fstensor.transforms.checkpoint import checkpoint, checkpoint_name, remat
from fstensor.transforms.closure_convert import closure_convert, custom_gradient
from fstensor.transforms.custom_jvp import custom_jvp
from fstensor.transforms.custom_vjp import custom_vjp
from fstensor.transforms.grad import grad, hessian, jacfwd, jacobian, jacrev, value_and_grad
from fstensor.transforms.jit import clear_caches, jit
from fstensor.transforms.jvp import jvp
from fstensor.transforms.linearize import linearize
from fstensor.transforms.make_jaxpr import ShapeDtypeStruct, eval_shape, make_jaxpr, typeof
from fstensor.transforms.placement import block_until_ready, device_get, device_put, disable_jit
from fstensor.transforms.programs import note_import as _note_import
from fstensor.transforms.residuals import print_saved_residuals
from fstensor.transforms.transpose import linear_transpose, vjp
from fstensor.transforms.vmap import vmap

__version__ = "0.1.0"

__all__ = [
    "Array",
    "ShapeDtypeStruct",
    "block_until_ready",
    "checking_leaks",
    "checkpoint",
    "checkpoint_name",
    "checkpoint_policies",
    "clear_caches",
    "closure_convert",
    "config",
    "custom_batching",
    "custom_derivatives",
    "custom_gradient",
    "custom_jvp",
    "custom_vjp",
    "debug",
    "debug_infs",
    "debug_nans",
    "default_device",
    "device_get",
    "device_put",
    "devices",
    "disable_jit",
    "dtypes",
    "errors",
    "eval_shape",
    "experimental",
    "explain_cache_misses",
    "extend",
    "flatten_util",
    "float0",
    "grad",
    "hessian",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "lax",
    "linear_transpose",
    "linearize",
    "log_compiles",
    "make_jaxpr",
    "metrics",
    "nn",
    "numpy",
    "optim",
    "print_saved_residuals",
    "pure_callback",
    "random",
    "remat",
    "stages",
    "test_util",
    "tree",
    "tree_util",
    "typeof",
    "value_and_grad",
    "vjp",
    "vmap",
]

_LARGE = ("metrics", "nn", "optim")  # what not all need is imported when it is asked for


def __getattr__(name: str) -> Any:
    if name in _LARGE:
        return importlib.import_module(f"fstensor.{name}")
    raise AttributeError(f"module 'fstensor' has no attribute {name!r}")


_note_import()
