"""A function with the arguments it takes, and what is checked of it."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import dtypes, errors
from tests.differential.strategies import ALL, Draw
from tests.recorded import Recorded
from tests.tolerances import FINITE_DIFFERENCES, assert_close

_HALVES = (np.dtype(np.float16), np.dtype(dtypes.bfloat16))


@dataclass(frozen=True)
class Fixed:
    """An array whose values set shapes, or whose place takes no tracer."""

    value: Any


class Call:
    """Arguments of a call. Arrays among them may be traced; all else stays as it is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs
        self.leaves, self.structure = fst.tree.flatten((args, kwargs))
        self.places = [i for i, x in enumerate(self.leaves) if isinstance(x, np.ndarray)]

    @property
    def arrays(self) -> list[np.ndarray[Any, Any]]:
        return [self.leaves[i] for i in self.places]

    def with_arrays(self, xs: Sequence[Any], places: Sequence[int] | None = None) -> Any:
        """(args, kwargs) with other arrays at all their places, or at some."""
        leaves = [x.value if isinstance(x, Fixed) else x for x in self.leaves]
        for i, x in zip(self.places if places is None else places, xs, strict=True):
            leaves[i] = x
        return fst.tree.unflatten(self.structure, leaves)

    def __repr__(self) -> str:
        return f"Call(*{self.args!r}, **{self.kwargs!r})"


@dataclass(frozen=True)
class Function:
    """A function of fstensor.numpy, and how it is compared.

    draw: makes a Call.
    kinds: the dtypes of arrays, which lie within [low, high] unless they are edges.
    reference: NumPy's function of that name by default. Its arguments are first given the dtype
        that ours promote to, for NumPy's lattice is another:
    promotes: "all" arguments to one dtype, to an "inexact" one, to a "number" (bools to integers),
        or not at all, "none".
    jax: JAX's function of that name by default; None when there is none, or it is another one.
    dtype_like: a function of JAX that has results of the same dtypes, or one for all of them; None
        when there is none. "numpy" when they are NumPy's, "index" when they are default integers.
    differentiable: whether its derivatives are compared, and where it is smooth they should agree.
    traceable: whether it can be traced; False when the shape of the result depends on values.
    edgy: whether edge values are drawn.
    factor: of the tolerance for the dtype: a function of several operations rounds several times.
    why: the reason for whatever is not as by default.
    """

    name: str
    draw: Callable[[Draw], Call]
    kinds: Sequence[str] = ALL
    low: float = -3.0
    high: float = 3.0
    reference: Callable[..., Any] | None = None
    promotes: str = "none"
    jax: Any = "same"
    dtype_like: Any = "jax"
    differentiable: bool = True
    traceable: bool = True
    edgy: bool = True
    factor: float = 4.0
    why: str = ""
    label: str = field(default="")

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(self.id)  # in Hypothesis' reports, in place of all fields

    @property
    def id(self) -> str:
        return f"{self.name}-{self.label}" if self.label else self.name

    @property
    def ours(self) -> Callable[..., Any]:
        return getattr(fnp, self.name)

    @property
    def theirs(self) -> Callable[..., Any] | None:
        return getattr(jnp, self.name, None) if self.jax == "same" else self.jax

    def drawer(self, data: Any, **options: Any) -> Draw:
        return Draw(data, self.kinds, self.low, self.high, edgy=self.edgy, **options)


