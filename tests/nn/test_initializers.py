"""First values of parameters: as `jax.nn.initializers`, and PyTorch's dirac_ and sparse_."""

import jax
import numpy as np
import pytest

import fstensor as fst
from fstensor import random
from fstensor.config import config
from fstensor.errors import AxisError, OptionError, ShapeError
from fstensor.nn import Linear, initializers
from tests.tolerances import assert_close

KEY, JAX_KEY = random.key(3), jax.random.key(3)
NAMES = ["lecun_normal", "lecun_uniform", "glorot_normal", "glorot_uniform", "he_normal"]
NAMES += ["he_uniform"]


def assert_like_jax(name, args, options, shape, dtype=None):
    wide = dtype in ("float64", "complex128")
    with jax.enable_x64(wide):
        made = getattr(jax.nn.initializers, name)
        made = made if name in ("zeros", "ones") else made(*args, **options)
        expected = np.asarray(made(JAX_KEY, shape, dtype))
    made = getattr(initializers, name)
    made = made if name in ("zeros", "ones") else made(*args, **options)
    assert_close(made(KEY, shape, dtype), expected, factor=10)
    assert_close(jitted(made, shape, dtype), expected, factor=10)


def jitted(init, shape, dtype):
    return fst.jit(lambda key: init(key, shape, dtype))(KEY)


@pytest.mark.parametrize("dtype", [None, "float32", "float64", "bfloat16", "complex64"])
@pytest.mark.parametrize("shape", [(3, 4), (5, 5, 2, 3)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_of_fans(name, shape, dtype):
    assert_like_jax(name, (), {}, shape, dtype)


def test_other_names():
    assert initializers.xavier_normal is initializers.glorot_normal
    assert initializers.xavier_uniform is initializers.glorot_uniform
    assert initializers.kaiming_normal is initializers.he_normal
    assert initializers.kaiming_uniform is initializers.he_uniform


@pytest.mark.parametrize(
    "options",
    [
        {"in_axis": 0, "out_axis": 1},
        {"in_axis": (0, 1), "out_axis": -1},
        {"in_axis": -1, "out_axis": (0, 2)},
        {"batch_axis": 0},
        {"batch_axis": (0, 1)},
    ],
    ids=str,
)
@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg", "fan_geo_avg"])
def test_axes(mode, options):
    args = (1.3, mode, "uniform")
    assert_like_jax("variance_scaling", args, options, (2, 3, 4, 5))
    assert_like_jax("he_normal", (), options, (2, 3, 4, 5))


@pytest.mark.parametrize("dtype", ["float32", "complex64", "complex128"])
@pytest.mark.parametrize("distribution", ["normal", "truncated_normal", "uniform"])
def test_variance_scaling(distribution, dtype):
    args = (2.0, "fan_avg", distribution)
    assert_like_jax("variance_scaling", args, {}, (30, 20), dtype)
    x = np.asarray(initializers.variance_scaling(*args)(KEY, (300, 200), dtype))
    # JAX's constant for complex numbers that are cut off is too small by a hundredth.
    assert abs(np.var(x) / (2 / 250) - 1) < 0.03


def test_vectors_need_their_axes():
    options = {"in_axis": (), "out_axis": 0}
    assert_like_jax("variance_scaling", (1.0, "fan_out", "normal"), options, (7,))


@pytest.mark.parametrize("dtype", [None, "float64", "bfloat16"])
@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("zeros", ()),
        ("ones", ()),
        ("constant", (-7,)),
        ("constant", (2.5,)),
        ("uniform", ()),
        ("uniform", (10.0,)),
        ("normal", ()),
        ("normal", (5.0,)),
        ("truncated_normal", ()),
        ("truncated_normal", (5.0, None, -1.0, 3.0)),
        ("orthogonal", ()),
        ("orthogonal", (2.0,)),
    ],
)
def test_plain(name, args, dtype):
    if name == "orthogonal" and dtype == "bfloat16":
        pytest.skip("decompositions are of float32 and float64")
    assert_like_jax(name, args, {}, (4, 3), dtype)
    if name != "orthogonal":
        assert_like_jax(name, args, {}, (), dtype)
        assert_like_jax(name, args, {}, (2, 0), dtype)


