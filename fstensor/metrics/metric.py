"""Metrics: what is measured over many batches, as pure functions of a state.

A metric is a frozen dataclass of options with four pure methods. `init()` makes a state, a tree of
arrays; `update(state, ...)` gives the state after another batch; `merge(a, b)` that of two parts of
the data together; and `compute(state)` the result. All run within jit, scan and vmap:

>>> import fstensor as fst
>>> from fstensor import metrics
>>> accuracy = metrics.Accuracy()
>>> state = accuracy.init()
>>> state = fst.jit(accuracy.update)(state, fst.numpy.array([0, 1, 1]), fst.numpy.array([0, 1, 0]))
>>> state = accuracy.update(state, fst.numpy.array([1]), fst.numpy.array([1]))
>>> float(accuracy.compute(state))
0.75

Sums are kept in float64, numbers of things in int32; results have the default float. A metric is a
pytree without leaves itself, so that it can be passed to functions that are transformed.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, TypeVar, dataclass_transform

from fstensor import dtypes, tree
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.errors import DtypeError, ShapeError

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
class Metric(ABC):
    """Something measured; see the module. Subclasses become frozen dataclasses of their fields."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        made: Any = dataclasses.dataclass(frozen=True)(cls)
        tree.register_pytree_node(made, lambda metric: ((), metric), lambda metric, _: metric)

    @abstractmethod
    def init(self) -> Any:
        """The state before there is any data."""

    @abstractmethod
    def update(self, state: Any, *data: Any, **options: Any) -> Any:
        """The state after a batch."""

    @abstractmethod
    def merge(self, a: Any, b: Any) -> Any:
        """The state of the data of two states together."""

    @abstractmethod
    def compute(self, state: Any) -> Any:
        """The result for the data so far."""


def added(a: T, b: T) -> T:
    """The sums of the leaves of two states."""
    result: T = tree.map(fnp.add, a, b)
    return result


def result(x: Array) -> Array:
    """As the default float."""
    return x.astype(dtypes.default_float())


def ratio(numerator: Array, denominator: Array) -> Array:
    """The quotient, as the default float; 0 where the denominator is 0."""
    nothing = denominator == 0
    below = fnp.where(nothing, 1, denominator).astype("float64")
    return result(fnp.where(nothing, 0.0, numerator.astype("float64") / below))


def mask(what: str, where: ArrayLike | None, like: Array) -> Array:
    """Which elements count: all for None. Raises: ShapeError, DtypeError."""
    if where is None:
        return fnp.ones(like.shape, bool)
    chosen = fnp.asarray(where)
    if not dtypes.is_bool(chosen.dtype):
        raise DtypeError(f"{what}: where must be of bools, got {chosen.aval}")
    if chosen.shape != like.shape:
        raise ShapeError(f"{what}: where must have the shape of {like.aval}, got {chosen.aval}")
    return chosen


def classes(what: str, predictions: ArrayLike, targets: ArrayLike) -> tuple[Array, Array]:
    """Indices of the classes that are predicted, and of those that are right.

    predictions: indices, of the shape of targets, or scores with one axis more, at the end, along
        which the largest is the prediction. Raises: ShapeError, DtypeError.
    """
    p, t = fnp.asarray(predictions), fnp.asarray(targets)
    if dtypes.is_inexact(t.dtype):
        raise DtypeError(f"{what}: targets must be indices of classes, got {t.aval}")
    if p.ndim == t.ndim + 1 and p.shape[:-1] == t.shape:
        return fnp.argmax(p, -1), t.astype("int32")
    if p.shape != t.shape:
        raise ShapeError(
            f"{what}: predictions must have the shape of targets, or an axis of classes more, "
            f"got {p.aval} and {t.aval}"
        )
    if dtypes.is_inexact(p.dtype):
        raise DtypeError(
            f"{what}: predictions without an axis of classes must be indices, got {p.aval}; "
            "for scores of two classes, pass scores > threshold"
        )
    return p.astype("int32"), t.astype("int32")


def real_pair(what: str, predictions: ArrayLike, targets: ArrayLike) -> tuple[Array, Array]:
    """Numbers of one shape, as float64. Raises: ShapeError, DtypeError."""
    p, t = fnp.asarray(predictions), fnp.asarray(targets)
    for x in (p, t):
        if dtypes.is_complex(x.dtype):
            raise DtypeError(f"{what}: takes real numbers, got {x.aval}")
    if p.shape != t.shape:
        raise ShapeError(
            f"{what}: predictions and targets must have one shape, got {p.aval} and {t.aval}"
        )
    return p.astype("float64"), t.astype("float64")
