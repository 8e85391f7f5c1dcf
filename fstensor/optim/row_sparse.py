"""Gradients of tables of which only some rows were read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from fstensor import numpy as fnp
from fstensor import tree
from fstensor.array import Array, ArrayLike
from fstensor.errors import DtypeError, ShapeError
from fstensor.transforms.grad import value_and_grad


@final
@tree.register_dataclass
@dataclass(frozen=True)
class RowSparse:
    """An array that is zero but in some rows.

    indices: (n,) integers, the rows. values: (n, ...), what they hold. Where an index occurs more
    than once, its values add up; one outside of the array counts for nothing.
    shape: that of the whole array, as of the parameter whose gradient it is.
    """

    indices: Array
    values: Array
    shape: tuple[int, ...] = tree.static()

    def todense(self) -> Array:
        """The array with all its zeros."""
        return self.added_to(fnp.zeros(self.shape, self.values.dtype))

    def added_to(self, dense: Array) -> Array:
        """dense + self, in the dtype of `dense`, touching only these rows."""
        if dense.shape != self.shape:
            raise ShapeError(f"RowSparse of shape {self.shape}: cannot add to {dense.aval}")
        return dense.at[self.indices].add(self.values.astype(dense.dtype), mode="drop")

    def coalesced(self) -> RowSparse:
        """The same with sorted rows, each once. Rows that are left over lie outside the array."""
        count = self.indices.shape[0]
        rows, where = fnp.unique(
            self.indices, size=count, fill_value=self.shape[0], return_inverse=True
        )
        values = fnp.zeros_like(self.values).at[where].add(self.values)
        return RowSparse(rows, values, self.shape)


def is_row_sparse(x: Any) -> bool:
    """For `is_leaf`: whether x is RowSparse."""
    return isinstance(x, RowSparse)


def row_sparse(indices: ArrayLike, cotangents: Array, shape: tuple[int, ...]) -> RowSparse:
    """The gradient of a table, of that of the rows `table[indices]`.

    Shapes: indices (...), integers from 0 on; cotangents (..., *shape[1:]); shape is the table's.
    Raises: DtypeError for indices that are no integers, ShapeError for shapes that do not fit.
    """
    where = fnp.asarray(indices)
    if not fnp.issubdtype(where.dtype, fnp.integer):
        raise DtypeError(f"row_sparse: indices must be integers, got {where.aval}")
    if cotangents.shape != (*where.shape, *shape[1:]):
        raise ShapeError(
            f"row_sparse: cotangents must have shape {(*where.shape, *shape[1:])}, "
            f"got {cotangents.aval}"
        )
    return RowSparse(
        where.reshape(-1), cotangents.reshape(where.size, *shape[1:]), tuple(map(int, shape))
    )


def lookup_value_and_grad(
    f: Callable[..., Any],
) -> Callable[..., tuple[Array, tuple[RowSparse, Any]]]:
    """Value and gradients of a function of rows of a table, without a gradient of all its rows.

    f(rows, params) gives a number. The function returned takes (table, indices, params), where
    rows = table[indices], and gives the value, and the gradients of the table, which is RowSparse,
    and of params.

    >>> table = fnp.ones((1000, 2))
    >>> loss = lookup_value_and_grad(lambda rows, w: (rows @ w).sum())
    >>> value, (gradient, _) = loss(table, fnp.array([3, 7]), fnp.array([1.0, 2.0]))
    >>> gradient.indices.tolist(), gradient.values.tolist()
    ([3, 7], [[1.0, 2.0], [1.0, 2.0]])
    """
    derived = value_and_grad(f, argnums=(0, 1))

    def of_table(
        table: Array, indices: ArrayLike, params: Any
    ) -> tuple[Array, tuple[RowSparse, Any]]:
        value, (cotangents, others) = derived(table[fnp.asarray(indices)], params)
        return value, (row_sparse(indices, cotangents, table.shape), others)

    return of_table
