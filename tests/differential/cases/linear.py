"""Products of vectors, matrices and tensors; polynomials."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.differential.cases.elementwise import functions
from tests.differential.checks import Call, Function
from tests.differential.strategies import ALL, COMPLEX, FLOATS, INTS, NUMBERS, Draw

# Sums of products with infinities depend on their order; so there are none here.
EXACT = {"kinds": NUMBERS, "edgy": False, "factor": 8}

# As in NumPy integers stay integers; JAX makes floats of them.
SAME = {**EXACT, "kinds": INTS + FLOATS + COMPLEX}


def dot(d: Draw) -> Call:
    kind, k = d.dtype(), d.integer(1 if d.smooth else 0, 3)
    x, y = d.one_of(
        ((), (2,)), ((k,), (k,)), ((2, k), (k,)), ((2, k), (3, k, 2)), ((2, 1, k), (k,))
    )
    if not d.valid and d.integer(0, 9) == 9:
        y = (5,)
    return Call(d.array(x, kind), d.array(y, kind))


def matmul(d: Draw) -> Call:
    kind = d.dtype()
    m, n, k = (d.integer(1 if d.smooth else 0, 3) for _ in range(3))
    left, right = d.shapes(2, (0, 1))
    x = d.one_of((k,), (*left, m, k))
    y = d.one_of((k,), (*right, k, n))
    if not d.valid and d.integer(0, 9) == 9:
        y = d.one_of((), (5,))
    return Call(d.array(x, kind), d.array(y, kind))


def matvec(d: Draw) -> Call:
    kind, m, k = d.dtype(), d.integer(1, 3), d.integer(1, 3)
    left, right = d.shapes(2, (0, 2))
    return Call(d.array((*left, m, k), kind), d.array((*right, k), kind))


def vecmat(d: Draw) -> Call:
    matrix, vector = matvec(d).arrays
    return Call(vector, matrix.swapaxes(-1, -2))


def vecdot(d: Draw) -> Call:
    kind, k = d.dtype(), d.integer(1, 3)
    left, right = d.shapes(2, (0, 2))
    return Call(d.array((*left, k), kind), d.array((*right, k), kind))


def vdot(d: Draw) -> Call:
    kind, shape = d.dtype(), d.shape()
    return Call(d.array(shape, kind), d.array(shape, kind))


def inner(d: Draw) -> Call:
    kind, k = d.dtype(), d.integer(1, 3)
    return Call(d.array((*d.shape((0, 1)), k), kind), d.array((*d.shape((0, 1)), k), kind))


def two(d: Draw) -> Call:
    return Call(d.array(d.shape((0, 2))), d.array(d.shape((0, 2))))


def tensordot(d: Draw) -> Call:
    kind = d.dtype()
    a, b, c = (d.integer(1, 3) for _ in range(3))
    axes: Any = d.one_of(1, ([-1], [0]), ([1, 0], [0, 2]))
    y = (b, c) if axes != ([1, 0], [0, 2]) else (b, c, a)
    return Call(d.array((a, b), kind), d.array(y, kind), axes)


def cross(d: Draw) -> Call:
    kind = d.dtype()
    left, right = d.shapes(2, (0, 1))
    return Call(d.array((*left, 3), kind), d.array((*right, 3), kind))


SUBSCRIPTS = {
    "ij,jk->ik": ((2, 3), (3, 2)),
    "ii->i": ((3, 3),),
    "ij->": ((2, 3),),
    "i,i": ((3,), (3,)),
    "...i,i->...": ((2, 1, 3), (3,)),
    "ij,kj,k->i": ((2, 3), (2, 3), (2,)),
    "ij->ji": ((2, 3),),
}


def einsum(d: Draw) -> Call:
    kind, subscripts = d.dtype(), d.one_of(*SUBSCRIPTS)
    return Call(subscripts, *[d.array(s, kind) for s in SUBSCRIPTS[subscripts]])


def coefficients(d: Draw) -> Call:
    kind = d.dtype()
    return Call(d.array((d.integer(1, 4),), kind, 0.5), d.array((d.integer(1, 4),), kind, 0.5))


def evaluated(d: Draw) -> Call:
    kind = d.dtype()
    return Call(d.array((d.integer(1, 4),), kind), d.array(d.shape((0, 2)), kind))


def derived(d: Draw) -> Call:
    return Call(d.array((d.integer(1, 4),)), d.integer(0, 3))


def quotient(d: Draw) -> Call:
    # Of numbers that divide exactly, for which zeros lead the remainder must be clear.
    u, v = np.round(d.array((d.integer(3, 4),))), np.round(d.array((d.integer(1, 2),)))
    return Call(*[np.concatenate([[d.one_of(1.0, 2.0)], x[1:]]) for x in (u, v)])


def polydiv(u: Any, v: Any) -> Any:
    # NumPy drops leading zeros of the remainder, so that its size depends on values.
    quotient, rest = np.polydiv(u, v)
    return quotient, np.pad(rest, (max(len(v) - 1, 1) - len(rest), 0))


def roots(d: Draw) -> Call:
    return Call(d.array((d.integer(1, 3),)))


def vander(d: Draw) -> Call:
    return Call(d.array((d.integer(1, 3),)), d.integer(1, 4), increasing=d.flag())


FUNCTIONS = [
    *functions("dot", dot, **{**EXACT, "kinds": ALL}),
    *functions("matmul", matmul, **EXACT),
    *functions("matvec", matvec, **EXACT),
    *functions("vecmat", vecmat, **EXACT),
    *functions("vecdot", vecdot, **EXACT),
    *functions("vdot", vdot, **EXACT),
    *functions("inner", inner, **EXACT),
    *functions("outer kron", two, promotes="all", **EXACT),
    *functions("tensordot", tensordot, **EXACT),
    *functions("cross", cross, **EXACT),
    *functions("einsum", einsum, **EXACT),
    *functions("polyadd polysub", coefficients, **EXACT),
    *functions("polymul", coefficients, dtype_like="numpy", **SAME),
    Function(
        "polydiv",
        quotient,
        ("float64",),
        reference=polydiv,
        edgy=False,
        factor=40,
        jax=None,
        why="the shape of the remainder",
    ),
    *functions("polyval", evaluated, **EXACT),
    *functions("polyder", derived, **{**EXACT, "kinds": FLOATS + COMPLEX}),
    *functions("polyint", derived, **EXACT),
    *functions("poly", roots, kinds=FLOATS, edgy=False, factor=20, jax=None),
    *functions("vander", vander, **{**EXACT, "kinds": FLOATS + COMPLEX}),
]
