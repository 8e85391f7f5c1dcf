import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors, lax
from tests.numpy.compare import check, values

NORMS = [None, "backward", "ortho", "forward"]
ONE_AXIS = ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"]
REAL_INPUT = ("rfft", "ihfft")
TWO_AXES = ["fft2", "ifft2", "rfft2", "irfft2"]
MANY_AXES = ["fftn", "ifftn", "rfftn", "irfftn"]
# Sums of up to 60 products, in another order than the reference's.
FACTOR = 20


def both(name):
    return getattr(fnp.fft, name), getattr(np.fft, name)


def operand(name, shape, dtype="float64"):
    real = name in REAL_INPUT or name.startswith("rfft")
    kind = dtype if real else {"float32": "complex64", "float64": "complex128"}[dtype]
    return values(shape, kind)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ONE_AXIS)
def test_one_axis(name, norm):
    own, numpys = both(name)
    for size in (1, 2, 5, 8):
        x = operand(name, (3, size))
        for n in (None, 1, 4, 5, 9):
            if n is None and size == 1 and name in ("irfft", "hfft"):
                continue
            check(own(x, n, norm=norm), numpys(x, n, norm=norm), factor=FACTOR)
        check(own(x, 4, 0, norm), numpys(x, 4, 0, norm), factor=FACTOR)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", [*TWO_AXES, *MANY_AXES])
def test_several_axes(name, norm):
    own, numpys = both(name)
    x = operand(name, (4, 3, 5))
    for s, axes in [(None, (0, 1)), (None, (2, 0)), ((6, 2), (-1, 1)), ((3, 7), (-2, -1))]:
        check(own(x, s, axes, norm), numpys(x, s, axes, norm), factor=FACTOR)
    check(own(x, norm=norm), numpys(x, norm=norm), factor=FACTOR)
    if name in MANY_AXES:
        check(own(x, (3, -1), (0, 2), norm), numpys(x, (3, -1), (0, 2), norm), factor=FACTOR)
        check(own(x, None, (1,), norm), numpys(x, None, (1,), norm), factor=FACTOR)


def test_no_axes():
    check(fnp.fft.fftn(values((2,), "float32"), axes=()), values((2,), "complex64").real + 0j)
    check(fnp.fft.fftn(3.0), np.complex64(3), "complex64")


@pytest.mark.parametrize("name", [*ONE_AXIS, *TWO_AXES, *MANY_AXES])
def test_dtypes(name):
    own, numpys = both(name)
    for dtype in ("float32", "float64"):
        x = operand(name, (3, 4), dtype)
        expected = numpys(x)
        check(own(x), expected, expected.dtype, factor=FACTOR)
    real_result = own(np.ones((2, 3), "float32")).dtype
    for dtype in ("int32", "uint8", "bool", "float16", "bfloat16"):
        x = values((3, 4), dtype)
        expected = numpys(x.astype("float64"))
        check(own(x), expected, real_result, factor=FACTOR)


def test_shapes_without_elements():
    check(fnp.fft.fft(np.ones((0, 4))), np.ones((0, 4), complex))
    check(fnp.fft.rfft(np.ones((0, 4))), np.ones((0, 3), complex))
    check(fnp.fft.fft(np.ones((2, 0)), 3), np.zeros((2, 3), complex))


@pytest.mark.parametrize("name", [*ONE_AXIS, *TWO_AXES, *MANY_AXES])
@pytest.mark.parametrize("size", [5, 6])
def test_gradient_like_jax(name, size, recorded):
    own, theirs = getattr(fnp.fft, name), getattr(jnp.fft, name)
    x = operand(name, (4, size), "float32")
    weights = values(np.shape(own(x, norm="ortho")), "float32", seed=2)

    def loss(transform, xp):
        return lambda v: (xp.abs(transform(v, norm="ortho") + 0.5) ** 2 * weights).sum()

    expected = recorded(lambda: jax.grad(loss(theirs, jnp))(x))
    check(fst.grad(loss(own, fnp))(x), expected, factor=40)
    check(fst.jit(fst.grad(loss(own, fnp)))(x), expected, factor=40)


@pytest.mark.parametrize("name", ONE_AXIS)
def test_vmap_and_jit(name):
    own, numpys = both(name)
    x = operand(name, (3, 6, 2))
    expected = numpys(x, 7, 1)
    check(fst.vmap(lambda v: own(v, 7, 1), in_axes=2, out_axes=2)(x), expected, factor=FACTOR)
    check(fst.jit(lambda v: own(v, 7, 1))(x), expected, factor=FACTOR)
    assert fst.eval_shape(lambda v: own(v, 7, 1), x).shape == expected.shape


