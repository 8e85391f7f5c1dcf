"""Functions, and layers of one, give the values and gradients that PyTorch computed.

These are those that have no other file; see tests/golden/make/functions.py.
"""

import jax
import numpy as np
import pytest

import fstensor as fst
from fstensor import nn, random
from fstensor.errors import ArgumentError, OptionError, ShapeError
from tests.nn.functions_cases import CASES
from tests.nn.golden_cases import case, case_names, compare, weighted

KEY = random.key(0)


def test_all_cases_are_here():
    assert case_names("functions") == sorted(CASES)


def operands(name, dtype):
    """What has gradients in a case, floats of a dtype; and what has none."""
    given = {k: v for k, v in case("functions", name).items() if k not in ("out", "grad")}
    held = {k: v for k, v in given.items() if k in ("indices", "x") and v.dtype.kind == "i"}
    moved = {k: v for k, v in given.items() if k not in held}
    return fst.tree.map(lambda v: v.astype(dtype), moved), held


def value_and_gradients(name, moved, held):
    def run(moved):
        out = CASES[name](**moved, **held)
        return weighted(out), out

    gradients, out = fst.grad(run, has_aux=True)(moved)
    return {"grad": gradients, "out": out}


def tolerance(name, rtol):
    # PyTorch's derivative of it has 1/6 in single precision; test_activations.py has JAX's.
    return max(rtol, 1e-7) if name == "hard_sigmoid" else rtol


def expected(name):
    return {k: v for k, v in case("functions", name).items() if k in ("out", "grad")}


@pytest.mark.parametrize("name", CASES)
def test_as_pytorch(name):
    found = value_and_gradients(name, *operands(name, np.float64))
    compare(found, expected(name), tolerance(name, 1e-10))


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-10), (np.float32, 1e-5)])
def test_compiled(dtype, rtol):
    """All of them in one program."""

    def run(given):
        return {name: value_and_gradients(name, *both) for name, both in given.items()}

    found = fst.jit(run)({name: operands(name, dtype) for name in CASES})
    for name, one in found.items():
        assert one["out"].dtype == dtype
        compare(one, expected(name), tolerance(name, rtol))


@pytest.mark.parametrize("axis", [None, 0, (0, 1)])
def test_logmeanexp(axis):
    x = np.random.default_rng(0).normal(size=(3, 4)) * 300
    where = np.abs(x) < 400
    with jax.enable_x64(True):
        for options in ({}, {"where": where}, {"keepdims": True}):
            expected = jax.nn.logmeanexp(x, axis, **options)
            np.testing.assert_allclose(nn.logmeanexp(x, axis, **options), expected, 1e-12)
        expected = jax.grad(lambda x: jax.nn.logmeanexp(x, axis).sum())(x)
    gradient = fst.grad(lambda x: nn.logmeanexp(x, axis).sum())(x)
    np.testing.assert_allclose(gradient, expected, 1e-10, 1e-300)


def test_identity():
    assert nn.identity([1, 2]).tolist() == [1, 2]
    assert fst.grad(nn.identity)(3.0) == 1


@pytest.mark.parametrize("axis", [-1, 0])
def test_gumbel_softmax(axis):
    """Given what was drawn, it is a softmax; so are its derivatives, hard or not."""
    x = np.random.default_rng(0).normal(size=(3, 4))
    noise = random.gumbel(KEY, x.shape, "float64")
    ct = np.cos(np.arange(12)).reshape(3, 4)
    expected = fst.grad(lambda x: (nn.softmax((x + noise) / 0.5, axis) * ct).sum())(x)
    soft = nn.gumbel_softmax(KEY, x, 0.5, axis=axis)
    np.testing.assert_allclose(soft, nn.softmax((x + noise) / 0.5, axis), 1e-12)
    for hard in (False, True):
        f = lambda x, hard=hard: nn.gumbel_softmax(KEY, x, 0.5, hard, axis)
        found = fst.jit(fst.grad(lambda x, f=f: (f(x) * ct).sum()))(x)
        np.testing.assert_allclose(found, expected, 1e-10, 1e-12)
    np.testing.assert_allclose(np.asarray(f(x)).max(axis), 1, 1e-12)


