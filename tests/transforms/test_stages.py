"""Lowered, compiled, saved to a file and loaded: in this process and in another one."""

import collections
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors, lax, tree
from fstensor.compiler.llvm import engine
from fstensor.transforms import saved
from fstensor.transforms.stages import load
from tests.tolerances import assert_close

rng = np.random.default_rng(0)


def normal(*shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


@pytest.fixture(autouse=True)
def same_numbers(monkeypatch):
    """Each test draws the same numbers, whichever ran before."""
    monkeypatch.setitem(globals(), "rng", np.random.default_rng(0))


@pytest.fixture(autouse=True)
def plain_compiler(monkeypatch, tmp_path):
    """Nothing compiled before, nor on disk: what is found is found in the file."""
    monkeypatch.delenv("FSTENSOR_VERIFY_IR", raising=False)
    monkeypatch.setenv("FSTENSOR_CACHE_DIR", "0")


@pytest.fixture
def emitted(monkeypatch):
    """A list that grows with every module that LLVM compiles."""
    texts, emit = [], engine._emit

    def watched(text, *rest):
        texts.append(text)
        return emit(text, *rest)

    monkeypatch.setattr(engine, "_emit", watched)
    return texts


def compiled(f, *args, **options):
    return fst.jit(f, **options).lower(*args).compile()


# Programs: a name, and a function that gives the function and its arguments


class Point(NamedTuple):
    x: object
    y: object


@tree.register_dataclass
@dataclasses.dataclass
class Layer:
    weight: object
    bias: object
    activation: str = tree.static(default="tanh")


def training_step():
    def loss(params, x, y):
        for layer in params["layers"]:
            x = fnp.tanh(x @ layer["w"] + layer["b"])
        return fnp.mean((x - y) ** 2)

    def step(params, momentum, x, y):
        value, grads = fst.value_and_grad(loss)(params, x, y)
        momentum = tree.map(lambda m, g: 0.9 * m + g, momentum, grads)
        return tree.map(lambda p, m: p - 0.1 * m, params, momentum), momentum, value

    params = {"layers": [{"w": normal(8, 8), "b": normal(8)} for _ in range(3)]}
    return step, (params, tree.map(np.zeros_like, params), normal(16, 8), normal(16, 8))


def host_steps():
    def f(x):
        values, vectors = fnp.linalg.eigh(x @ x.T)
        return {"values": fnp.exp(-values), "vectors": 2 * vectors}

    return f, (normal(5, 5),)


def constants():
    table, scale = fnp.asarray(normal(7, 3)), fnp.asarray(normal(3), np.float16)
    return lambda i: (table[i] * scale, fnp.asarray(np.arange(5))), (np.array([1, 5, -1]),)


def loops():
    def f(x, n):
        def body(carry, row):
            carry = lax.cond(row.sum() > 0, lambda c: c * fnp.sin(row), lambda c: c - row, carry)
            return carry, carry.max()

        carry, maxima = lax.scan(body, fnp.ones(4), x, unroll=2)
        return lax.fori_loop(0, n, lambda i, c: c * 0.5 + i, carry), maxima

    return f, (normal(6, 4), 5)


def gradient_of_loop():
    def f(x):
        y = lax.while_loop(lambda c: c[0] < 10, lambda c: (c[0] * 1.5, fnp.sin(c[1])), (x, x))
        return y[1] * lax.switch(1, [fnp.cos, fnp.tanh], x)

    return fst.value_and_grad(f), (np.float32(0.7),)


def random_keys():
    def f(key):
        first, second = fst.random.split(key)
        return first, fst.random.normal(second, (3, 4)), fst.random.permutation(first, 10)

    return f, (fst.random.key(3),)


def custom_rules_and_checkpoint():
    @fst.custom_vjp
    def double(x):
        return 2 * x

    double.defvjp(lambda x: (2 * x, None), lambda _, ct: (3 * ct,))

    @fst.custom_jvp
    def third(x):
        return x / 3

    third.defjvp(lambda x, t: (third(x[0]), t[0]))

    def f(x):
        g = fst.checkpoint(lambda y: third(fnp.sin(double(y))).sum())
        return lax.map(lambda row: fst.grad(g)(row) + third(row), x)

    return f, (normal(3, 4),)


def linear_solve():
    def f(a, b):
        return lax.custom_linear_solve(
            lambda v: a @ v, b, lambda _, c: fnp.linalg.solve(a, c), symmetric=False
        )

    return f, (normal(4, 4) + 4 * np.eye(4, dtype=np.float32), normal(4))


def half_dtypes():
    def f(x, y):
        z = fnp.sort(x * 2, axis=0)
        return z.at[fnp.array([0, 2, 0])].add(1), (y @ y.T).astype(fnp.float8_e4m3fn), z > 0

    return f, (fnp.asarray(normal(4, 3), fnp.bfloat16), normal(3, 4, dtype=np.float16))


def odd_parameters():
    def f(x):
        padded = fnp.take(x, fnp.array([0, 99]), axis=0, mode="fill", fill_value=np.nan)
        image = x.reshape(1, 1, 4, 6)
        kernel = fnp.ones((1, 1, 2, 2))
        out = lax.conv_general_dilated(image, kernel, (1, 1), [(1, 0), (0, 2)], lhs_dilation=(2, 1))
        windows = lax.reduce_window(x, -np.inf, lax.max, (2, 2), (1, 1), "VALID")
        return padded, out, windows, fnp.fft.rfft(x), lax.round(x, lax.RoundingMethod(1))

    return f, (normal(4, 6),)


def containers():
    def f(point, *, layers, table):
        out = Layer(layers.weight @ point.x, layers.bias, layers.activation)
        spare = collections.OrderedDict(z=point.y, a=None)
        more = collections.deque([table[3]], maxlen=2)
        return out, spare, more, collections.defaultdict(list, {"k": [point.x]}), {2: 0, 1: ()}

    layer = Layer(normal(3, 3), normal(3), "relu")
    return f, (Point(normal(3), 2.0),), {"layers": layer, "table": {3: normal(2), 1: 1}}


PROGRAMS = [
    training_step,
    host_steps,
    constants,
    loops,
    gradient_of_loop,
    random_keys,
    custom_rules_and_checkpoint,
    linear_solve,
    half_dtypes,
    odd_parameters,
    containers,
]


def made(program):
    global rng
    rng = np.random.default_rng(0)  # the same arguments each time, and in each process
    f, args, *rest = program()
    return f, args, rest[0] if rest else {}


def plain(results):
    return [
        np.asarray(fst.random.key_data(x) if fst.dtypes.is_key(x.dtype) else x)
        for x in map(fnp.asarray, tree.leaves(results))
    ]


def assert_same(got, want):
    assert tree.structure(got) == tree.structure(want)
    for a, b in zip(plain(got), plain(want), strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_round_trip(program, tmp_path, emitted, monkeypatch):
    f, args, kwargs = made(program)
    original = fst.jit(f).lower(*args, **kwargs).compile()
    want = original(*args, **kwargs)
    original.save(tmp_path / "program")
    del emitted[:]
    monkeypatch.setattr(engine, "_known", {})
    again = load(tmp_path / "program")
    assert emitted == []
    assert_same(again(*args, **kwargs), want)
    assert again.jaxpr.out_avals == original.jaxpr.out_avals
    assert again.args_info == original.args_info
    assert again.out_info == original.out_info
    assert repr(again).startswith("<compiled ")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_the_loaded_program_is_the_optimized_one(program, tmp_path):
    f, args, kwargs = made(program)
    original = fst.jit(f).lower(*args, **kwargs).compile()
    original.save(tmp_path / "program")
    again = load(tmp_path / "program")
    text = original.as_text("optimized")
    if "jaxpr" not in text:  # programs inside are simplified, too
        assert again.as_text() == text
    assert again.as_text("optimized") == again.as_text()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_by_numpy(program, tmp_path):
    f, args, kwargs = made(program)
    with fst.config.override(executor="numpy"):
        original = fst.jit(f).lower(*args, **kwargs).compile()
        original.save(tmp_path / "program")
        want = original(*args, **kwargs)
        assert_same(load(tmp_path / "program")(*args, **kwargs), want)
    assert header_of((tmp_path / "program").read_bytes())["objects"] == []


IN_ANOTHER_PROCESS = """
import sys
from fstensor.compiler.llvm import engine
from fstensor.transforms.stages import load
from tests.transforms.test_stages import PROGRAMS, digest, made
emitted, emit = [], engine._emit
def watched(text, *rest):
    if "@segment0" in text:  # what all programs share is compiled in each process
        emitted.append(text)
    return emit(text, *rest)
engine._emit = watched
for program in PROGRAMS:
    again = load(f"{sys.argv[1]}/{program.__name__}")
    assert not emitted, program
    _, args, kwargs = made(program)
    print(digest(again(*args, **kwargs)))
    del emitted[:]
"""


def digest(results):
    return hashlib.sha256(b"".join([x.tobytes() for x in plain(results)])).hexdigest()


def test_another_process(tmp_path):
    digests = []
    for program in PROGRAMS:
        f, args, kwargs = made(program)
        original = fst.jit(f).lower(*args, **kwargs).compile()
        original.save(tmp_path / program.__name__)
        digests.append(digest(original(*args, **kwargs)))
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stderr, done.stdout.split()) == ("", digests)


def test_without_the_function(tmp_path):
    """The process that loads has only the file."""
    compiled(lambda x: {"a": fnp.sin(x) + 1}, normal(3)).save(tmp_path / "f")
    code = (
        "import sys, numpy as np\n"
        "from fstensor.transforms.stages import load\n"
        "print(load(sys.argv[1])(np.zeros(3, np.float32)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "f")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "{'a': Array([1., 1., 1.], dtype=float32, shape=(3,))}\n"


# What a file is


def header_of(content):
    return saved.unpacked(content, "file")[0]


def changed(path, **parts):
    """Write the file with other parts in its header, and a checksum that fits."""
    header, pieces = saved.unpacked(path.read_bytes(), "file")
    path.write_bytes(saved.packed({**header, **parts}, pieces))


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "program"
    c = fnp.asarray(normal(3))
    compiled(lambda x: (fnp.sin(x) * c, x.sum()), normal(3)).save(path)
    return path


def test_the_header_is_plain(small):
    header = header_of(small.read_bytes())
    assert header["written_by"] == fst.__version__
    (program,) = header["programs"]
    assert [e[0] for e in program["equations"]] == ["sin", "mul", "reduce_sum"]
    assert program["equations"][2][1] == {"axes": ["tuple", 0]}
    assert program["inputs"] == [["float32", [3], False]]
    assert json.loads(json.dumps(header)) == header


def test_no_part_of_a_spoilt_file_is_used(small, monkeypatch):
    content = small.read_bytes()
    monkeypatch.setattr(saved, "Reader", None)
    monkeypatch.setattr(engine, "_link", None)
    places = {*range(200), *range(200, len(content), 97), len(content) - 1}
    for k in sorted(places):
        small.write_bytes(content[:k] + bytes([content[k] ^ (1 << k % 8)]) + content[k + 1 :])
        with pytest.raises(errors.LoadError, match=r"damaged|no program that was saved"):
            load(small)
        small.write_bytes(content[:k])
        with pytest.raises(errors.LoadError, match=r"damaged|no program that was saved"):
            load(small)
    small.write_bytes(content + b"more")
    with pytest.raises(errors.LoadError, match="damaged: its checksum must fit"):
        load(small)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04}q\x00.", bytes(1000)])
def test_a_file_of_another_kind(tmp_path, content):
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(errors.LoadError, match="other is no program that was saved"):
        load(tmp_path / "other")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")


def with_equation(path, *equation):
    header = header_of(path.read_bytes())
    (program,) = header["programs"]
    program["equations"][0] = list(equation)
    changed(path, programs=[program])


RESULT = [["float32", [3], False]]


@pytest.mark.parametrize(
    ("equation", "message"),
    [
        (["sine", {}, [1], RESULT, None], "no primitive 'sine'"),
        (["sin", {"accuracy": 1}, [1], RESULT, None], "TypeError"),
        (["sin", {}, [1], [["float64", [3], False]], None], "JaxprTypeError"),
        (["sin", {}, [99], RESULT, None], "IndexError"),
        (["sin", {}, [1], [["float33", [3], False]], None], "DtypeError"),
        (["sin", {}, [[["float32", [3], False], "00"]], RESULT, None], "1 bytes are no float32"),
        (["integer_pow", {"y": ["lambda", 1]}, [1], RESULT, None], "no value has the tag"),
        (
            ["integer_pow", {"y": ["record", "os", "system", "x"]}, [1], RESULT, None],
            "must be of classes of fstensor, got os.system",
        ),
        (
            ["integer_pow", {"y": ["enum", "fstensor.array", "Array", "x"]}, [1], RESULT, None],
            "must be a Enum",
        ),
        (
            ["integer_pow", {"y": ["record", "fstensor.array", "Array"]}, [1], RESULT, None],
            "Array is no record",
        ),
    ],
)
def test_a_program_that_this_version_cannot_read(small, equation, message):
    with_equation(small, *equation)
    with pytest.raises(errors.LoadError, match=message):
        load(small)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (["custom", "subprocess", "Popen", ["tuple", "touch"], "*"], "must be a class whose"),
        (["namedtuple", "collections", "Counter", "*"], "must be a class whose"),
        (["namedtuple", "antigravity", "Flight", "*"], "which is not loaded; import it first"),
        (["namedtuple", "os", "system", "*"], "class system of the module os"),
        (["list", "*", "*"], "other arguments than its program"),
        (["queue", "*"], "cannot be read"),
    ],
)
def test_a_tree_that_cannot_be_made(small, written, message):
    changed(small, in_tree=written)
    before = set(sys.modules)
    with pytest.raises(errors.LoadError, match=message):
        load(small)
    assert set(sys.modules) == before


