"""Taylor mode: the first coefficients of a Taylor series, carried through a function at once.

A value along a curve is the polynomial x(z) = x[0] + x[1] z + ... + x[K] z^K. Each operation maps
the coefficients of its operands to those of its result. Nested `jvp` gives the same numbers, at a
cost that doubles with each order; here that of the common operations grows with its square.

`RULES` holds how these common operations do it: linear ones map each coefficient, bilinear ones are
Cauchy products, and for exp, sin and their kin there are recurrences (A. Griewank, A. Walther,
"Evaluating Derivatives" (2008), section 13.2). Any other operation y = P(x) follows from its own
rule for tangents: y'(z) = P.jvp(x(z), x'(z)) is a series of one order less, whose integral is y.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, final

from fstensor import dtypes, ops, tree
from fstensor.array import Array, lift
from fstensor.core import source_info
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import eval_jaxpr
from fstensor.core.primitive import ZERO, Primitive, Value
from fstensor.core.state import state
from fstensor.core.trace import Trace, Tracer, beside, current_trace
from fstensor.errors import (
    ArgumentError,
    ConcretizationTypeError,
    DtypeError,
    OptionError,
    ShapeError,
    TracerBoolConversionError,
    TreeError,
)
from fstensor.ops.elementwise import add_any, div, integer_pow, mul, neg, sub
from fstensor.ops.families import Discrete, Structural, constant
from fstensor.ops.shape import stretch, zeros_of
from fstensor.transforms.arguments import check_callable, lift_outputs
from fstensor.transforms.custom_jvp import CustomJVPCall

__all__ = ["jet"]

# The coefficients of a polynomial: the value, then those that may be ZERO.
Series: TypeAlias = list[Value]
# The series of the result, from those of the operands.
Rule: TypeAlias = Callable[[Any, Sequence[Series]], Series]


def jet(
    fun: Callable[..., Any],
    primals: Sequence[Any],
    series: Sequence[Sequence[Any]],
    factorial_scaled: bool = True,
) -> tuple[Any, Any]:
    """The derivatives of `fun` along a curve, of several orders at once.

    For x(z) with x(0) = primals and the derivatives `series` at z = 0, gives fun(x(0)) and the
    derivatives of fun(x(z)) at z = 0, to the same order.
    primals: a tuple or list, with an entry for each argument of `fun`. series: for each of them, a
        tuple or list of its derivatives of order 1, 2, ..., all of one length; each has the
        structure, shapes and dtype of its primal. factorial_scaled: False takes and gives Taylor
        coefficients instead, which are derivatives over the factorial of their order.
    Returns (out, out_series): out_series is the tree of `out` with a list of derivatives in place
        of each leaf.
    Raises: ArgumentError, TreeError, ShapeError or DtypeError when series do not fit primals,
        OptionError when they differ in length, MissingRuleError for an operation without
        derivatives.
    Deviation from JAX: arguments may be trees, and all operations that have a jvp rule can be used.

    >>> import fstensor as fst
    >>> from fstensor.experimental.jet import jet
    >>> y, (dy, d2y) = jet(lambda x: x ** 3, (2.0,), ((1.0, 0.0),))
    >>> y.item(), dy.item(), d2y.item()
    (8.0, 12.0, 12.0)
    """
    check_callable(fun, "jet")
    _check_sequences(primals, series)
    orders = {len(terms) for terms in series}
    if len(orders) > 1:
        raise OptionError(
            f"jet: all series must have one length, got {[len(terms) for terms in series]}"
        )
    order = max(orders, default=0)
    leaves, in_tree = tree.flatten(tuple(primals))
    inputs: list[Series] = [[lift(x, what="jet: primals")] for x in leaves]
    for k in range(order):
        terms = _terms(primals, [s[k] for s in series], in_tree, k + 1)
        for x, t in zip(inputs, terms, strict=True):
            scale = math.factorial(k + 1) if factorial_scaled else 1
            x.append(_coefficient(t, x[0].aval, scale, k + 1))
    trace = JetTrace(state.trace, order, source_info.describe_function(fun))
    try:
        with current_trace(trace), beside([x[0] for x in inputs]):
            out = fun(*tree.unflatten(in_tree, [trace.join(x) for x in inputs]))
            out_leaves, out_tree = tree.flatten(out)
            outs = [trace.split(x) for x in lift_outputs(out_leaves, "jet")]
    finally:
        trace.alive = False
    out_series = []
    for value, *coefficients in outs:
        filled = [_filled(c, value.aval) for c in coefficients]
        if factorial_scaled:
            filled = [_scaled(c, math.factorial(k)) for k, c in enumerate(filled, 1)]
        out_series.append(filled)
    return tree.unflatten(out_tree, [s[0] for s in outs]), tree.unflatten(out_tree, out_series)


def _check_sequences(primals: Any, series: Any) -> None:
    parts = [("primals", primals), ("series", series)]
    if isinstance(series, (tuple, list)):
        parts += [(f"series[{i}]", terms) for i, terms in enumerate(series)]
    for what, value in parts:
        if not isinstance(value, (tuple, list)):
            raise ArgumentError(f"jet: {what} must be a tuple or list, got {type(value).__name__}")
    if len(primals) != len(series):
        raise OptionError(
            f"jet: there must be a series for each primal, got {len(series)} for {len(primals)}"
        )


def _terms(
    primals: Sequence[Any], terms: Sequence[Any], in_tree: tree.PyTreeDef, order: int
) -> list[Any]:
    """The leaves of all arguments' derivatives of one order."""
    leaves, structure = tree.flatten(tuple(terms))
    if structure != in_tree:
        difference = tree.describe_mismatch(in_tree, tuple(terms))
        raise TreeError(
            f"jet: terms of order {order} must have the structure of the primals; {difference}"
        )
    return leaves


