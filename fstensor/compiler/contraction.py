"""Contractions as products of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fstensor.compiler.kernels import can_merge, computed, grouped
from fstensor.compiler.llvm.gemm import MatrixProduct
from fstensor.compiler.steps import KernelStep, ProductStep
from fstensor.compiler.values import Values
from fstensor.core.affine import Affine
from fstensor.core.jaxpr import Eqn, Var
from fstensor.ops.dot import DotGeneral, free_axes


def product_step(values: Values, eqn: Eqn, epilogue: KernelStep) -> ProductStep:
    """The step of a contraction: its axes sorted into batch, rows, columns and sums."""
    primitive = eqn.primitive
    assert isinstance(primitive, DotGeneral)
    _, batch = primitive.dimension_numbers
    contract = list(zip(*values.contracted(eqn), strict=True)) or [(), ()]
    shapes = [a.aval.shape for a in eqn.invars]
    n_batch, n_out = len(batch[0]), eqn.outvars[0].aval.ndim
    rank = n_out + len(contract[0])
    axis = [Affine.axis(a, rank) for a in range(rank)]
    places: list[Affine] = []
    operands: list[Var] = []
    free_from = n_batch
    for side, shape in enumerate(shapes):
        index = [Affine(0)] * len(shape)
        for k, d in enumerate(batch[side]):
            index[d] = axis[k]
        for k, d in enumerate(contract[side]):
            index[d] = axis[n_out + k]
        for d in free_axes(len(shape), primitive.dimension_numbers[0][side], batch[side]):
            index[d] = axis[free_from]
            free_from += 1
        v, place = values.in_memory(eqn.invars[side], tuple(index), rank)
        operands.append(v)
        places.append(place)
        if side == 0:
            n_rows = free_from - n_batch
    a, b = places
    sizes = [*eqn.outvars[0].aval.shape, *(shapes[0][d] for d in contract[0])]

    def together(first: int, second: int, operand: Affine) -> bool:
        fits = operand.strides[first] == operand.strides[second] * sizes[second]
        return fits and (second >= n_out or can_merge(epilogue.kernel, first, second))

    def groups(axes: Sequence[int], *of: Affine) -> list[list[int]]:
        found: list[list[int]] = []
        for x in [x for x in axes if sizes[x] != 1]:
            if found and all(together(found[-1][-1], x, p) for p in of):
                found[-1].append(x)
            else:
                found.append([x])
        return found or [[]]

    *more, rows = groups(range(n_batch, n_batch + n_rows), a)
    *still_more, columns = groups(range(n_batch + n_rows, n_out), b)
    sums = groups(range(n_out, rank), a, b)
    batches = [[x] for x in range(n_batch) if sizes[x] != 1] + more + still_more
    assert len(sums) == 1, "see Values"

    def size(group: list[int]) -> int:
        return math.prod([sizes[x] for x in group])

    def stride(place: Affine, group: list[int]) -> int:
        return place.strides[group[-1]] if group else 0

    dtype = computed(eqn.outvars[0].aval.dtype)
    a_dtype, b_dtype = (v.aval.dtype for v in operands)
    product = MatrixProduct(
        dtype,
        tuple(map(size, batches)),
        size(rows),
        size(columns),
        size(sums[0]),
        tuple([stride(a, g) for g in batches]),
        stride(a, rows),
        stride(a, sums[0]),
        tuple([stride(b, g) for g in batches]),
        stride(b, sums[0]),
        stride(b, columns),
        None if a_dtype == dtype else a_dtype,
        None if b_dtype == dtype else b_dtype,
    )
    all_groups = [*batches, rows, columns]
    kernel = grouped(epilogue.kernel, all_groups, len(all_groups))
    offsets = (a.constant, b.constant)
    return ProductStep(product, offsets, kernel, [*operands, *epilogue.reads], epilogue.writes)
