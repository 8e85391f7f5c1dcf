"""What all optimizers have in common: pure states that go through transforms, and keep dtypes."""

import numpy as np
import pytest

import fstensor as fst
from fstensor import numpy as fnp
from fstensor import optim
from fstensor.errors import ArgumentError, DtypeError, TreeError
from tests.optim.golden import first_params, loss, trajectory

OPTIMIZERS = {
    "sgd": lambda: optim.sgd(0.1, momentum=0.9, weight_decay=0.01),
    "adadelta": optim.adadelta,
    "adagrad": optim.adagrad,
    "adam": lambda: optim.adam(amsgrad=True),
    "adamw": lambda: optim.adamw(optim.cosine_decay_schedule(0.1, 20)),
    "adamax": optim.adamax,
    "nadam": optim.nadam,
    "radam": optim.radam,
    "asgd": lambda: optim.asgd(t0=2),
    "rmsprop": lambda: optim.rmsprop(centered=True, momentum=0.5),
    "rprop": optim.rprop,
    "lion": lambda: optim.lion(0.01),
    "lamb": lambda: optim.lamb(0.01, weight_decay=0.1),
    "lars": lambda: optim.lars(0.1, weight_decay=0.1),
    "adafactor": optim.adafactor,
    "muon": lambda: optim.multi_transform(
        {"matrix": optim.muon(), "other": optim.adam()}, {"w": "matrix", "b": "other"}
    ),
    "shampoo": optim.shampoo,
    "shampoo_seldom": lambda: optim.shampoo(update_every=3, momentum=0.5),
    "lbfgs": lambda: optim.lbfgs(0.1, memory_size=3, line_search=None),
    "lookahead": lambda: optim.lookahead(optim.adam(), 2, 0.5),
    "multi_steps": lambda: optim.multi_steps(optim.adam(), 2),
    "apply_if_finite": lambda: optim.apply_if_finite(optim.adam(), 2),
    "loss_scale": lambda: optim.dynamic_loss_scale(optim.adam(), 4.0, growth_interval=2),
    "chain": lambda: optim.chain(
        optim.clip_by_global_norm(0.1),
        optim.add_noise(0.01, 0.5, fst.random.key(0)),
        optim.centralize(),
        optim.scale_by_adam(),
        optim.add_decayed_weights(0.1, {"w": True, "b": False}),
        optim.scale_by_learning_rate(optim.one_cycle_schedule(0.1, 20)),
    ),
}
everyone = pytest.mark.parametrize("name", OPTIMIZERS)


def assert_same(a, b, rtol=1e-6):
    assert fst.tree.structure(a) == fst.tree.structure(b)
    for x, y in zip(fst.tree.leaves(a), fst.tree.leaves(b), strict=True):
        if fst.dtypes.issubdtype(x.dtype, fst.dtypes.prng_key):
            x, y = fst.random.key_data(x), fst.random.key_data(y)
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol)


@everyone
def test_jit_is_eager(name):
    with fst.config.override(default_dtype_bits=64):  # schedules, too
        eager = trajectory(OPTIMIZERS[name](), steps=4, compiled=False)
        compiled = trajectory(OPTIMIZERS[name](), steps=4)
    assert_same(eager, compiled, rtol=1e-9)


@everyone
def test_scan(name):
    """The state is a carry: shapes and dtypes stay from the first step on."""
    optimizer = OPTIMIZERS[name]()

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(fst.grad(loss)(params), state, params)
        params = optim.apply_updates(params, updates)
        return (params, state), params

    start = first_params("float32")
    (last, state), seen = fst.lax.scan(step, (start, optimizer.init(start)), length=4)
    looped, state_of_loop = trajectory(optimizer, start, steps=4)
    assert_same(last, looped[-1], rtol=2e-5)
    assert fst.tree.structure(state) == fst.tree.structure(state_of_loop)
    assert seen["w"].shape == (4, 3, 4)


