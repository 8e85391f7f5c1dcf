"""`custom_jvp` under every transform, like JAX's, and where it goes beyond."""

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
    OptionError,
    ShapeError,
    TreeError,
)
from tests.transforms.both import X, check_like_jax, double


def function_of(lib, xp):
    """A function whose rule is told from its true derivative by a factor."""

    @lib.custom_jvp
    def f(x, y):
        return xp.sin(x) * y

    @f.defjvp
    def f_jvp(primals, tangents):
        (x, y), (tx, ty) = primals, tangents
        return f(x, y), 3 * xp.cos(x) * tx * y + xp.sin(x) * ty

    return f


def scanned(lib, xp):
    f = function_of(lib, xp)
    return lambda x, y: lib.lax.scan(lambda c, e: (f(c, e), c), x, xp.ones(3) * y)[0]


USES = {
    "value": lambda lib, xp: function_of(lib, xp)(1.0, 2.0),
    "jvp": lambda lib, xp: lib.jvp(function_of(lib, xp), (1.0, 2.0), (0.5, 0.7)),
    "grad": lambda lib, xp: lib.grad(function_of(lib, xp), (0, 1))(1.0, 2.0),
    "jit_grad": lambda lib, xp: lib.jit(lib.grad(function_of(lib, xp), (0, 1)))(1.0, 2.0),
    "grad_jit": lambda lib, xp: lib.grad(lib.jit(function_of(lib, xp)), (0, 1))(1.0, 2.0),
    "grad_grad": lambda lib, xp: lib.grad(lib.grad(function_of(lib, xp)))(1.0, 2.0),
    "grad_jit_grad_jit": lambda lib, xp: lib.grad(lib.jit(lib.grad(lib.jit(function_of(lib, xp)))))(
        1.0, 2.0
    ),
    "vmap": lambda lib, xp: lib.vmap(function_of(lib, xp), (0, None))(X, 2.0),
    "vmap_grad": lambda lib, xp: lib.vmap(lib.grad(function_of(lib, xp)), (None, 0))(2.0, X),
    "grad_vmap": lambda lib, xp: lib.grad(
        lambda x, y: lib.vmap(function_of(lib, xp), (None, 0))(x, y).sum(), (0, 1)
    )(2.0, X),
    "jvp_vmap": lambda lib, xp: lib.jvp(lib.vmap(function_of(lib, xp)), (X, X), (X, X)),
    "vmap_vmap": lambda lib, xp: lib.grad(
        lambda x: lib.vmap(lib.vmap(function_of(lib, xp), (0, None)))(x, X).sum()
    )(X[:, None] * X),
    "hessian": lambda lib, xp: lib.hessian(function_of(lib, xp), (0, 1))(1.0, 2.0),
    "jacfwd": lambda lib, xp: lib.jacfwd(lambda x: function_of(lib, xp)(x, x))(X),
    "jacrev": lambda lib, xp: lib.jacrev(lambda x: function_of(lib, xp)(x, x))(X),
    "scan": lambda lib, xp: lib.grad(scanned(lib, xp), (0, 1))(0.7, 1.2),
    "vmap_scan": lambda lib, xp: lib.vmap(lib.grad(scanned(lib, xp)))(X, X),
    "cond": lambda lib, xp: lib.grad(
        lambda x: lib.lax.cond(x > 0, function_of(lib, xp), lambda a, b: a, x, 2.0)
    )(1.0),
    "while": lambda lib, xp: lib.jvp(
        lambda x: lib.lax.while_loop(
            lambda c: c[0] < 3, lambda c: (c[0] + 1, function_of(lib, xp)(c[1], 1.2)), (0, x)
        )[1],
        (0.7,),
        (1.0,),
    ),
    "checkpoint": lambda lib, xp: lib.grad(lib.checkpoint(function_of(lib, xp)))(1.0, 2.0),
    "linear": lambda lib, xp: lib.linear_transpose(doubling(lib, xp), X)(X),
}


def doubling(lib, xp):
    f = lib.custom_jvp(lambda x: 2 * x)
    f.defjvp(lambda p, t: (f(*p), 2 * t[0]))
    return f


@pytest.mark.parametrize("use", USES)
def test_like_jax(use, recorded):
    check_like_jax(recorded, USES[use])


def test_second_derivatives_in_scan():
    # JAX 0.10.2 differs here from its own unrolled loop.
    with double():
        f = function_of(fst, fnp)
        unrolled = lambda x, y: f(f(f(x, y), y), y)
        want = fst.grad(fst.grad(unrolled))(0.7, 1.2)
        got = fst.grad(fst.grad(scanned(fst, fnp)))(0.7, 1.2)
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_one_equation_in_the_jaxpr():
    text = str(fst.make_jaxpr(function_of(fst, fnp))(1.0, 2.0))
    for part in ("custom_jvp_call[", "name=f", "jvp=f_jvp", "symbolic_zeros=False"):
        assert part in text
    fst.make_jaxpr(fst.vmap(function_of(fst, fnp)))(X, X).check()


