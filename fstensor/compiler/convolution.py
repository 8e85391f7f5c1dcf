"""Convolutions as sums of products over regular parts of memory: what code is written for.

A convolution whose operand is dilated is several ones whose operands are not: the results at a
distance that fits the dilation meet the same elements of the kernel, always the same part of it.
Such a part of the results is a phase. No zeros between the elements are ever multiplied.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

from fstensor.compiler.kernels import LOADS, Access, Kernel, Store, computed, grouped
from fstensor.core.affine import Affine
from fstensor.core.jaxpr import Eqn, Var
from fstensor.core.scalar import STORED, Dtype
from fstensor.ops.conv import ConvGeneralDilated
from fstensor.ops.precision import Precision


@final
class SpatialAxis(NamedTuple):
    """How the window moves along an axis: result p reads p stride + k dilation - low for each k.

    size: of the operand, outside of which there are zeros. places: how many results. lhs, rhs: how
    far apart neighbours lie in memory.
    """

    size: int
    places: int
    window: int
    stride: int
    dilation: int
    low: int
    lhs: int
    rhs: int

    @property
    def extent(self) -> int:
        """How many elements of the padded operand are within reach."""
        if not self.window:
            return 0
        return (self.places - 1) * self.stride + (self.window - 1) * self.dilation + 1

    @property
    def is_inside(self) -> bool:
        """Whether no padding is read."""
        return self.low <= 0 and self.extent - self.low <= self.size


@final
class Convolution(NamedTuple):
    """The sums over inputs c and places k of lhs[n, c, p stride + k dilation - low] rhs[o, c, k].

    dtype: of the arithmetic. batch, inputs, outputs: the numbers of n, c, o in each of the groups.
    The other numbers are places in memory, in elements: where an operand begins, and how far apart
    its groups, batch entries, inputs, outputs are. lhs_output: as far apart are the elements of
    the operand that neighbouring outputs read; 0 where they read the same. precise: elements of the
    operand must not be added up before they are multiplied.
    """

    dtype: Dtype
    lhs_dtype: Dtype
    rhs_dtype: Dtype
    groups: int
    batch: int
    inputs: int
    outputs: int
    axes: tuple[SpatialAxis, ...]
    lhs: int
    lhs_group: int
    lhs_batch: int
    lhs_input: int
    rhs: int
    rhs_group: int
    rhs_output: int
    rhs_input: int
    lhs_output: int = 0
    precise: bool = False

    @property
    def flops(self) -> int:
        places = math.prod(a.places * a.window for a in self.axes)
        return 2 * self.groups * self.batch * self.inputs * self.outputs * places

    def __str__(self) -> str:
        axes = ", ".join(
            f"{a.size} to {a.places}: window {a.window} stride {a.stride} dilation {a.dilation} "
            f"low {a.low} strides {a.lhs} {a.rhs}"
            for a in self.axes
        )
        lhs = f"{self.lhs} + {self.lhs_group} g + {self.lhs_batch} n + {self.lhs_input} c"
        if self.lhs_output:
            lhs += f" + {self.lhs_output} o"
        rhs = f"{self.rhs} + {self.rhs_group} g + {self.rhs_output} o + {self.rhs_input} c"
        sizes = f"{self.groups} groups, {self.batch} by {self.inputs} to {self.outputs}"
        dtypes = f"{self.dtype} of {self.lhs_dtype}, {self.rhs_dtype}"
        precise = ", precise" if self.precise else ""
        return f"{dtypes}, {sizes}, {axes}, lhs {lhs}, rhs {rhs}{precise}"


@final
class Phase(NamedTuple):
    """Results that are computed together, and the map that they go through on their way to memory.

    The kernel's axes are the batch, the spatial ones in the order of `convolution.axes`, and last
    the outputs of all groups.
    """

    convolution: Convolution
    kernel: Kernel


@final
@dataclass
class ConvStep:
    """A convolution with its epilogue. The first two values read are the operands.

    The others are those of the kernel, which is written down for all results; `phases` are the
    parts of it that are computed.
    """

    phases: list[Phase]
    kernel: Kernel
    reads: list[Var]
    writes: list[Var]

    @property
    def flops(self) -> int:
        return sum(p.convolution.flops for p in self.phases) + self.kernel.flops

    def __str__(self) -> str:
        lines = [f"convolution {p.convolution}" for p in self.phases]
        return "\n".join([*lines, str(self.kernel)])


@final
class Dilated(NamedTuple):
    """A spatial axis before it falls into phases; `base` is the dilation of the operand."""

    axis: SpatialAxis
    base: int

    def phases(self) -> Iterator[tuple[int, int, SpatialAxis, int]]:
        """The first result of each phase and the distance of the others, and the axis.

        Last, the first element of the kernel that takes part.
        """
        axis, base = self.axis, self.base
        common = math.gcd(base, axis.stride)
        distance = base // common
        every = base // math.gcd(base, axis.dilation)
        for first in range(min(distance, axis.places)):
            places = len(range(first, axis.places, distance))

            def reaches(k: int, first: int = first) -> bool:
                return (first * axis.stride + k * axis.dilation - axis.low) % base == 0

            found = [k for k in range(min(every, axis.window)) if reaches(k)]
            start = found[0] if found else 0
            window = len(range(start, axis.window, every)) if found else 0
            at = (first * axis.stride + start * axis.dilation - axis.low) // base
            part = SpatialAxis(
                axis.size,
                places,
                window,
                axis.stride // common,
                axis.dilation * every // base,
                -at if found else 0,
                axis.lhs,
                axis.rhs * every,
            )
            yield first, distance, part, start * axis.rhs


def make_phases(convolution: Convolution, bases: Sequence[int], kernel: Kernel) -> Iterator[Phase]:
    """The phases of a convolution whose operand is dilated by `bases`, and their epilogues.

    kernel: the map of all results, with axes as those of a phase.
    """
    axes = [list(Dilated(a, b).phases()) for a, b in zip(convolution.axes, bases, strict=True)]
    for parts in itertools.product(*axes):
        part = convolution._replace(
            axes=tuple([axis for _, _, axis, _ in parts]),
            rhs=convolution.rhs + sum(offset for _, _, _, offset in parts),
        )
        sizes = [kernel.outer[0], *(axis.places for _, _, axis, _ in parts), kernel.outer[-1]]
        moves = [(0, 1), *((first, distance) for first, distance, _, _ in parts), (0, 1)]
        yield Phase(part, _moved(kernel, sizes, moves))


def _moved(kernel: Kernel, sizes: Sequence[int], moves: Sequence[tuple[int, int]]) -> Kernel:
    """The part of a map where the index along each axis is (first, distance) of a smaller one's."""
    if all(move == (0, 1) for move in moves):
        return kernel

    def moved(place: Affine) -> Affine:
        pairs = list(zip(place.strides, moves, strict=True))
        constant = place.constant + sum(s * first for s, (first, _) in pairs)
        return Affine(constant, tuple([s * distance for s, (_, distance) in pairs]))

    def access(of: Access) -> Access:
        return Access(of.buffer, moved(of.place))

    result = Kernel(tuple(sizes), (), list(kernel.buffers))
    for i in kernel.instructions:
        if i.op in LOADS:
            i = i._replace(detail=access(i.detail))
        elif i.op == "index":
            i = i._replace(detail=moved(i.detail))
        result.instructions.append(i)
    result.stores = [Store(access(s.access), s.value) for s in kernel.stores]
    return result