@everyone
def test_vmap(name):
    """Two models trained at once are those trained alone."""
    optimizer = OPTIMIZERS[name]()
    first = first_params()
    second = fst.tree.map(lambda p: 0.5 * p + 0.1, first)
    both = fst.tree.map(lambda *ps: fnp.stack(ps), first, second)

    def train(params):
        state = optimizer.init(params)
        for _ in range(3):
            updates, state = optimizer.update(fst.grad(loss)(params), state, params)
            params = optim.apply_updates(params, updates)
        return params

    together = fst.vmap(train)(both)
    for i, alone in enumerate((train(first), train(second))):
        assert_same(fst.tree.map(lambda p, i=i: p[i], together), alone, rtol=1e-8)


@everyone
def test_bfloat16(name):
    """Parameters stay bfloat16, and the state has one set of dtypes."""
    start = first_params("bfloat16")
    optimizer = OPTIMIZERS[name]()
    seen, state = trajectory(optimizer, start, steps=3)
    assert all(p.dtype == fst.dtypes.bfloat16 for p in fst.tree.leaves(seen))
    before = [x.dtype for x in fst.tree.leaves(optimizer.init(start))]
    assert [x.dtype for x in fst.tree.leaves(state)] == before
    assert all(np.isfinite(np.asarray(p, "float32")).all() for p in fst.tree.leaves(seen))


@everyone
def test_gradients_of_another_structure(name):
    """The message says which leaf is missing or too many."""
    optimizer = OPTIMIZERS[name]()
    params = first_params()
    state = optimizer.init(params)
    grads = fst.grad(loss)(params)
    with pytest.raises(TreeError, match="b"):
        optimizer.update({"w": grads["w"]}, state, params)
    with pytest.raises(TreeError, match=r"\['b'\]|\"b\"|'b'"):
        optimizer.update({"w": grads["w"], "b": [grads["b"]]}, state, params)


@pytest.mark.parametrize(
    "name", ["adam", "adadelta", "rprop", "lion", "adafactor", "shampoo", "lbfgs"]
)
def test_complex(name):
    params = {"z": fnp.ones(2, "complex64")}
    with pytest.raises(DtypeError, match=r"must be real, got complex64\[2\] at \['z'\]; wrap"):
        OPTIMIZERS[name]().init(params)


@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if n not in ("muon", "chain")])
def test_odd_shapes(name):
    """Scalars, empty leaves, more axes than two, no leaves at all, and gradients of zero."""
    odd = {
        "scalar": fnp.ones(()),
        "empty": fnp.zeros((0, 3)),
        "kernel": fnp.ones((2, 2, 3, 2)),
        "one": fnp.ones((1, 1)),
    }
    for params in (odd, {}):
        optimizer = OPTIMIZERS[name]()
        state = optimizer.init(params)
        for slope in (0.0, 0.1, 0.0):
            grads = fst.tree.map(lambda p, slope=slope: slope * p, params)
            updates, state = optimizer.update(grads, state, params)
            params = optim.apply_updates(params, updates)
        assert all(np.isfinite(np.asarray(p)).all() for p in fst.tree.leaves(params))
        assert fst.tree.map(lambda p: p.shape, params) == (
            fst.tree.map(lambda p: p.shape, odd) if params else {}
        )


def test_the_step_advances():
    _, state = trajectory(optim.adam(), steps=7)
    assert int(state.step) == 7
    assert state.step.dtype == np.int32


def test_schedules_do_not_compound():
    """The rate of each step is the schedule's, however often it was asked before."""
    optimizer = optim.sgd(optim.exponential_decay(1.0, 1, 0.5))
    one = fnp.ones(1)
    state, moved = optimizer.init(one), []
    for _ in range(5):
        for _ in range(3):
            optimizer.update(one, state)
        updates, state = optimizer.update(one, state)
        moved.append(-float(updates[0]))
    assert moved == [1.0, 0.5, 0.25, 0.125, 0.0625]


def test_apply_updates_of_another_structure():
    with pytest.raises(TreeError, match=r"apply_updates: .*\['b'\]"):
        optim.apply_updates({"a": fnp.ones(1), "b": fnp.ones(1)}, {"a": fnp.ones(1), "b": []})


