"""Abstract values: what tracing knows of an array."""

from __future__ import annotations

import functools
import math
import operator
import os
import threading
import weakref
from functools import cached_property
from typing import Any, final

import numpy as np

from fstensor import dtypes


@final
class ShapedArray:
    """The shape and dtype of an array, and whether its dtype is weak.

    Immutable, and one object for all that are equal: avals are parts of the keys of every cache,
    and are compared and hashed by identity.
    """

    __slots__ = ("__dict__", "__weakref__", "dtype", "shape", "weak_type")

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    weak_type: bool

    def __new__(
        cls, shape: tuple[int, ...], dtype: np.dtype[Any], weak_type: bool = False
    ) -> ShapedArray:
        found = _known.get((shape, dtype, weak_type))
        aval = None if found is None else found()
        return _entered(shape, dtype, weak_type) if aval is None else aval

    def __reduce__(self) -> Any:
        return ShapedArray, (self.shape, self.dtype, self.weak_type)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @cached_property
    def tangent(self) -> ShapedArray:
        """The aval of tangents and cotangents: the same, strong; float0 for integers and bools."""
        dtype = dtypes.tangent_dtype(self.dtype)
        return (
            self if dtype == self.dtype and not self.weak_type else ShapedArray(self.shape, dtype)
        )

    @cached_property
    def is_float0(self) -> bool:
        return dtypes.is_float0(self.dtype)

    @cached_property
    def strong(self) -> ShapedArray:
        return ShapedArray(self.shape, self.dtype) if self.weak_type else self

    def update(
        self,
        shape: tuple[int, ...] | None = None,
        dtype: np.dtype[Any] | None = None,
        weak_type: bool | None = None,
    ) -> ShapedArray:
        """A copy with some parts replaced."""
        return ShapedArray(
            self.shape if shape is None else shape,
            self.dtype if dtype is None else dtype,
            self.weak_type if weak_type is None else weak_type,
        )

    def same_type(self, other: ShapedArray) -> bool:
        """Whether shape and dtype agree, weak or not."""
        return self.shape == other.shape and self.dtype == other.dtype

    def short(self) -> str:
        """As in jaxprs: `f32[2,3]`."""
        return f"{dtypes.short_name(self.dtype)}[{','.join(map(str, self.shape))}]"

    def __str__(self) -> str:
        return f"{dtypes.name(self.dtype)}[{','.join(map(str, self.shape))}]"

    def __repr__(self) -> str:
        weak = ", weak_type=True" if self.weak_type else ""
        return f"ShapedArray({self}{weak})"


# Avals that are in use, by what they hold.
_known: dict[tuple[Any, ...], weakref.ref[ShapedArray]] = {}
_lock = threading.RLock()  # again by the same thread, when garbage is collected meanwhile


def _entered(shape: tuple[int, ...], dtype: np.dtype[Any], weak_type: bool) -> ShapedArray:
    """The aval that was asked for first, of those that are asked for at the same time."""
    shape, weak_type = tuple([operator.index(n) for n in shape]), bool(weak_type)
    key = (shape, dtype, weak_type)
    with _lock:
        found = _known.get(key)
        aval = None if found is None else found()
        if aval is None:
            aval = object.__new__(ShapedArray)
            aval.shape, aval.dtype, aval.weak_type = key
            _known[key] = weakref.ref(aval, functools.partial(_forget, key))
        return aval


def _forget(key: tuple[Any, ...], dead: weakref.ref[ShapedArray]) -> None:
    with _lock:
        if _known.get(key) is dead:
            del _known[key]


def _unlock() -> None:
    """In the child of a fork, the one who held the lock may be gone."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)
