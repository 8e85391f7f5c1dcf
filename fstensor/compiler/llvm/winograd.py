"""Convolutions as sixteen products of matrices, after `winograd_plan`, as LLVM functions.

They are the functions that `conv` describes. By images, the kernel is transformed first, once, for
all threads. A thread then takes some images, or bands of one: it transforms the operand's tiles,
multiplies a few of them at a time with the kernel, and makes results of the products. By inputs, it
transforms tiles of operand and kernel, and adds their products to sums that stay in memory; results
are made of the sums of all threads at last.

The last panel of outputs, the last rows of a product, and the last block of a batch overlap those
before where they would not be full. What is computed twice is handed on once. Results that are not
finite are computed again, directly: see `winograd_direct`.
"""

from __future__ import annotations

from collections.abc import Sequence

from fstensor.compiler.convolution import Convolution
from fstensor.compiler.llvm.conv_turned import Epilogue
from fstensor.compiler.llvm.target import Target
from fstensor.compiler.llvm.text import Module
from fstensor.compiler.llvm.winograd_common import WinogradWriter
from fstensor.compiler.llvm.winograd_images import ByImages
from fstensor.compiler.llvm.winograd_inputs import ByInputs
from fstensor.compiler.llvm.winograd_plan import WinogradPlan


def write_winograd(
    module: Module,
    name: str,
    conv: Convolution,
    plan: WinogradPlan,
    target: Target,
    extra: Sequence[str],
    epilogue: Epilogue,
    along: int | None,
) -> None:
    """Add the functions that `conv` describes: `name.first` and `name.then`, or that and `last`."""
    _way(plan)(module, name, conv, plan, target, extra, epilogue, along).write()


def room_of_winograd(conv: Convolution, plan: WinogradPlan, target: Target) -> tuple[int, int]:
    """Bytes of the workspace, as `conv.room` tells them."""
    # The most there may be: as for results that are handed on along an axis.
    return _way(plan)(Module(), "", conv, plan, target, [], lambda *_: None, 1).bytes


def _way(plan: WinogradPlan) -> type[WinogradWriter]:
    return ByInputs if plan.by_inputs else ByImages
