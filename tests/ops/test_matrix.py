"""Every case of every primitive through every rule."""

import itertools

import numpy as np
import pytest

from fstensor import dtypes
from fstensor.array import from_buffer
from fstensor.config import config
from fstensor.core.primitive import registry
from fstensor.transforms.jit import jit
from fstensor.transforms.jvp import jvp
from fstensor.transforms.make_jaxpr import make_jaxpr
from fstensor.transforms.transpose import vjp
from fstensor.transforms.vmap import vmap
from tests.ops.cases import CASES
from tests.ops.harness import outputs, random_like
from tests.tolerances import FINITE_DIFFERENCES, assert_close

ALL = [pytest.param(c, d, id=f"{c.name}-{d}") for c in CASES for d in c.dtypes]
SMOOTH = [
    pytest.param(c, d, id=f"{c.name}-{d}")
    for c in CASES
    for d in c.dtypes
    if c.differentiable and dtypes.is_inexact(dtypes.canonical(d))
]
WIDE = [p for p in SMOOTH if p.values[1] in ("float64", "complex128")]


def arrays(values):
    return [from_buffer(v.copy()) for v in values]


@pytest.mark.parametrize(("case", "dtype"), ALL)
def test_value(case, dtype):
    args = case.arguments(dtype)
    out = outputs(case.primitive, case.primitive.bind(*arrays(args)))
    with np.errstate(all="ignore"):
        expected = case.reference(*args)
    for got, want in zip(out, outputs(case.primitive, expected), strict=True):
        assert got.dtype == np.asarray(got._buffer).dtype, "abstract and impl disagree"
        assert got.shape == got._buffer.shape, "abstract and impl disagree"
        assert_close(got._buffer, np.asarray(want).astype(got.dtype), factor=case.factor)


@pytest.mark.parametrize("executor", ["numpy", "llvm"])
@pytest.mark.parametrize(("case", "dtype"), ALL)
def test_jit(case, dtype, executor):
    args = arrays(case.arguments(dtype))
    eager = outputs(case.primitive, case.primitive.bind(*args))
    closed = make_jaxpr(case.primitive.bind)(*args)
    closed.check()
    assert case.primitive.name in str(closed)
    with config.override(executor=executor):
        jitted = outputs(case.primitive, jit(lambda *xs: case.primitive.bind(*xs))(*args))
    for got, want in zip(jitted, eager, strict=True):
        assert got.aval == want.aval
        if executor == "numpy":
            np.testing.assert_array_equal(got._buffer, want._buffer)
        else:
            assert_close(got._buffer, want._buffer, factor=case.factor)


@pytest.mark.parametrize(("case", "dtype"), WIDE)
def test_jvp_against_finite_differences(case, dtype):
    args = case.arguments(dtype)
    ts = case.directions(args)
    step = 1e-5

    def moved(h):
        return arrays([a if t is None else a + h * t for a, t in zip(args, ts, strict=True)])

    def value(xs):
        return [np.asarray(y._buffer) for y in outputs(case.primitive, case.primitive.bind(*xs))]

    zero_or_t = [
        np.zeros(a.shape, dtypes.float0) if t is None else t for a, t in zip(args, ts, strict=True)
    ]
    _, tangents = jvp(case.primitive.bind, arrays(args), [from_buffer(t) for t in zero_or_t])
    for tangent, high, low in zip(
        outputs(case.primitive, tangents), value(moved(step)), value(moved(-step)), strict=True
    ):
        if tangent.dtype == dtypes.float0:
            continue
        got = np.asarray(tangent._buffer)
        expected = (high - low) / (2 * step)
        scale = max(1.0, np.abs(expected).max(initial=0.0))
        np.testing.assert_allclose(got, expected, rtol=0, atol=FINITE_DIFFERENCES * scale)


@pytest.mark.parametrize(("case", "dtype"), SMOOTH)
def test_vjp_is_adjoint_of_jvp(case, dtype):
    args = case.arguments(dtype)
    ts = case.directions(args)
    inexact = [i for i, t in enumerate(ts) if t is not None]

    def function(*xs):
        full = arrays(args)
        for i, x in zip(inexact, xs, strict=True):
            full[i] = x
        out = outputs(case.primitive, case.primitive.bind(*full))
        return [y for y in out if dtypes.is_inexact(y.dtype)]

    xs = [from_buffer(args[i]) for i in inexact]
    tangents = [from_buffer(ts[i]) for i in inexact]
    outs, pushed = jvp(function, xs, tangents)
    rng = np.random.default_rng(0)
    cts = [random_like(rng, np.asarray(y._buffer)) for y in outs]
    again, pullback = vjp(function, *xs)
    pulled = pullback([from_buffer(c) for c in cts])
    for y, z in zip(outs, again, strict=True):
        np.testing.assert_array_equal(y._buffer, z._buffer)
    for x, ct in zip(xs, pulled, strict=True):
        assert ct.aval.same_type(x.aval)

    def pairing(a, b):
        # Complex vectors are paired without conjugation; of R-linear maps the real part agrees.
        terms = [
            np.sum(np.asarray(p._buffer, np.complex128) * np.asarray(q._buffer, np.complex128))
            for p, q in zip(a, b, strict=True)
        ]
        return np.real(np.sum(terms))

    left = pairing([from_buffer(c) for c in cts], pushed)
    right = pairing(pulled, tangents)
    sizes = [
        np.abs(np.asarray(p._buffer) * np.asarray(q._buffer)).sum()
        for p, q in zip(pulled, tangents, strict=True)
    ]
    wide = dtypes.to_real(dtypes.canonical(dtype)) == np.float64
    rtol = (1e-12 if wide else 2e-5) * case.factor
    np.testing.assert_allclose(left, right, rtol=rtol, atol=rtol * max(1.0, *sizes))