def test_rules_are_traced_only_for_derivatives():
    seen = []
    f = fst.custom_jvp(lambda x: x * x)
    f.defjvp(lambda p, t: (f(*p), seen.append(1) or t[0]))
    seen.clear()
    g = fst.jit(f)
    assert g(3.0) == 9.0
    assert fst.grad(g)(3.0) == 1.0


def test_defjvps(recorded):
    def program(lib, xp):
        f = lib.custom_jvp(lambda x, y, z: xp.sin(x) * y + z)
        f.defjvps(lambda t, out, x, y, z: t * y * out, None, lambda t, out, x, y, z: 2 * t)
        return lib.grad(f, (0, 1, 2))(1.0, 2.0, 3.0), lib.vmap(lib.grad(f))(X, X, X)

    check_like_jax(recorded, program)
    f = fst.custom_jvp(lambda x, y: x * y)
    f.defjvps(None)
    with pytest.raises(OptionError, match=r"needs a rule for each argument of .*, got 1 for 2"):
        fst.grad(f)(1.0, 2.0)
    with pytest.raises(OptionError, match="does not go with nondiff_argnums"):
        fst.custom_jvp(lambda x, y: x, nondiff_argnums=(0,)).defjvps(None)


def test_trees_and_keywords(recorded):
    def program(lib, xp):
        @lib.custom_jvp
        def f(p, scale=2.0):
            return {"y": p["a"] * p["b"] * scale}

        @f.defjvp
        def f_jvp(primals, tangents):
            (p, scale), (t, _) = primals, tangents
            return f(p, scale), {"y": t["a"] * scale}

        g = lambda p: f(scale=5.0, p=p)["y"]
        p = {"a": 2.0, "b": 3.0}
        return f(p), lib.grad(g)(p), lib.jit(lib.grad(g))(p)

    check_like_jax(recorded, program)


def test_python_may_branch_on_values_under_grad(recorded):
    def program(lib, xp):
        f = lib.custom_jvp(lambda x: xp.sin(x) if x > 0 else x)
        f.defjvps(lambda t, out, x: 2 * t * x if x > 0 else t)
        return [lib.grad(f)(1.0), lib.grad(f)(-1.0), lib.grad(lib.grad(f))(1.0)]

    check_like_jax(recorded, program)


def test_nondiff_arguments(recorded):
    def program(lib, xp):
        @functools.partial(lib.custom_jvp, nondiff_argnums=(0,), nondiff_argnames=("k",))
        def apply(fn, x, k=2):
            return fn(x) * k

        @apply.defjvp
        def rule(fn, k, primals, tangents):
            return apply(fn, primals[0], k), 7 * k * tangents[0]

        by_x = lambda x: apply(xp.sin, x)
        by_k = lambda k: apply(xp.sin, 1.0, k)
        return [
            lib.grad(lambda x: apply(xp.sin, x, k=3))(1.0),
            lib.jit(lib.grad(by_x))(1.0),
            lib.grad(lib.jit(by_x))(1.0),
            lib.grad(by_k)(2.0),  # derivatives end there
            lib.grad(lib.jit(by_k))(2.0),
            lib.jit(lib.grad(lambda x, k: apply(xp.sin, x, k)))(1.0, 3.0),
        ]

    check_like_jax(recorded, program)


def test_rules_may_form_a_series(recorded):
    # Each derivative calls the function with another order, from inside of a closure.
    def bessel_like(lib, xp, c):
        @functools.partial(lib.custom_jvp, nondiff_argnums=(0,))
        def f(n, x):
            return x**n * c

        f.defjvp(lambda n, p, t: (f(n, *p), n * f(n - 1, *p) * t[0]))
        return f

    def program(lib, xp):
        g = lib.jit(lambda x: bessel_like(lib, xp, 2.0)(3, x))
        return lib.grad(g)(1.5), lib.grad(lib.grad(g))(1.5), lib.vmap(lib.grad(g))(X)

    check_like_jax(recorded, program)


def closing(c, x):
    """A function, and a rule, that refer to c."""

    @fst.custom_jvp
    def g(x):
        return x * c

    @g.defjvp
    def g_jvp(p, t):
        return g(*p), t[0] * c * 2 * g(p[0])

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
    in_scan = lambda x: fst.lax.scan(lambda y, c: (closing(c, y), None), x, c + 1)[0]
    unrolled = lambda x: closing(3.0, closing(2.0, closing(1.0, x)))
    np.testing.assert_allclose(fst.grad(in_scan)(0.5), fst.grad(unrolled)(0.5))


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
    with pytest.raises(GradError, match=r"custom_jvp of g at .* refers to a value that is being"):
        fst.grad(of_c)(3.0)


