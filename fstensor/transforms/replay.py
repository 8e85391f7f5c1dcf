"""Functions called eagerly: traced when a call comes again and again, and replayed from then on.

Each operation of an eager call costs some two microseconds of dispatch: arguments are promoted and
made one rank, their types are checked, the current trace is asked. A function such as `var` does so
six times. None of that depends on values: for arguments of the same shapes, dtypes and options, the
same operations follow. So they are recorded, and later calls find with one look what is to be done
with the buffers. Under a transform nothing is replayed: there the operations are recorded one by
one, as always.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, final

import numpy as np

from fstensor import device, tree
from fstensor.array import ConcreteArray
from fstensor.config import config
from fstensor.core import source_info
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import ClosedJaxpr, Literal
from fstensor.core.state import state
from fstensor.core.trace import EVAL
from fstensor.errors import ConcretizationTypeError
from fstensor.transforms.make_jaxpr import trace_flat
from fstensor.transforms.programs import maker_of, program_of

P = ParamSpec("P")
R = TypeVar("R")

_MOST_SIGNATURES = 1024  # of one function; then its table starts anew
# At which call a signature is recorded. It costs what a few dozen replays save, so that it is not
# worth it for shapes, or Python scalars, that are others each time.
RECORDED_AT = 8
_PLAIN = frozenset([type(None), bool, int, str, type])
_LARGE = 1 << 20  # bytes of a result
_ndarray = np.ndarray
_EAGER = "eager"


@final
class _Recorded:
    """What a call with one signature does.

    run: a function of the buffers. out_aval: of its result, where that is a buffer; None where it
    is a list of them, which `results` wraps.
    """

    __slots__ = ("out_aval", "results", "run")

    def __init__(
        self,
        run: Callable[..., Any],
        out_aval: ShapedArray | None,
        results: Callable[[Sequence[Any]], Any],
    ) -> None:
        self.run = run
        self.out_aval = out_aval
        self.results = results


def replayed(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: replay `function` when it is called eagerly with Arrays on the CPU.

    `function` must depend on nothing but the types of Arrays, the values of its other arguments,
    and the default dtypes. Calls with anything but Arrays, plain values and sequences of them, such
    as ndarrays, run as they are written.
    """
    signatures: dict[Any, _Recorded] = {}
    seen: dict[Any, int] = {}  # how often signatures came that are not recorded

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        run = state.at_once
        if run is None:
            return function(*args, **kwargs)
        signature: list[Any] = [config.usual_bits or _unusual_bits()]
        buffers: list[Any] = []
        try:
            for x in args:
                if x.__class__ is ConcreteArray:
                    signature.append(x.aval)
                    buffers.append(x._buffer)
                else:
                    _add_other(signature, buffers, x)
            if kwargs:
                for name, x in kwargs.items():
                    signature.append(name)
                    _add_other(signature, buffers, x)
            key = tuple(signature)
            recorded = signatures.get(key)
        except (AttributeError, TypeError):  # a deleted array, or none of the above
            return function(*args, **kwargs)
        for b in buffers:
            if b.__class__ is not _ndarray:
                return function(*args, **kwargs)
        if recorded is None:
            if not buffers or not signature[0] or not _is_due(seen, key):
                return function(*args, **kwargs)
            recorded = _recorded(function, args, kwargs)
            if recorded is None:
                return function(*args, **kwargs)
            if len(signatures) >= _MOST_SIGNATURES:
                signatures.clear()
            signatures[key] = recorded
        out = run(recorded.run, *buffers)
        if recorded.out_aval is None:
            return recorded.results(out)  # type: ignore[no-any-return]  # what `function` gives
        if out.__class__ is not _ndarray:
            out = np.asarray(out)  # NumPy makes scalars of 0-d results
        return ConcreteArray(out, recorded.out_aval)  # type: ignore[return-value]  # here R is Array

    return call


def _is_due(seen: dict[Any, int], key: tuple[Any, ...]) -> bool:
    """Whether to record a signature now. One that has come more often cannot be recorded."""
    if len(seen) >= _MOST_SIGNATURES:
        seen.clear()
    seen[key] = times = seen.get(key, 0) + 1
    return times == RECORDED_AT


def _unusual_bits() -> int:
    """The default bits where some setting is another than usual; 0 where nothing is replayed."""
    return config.default_dtype_bits if device.default_is_cpu() and not config.checking else 0


