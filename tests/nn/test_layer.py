"""Layers: what `init` makes, what `apply` takes, and what they say when it does not fit."""

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import ShapeDtypeStruct, grad, jit, nn, random, vmap
from fstensor.errors import ArgumentError, OptionError, ShapeError, TreeError

KEY = random.key(0)
SPEC = ShapeDtypeStruct((8, 4), np.float32)


def shapes(params):
    return fst.tree.map(lambda p: p.shape, params)


class Block(nn.Layer):
    inner: nn.Linear = nn.Linear(6)
    norm: nn.BatchNorm = nn.BatchNorm()
    drop: nn.Dropout = nn.Dropout(0.25)
    parts: tuple[nn.Linear, ...] = (nn.Linear(5), nn.Linear(3, bias=False))

    def forward(self, net, x):
        x = net.drop(nn.relu(net.norm(net.inner(x))))
        for part in net.parts:
            x = part(x)
        return x * net.param("gain", nn.initializers.ones, (3,))


def test_names_are_those_of_the_fields():
    params, state = Block().init(KEY, SPEC)
    assert shapes(params) == {
        "inner": {"kernel": (4, 6), "bias": (6,)},
        "norm": {"scale": (6,), "bias": (6,)},
        "parts0": {"kernel": (6, 5), "bias": (5,)},
        "parts1": {"kernel": (5, 3)},
        "gain": (3,),
    }
    assert shapes(state) == {"norm": {"mean": (6,), "var": (6,)}}


def test_layers_are_values():
    assert Block() == Block()
    assert hash(Block()) == hash(Block())
    assert nn.Linear(3) != nn.Linear(4)
    with pytest.raises(AttributeError):
        nn.Linear(3).features = 4


def test_init_computes_no_outputs():
    class Never(nn.Layer):
        def forward(self, net, x):
            w = net.param("w", nn.initializers.ones, (2,))
            fst.debug.callback(lambda: pytest.fail("it ran"))
            return w

    text = str(fst.make_jaxpr(lambda k: nn.Linear(3).init(k, SPEC))(KEY))
    assert "dot_general" not in text


def test_each_parameter_has_a_key_of_its_name():
    small = nn.Sequential(a=nn.Linear(4), b=nn.Linear(4))
    large = nn.Sequential(first=nn.Linear(4), a=nn.Linear(4), b=nn.Linear(4))
    ours, others = small.init(KEY, SPEC)[0], large.init(KEY, SPEC)[0]
    np.testing.assert_array_equal(ours["b"]["kernel"], others["b"]["kernel"])
    assert not np.allclose(ours["a"]["kernel"], ours["b"]["kernel"])


def test_apply_gives_outputs_and_the_state_afterwards():
    params, state = Block().init(KEY, SPEC)
    x = random.normal(random.key(1), (8, 4))
    y, after = Block().apply(params, state, x, key=random.key(2), train=True)
    assert y.shape == (8, 3)
    assert shapes(after) == shapes(state)
    assert not np.allclose(after["norm"]["mean"], state["norm"]["mean"])
    again, same = Block().apply(params, state, x)
    np.testing.assert_array_equal(same["norm"]["mean"], state["norm"]["mean"])
    assert not np.allclose(y, again)


def test_jit_and_eager_agree():
    params, state = Block().init(KEY, SPEC)
    x = random.normal(random.key(1), (8, 4))
    apply = jit(Block().apply, static_argnames="train")
    for train in (False, True):
        eager = Block().apply(params, state, x, key=random.key(2), train=train)
        compiled = apply(params, state, x, key=random.key(2), train=train)
        for a, b in zip(fst.tree.leaves(eager), fst.tree.leaves(compiled), strict=True):
            np.testing.assert_allclose(a, b, 1e-5, 1e-6)


