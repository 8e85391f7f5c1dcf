"""Schedules: functions of the number of steps so far, from 0 on, that give a hyperparameter.

They take a Python number or an array, traced ones too, and give an array of no axes: of the step's
dtype if that is a float, else of the default float.

>>> rate = warmup_cosine_decay_schedule(0.0, 1.0, warmup_steps=10, decay_steps=110)
>>> [round(float(rate(step)), 3) for step in (0, 5, 10, 60, 110)]
[0.0, 0.5, 1.0, 0.5, 0.0]

Where PyTorch's schedulers multiply the rate from before, these compute it anew of the step, so that
calling one twice changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from fstensor import dtypes, lax
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.errors import OptionError
from fstensor.optim.base import Schedule


def constant_schedule(value: float) -> Schedule:
    """Always `value`."""
    return lambda step: fnp.full_like(_clock(step), value)


def step_schedule(init_value: float, step_size: int, gamma: float = 0.1) -> Schedule:
    """init_value * gamma^floor(step / step_size): PyTorch's StepLR."""
    _positive("step_schedule", step_size=step_size)
    return lambda step: init_value * gamma ** fnp.floor(_clock(step) / step_size)


def multi_step_schedule(
    init_value: float, milestones: Sequence[int], gamma: float = 0.1
) -> Schedule:
    """init_value * gamma^n, with n the milestones that have been reached: PyTorch's MultiStepLR."""
    return lambda step: init_value * gamma ** _reached(_clock(step), milestones)


def piecewise_constant_schedule(
    init_value: float, boundaries_and_scales: Mapping[int, float] | None = None
) -> Schedule:
    """init_value times the scales of all boundaries that have been reached, as Optax has it."""

    def schedule(step: ArrayLike) -> Array:
        t = _clock(step)
        value = fnp.full_like(t, init_value)
        for boundary, scale in (boundaries_and_scales or {}).items():
            value = fnp.where(t >= boundary, value * scale, value)
        return value

    return schedule


