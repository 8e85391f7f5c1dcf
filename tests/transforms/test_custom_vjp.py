"""`custom_vjp` under every transform, its forward rule, `custom_gradient`, `closure_convert`."""

import functools

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.custom_derivatives import SymbolicZero
from fstensor.errors import (
    ArgumentError,
    DtypeError,
    GradError,
    MissingRuleError,
    ShapeError,
    TreeError,
)
from tests.transforms.both import X, check_like_jax, double


def function_of(lib, xp):
    """A function whose rule is told from its true derivative by a factor."""

    @lib.custom_vjp
    def f(x, y):
        return xp.sin(x) * y

    def fwd(x, y):
        return f(x, y), (x, y)

    def bwd(res, ct):
        x, y = res
        return 3 * xp.cos(x) * y * ct, None

    f.defvjp(fwd, bwd)
    return f


def with_forward():
    f = function_of(fst, fnp)
    f.defjvp(lambda p, t: (f(*p), 3 * fnp.cos(p[0]) * p[1] * t[0]))
    return f


def scanned(lib, f, xp):
    return lambda x, y: lib.lax.scan(lambda c, e: (f(c, e), c), x, xp.ones(3) * y)[0]


def scan_of(lib, xp):
    return scanned(lib, function_of(lib, xp), xp)


USES = {
    "value": lambda lib, xp: function_of(lib, xp)(1.0, 2.0),
    "grad": lambda lib, xp: lib.grad(function_of(lib, xp), (0, 1))(1.0, 2.0),
    "jit_grad": lambda lib, xp: lib.jit(lib.grad(function_of(lib, xp)))(1.0, 2.0),
    "grad_jit": lambda lib, xp: lib.grad(lib.jit(function_of(lib, xp)))(1.0, 2.0),
    "grad_grad": lambda lib, xp: lib.grad(lib.grad(function_of(lib, xp)))(1.0, 2.0),
    "grad_jit_grad_jit": lambda lib, xp: lib.grad(lib.jit(lib.grad(lib.jit(function_of(lib, xp)))))(
        1.0, 2.0
    ),
    "vmap": lambda lib, xp: lib.vmap(function_of(lib, xp), (0, None))(X, 2.0),
    "vmap_grad": lambda lib, xp: lib.vmap(lib.grad(function_of(lib, xp)), (0, None))(X, 2.0),
    "grad_vmap": lambda lib, xp: lib.grad(
        lambda x: lib.vmap(function_of(lib, xp), (0, None))(x, 2.0).sum()
    )(X),
    "grad_vmap_shared": lambda lib, xp: lib.grad(
        lambda x: lib.vmap(function_of(lib, xp), (None, 0))(x, X).sum()
    )(2.0),
    "vmap_vmap": lambda lib, xp: lib.grad(
        lambda x: lib.vmap(lib.vmap(function_of(lib, xp), (0, None)), (None, 0))(x, X).sum()
    )(X),
    "jacrev": lambda lib, xp: lib.jacrev(lambda x: function_of(lib, xp)(x, x))(X),
    "scan": lambda lib, xp: lib.grad(scan_of(lib, xp), (0, 1))(1.0, 2.0),
    "vmap_grad_scan": lambda lib, xp: lib.vmap(lib.grad(scan_of(lib, xp)))(X, X),
    "grad_vmap_scan": lambda lib, xp: lib.grad(lambda x: lib.vmap(scan_of(lib, xp))(x, x).sum())(X),
    "grad_grad_scan": lambda lib, xp: lib.grad(lib.grad(scan_of(lib, xp)))(1.0, 2.0),
    "cond": lambda lib, xp: lib.grad(
        lambda x: lib.lax.cond(x > 0, function_of(lib, xp), lambda a, b: a, x, 2.0)
    )(1.0),
    "checkpoint": lambda lib, xp: lib.grad(lib.checkpoint(function_of(lib, xp)))(1.0, 2.0),
}