def is_convolution(eqn: Eqn) -> bool:
    """Whether an equation can become a ConvStep: its operands are floats of one dtype."""
    assert isinstance(eqn.primitive, ConvGeneralDilated)
    lhs, rhs = (a.aval.dtype for a in eqn.invars)
    out = eqn.outvars[0].aval.dtype
    if lhs != rhs or lhs.kind not in "fV" or lhs not in STORED:
        return False
    return out in (lhs, computed(lhs))


def convolution_step(
    eqn: Eqn, places: Sequence[Affine], kernel: Kernel, reads: list[Var], writes: list[Var]
) -> ConvStep:
    """The step of an equation.

    places: where the operands have their elements, as functions of their axes. kernel: the map that
    results go through, over their shape.
    """
    primitive = eqn.primitive
    assert isinstance(primitive, ConvGeneralDilated)
    lhs_spec, rhs_spec, out_spec = primitive.dimension_numbers
    lhs, rhs = (a.aval for a in eqn.invars)
    out = eqn.outvars[0].aval
    by_feature, by_batch = primitive.feature_group_count, primitive.batch_group_count
    groups = by_feature * by_batch
    batch = lhs.shape[lhs_spec[0]] // by_batch
    inputs, outputs = rhs.shape[rhs_spec[1]], rhs.shape[rhs_spec[0]] // groups
    near, far = (place.strides for place in places)
    steps = zip(
        lhs_spec[2:], rhs_spec[2:], out_spec[2:], primitive.window_strides,
        primitive.rhs_dilation, primitive.padding, strict=True,
    )  # fmt: skip
    axes = [
        SpatialAxis(
            lhs.shape[x], out.shape[y], rhs.shape[k], stride, dilation, low, near[x], far[k]
        )
        for x, k, y, stride, dilation, (low, _) in steps
    ]
    bases = list(primitive.lhs_dilation)
    order = [[out_spec[0]], *([d] for d in out_spec[2:]), [out_spec[1]]]
    if not axes:
        axes, bases = [SpatialAxis(1, 1, 1, 1, 1, 0, 0, 0)], [1]
        order.insert(1, [])
    by_input = inputs * near[lhs_spec[1]]
    conv = Convolution(
        dtype=computed(lhs.dtype),
        lhs_dtype=lhs.dtype,
        rhs_dtype=rhs.dtype,
        groups=groups,
        batch=batch,
        inputs=inputs,
        outputs=outputs,
        axes=tuple(axes),
        lhs=places[0].constant,
        lhs_group=by_input if by_feature > 1 else batch * near[lhs_spec[0]],
        lhs_batch=near[lhs_spec[0]],
        lhs_input=near[lhs_spec[1]],
        rhs=places[1].constant,
        rhs_group=outputs * far[rhs_spec[0]],
        rhs_output=far[rhs_spec[0]],
        rhs_input=far[rhs_spec[1]],
        precise=primitive.precision is Precision.HIGHEST,
    )
    if outputs == 1 and groups > 1:
        # Groups of one output each are computed as outputs, each of which reads its own elements.
        conv = conv._replace(
            groups=1, outputs=groups, lhs_output=conv.lhs_group, rhs_output=conv.rhs_group
        )
    whole = grouped(kernel, order, len(order))
    return ConvStep(list(make_phases(conv, bases, whole)), whole, reads, writes)