def quietly(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The result of an oracle, without its warnings. Ours must give none."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


# Values


def check_value(function: Function, call: Call) -> None:
    """Value, shape and dtype against NumPy and JAX; where NumPy raises, ours does."""
    args, kwargs = _for_numpy(function, call)
    reference = function.reference or getattr(np, function.name)
    ours = call.with_arrays(call.arrays)
    try:
        expected = quietly(reference, *args, **kwargs)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        builtin = next(
            c for c in (ValueError, TypeError, IndexError, OverflowError) if isinstance(error, c)
        )
        with pytest.raises(builtin) as raised:
            function.ours(*ours[0], **ours[1])
        assert isinstance(raised.value, errors.FstensorError), repr(raised.value)
        return
    got = function.ours(*ours[0], **ours[1])
    assert _structure(got) == _structure(expected)
    ours_flat, numpy_flat = _flat(got), _flat(expected)
    for g, e in zip(ours_flat, numpy_flat, strict=True):
        assert isinstance(g, fst.Array) or not isinstance(e, np.ndarray)
        if isinstance(g, fst.Array):
            e = quietly(np.asarray(e).astype, g.dtype)
            assert_close(g, e, factor=function.factor)
        else:
            assert g == e
    alike = function.theirs if function.dtype_like == "jax" else function.dtype_like
    if alike in ("numpy", "index"):
        default = dtypes.default_int()
        wanted = [default if alike == "index" else np.asarray(e).dtype for e in numpy_flat]
        assert [g.dtype for g in ours_flat] == wanted
    elif alike is not None:
        _check_dtypes(alike, call, ours_flat)


def _structure(x: Any) -> Any:
    """How results are nested; of what kind the sequences are does not matter."""
    return [_structure(y) for y in x] if isinstance(x, (list, tuple)) else None


def _flat(x: Any) -> list[Any]:
    return [z for y in x for z in _flat(y)] if isinstance(x, (list, tuple)) else [x]


def _for_numpy(function: Function, call: Call) -> Any:
    """The arguments, in a dtype in which NumPy shall compute."""
    if function.promotes != "none":
        numbers = (np.ndarray, bool, int, float, complex)
        count = len(fst.tree.leaves(call.args))  # options given by keyword are left alone
        joined = [i for i, x in enumerate(call.leaves[:count]) if isinstance(x, numbers)]
        target = dtypes.result_type(*[call.leaves[i] for i in joined])
        if function.promotes == "inexact":
            target = dtypes.to_inexact(target)
        elif function.promotes == "number" and dtypes.is_bool(target):
            target = dtypes.default_int()
        half = target in _HALVES
        converted = [quietly(np.asarray(call.leaves[i]).astype, target) for i in joined]
        converted = [x.astype(np.float64) if half else x for x in converted]
        return call.with_arrays(converted, joined)
    # NumPy knows bfloat16 hardly; and 16-bit sums are to be as if made without rounding.
    return call.with_arrays(
        [x.astype(np.float64) if x.dtype in _HALVES else x for x in call.arrays]
    )


def _check_dtypes(alike: Callable[..., Any], call: Call, got: Sequence[Any]) -> None:
    asked = [dtypes.canonical(v) for k, v in call.kwargs.items() if k == "dtype" and v is not None]
    wide = any(_bits(dtype) == 64 for dtype in [*asked, *[x.dtype for x in call.arrays]])
    if wide and fst.config.default_dtype_bits == 32:
        return  # JAX has no 64-bit dtypes beside defaults of 32 bits
    arrays = [g for g in got if isinstance(g, fst.Array)]
    expected = _dtypes_in_jax(alike, call, len(arrays))
    if expected is None:
        return
    if len(expected) == 1:
        expected = expected * len(arrays)  # one dtype for all of the results
    kinds = [x.dtype for x in call.arrays]
    whole = not asked and not any(dtypes.is_inexact(k) for k in kinds)
    bools = not asked and all(dtypes.is_bool(k) for k in kinds)
    for g, e in zip(arrays, expected, strict=True):
        inexact, integer = dtypes.is_inexact(g.dtype), dtypes.is_integer(g.dtype)
        if (whole and inexact) or (bools and integer):
            # Documented: what nobody gave a width has the default one. In JAX floats made of narrow
            # integers have 32 bits at either default, and so have some integers made of bools.
            assert _bits(g.dtype) == fst.config.default_dtype_bits
            assert (dtypes.is_inexact if inexact else dtypes.is_integer)(e)
        else:
            assert g.dtype == e, (g.dtype, e)


# With the arguments that are no arrays, whose texts may tell where they lie: they stay alive.
_asked: dict[Any, tuple[list[Any], list[np.dtype[Any]]]] = {}


def _dtypes_in_jax(alike: Callable[..., Any], call: Call, count: int) -> list[np.dtype[Any]] | None:
    """The dtypes of JAX's results; None where it has not implemented the call.

    They do not depend on how long axes are, so that JAX is asked once for all lengths.
    """
    others = [x if i not in call.places else None for i, x in enumerate(call.leaves)]
    kinds = [(x.dtype, x.ndim) for x in call.arrays]
    about = repr((kinds, others, call.structure, count, fst.config.default_dtype_bits))
    if (alike, about) not in _asked:
        structs = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in call.arrays]

        def shaped(*xs: Any) -> Any:
            args, kwargs = call.with_arrays(xs)
            return alike(*args, **kwargs)

        try:
            results = jax.tree.leaves(quietly(jax.eval_shape, shaped, *structs))
        except NotImplementedError:
            return None
        _asked[alike, about] = others, [np.dtype(x.dtype) for x in results]
    return _asked[alike, about][1]