def _coefficient(term: Any, primal: ShapedArray, factorial: int, order: int) -> Value:
    t = lift(term, what="jet: series")
    if t.shape != primal.shape:
        raise ShapeError(
            f"jet: a term of order {order} must have the shape of its primal, "
            f"got {t.aval} for {primal}"
        )
    if dtypes.is_float0(t.dtype):
        return ZERO
    if not dtypes.is_inexact(primal.dtype):
        raise DtypeError(
            f"jet: primals must have a float or complex dtype, got {primal}; "
            "convert with astype, or close over the argument"
        )
    if not (t.weak_type or t.dtype == primal.dtype):
        raise DtypeError(
            f"jet: a term of order {order} must have the dtype of its primal, "
            f"got {t.aval} for {primal}"
        )
    t = ops.convert.convert_element_type(t, primal.dtype)
    return t if factorial == 1 else _scaled(t, 1 / factorial)


def _filled(x: Value, aval: ShapedArray) -> Array:
    """The coefficient as an array; those of an integer result are zeros of its dtype."""
    return zeros_of(ShapedArray(aval.shape, aval.dtype)) if x is ZERO else x


@final
class JetTracer(Tracer):
    """The coefficients of a value along the curve."""

    __slots__ = ("series",)

    def __init__(self, trace: Trace, series: Series) -> None:
        self._trace = trace
        self.series = series

    @property
    def aval(self) -> ShapedArray:  # type: ignore[override]  # read-only here
        aval: ShapedArray = self.series[0].aval
        return aval

    def concretize(self, error: type[ConcretizationTypeError], what: str) -> Any:
        # As with jvp, Python may branch on a value, but not take its number out of the trace.
        if error is TracerBoolConversionError:
            self.check_alive()
            return self.series[0].concretize(error, what)
        return super().concretize(error, what)


