"""Models for images: sizes as published, values and gradients beside PyTorch's, and training."""

import math

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import ShapeDtypeStruct, jit, nn, random
from fstensor.errors import ArgumentError, OptionError, ShapeError
from fstensor.nn import models
from tests.nn.golden_cases import case, compare, weighted
from tests.nn.vision_cases import direction, images, joined, values

KEY = random.key(0)
IMAGES = (1, 224, 224, 3)


def made(model, shape):
    """The shapes of parameters and state, without making them."""
    x = ShapeDtypeStruct(shape, np.float32)
    return fst.eval_shape(lambda key: model.init(key, x), KEY)


def size(params):
    return sum(math.prod(p.shape) for p in fst.tree.leaves(params))


# torchvision's figures; those of ResNet-20 are of its form with projections as shortcuts.
SIZES = {
    "vgg11": (models.vgg11(), IMAGES, 132_863_336),
    "vgg13": (models.vgg13(), IMAGES, 133_047_848),
    "vgg16": (models.vgg16(), IMAGES, 138_357_544),
    "vgg19": (models.vgg19(), IMAGES, 143_667_240),
    "vgg11_norm": (models.vgg11(batch_norm=True), IMAGES, 132_868_840),
    "vgg13_norm": (models.vgg13(batch_norm=True), IMAGES, 133_053_736),
    "vgg16_norm": (models.vgg16(batch_norm=True), IMAGES, 138_365_992),
    "vgg19_norm": (models.vgg19(batch_norm=True), IMAGES, 143_678_248),
    "resnet18": (models.resnet18(), IMAGES, 11_689_512),
    "resnet34": (models.resnet34(), IMAGES, 21_797_672),
    "resnet50": (models.resnet50(), IMAGES, 25_557_032),
    "resnet101": (models.resnet101(), IMAGES, 44_549_160),
    "resnet152": (models.resnet152(), IMAGES, 60_192_808),
    "resnet20": (models.resnet20(), (1, 32, 32, 3), 272_474),
    "residual_mlp": (models.ResidualMLP(), (1, 784), 1_863_690),
    "lenet": (models.LeNet(), (1, 28, 28, 1), 1_239_760),
}


@pytest.mark.parametrize("name", SIZES)
def test_numbers_of_parameters(name):
    model, shape, count = SIZES[name]
    assert size(made(model, shape)[0]) == count


def multiplications(jaxpr):
    """Those of convolutions and matrix products."""
    total = 0
    for eqn in jaxpr.eqns:
        (out,) = (v.aval for v in eqn.outvars[:1])
        if eqn.primitive.name == "conv_general_dilated":
            kernel = eqn.invars[1].aval
            features = kernel.shape[eqn.params["dimension_numbers"].rhs_spec[0]]
            total += out.size * kernel.size // features
        elif eqn.primitive.name == "dot_general":
            ((contracted, _), _) = eqn.params["dimension_numbers"]
            total += out.size * math.prod(eqn.invars[0].aval.shape[a] for a in contracted)
    return total


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("vgg11", 7.61),
        ("vgg13", 11.31),
        ("vgg16", 15.47),
        ("vgg19", 19.63),
        ("resnet18", 1.81),
        ("resnet34", 3.66),
        ("resnet50", 4.09),
        ("resnet101", 7.80),
        ("resnet152", 11.51),
    ],
)
def test_numbers_of_multiplications(name, billions):
    """torchvision's figures, which tell where images are halved."""
    model, shape, _ = SIZES[name]
    params, state = made(model, shape)
    x = ShapeDtypeStruct(shape, np.float32)
    closed = fst.make_jaxpr(lambda p, s, x: model.apply(p, s, x)[0])(params, state, x)
    assert round(multiplications(closed.jaxpr) / 1e9, 2) == billions


# Beside PyTorch

