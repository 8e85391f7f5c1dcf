"""What a program is made of once its equations are fused: native steps, and calls of `impl`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

from fstensor.compiler.control import ChoiceStep, LoopStep
from fstensor.compiler.convolution import ConvStep
from fstensor.compiler.kernels import Kernel
from fstensor.compiler.llvm.gemm import MatrixProduct
from fstensor.compiler.scatter import ScatterStep
from fstensor.compiler.strips import AttentionStep
from fstensor.core.jaxpr import Eqn, Var


@final
@dataclass
class KernelStep:
    """A kernel and the values that are its buffers: those it reads, then those it makes.

    continues: whether it writes a part of what the step before has written other parts of.
    """

    kernel: Kernel
    reads: list[Var]
    writes: list[Var]
    continues: bool = False

    @property
    def flops(self) -> int:
        return self.kernel.flops

    def __str__(self) -> str:
        return str(self.kernel)


@final
@dataclass
class ProductStep:
    """A matrix product, and the map that its results go through on their way to memory.

    The kernel's last two axes are the rows and columns of the product, those before its batch.
    offsets: where the two operands begin in their buffers, which are the first ones read; the
    others are those of the kernel.
    """

    product: MatrixProduct
    offsets: tuple[int, int]
    kernel: Kernel
    reads: list[Var]
    writes: list[Var]

    @property
    def flops(self) -> int:
        p = self.product
        return 2 * math.prod(p.batch) * p.m * p.n * p.k + self.kernel.flops

    def __str__(self) -> str:
        p = self.product
        sizes = f"batch {p.batch} {p.m}x{p.k} by {p.k}x{p.n}"
        strides = f"a {p.a_batch} {p.a_row} {p.a_k}, b {p.b_batch} {p.b_k} {p.b_column}"
        of = "" if p.memory == (p.dtype, p.dtype) else f"of {p.memory[0]}, {p.memory[1]} "
        return f"product {p.dtype} {of}{sizes}, strides {strides}\n{self.kernel}"


@final
@dataclass
class HostStep:
    """An equation that is run by its primitive's `impl`."""

    eqn: Eqn

    @property
    def reads(self) -> list[Var]:
        return [a for a in self.eqn.invars if isinstance(a, Var)]

    @property
    def writes(self) -> list[Var]:
        return self.eqn.outvars

    def __str__(self) -> str:
        return f"host {self.eqn.primitive.name}"


SimpleStep: TypeAlias = KernelStep | ProductStep | ConvStep | ScatterStep | AttentionStep
NativeStep: TypeAlias = SimpleStep | LoopStep | ChoiceStep
Step: TypeAlias = NativeStep | HostStep


def kernel_steps(steps: Sequence[Step]) -> Iterator[SimpleStep]:
    """The native steps with kernels, those inside of loops and choices, too."""
    for step in steps:
        if isinstance(step, (LoopStep, ChoiceStep)):
            for nested in step.nested:
                yield from kernel_steps(nested.segment.steps)
        elif not isinstance(step, HostStep):
            yield step