@pytest.mark.parametrize("use", USES)
def test_like_jax(use, recorded):
    check_like_jax(recorded, USES[use])


def test_one_equation_in_the_jaxpr():
    text = str(fst.make_jaxpr(function_of(fst, fnp))(1.0, 2.0))
    for part in ("custom_vjp_call[", "name=f", "bwd=bwd", "fwd=fwd", "symbolic_zeros=False"):
        assert part in text


# The forward mode


@pytest.mark.parametrize(
    "use",
    [
        lambda f: fst.jvp(f, (1.0, 2.0), (1.0, 1.0)),
        lambda f: fst.jit(lambda x: fst.jvp(f, (x, 2.0), (1.0, 1.0)))(1.0),
        lambda f: fst.jacfwd(f)(1.0, 2.0),
        lambda f: fst.jvp(fst.vmap(f), (X, X), (X, X)),
    ],
)
def test_forward_mode_without_a_rule(use):
    with pytest.raises(MissingRuleError, match=r"custom_vjp: f at .* reverse mode alone.*defjvp"):
        use(function_of(fst, fnp))


def reference(x, y):
    return 3 * fnp.sin(x) * y


FORWARD = {
    "jvp": lambda f: fst.jvp(f, (1.0, 2.0), (1.0, 0.0))[1],
    "jit": lambda f: fst.jit(lambda x: fst.jvp(f, (x, 2.0), (1.0, 0.0))[1])(1.0),
    "jacfwd": lambda f: fst.jacfwd(lambda x: f(x, 2.0))(X),
    "jacrev": lambda f: fst.jacrev(lambda x: f(x, 2.0))(X),
    "linearize": lambda f: fst.linearize(lambda x: f(x, 2.0), X)[1](X),
    "jacfwd_jacfwd": lambda f: fst.jacfwd(fst.jacfwd(f))(1.0, 2.0),
    "jacrev_jacfwd": lambda f: fst.jacrev(fst.jacfwd(f))(1.0, 2.0),
    "jacfwd_jacrev": lambda f: fst.jacfwd(fst.jacrev(f))(1.0, 2.0),
    "vmap_jvp": lambda f: fst.vmap(lambda x: fst.jvp(f, (x, 2.0), (x, 0.0))[1])(X),
    "jvp_vmap": lambda f: fst.jvp(fst.vmap(f, (0, None)), (X, 2.0), (X, 0.0))[1],
    "grad_jvp": lambda f: fst.grad(lambda x: fst.jvp(f, (x, 2.0), (1.0, 0.0))[1])(1.0),
}


@pytest.mark.parametrize("use", FORWARD)
def test_forward_mode_with_a_rule(use):
    with double():
        got, want = FORWARD[use](with_forward()), FORWARD[use](reference)
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_forward_mode_in_scan():
    with double():
        f = scanned(fst, with_forward(), fnp)
        got = fst.jvp(f, (1.0, 2.0), (1.0, 0.0))[1]
        np.testing.assert_allclose(got, fst.grad(f)(1.0, 2.0), rtol=1e-12)
        jitted = fst.jit(lambda x: fst.jvp(f, (x, 2.0), (1.0, 0.0))[1])(1.0)
        np.testing.assert_allclose(got, jitted, rtol=1e-12)


# Closures


def closing(c, x, forward=False):
    """A function, and rules, that refer to c."""

    @fst.custom_vjp
    def g(x):
        return x * c

    g.defvjp(lambda x: (g(x), (x,)), lambda r, ct: (ct * c * 2 * g(r[0]),))
    if forward:
        g.defjvp(lambda p, t: (g(*p), t[0] * c * 2 * g(p[0])))
    return g(x)


