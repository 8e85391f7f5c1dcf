"""Functions whose derivatives are written by the user, and what their rules meet."""

from fstensor.transforms.closure_convert import closure_convert, custom_gradient
from fstensor.transforms.custom_common import SymbolicZero
from fstensor.transforms.custom_jvp import custom_jvp
from fstensor.transforms.custom_vjp import CustomVJPPrimal, custom_vjp

__all__ = [
    "CustomVJPPrimal",
    "SymbolicZero",
    "closure_convert",
    "custom_gradient",
    "custom_jvp",
    "custom_vjp",
]