def test_rrelu_has_the_slopes_it_drew_as_derivatives():
    x = np.array([-3.0, -0.5, 0.0, 2.0])
    f = lambda x: nn.rrelu(x, 0.1, 0.5, key=KEY, train=True)
    y, slopes = f(x), fst.jit(fst.grad(lambda x: f(x).sum()))(x)
    np.testing.assert_allclose(y, slopes * x, 1e-12)
    np.testing.assert_array_equal(slopes[2:], 1)
    assert 0.1 <= slopes[0] != slopes[1] <= 0.5
    again = nn.RReLU(0.1, 0.5)({}, x, train=True, key=KEY)
    assert not np.allclose(again, y)  # a layer makes a key of its own
    np.testing.assert_allclose(again[2:], x[2:])
    np.testing.assert_allclose(nn.RReLU(0.1, 0.5)({}, x), nn.rrelu(x, 0.1, 0.5), 1e-12)


def test_layers_of_products():
    given = case("functions", "bilinear")
    params = {k: given[k] for k in ("kernel", "bias")}
    layer = nn.Bilinear(5)
    made, _ = layer.init(KEY, given["x1"], given["x2"])
    assert fst.tree.map(lambda p: p.shape, made) == {"kernel": (4, 2, 5), "bias": (5,)}
    np.testing.assert_allclose(layer(params, given["x1"], given["x2"]), given["out"], 1e-10)
    # Outputs have a variance near 1, as those of two inputs have.
    x = random.normal(KEY, (2, 300, 20))
    wide = nn.Bilinear(30, bias=False)
    made, _ = wide.init(KEY, *x)
    assert set(made) == {"kernel"}
    np.testing.assert_allclose(wide(made, *x).var(), 1, atol=0.2)
    given = case("functions", "linear")
    params = {k: given[k] for k in ("kernel", "bias")}
    np.testing.assert_allclose(nn.Linear(5)(params, given["x"]), given["out"], 1e-10)


def test_deformable_convolution():
    """As a layer; without offsets as `conv`; and within `vmap`."""
    given = case("functions", "deform_conv2d_options")
    params = {k: given[k] for k in ("kernel", "bias")}
    layer = nn.DeformConv2d(4, (2, 3), (2, 1), (1, 2), (1, 2), groups=2)
    inputs = [given[k] for k in ("x", "offset", "mask")]
    made, _ = layer.init(KEY, *inputs)
    assert fst.tree.map(lambda p: p.shape, made) == {"kernel": (2, 3, 2, 4), "bias": (4,)}
    np.testing.assert_allclose(layer(params, *inputs), given["out"], 1e-10, 1e-10)
    x, kernel = given["x"], given["kernel"]
    plain = nn.deform_conv2d(x, np.zeros((2, 4, 4, 24)), kernel, padding="same")
    np.testing.assert_allclose(plain, nn.conv(x, kernel, padding="same", groups=2), 1e-10, 1e-12)
    one = lambda x, *others: layer(params, x[None], *[a[None] for a in others])[0]
    np.testing.assert_allclose(fst.vmap(one)(*inputs), given["out"], 1e-10, 1e-10)


def test_bilinear_broadcasts_and_maps():
    x1, x2, kernel = random.normal(KEY, (3, 1, 4)), random.normal(KEY, (5, 2)), np.ones((4, 2, 6))
    y = nn.bilinear(x1, x2, kernel)
    expected = np.einsum("abi,bj,ijk->abk", np.broadcast_to(x1, (3, 5, 4)), x2, kernel)
    np.testing.assert_allclose(y, expected, 1e-5, 1e-6)
    mapped = fst.jit(fst.vmap(lambda a: nn.bilinear(a, x2, kernel)))(x1)
    np.testing.assert_allclose(mapped, y, 1e-5, 1e-6)