def test_closures_over_tracers_of_ended_transforms():
    c = np.arange(3.0)
    slopes = 2 * c**2 * X
    np.testing.assert_allclose(fst.vmap(fst.grad(closing, 1))(c, X), slopes)
    total = lambda x: fst.vmap(closing)(c, x).sum()
    np.testing.assert_allclose(fst.grad(total)(X), slopes)
    np.testing.assert_allclose(fst.grad(fst.jit(total))(X), slopes)
    inside = lambda x: fst.jit(closing)(3.0, x)
    assert fst.grad(inside)(2.0) == 36.0
    assert fst.grad(fst.grad(inside))(2.0) == fst.grad(fst.grad(lambda x: closing(3.0, x)))(2.0)
    with_rule = lambda x: fst.vmap(lambda c, x: closing(c, x, True))(c, x)
    pushed = lambda x, t: fst.jvp(with_rule, (x,), (t,))[1]
    np.testing.assert_allclose(fst.jit(pushed)(X, X), slopes * X)


@pytest.mark.parametrize(
    "of_c",
    [
        lambda c: closing(c, 2.0),
        fst.jit(lambda c: closing(c, 2.0)),
        lambda c: fst.jit(closing)(c, 2.0),
        lambda c: fst.vmap(closing, (None, 0))(c, np.ones(2)).sum(),
    ],
)
def test_what_is_closed_over_cannot_be_differentiated(of_c):
    with pytest.raises(GradError, match=r"custom_vjp of g at .* refers to a value that is being"):
        fst.grad(of_c)(3.0)


def test_nondiff_arguments():
    f = functools.partial(fst.custom_vjp, nondiff_argnums=(0,))(lambda n, x: x * n)
    f.defvjp(lambda n, x: (x * n, None), lambda n, res, ct: (5 * ct * n,))
    assert fst.grad(f, 1)(3.0, 2.0) == 15.0
    assert fst.jit(fst.grad(f, 1))(3.0, 2.0) == 15.0
    np.testing.assert_array_equal(fst.vmap(fst.grad(f, 1))(np.arange(3.0), X), [0, 5, 10])
    for g in (f, fst.jit(f)):
        with pytest.raises(GradError, match="only the derivatives by its differentiable arguments"):
            fst.grad(g)(3.0, 2.0)


# Zeros and integers


def test_none_stands_for_zero_in_any_place():
    f = fst.custom_vjp(lambda x, p: x * p["a"] * p["b"])
    f.defvjp(lambda x, p: (f(x, p), x), lambda x, ct: (None, {"a": x * ct, "b": None}))
    x, p = fst.grad(f, (0, 1))(2.0, {"a": 3.0, "b": 4.0})
    assert (float(x), float(p["a"]), float(p["b"])) == (0.0, 2.0, 0.0)


def test_integers():
    f = fst.custom_vjp(lambda n, x: n * x)
    f.defvjp(lambda n, x: (n * x, n), lambda n, ct: (np.zeros((), fst.float0), n * ct))
    g = fst.grad(f, (0, 1), allow_int=True)(3, 2.0)
    assert g[0].dtype == fst.float0
    assert g[1] == 3.0
    f.defvjp(lambda n, x: (n * x, n), lambda n, ct: (n, n * ct))
    with pytest.raises(DtypeError, match="the cotangent of n must have dtype float0, got int32"):
        fst.grad(f, 1)(3, 2.0)


def test_symbolic_zeros():
    seen = []

    def fwd(x, y):
        seen.append((x.perturbed, y.perturbed))
        return (x.value * y.value, x.value), y.value

    def bwd(y, cts):
        seen.append(isinstance(cts[1], SymbolicZero))
        return cts[0] * y, None

    f = fst.custom_vjp(lambda x, y: (x * y, x))
    f.defvjp(fwd, bwd, symbolic_zeros=True)
    g = lambda x: f(x, 3.0)[0]
    for h in (fst.grad(g), fst.grad(fst.jit(g)), lambda x: fst.vmap(fst.grad(g))(x * np.ones(1))):
        seen.clear()
        assert h(2.0) == 3.0
        assert seen[-2:] == [(True, False), True]


