"""Why a jitted function is traced again, in words.

A signature is compared with the nearest one known, and what differs is named by the arguments'
paths: `params['w1'] changed from float32[3,4] to float32[3,5] (shape)`.
"""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from collections.abc import Callable, Iterable
from typing import Any, final

from fstensor import tree
from fstensor.config import config
from fstensor.core import source_info
from fstensor.core.aval import ShapedArray
from fstensor.errors import RetraceWarning

_SILENT = 5  # signatures of a function that nobody is told of
_MOST_NAMED = 3  # differences that one message names


@final
@dataclasses.dataclass(frozen=True, slots=True)
class Signature:
    """What the program of a jitted function depends on: the key of its table.

    static: for each static argument its position or name, its type and its value.
    """

    in_tree: tree.PyTreeDef
    avals: tuple[ShapedArray, ...]
    static: tuple[tuple[int | str, type, Any], ...]
    settings: tuple[Any, ...]
    axes: tuple[Any, ...]
    device: Any


def explain_retrace(
    fun: Callable[..., Any], key: tuple[Any, ...], known: Iterable[tuple[Any, ...]]
) -> None:
    """Warn that `fun` is about to be traced for another signature, if the settings want it.

    key, known: fields of a Signature; `known` holds those traced before, at least one.
    """
    keys = list(known)
    mode = config.explain_retraces
    if mode is False or (mode == "auto" and len(keys) != _SILENT):
        return
    if source_info.is_own_function(fun):  # how often the library traces is not the user's doing
        return
    signature = Signature(*key)
    nearest = min(map(_as_signature, reversed(keys)), key=lambda s: _distance(s, signature))
    changes, hint = _differences(fun, nearest, signature)
    more = len(changes) - _MOST_NAMED
    told = ", ".join(changes[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    once = "" if mode is True else " (told once for each function)"
    message = (
        f"jit: {source_info.describe_function(fun)} is traced again, for signature "
        f"{len(keys) + 1}{once}, because {told or 'the arguments differ'}; {hint}, or silence this "
        'with config.update("explain_retraces", False)'
    )
    warnings.warn(RetraceWarning(message), stacklevel=source_info.user_stacklevel())


def _as_signature(key: tuple[Any, ...]) -> Signature:
    return Signature(*key)


def _distance(a: Signature, b: Signature) -> int:
    """How much two signatures differ; another structure is more than any leaves of another type."""
    if a.in_tree != b.in_tree:
        return 10 * (len(a.avals) + len(b.avals)) + 10
    leaves = sum(x != y for x, y in zip(a.avals, b.avals, strict=True))
    static = sum(x != y for x, y in zip(a.static, b.static, strict=False))
    others = (a.settings, a.axes, a.device) != (b.settings, b.axes, b.device)
    return leaves + static + others


def _differences(
    fun: Callable[..., Any], before: Signature, now: Signature
) -> tuple[list[str], str]:
    """What changed between two signatures, and what can be done about the first of it."""
    changes: list[str] = []
    hints: list[str] = []

    def note(change: str, hint: str) -> None:
        changes.append(change)
        hints.append(hint)

    for (name, kind, old), (_, new_kind, new) in zip(before.static, now.static, strict=False):
        if (kind, old) != (new_kind, new):
            note(
                f"the static argument {argument_name(fun, name)} changed from {old!r} to {new!r}",
                "pass it as an array if it takes many values",
            )
    if before.in_tree != now.in_tree:
        note(
            f"the structure of the arguments changed: {_structures(fun, before, now)}",
            "pass the same keys and lengths each time",
        )
    elif before.avals != now.avals:
        pairs = zip(before.avals, now.avals, strict=True)
        for i in [i for i, (a, b) in enumerate(pairs) if a != b]:
            what, hint = _kind(before.avals[i], now.avals[i])
            texts = [_shown(s.avals[i], what) for s in (before, now)]
            leaf = _leaf_name(fun, now, i)
            note(f"{leaf} changed from {texts[0]} to {texts[1]} ({what})", hint)
    if len(before.static) != len(now.static):
        note("static arguments were passed or left out", "pass the same arguments each time")
    if before.settings != now.settings:
        note("the configuration changed", "set it once, before the first call")
    if before.axes != now.axes:
        note(
            f"the mapped axes changed from {dict(before.axes)} to {dict(now.axes)}",
            "call it under vmaps of one size",
        )
    if before.device != now.device:
        note(
            f"the default device changed from {before.device} to {now.device}",
            "choose a device once",
        )
    return changes, hints[0] if hints else "pass arguments of the same types"


def _kind(before: ShapedArray, now: ShapedArray) -> tuple[str, str]:
    if before.shape != now.shape:
        return "shape", "pad it to one of a few shapes"
    if before.dtype != now.dtype:
        return "dtype", "convert it with astype before the call"
    return "weak type", "pass an array of a dtype that you choose, not once a Python scalar"


def _shown(aval: ShapedArray, what: str) -> str:
    weak = "weak " if what == "weak type" and aval.weak_type else ""
    return f"{weak}{aval}"


def argument_name(fun: Callable[..., Any], name: int | str) -> str:
    """The name of an argument known by its position or name."""
    if isinstance(name, str):
        return name
    names = _positional(fun)
    return names[name] if name < len(names) else f"args[{name}]"


def _positional(fun: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(fun).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _leaf_name(fun: Callable[..., Any], signature: Signature, index: int) -> str:
    """The name of a leaf of the arguments: `params['w1']`."""
    places = tree.unflatten(signature.in_tree, range(signature.in_tree.num_leaves))
    args, kwargs = places
    static = {name for name, _, _ in signature.static}
    positions = [i for i in range(len(args) + len(static)) if i not in static]
    for position, arg in zip(positions, args, strict=False):
        for path, i in tree.leaves_with_path(arg):
            if i == index:
                return argument_name(fun, position) + tree.keystr(path)
    named = ((n, path, i) for n, arg in kwargs.items() for path, i in tree.leaves_with_path(arg))
    return next(f"{n}{tree.keystr(path)}" for n, path, i in named if i == index)


def _structures(fun: Callable[..., Any], before: Signature, now: Signature) -> str:
    """Where the trees of arguments differ, with the argument's name."""
    names = [argument_name(fun, i) for i in range(64)]
    static = {name for name, _, _ in now.static}
    dynamic = [n for i, n in enumerate(names) if i not in static]
    (old, old_named), (new, new_named) = (s.in_tree.children() for s in (before, now))
    if len(old.children()) != len(new.children()):
        counts = len(old.children()), len(new.children())
        return f"{counts[0]} positional arguments before, {counts[1]} now"
    for name, a, b in zip(dynamic, old.children(), new.children(), strict=False):
        if a != b:
            return f"{name}: {tree.describe_mismatch(a, b)}"
    return f"keyword arguments: {tree.describe_mismatch(old_named, new_named)}"
