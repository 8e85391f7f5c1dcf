"""Functions that choose: the largest elements, or the code for a platform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fstensor import device
from fstensor.array import Array, ArrayLike, lift
from fstensor.errors import OptionError
from fstensor.ops.elementwise import neg
from fstensor.ops.families import FLOAT
from fstensor.ops.sort import top_k

T = TypeVar("T")


def approx_max_k(
    operand: ArrayLike, k: int, reduction_dimension: int = -1, recall_target: float = 0.95
) -> tuple[Array, Array]:
    """The k largest elements along an axis, in descending order, and their int32 indices.

    recall_target: the least share, within (0, 1], of the true ones among those returned. The result
        is exact, which satisfies each.
    Dtypes: float. JAX's parameters for the way in which it approximates are not there.
    Raises: OptionError, DtypeError, AxisError.
    """
    return top_k(_checked("approx_max_k", operand, recall_target), k, axis=reduction_dimension)


def approx_min_k(
    operand: ArrayLike, k: int, reduction_dimension: int = -1, recall_target: float = 0.95
) -> tuple[Array, Array]:
    """The k smallest elements along an axis, in ascending order, and their int32 indices.

    Arguments and errors as of `approx_max_k`.
    """
    x = _checked("approx_min_k", operand, recall_target)
    values, indices = top_k(neg(x), k, axis=reduction_dimension)
    return neg(values), indices


def _checked(what: str, operand: ArrayLike, recall_target: float) -> Array:
    x = lift(operand, what=what)
    FLOAT.check(what, x.aval)
    if not 0 < recall_target <= 1:
        raise OptionError(f"{what}: recall_target must be within (0, 1], got {recall_target}")
    return x


def platform_dependent(
    *args: Any, default: Callable[..., T] | None = None, **per_platform: Callable[..., T]
) -> T:
    """What the function for the platform of the default device returns for `args`.

    per_platform: functions by the name of the platform, "cpu" or "cuda"; others are never chosen.
    default: the function for platforms that have none of their own.
    The choice is made when the call is traced, and only the chosen function is; JAX traces all.
    Raises: OptionError when there is no function for the platform.
    """
    platform = device.current_default_device().platform
    chosen = per_platform.get(platform, default)
    if chosen is None:
        raise OptionError(
            f"platform_dependent: needs a function for '{platform}' or a default, "
            f"got functions for {', '.join(map(repr, per_platform)) or 'no platform'}"
        )
    return chosen(*args)
