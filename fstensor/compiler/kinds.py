"""What the compiler can do with an equation, taken by itself."""

from __future__ import annotations

import functools
import math
from typing import Any

from fstensor.compiler.control import NativeControl
from fstensor.compiler.convolution import is_convolution
from fstensor.compiler.domain import Domain
from fstensor.compiler.elementary import EXPANSIONS
from fstensor.compiler.kernels import Access, Instruction, Kernel, Recorder, computed
from fstensor.compiler.lowering import InMemory, Lowering, Operand
from fstensor.compiler.scatter import is_scatter
from fstensor.compiler.strips import Attention
from fstensor.core.affine import Affine, Index
from fstensor.core.jaxpr import Eqn
from fstensor.core.primitive import Primitive
from fstensor.core.scalar import ELEMENTARY, FLOAT32, FLOAT64, KEY, STORED
from fstensor.ops.arrange import Concatenate
from fstensor.ops.conv import ConvGeneralDilated
from fstensor.ops.cumulative import Cumulative
from fstensor.ops.dot import DotGeneral
from fstensor.ops.families import PerElement
from fstensor.ops.gather import Gather
from fstensor.ops.index import Pad
from fstensor.ops.reduce import ArgExtremum, Reduction
from fstensor.ops.scatter import Scattering
from fstensor.ops.shape import Iota

# A concatenation of more parts than this is written part by part.
_MOST_PARTS = 4


def kind_of(eqn: Eqn) -> str:
    """What an equation becomes.

    "point": something for each element. "reduce", "scan": a combination along axes. "view":
    nothing, a rearrangement that others read in place. "iota": a function of the index. "indexed":
    elements found by their index. "product": of matrices. "convolution". "parts": a result written
    part by part. "scatter": an array changed in places. "control": a loop or choice. "host": a call
    of `impl`. Later some become "copy": a rearrangement that is made after all; and "inline": see
    `recomputed`.
    """
    if isinstance(eqn.primitive, NativeControl):
        return "control"
    if isinstance(eqn.primitive, Attention):
        return "attention"
    avals = [a.aval for a in (*eqn.invars, *eqn.outvars)]
    if isinstance(eqn.primitive, (Gather, Scattering)) and avals[1].shape[-1] == 0:
        del avals[1]  # all boxes begin at 0, as no index has to tell
    if any(a.size == 0 or (a.dtype not in STORED and a.dtype != KEY) for a in avals):
        return "host"
    primitive = eqn.primitive
    if primitive.effectful or primitive.stays_apart or primitive.multiple_results:
        return "host"
    if isinstance(primitive, Iota):
        return "iota"
    if isinstance(primitive, DotGeneral):
        return "product" if _is_product(eqn) else "host"
    if isinstance(primitive, ConvGeneralDilated):
        return "convolution" if is_convolution(eqn) else "host"
    if isinstance(primitive, ArgExtremum):
        return "reduce"
    if isinstance(primitive, Cumulative):
        return "scan"
    if isinstance(primitive, Reduction):
        if not primitive.combines_by:
            return "host"
        return "view" if source_of(eqn) is not None else "reduce"
    if isinstance(primitive, PerElement):
        return (
            "host"
            if form_of(primitive, tuple([a.aval.dtype for a in eqn.invars])) is None
            else "point"
        )
    if is_scatter(eqn):
        return "scatter"
    if _is_in_parts(eqn):
        return "parts"
    if type(primitive).element_at is not Primitive.element_at:
        return "indexed" if _is_indexed(eqn) else "host"
    if type(primitive).source_index is not Primitive.source_index:
        return "view"
    return "host"


def why_host(eqn: Eqn) -> str:
    """Why an equation is left to its `impl`."""
    avals = [a.aval for a in (*eqn.invars, *eqn.outvars)]
    strange = [str(a) for a in avals if a.dtype not in STORED]
    if strange:
        return f"no native arithmetic on {strange[0]}"
    if any(a.size == 0 for a in avals):
        return "an array is empty"
    if type(eqn.primitive).source_index is not Primitive.source_index:
        return "a rearrangement that another host call reads"
    return "no native form"


def domain_of(eqn: Eqn) -> Domain:
    """What a kernel runs over that makes the result of an equation, and reduces nothing."""
    shape = eqn.outvars[0].aval.shape
    if type(eqn.primitive).element_at is Primitive.element_at:
        return Domain(shape)
    return Domain(shape, (), eqn.primitive.elements_together(shape))


def _is_product(eqn: Eqn) -> bool:
    """Whether a contraction is a product of matrices, of floats, for each index of a batch.

    The arithmetic is that of the result, or of float32 where that has 16 bits; the operands may be
    narrower.
    """
    dtype = computed(eqn.outvars[0].aval.dtype)
    operands = {a.aval.dtype for a in eqn.invars}
    floats = all(d.kind in "fV" for d in operands)
    return (
        floats
        and dtype in (FLOAT32, FLOAT64)
        and all(d == dtype or d.itemsize < dtype.itemsize for d in operands)
    )


def _is_in_parts(eqn: Eqn) -> bool:
    """Whether a result is written part by part, since each element would ask for too many."""
    primitive = eqn.primitive
    if isinstance(primitive, Concatenate):
        return len(eqn.invars) > _MOST_PARTS or is_interleaved(eqn)
    return isinstance(primitive, Pad) and any(c[2] for c in primitive.padding_config)


def is_interleaved(eqn: Eqn) -> bool:
    """Whether a concatenation takes single elements from some operands in turn."""
    primitive = eqn.primitive
    shapes = {a.aval.shape for a in eqn.invars}
    if (
        not isinstance(primitive, Concatenate)
        or len(shapes) != 1
        or len(eqn.invars) > 2 * _MOST_PARTS
    ):
        return False
    return math.prod(shapes.pop()[primitive.dimension :]) == 1


def _is_indexed(eqn: Eqn) -> bool:
    """Whether a primitive's `element_at` speaks of operands of these types."""
    (out,) = eqn.outvars
    domain = domain_of(eqn)
    lowering = Lowering(InMemory({}, {}), domain)
    index = domain.index_of(out.aval.shape)
    assert index is not None
    operands = [Operand(lowering, a) for a in eqn.invars]
    found = eqn.primitive.element_at(lowering.record, index, *operands)
    return found is not NotImplemented


@functools.lru_cache(maxsize=4096)
def form_of(primitive: PerElement, kinds: tuple[Any, ...]) -> tuple[Instruction, ...] | None:
    """What a primitive's `lower` says of operands with these dtypes; None if it says nothing."""
    if primitive.reads_bits and any(computed(d) != d for d in kinds):
        return None
    record = Recorder(Kernel((), ()))
    args = []
    for n, dtype in enumerate(kinds):
        record.kernel.buffers.append(dtype)
        args.append(record.load(Access(n, Affine(0))))
    if primitive.lower(record, *args) is NotImplemented:
        return None
    form = tuple(record.kernel.instructions)
    known = all(i.op not in ELEMENTARY or (i.op, i.dtype) in EXPANSIONS for i in form)
    return form if known else None


def source_of(eqn: Eqn) -> Index | None:
    """Whether the operand of a rearrangement is read in place: its index for one of the result."""
    shape = eqn.outvars[0].aval.shape
    index = tuple([Affine.axis(d, len(shape)) for d in range(len(shape))])
    return eqn.primitive.source_index(index, eqn.invars[0].aval)
