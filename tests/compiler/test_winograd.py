"""Native convolutions by Winograd's algorithm, against the NumPy executor."""

import numpy as np
import pytest

import fstensor as fs
from fstensor import config, dtypes, jit, lax
from fstensor import numpy as fnp
from fstensor.array import from_buffer
from fstensor.compiler import pipeline
from fstensor.compiler.llvm import conv as conv_module
from fstensor.compiler.llvm import winograd_plan
from tests.compiler.convolutions import (
    NCHW,
    NHWC,
    PARAMETERS,
    TARGETS,
    check,
    conv,
    numbers,
    run,
)

pytestmark = pytest.mark.usefixtures("guarded_memory")

# With operands of any size: results at the edge of tiles, panels, blocks, rows and bands.
SHAPES = {
    "whole tiles": ((2, 8, 8, 16), (3, 3, 16, 32), {}),
    "odd places": ((3, 7, 5, 3), (3, 3, 3, 5), {}),
    "no padding": ((2, 8, 10, 16), (3, 3, 16, 16), {"padding": "VALID"}),
    "no padding, odd": ((2, 7, 9, 16), (3, 3, 16, 16), {"padding": "VALID"}),
    "2x2": ((2, 9, 6, 5), (2, 2, 5, 6), {"padding": "VALID"}),
    "2x3": ((2, 8, 7, 5), (2, 3, 5, 6), {}),
    "3x2": ((2, 8, 8, 5), (3, 2, 5, 20), {"padding": ((2, 0), (0, 3))}),
    "negative padding": ((2, 9, 9, 4), (3, 3, 4, 4), {"padding": ((-2, 1), (1, -3))}),
    "dilated": ((2, 13, 10, 6), (3, 3, 6, 9), {"rhs_dilation": (2, 3)}),
    "dilated operand": (
        (2, 5, 6, 9), (4, 4, 9, 7), {"padding": ((2, 2), (2, 2)), "lhs_dilation": (2, 2)},
    ),
    "groups": ((4, 6, 6, 8), (3, 3, 4, 12), {"feature_group_count": 2}),
    "batch groups": ((4, 6, 6, 3), (3, 3, 3, 8), {"batch_group_count": 2}),
    "several panels": ((2, 5, 5, 70), (3, 3, 70, 131), {}),
    "many images": ((24, 4, 4, 5), (3, 3, 5, 6), {}),
    "long rows": ((1, 4, 70, 3), (3, 3, 3, 4), {}),
    "channels first": ((3, 9, 7, 19), (20, 9, 3, 3), {"numbers": NCHW}),
    "channels first, many": ((2, 40, 6, 6), (130, 40, 3, 3), {"numbers": NCHW}),
    "channels first, dilated": (
        (2, 9, 7, 19), (20, 9, 3, 3), {"numbers": NCHW, "rhs_dilation": (1, 2)},
    ),
    "strange layouts": ((6, 3, 12, 7), (4, 3, 3, 12), {"numbers": ("WNCH", "OWHI", "CHNW")}),
}  # fmt: skip


@pytest.fixture
def always(monkeypatch):
    """Wherever it is possible, even where there is little to gain."""
    monkeypatch.setattr(winograd_plan, "_pays", lambda *_: True)
    winograd_plan.plan_winograd.cache_clear()
    yield
    winograd_plan.plan_winograd.cache_clear()


@pytest.fixture
def small_caches(monkeypatch):
    """What is in work together is little, so that there are many bands and panels."""
    small = {name: target._replace(l2=4096) for name, target in TARGETS.items()}
    monkeypatch.setattr(pipeline, "host_target", lambda: small["avx512"])


def plans(f, *args):
    """How the convolutions of a program are computed; None where otherwise."""
    found = []

    def recorded(conv, target):
        found.append(winograd_plan.plan_winograd.__wrapped__(conv, target))
        return found[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv_module, "plan_winograd", recorded)
        run(f, *args)
    return found


def loss(f):
    return lambda x, w: fnp.sum(fnp.sin(f(x, w)))


def check_with_gradients(f, *args):
    check(f, *args)
    check(fs.grad(loss(f), argnums=(0, 1)), *args, factor=40)


def operands(x_shape, w_shape):
    return numbers(x_shape, np.float32, 1), numbers(w_shape, np.float32, 2)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", SHAPES)
def test_values_and_gradients(name):
    *shapes, options = SHAPES[name]
    f, args = conv(**options), operands(*shapes)
    assert any(plans(f, *args))
    check_with_gradients(f, *args)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", PARAMETERS)
def test_where_it_may_be_impossible(name):
    *shapes, options = PARAMETERS[name]
    check_with_gradients(conv(**options), *operands(*shapes))


@pytest.mark.usefixtures("always", "small_caches")
@pytest.mark.parametrize("name", ["odd places", "dilated", "groups", "channels first", "2x2"])
def test_bands_and_chunks(name):
    x_shape, w_shape, options = SHAPES[name]
    f = conv(**options)
    args = numbers((9, *x_shape[1:]), np.float32, 1), numbers(w_shape, np.float32, 2)
    found = plans(fs.grad(loss(f), argnums=(0, 1)), *args)
    assert any(p and p.bands > 1 for p in found)
    assert any(p and p.chunks > 1 for p in found)
    check(fs.grad(loss(f), argnums=(0, 1)), *args, factor=40)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["odd places", "several panels", "channels first", "dilated"])
def test_targets(monkeypatch, name, target):
    monkeypatch.setattr(pipeline, "host_target", lambda: TARGETS[target])
    x_shape, w_shape, options = SHAPES[name]
    f = conv(**options)
    args = numbers(x_shape, np.float32, 1), numbers(w_shape, np.float32, 2)
    check(fs.grad(loss(f), argnums=(0, 1)), *args, factor=40)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("dtype", [np.float16, dtypes.bfloat16])
