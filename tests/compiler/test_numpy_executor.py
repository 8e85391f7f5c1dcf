import re
import tracemalloc

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.compiler.numpy_executor import Program
from fstensor.compiler.simplify import inline_calls, simplify
from fstensor.core.jaxpr import eval_jaxpr
from tests.tolerances import assert_close


def mean_squared_error(params, x, y):
    """Of a network with one hidden layer."""
    hidden = fst.jit(lambda w, b, x: fnp.tanh(x @ w + b))(params["w1"], params["b1"], x)
    return fnp.mean((hidden @ params["w2"] - y) ** 2)


def training_step(params, x, y):
    loss, grads = fst.value_and_grad(mean_squared_error)(params, x, y)
    return fst.tree.map(lambda p, g: p - 0.1 * g, params, grads), loss


def arguments():
    rng = np.random.default_rng(0)
    params = {"w1": (3, 4), "b1": (4,), "w2": (4, 2)}
    params = {k: rng.standard_normal(s).astype(np.float32) for k, s in params.items()}
    x, y = (rng.standard_normal((5, n)).astype(np.float32) for n in (3, 2))
    return params, x, y


@pytest.mark.parametrize("stage", ["jaxpr", "optimized", "numpy"])
def test_text_of_a_training_step(golden, stage):
    lowered = fst.jit(training_step).lower(*arguments())
    golden(f"training_step.{stage}.txt", lowered.as_text(stage))


def closed_step():
    args = arguments()
    closed = fst.make_jaxpr(training_step)(*args)
    return closed, [fnp.asarray(x) for x in fst.tree.leaves(args)]


def test_passes_keep_values_and_types():
    closed, args = closed_step()
    expected = eval_jaxpr(closed.jaxpr, closed.consts, *args)
    for change in (inline_calls, simplify):
        changed = change(closed)
        changed.check()
        assert changed.out_avals == closed.out_avals
        for got, want in zip(
            eval_jaxpr(changed.jaxpr, changed.consts, *args), expected, strict=True
        ):
            assert_close(got, want)


def test_calls_are_inlined():
    closed, _ = closed_step()
    assert any(e.primitive.name == "jit" for e in closed.eqns)
    flat = inline_calls(closed)
    assert all(e.primitive.name != "jit" for e in flat.eqns)


def test_program_deletes_each_value_after_its_last_use():
    closed, args = closed_step()
    program = Program(closed)
    lines = program.text.splitlines()[1:]
    deleted = {n: i for i, line in enumerate(lines) if "del " in line for n in names(line)}
    returned = names(lines[-1])
    for name in names(program.text) - returned:
        last = max(i for i, line in enumerate(lines) if name in names(line) and "del" not in line)
        assert deleted[name] == last + 1 + lines[last + 1].count("= array("), name
    for got, want in zip(
        program.run(np, [np.asarray(a) for a in args]),
        eval_jaxpr(closed.jaxpr, closed.consts, *args),
        strict=True,
    ):
        assert_close(got, want)


def names(text):
    return set(re.findall(r"\bs\d+\b", text))


def test_program_holds_no_value_longer_than_needed():
    n = 200_000

    def chain(x):
        for _ in range(20):
            x = fnp.sin(x)
        return x

    x = np.ones(n)
    program = Program(fst.make_jaxpr(chain)(x))
    program.run(np, [x])
    tracemalloc.start()
    program.run(np, [x])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * x.nbytes, "two values at a time"


def test_program_does_not_write_into_its_inputs():
    closed, args = closed_step()
    buffers = [np.asarray(a).copy() for a in args]
    Program(closed).run(np, buffers)
    for buffer, x in zip(buffers, args, strict=True):
        np.testing.assert_array_equal(buffer, np.asarray(x))


def test_arithmetic_reuses_the_memory_of_values_that_nobody_needs():
    x = np.linspace(0.1, 0.9, 6, dtype=np.float32)
    program = Program(fst.make_jaxpr(lambda x: fnp.sin(fnp.exp(x) * 2) + x)(x))
    assert program.text.count("out=s") == 3
    before = x.copy()
    assert_close(program.run(np, [x])[0], np.sin(np.exp(x) * 2) + x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x * 2.0,  # an argument
        lambda x: (lambda y: (y, fnp.sin(y)))(fnp.exp(x)),  # a result
        lambda x: (lambda y: (y.reshape(2, 3), fnp.sin(y)))(fnp.exp(x)),  # has a view
        lambda x: fnp.sin(x.astype(np.int32) * 2),  # another dtype
        lambda x: fnp.sin(fnp.exp(x[0])),  # a number
    ],
)
def test_memory_in_use_is_not_written_into(f):
    x = np.linspace(0.1, 0.9, 6, dtype=np.float32)
    program = Program(fst.make_jaxpr(f)(x))
    assert "out=" not in program.text
    for got, want in zip(program.run(np, [x]), fst.tree.leaves(f(fnp.asarray(x))), strict=True):
        np.testing.assert_array_equal(got, want)
