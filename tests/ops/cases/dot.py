import string

import numpy as np

from fstensor.ops.dot import DotGeneral
from tests.ops.harness import ALL, FLOATS, HALVES, INEXACT, NUMBERS, Case, Operand


def einsum(numbers, wide=None):
    """The contraction by einsum with a letter for each axis, summed in `wide` where given."""
    (lhs_contract, rhs_contract), (lhs_batch, rhs_batch) = numbers

    def reference(lhs, rhs):
        letters = iter(string.ascii_letters)
        left = [next(letters) for _ in range(lhs.ndim)]
        right = [next(letters) for _ in range(rhs.ndim)]
        for i, j in zip((*lhs_contract, *lhs_batch), (*rhs_contract, *rhs_batch), strict=True):
            right[j] = left[i]
        out = [left[i] for i in lhs_batch]
        out += [c for i, c in enumerate(left) if i not in (*lhs_contract, *lhs_batch)]
        out += [c for j, c in enumerate(right) if j not in (*rhs_contract, *rhs_batch)]
        formula = f"{''.join(left)},{''.join(right)}->{''.join(out)}"
        logical = wide is None and lhs.dtype == bool
        work = np.int64 if logical else wide or lhs.dtype
        total = np.einsum(formula, lhs.astype(work), rhs.astype(work))
        return total.astype(bool) if logical else total

    return reference


def case(lhs, rhs, contract, batch=((), ()), kinds=FLOATS, **options):
    numbers = (contract, batch)
    operands = (Operand(lhs), Operand(rhs))
    label = str(numbers).replace(" ", "")
    return Case(
        DotGeneral(numbers), operands, einsum(numbers), dtypes=kinds, label=label, **options
    )


MATMUL = (((1,), (0,)), ((), ()))

CASES = [
    case((2, 3), (3, 4), ((1,), (0,)), kinds=ALL),
    case((3, 2), (3, 4), ((0,), (0,)), kinds=INEXACT),
    case((2, 3), (4, 3), ((1,), (1,))),
    case((3, 2), (4, 3), ((0,), (1,))),
    case((3,), (3,), ((0,), (0,)), kinds=NUMBERS),
    case((2, 3), (3,), ((1,), (0,))),
    case((3,), (2,), ((), ())),
    case((), (), ((), ())),
    case((), (2, 3), ((), ()), kinds=INEXACT),
    case((4, 2, 3), (4, 3, 2), ((2,), (1,)), ((0,), (0,)), kinds=ALL),
    case((2, 4, 3), (3, 2, 4), ((2,), (0,)), ((1,), (2,)), kinds=INEXACT),
    case((2, 3, 4, 5), (3, 5, 2, 6), ((3,), (1,)), ((0, 1), (2, 0))),
    case((2, 3, 4), (4, 3, 5), ((1, 2), (1, 0)), kinds=NUMBERS),
    case((3, 2, 4), (5, 4, 3), ((2, 0), (1, 2))),
    case((2, 3), (2, 3), ((0, 1), (0, 1))),
    case((2, 3), (2, 3), ((), ()), ((0, 1), (0, 1))),
    case((0, 3), (3, 2), ((1,), (0,))),
    case((2, 0), (0, 3), ((1,), (0,)), kinds=NUMBERS),
    case((0, 2, 3), (0, 3, 2), ((2,), (1,)), ((0,), (0,))),
    Case(
        DotGeneral(MATMUL),
        (Operand((2, 30)), Operand((30, 4))),
        einsum(MATMUL, np.float32),
        dtypes=HALVES,
        differentiable=False,
        label="half",
    ),
    Case(
        DotGeneral(MATMUL, np.dtype(np.float32)),
        (Operand((2, 30)), Operand((30, 4))),
        einsum(MATMUL, np.float32),
        dtypes=HALVES,
        differentiable=False,
        label="half-to-single",
    ),
    Case(
        DotGeneral(MATMUL, np.dtype(np.int32)),
        (Operand((2, 3), low=100, high=127), Operand((3, 4), low=100, high=127)),
        einsum(MATMUL, np.int32),
        dtypes=("int8", "int16", "bool"),
        label="wide",
    ),
    Case(
        DotGeneral(MATMUL, np.dtype(np.float64)),
        (Operand((2, 3)), Operand((3, 4))),
        einsum(MATMUL, np.float64),
        dtypes=("float32",),
        label="single-to-double",
    ),
    Case(
        DotGeneral(MATMUL, np.dtype(np.complex128)),
        (Operand((2, 3), dtype="float32"), Operand((3, 4))),
        einsum(MATMUL, np.complex128),
        dtypes=("float32", "float64", "complex64"),
        differentiable=False,
        label="mixed",
    ),
    Case(
        DotGeneral(MATMUL),
        (Operand((1, 2), values=[[np.inf, 1.0]]), Operand((2, 1), values=[[0.0], [np.nan]])),
        einsum(MATMUL),
        differentiable=False,
        label="edges",
    ),
]
