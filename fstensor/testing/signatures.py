"""Signatures of fstensor's functions beside those of NumPy and JAX.

A call that is written for either must mean the same here. So a parameter may stand elsewhere, or
have another default, only as one of the two has it, and what may be passed by keyword or by
position there may be so here; taking more forms of calls is no difference.
"""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import textwrap
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

Parameter = inspect.Parameter
_NO_NAME = (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_MANY = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
# Sentinels by which NumPy and JAX say that an argument is not given.
_UNSET = ("_NoValueType", "NoDefault", "NotSpecified", "UnspecifiedValue", "Unspecified")


MISSING = object()


def lookup(root: str, path: str) -> Any:
    """The object `path` (dots between) below the module `root`, or MISSING."""
    try:
        found = importlib.import_module(root)
        for part in path.split("."):
            if not hasattr(found, part) and isinstance(found, ModuleType):
                # A module may be there without its package importing it.
                importlib.import_module(f"{found.__name__}.{part}")
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return MISSING
    return found


def counterparts(path: str) -> dict[str, Any]:
    """What NumPy, SciPy and JAX have under the path, by the name of the library.

    SciPy and JAX are development dependencies: what is not installed is left out.
    """
    found = {}
    for library in ("numpy", "scipy"):
        if path.startswith(f"{library}."):
            found[library] = lookup(library, path.removeprefix(f"{library}."))
    found["jax"] = lookup("jax", path)
    return {library: value for library, value in found.items() if value is not MISSING}


def parameters(function: Any) -> dict[str, Parameter] | None:
    """The parameters of a function, or None for what has no signature."""
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None


def differences(ours: Any, theirs: Mapping[str, Any]) -> list[str]:
    """How the signature of `ours` differs from all of `theirs`, one short text a parameter.

    `p`: it is in one of theirs and not in ours; `p:ufunc` if every ufunc takes it. `p:extra`: it is
    in ours alone and may be passed by position. `p:name`: the parameter at this place is called
    otherwise. `p:order`, `p:kind` (fewer forms of passing it) and `p:default`: different from
    every one that has it.
    """
    mine = parameters(ours)
    others = [(value, p) for value in theirs.values() if (p := parameters(value)) is not None]
    if mine is None or not others:
        return []
    found = [_against(mine, other) for _, other in others]
    out = []
    for (value, _), comparison in zip(others, found, strict=True):
        suffix = ":ufunc" if type(value).__name__ == "ufunc" else ""
        out += [name + suffix for name in comparison.missing if name not in mine]
    for name in mine:
        # Each library judges the parameter; one that finds nothing is enough.
        verdicts = [comparison.verdicts.get(name, "") for comparison in found]
        if all(verdicts):
            # That it is unknown to one library says less than what the other finds.
            known = [v for v in verdicts if v != "extra"]
            out.append(f"{name}:{(known or verdicts)[0]}")
    return list(dict.fromkeys(out))


class _Comparison:
    """`missing`: parameters of theirs that are not in ours. `verdicts`: what differs in ours."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        self.verdicts: dict[str, str] = {}


def _against(mine: Mapping[str, Parameter], theirs: Mapping[str, Parameter]) -> _Comparison:
    out = _Comparison()
    pairs = _pairs(mine, theirs)
    their_places = {name: i for i, name in enumerate(theirs)}
    my_places = {name: i for i, name in enumerate(mine)}
    for name, parameter in theirs.items():
        if name not in pairs.values() and parameter.kind not in _MANY:
            out.missing.append(name)
    for name, parameter in mine.items():
        if name not in pairs:
            # By keyword alone, a parameter of ours gets in nobody's way.
            free = parameter.kind in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD)
            any_number = any(p.kind == Parameter.VAR_POSITIONAL for p in theirs.values())
            out.verdicts[name] = "" if free or any_number else "extra"
            continue
        other = theirs[pairs[name]]
        out.verdicts[name] = _verdict(parameter, other, my_places[name], their_places[pairs[name]])
    return out


def _pairs(mine: Mapping[str, Parameter], theirs: Mapping[str, Parameter]) -> dict[str, str]:
    """Our parameters with theirs of the same name, or at the same place with no name to say."""
    pairs = {name: name for name in mine if name in theirs}
    for (name, parameter), (other, their) in zip(mine.items(), theirs.items(), strict=False):
        unnamed = their.kind in _NO_NAME or other.startswith("_")
        if name in pairs or other in pairs.values():
            continue
        # Where either is named, a call by keyword breaks: the verdict will say so.
        if unnamed or (their.default is Parameter.empty and parameter.default is Parameter.empty):
            pairs[name] = other
    return pairs


def _verdict(mine: Parameter, theirs: Parameter, my_place: int, their_place: int) -> str:
    by_name = theirs.kind not in _NO_NAME
    by_place = theirs.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    if by_name and mine.name != theirs.name:
        return "name"
    if by_name and mine.kind in _NO_NAME:
        return "kind"
    if by_place and mine.kind == Parameter.KEYWORD_ONLY:
        return "kind"
    if by_place and my_place != their_place:
        return "order"
    return "" if _same_default(mine.default, theirs.default) else "default"


def _same_default(mine: Any, theirs: Any) -> bool:
    if theirs is Parameter.empty or mine is Parameter.empty:
        # Needing no argument where they need one takes every call of theirs.
        return theirs is Parameter.empty
    if type(theirs).__name__ in _UNSET or "not-specified" in repr(theirs):
        return True
    if mine is theirs:
        return True
    if isinstance(mine, enum.Enum) and isinstance(theirs, enum.Enum):
        return mine.name == theirs.name
    if isinstance(mine, type) or isinstance(theirs, type):
        return False
    try:
        return type(mine) is type(theirs) and bool(np.all(mine == theirs))
    except (TypeError, ValueError):
        return False


def unused_parameters(function: Callable[..., Any]) -> list[str]:
    """Parameters that the function's own text never reads: what they say would be ignored.

    Empty where there is no text to read.
    """
    try:
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
        tree = ast.parse(source)
    except (OSError, TypeError, SyntaxError):
        return []
    node = next((n for n in tree.body if isinstance(n, ast.FunctionDef)), None)
    if node is None:
        return []
    read = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [a.arg for a in every if a.arg not in read]
