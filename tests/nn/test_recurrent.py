"""Recurrent networks: values and gradients beside PyTorch's, lengths, options, transformations."""

import re

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import ShapeDtypeStruct, jit, nn, optim, random, vmap
from fstensor.errors import ArgumentError, DtypeError, OptionError, ShapeError
from tests.nn.golden_cases import assert_agrees, case

KEY = random.key(0)
KINDS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
CELLS = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}


def named(last):
    h, c = last if isinstance(last, tuple) else (last, None)
    return {"last_h": h} if c is None else {"last_h": h, "last_c": c}


def state_of(arrays):
    if "h" not in arrays:
        return None
    return (arrays["h"], arrays["c"]) if "c" in arrays else arrays["h"]


def check(layer, arrays, run):
    """Whether values and gradients are as they should, of all but lengths."""
    gradients, lengths = arrays.pop("grad"), arrays.pop("lengths", None)
    expected = {k: arrays.pop(k) for k in ("last_c", "last_h", "out") if k in arrays}

    def outputs(given):
        return run(layer, given, lengths)

    assert_agrees(outputs, arrays, expected, gradients)


def run_sequence(layer, given, lengths):
    options = {} if lengths is None else {"lengths": lengths}
    y, last = layer(given["params"], given["x"], state_of(given), **options)
    return {**named(last), "out": y}


@pytest.mark.parametrize("kind", KINDS)
def test_one_layer(kind):
    check(KINDS[kind](2), case("recurrent", f"{kind}_plain"), run_sequence)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_directions_lengths_and_first_states(kind):
    layer = KINDS[kind](2, layers=2, bidirectional=True)
    check(layer, case("recurrent", f"{kind}_whole"), run_sequence)


def test_another_activation_and_no_bias():
    check(nn.RNN(2, activation=nn.relu, bias=False), case("recurrent", "rnn_relu"), run_sequence)


def test_projection():
    layer = nn.LSTM(2, bidirectional=True, proj_size=1)
    arrays = case("recurrent", "lstm_projected")
    made, _ = layer.init(KEY, arrays["x"])
    shapes = fst.tree.map(lambda p: p.shape, made)
    assert shapes == fst.tree.map(lambda p: p.shape, arrays["params"])
    check(layer, arrays, run_sequence)


