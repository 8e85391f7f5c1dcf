"""Trees of arrays as vectors, for algorithms that are written for vectors."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, final

import numpy as np

from fstensor import dtypes, tree
from fstensor.array import Array, lift
from fstensor.errors import DtypeError, ShapeError
from fstensor.ops.arrange import concatenate, split
from fstensor.ops.convert import convert_element_type, real
from fstensor.ops.shape import reshape

__all__ = ["ravel_pytree"]


@final
@dataclasses.dataclass(frozen=True)
class Unravel:
    """The tree of a vector: what `ravel_pytree` returns second. Hashable, so it may be static.

    dtype: the vector's, where the leaves have several; None takes vectors of any dtype, which the
        leaves then get.
    """

    structure: tree.PyTreeDef
    shapes: tuple[tuple[int, ...], ...]
    leaf_dtypes: tuple[np.dtype[Any], ...]
    dtype: np.dtype[Any] | None

    def __call__(self, vector: Any) -> Any:
        x = lift(vector, what="unravel")
        sizes = [math.prod(s) for s in self.shapes]
        if x.shape != (sum(sizes),):
            raise ShapeError(
                f"unravel: takes a vector of the tree's {sum(sizes)} elements, got {x.aval}"
            )
        if self.dtype is not None and x.dtype != self.dtype:
            raise DtypeError(
                f"unravel: the leaves' dtypes differ, and a vector of their common dtype "
                f"{dtypes.name(self.dtype)} is needed, got {x.aval}; convert with astype"
            )
        parts = split(x, sizes) if sizes else []
        leaves = [reshape(p, s) for p, s in zip(parts, self.shapes, strict=True)]
        if self.dtype is not None:
            leaves = [_converted(y, d) for y, d in zip(leaves, self.leaf_dtypes, strict=True)]
        return tree.unflatten(self.structure, leaves)


def _converted(x: Array, dtype: np.dtype[Any]) -> Array:
    if dtypes.is_complex(x.dtype) and not dtypes.is_complex(dtype):
        x = real(x)
    return convert_element_type(x, dtype)


def ravel_pytree(pytree: Any) -> tuple[Array, Unravel]:
    """The leaves of a tree as one vector, and the function that makes such trees of vectors.

    Shapes: the vector has the elements of all leaves, each in row-major order, in the order of the
        leaves. A tree without leaves gives a float32 vector of no elements.
    Dtypes: that to which the leaves' dtypes promote. Where they differ, the second function
        converts back, and takes vectors of that dtype alone; where they are one, it takes vectors
        of any dtype and keeps it.
    Raises: ArgumentError for leaves that are no arrays; of the second function, ShapeError and
        DtypeError for vectors that do not fit.

    >>> import fstensor as fst
    >>> vector, unravel = fst.flatten_util.ravel_pytree({"a": 1.0, "b": fst.numpy.ones((2, 2))})
    >>> vector.shape, unravel(2 * vector)["b"].tolist()
    ((5,), [[2.0, 2.0], [2.0, 2.0]])
    """
    leaves, structure = tree.flatten(pytree)
    arrays = [lift(x, what="ravel_pytree") for x in leaves]
    found = tuple([x.dtype for x in arrays])
    shapes = tuple([x.shape for x in arrays])
    if not arrays:
        return lift(np.zeros(0, np.float32)), Unravel(structure, (), (), None)
    common = dtypes.result_type(*arrays)
    same = all(d == common for d in found)
    flat = [reshape(convert_element_type(x, common), (x.size,)) for x in arrays]
    return concatenate(flat, 0), Unravel(structure, shapes, found, None if same else common)