@pytest.mark.parametrize("column_axis", [-1, 0, 1])
@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2), (2, 3, 4), (0, 3)], ids=str)
def test_orthogonal(shape, column_axis):
    assert_like_jax("orthogonal", (1.5,), {"column_axis": column_axis}, shape)
    x = np.asarray(initializers.orthogonal(column_axis=column_axis)(KEY, shape))
    if x.size:
        matrix = np.moveaxis(x, column_axis, -1).reshape(-1, shape[column_axis])
        matrix = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(matrix.shape[1]), atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 2, 4), (3, 4, 2, 2), (1, 2, 3, 3, 4)], ids=str)
def test_delta_orthogonal(shape):
    assert_like_jax("delta_orthogonal", (), {}, shape)
    assert_like_jax("delta_orthogonal", (1.5,), {"column_axis": 0}, shape)


def test_identity():
    x = np.asarray(initializers.identity(3.0)(KEY, (2, 3)))
    assert_close(x, np.float32([[3, 0, 0], [0, 3, 0]]))
    assert initializers.identity()(KEY, (2, 2), "int8").dtype == np.int8


@pytest.mark.parametrize("window", [(3,), (4, 3), (3, 1, 5)], ids=str)
@pytest.mark.parametrize(("inputs", "outputs", "groups"), [(2, 2, 1), (2, 5, 1), (3, 6, 2)])
def test_dirac(window, inputs, outputs, groups):
    """As torch.nn.init.dirac_, whose axes are (outputs, inputs, *window)."""
    expected = np.zeros((outputs, inputs, *window), np.float32)
    each = outputs // groups
    for g in range(groups):
        for d in range(min(each, inputs)):
            expected[(g * each + d, d, *(n // 2 for n in window))] = 1
    got = np.asarray(initializers.dirac(groups)(KEY, (*window, inputs, outputs)))
    assert_close(np.moveaxis(got, (-1, -2), (0, 1)), expected)


def test_a_convolution_with_dirac_keeps_its_input():
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 2)).astype(np.float32)
    kernel = initializers.dirac()(KEY, (3, 3, 2, 2))
    layout = ("NHWC", "HWIO", "NHWC")
    out = fst.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)
    assert_close(out, x)


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 1.0])
def test_sparse(sparsity):
    x = np.asarray(initializers.sparse(sparsity, 2.0)(KEY, (15, 400)))
    assert ((x == 0).sum(0) == np.ceil(sparsity * 15)).all()
    if sparsity < 1:
        assert abs(x[x != 0].std() / 2 - 1) < 0.05
        assert len(np.unique(x == 0, axis=1).T) > 1 or sparsity == 0
    same = initializers.sparse(sparsity, 2.0)(KEY, (15, 400))
    assert_close(x, same)


MADE = {
    "constant": lambda: initializers.constant(2),
    "uniform": lambda: initializers.uniform(dtype="float32"),
    "normal": lambda: initializers.normal(0.1),
    "truncated_normal": lambda: initializers.truncated_normal(0.1, None, -1, 1),
    "orthogonal": initializers.orthogonal,
    "delta_orthogonal": initializers.delta_orthogonal,
    "identity": initializers.identity,
    "dirac": lambda: initializers.dirac(2),
    "sparse": lambda: initializers.sparse(0.5),
    "variance_scaling": lambda: initializers.he_uniform([0, 1], 2, dtype=np.float32),
}


@pytest.mark.parametrize("name", MADE)
def test_they_compare_by_value(name):
    assert MADE[name]() == MADE[name]()
    assert hash(MADE[name]()) == hash(MADE[name]())
    others = [MADE[other]() for other in MADE if other != name]
    assert MADE[name]() not in others


def test_their_parameters_count():
    assert initializers.normal(0.1) != initializers.normal(0.2)
    assert initializers.normal(dtype="float32") != initializers.normal(dtype="float64")
    assert initializers.he_normal() != initializers.lecun_normal()
    assert initializers.he_normal(in_axis=0) != initializers.he_normal()
    assert Linear(3, kernel_init=initializers.he_normal()) == Linear(
        3, kernel_init=initializers.he_normal()
    )


