"""Taylor mode gives what nested forward-mode derivatives and JAX's jet give."""

import jax
import jax.experimental.jet
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import lax
from fstensor.experimental.jet import jet
from fstensor.transforms.custom_jvp import custom_jvp
from tests.tolerances import assert_close

X = fnp.asarray(np.array([0.3, 0.7, 1.4]))
ORDER = 4
# Each derivative of order 4 sums some tens of products.
FACTOR = 20


def nested(f, curve, order):
    """The derivatives of f(curve(z)) at 0 by jvp of jvp."""

    def g(z):
        return f(curve(z))

    outs = [g(0.0)]
    for _ in range(order):
        g = (lambda h: lambda z: fst.jvp(h, (z,), (fnp.ones_like(z),))[1])(g)
        outs.append(g(fnp.asarray(np.array(0.0))))
    return outs


# A curve with derivatives of all orders.
TERMS = [np.array(t) for t in ([1.0, 0.5, -0.3], [0.2, -1.0, 0.4], [0.0, 1.0, 0.5], [3.0, 0.0, -1])]


def curve(z):
    total, power = X, 1.0
    for k, t in enumerate(TERMS, 1):
        power = power * z / k
        total = total + t * power
    return total


def with_loop(x):
    return lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * fnp.sin(c[1])), (0, x))[1]


