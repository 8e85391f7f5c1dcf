"""JAX's programming model on NumPy and CuPy buffers: pure functions in, pure functions out."""

from fstensor import dtypes, errors, lax, numpy, random, tree, tree_util
from fstensor.array import Array
from fstensor.config import config
from fstensor.device import default_device, devices
from fstensor.dtypes import float0
from fstensor.transforms.grad import grad, hessian, jacfwd, jacobian, jacrev, value_and_grad
from fstensor.transforms.jit import clear_caches, jit
from fstensor.transforms.jvp import jvp
from fstensor.transforms.linearize import linearize
from fstensor.transforms.make_jaxpr import ShapeDtypeStruct, eval_shape, make_jaxpr, typeof
from fstensor.transforms.placement import block_until_ready, device_get, device_put, disable_jit
from fstensor.transforms.transpose import linear_transpose, vjp
from fstensor.transforms.vmap import vmap

__version__ = "0.1.0"

__all__ = [
    "Array",
    "ShapeDtypeStruct",
    "block_until_ready",
    "clear_caches",
    "config",
    "default_device",
    "device_get",
    "device_put",
    "devices",
    "disable_jit",
    "dtypes",
    "errors",
    "eval_shape",
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
    "make_jaxpr",
    "numpy",
    "random",
    "tree",
    "tree_util",
    "typeof",
    "value_and_grad",
    "vjp",
    "vmap",
]