def test_their_own_dtype_is_the_default():
    for name in ("uniform", "normal", "truncated_normal", "orthogonal", "he_normal", "identity"):
        init = getattr(initializers, name)(dtype="float64")
        assert init(KEY, (2, 2)).dtype == np.float64
        assert init(KEY, (2, 2), "float32").dtype == np.float32
    assert initializers.constant(1, "int32")(KEY, (2,)).dtype == np.int32
    assert initializers.dirac(dtype="float64")(KEY, (1, 2, 2)).dtype == np.float64
    assert initializers.sparse(0.5, dtype="float64")(KEY, (2, 2)).dtype == np.float64


def test_the_default_dtype_is_that_of_floats():
    before = config.default_dtype_bits
    config.update("default_dtype_bits", 64)
    try:
        for init in (initializers.zeros, initializers.constant(1), initializers.he_normal()):
            assert init(KEY, (2, 2)).dtype == np.float64
    finally:
        config.update("default_dtype_bits", before)


def test_empty_kernels():
    assert initializers.he_normal()(KEY, (0, 3)).shape == (0, 3)


def test_in_a_layer():
    model = Linear(4, kernel_init=initializers.orthogonal())
    params, _ = model.init(KEY, fst.ShapeDtypeStruct((2, 4), "float32"))
    kernel = np.asarray(params["kernel"])
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(4), atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: initializers.variance_scaling(1, "fan", "normal"),
            OptionError,
            "variance_scaling: mode must be fan_in, fan_out, fan_avg or fan_geo_avg, got 'fan'",
        ),
        (
            lambda: initializers.variance_scaling(1, "fan_in", "cauchy"),
            OptionError,
            "variance_scaling: distribution must be normal, truncated_normal or uniform",
        ),
        (
            lambda: initializers.variance_scaling(0, "fan_in", "normal"),
            OptionError,
            "variance_scaling: scale must be positive, got 0",
        ),
        (
            lambda: initializers.he_normal()(KEY, (3,)),
            ShapeError,
            "initializer: a kernel must have two axes or more, got shape (3,)",
        ),
        (lambda: initializers.he_normal(in_axis=3)(KEY, (3, 2)), AxisError, "initializer: "),
        (
            lambda: initializers.orthogonal()(KEY, (3,)),
            ShapeError,
            "orthogonal: a kernel must have two axes or more, got shape (3,)",
        ),
        (
            lambda: initializers.delta_orthogonal()(KEY, (3, 2)),
            ShapeError,
            "delta_orthogonal: a kernel must have three to five axes, got shape (3, 2)",
        ),
        (
            lambda: initializers.delta_orthogonal()(KEY, (3, 4, 2)),
            ShapeError,
            "delta_orthogonal: a kernel must have as many outputs as inputs or more",
        ),
        (
            lambda: initializers.dirac()(KEY, (3, 2)),
            ShapeError,
            "dirac: a kernel must have three to five axes, got shape (3, 2)",
        ),
        (
            lambda: initializers.dirac(2)(KEY, (3, 2, 3)),
            ShapeError,
            "dirac: 3 outputs cannot be divided into 2 groups",
        ),
        (lambda: initializers.dirac(0), OptionError, "dirac: groups must be at least 1, got 0"),
        (
            lambda: initializers.identity()(KEY, (3, 2, 3)),
            ShapeError,
            "identity: a matrix must have two axes, got shape (3, 2, 3)",
        ),
        (lambda: initializers.sparse(1.5), OptionError, "sparse: sparsity must lie in [0, 1]"),
        (
            lambda: initializers.sparse(0.5)(KEY, (3,)),
            ShapeError,
            "sparse: a matrix must have two axes, got shape (3,)",
        ),
        (
            lambda: initializers.constant(np.ones(3)),
            ShapeError,
            "constant: the value must be a scalar, got shape (3,)",
        ),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(text), str(caught.value)
