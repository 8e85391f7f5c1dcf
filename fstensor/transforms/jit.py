"""Compilation: a function is traced once for each signature, and the program runs from then on.

A signature is the structure of the arguments, their shapes and dtypes (weak or not), the values of
static arguments, and the settings and mapped axes that tracing depends on.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import logging
import time
import types
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast, final

import numpy as np

from fstensor import tree
from fstensor.array import Array, ConcreteArray, is_array_like
from fstensor.config import config
from fstensor.core import finite, leaks, source_info
from fstensor.core.aval import ShapedArray
from fstensor.core.boundary import boundary, fold
from fstensor.core.collector import no_collection
from fstensor.core.jaxpr import ClosedJaxpr
from fstensor.core.primitive import ZERO, Linear, MappedAxis, Value, primitive
from fstensor.core.state import state
from fstensor.core.trace import EVAL, PartialTrace, Tracer
from fstensor.device import current_default_device
from fstensor.errors import ArgumentError, OptionError, StaticArgumentError
from fstensor.transforms.captures import Capture, Captures, check_captures
from fstensor.transforms.dispatch import MISSED, KnownCall, call_known, lifted, remember
from fstensor.transforms.explain import argument_name, explain_retrace
from fstensor.transforms.jvp import instantiate, jvp_jaxpr
from fstensor.transforms.linearize import split_jaxpr
from fstensor.transforms.make_jaxpr import aval_of
from fstensor.transforms.programs import (
    ProgramPrimitive,
    check_inputs,
    make_ready,
    may_give_up,
    native_function_of,
    native_function_of_arrays,
    native_of,
    native_program_of,
    program_of,
    run_compiled,
    runs_natively,
    trace_captured,
)
from fstensor.transforms.stages import Lowered, Signature
from fstensor.transforms.transpose import transpose_jaxpr
from fstensor.transforms.vmap import batch_jaxpr

F = TypeVar("F", bound=Callable[..., Any])

_MOST_SIGNATURES = 1024  # of one function; the oldest goes first

_log = logging.getLogger("fstensor.jit")


@final
@primitive("jit")
class Jit(ProgramPrimitive):
    """A call of a program: the transforms of a call are calls of the transformed program."""

    label: str
    jaxpr: ClosedJaxpr

    @property
    def params(self) -> dict[str, Any]:
        return {"name": self.label, "jaxpr": self.jaxpr}

    @property
    def programs(self) -> tuple[ClosedJaxpr, ...]:
        return (self.jaxpr,)

    def called_program(self) -> ClosedJaxpr:
        return self.jaxpr

    def abstract(self, *avals: ShapedArray) -> tuple[ShapedArray, ...]:
        check_inputs("jit", self.jaxpr, avals)
        return self.jaxpr.out_avals

    def impl(self, xp: Any, *buffers: Any) -> Any:
        return run_compiled(self.jaxpr, xp, buffers)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        active = tuple([t is not ZERO for t in tangents])
        program, marks = jvp_jaxpr(self.jaxpr, active)
        given = [t for t in tangents if t is not ZERO]
        results = Jit(self.label, program).bind(*primals, *given)
        count = len(self.jaxpr.out_avals)
        out_tangents = iter(results[count:])
        return results[:count], [next(out_tangents) if on else ZERO for on in marks]

    def partial_eval(self, trace: PartialTrace, args: Sequence[Value]) -> Any:
        unknown = tuple([trace.is_unknown(x) for x in args])
        split = split_jaxpr(self.jaxpr, unknown)
        known_args = [x for x, on in zip(args, unknown, strict=True) if not on]
        known_outs = trace.parent.process(Jit(self.label, split.known), known_args)
        available = [*known_args, *known_outs]
        residuals = [available[i] for i in split.residuals]
        unknown_args = [x for x, on in zip(args, unknown, strict=True) if on]
        recorded = iter(trace.record(Jit(self.label, split.unknown), [*residuals, *unknown_args]))
        known = iter(known_outs[: split.known_count])
        return [next(recorded) if on else next(known) for on in split.unknown_outs]

    def transpose(self, cts: Any, *args: Value) -> Sequence[Value]:
        linear = tuple([isinstance(x, Linear) for x in args])
        program, marks = transpose_jaxpr(self.jaxpr, linear)
        residuals = [x for x, on in zip(args, linear, strict=True) if not on]
        given = [instantiate(ct, a) for ct, a in zip(cts, self.jaxpr.out_avals, strict=True)]
        results = iter(Jit(self.label, program).bind(*residuals, *given))
        arrived = iter([next(results) if on else ZERO for on in marks])
        return [next(arrived) if on else None for on in linear]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        program, out_dims = batch_jaxpr(self.jaxpr, axis, tuple(dims))
        return Jit(self.label, program).bind(*args), out_dims


@final
class Traced:
    """A traced signature: the call, what it closes over, and the structure of its output."""

    __slots__ = ("call", "captured", "ndarrays", "out_tree")

    def __init__(
        self,
        call: Jit,
        captured: list[Array],
        ndarrays: tuple[Capture, ...],
        out_tree: tree.PyTreeDef,
    ) -> None:
        self.call = call
        self.captured = captured  # tracers of enclosing transforms, passed as first arguments
        self.ndarrays = ndarrays  # whose values are constants of the program
        self.out_tree = out_tree


# Signatures by function; an entry goes when its function does.
_caches: weakref.WeakKeyDictionary[Any, dict[Any, dict[Any, Any]]] = weakref.WeakKeyDictionary()


def signatures_of(fun: Callable[..., Any], options: Any) -> dict[Any, Any]:
    """The table of what was traced of `fun`, that all who trace it with these options share."""
    try:
        return _caches.setdefault(fun, {}).setdefault(options, {})
    except TypeError:  # a callable that cannot be hashed or referred to weakly
        return {}


def clear_caches() -> None:
    """Forget every traced and compiled program."""
    for by_options in _caches.values():
        for signatures in by_options.values():
            signatures.clear()


@final
class Jitted:
    """A compiled function: what `jit` returns."""

    __wrapped__: Callable[..., Any]

    def __init__(
        self,
        fun: Callable[..., Any],
        static_argnums: tuple[int, ...],
        static_argnames: tuple[str, ...],
        donate_argnums: tuple[int, ...],
        donate_argnames: tuple[str, ...],
        inline: bool,
    ) -> None:
        functools.update_wrapper(self, fun)
        self._fun = fun
        self._static_argnums = static_argnums
        self._static_argnames = frozenset(static_argnames)
        self._donate_argnums = donate_argnums
        self._donate_argnames = frozenset(donate_argnames)
        self._inline = inline
        self._donates = bool(donate_argnums or donate_argnames)
        self._signatures = self._shared_signatures()
        # Static arguments would have to be compared each time.
        is_plain = not static_argnums and not static_argnames
        known = ("known calls", donate_argnums, donate_argnames)
        self._known = signatures_of(fun, known) if is_plain else None

    def _shared_signatures(self) -> dict[Any, Traced]:
        """The table that all jits of the same function with the same options share."""
        donated = (self._donate_argnums, self._donate_argnames) if self._donates else ()
        return signatures_of(self._fun, (self._static_argnums, self._static_argnames, *donated))

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<jit of {source_info.describe_function(self._fun)}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # What `boundary` does, without one more call.
        try:
            result = call_known(self._known, args, kwargs) if self._known is not None else MISSED
            if result is not MISSED:
                return result
            if config.disable_jit:
                return self._fun(*args, **kwargs)
            leaves, traced = self._trace(args, kwargs)
            if state.trace is EVAL:
                result = self._compiled_and_run(args, kwargs, traced)
                if result is not MISSED:
                    return result
            if self._inline and state.trace is not EVAL:
                outs = traced.call.jaxpr.as_function()(*traced.captured, *leaves)
            else:
                outs = traced.call.bind(*traced.captured, *leaves)
            if state.trace is EVAL and self._donates:
                self._delete_donated(args, kwargs)
            return tree.unflatten(traced.out_tree, outs)
        except Exception as error:
            fold(error)
            raise

    @boundary
    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """Trace for arguments, or ShapeDtypeStructs in their place, without running."""
        traced = self._trace(args, kwargs)[1]
        dynamic_args, dynamic_kwargs, static = self._split(args, kwargs)
        texts = tuple([f"{argument_name(self._fun, n)}={x!r}" for n, _, x in static])
        in_tree = tree.structure((dynamic_args, dynamic_kwargs))
        name, donated = self._described, self._marks_of_donated(args, kwargs)
        captured = tuple(traced.captured)
        return Lowered(
            Signature(traced.call, name, in_tree, traced.out_tree, donated, texts, captured)
        )

    def _marks_of_donated(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bool, ...]:
        """For each leaf of the dynamic arguments, whether the caller gives it up."""
        count, static = len(args), self._static_positions(args)
        donated = {i % count for i in self._donate_argnums if -count <= i < count}
        marked = [_marked(x, i in donated) for i, x in enumerate(args) if i not in static]
        named = {
            n: _marked(x, n in self._donate_argnames)
            for n, x in kwargs.items()
            if n not in self._static_argnames
        }
        return tuple(tree.leaves((marked, named)))

    def clear_cache(self) -> None:
        self._signatures.clear()
        if self._known is not None:
            self._known.clear()

    def _compiled_and_run(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], traced: Traced
    ) -> Any:
        """The result of a call that is like later ones, which will find it; MISSED of others."""
        if self._known is None:
            return MISSED
        with no_collection():
            is_native = self._remember(self._known, args, kwargs, traced)
            if is_native:
                return call_known(self._known, args, kwargs)
        return MISSED if is_native is None else call_known(self._known, args, kwargs)

    def _remember(
        self,
        known: dict[Any, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        traced: Traced,
    ) -> bool | None:
        """Have calls like this one found at once; says whether they make no call of NumPy.

        None where there is something to check each time.
        """
        if traced.captured or traced.ndarrays or finite.is_wanted():
            return None
        closed = traced.call.jaxpr
        leaves, in_tree = tree.flatten((args, kwargs))
        arrays = lifted(leaves)[0]
        avals = tuple([getattr(x, "aval", None) for x in arrays])
        if config.stamp is None or avals != closed.in_avals or not runs_natively(closed):
            return None
        if any(x._buffer.__class__ is not np.ndarray for x in arrays):  # on a GPU
            return None
        donated: list[int] = []
        if self._donates:
            donated = [i for i, on in enumerate(self._marks_of_donated(args, kwargs)) if on]
        call = KnownCall(
            config.stamp,
            closed.in_avals,
            native_function_of(closed),
            native_of(closed).is_whole,
            native_function_of_arrays(closed),
            closed.out_avals,
            traced.out_tree,
            donated,
            self._described,
            native_of(closed).source,
        )
        remember(known, in_tree, call)
        return call.is_native

    def _trace(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], Traced]:
        """The dynamic leaves of a call, and its signature traced now or before."""
        dynamic_args, dynamic_kwargs, static = self._split(args, kwargs)
        leaves, in_tree = tree.flatten((dynamic_args, dynamic_kwargs))
        avals = tuple([x.aval if isinstance(x, Array) else self._aval(x) for x in leaves])
        scope = tuple(state.axes.items()) if state.axes else ()
        home = current_default_device()  # which lax.platform_dependent looks at
        key = (in_tree, avals, static, config.tracing_key(), scope, home)
        traced = self._signatures.get(key)
        if traced is not None:
            if traced.ndarrays:
                check_captures(traced.ndarrays, self._fun)
                if state.captures is not None:
                    state.captures.extend(traced.ndarrays)
            return leaves, traced
        if self._signatures:
            if static:
                self._check_unchanged(key)
            explain_retrace(self._fun, key, self._signatures)
        traced = self._trace_anew(args, kwargs, in_tree, avals)
        if not traced.captured:
            self._signatures[key] = traced
            if len(self._signatures) > _MOST_SIGNATURES:
                self._signatures.pop(next(iter(self._signatures)), None)
                if self._known is not None:
                    self._known.clear()
        return leaves, traced

    def _trace_anew(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        in_tree: tree.PyTreeDef,
        avals: tuple[ShapedArray, ...],
    ) -> Traced:
        out_tree: list[tree.PyTreeDef] = []

        def flat(*values: Any) -> list[Any]:
            dynamic_args, dynamic_kwargs = tree.unflatten(in_tree, values)
            full = list(args)
            positions = [i for i in range(len(args)) if i not in self._static_positions(args)]
            for i, x in zip(positions, dynamic_args, strict=True):
                full[i] = x
            outs, structure = tree.flatten(self._fun(*full, **{**kwargs, **dynamic_kwargs}))
            out_tree.append(structure)
            return outs

        name = source_info.describe_function(self._fun)
        enclosing, captures = state.captures, Captures()
        state.captures = captures
        start = time.perf_counter()
        try:
            closed, captured = trace_captured(flat, avals, "jit", name)
        finally:
            state.captures = enclosing
        if config.log_compiles:
            _log_compile(name, avals, closed, time.perf_counter() - start)
        if self._donates:
            marks = enumerate(self._marks_of_donated(args, kwargs), start=len(captured))
            may_give_up(closed, [i for i, on in marks if on])
        ndarrays = captures.remaining()
        if enclosing is not None:
            enclosing.extend(ndarrays)
        if state.watched:
            leaks.check()
        label = getattr(self._fun, "__name__", type(self._fun).__name__)
        return Traced(Jit(label, closed), captured, ndarrays, out_tree[0])

    def _static_positions(self, args: tuple[Any, ...]) -> frozenset[int]:
        count = len(args)
        return frozenset([i % count for i in self._static_argnums if -count <= i < count])

    def _split(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], tuple[Any, ...]]:
        """Dynamic positional and keyword arguments, and a key of the static ones."""
        if not self._static_argnums and not self._static_argnames:
            return args, kwargs, ()
        positions = self._static_positions(args)
        dynamic_args = tuple([x for i, x in enumerate(args) if i not in positions])
        static: list[tuple[Any, Any]] = [(i, args[i]) for i in sorted(positions)]
        static += [(n, kwargs[n]) for n in sorted(kwargs) if n in self._static_argnames]
        dynamic_kwargs = {n: x for n, x in kwargs.items() if n not in self._static_argnames}
        for name, value in static:
            self._check_static(name, value)
        return dynamic_args, dynamic_kwargs, tuple([(n, type(x), x) for n, x in static])

    def _check_static(self, name: int | str, value: Any) -> None:
        if isinstance(value, Tracer):
            raise StaticArgumentError(
                f"jit: a static argument of {self._described} must be a Python value, got a traced "
                f"{value.aval} for {argument_name(self._fun, name)}; do not make it static, or "
                "compute it outside of the transform"
            )
        try:
            hash(value)
        except TypeError:
            raise StaticArgumentError(
                f"jit: static arguments of {self._described} must be hashable, got "
                f"{type(value).__name__} for {argument_name(self._fun, name)}; "
                f"{_hashable_instead(value)}"
            ) from None

    def _check_unchanged(self, key: tuple[Any, ...]) -> None:
        """Raises StaticArgumentError when a known static value has another hash than it had."""
        static = key[2]
        for known in self._signatures:
            if known != key or any(
                x is not y for (*_, x), (*_, y) in zip(static, known[2], strict=True)
            ):
                continue
            values = ", ".join(f"{argument_name(self._fun, n)}={x!r}" for n, _, x in static)
            raise StaticArgumentError(
                f"jit: a static argument of {self._described} was changed in place after it was "
                f"traced, got {values}; pass a new object each time, of a type that cannot change "
                "(a tuple, or a dataclass with frozen=True)"
            )

    @functools.cached_property
    def _described(self) -> str:
        return source_info.describe_function(self._fun)

    def _aval(self, x: Any) -> ShapedArray:
        if is_array_like(x) or hasattr(x, "aval"):
            return aval_of(x)
        raise ArgumentError(
            f"jit: arguments of {source_info.describe_function(self._fun)} must be trees of arrays "
            f"or scalars, got a leaf of type {type(x).__name__}; "
            "name the argument in static_argnames, or bind it with functools.partial"
        )

    def _delete_donated(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        count = len(args)
        given = [args[i] for i in self._donate_argnums if -count <= i < count]
        given += [kwargs[n] for n in kwargs if n in self._donate_argnames]
        for x in tree.leaves(given):
            if isinstance(x, ConcreteArray):
                x.donate(self._described)


def _marked(x: Any, mark: bool) -> Any:
    """The mark for each leaf of a tree."""
    return [mark] * len(tree.leaves(x))


def _log_compile(
    name: str, avals: Sequence[ShapedArray], closed: ClosedJaxpr, seconds: float
) -> None:
    """Log a traced program; one that is called at once, not from within another, is compiled."""
    what = f"traced in {seconds:.3g} s"
    if state.trace is EVAL:
        start = time.perf_counter()
        (native_program_of if runs_natively(closed) else program_of)(closed)
        what += f", compiled in {time.perf_counter() - start:.3g} s"
    signature = ", ".join(map(str, avals))
    _log.warning("%s for (%s): %s, %d equations", name, signature, what, len(closed.eqns))


def _hashable_instead(value: Any) -> str:
    if is_array_like(value):
        return "arrays are no static arguments: leave it out of static_argnums and static_argnames"
    if dataclasses.is_dataclass(value):
        return "declare the dataclass with frozen=True"
    return "pass a tuple or a frozen dataclass, or do not make it static"


def jit(
    fun: F | None = None,
    /,
    *,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Iterable[str] | None = None,
    donate_argnums: int | Sequence[int] | None = None,
    donate_argnames: str | Iterable[str] | None = None,
    inline: bool = False,
) -> F:
    """A function with the results of `fun`, traced once for each signature and run as a program.

    `fun` must be pure: it runs as Python only while it is traced, on tracers instead of values.
    static_argnums, static_argnames: arguments passed to `fun` as the Python values that they are;
        they must be hashable, and each new value is traced anew. Either is inferred from the other.
    donate_argnums, donate_argnames: arguments that the caller gives up: their arrays are deleted by
        the call. Results of the same type are written into their memory where they are not read any
        more; not where a NumPy view or another Array still holds it, which keeps its values.
    inline: record the equations of `fun`, not a call, when it is traced by another transform.
    Without `fun`: a decorator with these options.
    Raises: ArgumentError for arguments that are neither static nor trees of arrays, OptionError for
        options that do not fit the signature of `fun`.

    >>> import fstensor as fst
    >>> fst.jit(lambda x: x * 2)(3.0)
    Array(6., dtype=float32, shape=(), weak_type=True)
    """
    if fun is None:
        options = {
            "static_argnums": static_argnums,
            "static_argnames": static_argnames,
            "donate_argnums": donate_argnums,
            "donate_argnames": donate_argnames,
            "inline": inline,
        }
        # mypy does not see which option each value is.
        return cast(F, functools.partial(jit, **options))  # type: ignore[arg-type]
    if not callable(fun):
        raise ArgumentError(f"jit: takes a function, got {type(fun).__name__}")
    static = _resolve(fun, static_argnums, static_argnames, "static")
    donated = _resolve(fun, donate_argnums, donate_argnames, "donate")
    if set(static[0]) & set(donated[0]) or set(static[1]) & set(donated[1]):
        raise OptionError("jit: an argument cannot be both static and donated")
    make_ready()
    return cast(F, Jitted(fun, *static, *donated, inline))


def _resolve(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] | None,
    argnames: str | Iterable[str] | None,
    what: str,
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Positions and names of chosen arguments, each inferred from the other where it is None."""
    nums = (argnums,) if isinstance(argnums, int) else tuple(argnums or ())
    names = (argnames,) if isinstance(argnames, str) else tuple(argnames or ())
    if not nums and not names:
        return (), ()
    try:
        parameters = list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):
        return nums, names
    _check_resolvable(parameters, nums, names, what)
    positional = [
        p.name
        for p in parameters
        if p.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    ]
    if argnames is None:
        names = tuple([positional[i] for i in nums if -len(positional) <= i < len(positional)])
    if argnums is None:
        nums = tuple([positional.index(n) for n in names if n in positional])
    return nums, names


def _check_resolvable(
    parameters: Sequence[inspect.Parameter],
    nums: Sequence[int],
    names: Sequence[str],
    what: str,
) -> None:
    kinds = {p.kind for p in parameters}
    positional = [
        p
        for p in parameters
        if p.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    ]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        for i in nums:
            if not -len(positional) <= i < len(positional):
                raise OptionError(
                    f"jit: {what}_argnums={i} names no argument, "
                    f"the function has {len(positional)} positional ones"
                )
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        known = [p.name for p in parameters]
        for n in names:
            if n not in known:
                raise OptionError(
                    f"jit: {what}_argnames={n!r} names no argument, there are {', '.join(known)}"
                )