@pytest.mark.parametrize(("case", "dtype"), ALL)
def test_batch_against_loop(case, dtype):
    size = 3
    variants = [case.arguments(dtype, k) for k in range(size)]
    allowed = range(len(case.operands)) if case.batchable is None else case.batchable
    subsets = [s for r in range(1, len(allowed) + 1) for s in itertools.combinations(allowed, r)]
    for subset in subsets[:7]:
        for end in (False, True):
            axes, args = [], []
            for i in range(len(case.operands)):
                if i not in subset:
                    axes.append(None)
                    args.append(variants[0][i])
                    continue
                # Alternate between the first and the last axis, so that operands differ.
                axis = variants[0][i].ndim if (i + end) % 2 else 0
                axes.append(axis)
                args.append(np.stack([v[i] for v in variants], axis))
            batched = vmap(case.primitive.bind, in_axes=tuple(axes))(*arrays(args))
            for k in range(size):
                single = [variants[k if i in subset else 0][i] for i in range(len(args))]
                expected = outputs(case.primitive, case.primitive.bind(*arrays(single)))
                for got, want in zip(outputs(case.primitive, batched), expected, strict=True):
                    part = np.asarray(got._buffer)[k]
                    assert_close(part, want._buffer, factor=case.factor)


@pytest.mark.parametrize(("case", "dtype"), SMOOTH)
def test_batch_of_jvp_and_vjp(case, dtype):
    """The rules of what the rules use: vmap over jvp, and jit of it, against a loop."""
    args = case.arguments(dtype)
    size = 2
    stacks = [np.stack([a, a]) for a in args]
    directions = [case.directions(args, k) for k in range(size)]

    def push(*values):
        xs, ts = values[: len(args)], values[len(args) :]
        zeros = iter(ts)
        tangents = [
            next(zeros) if d is not None else np.zeros(a.shape, dtypes.float0)
            for a, d in zip(args, directions[0], strict=True)
        ]
        return jvp(case.primitive.bind, list(xs), tangents)[1]

    inexact = [i for i, d in enumerate(directions[0]) if d is not None]
    t_stacks = [np.stack([d[i] for d in directions]) for i in inexact]
    batched = jit(vmap(push))(*arrays(stacks), *arrays(t_stacks))
    for k in range(size):
        single = push(*arrays(args), *arrays([directions[k][i] for i in inexact]))
        for got, want in zip(
            outputs(case.primitive, batched), outputs(case.primitive, single), strict=True
        ):
            if want.dtype != dtypes.float0:
                assert_close(
                    np.asarray(got._buffer)[k], want._buffer, derivative=True, factor=case.factor
                )


# Primitives without cases here, with the file that tests them.
TESTED_ELSEWHERE = {
    "jit": "tests/transforms/test_jit.py",
    "checkpoint": "tests/transforms/test_checkpoint.py",
    "name": "tests/transforms/test_checkpoint.py",
    "cond": "tests/control/test_cond.py",
    "debug_callback": "tests/control/test_callbacks.py",
    "io_callback": "tests/control/test_callbacks.py",
    "pure_callback": "tests/control/test_callbacks.py",
    "custom_jvp_call": "tests/transforms/test_custom_jvp.py",
    "custom_vjp_call": "tests/transforms/test_custom_vjp.py",
    "custom_lin": "tests/transforms/test_custom_vjp.py",
    "custom_vmap_call": "tests/control/test_custom_vmap.py",
    "custom_linear_solve": "tests/control/test_linear_solve.py",
    "scan": "tests/control/test_scan.py",
    "while": "tests/control/test_while_loop.py",
    "spread_tape": "tests/control/test_tapes.py",
    "unite_tapes": "tests/control/test_tapes.py",
    **dict.fromkeys(
        [
            *("all_gather", "all_to_all", "axis_index", "pmax", "pmin", "ppermute", "psum"),
            "reduce_scatter",
        ],
        "tests/transforms/test_collectives.py",
    ),
}


def test_every_primitive_has_cases():
    covered = {c.primitive.name for c in CASES}
    missing = set(registry) - covered - set(TESTED_ELSEWHERE)
    assert not missing, f"no cases in tests/ops/cases for {sorted(missing)}"
    assert not covered & set(TESTED_ELSEWHERE)