MODELS = {
    "residual_mlp": models.ResidualMLP(5, 4),
    "mlp": models.MLP((5, 4, 3), fnp.tanh, batch_norm=True),
    "lenet": models.LeNet((3, 4), 6, 5),
    "vgg": models.VGG(((3,), (4, 5)), 4, False, 0.0, 6, 2),
    "vgg_norm": models.VGG(((3,), (4, 5)), 4, True, 0.0, 6, 2),
    "resnet": models.ResNet((1, 2), (4, 6), classes=4, small_images=True),
    "resnet_bottleneck": models.ResNet((2, 1), (2, 4), True, 4),
    "resnet18": models.resnet18(),
}


def path_of(entries):
    return "/".join(e.key for e in entries)


def with_values(tree, dtype):
    return fst.tree.map_with_path(lambda p, x: values(path_of(p), x.shape).astype(dtype), tree)


def by_path(tree):
    return {path_of(p): np.asarray(x) for p, x in fst.tree.leaves_with_path(tree)}


@pytest.mark.parametrize("name", [n for n in MODELS if n != "resnet18"])
def test_values_state_and_gradients(name):
    model, expected, x = MODELS[name], case("models_vision", name), images(name)
    params, state = (with_values(t, np.float64) for t in made(model, x.shape))

    def train(params, state, x):
        y, after = model.apply(params, state, x, train=True)
        return weighted(y), (y, after)

    y, same = model.apply(params, state, x)
    compare(y, expected["eval"], 1e-10)
    compare(joined(by_path(same)), joined(by_path(state)), 0)
    gradient, (y, after) = fst.grad(train, has_aux=True)(params, state, x)
    compare(y, expected["train"], 1e-10)
    compare(joined(by_path(after)), expected["state"], 1e-10)
    slopes = {p: (g * direction(p, g.shape)).sum() for p, g in by_path(gradient).items()}
    compare(joined(slopes), expected["slopes"], 1e-10)


def test_resnet18_in_float32():
    model, x = MODELS["resnet18"], images("resnet18").astype(np.float32)
    params, state = (with_values(t, np.float32) for t in made(model, x.shape))
    y, _ = model.apply(params, state, x)
    compare(y, case("models_vision", "resnet18")["eval"], 1e-5)


def test_training_a_resnet():
    """A step is the same compiled, and steps make the loss smaller."""
    model = models.ResNet((1, 1), (2, 4), classes=3, small_images=True)
    labels = fnp.arange(6) % 3
    x = random.normal(KEY, (6, 8, 8, 1)) + labels[:, None, None, None]

    def loss(params, state):
        logits, state = model.apply(params, state, x, train=True)
        return nn.cross_entropy(logits, labels), state

    def step(params, state):
        (value, state), gradient = fst.value_and_grad(loss, has_aux=True)(params, state)
        return value, fst.tree.map(lambda p, g: p - 0.3 * g, params, gradient), state

    compiled, losses = jit(step), []
    params, state = model.init(KEY, x)
    expected = step(params, state)
    for n in range(8):
        value, params, state = compiled(params, state)
        losses.append(float(value))
        if n == 0:
            compare((value, params, state), fst.tree.map(np.asarray, expected), 1e-5)
    assert losses[-1] < 0.7 * losses[0]


# Parts and options


def test_names():
    params, state = made(models.ResNet((1, 1), (4, 8), classes=3), (1, 32, 32, 3))
    blocks = ["stage0_block0", "stage1_block0"]
    assert list(params) == ["stem", "stem_norm", *blocks, "out"]
    assert list(params[blocks[1]]) == [
        "conv0", "norm0", "conv1", "norm1", "shortcut", "shortcut_norm"
    ]  # fmt: skip
    assert list(state[blocks[0]]) == ["norm0", "norm1"]
    params, _ = made(models.vgg11(batch_norm=True), IMAGES)
    assert [n for n in params if "2" in n] == ["conv2_0", "norm2_0", "conv2_1", "norm2_1"]
    assert list(made(models.MLP((4, 3, 2)), (1, 5))[0]) == ["hidden0", "hidden1", "out"]