# Another processor


def test_another_processor(small, monkeypatch, emitted):
    monkeypatch.setattr(engine, "fingerprint", lambda: "another processor")
    x = normal(3)
    assert_close(load(small)(x)[1], x.sum())
    assert len(emitted) == 1


def test_machine_code_can_be_left_out(small, monkeypatch, emitted):
    monkeypatch.setattr(engine, "_known", {})
    x = normal(3)
    assert_close(load(small, machine_code=False)(x)[1], x.sum())
    assert len(emitted) == 1
    load(small)
    assert len(emitted) == 1


# Calls


def test_donation(tmp_path):
    def f(x, y, *, z):
        return x + y + z["a"]

    jitted = fst.jit(f, donate_argnums=0, donate_argnames="z")
    original = jitted.lower(normal(3), normal(3), z={"a": normal(3)}).compile()
    original.save(tmp_path / "f")
    for g in (original, load(tmp_path / "f")):
        x, y, z = (fnp.asarray(normal(3)) for _ in range(3))
        g(x, y, z={"a": z})
        assert [x.is_deleted(), y.is_deleted(), z.is_deleted()] == [True, False, True]
        with pytest.raises(errors.DeletedArrayError, match="was donated to a call of f at"):
            g(x, y, z={"a": y})
        donated = [a.donated for a in tree.leaves(g.args_info)]
        assert donated == [True, False, True]