@final
class JetTrace(Trace):
    """Carries the coefficients up to an order through each operation."""

    transform = "jet"

    def __init__(self, parent: Trace, order: int, function: str) -> None:
        self.parent = parent
        self.order = order
        self.function = function

    def split(self, x: Any) -> Series:
        """The coefficients of a value; those of others than our own are zero but the first."""
        if x.__class__ is JetTracer and x._trace is self:
            return list(x.series)
        return [x if isinstance(x, Array) else lift(x), *[ZERO] * self.order]

    def join(self, series: Series) -> Array:
        if all(c is ZERO for c in series[1:]):
            value: Array = series[0]
            return value
        return JetTracer(self, series)

    def process(self, primitive: Primitive, args: Sequence[Any]) -> Any:
        if not any(x.__class__ is JetTracer and x._trace is self for x in args):
            return self.parent.process(primitive, args)
        program = primitive.called_program()
        if program is not None and not isinstance(primitive, CustomJVPCall):
            return eval_jaxpr(program.jaxpr, program.consts, *args)
        operands = [self.split(x) for x in args]
        rule = RULES.get(type(primitive))
        if isinstance(primitive, Structural):
            rule = _linear
        elif isinstance(primitive, Discrete):
            rule = _constant
        if rule is None or primitive.multiple_results:
            return self.integrate(primitive, operands)
        with current_trace(self.parent):
            out = rule(primitive, operands)
            shape = out[0].shape
            return self.join([c if c is ZERO else stretch(c, shape) for c in out])

    def integrate(self, primitive: Primitive, operands: Sequence[Series]) -> Any:
        """The result by the rule for tangents: its derivative along the curve, integrated."""
        inner = JetTrace(self.parent, self.order - 1, self.function)
        primals: list[Value] = []
        tangents: list[Value] = []
        for x in operands:
            slope: Series = [c if c is ZERO else _scaled(c, k) for k, c in enumerate(x[1:], 1)]
            primals.append(inner.join(x[:-1]))
            if all(c is ZERO for c in slope):
                tangents.append(ZERO)
                continue
            if slope[0] is ZERO:
                with current_trace(self.parent):
                    slope[0] = zeros_of(x[0].aval.tangent)
            tangents.append(inner.join(slope))
        try:
            with current_trace(inner if inner.order else self.parent):
                out, slope_out = primitive.jvp(primals, tangents)
        finally:
            inner.alive = False
        with current_trace(self.parent):
            if not primitive.multiple_results:
                return self._integral(inner, out, slope_out)
            return [self._integral(inner, y, s) for y, s in zip(out, slope_out, strict=True)]

    def _integral(self, inner: JetTrace, out: Array, slope: Value) -> Array:
        value = inner.split(out)[0]
        if slope is ZERO:
            return self.join([value, *[ZERO] * self.order])
        terms = inner.split(slope)
        return self.join(
            [value, *(c if c is ZERO else _scaled(c, 1 / k) for k, c in enumerate(terms, 1))]
        )


# Arithmetic of coefficients


def _scaled(x: Array, factor: float) -> Array:
    return x if factor == 1 else mul(constant(factor, x), x)


def _sum(terms: Sequence[Value]) -> Value:
    total: Value = ZERO
    for t in terms:
        if t is not ZERO:
            total = t if total is ZERO else add_any(total, t)
    return total


def _less(x: Value, y: Value) -> Value:
    """The difference x - y."""
    if y is ZERO:
        return x
    return neg(y) if x is ZERO else sub(x, y)


def _products(x: Series, y: Series, pairs: Sequence[tuple[int, int]]) -> list[Value]:
    return [mul(x[i], y[j]) for i, j in pairs if x[i] is not ZERO and y[j] is not ZERO]


def _chained(weighted: Series, y: Series, k: int) -> Value:
    """Coefficient k of the integral of x'(z) y(z); `weighted` is j x[j]."""
    total = _sum(_products(weighted, y, [(j, k - j) for j in range(1, k + 1)]))
    return ZERO if total is ZERO else _scaled(total, 1 / k)


def _weighted(x: Series) -> Series:
    return [c if c is ZERO else _scaled(c, j) if j else c for j, c in enumerate(x)]


# Rules


def _constant(primitive: Primitive, operands: Sequence[Series]) -> Series:
    """The result does not change along the curve but in jumps."""
    out = primitive.bind(*[x[0] for x in operands])
    return [out, *[ZERO] * (len(operands[0]) - 1)]


def _linear(primitive: Primitive, operands: Sequence[Series]) -> Series:
    """Linear in all operands that vary: each coefficient is the tangent along its direction."""
    primals = [x[0] for x in operands]
    out: Series = [primitive.bind(*primals)]
    for k in range(1, len(operands[0])):
        terms = [x[k] for x in operands]
        if all(t is ZERO for t in terms):
            out.append(ZERO)
        elif len(terms) == 1 and dtypes.is_inexact(out[0].dtype):
            out.append(primitive.bind(*terms))
        else:
            out.append(primitive.jvp(primals, terms)[1])
    return out


def _bilinear(primitive: Primitive, operands: Sequence[Series]) -> Series:
    """Linear in each of two operands: the Cauchy product."""
    x, y = operands

    def coefficient(k: int) -> Value:
        pairs = [(x[j], y[k - j]) for j in range(k + 1)]
        return _sum([primitive.bind(a, b) for a, b in pairs if a is not ZERO and b is not ZERO])

    return [coefficient(k) for k in range(len(x))]


def _square(primitive: Primitive, operands: Sequence[Series]) -> Series:
    (x,) = operands
    return _bilinear(ops.elementwise.Mul(), [x, x])