# Mistakes

MISTAKES = {
    "no_pair": (lambda x, y: x, lambda r, c: c, ArgumentError, r"a pair \(result, residuals\)"),
    "no_tuple": (
        lambda x, y: (x, x),
        lambda r, c: c,
        TreeError,
        r"argument, got float32\[\]; None",
    ),
    "count": (lambda x, y: (x, x), lambda r, c: (c,), TreeError, "argument, got 1 for 2; None"),
    "tree": (
        lambda x, y: (x, x),
        lambda r, c: (c, {"w": c}),
        TreeError,
        "its result: must be a prefix .* keys .'w'. for dict with keys .'u'.",
    ),
    "shape": (
        lambda x, y: (x, x),
        lambda r, c: (c, {"u": fnp.ones(3)}),
        ShapeError,
        r"the cotangent of y\['u'\] must have the shape of its primal, got float32\[3\] for",
    ),
    "residual": (lambda x, y: (x, "r"), lambda r, c: (c, None), ArgumentError, "leaf of type str"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_rules(mistake):
    fwd, bwd, error, words = MISTAKES[mistake]
    f = fst.custom_vjp(lambda x, y: x * y["u"])
    f.defvjp(fwd, bwd)
    for g in (f, fst.jit(f)):
        with pytest.raises(error, match=f"custom_vjp: the rule <lambda> at .*{words}"):
            fst.grad(g)(2.0, {"u": 3.0})


def test_a_missing_rule():
    with pytest.raises(MissingRuleError, match="has no rules; give it some with defvjp"):
        fst.custom_vjp(lambda x: x)(1.0)


# custom_gradient, closure_convert


def test_custom_gradient(recorded):
    def program(lib, xp):
        @lib.custom_gradient
        def f(x):
            return x**2, lambda ct: ct * xp.sin(x)

        @lib.custom_gradient
        def g(x, y):
            return x**2 * y, lambda ct: (ct * xp.sin(x), 3 * y * ct)

        return [
            f(3.0),
            lib.grad(f)(3.0),
            lib.grad(lib.grad(f))(3.0),
            lib.jit(lib.grad(f))(3.0),
            lib.vmap(lib.grad(f))(X),
            lib.grad(lib.jit(lambda x: lib.vmap(f)(x).sum()))(X),
            lib.grad(g, (0, 1))(3.0, 4.0),
        ]

    check_like_jax(recorded, program)
    with pytest.raises(ArgumentError, match=r"custom_gradient: .* pair \(result, pullback\)"):
        fst.custom_gradient(lambda x: x)(1.0)


def test_closure_convert(recorded):
    def program(lib, xp):
        @functools.partial(lib.custom_vjp, nondiff_argnums=(0,))
        def apply(fn, x, *values):
            return fn(x, *values)

        def bwd(fn, res, ct):
            return ct * 2, *[ct * v for v in res]

        apply.defvjp(lambda fn, x, *values: (apply(fn, x, *values), values), bwd)

        def f(a, x):
            converted, values = lib.closure_convert(lambda z: z * a + xp.sin(a), x)
            return apply(converted, x, *values)

        return [
            f(1.0, 2.0),
            lib.grad(f, (0, 1))(3.0, 2.0),
            lib.jit(lib.grad(f, (0, 1)))(3.0, 2.0),
            lib.grad(lib.jit(f), (0, 1))(3.0, 2.0),
            lib.vmap(lib.grad(f, (0, 1)))(X, X),
            lib.grad(lambda x: lib.vmap(f)(x, x).sum())(X),
        ]

    check_like_jax(recorded, program)
    converted, values = fst.closure_convert(lambda x: x, 1.0)
    assert values == []
    with pytest.raises(TreeError, match=r"closure_convert: .* structure of example_args"):
        converted((1.0, 2.0))
