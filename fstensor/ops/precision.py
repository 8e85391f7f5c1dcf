"""The precision that a caller asks of a contraction."""

from __future__ import annotations

import enum
from typing import Any, TypeAlias

from fstensor.errors import OptionError


class Precision(enum.Enum):
    """A lower bound on the accuracy of sums of products, lowest first.

    Every executor computes in the dtype of the operands or a wider one, whatever is asked for. With
    HIGHEST, the products are those of the operands' elements. Otherwise a convolution of float32
    (or smaller floats) may form sums of neighbouring elements first, which takes fewer products:
    then rounding errors are in proportion to the largest of 4 by 4 neighbours, not only to those
    that a window meets.
    """

    DEFAULT = 0
    HIGH = 1
    HIGHEST = 2


# One for both operands, or a pair with one for each.
PrecisionLike: TypeAlias = (
    Precision | str | tuple[str, str] | tuple[Precision | None, Precision | None] | None
)

# As in JAX: by the name of the precision, or of the arithmetic of an accelerator that has it.
_BY_NAME = {
    "default": Precision.DEFAULT,
    "fastest": Precision.DEFAULT,
    "bfloat16": Precision.DEFAULT,
    "high": Precision.HIGH,
    "bfloat16_3x": Precision.HIGH,
    "tensorfloat32": Precision.HIGH,
    "highest": Precision.HIGHEST,
    "float32": Precision.HIGHEST,
}


def check_precision(what: str, precision: PrecisionLike) -> None:
    """As `as_precision`, for computations that satisfy all of them."""
    as_precision(what, precision)


def as_precision(what: str, precision: PrecisionLike) -> Precision:
    """The precision that a value stands for; of a pair, the higher one.

    Raises: OptionError unless it is a value, or a pair of values, that exists.
    """
    is_pair = isinstance(precision, (tuple, list)) and len(precision) == 2
    given: Any = precision if is_pair else (precision,)
    found = [_named(x) for x in given]
    known = [x for x in found if x is not None]
    if len(known) < len(found):
        raise OptionError(
            f"{what}: precision must be None, a Precision, one of {', '.join(_BY_NAME)}, "
            f"or a pair of these, got {precision!r}"
        )
    return max(known, key=lambda x: x.value)


def _named(value: Any) -> Precision | None:
    if isinstance(value, str):
        return _BY_NAME.get(value)
    if value is None:
        return Precision.DEFAULT
    return value if isinstance(value, Precision) else None
