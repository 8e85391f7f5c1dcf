"""Arguments of the functions that transforms are given: flattening, choosing, naming them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, final

from fstensor import tree
from fstensor.array import Array, is_array_like, lift
from fstensor.core import source_info
from fstensor.errors import ArgumentError, OptionError


def check_callable(function: Any, what: str) -> None:
    """Raises ArgumentError when `function` cannot be called."""
    if not callable(function):
        raise ArgumentError(f"{what}: takes a function, got {type(function).__name__}")


def lift_leaves(leaves: Sequence[Any], what: str) -> list[Array]:
    """Arguments as Arrays. Raises ArgumentError for what is none."""
    hint = "; bind it with a lambda or functools.partial"
    return _lift_all(leaves, f"{what}: arguments must be", hint)


def lift_outputs(leaves: Sequence[Any], what: str) -> list[Array]:
    """A function's outputs as Arrays. Raises ArgumentError for what is none."""
    return _lift_all(leaves, f"{what}: the function must return", "")


def _lift_all(leaves: Sequence[Any], rule: str, hint: str) -> list[Array]:
    for x in leaves:
        if not is_array_like(x):
            raise ArgumentError(
                f"{rule} trees of arrays or scalars, got a leaf of type {type(x).__name__}{hint}"
            )
    return [lift(x) for x in leaves]


def normalize_argnums(argnums: int | Sequence[int], count: int, what: str) -> tuple[int, ...]:
    """Non-negative positions of arguments. Raises OptionError for one that was not passed."""
    chosen = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for i in chosen:
        if not isinstance(i, int) or not -count <= i < count:
            raise OptionError(
                f"{what}: argnums={argnums} names an argument that was not passed by position, "
                f"got {count} positional argument{'' if count == 1 else 's'}"
            )
    return tuple([i % count for i in chosen])


def fix_others(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    chosen: Sequence[int],
) -> Callable[..., Any]:
    """`function` of the arguments at `chosen` alone, the others fixed."""

    def of_chosen(*values: Any) -> Any:
        full = list(args)
        for i, v in zip(chosen, values, strict=True):
            full[i] = v
        return function(*full, **kwargs)

    return of_chosen


def argument_names(function: Callable[..., Any], args: Sequence[Any]) -> list[str]:
    """The names of the positional arguments, for messages; `args[i]` where there is no name."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = []
    for i in range(len(args)):
        known = i < len(parameters) and parameters[i].kind in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        )
        names.append(parameters[i].name if known else f"args[{i}]")
    return names


def leaf_names(function: Callable[..., Any], args: Sequence[Any]) -> list[str]:
    """A name for each leaf of `args`: `params['w']`. Slow, so for messages only."""
    return [
        name + tree.keystr(path)
        for name, arg in zip(argument_names(function, args), args, strict=True)
        for path, _ in tree.leaves_with_path(arg)
    ]


def split_aux(out: Any, what: str) -> tuple[Any, Any]:
    """A function's output taken apart. Raises ArgumentError when it is no pair."""
    if not isinstance(out, tuple) or len(out) != 2:
        raise ArgumentError(
            f"{what}: with has_aux=True the function must return a pair (out, aux), "
            f"got {type(out).__name__}"
        )
    return out


@final
class FlatFunction:
    """A function of trees seen as one of leaves; its output may come with aux.

    Calling it records the structure of what came out.
    """

    out_tree: tree.PyTreeDef
    aux_tree: tree.PyTreeDef
    count: int  # of the output's leaves; those of aux follow
    passing: dict[int, Any]  # leaves of aux that are no arrays, by their place

    def __init__(
        self,
        fun: Callable[..., Any],
        in_tree: tree.PyTreeDef,
        transform: str,
        has_aux: bool,
        described: Callable[..., Any] | None = None,
    ) -> None:
        self.fun = fun
        self.described = described or fun
        self.in_tree = in_tree
        self.transform = transform
        self.has_aux = has_aux

    def __call__(self, *values: Array) -> list[Any]:
        out = self.fun(*tree.unflatten(self.in_tree, values))
        main, aux = split_aux(out, self.transform) if self.has_aux else (out, None)
        outs, self.out_tree = tree.flatten(main)
        aux_leaves, self.aux_tree = tree.flatten(aux)
        self.count = len(outs)
        # Aux may hold anything: what is no array passes by.
        self.passing = {i: x for i, x in enumerate(aux_leaves) if not is_array_like(x)}
        return [*outs, *(x for i, x in enumerate(aux_leaves) if i not in self.passing)]

    @property
    def name(self) -> str:
        return source_info.describe_function(self.described)

    def outputs(self, leaves: Sequence[Any]) -> tuple[Any, Any]:
        """The output's tree and that of aux, from the leaves of both."""
        arrays = iter(leaves[self.count :])
        places = range(self.aux_tree.num_leaves)
        aux = [self.passing[i] if i in self.passing else next(arrays) for i in places]
        return (
            tree.unflatten(self.out_tree, leaves[: self.count]),
            tree.unflatten(self.aux_tree, aux),
        )