def test_first_values():
    """Kernels before relu have variance 2 / fan-out; VGG's linear ones a deviation of 0.01."""
    x = ShapeDtypeStruct((1, 8, 8, 3), np.float32)
    resnet, state = models.ResNet((1,), (32,), small_images=True).init(KEY, x)
    vgg, _ = models.VGG(((32,),), hidden=32).init(KEY, x)
    kernels = [resnet["stem"], resnet["stage0_block0"]["conv1"], vgg["conv0_0"], vgg["hidden0"]]
    expected = [math.sqrt(2 / (9 * 32))] * 3 + [0.01]
    np.testing.assert_allclose([k["kernel"].std() for k in kernels], expected, 0.05)
    np.testing.assert_array_equal(vgg["conv0_0"]["bias"], 0)
    np.testing.assert_array_equal(state["stem_norm"]["var"], 1)


@pytest.mark.parametrize(
    "block", [models.BasicBlock(4, zero_init=True), models.Bottleneck(4, zero_init=True)]
)
def test_a_block_begins_as_its_shortcut(block):
    x = random.normal(KEY, (2, 3, 3, 4))
    params, state = block.init(KEY, x)
    y, _ = block.apply(params, state, x, train=True)
    np.testing.assert_array_equal(y, fnp.maximum(x, 0))


def test_other_norms():
    norm = nn.GroupNorm(2)
    params, state = made(models.resnet18(norm=norm, zero_init=True), IMAGES)
    assert state == {}
    assert size(params) == 11_689_512


def test_dropout():
    # All that is hidden is dropped.
    x = fnp.ones((2, 4, 4, 1))
    vgg = models.VGG(((2,),), 3, dropout=1.0, hidden=5, pooled=2)
    mlp = models.MLP((5, 5, 3), dropout=1.0)
    for model in (vgg, mlp):
        params, state = model.init(KEY, x)
        bias = params["out"]["bias"] = fnp.arange(3.0)
        y, _ = model.apply(params, state, x, train=True, key=KEY)
        np.testing.assert_array_equal(y, fnp.broadcast_to(bias, y.shape))
        assert not np.allclose(model(params, x), y)
    half = models.MLP((5, 3), dropout=0.5)
    params, _ = half.init(KEY, x)
    with pytest.raises(ArgumentError, match="Dropout at drop0: needs random numbers"):
        half(params, x, train=True)


def test_models_are_values():
    assert models.resnet18() == models.resnet18()
    assert models.resnet18() != models.resnet34()
    for model in (models.MLP([3, 2]), models.VGG([[3], [4]]), models.ResNet([1], [4])):
        assert hash(model) == hash(type(model)(**vars(model)))
    fields = {"widths": (8, 8, 8)}
    assert models.resnet20(**fields).widths == (8, 8, 8)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: models.MLP(()), OptionError, "MLP: must have one layer or more, got no sizes"),
        (lambda: models.MLP((3,), dropout=2.0), OptionError, "MLP: rate must be within 0 and 1"),
        (
            lambda: models.VGG(((3,), ())),
            OptionError,
            r"VGG: each stage must have convolutions, got \(\(3,\), \(\)\)",
        ),
        (lambda: models.vgg11(dropout=-1.0), OptionError, "VGG: rate must be within 0 and 1"),
        (
            lambda: models.ResNet((1, 2)),
            OptionError,
            r"ResNet: each stage must have a number of blocks and a width, got blocks \(1, 2\)",
        ),
        (
            lambda: models.resnet18(norm=nn.Identity(), zero_init=True),
            OptionError,
            r"ResNet: zero_init needs a norm with a scale_init, got Identity\(\)",
        ),
        (
            lambda: models.Bottleneck(6),
            OptionError,
            "Bottleneck: features must be a multiple of 4, got 6",
        ),
        (lambda: made(models.vgg11(), (1, 16, 16, 3)), ShapeError, "max_pool"),
        (lambda: made(models.LeNet(), (28, 28, 1)), ShapeError, "Conv2d: x must have 4 axes"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()
