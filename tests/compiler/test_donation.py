"""Results in the memory of donated arguments: where they may be, and where they must not."""

import gc
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import lax
from fstensor.core import donation, memory
from fstensor.errors import DeletedArrayError

LARGE = (300, 400)  # enough for several threads, and for the pool


def address(x):
    return np.asarray(x).__array_interface__["data"][0]


def array(*shape, seed=0, dtype=np.float32):
    return fnp.array(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def in_place(f, *args, donate=(0,)):
    """Call a function with donated arguments.

    Gives the positions of the arguments whose memory each result has, None for none; and compares
    all values with those of a call without donation.
    """
    want = [np.array(x) for x in fst.tree.leaves(fst.jit(f)(*args))]
    g = fst.jit(f, donate_argnums=donate)
    found = {address(x): i for i, x in enumerate(args) if np.ndim(x)}
    args = list(args)
    outs = fst.tree.leaves(g(*args))
    for i in donate:
        assert args[i].is_deleted()
    for a, b in zip(outs, want, strict=True):
        assert a.shape == b.shape
        assert np.asarray(a).tobytes() == b.tobytes()
    assert not donation.given_up
    return [found.get(address(x)) for x in outs]


# Where results may be


@pytest.mark.parametrize("shape", [(3,), LARGE])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_update_is_in_place(shape, threads):
    with fst.config.override(threads=threads):
        # No call is known within such a block.
        assert in_place(lambda p, g: p - 0.1 * g, array(*shape), array(*shape)) == [None]
    fst.config.update("threads", threads)
    try:
        assert in_place(lambda p, g: p - 0.1 * g, array(*shape), array(*shape)) == [0]
    finally:
        fst.config.update("threads", "auto")


def test_large_memory_of_others_is_left_for_that_of_the_pool():
    theirs = np.ones((600, 500), np.float32)
    theirs.flags.writeable = False
    x = fnp.asarray(theirs)
    assert address(x) == address(theirs)
    step = lambda x: x + 1
    assert in_place(step, x) == [None]
    assert (theirs == 1).all()
    x = fst.jit(step, donate_argnums=0)(fnp.array(theirs))
    assert in_place(step, x) == [0]


def test_all_of_adam():
    def step(p, m, v, g):
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        return p - 0.1 * m / (fnp.sqrt(v) + 1e-8), m, v

    args = [array(*LARGE, seed=k) for k in range(4)]
    args[2] = args[2] * args[2]
    assert sorted(in_place(step, *args, donate=(0, 1, 2))) == [0, 1, 2]


def test_a_training_step():
    def step(w, x, y):
        value, grad = fst.value_and_grad(lambda w: fnp.mean((fnp.tanh(x @ w) - y) ** 2))(w)
        return w - 0.1 * grad, value

    args = array(160, 130), array(150, 160), array(150, 130)
    assert in_place(step, *args) == [0, None]
    plan = fst.jit(step, donate_argnums=0).lower(*args).as_text("plan")
    assert "-> f32[160,130] #4 or #1" in plan


def test_what_was_read_before():
    """The last to read it is a step before the one that writes."""

    def f(x, y):
        total = fnp.cumsum(x, axis=0)
        return fnp.tanh(y @ y.T) + total[0, 0], total.sum()

    assert in_place(f, array(300, 300), array(300, 300))[0] == 0


def test_each_argument_is_taken_once():
    assert in_place(lambda x: (x + 1, x * 2), array(*LARGE)) in ([0, None], [None, 0])


def test_another_type_or_shape():
    f = in_place(lambda x: (x.astype(np.int32), x[:-1], x.T.reshape(-1)), array(*LARGE))
    assert f == [None] * 3


def test_a_loop_of_steps_needs_one_block():
    step = fst.jit(lambda x: x * 0.5 + 1, donate_argnums=0)
    x = step(step(array(1000, 1000)))
    gc.collect()
    before, place = memory.live_bytes(), address(x)
    for _ in range(10):
        x = step(x)
        assert address(x) == place
        assert memory.live_bytes() == before


def test_the_argument_that_is_donated_is_taken():
    """Not another one of its type."""
    for k in range(4):
        args = [array(*LARGE, seed=n) for n in range(4)]
        assert in_place(lambda a, b, c, d: a * b + c * d, *args, donate=(k,)) == [k]


def test_threads_wait_for_those_that_read_before():
    """Nothing but the memory that they may share orders these two."""

    def f(x, y):
        return x @ x, fnp.tanh(y)

    args = array(300, 300), array(300, 300)
    text = {k: fst.jit(f, donate_argnums=k).lower(*args).as_text("llvm") for k in (0, 1)}
    assert "@fst_barrier" in text[0]
    assert "@fst_barrier" not in text[1]
    assert in_place(f, *args) == [None, 0]


def test_compiled_and_loaded_programs(tmp_path):
    compiled = fst.jit(lambda x, y: x * y, donate_argnums=1).lower(*[array(*LARGE)] * 2).compile()
    compiled.save(tmp_path / "f")
    for f in (compiled, fst.stages.load(tmp_path / "f")):
        x, y = array(*LARGE), array(*LARGE, seed=1)
        want, place = np.asarray(x) * np.asarray(y), address(y)
        got = f(x, y)
        assert address(got) == place
        assert np.array_equal(got, want)
        view = np.asarray(got)
        assert address(f(x, got)) != place
        assert np.array_equal(view, want)
        with pytest.raises(DeletedArrayError):
            f(x, got)


# Where they must not be


def test_elements_read_elsewhere():
    x = array(301, 301)
    assert in_place(lambda x: x - fnp.roll(x, 1, axis=0), x) == [None]
    assert in_place(lambda x: x + x.T, array(301, 301)) == [None]
    assert in_place(lambda x: x[::-1] * 2, array(301, 301)) == [None]
    assert in_place(lambda x: x @ x, array(301, 301)) == [None]
    assert in_place(lambda x: x - x.mean(0), array(301, 301)) in ([None], [0])
    assert in_place(lambda x: fnp.sort(x, 0), array(301, 301)) == [None]
    assert in_place(lambda x: fnp.cumsum(x, 1), array(301, 301)) == [None]


def test_an_argument_that_is_a_result():
    assert in_place(lambda x: (x, x + 1), array(*LARGE)) == [0, None]


def test_an_argument_that_is_read_later():
    def f(x, y):
        z = x + 1
        values = fnp.linalg.eigh(y)[0]  # by the host
        return z * values.sum(), (x * values.sum()).sum(), z

    assert in_place(f, array(60, 60), fnp.eye(4)) == [None] * 3


def test_an_argument_that_the_host_reads():
    def f(x):
        return fnp.linalg.eigh(x)[0] + 1, x * 2

    assert in_place(f, array(60, 60)) == [None, None]


def keeps_values(hold):
    """Whether an argument keeps its values for what `hold` made of it before the call."""
    f = fst.jit(lambda x: x + 1, donate_argnums=0)
    f(array(*LARGE))
    x = array(*LARGE)
    values, place = np.array(x), address(x)
    held = hold(x)
    y = f(x)
    assert x.is_deleted()
    assert np.array_equal(y, values + 1)
    return address(y) != place and np.array_equal(np.asarray(held), values)


@pytest.mark.parametrize(
    "hold",
    [
        np.asarray,
        lambda x: np.asarray(x)[:, :],
        lambda x: np.asarray(x).reshape(-1).view(np.int32).view(np.float32).reshape(LARGE),
        lambda x: memoryview(np.asarray(x)),
        np.from_dlpack,
        lambda x: fnp.reshape(x, (-1,)).reshape(LARGE),
        lambda x: fst.tree.leaves(x)[0]._buffer,
    ],
    ids=["asarray", "view", "views", "memoryview", "dlpack", "reshape", "buffer"],
)
def test_whoever_holds_a_view_keeps_the_values(hold):
    assert keeps_values(hold)
    assert not keeps_values(lambda x: None)


def test_a_view_of_a_part_of_memory():
    """The argument is itself a view: what else lies in that memory stays."""
    f = fst.jit(lambda x: x + 1, donate_argnums=0)
    base = np.zeros((2, *LARGE), np.float32)
    base.flags.writeable = False
    for k in range(3):
        f(fnp.asarray(base)[1])
        f(fnp.asarray(base[k % 2]))
    assert not base.any()


def test_an_argument_given_twice():
    f = fst.jit(lambda x, y: (x + 1, x * y), donate_argnums=0)
    f(array(*LARGE), array(*LARGE))
    x = array(*LARGE)
    values = np.array(x)
    a, b = f(x, x)
    assert np.array_equal(a, values + 1)
    assert np.array_equal(b, values * values)
    g = fst.jit(lambda x, y: (x + 1, y * 3), donate_argnums=(0, 1))
    for _ in range(3):
        x = array(*LARGE)
        a, b = g(x, x)
        assert np.array_equal(a, values + 1)
        assert np.array_equal(b, values * 3)


def test_a_constant_of_another_program():
    c = array(*LARGE)
    values = np.array(c)
    keeper = fst.jit(lambda x: x * c)
    keeper(1.0)
    f = fst.jit(lambda x: x + 1, donate_argnums=0)
    f(array(*LARGE))
    f(c)
    assert np.array_equal(keeper(1.0), values)


def test_ndarrays_are_left_alone():
    f = fst.jit(lambda x: x + 1, donate_argnums=0)
    x = np.zeros(LARGE, np.float32)
    for _ in range(3):
        f(x)
    assert not x.any()


def test_programs_inside_do_not_take_it():
    """A branch that runs by itself may not write into what the program around it reads later."""

    def f(x, k):
        def one(x):
            return fnp.linalg.eigh(x[:3, :3])[0].sum() + x

        y = lax.cond(k > 0, one, lambda x: x - 1, x)
        return y + x

    assert in_place(f, array(200, 200), 1) in ([None], [0])


def test_after_an_error_the_argument_is_gone():
    fail = []

    def check(y):
        if fail:
            raise ValueError("stop")
        return y

    def f(x):
        y = x * 2
        z = fst.pure_callback(check, fst.ShapeDtypeStruct((), np.float32), y[0, 0])
        return y, z + 1

    g = fst.jit(f, donate_argnums=0)
    g(array(*LARGE))
    fail.append(1)
    x = array(*LARGE)
    with pytest.raises(ValueError, match="stop"):
        g(x)
    with pytest.raises(DeletedArrayError):
        x + 1
    assert not donation.given_up


def test_threads_of_python_share_a_function():
    step = fst.jit(lambda x, k: x + k, donate_argnums=0)
    step(array(*LARGE), 1.0)
    wrong = []

    def work(k):
        x = fnp.zeros(LARGE)
        for n in range(200):
            x = step(x, fnp.float32(k))
            if not (np.asarray(x) == (n + 1) * k).all():
                wrong.append((k, n))

    workers = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not wrong


# Programs by chance

STEPS = {
    "tanh": lambda a, b: fnp.tanh(a),
    "add": lambda a, b: a + b,
    "flip": lambda a, b: a[::-1] * b,
    "transpose": lambda a, b: a.T - b,
    "mean": lambda a, b: a - b.mean(1, keepdims=True),
    "total": lambda a, b: a / (1 + fnp.abs(b).sum()),
    "product": lambda a, b: a @ b / 100,
    "pad": lambda a, b: fnp.concatenate([a[3:], b[:3]]),
    "pick": lambda a, b: a[fnp.arange(len(a)) // 2] + b,
    "scatter": lambda a, b: a.at[fnp.array([0, 5, 0])].add(b[:3]),
    "cumsum": lambda a, b: fnp.cumsum(a, 0) / 50,
    "scan": lambda a, b: lax.scan(lambda c, r: (c * 0.5 + r, c), b[0], a)[1],
    "sort": lambda a, b: fnp.sort(a, 1),
}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 9), st.integers(0, 9))),
    st.lists(st.integers(0, 9), min_size=1, max_size=4),
    st.sampled_from([9, 120]),
)
def test_programs_by_chance(steps, kept, size):
    def f(x, y, z):
        values = [x, y, z]
        for name, i, k in steps[:6]:
            a, b = (values[-1 - n % len(values)] for n in (i, k))
            values.append(STEPS[name](a, b))
        return [values[-1 - n % len(values)] for n in kept]

    in_place(f, *[array(size, size, seed=k) for k in range(3)], donate=(0, 1))
