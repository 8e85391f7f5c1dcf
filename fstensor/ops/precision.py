"""The precision that a caller asks of a contraction."""

from __future__ import annotations

import enum
from typing import Any, TypeAlias

from fstensor.errors import OptionError


class Precision(enum.Enum):
    """A lower bound on the accuracy of sums of products, lowest first.

    Every executor computes products in the dtype of the operands and sums them in that of the
    result or a wider one, which is what HIGHEST asks for: no value makes a result less accurate.
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
    """Raises OptionError unless `precision` is a value, or a pair of values, that exists.

    Nothing is returned, since the computation satisfies them all.
    """
    pair = isinstance(precision, (tuple, list)) and len(precision) == 2
    if not all(map(_is_known, precision if pair else [precision])):  # type: ignore[arg-type]
        raise OptionError(
            f"{what}: precision must be None, a Precision, one of {', '.join(_BY_NAME)}, "
            f"or a pair of these, got {precision!r}"
        )


def _is_known(value: Any) -> bool:
    return (
        value is None
        or isinstance(value, Precision)
        or (isinstance(value, str) and value in _BY_NAME)
    )
