"""What functions with rules written by the user share: their arguments, results and traces."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, final

import numpy as np

from fstensor import tree
from fstensor.array import Array, is_array_like
from fstensor.core import source_info
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, Primitive, Value
from fstensor.core.state import state
from fstensor.core.trace import EVAL, PartialTrace, Trace, Tracer
from fstensor.errors import ArgumentError, DtypeError, GradError, OptionError, ShapeError, TreeError
from fstensor.ops.convert import ConvertElementType
from fstensor.ops.index import batch_first
from fstensor.ops.shape import moveaxis
from fstensor.transforms.arguments import argument_names, lift_leaves
from fstensor.transforms.jvp import JVPTrace, check_tangent

T = TypeVar("T")
Flat = Callable[..., Sequence[Any]]


@final
class SymbolicZero:
    """A tangent or cotangent that is zero by structure, as rules with symbolic_zeros see it."""

    __slots__ = ("aval",)

    def __init__(self, aval: ShapedArray) -> None:
        self.aval = aval

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        return self.aval.ndim

    @property
    def size(self) -> int:
        return self.aval.size

    def __repr__(self) -> str:
        return f"SymbolicZero({self.aval})"


# Arguments


@final
class Parameters:
    """How a function's arguments are written: by position, by name, some not differentiable.

    stops: derivatives end at arrays among the latter; else it is a mistake to ask for them.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        what: str,
        nondiff_argnums: Sequence[int] = (),
        nondiff_argnames: Sequence[str] = (),
        stops: bool = False,
    ) -> None:
        self.stops = stops
        self.fun = fun
        self.what = what
        self.name = getattr(fun, "__name__", type(fun).__name__)
        try:
            self.signature: inspect.Signature | None = inspect.signature(fun)
        except (TypeError, ValueError):
            self.signature = None
        self.static = self._static(nondiff_argnums, nondiff_argnames)
        parameters = self.signature.parameters.values() if self.signature else ()
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        plain = self.signature and all(p.kind in positional for p in parameters)
        self._count = len(self.signature.parameters) if self.signature and plain else -1

    def _static(self, argnums: Sequence[int], argnames: Sequence[str]) -> tuple[int, ...]:
        nums = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        names = (argnames,) if isinstance(argnames, str) else tuple(argnames)
        known = list(self.signature.parameters) if self.signature else []
        for n in names:
            if n not in known:
                raise OptionError(
                    f"{self.what}: nondiff_argnames={n!r} names no argument of {self.described}, "
                    f"there are {', '.join(known) or 'none'}"
                )
        if any(i < 0 for i in nums):
            raise OptionError(f"{self.what}: nondiff_argnums must not be negative, got {argnums}")
        return tuple(sorted({*nums, *map(known.index, names)}))

    @property
    def described(self) -> str:
        return source_info.describe_function(self.fun)

    def positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments by position, defaults filled in. Raises ArgumentError if they cannot be."""
        if not kwargs and len(args) == self._count:
            return args
        if self.signature is not None:
            try:
                bound = self.signature.bind(*args, **kwargs)
            except TypeError as error:
                raise ArgumentError(
                    f"{self.what}: the arguments of {self.described} do not fit it: {error}"
                ) from None
            bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
        if kwargs:
            raise ArgumentError(
                f"{self.what}: {self.described} takes {', '.join(kwargs)} by keyword alone, but a "
                "rule takes its arguments by position; make them positional"
            )
        if self.static and self.static[-1] >= len(args):
            raise OptionError(
                f"{self.what}: nondiff_argnums={self.static} names an argument that "
                f"{self.described} was not given, got {len(args)}"
            )
        return args

    def leaves(self, args: Sequence[Any]) -> tuple[list[Any], tree.PyTreeDef]:
        """The leaves of the differentiable arguments, and the structure of their tuple."""
        given = args
        if self.static:
            given = [x for i, x in enumerate(args) if i not in self.static]
        leaves, structure = tree.flatten(tuple(given))
        for x in leaves:
            if not is_array_like(x):
                raise ArgumentError(
                    f"{self.what}: arguments of {self.described} must be trees of arrays or "
                    f"scalars, got a leaf of type {type(x).__name__}; name such an argument in "
                    "nondiff_argnums"
                )
        return leaves, structure

    def whole(self, args: Sequence[Any], given: Sequence[Any]) -> list[Any]:
        """All arguments, with these for the differentiable ones."""
        if not self.static:
            return list(given)
        rest = iter(given)
        return [x if i in self.static else next(rest) for i, x in enumerate(args)]

    def statics(self, args: Sequence[Any]) -> list[Any]:
        return [args[i] for i in self.static]

    def without_tangents(self, args: Sequence[Any], trace: JVPTrace) -> Sequence[Any]:
        """Arguments of which the nondiff ones have no derivatives, where that is the convention."""
        if not self.static or not self.stops:
            return args

        def primal(x: Any) -> Any:
            return trace.split(x)[0] if isinstance(x, Tracer) else x

        return [tree.map(primal, x) if i in self.static else x for i, x in enumerate(args)]

    def leaf_name(self, args: Sequence[Any], place: int) -> str:
        """The name of a differentiable leaf: `params['w']`."""
        names = argument_names(self.fun, args)
        found = [
            name + tree.keystr(path)
            for i, (name, x) in enumerate(zip(names, args, strict=True))
            if i not in self.static
            for path, _ in tree.leaves_with_path(x)
        ]
        return found[place]


def rule_name(rule: Any) -> str:
    return source_info.describe_function(rule)


# Results


def lifted(x: Any, what: str) -> Array:
    return x if isinstance(x, Array) else lift_leaves([x], what)[0]


def with_type(x: Array, aval: ShapedArray) -> Array:
    """A result as weak or strong as `aval`, whose shape and dtype it has."""
    if x.weak_type == aval.weak_type:
        return x
    out: Array = ConvertElementType(aval.dtype, aval.weak_type).bind(x)
    return out


def kind_of(x: Any) -> str:
    """What a rule returned by mistake, for messages."""
    return str(x.aval) if isinstance(x, Array) else f"a {type(x).__name__}"


def pair_of(returned: Any, what: str, parts: str) -> tuple[Any, Any]:
    """What a rule returned, taken apart. Raises ArgumentError when it is no pair."""
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
        raise ArgumentError(f"{what} must return a pair {parts}, got {kind_of(returned)}")
    return returned[0], returned[1]


def _check_structure(what: str, got: Any, expected: tree.PyTreeDef, like: str) -> list[Any]:
    leaves, structure = tree.flatten(got)
    if structure != expected:
        difference = tree.describe_mismatch(expected, got)
        raise TreeError(f"{what} must have the structure of {like}; {difference}")
    return leaves


def checked_results(
    out: Any, expected: tree.PyTreeDef | None, avals: Sequence[ShapedArray], what: str
) -> tuple[list[Array], tree.PyTreeDef]:
    """The leaves of a result that a rule returned, and its structure.

    expected, avals: those of the function's own result, where they are known.
    Raises: TreeError or ShapeError when it has not the function's type.
    """
    leaves, structure = tree.flatten(out)
    if expected is not None and structure != expected:
        _check_structure(f"{what}: its result", out, expected, "the function's result")
    results = [lifted(x, what) for x in leaves]
    if expected is None:
        return results, structure
    for i, (x, a) in enumerate(zip(results, avals, strict=True)):
        if not x.aval.same_type(a):
            error = ShapeError if x.aval.shape != a.shape else DtypeError
            raise error(
                f"{what}: its result{_leaf_path(structure, i)} must have the type of the "
                f"function's, got {x.aval} for {a}"
            )
    return [with_type(x, a) for x, a in zip(results, avals, strict=True)], structure


def checked_tangents(
    tangent: Any, structure: tree.PyTreeDef, avals: Sequence[ShapedArray], what: str
) -> list[Value]:
    """The leaves of a tangent that a rule returned for a result of this type; some are ZERO."""
    leaves = _check_structure(f"{what}: its tangent", tangent, structure, "its result")

    def words(i: int) -> Callable[[], str]:
        return lambda: f"{what}: its tangent{_leaf_path(structure, i)}"

    return [
        checked_tangent(t, a, words(i)) for i, (t, a) in enumerate(zip(leaves, avals, strict=True))
    ]


def checked_tangent(t: Any, primal: ShapedArray, what: Callable[[], str]) -> Value:
    """A tangent or cotangent that a rule returned, ZERO for float0 and symbolic zeros.

    what: says which one it is, in words, and is called for messages alone.
    """
    if isinstance(t, Array) and t.aval == primal.tangent and not primal.tangent.is_float0:
        return t
    if isinstance(t, SymbolicZero):
        if t.shape == primal.shape:
            return ZERO
        raise ShapeError(f"{what()} must have the shape of its primal, got {t} for {primal}")
    if not is_array_like(t):
        raise ArgumentError(f"{what()} must be an array, got {type(t).__name__}")
    checked = check_tangent(t, primal, what())
    return checked if checked is ZERO else with_type(checked, primal.tangent)


def _leaf_path(structure: tree.PyTreeDef, place: int) -> str:
    """`['w'][0]` for a leaf, "" for a tree that is a leaf."""
    numbered = tree.unflatten(structure, range(structure.num_leaves))
    return tree.keystr(tree.leaves_with_path(numbered)[place][0])


# Traces


@final
class GuardTrace(Trace):
    """Where a rule runs: in `parent`, without the values that the transform outside follows."""

    def __init__(self, outside: JVPTrace | PartialTrace, name: Callable[[], str]) -> None:
        self.parent = outside.parent
        self.transform = outside.transform
        self.function = outside.function
        self._name = name
        self._outside: tuple[Trace, ...] = (outside,)
        if isinstance(state.trace, GuardTrace):
            self._outside += state.trace._outside

    def check(self, x: Any) -> None:
        """Raises GradError for a value that is followed outside."""
        if isinstance(x, Tracer) and x._trace in self._outside:
            raise differentiated_capture(self._name(), x.aval)

    def process(self, primitive: Primitive, args: Sequence[Any]) -> Any:
        for x in args:
            self.check(x)
        return self.parent.process(primitive, args)


def differentiated_capture(name: str, aval: ShapedArray) -> GradError:
    return GradError(
        f"{name}: refers to a value that is being differentiated, got {aval}, but its rule tells "
        "only the derivatives by its differentiable arguments; pass the value as one of them "
        "(closure_convert finds the values that a function refers to)"
    )


def follows_concrete_values(trace: Trace) -> bool:
    """Whether nothing but derivatives is followed, so that primal values are concrete."""
    while isinstance(trace, (JVPTrace, PartialTrace, GuardTrace)):
        trace = trace.parent
    return trace is EVAL


# Batches


def moved(x: Array, dim: int | None, place: int, size: int) -> Array:
    """A result with its batch at `place`, repeated there if all examples share it."""
    return moveaxis(batch_first(x, dim, size), 0, place)