def test_init_under_jit_and_vmap():
    expected = Block().init(KEY, SPEC)[0]
    found = jit(lambda k: Block().init(k, SPEC))(KEY)[0]
    for a, b in zip(fst.tree.leaves(expected), fst.tree.leaves(found), strict=True):
        np.testing.assert_allclose(a, b, 1e-6)
    ensemble, _ = vmap(lambda k: Block().init(k, SPEC))(random.split(KEY, 3))
    assert ensemble["gain"].shape == (3, 3)


def test_a_sublayer_that_runs_twice_has_its_parameters_once():
    class Twice(nn.Layer):
        layer: nn.Linear = nn.Linear(4)

        def forward(self, net, x):
            return net.layer(net.layer(x))

    params, _ = Twice().init(KEY, SPEC)
    assert shapes(params) == {"layer": {"kernel": (4, 4), "bias": (4,)}}
    x, w = np.ones((2, 4), np.float32), params["layer"]
    expected = (x @ np.asarray(w["kernel"]) + w["bias"]) @ w["kernel"] + w["bias"]
    np.testing.assert_allclose(Twice()(params, x), expected, 1e-5)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda p, s: Block()(p, np.ones((8, 4))), TreeError, "BatchNorm at norm: it has state"),
        (lambda p, s: Block().apply(p, {}, np.ones((8, 4))), TreeError, "state must have 'mean'"),
        (lambda p, s: Block().apply({}, s, np.ones((8, 4))), TreeError, "must have 'kernel'"),
        (
            lambda p, s: Block().apply(p, s, np.ones((8, 5))),
            ShapeError,
            r"Linear at inner: kernel must have shape \(5, 6\) .* got float32\[4,6\]",
        ),
        (
            lambda p, s: Block().apply(p, s, np.ones((8, 4)), train=True),
            ArgumentError,
            "Dropout at drop: needs random numbers",
        ),
        (lambda p, s: nn.Dropout(1.5), OptionError, "rate must be within 0 and 1, got 1.5"),
        (lambda p, s: nn.Sequential(3), ArgumentError, "takes layers and functions, got 3"),
    ],
)
def test_errors(call, error, text):
    params, state = Block().init(KEY, SPEC)
    with pytest.raises(error, match=text):
        call(params, state)


def test_fields_must_not_hide_what_a_net_has():
    with pytest.raises(ArgumentError, match="a field cannot be named 'param'"):

        class Hides(nn.Layer):
            param: nn.Linear = nn.Linear(2)

            def forward(self, net, x):
                return x


def test_init_must_not_look_at_values():
    class Looks(nn.Layer):
        def forward(self, net, x):
            return net.variable("mean", lambda: x.mean())

    with pytest.raises(ArgumentError, match="must not depend on the values of inputs"):
        Looks().init(KEY, SPEC)


# Combinations


def test_sequential_names_its_layers():
    numbered = nn.Sequential(nn.Linear(3), nn.relu, nn.Linear(2))
    assert list(numbered.init(KEY, SPEC)[0]) == ["0", "2"]
    named = nn.Sequential(hidden=nn.Linear(3), act=nn.relu, out=nn.Linear(2))
    params, _ = named.init(KEY, SPEC)
    assert list(params) == ["hidden", "out"]
    x = np.ones((2, 4), np.float32)
    hidden = np.maximum(nn.Linear(3)(params["hidden"], x), 0)
    np.testing.assert_allclose(named(params, x), nn.Linear(2)(params["out"], hidden), 1e-6)


def test_parallel_and_residual():
    both = nn.Parallel(a=nn.Linear(3), b=nn.Linear(2))
    params, _ = both.init(KEY, SPEC)
    assert [y.shape for y in both(params, np.ones((8, 4)))] == [(8, 3), (8, 2)]
    joined = nn.Parallel(nn.Linear(3), nn.Identity(), combine=lambda *y: fnp.concatenate(y, -1))
    params, _ = joined.init(KEY, SPEC)
    assert joined(params, np.ones((8, 4))).shape == (8, 7)
    around = nn.Residual(nn.Lambda(lambda x: 2 * x))
    np.testing.assert_array_equal(around({}, np.ones(3)), 3 * np.ones(3))
    other = nn.Residual(nn.Linear(3), shortcut=nn.Linear(3, bias=False))
    assert set(other.init(KEY, SPEC)[0]) == {"layer", "shortcut"}