def test_static_arguments_are_left_out(tmp_path):
    original = compiled(lambda x, n: x * n, normal(3), 3, static_argnums=1)
    original.save(tmp_path / "f")
    x = normal(3)
    for f in (original, load(tmp_path / "f")):
        assert_close(f(x), 3 * x)
        with pytest.raises(errors.ArgumentError, match="static arguments are fixed: n=3"):
            f(x, 3)


def error_of(f, *args, **kwargs):
    with pytest.raises(errors.FstensorError) as caught:
        f(*args, **kwargs)
    return type(caught.value), caught.value.args[0]


def test_wrong_arguments(tmp_path):
    f, args, kwargs = made(containers)
    original = fst.jit(f).lower(*args, **kwargs).compile()
    original.save(tmp_path / "f")
    again = load(tmp_path / "f")
    point = args[0]
    wrong = [
        ((), kwargs, errors.ArgumentError, "expected tuple of length 1 at [0], got tuple of le"),
        ((tuple(point),), kwargs, errors.ArgumentError, "expected Point of length 2 at [0][0]"),
        ((point._replace(x=normal(4)),), kwargs, errors.ArgumentError, "got float32[4], not "),
        ((point._replace(x=np.ones(3)),), kwargs, errors.ArgumentError, "for args[0].x"),
        ((point._replace(x="x"),), kwargs, errors.ArgumentError, "must be an array or a scalar"),
        (args, {**kwargs, "table": {3: 1.0, 1: 1}}, errors.ArgumentError, "kwargs['table'][3]"),
    ]
    for args_, kwargs_, kind, message in wrong:
        got = error_of(original, *args_, **kwargs_)
        assert got[0] is kind
        assert message in got[1]
        assert error_of(again, *args_, **kwargs_) == got


