"""Contractions written in simpler ways: as products of elements, or without a transpose."""

from __future__ import annotations

from collections import Counter

from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import Atom, ClosedJaxpr, Eqn, Jaxpr, Var
from fstensor.ops.dot import DotGeneral, free_axes
from fstensor.ops.elementwise import Mul
from fstensor.ops.shape import BroadcastInDim, Transpose


def multiply_elements(closed: ClosedJaxpr) -> ClosedJaxpr:
    """A contraction that sums nothing is a product of elements."""
    jaxpr = closed.jaxpr
    eqns: list[Eqn] = []
    changed = False
    for eqn in jaxpr.eqns:
        if _sums_nothing(eqn):
            eqns += _elementwise(eqn)
            changed = True
        else:
            eqns.append(eqn)
    if not changed:
        return closed
    new = Jaxpr(jaxpr.constvars, jaxpr.invars, jaxpr.outvars, eqns, jaxpr.debug_info)
    return ClosedJaxpr(new, closed.consts)


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


def _applied(eqns: list[Eqn], like: Eqn, primitive: Transpose | BroadcastInDim, x: Atom) -> Var:
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
