"""Normalization: values and gradients beside PyTorch's, what belongs to an example, and layers."""

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import ShapeDtypeStruct, jit, nn, random, vmap
from fstensor.errors import DtypeError, OptionError, ShapeError, TreeError
from tests.nn.golden_cases import assert_agrees, case, compare, weighted

KEY = random.key(0)
FUNCTIONS = {
    "layer_norm": nn.layer_norm,
    "layer_norm_two_axes": lambda x, scale, bias: nn.layer_norm(
        x, scale, bias, axis=(-1, 1), epsilon=0.1
    ),
    "rms_norm": nn.rms_norm,
    "rms_norm_epsilon": lambda x: nn.rms_norm(x, epsilon=0.1),
    "instance_norm": nn.instance_norm,
    "group_norm": lambda x, scale, bias: nn.group_norm(x, 3, scale, bias),
    "group_norm_flat": lambda x: nn.group_norm(x, 2, epsilon=0.1),
    "batch_norm_alone": lambda x: nn.batch_norm(x, None, None, train=True)[0],
    "weight_norm": lambda x, direction, magnitude: x @ nn.weight_norm(direction, magnitude),
    **{
        f"local_response_norm_{n}": lambda x, n=n: nn.local_response_norm(x, n, 0.5, 0.7, 2.0)
        for n in range(1, 6)
    },
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients(name):
    arrays = case("norms", name)
    out, gradients = arrays.pop("out"), arrays.pop("grad")
    assert_agrees(lambda given: FUNCTIONS[name](**given), arrays, out, gradients)


# As layers, with parameters of these names.
LAYERS = {
    "layer_norm": nn.LayerNorm(),
    "layer_norm_two_axes": nn.LayerNorm(axis=(1, 2), epsilon=0.1),
    "rms_norm": nn.RMSNorm(),
    "rms_norm_epsilon": nn.RMSNorm(epsilon=0.1, affine=False),
    "instance_norm": nn.InstanceNorm(affine=True),
    "group_norm": nn.GroupNorm(3),
    "group_norm_flat": nn.GroupNorm(2, epsilon=0.1, affine=False),
    "local_response_norm_4": nn.LocalResponseNorm(4, 0.5, 0.7, 2.0),
    "weight_norm": nn.WeightNorm(nn.Linear(4, bias=False)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    arrays, layer = case("norms", name), LAYERS[name]
    expected, gradients, x = arrays.pop("out"), arrays.pop("grad"), arrays.pop("x")
    params = arrays
    if name == "weight_norm":
        params = {"layer": {"kernel": arrays["direction"]}, "magnitude": arrays["magnitude"]}
        gradients["layer"] = {"kernel": gradients.pop("direction")}
    made, _ = layer.init(KEY, x)
    assert fst.tree.map(lambda p: p.shape, made) == fst.tree.map(lambda p: p.shape, params)
    compare(layer(params, x), expected, 1e-10)
    slopes = fst.grad(lambda params, x: weighted(layer(params, x)), (0, 1))(params, x)
    compare(slopes[1], gradients.pop("x"), 1e-10)
    compare(slopes[0], gradients, 1e-10)


@pytest.mark.parametrize("train", [False, True])
def test_batch_norm(train):
    arrays = case("norms", "batch_norm_train" if train else "batch_norm_eval")
    gradients, mean, var = arrays.pop("grad"), arrays.pop("mean"), arrays.pop("var")
    given = {k: arrays[k] for k in gradients}

    def run(given):
        return nn.batch_norm(given["x"], mean, var, given["scale"], given["bias"], train=train)

    assert_agrees(lambda given: run(given)[0], given, arrays["out"], gradients)
    compare(list(run(given)[1:]), [arrays["mean_after"], arrays["var_after"]], 1e-10)
    layer = nn.BatchNorm()
    params, state = {k: given[k] for k in ("scale", "bias")}, {"mean": mean, "var": var}
    y, after = layer.apply(params, state, given["x"], train=train)
    compare(
        [y, after["mean"], after["var"]],
        [arrays[k] for k in ("out", "mean_after", "var_after")],
        1e-10,
    )


@pytest.mark.parametrize("train", [False, True])
def test_instance_norm_with_running_statistics(train):
    arrays = case("norms", "tracked_norm_train" if train else "tracked_norm_eval")
    gradients = arrays.pop("grad")
    given = {k: arrays[k] for k in gradients}
    state = {k: arrays[k] for k in ("mean", "var")}
    layer = nn.InstanceNorm(affine=True, track_running_stats=True)

    def run(given):
        params = {k: given[k] for k in ("scale", "bias")}
        return layer.apply(params, state, given["x"], train=train)

    assert_agrees(lambda given: run(given)[0], given, arrays["out"], gradients)
    after = run(given)[1]
    expected = [arrays["mean_after"], arrays["var_after"]]
    compare([after["mean"], after["var"]], expected, 1e-10)
    made, first = layer.init(KEY, given["x"])
    assert set(made) == {"scale", "bias"}
    np.testing.assert_array_equal([first["mean"], first["var"]], [[0] * 3, [1] * 3])


def test_batch_norm_that_tracks_nothing():
    arrays = case("norms", "batch_norm_alone")
    layer = nn.BatchNorm(affine=False, track_running_stats=False)
    assert layer.init(KEY, arrays["x"]) == ({}, {})
    for train in (False, True):
        compare(layer({}, arrays["x"], train=train), arrays["out"], 1e-10)
    parts = nn.BatchNorm(affine=False, track_running_stats=False, axis_name="devices")
    assert parts.init(KEY, arrays["x"]) == ({}, {})
    split = arrays["x"].reshape(2, 3, 3)
    y = vmap(lambda x: parts({}, x), axis_name="devices")(split)
    compare(y.reshape(6, 3), arrays["out"], 1e-10)


@pytest.mark.parametrize("train", [False, True])
def test_spectral_norm(train):
    arrays = case("norms", "spectral_norm_train" if train else "spectral_norm_eval")
    state = {k: arrays[k] for k in "uv"}
    given = {k: arrays[k] for k in ("x", "kernel")}
    layer = nn.SpectralNorm(nn.Linear(4, bias=False))

    def run(given):
        params = {"layer": {"kernel": given["kernel"]}}
        return layer.apply(params, state, given["x"], train=train)

    assert_agrees(lambda given: run(given)[0], given, arrays["out"], arrays["grad"])
    after = run(given)[1]
    compare([after["u"], after["v"]], [arrays["u_after"], arrays["v_after"]], 1e-10)


def test_spectral_norm_finds_the_largest_singular_value():
    w = np.random.default_rng(0).normal(size=(3, 2, 5))
    u, v = np.ones(2), np.ones(15)
    divided, u, v = nn.spectral_norm(w, u, v, steps=200, axis=1)
    matrix = np.asarray(fnp.moveaxis(divided, 1, 0)).reshape(2, 15)
    np.testing.assert_allclose(np.linalg.norm(matrix, 2), 1, 1e-10)


def test_weight_norm_begins_as_the_layer_and_has_its_norms_as_parameters():
    layer = nn.WeightNorm(nn.Linear(3))
    x = random.normal(random.key(1), (4, 5))
    params, state = layer.init(KEY, x)
    assert state == {}
    assert fst.tree.map(lambda p: p.shape, params) == {
        "layer": {"kernel": (5, 3), "bias": (3,)},
        "magnitude": (3,),
    }
    inner = params["layer"]
    np.testing.assert_allclose(layer(params, x), nn.Linear(3)(inner, x), 1e-5, 1e-6)
    longer = {**params, "layer": {**inner, "kernel": 7 * inner["kernel"]}}
    np.testing.assert_allclose(layer(longer, x), layer(params, x), 1e-5, 1e-6)


@pytest.mark.parametrize("wrapper", [nn.WeightNorm, nn.SpectralNorm])
def test_layers_of_weights_under_transformations(wrapper):
    layer = wrapper(nn.Linear(3))
    x = random.normal(random.key(1), (4, 5))
    params, state = vmap(lambda key: layer.init(key, x))(random.split(KEY, 2))

    def loss(params, state):
        y, after = layer.apply(params, state, x, train=True)
        return (y**2).sum(), after

    each = vmap(fst.grad(loss, has_aux=True))
    gradient, after = each(params, state)
    compiled, same = jit(each)(params, state)
    assert fst.tree.structure(gradient) == fst.tree.structure(params)
    for a, b in zip(
        fst.tree.leaves((gradient, after)), fst.tree.leaves((compiled, same)), strict=True
    ):
        np.testing.assert_allclose(a, b, 1e-4, 1e-5)
    # A kernel that is longer gives the same outputs, so the gradient is across it.
    for n in range(2):
        kernel, change = params["layer"]["kernel"][n], gradient["layer"]["kernel"][n]
        assert np.abs(change).max() > 1e-3
        np.testing.assert_allclose((kernel * change).sum(), 0, atol=1e-3)


def test_layers_of_weights_keep_the_state_and_the_keys_of_the_layer_within():
    class Inner(nn.Layer):
        def forward(self, net, x):
            kernel = net.param("kernel", nn.initializers.lecun_normal(), (x.shape[-1], 3))
            return net.child("drop", nn.Dropout(0.5))(net.child("norm", nn.BatchNorm())(x @ kernel))

    layer = nn.WeightNorm(nn.SpectralNorm(Inner()), name="magnitude", axis=0)
    with pytest.raises(TreeError, match="SpectralNorm: params must have 'magnitude', got 'layer'"):
        layer.init(KEY, np.ones((4, 5), np.float32))
    layer = nn.SpectralNorm(Inner())
    x = random.normal(random.key(1), (4, 5))
    params, state = layer.init(KEY, x)
    np.testing.assert_allclose(np.linalg.norm(state["u"]), 1, 1e-5)
    y, after = layer.apply(params, state, x, train=True, key=KEY)
    assert (np.asarray(y) == 0).any()
    assert not np.allclose(after["layer"]["norm"]["mean"], 0)
    _, same = layer.apply(params, state, x)
    for a, b in zip(fst.tree.leaves(state), fst.tree.leaves(same), strict=True):
        np.testing.assert_array_equal(a, b)


ALONE = {
    "layer": nn.LayerNorm(),
    "two_axes": nn.LayerNorm(axis=(1, 2)),
    "rms": nn.RMSNorm(),
    "instance": nn.InstanceNorm(affine=True),
    "group": nn.GroupNorm(2),
    "response": nn.LocalResponseNorm(3),
}


@pytest.mark.parametrize("name", ALONE)
def test_an_example_does_not_depend_on_others(name):
    layer = ALONE[name]
    x = random.normal(random.key(1), (4, 3, 6))
    params, state = layer.init(KEY, x)
    assert state == {}
    alone = fnp.concatenate([layer(params, x[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(layer(params, x), alone, 1e-5, 1e-6)
    np.testing.assert_allclose(jit(layer)(params, x, train=True), alone, 1e-5, 1e-6)


@pytest.mark.parametrize("layer", [nn.LayerNorm(bias=False), nn.GroupNorm(2, bias=False)])
def test_no_bias(layer):
    x = random.normal(random.key(1), (4, 3, 6))
    params, _ = layer.init(KEY, x)
    assert fst.tree.map(lambda p: p.shape, params) == {"scale": (6,)}
    both = type(layer)(2) if isinstance(layer, nn.GroupNorm) else nn.LayerNorm()
    expected = both({**params, "bias": np.zeros(6, np.float32)}, x)
    np.testing.assert_allclose(layer(params, x), expected, 1e-6)


def test_ensembles_and_parameters():
    layer = nn.Sequential(nn.LayerNorm(), nn.GroupNorm(3, affine=False), nn.InstanceNorm())
    x = random.normal(random.key(1), (2, 4, 6))
    params, _ = vmap(lambda key: layer.init(key, x))(random.split(KEY, 3))
    assert fst.tree.map(lambda p: p.shape, params) == {"0": {"scale": (3, 6), "bias": (3, 6)}}
    assert vmap(layer, (0, None))(params, x).shape == (3, 2, 4, 6)


NORMS = {
    "layer": nn.layer_norm,
    "rms": nn.rms_norm,
    "instance": lambda x: nn.instance_norm(x[:, None]),
    "group": lambda x: nn.group_norm(x, 2),
    "response": lambda x: nn.local_response_norm(x, 3),
    "batch": lambda x: nn.batch_norm(x, None, None)[0],
}


@pytest.mark.parametrize("name", NORMS)
def test_float32_and_half(name):
    # Squares of these overflow in float16.
    x = np.random.default_rng(0).normal(size=(4, 8)) * 1000
    expected = NORMS[name](x)
    for dtype, rtol in ((np.float32, 1e-5), (np.float16, 5e-3)):
        y = NORMS[name](x.astype(dtype))
        assert y.dtype == dtype
        np.testing.assert_allclose(np.asarray(y, np.float64), expected, rtol, rtol)
    with pytest.raises(DtypeError, match=r"must be real, got complex128\["):
        NORMS[name](x + 1j)


def test_batch_norm_over_a_named_axis_is_that_of_the_whole_batch():
    x = np.random.default_rng(0).normal(size=(8, 5, 3))
    layer = nn.BatchNorm()
    params, state = layer.init(KEY, ShapeDtypeStruct((8, 5, 3), np.float64))
    state = fst.tree.map(lambda s: s.astype("float64"), state)
    whole, after = layer.apply(params, state, x, train=True)
    parts = nn.BatchNorm(axis_name="devices")
    assert fst.tree.structure(parts.init(KEY, x)[0]) == fst.tree.structure(params)

    def part(x):
        return parts.apply(params, state, x, train=True)

    def loss(x):
        return (vmap(part, axis_name="devices")(x)[0] ** 3).sum()

    split = x.reshape(4, 2, 5, 3)
    y, afters = vmap(part, axis_name="devices")(split)
    np.testing.assert_allclose(y.reshape(x.shape), whole, 1e-10, 1e-10)
    for name in ("mean", "var"):
        np.testing.assert_allclose(afters[name][3], after[name], 1e-10)
    expected = fst.grad(lambda x: (layer.apply(params, state, x, train=True)[0] ** 3).sum())(x)
    np.testing.assert_allclose(fst.grad(loss)(split).reshape(x.shape), expected, 1e-8, 1e-10)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda x: nn.layer_norm(x, np.ones(3)),
            ShapeError,
            r"layer_norm: scale must have shape \(6,\) for float64\[2,4,6\], got float64\[3\]",
        ),
        (lambda x: nn.layer_norm(x, axis=3), ShapeError, r"axis \(3,\) must be within 3 axes"),
        (lambda x: nn.group_norm(x, 4), OptionError, "groups must divide .* 6, got 4"),
        (lambda x: nn.group_norm(x, 2, axis=0), ShapeError, "must not be the first axis"),
        (lambda x: nn.instance_norm(x[0]), ShapeError, "needs three axes or more"),
        (lambda x: nn.local_response_norm(x, 0), OptionError, "size must be 1 or more, got 0"),
        (lambda x: nn.batch_norm(x, np.ones(6), None), OptionError, "must both be given"),
        (lambda x: nn.spectral_norm(x, np.ones(2), np.ones(2)), ShapeError, "u and v must have"),
        (lambda x: nn.weight_norm(x, np.ones(2)), ShapeError, r"magnitude must have shape \(6,\)"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(np.ones((2, 4, 6)))