def test_within_a_transform():
    f = compiled(fnp.sin, np.float32(1))
    message = "takes arrays, got a traced float32.*call the jitted function itself"
    for transformed in (fst.grad(f), fst.jit(f), fst.vmap(f)):
        with pytest.raises(errors.UnexpectedTracerError, match=message):
            transformed(np.ones(2, np.float32) if "vmap" in str(transformed) else np.float32(1))


def test_arrays_within_a_transform():
    """The call is recorded: what it was given is needed later, though it was donated."""
    f = fst.jit(lambda x: x + 1, donate_argnums=0).lower(np.float32(0)).compile()
    x = fnp.ones(())
    g = fst.jit(lambda y: y * f(x))
    assert float(g(2.0)) == float(g(2.0)) == 4.0
    assert not x.is_deleted()


def test_results_do_not_share_memory_with_arguments():
    x = normal(3)
    y = compiled(lambda x: x, x)(x)
    x[:] = 0
    assert np.all(np.asarray(y))


def test_a_compiled_program_reads_an_index_outside_at_the_users_line(tmp_path):
    with fst.config.override(check_indices=True):
        original = compiled(lambda x, i: x[i], normal(3), 1)
        original.save(tmp_path / "f")
        again = load(tmp_path / "f")
        got = error_of(original, normal(3), 5)
        assert got[0] is errors.OutOfBoundsError
        assert error_of(again, normal(3), 5) == got


