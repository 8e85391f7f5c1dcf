"""Contractions in the form that is computed best.

Some are products of elements; some convolutions are products of matrices; long sums of few results
are cut into parts; and what is only transposed takes its operands in the other order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import Atom, ClosedJaxpr, Eqn, Jaxpr, Var
from fstensor.ops.conv import ConvGeneralDilated
from fstensor.ops.dot import DotGeneral, free_axes
from fstensor.ops.elementwise import Mul
from fstensor.ops.reduce import ReduceSum
from fstensor.ops.shape import BroadcastInDim, Reshape, Transpose

# A sum of at least so many products, for at most so many results, is cut into so many parts.
_LONG_SUM = 16384
_FEW_RESULTS = 1024
_PARTS = 8


def multiply_elements(closed: ClosedJaxpr) -> ClosedJaxpr:
    """A contraction that sums nothing is a product of elements."""
    return _replaced(closed, lambda eqn: _elementwise(eqn) if _sums_nothing(eqn) else None)


def multiply_places(closed: ClosedJaxpr) -> ClosedJaxpr:
    """A convolution by windows of one element, with places last, is a product for each image."""
    return _replaced(closed, lambda eqn: _at_places(eqn) if _has_one_element(eqn) else None)


def split_sums(closed: ClosedJaxpr) -> ClosedJaxpr:
    """A contraction of few results, each a long sum, is a sum of contractions.

    The parts are fixed, so that results do not depend on how many threads there are for them.
    """
    return _replaced(closed, lambda eqn: _in_parts(eqn) if _is_long_sum(eqn) else None)


def _replaced(closed: ClosedJaxpr, change: Callable[[Eqn], list[Eqn] | None]) -> ClosedJaxpr:
    """The program with some equations written as others; None leaves an equation as it is."""
    jaxpr = closed.jaxpr
    made = [change(eqn) for eqn in jaxpr.eqns]
    if all(m is None for m in made):
        return closed
    pairs = zip(jaxpr.eqns, made, strict=True)
    eqns = [e for eqn, new in pairs for e in ([eqn] if new is None else new)]
    changed = Jaxpr(jaxpr.constvars, jaxpr.invars, jaxpr.outvars, eqns, jaxpr.debug_info)
    return ClosedJaxpr(changed, closed.consts)


def _sums_nothing(eqn: Eqn) -> bool:
    primitive = eqn.primitive
    if not isinstance(primitive, DotGeneral) or primitive.dimension_numbers[0] != ((), ()):
        return False
    return len({a.aval.dtype for a in (*eqn.invars, *eqn.outvars)}) == 1


def _elementwise(product: Eqn) -> list[Eqn]:
    """Both operands spread over the axes of the result, and multiplied."""
    primitive, (out,) = product.primitive, product.outvars
    assert isinstance(primitive, DotGeneral)
    _, batch = primitive.dimension_numbers
    place = len(batch[0])
    eqns: list[Eqn] = []
    factors: list[Atom] = []
    for side, operand in enumerate(product.invars):
        free = free_axes(operand.aval.ndim, (), batch[side])
        axis_of = {d: k for k, d in enumerate(batch[side])}
        axis_of |= {d: place + k for k, d in enumerate(free)}
        place += len(free)
        if operand.aval.ndim:
            order = tuple(sorted(axis_of, key=axis_of.__getitem__))
            if order != tuple(range(len(order))):
                operand = _applied(eqns, product, Transpose(order), operand)
            spread = BroadcastInDim(out.aval.shape, tuple(sorted(axis_of.values())))
            operand = _applied(eqns, product, spread, operand)
        factors.append(operand)
    return [*eqns, Eqn(Mul(), factors, [out], product.source_info)]


def _has_one_element(eqn: Eqn) -> bool:
    conv = eqn.primitive
    if not isinstance(conv, ConvGeneralDilated):
        return False
    lhs_spec, rhs_spec, out_spec = conv.dimension_numbers
    rank = len(lhs_spec)
    images = tuple(range(rank))
    window = [eqn.invars[1].aval.shape[d] for d in rhs_spec[2:]]
    steps = {*window, *conv.window_strides, *conv.lhs_dilation}
    whole = conv.feature_group_count == conv.batch_group_count == 1
    padded = any(p != (0, 0) for p in conv.padding)
    in_order = tuple(lhs_spec) == tuple(out_spec) == images
    return steps <= {1} and whole and not padded and in_order and rank > 2


def _at_places(convolution: Eqn) -> list[Eqn]:
    """The kernel, a matrix that is the same for all images, times each of them."""
    conv, (x, w) = convolution.primitive, convolution.invars
    assert isinstance(conv, ConvGeneralDilated)
    _, rhs_spec, _ = conv.dimension_numbers
    outputs, inputs = rhs_spec[:2]
    eqns: list[Eqn] = []
    first, second = sorted((outputs, inputs))
    shape = (w.aval.shape[first], w.aval.shape[second])
    matrix = _applied(eqns, convolution, Reshape(shape), w)
    batch = x.aval.shape[0]
    matrix = _applied(eqns, convolution, BroadcastInDim((batch, *shape), (1, 2)), matrix)
    numbers = (((2 if inputs == second else 1,), (1,)), ((0,), (0,)))
    product = DotGeneral(numbers, conv.preferred_element_type)
    eqns.append(Eqn(product, [matrix, x], convolution.outvars, convolution.source_info))
    return eqns


def _is_long_sum(eqn: Eqn) -> bool:
    primitive = eqn.primitive
    if not isinstance(primitive, DotGeneral) or len(primitive.dimension_numbers[0][0]) != 1:
        return False
    out = eqn.outvars[0].aval
    long = eqn.invars[0].aval.shape[primitive.dimension_numbers[0][0][0]]
    same = {a.aval.dtype for a in (*eqn.invars, *eqn.outvars)}
    is_float = len(same) == 1 and out.dtype.kind == "f" and out.dtype.itemsize >= 4
    fits = long >= _LONG_SUM and long % _PARTS == 0 and 0 < out.size <= _FEW_RESULTS
    return is_float and fits


def _in_parts(product: Eqn) -> list[Eqn]:
    """The parts become an axis of the batch, over which the results are summed."""
    primitive, (out,) = product.primitive, product.outvars
    assert isinstance(primitive, DotGeneral)
    contract, batch = primitive.dimension_numbers
    eqns: list[Eqn] = []
    operands: list[Atom] = []
    for operand, (summed,) in zip(product.invars, contract, strict=True):
        shape = operand.aval.shape
        cut = (*shape[:summed], _PARTS, shape[summed] // _PARTS, *shape[summed + 1 :])
        operands.append(_applied(eqns, product, Reshape(cut), operand))

    def behind(axes: tuple[int, ...], summed: int) -> tuple[int, ...]:
        return tuple([a + (a > summed) for a in axes])

    sides = list(zip(contract, batch, strict=True))
    new_batch = [(summed, *behind(axes, summed)) for (summed,), axes in sides]
    new_contract = [(summed + 1,) for (summed,), _ in sides]
    numbers = ((new_contract[0], new_contract[1]), (new_batch[0], new_batch[1]))
    parts = DotGeneral(numbers, primitive.preferred_element_type)
    made = Var(parts.abstract(*(a.aval for a in operands)))
    eqns.append(Eqn(parts, operands, [made], product.source_info))
    eqns.append(Eqn(ReduceSum((0,)), [made], [out], product.source_info))
    return eqns


def _applied(
    eqns: list[Eqn], like: Eqn, primitive: Transpose | BroadcastInDim | Reshape, x: Atom
) -> Var:
    """The result of an equation that is added to the list."""
    aval: ShapedArray = primitive.abstract(x.aval)
    eqns.append(Eqn(primitive, [x], [Var(aval)], like.source_info))
    return eqns[-1].outvars[0]


def exchange_operands(closed: ClosedJaxpr) -> ClosedJaxpr:
    """A contraction that is only transposed takes its operands in the other order instead.

    The transpose of x y is that of the factors, exchanged: dot_general leaves the other axes of its
    first operand in front of those of the second, so that with exchanged operands they come out in
    the order that was asked for.
    """
    jaxpr = closed.jaxpr
    uses = Counter(a for e in jaxpr.eqns for a in e.invars if isinstance(a, Var))
    uses.update(a for a in jaxpr.outvars if isinstance(a, Var))
    makers = {e.outvars[0]: e for e in jaxpr.eqns if isinstance(e.primitive, DotGeneral)}
    replaced: dict[int, Eqn] = {}
    gone: set[int] = set()
    for eqn in jaxpr.eqns:
        operand = eqn.invars[0] if eqn.invars else None
        if not isinstance(eqn.primitive, Transpose) or not isinstance(operand, Var):
            continue
        product = makers.get(operand)
        if product is None or uses[operand] != 1:
            continue
        if eqn.primitive.permutation == _exchanged(product):
            replaced[id(eqn)] = _with_exchanged_operands(product, eqn)
            gone.add(id(product))
    if not gone:
        return closed
    eqns = [replaced.get(id(e), e) for e in jaxpr.eqns if id(e) not in gone]
    changed = Jaxpr(jaxpr.constvars, jaxpr.invars, jaxpr.outvars, eqns, jaxpr.debug_info)
    return ClosedJaxpr(changed, closed.consts)


def _exchanged(product: Eqn) -> tuple[int, ...]:
    """The permutation that puts the axes of the second operand in front of those of the first."""
    primitive = product.primitive
    assert isinstance(primitive, DotGeneral)
    contract, batch = primitive.dimension_numbers
    n_batch = len(batch[0])
    first = product.invars[0].aval.ndim - n_batch - len(contract[0])
    rank = product.outvars[0].aval.ndim
    rows = range(n_batch, n_batch + first)
    return (*range(n_batch), *range(n_batch + first, rank), *rows)


def _with_exchanged_operands(product: Eqn, transpose: Eqn) -> Eqn:
    primitive = product.primitive
    assert isinstance(primitive, DotGeneral)
    contract, batch = primitive.dimension_numbers
    numbers = (contract[::-1], batch[::-1])
    exchanged = DotGeneral(numbers, primitive.preferred_element_type)
    return Eqn(exchanged, product.invars[::-1], transpose.outvars, product.source_info)