def _integer_pow(primitive: Any, operands: Sequence[Series]) -> Series:
    """By repeated squaring: where the base is zero, there is nothing to divide by."""
    (x,) = operands
    n = primitive.y
    power: Series = []
    square = x
    for bit in reversed(f"{abs(n):b}"):
        if bit == "1":
            power = _bilinear(ops.elementwise.Mul(), [power, square]) if power else square
        if abs(n) > 1:
            square = _bilinear(ops.elementwise.Mul(), [square, square])
    if not n:
        return [integer_pow(x[0], 0), *[ZERO] * (len(x) - 1)]
    power = [integer_pow(x[0], abs(n)), *power[1:]]
    if n > 0:
        return power
    one = [constant(1, x[0]), *[ZERO] * (len(x) - 1)]
    return _div(ops.elementwise.Div(), [one, power])


def _div(primitive: Primitive, operands: Sequence[Series]) -> Series:
    """The quotient q: q y = x, solved for one coefficient after the other."""
    x, y = operands
    q: Series = []
    for k in range(len(x)):
        known = _sum(_products(y, q, [(j, k - j) for j in range(1, k + 1)]))
        rest = _less(x[k], known)
        q.append(rest if rest is ZERO else div(rest, y[0]))
    return q


def _exp(primitive: Primitive, operands: Sequence[Series]) -> Series:
    """By the equation y' = x' y."""
    (x,) = operands
    weighted = _weighted(x)
    y: Series = [primitive.bind(x[0])]
    for k in range(1, len(x)):
        y.append(_chained(weighted, y, k))
    return y


def _log(primitive: Primitive, operands: Sequence[Series]) -> Series:
    """By the equation x y' = x'."""
    (x,) = operands
    slope = _div(ops.elementwise.Div(), [_weighted(x)[1:], x[:-1]])
    return [
        primitive.bind(x[0]),
        *(c if c is ZERO else _scaled(c, 1 / k) for k, c in enumerate(slope, 1)),
    ]


def _pair(first: Primitive, second: Primitive, sign: int) -> Callable[[Series], list[Series]]:
    """Two functions s and c with s' = x' c and c' = sign x' s."""

    def both(x: Series) -> list[Series]:
        weighted = _weighted(x)
        s: Series = [first.bind(x[0])]
        c: Series = [second.bind(x[0])]
        for k in range(1, len(x)):
            next_s, next_c = _chained(weighted, c, k), _chained(weighted, s, k)
            s.append(next_s)
            c.append(neg(next_c) if sign < 0 and next_c is not ZERO else next_c)
        return [s, c]

    return both


_trigonometric = _pair(ops.transcendental.Sin(), ops.transcendental.Cos(), -1)
_hyperbolic = _pair(ops.transcendental.Sinh(), ops.transcendental.Cosh(), 1)

RULES: dict[type[Primitive], Rule] = {
    **dict.fromkeys(
        [
            ops.arrange.Concatenate,
            ops.collectives.PSum,
            ops.convert.Complex,
            ops.convert.Conj,
            ops.convert.Imag,
            ops.convert.Real,
            ops.cumulative.CumSum,
            ops.elementwise.Add,
            ops.elementwise.AddAny,
            ops.elementwise.Neg,
            ops.elementwise.Sub,
            ops.gather.Gather,
            ops.index.DynamicSlice,
            ops.index.DynamicUpdateSlice,
            ops.index.Pad,
            ops.logical.SelectN,
            ops.reduce.ReduceSum,
            ops.scatter.ScatterAdd,
            ops.scatter.ScatterSub,
            ops.window.ReduceWindowSum,
        ],
        _linear,
    ),
    **dict.fromkeys(
        [ops.conv.ConvGeneralDilated, ops.dot.DotGeneral, ops.elementwise.Mul], _bilinear
    ),
    ops.convert.StopGradient: _constant,
    ops.elementwise.Div: _div,
    ops.elementwise.IntegerPow: _integer_pow,
    ops.elementwise.Sign: _constant,
    ops.elementwise.Square: _square,
    ops.transcendental.Exp: _exp,
    ops.transcendental.Log: _log,
    ops.transcendental.Cos: lambda _, xs: _trigonometric(xs[0])[1],
    ops.transcendental.Sin: lambda _, xs: _trigonometric(xs[0])[0],
    ops.transcendental.Cosh: lambda _, xs: _hyperbolic(xs[0])[1],
    ops.transcendental.Sinh: lambda _, xs: _hyperbolic(xs[0])[0],
}