def test_integers_have_tangents_of_float0():
    seen = []
    f = fst.custom_jvp(lambda n, x: n * x)
    f.defjvp(lambda p, t: (p[0] * p[1], seen.append(t[0].dtype) or p[0] * t[1]))
    assert fst.grad(f, 1)(3, 2.0) == 3.0
    assert fst.grad(fst.jit(f), 1)(3, 2.0) == 3.0
    np.testing.assert_array_equal(fst.vmap(fst.grad(f, 1), (0, None))(np.arange(3), 2.0), [0, 1, 2])
    assert set(seen) == {np.dtype(fst.float0)}
    f = fst.custom_jvp(lambda x: (x, fnp.int32(3)))
    f.defjvp(lambda p, t: (f(*p), (t[0], fnp.int32(0))))
    with pytest.raises(DtypeError, match=r"its tangent\[1\] must have dtype float0, got int32"):
        fst.grad(lambda x: f(x)[0])(1.0)


def test_symbolic_zeros():
    seen = []
    f = fst.custom_jvp(lambda x, y: x * y)

    def rule(primals, tangents):
        seen.append([isinstance(t, SymbolicZero) for t in tangents])
        x, y = primals
        if isinstance(tangents[0], SymbolicZero):
            assert tangents[0].shape == x.shape
            return x * y, x * tangents[1]
        return x * y, SymbolicZero((x * y).aval)

    f.defjvp(rule, symbolic_zeros=True)
    total = lambda y: fst.vmap(f, (None, 0))(2.0, y).sum()
    for g in (
        fst.grad(f, 1),
        fst.grad(fst.jit(f), 1),
        lambda x, y: fst.grad(total)(y * np.ones(1)),
    ):
        seen.clear()
        assert g(2.0, 3.0) == 2.0
        assert seen[-1] == [True, False]
    assert fst.grad(f)(2.0, 3.0) == 0.0


MISTAKES = {
    "no_pair": (lambda p, t: p[0], ArgumentError, r"must return a pair \(result, tangent\)"),
    "structures": (lambda p, t: (p[0], (t[0],)), TreeError, "its tangent must have the structure"),
    "shape": (lambda p, t: (p[0], fnp.ones(3)), ShapeError, r"shape of its primal, got float32\[3"),
    "dtype": (lambda p, t: (p[0], fnp.int32(1)), DtypeError, "must have dtype float.., got int32"),
    "no_array": (lambda p, t: (p[0], "t"), ArgumentError, "its tangent must be an array, got str"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("where", ["grad", "jit", "vmap"])
def test_mistakes_in_rules(mistake, where):
    rule, error, words = MISTAKES[mistake]
    f = fst.custom_jvp(lambda x: x)
    f.defjvp(rule)
    g = {"grad": fst.grad(f), "jit": fst.grad(fst.jit(f)), "vmap": fst.vmap(fst.grad(f))}[where]
    with pytest.raises(error, match=f"custom_jvp: the rule <lambda> at .* of <lambda>.*{words}"):
        g(np.float32([1, 2]) if where == "vmap" else 2.0)


def test_rules_must_return_the_function_s_result():
    f = fst.custom_jvp(lambda x: {"a": x})
    f.defjvp(lambda p, t: ({"b": p[0]}, {"b": t[0]}))
    with pytest.raises(TreeError, match="its result must have the structure of the function's"):
        fst.grad(fst.jit(lambda x: f(x)["a"]))(1.0)
    f.defjvp(lambda p, t: ({"a": fnp.ones(2)}, {"a": fnp.ones(2)}))
    words = r"its result\['a'\] must have the type of the function's, got float32\[2\] for float32"
    with pytest.raises(ShapeError, match=words):
        fst.grad(fst.jit(lambda x: f(x)["a"]))(1.0)


def test_mistakes_in_calls():
    f = fst.custom_jvp(lambda x: x)
    with pytest.raises(MissingRuleError, match="has no rule; give it one with defjvp"):
        f(1.0)
    f.defjvp(lambda p, t: (p[0], t[0]))
    with pytest.raises(ArgumentError, match="leaf of type str; name such an argument in nondiff"):
        f("x")
    with pytest.raises(ArgumentError, match="too many positional arguments"):
        f(1.0, 2.0)
    g = fst.custom_jvp(lambda *, x: x)
    g.defjvp(lambda p, t: (p[0], t[0]))
    with pytest.raises(ArgumentError, match="takes x by keyword alone"):
        g(x=1.0)
    with pytest.raises(OptionError, match="nondiff_argnames='z' names no argument"):
        fst.custom_jvp(lambda x: x, nondiff_argnames=("z",))


def test_methods():
    class Layer:
        @functools.partial(fst.custom_jvp, nondiff_argnums=(0,))
        def __call__(self, x):
            return 2 * x

        @__call__.defjvp
        def rule(self, primals, tangents):
            return 2 * primals[0], 5 * tangents[0]

    assert fst.grad(Layer())(1.0) == 5.0
