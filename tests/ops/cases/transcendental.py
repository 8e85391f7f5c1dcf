import cmath
import math

import numpy as np

from fstensor.ops import transcendental as ops
from tests.ops.harness import COMPLEX, EDGES, Case, Operand, binary, halves, unary, wide


def loop(real, complex_=None):
    """Functions of Python's math and cmath, applied in a loop."""

    def over_elements(*xs):
        spread = np.broadcast_arrays(*xs)
        function = complex_ if np.iscomplexobj(spread[0]) else real
        values = [function(*[x[i].item() for x in spread]) for i in np.ndindex(spread[0].shape)]
        return np.array(values, spread[0].dtype).reshape(spread[0].shape)

    return over_elements


def cases(primitive, real, complex_, numpy, low=-2.0, high=2.0):
    """Reals and complex numbers against Python's functions, edges and halves against NumPy's."""
    return [
        *unary(primitive, loop(real), low=low, high=high),
        *unary(primitive, loop(real, complex_), low=low, high=high, dtypes=COMPLEX),
        *unary(primitive, wide(numpy), edges=EDGES)[-1:],
        *halves(primitive, numpy, low=low, high=high),
    ]


def logistic(x):
    return 1 / (1 + np.exp(-x))


def complex_log1p(z):
    """The series near 0, where cmath has no function of its own."""
    if abs(z) > 0.1:
        return cmath.log(1 + z)
    return sum((-1) ** (k + 1) * z**k / k for k in range(1, 20))


def small(primitive, real, complex_):
    """Operands for which 1 + x would lose most digits of x."""
    operand = Operand((4,), low=-1e-6, high=1e-6)
    return [
        Case(primitive, (operand,), loop(real), label="small"),
        Case(primitive, (operand,), loop(real, complex_), dtypes=COMPLEX, label="small"),
    ]


CASES = [
    *cases(ops.Exp(), math.exp, cmath.exp, np.exp),
    *cases(ops.Exp2(), math.exp2, lambda z: 2**z, np.exp2),
    *cases(ops.Expm1(), math.expm1, lambda z: cmath.exp(z) - 1, np.expm1),
    *small(ops.Expm1(), math.expm1, lambda z: z + z * z / 2 + z**3 / 6),
    *cases(ops.Log(), math.log, cmath.log, np.log, low=0.2),
    *cases(ops.Log1p(), math.log1p, complex_log1p, np.log1p, low=-0.8),
    *small(ops.Log1p(), math.log1p, complex_log1p),
    *cases(
        ops.Logistic(),
        lambda x: 1 / (1 + math.exp(-x)),
        lambda z: 1 / (1 + cmath.exp(-z)),
        logistic,
    ),
    *unary(ops.Logistic(), wide(logistic), edges=[-30.0, 30.0, -1000.0, 1000.0])[-1:],
    *cases(ops.Sin(), math.sin, cmath.sin, np.sin),
    *cases(ops.Cos(), math.cos, cmath.cos, np.cos),
    *cases(ops.Tan(), math.tan, cmath.tan, np.tan, low=-1.2, high=1.2),
    *cases(ops.Asin(), math.asin, cmath.asin, np.arcsin, low=-0.9, high=0.9),
    *cases(ops.Acos(), math.acos, cmath.acos, np.arccos, low=-0.9, high=0.9),
    *cases(ops.Atan(), math.atan, cmath.atan, np.arctan, low=-0.9, high=0.9),
    *binary(ops.Atan2(), loop(math.atan2), x=(0.5, 2.0), edges=(EDGES, EDGES)),
    *binary(ops.Atan2(), loop(math.atan2), x=(-2.0, -0.5)),
    *halves(ops.Atan2(), np.arctan2, arity=2, low=0.5),
    *cases(ops.Sinh(), math.sinh, cmath.sinh, np.sinh),
    *cases(ops.Cosh(), math.cosh, cmath.cosh, np.cosh),
    *cases(ops.Tanh(), math.tanh, cmath.tanh, np.tanh, low=-1.2, high=1.2),
    *cases(ops.Asinh(), math.asinh, cmath.asinh, np.arcsinh, low=-0.9, high=0.9),
    *cases(ops.Acosh(), math.acosh, cmath.acosh, np.arccosh, low=1.2),
    *unary(ops.Acosh(), loop(None, cmath.acosh), low=-2.0, high=-0.5, dtypes=COMPLEX),
    *cases(ops.Atanh(), math.atanh, cmath.atanh, np.arctanh, low=-0.9, high=0.9),
]
