"""In which order `einsum` contracts its operands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fstensor.numpy.einsum import from_lists


def einsum_path(
    subscripts: Any, /, *operands: Any, optimize: str | bool | Sequence[Any] = "auto"
) -> tuple[list[tuple[int, ...]], Any]:
    """The steps in which `einsum` would contract, and a report that prints their costs.

    Each step names the operands that it contracts; the outcome goes to the end of those left. The
    list can be passed to `einsum` as `optimize`.
    subscripts, operands, optimize: as for `einsum`; of operands only the shapes matter.
    """
    if not isinstance(subscripts, str):
        subscripts, operands = from_lists((subscripts, *operands))
    import opt_einsum  # type: ignore[import-untyped]  # here, since it takes long to load

    path, report = opt_einsum.contract_path(subscripts, *operands, optimize=optimize)
    return [tuple(step) for step in path], report
