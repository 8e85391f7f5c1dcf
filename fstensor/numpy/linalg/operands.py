"""From what users pass to the stacks of matrices that primitives take."""

from __future__ import annotations

from collections.abc import Callable

from fstensor import lax
from fstensor.array import Array, ArrayLike
from fstensor.errors import ShapeError
from fstensor.numpy.promote import inexact, owned, promote_dtypes, repeated
from fstensor.numpy.reductions import max as maximum_of
from fstensor.numpy.shape import broadcast_shapes
from fstensor.ops.decompositions import Svd
from fstensor.ops.linalg import LAPACK


def matrices(what: str, x: ArrayLike, square: bool = False) -> Array:
    """Matrices of floats or complex numbers, in a precision that LAPACK has.

    Raises: ShapeError below rank 2, or when they are not square but must be; DtypeError.
    """
    out = inexact(what, owned(x, what))
    LAPACK.check(what, out.aval)
    if out.ndim < 2:
        raise ShapeError(f"{what}: takes matrices (..., m, n), got {out.aval}")
    if square and out.shape[-1] != out.shape[-2]:
        raise ShapeError(f"{what}: takes square matrices (..., n, n), got {out.aval}")
    return out


def two(what: str, a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    """Two operands of one float or complex dtype that LAPACK has."""
    x, y = promote_dtypes(what, owned(a, what), owned(b, what))
    x, y = inexact(what, x), inexact(what, y)
    LAPACK.check(what, x.aval)
    return x, y


def one_batch(what: str, x: Array, y: Array) -> tuple[Array, Array]:
    """Two stacks of matrices, repeated to the same leading axes. Raises: ShapeError."""
    if x.shape[:-2] == y.shape[:-2]:
        return x, y
    try:
        batch = broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except ShapeError:
        raise ShapeError(
            f"{what}: the leading axes of both must broadcast, got {x.aval} and {y.aval}"
        ) from None
    return repeated(x, (*batch, *x.shape[-2:])), repeated(y, (*batch, *y.shape[-2:]))


def solved(what: str, solver: Callable[[Array, Array], Array], a: ArrayLike, b: ArrayLike) -> Array:
    """`solver(a, b)` of stacks of matrices with one batch, where `b` may be a vector.

    Raises: ShapeError unless a is (..., n, n), and b is (n,) or (..., n, m); DtypeError.
    """
    x, y = two(what, a, b)
    matrices(what, x, square=True)
    columns = lax.expand_dims(y, (1,)) if y.ndim == 1 else y
    if columns.ndim < 2 or columns.shape[-2] != x.shape[-1]:
        raise ShapeError(
            f"{what}: b must be (n,) or (..., n, m) for matrices (..., n, n), "
            f"got {x.aval} and {y.aval}"
        )
    out = solver(*one_batch(what, x, columns))
    return lax.squeeze(out, (out.ndim - 1,)) if y.ndim == 1 else out


def largest(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    """The largest of numbers that are not negative; 0 of none."""
    empty = not all(x.shape[i] for i in axes)
    return maximum_of(x, axes, keepdims=keepdims, initial=0 if empty else None)


def singular_values(x: Array) -> Array:
    """Descending: (..., m, n) -> (..., min(m, n))."""
    return Svd(compute_uv=False, full_matrices=False).bind(x)[0]
