"""Abstract values: what tracing knows of an array."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from fstensor import dtypes


class ShapedArray:
    """The shape and dtype of an array, and whether its dtype is weak.

    Immutable. Equality and hash come from all three; the hash is computed once, since avals are
    parts of the keys of every cache.
    """

    __slots__ = ("__dict__", "_hash", "dtype", "shape", "weak_type")

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    weak_type: bool

    def __init__(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], weak_type: bool = False
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.weak_type = weak_type
        self._hash = hash((shape, dtype, weak_type))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, ShapedArray)
            and self.shape == other.shape
            and self.dtype == other.dtype
            and self.weak_type == other.weak_type
        )

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