@pytest.mark.parametrize("kind", CELLS)
def test_cells(kind):
    def run(cell, given, lengths):
        return named(cell(given["params"], given["x"], state_of(given)))

    check(CELLS[kind](2), case("recurrent", f"{kind}_cell"), run)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_step_by_step_is_the_sequence(kind):
    layer, cell = KINDS[kind](4), CELLS[kind](4)
    x = random.normal(random.key(1), (3, 6, 5))
    params, state = layer.init(KEY, x)
    assert state == {}
    assert fst.tree.map(lambda p: p.shape, cell.init(KEY, x[:, 0])[0]) == fst.tree.map(
        lambda p: p.shape, params["layer0"]
    )
    carry, hs = None, []
    for t in range(6):
        carry = cell(params["layer0"], x[:, t], carry)
        hs.append(carry[0] if kind == "lstm" else carry)
    y, last = layer(params, x)
    np.testing.assert_allclose(y, fnp.stack(hs, 1), 1e-5, 1e-6)
    for a, b in zip(fst.tree.leaves(last), fst.tree.leaves(carry), strict=True):
        np.testing.assert_allclose(a[0], b, 1e-5, 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_after_the_end_does_not_count(kind):
    layer = KINDS[kind](4, layers=2, bidirectional=True)
    x = np.random.default_rng(0).normal(size=(3, 6, 5)).astype(np.float32)
    params, _ = layer.init(KEY, x)
    lengths = np.array([2, 6, 0])
    y, last = jit(layer)(params, x, lengths=lengths)
    short, short_last = layer(params, x[:1, :2])
    np.testing.assert_allclose(y[0, :2], short[0], 1e-5, 1e-6)
    np.testing.assert_array_equal(y[0, 2:], 0)
    np.testing.assert_array_equal(y[2], 0)
    for a, b in zip(fst.tree.leaves(last), fst.tree.leaves(short_last), strict=True):
        np.testing.assert_allclose(a[:, 0], b[:, 0], 1e-5, 1e-6)
        np.testing.assert_array_equal(a[:, 2], 0)
    gradient = fst.grad(lambda x: (layer(params, x, lengths=lengths)[0] ** 2).sum())(x)
    np.testing.assert_array_equal(gradient[0, 2:], 0)
    assert (np.asarray(gradient[0, :2]) != 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_time_major_and_other_batches(kind):
    x = random.normal(random.key(1), (2, 3, 6, 5))
    layer = KINDS[kind](4, bidirectional=True)
    params, _ = layer.init(KEY, x)
    y, last = layer(params, x)
    assert y.shape == (2, 3, 6, 8)
    assert fst.tree.leaves(last)[0].shape == (2, 2, 3, 4)
    other = KINDS[kind](4, bidirectional=True, time_major=True)
    turned, _ = other(params, fnp.moveaxis(x, 2, 0))
    np.testing.assert_allclose(fnp.moveaxis(turned, 0, 2), y, 1e-5, 1e-6)
    alone, _ = layer(params, x[1, 2], lengths=4)
    np.testing.assert_allclose(alone[:4, :4], y[1, 2, :4, :4], 1e-5, 1e-6)
    mapped, _ = vmap(layer, (None, 0))(params, x)
    np.testing.assert_allclose(mapped, y, 1e-5, 1e-6)
    ensemble, _ = vmap(lambda key: layer.init(key, x))(random.split(KEY, 3))
    assert vmap(layer, (0, None))(ensemble, x)[0].shape == (3, 2, 3, 6, 8)


def test_dropout_is_between_layers():
    x = random.normal(random.key(1), (3, 6, 5))
    one, two = nn.GRU(4, dropout=0.5), nn.GRU(4, layers=2, dropout=0.5)
    params, _ = two.init(KEY, x)
    np.testing.assert_array_equal(one(params, x, train=True, key=KEY)[0], one(params, x)[0])
    dropped, same = two(params, x, train=True, key=KEY)[0], two(params, x)[0]
    assert not np.allclose(dropped, same)
    np.testing.assert_array_equal(two(params, x, key=KEY)[0], same)
    with pytest.raises(ArgumentError, match="Dropout at dropout1: needs random numbers"):
        two(params, x, train=True)


def test_first_values_are_within_one_over_the_root_of_features():
    params, _ = nn.LSTM(16).init(KEY, ShapeDtypeStruct((2, 3, 5), np.float32))
    for p in fst.tree.leaves(params):
        assert 0.2 < np.abs(p).max() <= 0.25


def test_it_is_one_native_loop():
    layer = nn.LSTM(16, layers=2)
    x = random.normal(random.key(1), (8, 40, 5))
    params, _ = layer.init(KEY, x)
    compiled = jit(lambda p, x: layer(p, x)[0]).lower(params, x).compile()
    np.testing.assert_allclose(compiled(params, x), layer(params, x)[0], 1e-5, 1e-6)
    assert re.fullmatch(r"native: \d+ kernels in one call\s*", compiled.report())


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_to_remember_the_first_step(kind):
    class Memory(nn.Layer):
        inner: nn.Layer
        out: nn.Linear = nn.Linear(1)

        def forward(self, net, x):
            return net.out(net.inner(x)[0][:, -1])[:, 0]

    model = Memory(KINDS[kind](8))
    x = random.normal(random.key(1), (64, 6, 1))
    params, _ = model.init(KEY, x)
    optimizer = optim.adam(0.02)

    def loss(params):
        return ((model(params, x) - x[:, 0, 0]) ** 2).mean()

    @jit
    def step(params, state):
        updates, state = optimizer.update(fst.grad(loss)(params), state, params)
        return optim.apply_updates(params, updates), state

    before, state = loss(params), optimizer.init(params)
    for _ in range(300):
        params, state = step(params, state)
    assert loss(params) < 0.05 * before


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda p, x: nn.LSTM(4)(p, x, (x[0], x[0])),
            ShapeError,
            r"must be of shape \(1, 2, 4\) and \(1, 2, 4\) .* got float32\[3,5\], float32\[3,5\]",
        ),
        (lambda p, x: nn.LSTM(4)(p, x[0, 0]), ShapeError, "must have axes of time and of features"),
        (lambda p, x: nn.LSTM(4)(p, x, lengths=np.ones(2)), DtypeError, "must be integers"),
        (lambda p, x: nn.LSTM(4)(p, x, lengths=3), ShapeError, r"lengths must have shape \(2,\)"),
        (lambda p, x: nn.LSTMCell(4)(p["layer0"], x, (x, x)), ShapeError, "LSTMCell: state must"),
        (lambda p, x: nn.GRU(4, layers=0), OptionError, "must be 1 or more, got 4 and 0"),
        (lambda p, x: nn.LSTM(4, proj_size=4), OptionError, "below features, or 0, got 4 and 4"),
        (lambda p, x: nn.RNN(4, dropout=2.0), OptionError, "rate must be within 0 and 1, got 2.0"),
    ],
)
def test_errors(call, error, text):
    x = np.ones((2, 3, 5), np.float32)
    params, _ = nn.LSTM(4).init(KEY, ShapeDtypeStruct((2, 3, 5), np.float32))
    with pytest.raises(error, match=text):
        call(params, x)
