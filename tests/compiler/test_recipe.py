"""Programs whose code is found on disk: they are called as those that were just compiled."""

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import jit, lax, make_jaxpr, random, value_and_grad
from fstensor.compiler import pipeline
from fstensor.compiler.fingerprint import NoFingerprintError, fingerprint
from fstensor.compiler.native import Native
from fstensor.compiler.simplify import simplify
from tests.compiler.test_indexing import numbers


@pytest.fixture(autouse=True)
def _entries_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("FSTENSOR_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("FSTENSOR_VERIFY_IR", raising=False)


def never(*args):
    raise AssertionError("this is to be found, not made")


def train(params, x, y):
    def loss(params):
        h = fnp.tanh(x @ params["w"] + params["b"])
        return fnp.mean((h - y) ** 2)

    value, grads = value_and_grad(loss)(params)
    return fst.tree.map(lambda p, g: p - 0.1 * g, params, grads), value


def between_host_calls(x):
    s = fnp.sort(fnp.sin(x))
    return fnp.sort(s[::-1] * 2)[1:], fnp.argsort(s) + 1


def rnn(w, h, xs):
    return lax.scan(lambda h, x: (fnp.tanh(h @ w + x),) * 2, h, xs)


PARAMS = {"w": numbers((5, 3)), "b": numbers((3,))}
PROGRAMS = {
    "train": (train, PARAMS, numbers((7, 5)), numbers((7, 3))),
    "host": (between_host_calls, numbers((9,))),
    "scan": (rnn, numbers((4, 4)), numbers((2, 4)), numbers((5, 2, 4))),
    "cond": (lambda p, x: lax.cond(p, fnp.sin, lambda x: 2 * x, x), np.True_, numbers((5,))),
    "random": (lambda k: random.normal(random.wrap_key_data(k), (6,)), np.array([1, 2], np.uint32)),
    "as it came": (lambda x: (x, 1.5, x + 1, x), numbers((3,))),
    "barrier": (lambda x: lax.optimization_barrier((x, x + 1)), numbers((3,))),
}


def values(tree):
    return [np.asarray(leaf) for leaf in fst.tree.leaves(tree)]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_later_process_runs_the_same(name, monkeypatch):
    f, *args = PROGRAMS[name]
    expected = values(jit(lambda *a: f(*a))(*args))
    monkeypatch.setattr(pipeline, "Pipeline", never)
    found = values(jit(lambda *a: f(*a))(*args))
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_stages_can_still_be_seen():
    f, *args = PROGRAMS["train"]
    texts = []
    for _ in range(2):
        lowered = jit(lambda *a: f(*a)).lower(*args)
        lowered.compile()
        texts.append((lowered.as_text("plan"), lowered.report(), lowered.cost_analysis()))
    assert texts[0] == texts[1]


def test_constants_are_not_part_of_it(monkeypatch):
    a, b, x = numbers((4,), seed=1), numbers((4,), seed=2), numbers((4,))
    np.testing.assert_allclose(jit(lambda x: x * fnp.asarray(a))(x), x * a, 1e-6)
    monkeypatch.setattr(pipeline, "Pipeline", never)
    np.testing.assert_allclose(jit(lambda x: x * fnp.asarray(b))(x), x * b, 1e-6)


def test_a_loop_around_constants_is_compiled():
    x = numbers((4,))
    for seed in (1, 2):
        c = numbers((4,), seed=seed)
        f = lambda x, c=c: lax.fori_loop(0, 3, lambda i, s: s * fnp.asarray(c), x)
        np.testing.assert_allclose(jit(f)(x), x * c**3, 1e-5)


def test_a_damaged_entry_is_made_anew(tmp_path):
    f, *args = PROGRAMS["train"]
    expected = values(jit(lambda *a: f(*a))(*args))
    (entry,) = tmp_path.glob("*.object")
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 1
    entry.write_bytes(content)
    for got, wanted in zip(values(jit(lambda *a: f(*a))(*args)), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert entry.read_bytes() != bytes(content)


def program(f, *args):
    return simplify(make_jaxpr(f)(*args))


def test_fingerprints_tell_programs_apart():
    x, y = numbers((4, 4)), numbers((4, 4), "f8")
    programs = [
        program(f, *args)
        for f, *args in [
            (lambda x: x + 1.5, x),
            (lambda x: x + 1.5000001, x),
            (lambda x: x + 1.5, y),
            (lambda x: x + 1.5, x[:2]),
            (lambda x: x - 1.5, x),
            (lambda x: 1.5 - x, x),
            (lambda x: x + -0.0, x),
            (lambda x: fnp.sum(x, 0), x),
            (lambda x: fnp.sum(x, 1), x),
            (lambda x: fnp.max(x, 1), x),
            (lambda a, b: (a @ b, b), x, x),
            (lambda a, b: (b @ a, b), x, x),
            (lambda a, b: (a @ b, a), x, x),
            (lambda x: lax.fori_loop(0, 3, lambda i, s: s + 1, x), x),
            (lambda x: lax.fori_loop(0, 3, lambda i, s: s + 2, x), x),
            (lambda x: lax.fori_loop(0, 4, lambda i, s: s + 1, x), x),
        ]
    ]
    assert len({fingerprint(p) for p in programs}) == len(programs)


def test_equal_programs_have_equal_fingerprints():
    f, *args = PROGRAMS["train"]
    assert fingerprint(program(f, *args)) == fingerprint(program(lambda *a: f(*a), *args))


def test_functions_have_no_fingerprint():
    f = lambda x: fst.pure_callback(np.sin, fst.ShapeDtypeStruct(x.shape, x.dtype), x)
    with pytest.raises(NoFingerprintError):
        fingerprint(program(f, numbers((3,))))
    np.testing.assert_allclose(jit(f)(numbers((3,))), np.sin(numbers((3,))), 1e-6)


def test_nothing_is_found_when_all_is_to_be_verified(monkeypatch):
    closed = program(lambda x: x * 3 + 1, numbers((4,)))
    assert Native(closed).result
    monkeypatch.setenv("FSTENSOR_VERIFY_IR", "1")
    monkeypatch.setattr(pipeline, "Pipeline", never)
    with pytest.raises(AssertionError, match="not made"):
        Native(closed).result  # noqa: B018  # which is made now