def test_values_of_an_enclosing_transform():
    def f(x):
        fst.jit(lambda y: x * y).lower(1.0).compile()

    with pytest.raises(errors.ConcretizationTypeError, match="1 traced values of an enclosing"):
        fst.jit(f)(1.0)


# What cannot be saved


def test_callbacks(tmp_path):
    def f(x):
        return fst.pure_callback(np.sin, fst.ShapeDtypeStruct((3,), np.float32), x)

    message = r"pure_callback must be plain.* in the operation at .*test_stages\.py:\d+"
    with pytest.raises(errors.SaveError, match=message):
        compiled(f, normal(3)).save(tmp_path / "f")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (tree.Partial(np.add, np.float32(1)), "got the function add in a Partial"),
        (collections.defaultdict(lambda: 0, a=np.float32(1)), "must be a builtin, got <lambda>"),
        ({collections.UserString("x"): np.float32(1)}, "got a UserString in a dict"),
    ],
)
def test_trees_that_cannot_be_saved(tmp_path, argument, message):
    with pytest.raises(errors.SaveError, match=message):
        compiled(lambda a: tree.leaves(a)[0] + 1, argument).save(tmp_path / "f")


def test_a_failure_leaves_the_old_file(small, monkeypatch):
    before = small.read_bytes()

    def full(*args):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        compiled(fnp.sin, normal(3)).save(small)
    assert os.listdir(small.parent) == [small.name]
    assert small.read_bytes() == before
