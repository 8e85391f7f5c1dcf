"""Policies of `checkpoint`: which values of the forward pass may be kept for the backward pass.

A policy is a function of an operation: its primitive, the avals of its operands, and its parameters
by name. It returns True when the operation's results may be kept. Those that a policy refuses are
computed again when they are needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, final

from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import Linear, MappedAxis, Primitive, Value, primitive
from fstensor.errors import ArgumentError
from fstensor.ops.conv import ConvGeneralDilated
from fstensor.ops.dot import DotGeneral
from fstensor.transforms.arguments import check_callable

Policy: TypeAlias = Callable[..., bool]

__all__ = [
    "checkpoint_dots",
    "checkpoint_dots_with_no_batch_dims",
    "dots_saveable",
    "dots_with_no_batch_dims_saveable",
    "everything_saveable",
    "nothing_saveable",
    "save_any_names_but_these",
    "save_anything_except_these_names",
    "save_from_both_policies",
    "save_only_these_names",
]


@final
@primitive("name")
class Name(Primitive):
    """The operand itself, under a name that policies know. Its tangent has no name."""

    label: str

    @property
    def params(self) -> dict[str, Any]:
        return {"name": self.label}

    def abstract(self, *avals: ShapedArray) -> ShapedArray:
        (aval,) = avals
        return aval

    def impl(self, xp: Any, *buffers: Any) -> Any:
        return buffers[0]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), tangents[0]

    def transpose(self, ct: Any, *args: Value) -> Sequence[Value]:
        return [ct if isinstance(x, Linear) else None for x in args]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        return self.bind(*args), dims[0]


def everything_saveable(prim: Primitive, *avals: Any, **params: Any) -> bool:
    """Keep every value, as if there were no `checkpoint`."""
    return True


def nothing_saveable(prim: Primitive, *avals: Any, **params: Any) -> bool:
    """Compute everything again from the inputs, as without a policy."""
    return False


def dots_saveable(prim: Primitive, *avals: Any, **params: Any) -> bool:
    """Keep the results of contractions and convolutions."""
    return isinstance(prim, (DotGeneral, ConvGeneralDilated))


def dots_with_no_batch_dims_saveable(prim: Primitive, *avals: Any, **params: Any) -> bool:
    """Keep the results of contractions that have no batch dimensions: those with weights.

    In a transformer this keeps what linear layers give, and not the scores of the attention.
    """
    if not isinstance(prim, DotGeneral):
        return False
    _, (lhs_batch, rhs_batch) = prim.dimension_numbers
    return not lhs_batch and not rhs_batch


checkpoint_dots = dots_saveable
checkpoint_dots_with_no_batch_dims = dots_with_no_batch_dims_saveable


@final
@dataclasses.dataclass(frozen=True)
class _Only:
    """Keep the values under these names."""

    names: frozenset[str]

    def __call__(self, prim: Primitive, *avals: Any, **params: Any) -> bool:
        return isinstance(prim, Name) and prim.label in self.names


@final
@dataclasses.dataclass(frozen=True)
class _NamedBut:
    """Keep the values under names other than these."""

    names: frozenset[str]

    def __call__(self, prim: Primitive, *avals: Any, **params: Any) -> bool:
        return isinstance(prim, Name) and prim.label not in self.names


@final
@dataclasses.dataclass(frozen=True)
class AllBut:
    """Keep all values but those under these names; `checkpoint` refuses what they name, too."""

    names: frozenset[str]

    def __call__(self, prim: Primitive, *avals: Any, **params: Any) -> bool:
        return not isinstance(prim, Name) or prim.label not in self.names


@final
@dataclasses.dataclass(frozen=True)
class Either:
    """Keep what one of two policies keeps."""

    first: Policy
    second: Policy

    def __call__(self, prim: Primitive, *avals: Any, **params: Any) -> bool:
        one = checked(self.first, self.first(prim, *avals, **params))
        two = checked(self.second, self.second(prim, *avals, **params))
        return one or two


def checked(policy: Policy, answer: Any) -> bool:
    """The answer of a policy. Raises ArgumentError when it is no bool."""
    if not isinstance(answer, bool):
        name = getattr(policy, "__name__", None) or repr(policy)
        raise ArgumentError(
            f"checkpoint: a policy must return True or False, got {answer!r} from {name}"
        )
    return answer


def _set_of(names: Sequence[Any], what: str) -> frozenset[str]:
    for n in names:
        if not isinstance(n, str):
            raise ArgumentError(f"{what}: names must be strings, got {n!r}")
    return frozenset(names)


def save_only_these_names(*names_which_can_be_saved: str) -> Policy:
    """A policy that keeps the values that `checkpoint_name` gave one of these names."""
    return _Only(_set_of(names_which_can_be_saved, "save_only_these_names"))


def save_any_names_but_these(*names_not_to_save: str) -> Policy:
    """A policy that keeps the values that have a name, unless it is one of these."""
    return _NamedBut(_set_of(names_not_to_save, "save_any_names_but_these"))


def save_anything_except_these_names(*names_not_to_save: str) -> Policy:
    """A policy that keeps all values, named or not, but those under these names.

    In JAX the value is kept nevertheless, since the operation that computes it has no name.
    """
    return AllBut(_set_of(names_not_to_save, "save_anything_except_these_names"))


def save_from_both_policies(policy_1: Policy, policy_2: Policy) -> Policy:
    """A policy that keeps what `policy_1` or `policy_2` keeps."""
    for policy in (policy_1, policy_2):
        check_callable(policy, "save_from_both_policies")
    return Either(policy_1, policy_2)
