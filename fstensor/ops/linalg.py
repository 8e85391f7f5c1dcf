"""Linear systems, the Cholesky factor and determinants, of stacks of matrices.

Matrices are the last two axes; the axes before them are a batch. Where NumPy refuses a matrix, as
it does a singular one in `solve`, the result is NaN for that matrix alone, as in JAX.

Sources: M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008), for systems and determinants; I. Murray, "Differentiation of the Cholesky
decomposition" (2016).
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, final

import numpy as np

from fstensor import dtypes
from fstensor.array import Array, ArrayLike, lift
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, MappedAxis, Primitive, Value, primitive
from fstensor.errors import ShapeError
from fstensor.ops.convert import complex as make_complex
from fstensor.ops.convert import conj, convert_element_type, imag, real
from fstensor.ops.dot import batch_matmul
from fstensor.ops.elementwise import add, add_any, div, mul, neg, sub
from fstensor.ops.families import Kind, check_same_dtype, constant
from fstensor.ops.index import batch_first
from fstensor.ops.logical import eq, ge, gt, le, lt, where
from fstensor.ops.reduce import reduce_sum
from fstensor.ops.shape import (
    broadcast_in_dim,
    broadcasted_iota,
    expand_dims,
    squeeze,
    stretch,
    transpose,
)

LAPACK = Kind(
    "float32, float64, complex64 or complex128",
    lambda d: d in (np.float32, np.float64, np.complex64, np.complex128),
)


class OfMatrices(Primitive):
    """A function of stacks of matrices, applied to each: the leading axes of operands agree.

    A subclass gives `evaluate` in place of `impl`.
    """

    @abstractmethod
    def evaluate(self, xp: Any, *stacks: Any) -> Any:
        """`impl`, which may raise LinAlgError for the sake of one matrix in the stacks."""

    def impl(self, xp: Any, *stacks: Any) -> Any:
        try:
            return self.evaluate(xp, *stacks)
        except np.linalg.LinAlgError:
            return self._one_by_one(xp, stacks)

    def _one_by_one(self, xp: Any, stacks: Sequence[Any]) -> Any:
        """The function of each matrix by itself, NaN for those that it refuses."""
        avals = self.abstract(*[ShapedArray(s.shape, s.dtype) for s in stacks])
        several = self.multiple_results
        outs = [xp.full(a.shape, np.nan, a.dtype) for a in (avals if several else [avals])]
        for i in np.ndindex(stacks[0].shape[:-2]):
            try:
                results = self.evaluate(xp, *[s[i] for s in stacks])
            except np.linalg.LinAlgError:
                continue
            for out, result in zip(outs, results if several else [results], strict=True):
                out[i] = result
        return outs if several else outs[0]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        out = self.bind(*[batch_first(x, d, axis.size) for x, d in zip(args, dims, strict=True)])
        return out, [0] * len(out) if self.multiple_results else 0


def _refusals(xp: Any) -> AbstractContextManager[Any]:
    """A context in which `xp` raises LinAlgError for a matrix that it cannot treat.

    NumPy always does. CuPy would give arbitrary numbers, for to know better it must wait for the
    GPU; `import cupy` loads `cupyx`, which tells it to.
    """
    cupyx = sys.modules.get("cupyx")
    return nullcontext() if xp is np or cupyx is None else cupyx.errstate(linalg="raise")


def check_square(what: str, a: ShapedArray) -> None:
    LAPACK.check(what, a)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeError(f"{what}: takes square matrices (..., n, n), got {a}")


def check_matrix(what: str, a: ShapedArray) -> tuple[tuple[int, ...], int, int]:
    """The leading axes and the sizes of matrices. Raises: DtypeError, ShapeError."""
    LAPACK.check(what, a)
    if a.ndim < 2:
        raise ShapeError(f"{what}: takes matrices (..., m, n), got {a}")
    return a.shape[:-2], a.shape[-2], a.shape[-1]


# What rules are made of: the algebra of stacks of matrices.


def matrix_transpose(x: Array) -> Array:
    """The transposes of matrices."""
    return transpose(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def adjoint(x: Array) -> Array:
    """The conjugate transposes of matrices."""
    return matrix_transpose(conjugated(x))


def conjugated(x: Array) -> Array:
    return conj(x) if dtypes.is_complex(x.dtype) else x


def imaginary(x: Array) -> Array:
    """I times the imaginary part of complex `x`."""
    return make_complex(constant(0, imag(x)), imag(x))


def _grid(x: Array) -> tuple[Array, Array]:
    """The row and the column number of each element of the matrices of `x`."""
    shape, last = x.shape[-2:], (x.ndim - 2, x.ndim - 1)
    row, column = (
        broadcast_in_dim(broadcasted_iota(np.int32, shape, i), x.shape, last) for i in (0, 1)
    )
    return row, column


def lower_triangle(x: Array, strict: bool = False) -> Array:
    """`x` with zeros above the diagonal, and on it when strict."""
    return where((gt if strict else ge)(*_grid(x)), x, constant(0, x))


def upper_triangle(x: Array, strict: bool = False) -> Array:
    """`x` with zeros below the diagonal, and on it when strict."""
    return where((lt if strict else le)(*_grid(x)), x, constant(0, x))


def diagonal_part(x: Array) -> Array:
    """`x` with zeros off the diagonal."""
    return where(eq(*_grid(x)), x, constant(0, x))


def diagonal(x: Array) -> Array:
    """The diagonals of square matrices, as vectors."""
    return reduce_sum(diagonal_part(x), (x.ndim - 2,))


def identity(like: Array) -> Array:
    """Identity matrices of the shape of `like`."""
    return convert_element_type(eq(*_grid(like)), like.dtype)


def rows(vector: Array, like: Array) -> Array:
    """Matrices all of whose rows are `vector`, (..., n)."""
    return stretch(expand_dims(vector, (vector.ndim - 1,)), like.shape)


def columns(vector: Array, like: Array) -> Array:
    """Matrices all of whose columns are `vector`, (..., n)."""
    return stretch(expand_dims(vector, (vector.ndim,)), like.shape)


def dot(*factors: Array) -> Array:
    """The product of matrices, from the left."""
    out = factors[0]
    for x in factors[1:]:
        out = batch_matmul(out, x)
    return out


def off_diagonal_quotient(x: Array, y: Array) -> Array:
    """X / y off the diagonal, and 0 on it, where `y` is 0."""
    on = eq(*_grid(x))
    return where(on, constant(0, x), div(x, where(on, constant(1, y), y)))


def hermitian_from(x: Array, lower: bool) -> Array:
    """The Hermitian matrices of which `x` holds one triangle; the other is not read."""
    strict = lower_triangle(x if lower else adjoint(x), strict=True)
    middle = diagonal_part(x)
    if dtypes.is_complex(x.dtype):
        middle = convert_element_type(real(middle), x.dtype)
    return add(add(strict, middle), adjoint(strict))


# Linear systems

# How many rows or columns are eliminated one by one before a product of matrices treats the rest.
BLOCK = 32


def forward_substitution(xp: Any, a: Any, b: Any, unit_diagonal: bool) -> Any:
    """A new buffer x with a x = b, of the lower triangles of `a`; no more than those is read.

    Neither NumPy nor CuPy solves for stacks of triangles.
    """
    a, x = xp.ascontiguousarray(a), xp.array(b, order="C")
    n = a.shape[-1]
    for start in range(0, n, BLOCK):
        end = min(start + BLOCK, n)
        for i in range(start, end):
            row = x[..., i : i + 1, :]
            if i > start:
                row -= xp.matmul(a[..., i : i + 1, start:i], x[..., start:i, :])
            if not unit_diagonal:
                row /= a[..., i : i + 1, i : i + 1]
        if end < n:
            x[..., end:, :] -= xp.matmul(a[..., end:, start:end], x[..., start:end, :])
    return x


@final
@primitive("triangular_solve")
class TriangularSolve(OfMatrices):
    """x with op(a) x = b, or x op(a) = b, of triangular a. The other triangle is not read.

    op transposes and conjugates, as told. A unit diagonal is not read either, but taken as ones.
    """

    conjugate_a: bool
    left_side: bool
    lower: bool
    transpose_a: bool
    unit_diagonal: bool

    def abstract(self, a: ShapedArray, b: ShapedArray) -> ShapedArray:
        check_square("triangular_solve", a)
        _check_system("triangular_solve", a, b, -2 if self.left_side else -1)
        return ShapedArray(b.shape, b.dtype)

    def evaluate(self, xp: Any, a: Any, b: Any) -> Any:
        # To the left of x, not transposed, and lower: an upper triangle is one when reversed.
        lower = self.lower
        if self.transpose_a == self.left_side:
            a, lower = a.swapaxes(-1, -2), not lower
        if not self.left_side:
            b = b.swapaxes(-1, -2)
        if self.conjugate_a:
            a = xp.conj(a)
        if not lower:
            a, b = a[..., ::-1, ::-1], b[..., ::-1, :]
        x = forward_substitution(xp, a, b, self.unit_diagonal)
        if not lower:
            x = x[..., ::-1, :]
        return x if self.left_side else x.swapaxes(-1, -2)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        # op(a) x = b  =>  x' = op(a)^-1 (b' - op(a') x), where a' has the triangle of a.
        (a, b), (ta, tb) = primals, tangents
        x = self.bind(a, b)
        right = tb
        if ta is not ZERO:
            change = self._op(ta)
            moved = neg(batch_matmul(change, x) if self.left_side else batch_matmul(x, change))
            right = moved if tb is ZERO else add_any(tb, moved)
        return x, self.bind(a, right)

    def _op(self, t: Array) -> Array:
        """Op of the part of `t` that is read."""
        t = (lower_triangle if self.lower else upper_triangle)(t, strict=self.unit_diagonal)
        t = matrix_transpose(t) if self.transpose_a else t
        return conjugated(t) if self.conjugate_a else t

    def transpose(self, ct: Array, a: Value, b: Value) -> Sequence[Value]:
        # The transpose of the inverse is the inverse of the transpose.
        solve_transposed = TriangularSolve(
            self.conjugate_a, self.left_side, self.lower, not self.transpose_a, self.unit_diagonal
        )
        return [None, solve_transposed.bind(a, ct)]


def _check_system(what: str, a: ShapedArray, b: ShapedArray, axis: int) -> None:
    """Raises unless `b` fits the square matrices of `a` along `axis`."""
    check_same_dtype(what, (a, b))
    if a.ndim != b.ndim or a.shape[:-2] != b.shape[:-2]:
        raise ShapeError(f"{what}: ranks and leading axes must agree, got {a} and {b}")
    if b.shape[axis] != a.shape[-1]:
        raise ShapeError(
            f"{what}: axis {b.ndim + axis} of b must have the size of the matrices, "
            f"got {a} and {b} ({b.shape[axis]} != {a.shape[-1]})"
        )


def triangular_solve(
    a: ArrayLike,
    b: ArrayLike,
    *,
    left_side: bool = False,
    lower: bool = False,
    transpose_a: bool = False,
    conjugate_a: bool = False,
    unit_diagonal: bool = False,
) -> Array:
    """The solution x of x op(a) = b with triangular a; of op(a) x = b when left_side.

    lower: which triangle of `a` is read. transpose_a, conjugate_a: what op does.
    unit_diagonal: the diagonal is taken as ones and not read.
    Shapes: a (..., n, n), b (..., m, n) or, left_side, (..., n, m); a vector (..., n) is one row,
    or one column. The result has the shape of b.
    Dtypes: float32, float64, complex64 or complex128, one for both.
    A zero on the diagonal is divided by, which gives infinities and NaN. Raises: ShapeError,
    DtypeError.
    """
    x, y = lift(a, what="triangular_solve"), lift(b, what="triangular_solve")
    vector = y.ndim == x.ndim - 1
    if vector:
        y = expand_dims(y, (y.ndim if left_side else y.ndim - 1,))
    conjugate_a = conjugate_a and dtypes.is_complex(x.dtype)
    solver = TriangularSolve(conjugate_a, left_side, lower, transpose_a, unit_diagonal)
    out = solver.bind(x, y)
    return squeeze(out, (out.ndim - 1 if left_side else out.ndim - 2,)) if vector else out


@final
@primitive("solve")
class Solve(OfMatrices):
    """x with a x = b, of square matrices a; NaN where a is singular."""

    def abstract(self, a: ShapedArray, b: ShapedArray) -> ShapedArray:
        check_square("solve", a)
        _check_system("solve", a, b, -2)
        return ShapedArray(b.shape, b.dtype)

    def evaluate(self, xp: Any, a: Any, b: Any) -> Any:
        with _refusals(xp):
            return xp.linalg.solve(a, b)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        # a x = b  =>  a' x + a x' = b'  (Giles, 2.3.1)
        (a, b), (ta, tb) = primals, tangents
        x = self.bind(a, b)
        right = tb
        if ta is not ZERO:
            moved = neg(batch_matmul(ta, x))
            right = moved if tb is ZERO else add_any(tb, moved)
        return x, self.bind(a, right)

    def transpose(self, ct: Array, a: Value, b: Value) -> Sequence[Value]:
        return [None, self.bind(matrix_transpose(a), ct)]


def solve(a: ArrayLike, b: ArrayLike) -> Array:
    """The solution x of a x = b, for each matrix of a stack.

    Shapes: a (..., n, n), b (..., n, m) -> (..., n, m), with equal leading axes.
    Dtypes: float32, float64, complex64 or complex128, one for both.
    Singular matrices give NaN. Raises: ShapeError, DtypeError.
    """
    return Solve().bind(a, b)


@final
@primitive("cholesky")
class Cholesky(OfMatrices):
    """The lower triangle L with L L^H = a, of positive definite a, whose lower triangle is read.

    The diagonal of L is positive. L is NaN where a is not positive definite.
    """

    def abstract(self, a: ShapedArray) -> ShapedArray:
        check_square("cholesky", a)
        return ShapedArray(a.shape, a.dtype)

    def evaluate(self, xp: Any, a: Any) -> Any:
        with _refusals(xp):
            return xp.linalg.cholesky(a)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        # a' = L' L^H + L L'^H. From both sides: L^-1 a' L^-H = M + M^H with M = L^-1 L', which is
        # lower triangular with a real diagonal. So M is the lower triangle of the left side, with
        # half its diagonal, Phi in Murray's section 3.1, and L' = L M.
        (a,), (t,) = primals, tangents
        low = self.bind(a)
        half = triangular_solve(
            low, hermitian_from(t, lower=True), lower=True, transpose_a=True, conjugate_a=True
        )
        both = triangular_solve(low, half, left_side=True, lower=True)
        middle = mul(diagonal_part(both), constant(0.5, both))
        return low, batch_matmul(low, add(lower_triangle(both, strict=True), middle))


def cholesky(x: ArrayLike, *, symmetrize_input: bool = True) -> Array:
    """The lower triangle L with L L^H = x, of Hermitian positive definite matrices.

    symmetrize_input: factor (x + x^H) / 2, so that the gradient is Hermitian; else the lower
        triangle of `x` alone is read, and the gradient lies there.
    Shapes: (..., n, n). Dtypes: float32, float64, complex64 or complex128.
    NaN where a matrix is not positive definite. Raises: ShapeError, DtypeError.
    """
    x = lift(x, what="cholesky")
    return Cholesky().bind(symmetrized("cholesky", x) if symmetrize_input else x)


def symmetrized(what: str, x: Array) -> Array:
    """(x + x^H) / 2. Raises: ShapeError unless the matrices are square, DtypeError."""
    check_square(what, ShapedArray(x.shape, x.dtype))
    return div(add(x, adjoint(x)), constant(2, x))


# Determinants


@final
@primitive("det")
class Det(OfMatrices):
    """The determinant. Its derivative holds at singular matrices too."""

    def abstract(self, a: ShapedArray) -> ShapedArray:
        check_square("det", a)
        return ShapedArray(a.shape[:-2], a.dtype)

    def evaluate(self, xp: Any, a: Any) -> Any:
        return xp.linalg.det(a)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        # Jacobi: det' = tr(adj(a) a'), which for invertible a is Giles' det(a) tr(a^-1 a').
        (a,), (t,) = primals, tangents
        return self.bind(a), _trace_of_product(Adjugate().bind(a), t)


def _trace_of_product(x: Array, y: Array) -> Array:
    return reduce_sum(mul(matrix_transpose(x), y), (x.ndim - 2, x.ndim - 1))


@final
@primitive("adjugate")
class Adjugate(OfMatrices):
    """The transposed matrix of cofactors: a adj(a) = det(a) I, and it exists for singular a too.

    Its own derivative needs an invertible a, and is NaN elsewhere.
    """

    def abstract(self, a: ShapedArray) -> ShapedArray:
        check_square("adjugate", a)
        return ShapedArray(a.shape, a.dtype)

    def evaluate(self, xp: Any, a: Any) -> Any:
        # adj(xy) = adj(y) adj(x); that of a unitary u is det(u) u^H, and of diag(s) it has, in
        # each place, the product of the other s. With a = u diag(s) v^H:
        u, s, vh = xp.linalg.svd(a)
        before, after = xp.ones_like(s), xp.ones_like(s)
        before[..., 1:] = xp.cumprod(s[..., :-1], -1)
        after[..., :-1] = xp.cumprod(s[..., :0:-1], -1)[..., ::-1]
        scaled = vh.swapaxes(-1, -2).conj() * (before * after)[..., None, :]
        unit = xp.linalg.det(u) * xp.linalg.det(vh)
        out = xp.matmul(scaled, u.swapaxes(-1, -2).conj()) * unit[..., None, None]
        return out.astype(a.dtype, copy=False)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        # a adj = det I  =>  a' adj + a adj' = det' I, with det' = tr(adj a').
        (a,), (t,) = primals, tangents
        out = self.bind(a)
        trace = expand_dims(_trace_of_product(out, t), (a.ndim - 2, a.ndim - 1))
        right = sub(mul(stretch(trace, a.shape), identity(a)), batch_matmul(t, out))
        return out, Solve().bind(a, right)


def det(a: ArrayLike) -> Array:
    """The determinants of square matrices.

    Shapes: (..., n, n) -> (...). Dtypes: float32, float64, complex64 or complex128.
    The gradient is the matrix of cofactors, also for singular matrices; second derivatives need
    invertible ones, and are NaN elsewhere.
    Raises: ShapeError, DtypeError.
    """
    return Det().bind(a)


@final
@primitive("slogdet")
class Slogdet(OfMatrices):
    """The sign of the determinant, or its complex direction, and the logarithm of its modulus.

    For singular matrices they are 0 and -inf, and the derivatives NaN.
    """

    multiple_results = True

    def abstract(self, a: ShapedArray) -> list[ShapedArray]:
        check_square("slogdet", a)
        batch = a.shape[:-2]
        return [ShapedArray(batch, a.dtype), ShapedArray(batch, dtypes.to_real(a.dtype))]

    def evaluate(self, xp: Any, a: Any) -> Any:
        sign, logarithm = xp.linalg.slogdet(a)
        return xp.asarray(sign), xp.asarray(logarithm)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        # log det' = tr(a^-1 a') (Giles, 2.2.4, divided by det): its real part moves the modulus,
        # its imaginary part turns the direction.
        (a,), (t,) = primals, tangents
        sign, logarithm = self.bind(a)
        change = reduce_sum(diagonal(Solve().bind(a, t)), (a.ndim - 2,))
        if not dtypes.is_complex(a.dtype):
            return [sign, logarithm], [ZERO, change]
        return [sign, logarithm], [mul(sign, imaginary(change)), real(change)]


def slogdet(a: ArrayLike) -> tuple[Array, Array]:
    """The sign of the determinant and the logarithm of its modulus: det = sign exp(logarithm).

    Shapes: (..., n, n) -> (...) both. Dtypes: float32, float64, complex64 or complex128; the
    logarithm is real.
    For singular matrices the sign is 0 and the logarithm -inf; gradients are NaN there.
    Raises: ShapeError, DtypeError.
    """
    sign, logarithm = Slogdet().bind(a)
    return sign, logarithm