def test_repeat_is_the_layers_one_after_the_other():
    layer = nn.Residual(nn.Sequential(nn.Linear(4), nn.BatchNorm(), nn.tanh))
    params, state = nn.Repeat(layer, 3).init(KEY, SPEC)
    assert params["layer"]["layer"]["0"]["kernel"].shape == (3, 4, 4)
    x = random.normal(random.key(1), (8, 4))
    y, after = nn.Repeat(layer, 3).apply(params, state, x, train=True)
    states = []
    for i in range(3):
        pick = lambda t, i=i: fst.tree.map(lambda leaf: leaf[i], t)
        x, one = layer.apply(pick(params["layer"]), pick(state["layer"]), x, train=True)
        states.append(one)
    np.testing.assert_allclose(y, x, 1e-5, 1e-6)
    expected = np.stack([s["layer"]["1"]["mean"] for s in states])
    np.testing.assert_allclose(after["layer"]["layer"]["1"]["mean"], expected, 1e-5, 1e-6)


def test_repeated_dropout_differs_from_time_to_time():
    layer = nn.Repeat(nn.Sequential(nn.Dropout(0.5)), 4)
    params, state = layer.init(KEY, SPEC)
    y, _ = layer.apply(params, state, fnp.ones((1000,)), key=KEY, train=True)
    assert abs(float((y > 0).mean()) - 1 / 16) < 0.03


def test_shared_layers_have_their_parameters_once():
    tied = nn.Shared("tied", nn.Linear(4))
    net = nn.Sequential(tied, nn.relu, nn.Sequential(tied))
    params, _ = net.init(KEY, SPEC)
    assert shapes(params) == {"shared": {"tied": {"kernel": (4, 4), "bias": (4,)}}}
    g = grad(lambda p: net(p, np.ones((8, 4), np.float32)).sum())(params)
    assert np.abs(g["shared"]["tied"]["kernel"]).max() > 0


# Dropout and batch normalization


def test_dropout():
    x = np.ones(10_000, np.float32)
    y, _ = nn.Dropout(0.2).apply({}, {}, x, key=KEY, train=True)
    assert set(np.unique(y).round(4).tolist()) == {0.0, 1.25}
    assert abs(float(np.mean(y)) - 1) < 0.03
    np.testing.assert_array_equal(nn.Dropout(0.2)({}, x), x)
    assert not nn.Dropout(1.0)({}, x, train=True).any()


def test_batch_norm():
    x = np.random.default_rng(0).standard_normal((6, 5, 3)).astype(np.float32) * 3 + 1
    layer = nn.BatchNorm(momentum=0.8)
    params, state = layer.init(KEY, x)
    y, after = layer.apply(params, state, x, train=True)
    np.testing.assert_allclose(np.mean(y, (0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(np.var(y, (0, 1)), 1, 1e-4)
    np.testing.assert_allclose(after["mean"], 0.2 * x.mean((0, 1)), 1e-5)
    np.testing.assert_allclose(after["var"], 0.8 + 0.2 * x.var((0, 1), ddof=1), 1e-5)
    y, same = layer.apply(params, after, x)
    np.testing.assert_allclose(y, (x - after["mean"]) / np.sqrt(after["var"] + 1e-5), 1e-4, 1e-5)
    np.testing.assert_array_equal(same["mean"], after["mean"])
    first = nn.BatchNorm(axis=1)
    params, state = first.init(KEY, x)
    assert state["mean"].shape == (5,)