def _add_other(signature: list[Any], buffers: list[Any], x: Any) -> None:
    """Enter an argument by keyword, or what is no Array. Raises TypeError for what does not fit."""
    kind = x.__class__
    if kind is ConcreteArray:
        signature.append(x.aval)
        buffers.append(x._buffer)
        return
    signature.append(kind)  # since 1, 1.0 and True are equal
    if kind in _PLAIN or isinstance(x, (np.dtype, type)):
        signature.append(x)
    elif kind is float:
        signature.append(x or str(x))  # 0.0 and -0.0 are equal
    elif kind is tuple or kind is list:
        signature.append(len(x))
        for y in x:
            _add_other(signature, buffers, y)
    else:
        raise TypeError


def _recorded(function: Callable[..., Any], args: Any, kwargs: Any) -> _Recorded | None:
    """What a call does. None where it fails: the mistake is told when it is made eagerly."""
    try:
        return _record(function, args, kwargs)
    except Exception:
        return None


def _record(function: Callable[..., Any], args: Any, kwargs: Any) -> _Recorded:
    leaves, structure = tree.flatten((args, kwargs), is_leaf=_is_option)
    places = [i for i, x in enumerate(leaves) if isinstance(x, ConcreteArray)]
    out_tree: tree.PyTreeDef | None = None

    def flat(*tracers: Any) -> list[Any]:
        nonlocal out_tree
        full = list(leaves)
        for i, t in zip(places, tracers, strict=True):
            full[i] = t
        new_args, new_kwargs = tree.unflatten(structure, full)
        out = function(*new_args, **new_kwargs)
        outs, out_tree = tree.flatten(out)
        if len(outs) == 1 and out is outs[0]:
            out_tree = None
        return outs

    avals = [leaves[i].aval for i in places]
    name = source_info.describe_function(function)
    closed = ClosedJaxpr(*trace_flat(flat, avals, _EAGER, name))
    out_avals = closed.out_avals

    def results(outs: Sequence[Any]) -> Any:
        arrays = list(map(ConcreteArray, outs, out_avals))
        return arrays[0] if out_tree is None else tree.unflatten(out_tree, arrays)

    single = _single_operation(closed) if out_tree is None else None
    if single is not None:
        return _Recorded(single, out_avals[0], results)
    return _Recorded(program_of(closed).on_cpu, None, results)


def _single_operation(closed: ClosedJaxpr) -> Callable[..., Any] | None:
    """The operation that a program is, where it is one, as a function of the program's inputs."""
    jaxpr = closed.jaxpr
    if len(jaxpr.eqns) != 1 or jaxpr.constvars or jaxpr.outvars != jaxpr.eqns[0].outvars:
        return None
    (eqn,) = jaxpr.eqns
    if eqn.primitive.multiple_results:
        return None
    function = eqn.primitive.on_numpy(*[a.aval for a in eqn.invars])
    (out,) = closed.out_avals
    if isinstance(function, np.ufunc) and out.size * out.dtype.itemsize >= _LARGE:
        function = _in_used_memory(function, out)
    if eqn.invars == jaxpr.invars:
        return function
    names: dict[Any, str] = {v: f"b{i}" for i, v in enumerate(jaxpr.invars)}
    scope = {"function": function}
    operands = []
    for i, a in enumerate(eqn.invars):
        if isinstance(a, Literal):
            scope[f"c{i}"] = a.value.concretize(ConcretizationTypeError, "the value of")
        operands.append(f"c{i}" if isinstance(a, Literal) else names[a])
    text = f"lambda {', '.join(names.values())}: function({', '.join(operands)})"
    return eval(text, scope)  # type: ignore[no-any-return]  # what the text defines


def _in_used_memory(ufunc: np.ufunc, out: ShapedArray) -> Callable[..., Any]:
    """`ufunc`, with results in memory that was in use before: new pages cost more than arithmetic.

    Other orders of axes than the usual one are left to NumPy, whose results have that order, too.
    """
    make = maker_of(out)

    def call(*operands: Any) -> Any:
        for x in operands:
            if not x.flags.c_contiguous:
                return ufunc(*operands)
        return ufunc(*operands, out=make())

    return call


def takes_no_derivative() -> bool:
    """Whether operations are computed at once, or recorded here to be replayed."""
    return state.trace is EVAL or state.trace.transform == _EAGER


def _is_option(x: Any) -> bool:
    return x is None