@pytest.mark.parametrize("make", [optim.sgd, optim.adam, optim.lamb])
def test_learning_rates_are_traced(make):
    """Many rates at once, and the derivative of what is reached by the rate."""

    def reached(rate):
        optimizer = make(rate)
        params = first_params()
        state = optimizer.init(params)
        for _ in range(4):
            updates, state = optimizer.update(fst.grad(loss)(params), state, params)
            params = optim.apply_updates(params, updates)
        return loss(params)

    rates = fnp.asarray(np.array([0.01, 0.1]))
    together = fst.vmap(reached)(rates)
    alone = [float(reached(float(rate))) for rate in rates]
    np.testing.assert_allclose(together, alone, rtol=1e-10)
    h = 1e-5
    slope = (reached(rates[1] + h) - reached(rates[1] - h)) / (2 * h)
    np.testing.assert_allclose(fst.grad(reached)(rates[1]), slope, rtol=1e-6)


def test_update_does_not_change_what_it_is_given():
    params = first_params()
    optimizer = optim.adam()
    state = optimizer.init(params)
    before = fst.tree.map(np.asarray, state)
    optimizer.update(fst.grad(loss)(params), state, params)
    assert_same(fst.tree.map(fnp.asarray, before), state, rtol=0)


def test_row_sparse():
    table = fnp.asarray(np.arange(10.0).reshape(5, 2))
    indices = fnp.asarray(np.array([[1, 3], [1, 0]]))

    def f(rows, scale):
        return (scale * rows**2).sum()

    value, (gradient, of_scale) = optim.lookup_value_and_grad(f)(table, indices, fnp.asarray(3.0))
    expected = fst.grad(lambda t: f(t[indices], 3.0))(table)
    np.testing.assert_allclose(value, f(table[indices], 3.0))
    np.testing.assert_allclose(gradient.todense(), expected)
    np.testing.assert_allclose(of_scale, (table[indices] ** 2).sum())
    merged = fst.jit(lambda g: g.coalesced())(gradient)
    np.testing.assert_array_equal(merged.indices, [0, 1, 3, 5])  # 5 is outside
    np.testing.assert_allclose(merged.todense(), expected)
    moved = optim.apply_updates([table], [gradient])
    np.testing.assert_allclose(moved[0], table + expected)
    with pytest.raises(fst.errors.ShapeError, match=r"must have shape \(2, 2, 2\)"):
        optim.row_sparse(indices, fnp.ones((2, 2)), (5, 2))
    with pytest.raises(DtypeError, match=r"must be integers, got float32\[1\]"):
        optim.row_sparse(fnp.ones(1), fnp.ones((1, 2)), (5, 2))
    with pytest.raises(fst.errors.ShapeError, match="cannot add"):
        optim.apply_updates([fnp.ones((4, 2))], [gradient])


def test_row_sparse_beside_dense():
    """A table and a matrix in one tree, each with an optimizer of its own."""
    params = {"table": fnp.ones((5, 2)), "w": fnp.ones((2, 2))}
    optimizer = optim.multi_transform(
        {"rows": optim.sparse_adam(0.1), "dense": optim.sgd(0.1)}, {"table": "rows", "w": "dense"}
    )
    state = optimizer.init(params)
    sparse = optim.row_sparse(fnp.asarray([3]), fnp.ones((1, 2)), (5, 2))
    grads = {"table": sparse, "w": fnp.ones((2, 2))}
    updates, state = fst.jit(optimizer.update)(grads, state, params)
    after = optim.apply_updates(params, updates)
    np.testing.assert_allclose(after["table"][3], [0.9, 0.9], rtol=1e-5)
    np.testing.assert_array_equal(after["table"][:3], np.ones((3, 2)))
    np.testing.assert_allclose(after["w"], 0.9 * np.ones((2, 2)), rtol=1e-6)


@pytest.mark.parametrize("make", [lambda: optim.sgd(0.1), lambda: optim.clip_by_global_norm(1.0)])
def test_row_sparse_where_it_does_not_fit(make):
    table = fnp.ones((5, 2))
    optimizer = make()
    gradient = optim.row_sparse(fnp.asarray([3]), fnp.ones((1, 2)), (5, 2))
    with pytest.raises(ArgumentError, match="RowSparse"):
        optimizer.update({"t": gradient}, optimizer.init({"t": table}), {"t": table})