NAMES = """
sin cos tan exp log sqrt tanh sinh cosh arctan arcsinh log1p expm1 exp2 square cbrt abs reciprocal
cumsum cumprod sum prod max min sort mean std floor sign flip negative
"""
FUNCTIONS = {
    **{name: getattr(fnp, name) for name in NAMES.split()},
    "logistic": lax.logistic,
    "rsqrt": lax.rsqrt,
    "erf": lax.erf,
    "lgamma": lax.lgamma,
    "integer powers": lambda x: x**3 - x**-2 + x**0 + x**1 + x**7,
    "float power": lambda x: x**2.5,
    "power of itself": lambda x: x**x,
    "quotient": lambda x: fnp.sin(x) / (1 + x * x) + 2 / x + x / 3,
    "maximum": lambda x: fnp.maximum(x, 0.5 * x * x + 0.3),
    "where": lambda x: fnp.where(x > 0.5, x * x, fnp.exp(x)),
    "clip": lambda x: fnp.clip(x, 0.5, 1.0) * x,
    "matmul": lambda x: fnp.outer(x, x) @ fnp.cos(x),
    "one operand fixed": lambda x: fnp.ones((3, 3)) @ x + fnp.array(2.0) * x,
    "convolution": lambda x: fnp.convolve(x, x * x),
    "jit": fst.jit(lambda x: fnp.sin(x) * x),
    "indexing": lambda x: x[::2] * x[np.array([1, 1])],
    "update": lambda x: x.at[1].mul(x[0]),
    "dynamic slice": lambda x: lax.dynamic_slice(x, (1,), (2,)) * 2,
    "shapes": lambda x: fnp.concatenate([x, fnp.pad(x, 1)]).reshape(2, 4).T.sum(1),
    "scan": lambda x: lax.scan(lambda c, y: (c * y + fnp.sin(c), c * c), x[0], x)[1],
    "while": with_loop,
    "cond": lambda x: lax.cond(x[0] < 3, lambda y: y * y * y, lambda y: y, x),
    "cholesky": lambda x: fnp.linalg.cholesky(fnp.outer(x, x) + fnp.eye(3) * fnp.exp(x[0])),
    "solve": lambda x: fnp.linalg.solve(fnp.outer(x, x) + fnp.eye(3), x),
    "softmax": lambda x: fnp.exp(x) / fnp.sum(fnp.exp(x)),
    "norm": fnp.linalg.norm,
    "grad inside": lambda x: fst.grad(lambda y: fnp.sum(fnp.sin(y) * y))(x),
    "vmap inside": lambda x: fst.vmap(lambda y: y * fnp.sum(x))(x),
    "a branch of Python": lambda x: x * x if x[0] < 1 else x,
    "complex": lambda x: fnp.real(fnp.exp(1j * x) * fnp.conj(x + 1j)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_like_nested_jvp(name):
    f = FUNCTIONS[name]
    out, series = jet(f, (X,), (TERMS,))
    got = [out, *series]
    for order, (g, e) in enumerate(zip(got, nested(f, curve, ORDER), strict=True)):
        assert_close(g, np.asarray(e), derivative=True, factor=FACTOR, err_msg=f"order {order}")


@pytest.mark.parametrize("name", ["square", "integer powers", "where", "prod", "sin", "exp"])
def test_at_zero(name):
    """Where a recurrence would divide by the value."""
    x = np.array([0.0, 0.0, 1.0])
    f = (lambda x: x**3 + x**2.0) if name == "integer powers" else FUNCTIONS[name]
    out, series = jet(f, (x,), ([np.ones(3), np.zeros(3), np.zeros(3)],))
    expected = nested(f, lambda z: fnp.asarray(x) + z, 3)
    for g, e in zip([out, *series], expected, strict=True):
        assert_close(g, np.asarray(e), derivative=True, factor=FACTOR)


@pytest.mark.parametrize("factorial_scaled", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_like_jax(dtype, factorial_scaled):
    def f(m, x, y):
        return m.sin(x) @ m.exp(y), {"q": x / (y + 3), "p": m.tanh(x) * y**2}

    x, y = np.linspace(0.1, 1, 4, dtype=dtype), np.linspace(1, 2, 4, dtype=dtype)
    terms = [[(x + k) * (-1) ** k for k in range(3)], [y * k for k in range(3)]]
    got = jet(lambda x, y: f(fnp, x, y), (x, y), terms, factorial_scaled)
    with jax.enable_x64(True):
        expected = jax.experimental.jet.jet(
            lambda x, y: f(jax.numpy, x, y), (x, y), terms, factorial_scaled
        )
        expected = jax.tree.map(np.asarray, expected)
    assert fst.tree.structure(got) == fst.tree.structure(expected)
    for g, e in zip(fst.tree.leaves(got), fst.tree.leaves(expected), strict=True):
        assert_close(g, e, derivative=True)


def test_series_of_known_functions():
    # exp at 0 along z: all derivatives are 1; 1 / (1 - z): Taylor coefficients are 1.
    _, series = jet(fnp.exp, (0.0,), ([1.0, 0.0, 0.0, 0.0, 0.0],))
    assert [s.item() for s in series] == pytest.approx([1] * 5)
    _, series = jet(lambda z: 1 / (1 - z), (0.0,), ([1.0, *[0.0] * 7],), factorial_scaled=False)
    assert [s.item() for s in series] == pytest.approx([1] * 8)
    # tan z = z + z^3/3 + 2 z^5/15 + ...
    _, series = jet(fnp.tan, (0.0,), ([1.0, *[0.0] * 4],), factorial_scaled=False)
    assert [s.item() for s in series] == pytest.approx([1, 0, 1 / 3, 0, 2 / 15], rel=1e-6)


def test_high_order_is_affordable():
    order = 30
    _, series = jet(
        lambda z: fnp.sin(z) * fnp.exp(-z) / (2 + z),
        (np.array(0.5),),
        ([1.0, *[0.0] * (order - 1)],),
    )
    assert len(series) == order
    assert all(np.isfinite(s.item()) for s in series)


def test_trees_and_constants():
    def f(p):
        return {"y": p["a"] * p["b"][0], "fixed": fnp.arange(3), "none": None}

    p = {"a": np.array(2.0), "b": [np.array(3.0)]}
    out, series = jet(f, (p,), ([p, p],))
    assert out["y"].item() == 6
    assert [s.item() for s in series["y"]] == [12, 24]  # (xy)' = 2xy, (xy)'' = xy + 2xy + xy
    assert [s.tolist() for s in series["fixed"]] == [[0, 0, 0], [0, 0, 0]]
    assert series["fixed"][0].dtype == out["fixed"].dtype
    assert jet(lambda x: x * 2, (3.0,), ([],)) == (6.0, [])


def test_under_other_transforms():
    def second(x):
        return jet(lambda y: fnp.sin(y) * y, (x,), ([1.0, 0.0],))[1][1]

    x = np.linspace(0, 1, 3)
    expected = 2 * np.cos(x) - x * np.sin(x)
    derivative = -3 * np.sin(x) - x * np.cos(x)
    assert_close(fst.vmap(second)(x), expected)
    assert_close(fst.jit(fst.vmap(second))(x), expected)
    assert_close(fst.vmap(fst.grad(second))(x), derivative, derivative=True)
    assert_close(fst.jvp(fst.vmap(second), (x,), (np.ones(3),))[1], derivative, derivative=True)


def test_jet_of_jet():
    def f(x):
        return fnp.exp(2 * x)

    def inner(x):
        return jet(f, (x,), ([1.0, 0.0],))[1][1]

    _, series = jet(inner, (np.array(0.0),), ([1.0, 0.0],))
    assert [s.item() for s in series] == pytest.approx([8, 16])


def test_no_confusion_of_nested_curves():
    def f(x):
        return jet(lambda y: x * y, (np.array(2.0),), ([np.array(1.0)],))[1][0] * x

    assert jet(f, (np.array(3.0),), ([np.array(1.0)],))[1][0].item() == 6


def test_a_rule_of_the_user_is_followed():
    @custom_jvp
    def f(x):
        return x * x

    @f.defjvp
    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        return f(x), 10 * x * t

    _, series = jet(f, (np.array(3.0),), ([np.array(1.0), np.array(0.0)],))
    assert [s.item() for s in series] == [30, 10]


def test_mistakes():
    e = fst.errors
    x = np.ones(3)
    with pytest.raises(e.OptionError, match=r"one length, got \[1, 2\]"):
        jet(fnp.add, (x, x), ([x], [x, x]))
    with pytest.raises(e.OptionError, match="a series for each primal, got 1 for 2"):
        jet(fnp.add, (x, x), ([x],))
    with pytest.raises(e.ShapeError, match=r"order 2 must have the shape.*got float64\[2\]"):
        jet(fnp.sin, (x,), ([x, x[:2]],))
    with pytest.raises(e.DtypeError, match=r"dtype of its primal, got float32\[3\]"):
        jet(fnp.sin, (x,), ([x.astype(np.float32)],))
    with pytest.raises(e.DtypeError, match=r"float or complex dtype, got int64\[3\]"):
        jet(fnp.negative, (np.arange(3),), ([np.arange(3)],))
    with pytest.raises(e.TreeError, match="terms of order 1"):
        jet(lambda p: p["a"], ({"a": x},), ([[x]],))
    with pytest.raises(e.ArgumentError, match=r"series\[0\] must be a tuple or list"):
        jet(fnp.sin, (x,), (x,))
    with pytest.raises(e.ArgumentError, match="primals must be a tuple or list"):
        jet(fnp.sin, x, ([x],))
    with pytest.raises(e.ArgumentError, match="takes a function"):
        jet(3, (x,), ([x],))


def test_the_primitive_without_a_rule_is_named():
    with pytest.raises(fst.errors.MissingRuleError, match="nextafter"):
        jet(lambda x: fnp.nextafter(x, 1.0), (np.array(0.5),), ([np.array(1.0)],))


def test_no_number_leaves_the_trace():
    with pytest.raises(fst.errors.ConcretizationTypeError):
        jet(lambda x: x * float(x), (np.array(0.5),), ([np.array(1.0)],))
    kept = []
    jet(lambda x: kept.append(x) or x, (np.array(0.5),), ([np.array(1.0)],))
    with pytest.raises(fst.errors.UnexpectedTracerError, match="jet"):
        kept[0] + 1
