"""Adam for tables of which a step reads only some rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fstensor import numpy as fnp
from fstensor import tree
from fstensor.array import Array
from fstensor.errors import ArgumentError
from fstensor.optim.adaptive import Moments, first_moments
from fstensor.optim.base import GradientTransformation, Hyperparam, Params, transformation
from fstensor.optim.row_sparse import RowSparse, is_row_sparse


def sparse_adam(
    learning_rate: Hyperparam = 1e-3,
    b1: Hyperparam = 0.9,
    b2: Hyperparam = 0.999,
    eps: Hyperparam = 1e-8,
) -> GradientTransformation:
    """Adam for RowSparse gradients, as PyTorch has it: other rows stay, and so do their moments.

    For the rows r of a gradient g, m[r] = b1 m[r] + (1 - b1) g[r], v[r] likewise with the squares,
    and the update is -learning_rate * sqrt(1 - b2^t) / (1 - b1^t) * m[r] / (sqrt(v[r]) + eps),
    RowSparse again; `apply_updates` adds it. t counts all steps.
    Raises: ArgumentError for a gradient that is not RowSparse, naming it.
    """

    def rule(
        grads: Params, slots: Moments, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Moments]:
        _check_row_sparse(grads)
        b1, b2 = hyper["b1"], hyper["b2"]
        rate = -hyper["learning_rate"] * fnp.sqrt(1 - b2**step) / (1 - b1**step)

        def update(g: RowSparse, m: Array, v: Array) -> tuple[RowSparse, Array, Array]:
            g = g.coalesced()
            rows = g.indices
            mean = _with_rows(m, rows, b1, g.values)
            square = _with_rows(v, rows, b2, g.values * g.values)
            moved = rate * _rows(mean, rows) / (fnp.sqrt(_rows(square, rows)) + hyper["eps"])
            return RowSparse(rows, moved, g.shape), mean, square

        leaves, structure = tree.flatten(grads, is_row_sparse)
        means: list[Any] = structure.flatten_up_to(slots.mean)
        squares: list[Any] = structure.flatten_up_to(slots.square)
        after: list[Any] = list(map(update, leaves, means, squares))
        updates, mean, square = (
            tree.unflatten(structure, [one[i] for one in after]) for i in range(3)
        )
        return updates, Moments(mean, square)

    return transformation(
        rule,
        lambda params: first_moments("sparse_adam", params),
        row_sparse=True,
        learning_rate=learning_rate,
        b1=b1,
        b2=b2,
        eps=eps,
    )


def _check_row_sparse(grads: Any) -> None:
    for path, g in tree.leaves_with_path(grads, is_row_sparse):
        if not is_row_sparse(g):
            raise ArgumentError(
                f"sparse_adam: gradients must be RowSparse, got {g.aval} at {tree.keystr(path)}; "
                "give others to another optimizer by multi_transform"
            )


def _rows(table: Array, rows: Array) -> Array:
    # Rows outside the table are those left over by `coalesced`; what is read there is dropped.
    return table.at[rows].get(mode="clip")


def _with_rows(table: Array, rows: Array, decay: Array, values: Array) -> Array:
    moved = decay * _rows(table, rows) + (1 - decay) * values
    return table.at[rows].set(moved.astype(table.dtype), mode="drop")