def _bits(dtype: np.dtype[Any]) -> int:
    return 8 * (dtypes.to_real(dtype) if dtypes.is_complex(dtype) else dtype).itemsize


# Transforms


def _call(function: Function, call: Call, places: Sequence[int] | None = None) -> Any:
    def of_arrays(*xs: Any) -> Any:
        args, kwargs = call.with_arrays(xs, places)
        return function.ours(*args, **kwargs)

    return of_arrays


def check_jit(function: Function, call: Call) -> None:
    """The jitted function gives the same values, dtypes and weak types."""
    f = _call(function, call)
    try:
        eager = _flat(f(*call.arrays))
    except errors.FstensorError:
        hypothesis.reject()  # such as bools subtracted; `check_value` compares what raises
    jitted = _flat(fst.jit(f)(*call.arrays))
    for g, e in zip(jitted, eager, strict=True):
        assert g.aval == e.aval
        assert_close(np.asarray(g), np.asarray(e), factor=function.factor)


def check_vmap(function: Function, call: Call, draw: Draw) -> None:
    """Batched along random axes, all arrays or one alone, as in a loop."""
    f, firsts = _call(function, call), call.arrays
    seconds = [draw.second.get(id(x), np.asarray(np.flip(x))) for x in firsts]
    lone = draw.integer(0, len(firsts))  # which alone is batched; all of them for the number
    axes, stacks = [], []
    for i, (x, y) in enumerate(zip(firsts, seconds, strict=True)):
        if lone in (i, len(firsts)):
            axes.append(draw.integer(0, x.ndim))
            stacks.append(np.stack([x, y], axes[-1]))
        else:
            axes.append(None)
            stacks.append(x)
    batched = _flat(fst.vmap(f, in_axes=tuple(axes))(*stacks))
    for k, single in enumerate((firsts, seconds)):
        chosen = [x if axis is None else y for x, y, axis in zip(firsts, single, axes, strict=True)]
        for got, expected in zip(batched, _flat(f(*chosen)), strict=True):
            assert got.dtype == expected.dtype
            assert_close(np.asarray(got)[k], expected, factor=function.factor)


# Derivatives


def check_derivatives(
    function: Function, call: Call, rng: np.random.Generator, recorded: Recorded
) -> None:
    """jvp against central differences, vjp against JAX's."""
    places = [i for i in call.places if dtypes.is_inexact(call.leaves[i].dtype)]
    xs = [call.leaves[i] for i in places]

    def of(f: Callable[..., Any]) -> Callable[..., list[Any]]:
        """The inexact results of `f`, as a function of the inexact arguments."""

        def results(*given: Any) -> list[Any]:
            args, kwargs = call.with_arrays(given, places)
            return [y for y in _flat(f(*args, **kwargs)) if dtypes.is_inexact(y.dtype)]

        return results

    ours = of(function.ours)
    ts = [_direction(rng, x) for x in xs]
    out, pushed = fst.jvp(ours, xs, ts)
    assert out, "nothing to differentiate"
    step = 1e-5
    above, below = (ours(*[x + h * t for x, t in zip(xs, ts, strict=True)]) for h in (step, -step))
    for tangent, high, low in zip(pushed, above, below, strict=True):
        expected = (np.asarray(high) - np.asarray(low)) / (2 * step)
        atol = FINITE_DIFFERENCES * max(1.0, np.abs(expected).max(initial=0.0))
        np.testing.assert_allclose(np.asarray(tangent), expected, rtol=0, atol=atol)
    if function.theirs is None:
        return
    cts = [_direction(rng, np.asarray(y)) for y in out]
    pulled = fst.vjp(ours, *xs)[1](cts)
    theirs = of(function.theirs)
    wanted = recorded.each(
        lambda: quietly(lambda: jax.vjp(theirs, *xs)[1](cts)), _about(function, call, cts)
    )
    for got, want in zip(pulled, wanted, strict=True):
        assert_close(got, want, factor=function.factor, derivative=True)


def _about(function: Function, call: Call, cts: Sequence[np.ndarray[Any, Any]]) -> str:
    """A short text that tells this call from others."""
    parts = [
        (x.dtype, x.shape, x.tobytes()) if isinstance(x, np.ndarray) else x
        for x in (*call.leaves, *cts)
    ]
    text = repr((call.structure, parts))
    return f"{function.id} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _direction(rng: np.random.Generator, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    t = rng.standard_normal(x.shape)
    if dtypes.is_complex(x.dtype):
        t = t + 1j * rng.standard_normal(x.shape)
    return np.asarray(t).astype(x.dtype)
