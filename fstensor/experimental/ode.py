"""Ordinary differential equations, solved with steps of the size that the tolerance asks for.

The method is the pair of orders 5 and 4 by Dormand and Prince (1980), with local extrapolation:
E. Hairer, S. P. Norsett, G. Wanner, "Solving Ordinary Differential Equations I" (1993), table 5.2
of section II.5; its continuous extension of order 4 is that of their code DOPRI5, section II.6; the
choice of steps follows section II.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fstensor import dtypes, lax, tree
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike, lift
from fstensor.core import source_info
from fstensor.core.aval import ShapedArray
from fstensor.errors import ArgumentError, DtypeError, OptionError, ShapeError, TreeError
from fstensor.flatten_util import ravel_pytree
from fstensor.transforms.custom_vjp import custom_vjp
from fstensor.transforms.jvp import jvp
from fstensor.transforms.programs import trace_captured
from fstensor.transforms.transpose import vjp
from fstensor.transforms.vmap import vmap

__all__ = ["odeint"]

# dy/dt of a vector, at a time, with further arguments.
Slope = Callable[..., Array]

# Where the slopes of a step are taken, and of which earlier ones each is made. The last is taken
# at the end of the step: it is the first of the next one.
_NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
# The solution of order 5 less that of order 4.
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
# The last coefficient of the continuous extension.
_DENSE = (
    -12715105075 / 11282082432,
    0.0,
    87487479700 / 32700410799,
    -10690763975 / 1880347072,
    701980252875 / 199316789632,
    -1453857185 / 822651844,
    69997945 / 29380423,
)
_ORDER = 5
_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 10.0


class _Options(NamedTuple):
    rtol: float
    atol: float
    mxstep: float
    hmax: float


def odeint(
    func: Callable[..., Any],
    y0: Any,
    t: ArrayLike,
    *args: Any,
    rtol: float = 1.4e-8,
    atol: float = 1.4e-8,
    mxstep: float = math.inf,
    hmax: float = math.inf,
) -> Any:
    """The solution of dy/dt = func(y, t, *args) that starts from y0 at t[0], at all times of `t`.

    func: the slope, a tree of the structure, shapes and dtypes of y0.
    y0: a tree of float or complex arrays. t: a vector of at least one time, strictly monotonic.
    args: trees of arrays, with respect to which there are derivatives; what `func` closes over
        counts as such.
    rtol, atol: the error of a step, in the root mean square over all components, is kept below
        atol + rtol |y|. mxstep: the number of steps between two times at most. hmax: the largest
        step.
    Returns a tree like y0 with a leading axis of len(t).
    Raises: ShapeError, DtypeError or TreeError when the slope or the times do not fit, OptionError
        for options out of range.
    The reverse mode solves the adjoint equation, with the same tolerances; the forward mode follows
    the steps, whose sizes count as constants.
    Deviations from JAX: the times may also decrease; a time that is not reached, because mxstep is
        used up or the solution has a pole, gives NaN; there is a forward mode.

    >>> import fstensor as fst
    >>> from fstensor.experimental.ode import odeint
    >>> times = fst.numpy.array([0.0, 0.5, 1.0])
    >>> y = odeint(lambda y, t, rate: -rate * y, 1.0, times, 2.0, rtol=1e-6, atol=1e-6)
    >>> [f"{x:.3f}" for x in y.tolist()]
    ['1.000', '0.368', '0.135']
    """
    for what, value in (("rtol", rtol), ("atol", atol)):
        if not value >= 0:
            raise OptionError(f"odeint: {what} must not be negative, got {value}")
    for what, value in (("mxstep", mxstep), ("hmax", hmax)):
        if not value > 0:
            raise OptionError(f"odeint: {what} must be positive, got {value}")
    if not callable(func):
        raise ArgumentError(f"odeint: takes a function, got {type(func).__name__}")
    times = _times(t)
    y0 = tree.map(lambda x: lift(x, what="odeint: y0"), y0)
    for path, x in tree.leaves_with_path(y0):
        if not dtypes.is_inexact(x.dtype):
            raise DtypeError(
                f"odeint: y0{tree.keystr(path)} must have a float or complex dtype, got {x.aval}"
            )
    start, unravel = ravel_pytree(y0)
    leaves, args_tree = tree.flatten(args)
    given = [lift(x, what="odeint: args") for x in leaves]

    def flat_slope(y: Array, time: Array, *values: Array) -> list[Array]:
        here = unravel(y)
        out = func(here, time, *tree.unflatten(args_tree, values))
        _check_slope(here, out)
        vector, _ = ravel_pytree(tree.map(lambda s, x: lift(s).astype(x.dtype), out, here))
        return [vector]

    avals = [start.aval, ShapedArray((), times.dtype), *(x.aval for x in given)]
    name = source_info.describe_function(func)
    program, captured = trace_captured(flat_slope, avals, "odeint", name)
    run, count = program.as_function(), len(captured)

    def slope(y: Array, time: Array, *params: Array) -> Array:
        out: Array = run(*params[:count], y, time, *params[count:])[0]
        return out

    options = _Options(float(rtol), float(atol), float(mxstep), float(hmax))
    solution = _solve(slope, options, start, times, *captured, *given)
    return vmap(unravel)(solution)


def _times(t: ArrayLike) -> Array:
    times = lift(t, what="odeint: t")
    if times.ndim != 1 or not times.size:
        raise ShapeError(f"odeint: t must be a vector of at least one time, got {times.aval}")
    if dtypes.is_complex(times.dtype):
        raise DtypeError(f"odeint: t must have a real dtype, got {times.aval}")
    return times.astype(dtypes.to_inexact(times.dtype))


def _check_slope(y: Any, slope: Any) -> None:
    expected, got = tree.structure(y), tree.structure(slope)
    if expected != got:
        difference = tree.describe_mismatch(expected, slope)
        raise TreeError(f"odeint: the slope must have the structure of y0; {difference}")
    for (path, x), s in zip(tree.leaves_with_path(y), tree.leaves(slope), strict=True):
        out = lift(s, what="odeint: func")
        if out.shape != x.shape:
            where = tree.keystr(path)
            raise ShapeError(
                f"odeint: the slope must have the shapes of y0, "
                f"got {out.aval}{f' at {where}' if where else ''} for {x.aval}"
            )
        if dtypes.is_complex(out.dtype) and not dtypes.is_complex(x.dtype):
            raise DtypeError(f"odeint: a complex slope needs a complex y0, got {x.aval}")


def _where(condition: Array, x: ArrayLike, y: ArrayLike) -> Array:
    return fnp.where(condition, x, y)


class _State(NamedTuple):
    """The solution at the end of the last step, and a polynomial along that step."""

    y: Array
    slope: Array
    time: Array
    step: Array  # the size of the next one
    previous: Array  # when the last step began
    dense: tuple[Array, ...]


def _forward(slope: Slope, options: _Options, y0: Array, t: Array, *params: Array) -> Array:
    """The solution at each time, (len(t), n).

    The sizes of the steps count as constants for derivatives.
    """
    # Time runs upwards from here on: where t decreases, it is -t.
    direction = lax.stop_gradient(_where(t[-1] < t[0], -1, 1).astype(t.dtype))
    times = direction * t

    def rate(y: Array, time: Array) -> Array:
        return direction.astype(y.real.dtype) * slope(y, direction * time, *params)

    first = rate(y0, times[0])
    step = _first_step(rate, options, y0, first, times[0])
    state = _State(y0, first, times[0], step, times[0], (y0,) * 5)

    def advance(state: _State, target: Array) -> tuple[_State, Array]:
        def goes_on(counted: tuple[_State, Array]) -> Array:
            at, count = counted
            # A step too small to change the time never arrives: the solution has a pole.
            more = (at.time < target) & (at.time + at.step > at.time)
            return more if math.isinf(options.mxstep) else more & (count < options.mxstep)

        def one_step(counted: tuple[_State, Array]) -> tuple[_State, Array]:
            return _step(rate, options, counted[0]), counted[1] + 1

        reached, _ = lax.while_loop(goes_on, one_step, (state, fnp.zeros((), np.int32)))
        value = _between(reached, target)
        return reached, _where(reached.time < target, fnp.nan, value).astype(value.dtype)

    _, ys = lax.scan(advance, state, times[1:])
    return fnp.concatenate([y0[None], ys])


def _norm(x: Array, scale: Array) -> Array:
    """The root mean square of x / scale."""
    ratio = _where(x == 0, 0, fnp.abs(x) / scale)
    return fnp.sqrt(fnp.sum(ratio**2) / max(x.size, 1))


def _first_step(
    rate: Callable[[Array, Array], Array], o: _Options, y: Array, slope: Array, time: Array
) -> Array:
    """A size for the first step; Hairer, Norsett, Wanner, section II.4, "starting step size"."""
    scale = o.atol + o.rtol * fnp.abs(y)
    of_y, of_slope = _norm(y, scale), _norm(slope, scale)
    small = (of_y < 1e-5) | (of_slope < 1e-5)
    trial = _where(small, 1e-6, 0.01 * of_y / of_slope)
    ahead = rate(y + trial.astype(scale.dtype) * slope, time + trial.astype(time.dtype))
    curvature = _norm(ahead - slope, scale) / trial
    steepest = fnp.maximum(of_slope, curvature)
    still = steepest <= 1e-15
    second = _where(
        still, fnp.maximum(1e-6, 1e-3 * trial), (0.01 / _where(still, 1, steepest)) ** (1 / 5)
    )
    step = fnp.minimum(fnp.minimum(100 * trial, second), o.hmax)
    return lax.stop_gradient(step.astype(time.dtype))


def _combination(coefficients: tuple[float, ...], slopes: list[Array]) -> Array:
    terms = [c * k for c, k in zip(coefficients, slopes, strict=True) if c]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _step(rate: Callable[[Array, Array], Array], o: _Options, s: _State) -> _State:
    """Try a step: when its error is small enough it becomes the state, and the next is longer."""
    h = s.step.astype(s.y.real.dtype)
    slopes = [s.slope]
    y = s.y
    for node, row in zip(_NODES, _STAGES, strict=True):
        y = s.y + h * _combination(row, slopes)
        slopes.append(rate(y, s.time + node * s.step))
    scale = o.atol + o.rtol * fnp.maximum(fnp.abs(s.y), fnp.abs(y))
    error = lax.stop_gradient(_norm(h * _combination(_ERROR, slopes), scale))
    accepted = error <= 1  # NaN is not
    factor = _SAFETY * fnp.maximum(error, 1e-10) ** (-1 / _ORDER)
    factor = fnp.clip(_where(fnp.isfinite(error), factor, _SHRINK), _SHRINK, _GROW)
    change = y - s.y
    excess = h * s.slope - change
    dense = (
        s.y,
        change,
        excess,
        change - h * slopes[-1] - excess,
        h * _combination(_DENSE, slopes),
    )
    new = _State(y, slopes[-1], s.time + s.step, s.step, s.time, dense)
    kept = tree.map(lambda a, b: _where(accepted, a, b), new, s)
    step = fnp.minimum(s.step * factor.astype(s.step.dtype), o.hmax)
    return kept._replace(step=lax.stop_gradient(step.astype(s.step.dtype)))


def _between(s: _State, time: Array) -> Array:
    """The solution within the last step: Hairer, Norsett, Wanner, section II.6, of order 4."""
    length = s.time - s.previous
    x = ((time - s.previous) / _where(length > 0, length, 1)).astype(s.y.real.dtype)
    r1, r2, r3, r4, r5 = s.dense
    return r1 + x * (r2 + (1 - x) * (r3 + x * (r4 + (1 - x) * r5)))


@partial(custom_vjp, nondiff_argnums=(0, 1))
def _solve(slope: Slope, options: _Options, y0: Array, t: Array, *params: Array) -> Array:
    """`_forward`, whose derivatives in the reverse mode are those of the adjoint equation."""
    return _forward(slope, options, y0, t, *params)


@_solve.defjvp
def _solve_jvp(
    slope: Slope, options: _Options, primals: tuple[Array, ...], tangents: tuple[Array, ...]
) -> tuple[Array, Array]:
    ys, t_ys = jvp(partial(_forward, slope, options), primals, tangents)
    return ys, t_ys


def _solve_fwd(
    slope: Slope, options: _Options, y0: Array, t: Array, *params: Array
) -> tuple[Array, tuple[Array, Array, tuple[Array, ...]]]:
    ys = _solve(slope, options, y0, t, *params)
    return ys, (ys, t, params)


def _solve_bwd(
    slope: Slope,
    options: _Options,
    residuals: tuple[Array, Array, tuple[Array, ...]],
    ct: Array,
) -> tuple[Array | None, ...]:
    """The adjoint equation, solved from each time back to the one before.

    With f the slope, p the parameters, and a the cotangent of y (L. S. Pontryagin et al., "The
    Mathematical Theory of Optimal Processes" (1962)): da/dt = -a df/dy, and that of p is the
    integral of a df/dp. The solution is solved backwards beside them, from its known values.
    """
    ys, t, params = residuals
    smooth = [dtypes.is_inexact(p.dtype) for p in params]
    zeros = [fnp.zeros_like(p) for p, on in zip(params, smooth, strict=True) if on]
    _, unravel = ravel_pytree((ys[0], ct[0], zeros))

    def adjoint(state: Array, time: Array, *params: Array) -> Array:
        y, a, _ = unravel(state)

        def of_smooth(y: Array, *kept: Array) -> Array:
            given = iter(kept)
            full = [next(given) if on else p for p, on in zip(params, smooth, strict=True)]
            return slope(y, time, *full)

        kept = [p for p, on in zip(params, smooth, strict=True) if on]
        dy, pull = vjp(of_smooth, y, *kept)
        da, *of_params = pull(-a)
        return ravel_pytree((dy, da, of_params))[0]

    def along(a: Array, y: Array, time: Array) -> Array:
        """The cotangent of the time at which the solution is y, from that of y."""
        return fnp.sum(a * slope(y, time, *params)).real.astype(t.dtype)

    def back(carry: tuple[Array, list[Array]], x: tuple[Array, ...]) -> tuple[Any, Array]:
        (a, of_params), (y, direct, time, before) = carry, x
        state, _ = ravel_pytree((y, a + direct, of_params))
        there = _solve(adjoint, options, state, fnp.stack([time, before]), *params)[1]
        _, a, of_params = unravel(there)
        return (a, of_params), along(direct, y, time)

    steps = (ys[1:], ct[1:], t[1:], t[:-1])
    (a, of_params), of_times = lax.scan(back, (fnp.zeros_like(ct[0]), zeros), steps, reverse=True)
    # Starting later means to have moved less.
    of_start = -along(a, ys[0], t[0])
    given = iter(of_params)
    return (
        a + ct[0],
        fnp.concatenate([of_start[None], of_times]),
        *(next(given) if on else None for on in smooth),
    )


_solve.defvjp(_solve_fwd, _solve_bwd)