@pytest.mark.parametrize("n", [5, 6])
def test_second_derivative(n):
    """By Parseval's theorem the energy of all frequencies is n |x|^2, whose Hessian is 2 n."""
    x = values((n,), "float64")
    counts = np.where((np.arange(n // 2 + 1) * 2) % n == 0, 1, 2)
    for energy in (
        lambda v: (fnp.abs(fnp.fft.fft(v)) ** 2).sum(),
        lambda v: (fnp.abs(fnp.fft.rfft(v)) ** 2 * counts).sum(),
    ):
        check(fst.hessian(energy)(x), 2 * n * np.eye(n), factor=FACTOR)
        check(fst.jacrev(fst.grad(energy))(x), 2 * n * np.eye(n), factor=FACTOR)


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_frequencies(n):
    for name in ("fftfreq", "rfftfreq"):
        own, numpys = both(name)
        check(own(n), numpys(n), "float32")
        check(own(n, 0.1, dtype="float64"), numpys(n, 0.1), "float64")
        check(own(n, np.array(0.1)), numpys(n, 0.1), "float64")
        assert own(n, device="cpu").device == fst.devices()[0]
        slope = fst.grad(lambda d, own=own: own(n, d)[-1])(2.0)
        check(slope, -numpys(n, 2.0)[-1] / 2, "float32")


def test_shifts():
    for shape in [(5,), (4, 3), (0, 2)]:
        x = values(shape, "int32")
        for axes in (None, 0, (0, -1)):
            if axes is not None and len(shape) < np.size(axes):
                continue
            check(fnp.fft.fftshift(x, axes), np.fft.fftshift(x, axes), "int32")
            check(fnp.fft.ifftshift(x, axes), np.fft.ifftshift(x, axes), "int32")
    check(fnp.fft.fftshift(2.0), 2.0)


def test_types_by_name():
    x = values((2, 4), "complex64")
    check(lax.fft(x, "FFT", (4,)), np.fft.fft(x), "complex64", factor=FACTOR)
    check(lax.fft(x, "ifft", (2, 4)), np.fft.ifft2(x), "complex64", factor=FACTOR)
    check(lax.fft(x.real, lax.FftType.FFT, ()), x.real + 0j, "complex64")
    check(lax.fft(x.real, 2, [4]), np.fft.rfft(x.real), "complex64", factor=FACTOR)
    text = str(fst.make_jaxpr(lambda v: lax.fft(v, "RFFT", (4,)))(x.real))
    assert "fft[fft_lengths=(4,) fft_type=2]" in text


def test_mistakes():
    x = np.ones((2, 3))
    with pytest.raises(errors.OptionError, match="fft: norm must be one of backward, ortho"):
        fnp.fft.fft(x, norm="unit")
    with pytest.raises(errors.OptionError, match="hfft: norm must be one of"):
        fnp.fft.hfft(x, norm="unit")
    with pytest.raises(errors.ShapeError, match="at least 1 place, got"):
        fnp.fft.fft(x, 0)
    with pytest.raises(errors.ShapeError, match="at least 1 place"):
        fnp.fft.irfft(np.ones(1))
    with pytest.raises(errors.AxisError, match="axis 2 does not exist"):
        fnp.fft.rfft(x, axis=2)
    with pytest.raises(errors.AxisError, match="distinct"):
        fnp.fft.fftn(x, axes=(0, -2))
    with pytest.raises(errors.DtypeError, match=r"rfft: takes real numbers, got complex128\[2,3\]"):
        fnp.fft.rfft(x + 1j)
    with pytest.raises(errors.ShapeError, match="a size for each axis"):
        fnp.fft.fftn(x, (2, 2), (0,))
    with pytest.raises(errors.ShapeError, match="at most 2 sizes"):
        fnp.fft.fftn(x, (2, 2, 2))
    with pytest.raises(errors.OptionError, match="use fftn"):
        fnp.fft.fft2(x, axes=(0,))
    with pytest.raises(errors.OptionError, match="n must be at least 1"):
        fnp.fft.fftfreq(0)
    with pytest.raises(errors.ShapeError, match="d must be a scalar"):
        fnp.fft.rfftfreq(3, x)
    with pytest.raises(errors.OptionError, match="fft_type must be one of FFT, IFFT"):
        lax.fft(x, "DCT", (3,))
    with pytest.raises(errors.DtypeError, match="fft: RFFT: takes a float dtype"):
        lax.fft(x + 0j, "RFFT", (3,))
    with pytest.raises(errors.ShapeError, match=r"must have the sizes \(4,\)"):
        lax.fft(x, "FFT", (4,))
    with pytest.raises(errors.ShapeError, match="a positive size for each transformed axis"):
        lax.fft(x, "FFT", (1, 2, 3))


def test_numpys_own_functions_reach_ours():
    x = np.arange(4.0)
    power = fst.grad(lambda x: np.sum(np.abs(np.fft.fft(x)) ** 2))(x)
    np.testing.assert_allclose(np.asarray(power), 2 * 4 * x, atol=1e-12)  # Parseval
    np.testing.assert_allclose(np.asarray(fst.jit(np.fft.rfft)(x)), np.fft.rfft(x), atol=1e-12)