@pytest.mark.parametrize("name", ["odd places", "channels first"])
def test_16_bits(name, dtype):
    x_shape, w_shape, options = SHAPES[name]
    args = numbers(x_shape, dtype, 1), numbers(w_shape, dtype, 2)
    f = conv(**options)
    assert any(plans(f, *args))
    check(f, *args, factor=2)
    check(lambda x, w: fs.vjp(f, x, w)[1](f(x, w)), *args, factor=4)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", ["odd places", "groups", "channels first", "several panels"])
def test_threads_give_equal_bits(name):
    x_shape, w_shape, options = SHAPES[name]
    args = numbers((8, *x_shape[1:]), np.float32, 1), numbers(w_shape, np.float32, 2)
    f = fs.value_and_grad(loss(conv(**options)), argnums=(0, 1))
    alone = run(f, *args, threads=1)
    for threads in (2, 3, 7):
        for got, want in zip(run(f, *args, threads=threads), alone, strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_results_take_the_epilogue_once(layout):
    """Where panels, rows and blocks overlap, too."""
    numbers_of = NHWC if layout == "NHWC" else NCHW
    shape, kernel = ((2, 7, 9, 12), (3, 3, 12, 70))
    if layout == "NCHW":
        shape, kernel = (2, 12, 7, 9), (70, 12, 3, 3)
    f = conv(numbers=numbers_of)

    def step(x, w, bias):
        def cost(w):
            return fnp.sum(fnp.tanh(f(x, w) + bias))

        return w - 0.1 * fs.grad(cost)(w)

    x, w = numbers(shape, np.float32, 1), numbers(kernel, np.float32, 2)
    bias = numbers((70,) if layout == "NHWC" else (70, 1, 1), np.float32, 3)
    expected = run(step, x, w, bias, executor="numpy")
    with config.override(executor="llvm"):
        donated = jit(step, donate_argnums=1)
        got = np.asarray(donated(x, from_buffer(np.array(w)), bias))
    np.testing.assert_allclose(got, expected[0], rtol=2e-4, atol=2e-4)


VALUES = {"nan": np.nan, "infinity": np.inf, "large": 3e38}


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("where", ["operand", "kernel", "cotangent"])
@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", ["odd places", "2x2", "channels first", "dilated"])
def test_what_is_not_finite_stays_where_windows_meet_it(name, value, where):
    x_shape, w_shape, options = SHAPES[name]
    f = conv(**options)
    operands = [np.array(numbers(s, np.float32, n)) for n, s in enumerate((x_shape, w_shape))]
    cotangent = np.array(numbers(fs.eval_shape(f, *operands).shape, np.float32, 5))
    chosen = {"operand": operands[0], "kernel": operands[1], "cotangent": cotangent}[where]
    # Large numbers may overflow in sums that the definition has not: all others are small.
    for array in (*operands, cotangent):
        array *= 1e-3
    for place in ((0,) * 4, (-1,) * 4, (1, 1, 2, 1)):
        chosen[tuple(np.minimum(place, np.array(chosen.shape) - 1))] = VALUES[value]
    x, w, ct = (from_buffer(a) for a in (*operands, cotangent))

    def both(x, w, ct):
        out, pull = fs.vjp(f, x, w)
        return out, pull(ct)

    check(both, x, w, ct, factor=40)


def test_the_direct_way_is_taken_for_the_highest_precision_and_float64():
    x, w = numbers((4, 14, 14, 32), np.float32, 1), numbers((3, 3, 32, 32), np.float32, 2)
    assert all(plans(conv(), x, w))
    for precision in ("highest", ("high", "highest"), lax.Precision.HIGHEST):
        f = conv(precision=precision)
        assert not any(plans(fs.grad(loss(f), argnums=(0, 1)), x, w))
        check(f, x, w)
    assert not any(plans(conv(), x.astype(np.float64), w.astype(np.float64)))


def test_precision_of_the_largest_neighbour():
    """Rounding errors of a result are in proportion to its tile's elements, unless asked."""
    x = np.ones((1, 8, 8, 32), np.float32)
    x[0, 3, 3] = 1e6
    w = numbers((3, 3, 32, 32), np.float32, 2)
    errors = {}
    for precision in ("default", "highest"):
        (got,) = run(conv(precision=precision), from_buffer(x), w)
        exact = run(conv(), from_buffer(x.astype(np.float64)), w.astype(np.float64))[0]
        far = np.ones((8, 8), bool)
        far[2:5, 2:5] = False  # windows around these meet the large element
        errors[precision] = np.abs(got - exact)[:, far].max()
    assert errors["highest"] < 1e-4
    assert errors["default"] < 1e6 * 1e-5


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "pays"),
    [
        ((8, 8, 8, 1), (3, 3, 1, 20), False),  # few inputs
        ((8, 14, 14, 64), (3, 3, 64, 64), True),
        ((1, 6, 6, 512), (3, 3, 512, 512), False),  # most of the work is the kernel's
        ((1, 4, 3000, 64), (3, 3, 64, 64), False),  # no row of tiles fits into a cache
    ],
)  # fmt: skip
def test_it_is_taken_where_it_pays(monkeypatch, x_shape, w_shape, pays):
    monkeypatch.setattr(pipeline, "host_target", lambda: TARGETS["avx512"])
    x, w = numbers(x_shape, np.float32, 1), numbers(w_shape, np.float32, 2)
    assert any(plans(conv(), x, w)) == pays