def exponential_decay(
    init_value: float,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> Schedule:
    """init_value * decay_rate^((step - transition_begin) / transition_steps), as Optax has it.

    staircase: the exponent is rounded down. end_value: never beyond it. PyTorch's ExponentialLR has
    transition_steps of 1.
    """
    _positive("exponential_decay", transition_steps=transition_steps)

    def schedule(step: ArrayLike) -> Array:
        exponent = fnp.maximum(_clock(step) - transition_begin, 0) / transition_steps
        value = init_value * decay_rate ** (fnp.floor(exponent) if staircase else exponent)
        if end_value is None:
            return value
        return (fnp.maximum if decay_rate < 1 else fnp.minimum)(value, end_value)

    return schedule


def polynomial_schedule(
    init_value: float,
    end_value: float,
    power: float,
    transition_steps: int,
    transition_begin: int = 0,
) -> Schedule:
    """end_value + (init_value - end_value) * (1 - t)^power, as Optax has it.

    t goes from 0 at transition_begin to 1 after transition_steps, and stays. PyTorch's PolynomialLR
    has an end_value of 0, its LinearLR a power of 1.
    """
    _positive("polynomial_schedule", transition_steps=transition_steps)

    def schedule(step: ArrayLike) -> Array:
        t = fnp.clip((_clock(step) - transition_begin) / transition_steps, 0, 1)
        return end_value + (init_value - end_value) * (1 - t) ** power

    return schedule


def linear_schedule(
    init_value: float, end_value: float, transition_steps: int, transition_begin: int = 0
) -> Schedule:
    """From init_value to end_value in transition_steps: `polynomial_schedule` of power 1."""
    return polynomial_schedule(init_value, end_value, 1, transition_steps, transition_begin)


def cosine_decay_schedule(
    init_value: float, decay_steps: int, alpha: float = 0.0, exponent: float = 1.0
) -> Schedule:
    """Half a cosine, from init_value to alpha * init_value, as Optax has it.

    init_value * (alpha + (1 - alpha) * ((1 + cos(pi t)) / 2)^exponent), t = step / decay_steps, at
    most 1.
    """
    _positive("cosine_decay_schedule", decay_steps=decay_steps)

    def schedule(step: ArrayLike) -> Array:
        share = _half_cosine(fnp.clip(_clock(step) / decay_steps, 0, 1)) ** exponent
        return init_value * (alpha + (1 - alpha) * share)

    return schedule


def cosine_annealing_schedule(
    init_value: float, half_period: int, end_value: float = 0.0
) -> Schedule:
    """A cosine from init_value to end_value and back, and so on: PyTorch's CosineAnnealingLR."""
    _positive("cosine_annealing_schedule", half_period=half_period)

    def schedule(step: ArrayLike) -> Array:
        share = _half_cosine((_clock(step) % (2 * half_period)) / half_period)
        return end_value + (init_value - end_value) * share

    return schedule


def cosine_restarts_schedule(
    init_value: float, first_steps: int, factor: int = 1, end_value: float = 0.0
) -> Schedule:
    """Half cosines, each starting anew (SGDR: Loshchilov and Hutter, 2017).

    The first takes first_steps, each later one `factor` times the steps of the one before, as in
    PyTorch's CosineAnnealingWarmRestarts with T_0 and T_mult.
    """
    _positive("cosine_restarts_schedule", first_steps=first_steps, factor=factor)

    def schedule(step: ArrayLike) -> Array:
        t = _clock(step)
        if factor == 1:
            share = _half_cosine((t % first_steps) / first_steps)
        else:
            starts, start = [], first_steps
            while start < 2**31:  # of int32 steps, there are few
                starts.append(start)
                start = start * factor + first_steps
            restarts = _reached(t, starts)
            length = first_steps * factor**restarts
            begin = (length - first_steps) / (factor - 1)
            share = _half_cosine((t - begin) / length)
        return end_value + (init_value - end_value) * share

    return schedule


def one_cycle_schedule(
    max_value: float,
    total_steps: int,
    pct_start: float = 0.3,
    anneal_strategy: Literal["cos", "linear"] = "cos",
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
) -> Schedule:
    """Up, and further down than it began (Smith and Topin, 2018): the rate of PyTorch's OneCycleLR.

    From max_value / div_factor to max_value in pct_start of the steps, and down to max_value /
    div_factor / final_div_factor in the rest; with `three_phase` it first comes down as it went up.
    """
    low = max_value / div_factor
    last = low / final_div_factor
    values = [low, max_value, low, last] if three_phase else [low, max_value, last]
    return _one_cycle(values, total_steps, pct_start, anneal_strategy)


def one_cycle_momentum(
    total_steps: int,
    pct_start: float = 0.3,
    anneal_strategy: Literal["cos", "linear"] = "cos",
    base_momentum: float = 0.85,
    max_momentum: float = 0.95,
    three_phase: bool = False,
) -> Schedule:
    """The momentum of PyTorch's OneCycleLR, which is low where the rate is high."""
    high = max_momentum
    values = [high, base_momentum, high, high] if three_phase else [high, base_momentum, high]
    return _one_cycle(values, total_steps, pct_start, anneal_strategy)


def _one_cycle(
    values: Sequence[float], total_steps: int, pct_start: float, anneal_strategy: str
) -> Schedule:
    _positive("one_cycle_schedule", total_steps=total_steps)
    if anneal_strategy not in ("cos", "linear"):
        raise OptionError(
            f"one_cycle_schedule: anneal_strategy must be 'cos' or 'linear', "
            f"got {anneal_strategy!r}"
        )
    top = pct_start * total_steps
    ends = (
        [top - 1, 2 * top - 2, total_steps - 1] if len(values) == 4 else [top - 1, total_steps - 1]
    )

    def schedule(step: ArrayLike) -> Array:
        t = _clock(step)
        value, begin = fnp.full_like(t, values[0]), 0.0
        for i, end in enumerate(ends):
            share = fnp.ones_like(t)
            if end > begin:
                share = fnp.clip((t - begin) / (end - begin), 0, 1)
            down = _half_cosine(share) if anneal_strategy == "cos" else 1 - share
            phase = values[i + 1] + (values[i] - values[i + 1]) * down
            value = fnp.where(t > begin, phase, value) if i else phase
            begin = end
        return value

    return schedule


def cyclic_schedule(
    base_value: float,
    max_value: float,
    step_size_up: int = 2000,
    step_size_down: int | None = None,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
    gamma: float = 1.0,
) -> Schedule:
    """Up and down in straight lines (Smith, 2017): PyTorch's CyclicLR.

    triangular: each cycle reaches max_value; triangular2: half as high as the one before;
    exp_range: gamma^step as high. Its momentum is the schedule with max_momentum and base_momentum
    in place of base_value and max_value. Raises: OptionError for another mode.
    """
    down = step_size_up if step_size_down is None else step_size_down
    _positive("cyclic_schedule", step_size_up=step_size_up, step_size_down=down)
    if mode not in ("triangular", "triangular2", "exp_range"):
        raise OptionError(
            "cyclic_schedule: mode must be 'triangular', 'triangular2' or 'exp_range', "
            f"got {mode!r}"
        )
    total = step_size_up + down

    def schedule(step: ArrayLike) -> Array:
        t = _clock(step)
        within = t % total
        height = fnp.where(within <= step_size_up, within / step_size_up, (total - within) / down)
        if mode == "triangular2":
            height = height * 0.5 ** fnp.floor(t / total)
        elif mode == "exp_range":
            height = height * gamma**t
        return base_value + (max_value - base_value) * height

    return schedule


def constant_warmup_schedule(value: float, warmup_steps: int, factor: float = 1 / 3) -> Schedule:
    """factor * value for warmup_steps, then value: PyTorch's ConstantLR."""
    return lambda step: fnp.where(_clock(step) < warmup_steps, factor * value, value)


def warmup_constant_schedule(init_value: float, peak_value: float, warmup_steps: int) -> Schedule:
    """From init_value to peak_value in a line, and on, as Optax has it; PyTorch's LinearLR."""
    return linear_schedule(init_value, peak_value, warmup_steps)


def warmup_cosine_decay_schedule(
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    decay_steps: int,
    end_value: float = 0.0,
    exponent: float = 1.0,
) -> Schedule:
    """A line to peak_value, then half a cosine to end_value at decay_steps, as in Optax."""
    alpha = 0.0 if peak_value == 0 else end_value / peak_value
    return join_schedules(
        [
            linear_schedule(init_value, peak_value, warmup_steps),
            cosine_decay_schedule(peak_value, decay_steps - warmup_steps, alpha, exponent),
        ],
        [warmup_steps],
    )


def warmup_exponential_decay_schedule(
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> Schedule:
    """A line to peak_value, then `exponential_decay`, as Optax has it."""
    return join_schedules(
        [
            linear_schedule(init_value, peak_value, warmup_steps),
            exponential_decay(
                peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value
            ),
        ],
        [warmup_steps],
    )


def inverse_sqrt_schedule(
    peak_value: float, warmup_steps: int, init_value: float = 0.0
) -> Schedule:
    """A line to peak_value, then peak_value * sqrt(warmup_steps / step).

    That of Vaswani et al., 2017, section 5.3, has the peak_value 1 / sqrt(d_model * warmup_steps).
    """
    _positive("inverse_sqrt_schedule", warmup_steps=warmup_steps)

    def schedule(step: ArrayLike) -> Array:
        t = _clock(step)
        rising = init_value + (peak_value - init_value) * t / warmup_steps
        falling = peak_value * fnp.sqrt(warmup_steps / fnp.maximum(t, warmup_steps))
        return fnp.where(t < warmup_steps, rising, falling)

    return schedule


def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """One schedule after the other, as Optax has it; PyTorch's SequentialLR.

    The schedule i + 1 takes over at the step boundaries[i], which is its step 0.
    Raises: OptionError unless there is one boundary less than schedules, and they grow.
    """
    if len(boundaries) != len(schedules) - 1 or sorted(boundaries) != list(boundaries):
        raise OptionError(
            "join_schedules: boundaries must grow, one between each two schedules, "
            f"got {list(boundaries)} for {len(schedules)}"
        )

    def schedule(step: ArrayLike) -> Array:
        t = fnp.asarray(step)
        value = fnp.asarray(schedules[0](t))
        for later, boundary in zip(schedules[1:], boundaries, strict=True):
            begun = fnp.maximum(t - boundary, 0)
            value = fnp.where(t < boundary, value, later(begun))
        return value

    return schedule


def sgdr_schedule(cosine_kwargs: Sequence[Mapping[str, Any]]) -> Schedule:
    """`warmup_cosine_decay_schedule`s one after the other, of these arguments, as Optax has it."""
    boundaries, total = [], 0
    for kwargs in cosine_kwargs:
        total += kwargs["decay_steps"]
        boundaries.append(total)
    return join_schedules(
        [warmup_cosine_decay_schedule(**kwargs) for kwargs in cosine_kwargs], boundaries[:-1]
    )


def lambda_schedule(init_value: float, factor: Callable[[Array], Any]) -> Schedule:
    """init_value * factor(step): PyTorch's LambdaLR. factor must work on traced numbers."""
    return lambda step: init_value * fnp.asarray(factor(_clock(step)))


def multiplicative_schedule(init_value: float, factor: Callable[[Array], Any]) -> Schedule:
    """init_value * factor(1) * ... * factor(step): PyTorch's MultiplicativeLR.

    As there is no memory between calls, a call multiplies all of them: it takes time in proportion
    to the step. factor must work on traced numbers.
    """

    def schedule(step: ArrayLike) -> Array:
        t = _clock(step)
        one = fnp.ones_like(t)

        def times(carry: tuple[Array, Array]) -> tuple[Array, Array]:
            at, value = carry
            return at + 1, (value * factor(at)).astype(value.dtype)

        return lax.while_loop(lambda carry: carry[0] <= t, times, (one, init_value * one))[1]

    return schedule


def chained_schedule(*schedules: Schedule) -> Schedule:
    """The product of schedules: PyTorch's ChainedScheduler, where all but one give factors.

    Raises: OptionError without any.
    """
    if not schedules:
        raise OptionError("chained_schedule: needs at least one schedule")
    return lambda step: math.prod(
        [fnp.asarray(s(step)) for s in schedules[1:]], start=schedules[0](step)
    )


def _clock(step: ArrayLike) -> Array:
    """The step as a float."""
    t = fnp.asarray(step)
    return t if fnp.issubdtype(t.dtype, fnp.floating) else t.astype(dtypes.default_float())


def _half_cosine(t: Array) -> Array:
    """From 1 at t = 0 to 0 at t = 1."""
    return (1 + fnp.cos(math.pi * t)) / 2


def _reached(t: Array, milestones: Sequence[int]) -> Array:
    """How many milestones are not after t."""
    return sum([fnp.where(t >= m, 1, 0).astype(t.dtype) for m in milestones], fnp.zeros_like(t))


def _positive(what: str, **numbers: float) -> None:
    for name, number in numbers.items():
        if number <= 0:
            raise OptionError(f"{what}: {name} must be positive, got {number}")