def test_learned_slopes():
    x = np.arange(-6.0, 6.0).reshape(3, 4)
    params, state = nn.PReLU().init(KEY, x)
    assert (params["slope"].shape, float(params["slope"]), state) == ((), 0.25, {})
    np.testing.assert_array_equal(nn.PReLU()(params, x), np.where(x > 0, x, 0.25 * x))
    params, _ = nn.PReLU(axis=0, slope_init=nn.initializers.ones).init(KEY, x)
    slopes = fst.grad(lambda p: nn.PReLU(axis=0)(p, x).sum())(params)["slope"]
    np.testing.assert_array_equal(slopes, np.minimum(x, 0).sum(1))


# What no layer knows is no option of it: it must not be passed over in silence.
SIGNAL, IMAGE = np.ones((1, 4, 2), np.float32), np.ones((1, 4, 4, 2), np.float32)
LAYERS = [
    (nn.Linear(2), SIGNAL),
    (nn.Identity(), SIGNAL),
    (nn.LayerNorm(), SIGNAL),
    (nn.BatchNorm(), SIGNAL),
    (nn.Dropout(), SIGNAL),
    (nn.Conv2d(2, 3), IMAGE),
    (nn.LocalConv(2, 3), IMAGE),
    (nn.MaxPool2d(2), IMAGE),
    (nn.Flatten(), IMAGE),
    (nn.LSTM(3), SIGNAL),
    (nn.GRUCell(3), SIGNAL),
    (nn.Embedding(3, 2), np.zeros(3, np.int32)),
    (nn.PReLU(), SIGNAL),
]


@pytest.mark.parametrize(("layer", "x"), LAYERS)
def test_unknown_options(layer, x):
    params, state = layer.init(KEY, x)
    with pytest.raises(TypeError, match="unexpected keyword argument 'reverse'"):
        layer.apply(params, state, x, reverse=True)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda x: nn.linear(x, np.ones((3, 2))),
            ShapeError,
            r"linear: the kernel must be \(in, features\) for x \(..., in\), "
            r"got float64\[3,2\] for float64\[2,4\]",
        ),
        (
            lambda x: nn.linear(x, np.ones((4, 2)), np.ones((1, 2))),
            ShapeError,
            r"linear: bias must have shape \(2,\), got float64\[1,2\]",
        ),
        (
            lambda x: nn.bilinear(x, x, np.ones((4, 3, 2))),
            ShapeError,
            r"got float64\[4,3,2\] for float64\[2,4\] and float64\[2,4\]",
        ),
        (
            lambda x: nn.deform_conv2d(np.ones((1, 4, 4, 2)), x, np.ones((2, 2, 2, 3))),
            ShapeError,
            r"offset must be \(n, 3, 3, parts \* 8\) for float64\[1,4,4,2\] and .* float64\[2,4\]",
        ),
        (
            lambda x: nn.deform_conv2d(
                np.ones((1, 4, 4, 2)), np.ones((1, 3, 3, 24)), np.ones((2, 2, 2, 3))
            ),
            ShapeError,
            r"must divide 2 channels, got float64\[1,3,3,24\]",
        ),
        (
            lambda x: nn.deform_conv2d(x, x, np.ones((2, 2, 2, 3))),
            ShapeError,
            r"for x \(n, h, w, c\), got float64\[2,2,2,3\] for float64\[2,4\]",
        ),
        (
            lambda x: nn.deform_conv2d(
                np.ones((1, 4, 4, 2)), np.ones((1, 3, 3, 8)), np.ones((2, 2, 2, 3)), mask=x
            ),
            ShapeError,
            r"mask must have shape \(1, 3, 3, 4\), got float64\[2,4\]",
        ),
        (lambda x: nn.PReLU(axis=2).init(KEY, x), ShapeError, r"PReLU: axis \(2,\) must be"),
        (lambda x: nn.RReLU(0.3, 0.1), OptionError, "lower must be at most upper, got 0.3 and 0.1"),
        (lambda x: nn.RReLU()({}, x, train=True), ArgumentError, "RReLU: needs random numbers"),
        (lambda x: nn.rrelu(x, train=True), OptionError, "needs random numbers, got no key"),
        (lambda x: nn.rrelu(x, 0.3, 0.1), OptionError, "lower must be at most upper"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(np.ones((2, 4)))
