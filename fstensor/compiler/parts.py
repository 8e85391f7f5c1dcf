"""Equations that are steps of their own: results written part by part, changed, or run through."""

from __future__ import annotations

from typing import NamedTuple, final

from fstensor.compiler.control import NativeControl
from fstensor.compiler.domain import Domain, Shape
from fstensor.compiler.kinds import is_interleaved
from fstensor.compiler.lowering import InMemory, Lowering, Operand
from fstensor.compiler.scatter import ScatterParts, scatter_step
from fstensor.compiler.steps import KernelStep, Step
from fstensor.core.affine import Affine, Index
from fstensor.core.jaxpr import Atom, Eqn, Var
from fstensor.ops.arrange import Concatenate
from fstensor.ops.cumulative import Cumulative
from fstensor.ops.index import DynamicUpdateSlice, Pad


def parts_steps(values: InMemory, eqn: Eqn) -> list[KernelStep]:
    """A result that is written part by part: a concatenation, or a pad between elements."""
    (out,) = eqn.outvars
    if isinstance(eqn.primitive, Pad):
        x, value = eqn.invars
        steps = [_copy(values, value, out, _everywhere(out.aval.shape))]
        box = _padded_box(eqn.primitive, x.aval.shape, out.aval.shape)
        return steps if box is None else [*steps, _copy(values, x, out, box)]
    assert isinstance(eqn.primitive, Concatenate)
    if is_interleaved(eqn):
        return [_interleaved(values, eqn)]
    d, start, steps = eqn.primitive.dimension, 0, []
    for x in eqn.invars:
        index = _axes(x.aval.ndim)
        place = (*index[:d], index[d] + start, *index[d + 1 :])
        part = _copy(values, x, out, _Box(x.aval.shape, index, place))
        part.continues = bool(steps)
        steps.append(part)
        start += x.aval.shape[d]
    return steps


def _interleaved(values: InMemory, eqn: Eqn) -> KernelStep:
    """Neighbours in the result come from one operand each, in turn."""
    (out,), shape = eqn.outvars, eqn.invars[0].aval.shape
    lowering = Lowering(values, Domain(shape))
    index = _axes(len(shape))
    elements = [lowering.value(x, index) for x in eqn.invars]
    reads = list(lowering.buffers)
    d = eqn.primitive.params["dimension"]
    for k, value in enumerate(elements):
        lowering.store(out, (*index[:d], index[d] + k, *index[d + 1 :]), value)
    return KernelStep(lowering.kernel, reads, [out])


def _copy(values: InMemory, source: Atom, out: Var, box: _Box) -> KernelStep:
    """The kernel that puts a box of one value into another."""
    lowering = Lowering(values, Domain(box.shape))
    value = lowering.value(source, box.source if source.aval.shape else ())
    reads = list(lowering.buffers)
    lowering.store(out, box.target, value)
    return KernelStep(lowering.kernel, reads, [out])


def control_step(eqn: Eqn) -> Step:
    """A loop or choice whose programs have become kernels."""
    assert isinstance(eqn.primitive, NativeControl)
    reads = [a for a in eqn.invars if isinstance(a, Var)]
    assert len(reads) == len(eqn.invars), "see `nest`"
    return eqn.primitive.step(reads, eqn.outvars)


def scan_step(values: InMemory, eqn: Eqn) -> KernelStep:
    (x,), (out,), primitive = eqn.invars, eqn.outvars, eqn.primitive
    assert isinstance(primitive, Cumulative)
    domain = Domain(out.aval.shape, (primitive.axis,))
    lowering = Lowering(values, domain)
    index = domain.index_of(domain.shape)
    assert index is not None
    if primitive.reverse:
        d = primitive.axis
        last = domain.shape[d] - 1
        index = (*index[:d], index[d] * -1 + last, *index[d + 1 :])
    value = lowering.scan(primitive, lowering.value(x, index))
    reads = list(lowering.buffers)
    lowering.store(out, index, value)
    return KernelStep(lowering.kernel, reads, [out])


def scatter_steps(values: InMemory, eqn: Eqn) -> list[Step]:
    """The operand is copied to the result, unless the plan gives both the same place."""
    (out,) = eqn.outvars
    updates = eqn.invars[1 if isinstance(eqn.primitive, DynamicUpdateSlice) else 2]
    lowering = Lowering(values, Domain(updates.aval.shape))
    parts = ScatterParts(
        lowering.kernel,
        lowering.record,
        lowering.value,
        lambda atom: Operand(lowering, atom),
        lambda index, value: lowering.store(out, index, value),
        lambda: list(lowering.buffers),
    )
    begin = _copy(values, eqn.invars[0], out, _everywhere(out.aval.shape))
    return [begin, scatter_step(eqn, parts)]


@final
class _Box(NamedTuple):
    """A part of two values: the indices of its element at each index of `shape`."""

    shape: Shape
    source: Index
    target: Index


def _axes(rank: int) -> Index:
    return tuple([Affine.axis(d, rank) for d in range(rank)])


def _everywhere(shape: Shape) -> _Box:
    return _Box(shape, _axes(len(shape)), _axes(len(shape)))


def _padded_box(pad: Pad, shape: Shape, result: Shape) -> _Box | None:
    """Where the elements of a padded operand go, without those that are cut away."""
    sizes, firsts = [], []
    for n, m, (low, _, interior) in zip(shape, result, pad.padding_config, strict=True):
        step = interior + 1
        first = max(0, -(low // step))
        behind = min(n, (m - 1 - low) // step + 1)
        if behind <= first:
            return None
        sizes.append(behind - first)
        firsts.append(first)
    source = [i + k for i, k in zip(_axes(len(shape)), firsts, strict=True)]
    target = [
        i * (interior + 1) + low
        for i, (low, _, interior) in zip(source, pad.padding_config, strict=True)
    ]
    return _Box(tuple(sizes), tuple(source), tuple(target))
