"""Whole programs for each kind of processor: compiled for all, run as those that this one can be.

What is run is compared with what the host's own code gives, to rounding.
"""

import os
import struct
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import lax, random
from fstensor.compiler import pipeline
from fstensor.compiler.llvm import engine, library
from fstensor.compiler.llvm.gemm_loops import LOOPS
from fstensor.compiler.llvm.half import PROVIDED
from fstensor.compiler.llvm.target import TARGETS, chosen_target
from fstensor.transforms.programs import program_of

# Programs: a function and its arguments


def normal(seed, *shape, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def trained(loss, params, *data):
    """A step of Adam."""

    def step(params, mean, square, count, *data):
        value, grads = fst.value_and_grad(loss)(params, *data)
        count = count + 1
        mean = fst.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, grads)
        square = fst.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, square, grads)

        def update(p, m, s):
            m, s = m / (1 - 0.9**count), s / (1 - 0.999**count)
            return p - 0.01 * m / (fnp.sqrt(s) + 1e-4)

        return fst.tree.map(update, params, mean, square), mean, square, count, value

    zeros = fst.tree.map(np.zeros_like, params)
    return step, (params, zeros, zeros, np.float32(0), *data)


def cross_entropy(logits, labels):
    shifted = logits - lax.stop_gradient(logits.max(-1, keepdims=True))
    right = shifted[fnp.arange(len(labels)), labels]
    return (fnp.log(fnp.exp(shifted).sum(-1)) - right).mean()


LABELS = np.arange(19) % 10


def residual_mlp():
    def loss(p, x, labels):
        z1 = fnp.maximum(x @ p["w1"] + p["b1"], 0)
        z2 = fnp.maximum(z1 @ p["w2"] + p["b2"], 0)
        return cross_entropy((z1 + z2) @ p["w3"], labels)

    shapes = {"w1": (50, 37), "b1": (37,), "w2": (37, 37), "b2": (37,), "w3": (37, 10)}
    params = {name: 0.2 * normal(1, *shape) for name, shape in shapes.items()}
    return trained(loss, params, normal(2, 19, 50), LABELS)


def conv_net():
    def loss(p, x, labels):
        for w, b in (("w1", "b1"), ("w2", "b2")):
            x = lax.conv_general_dilated(
                x, p[w], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = fnp.maximum(x + p[b], 0)
            x = lax.reduce_window(x, -np.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        return cross_entropy(x.reshape(len(x), -1) @ p["w3"], labels)

    shapes = {"w1": (3, 3, 1, 7), "b1": (7,), "w2": (3, 3, 7, 12), "b2": (12,), "w3": (108, 10)}
    params = {name: 0.2 * normal(3, *shape) for name, shape in shapes.items()}
    return trained(loss, params, normal(4, 19, 12, 12, 1), LABELS)


def attention():
    def loss(p, tokens, labels, key):
        x = p["embedding"][tokens]
        query, key_, value = (
            (x @ p[name]).reshape(*x.shape[:2], 2, 12) for name in ("query", "key", "value")
        )
        scores = fnp.einsum("nqhc,nkhc->nhqk", query, key_) / 12**0.5
        weights = fnp.exp(scores - scores.max(-1, keepdims=True))
        weights = weights / weights.sum(-1, keepdims=True)
        mixed = fnp.einsum("nhqk,nkhc->nqhc", weights, value).reshape(x.shape)
        x = x + fnp.where(random.bernoulli(key, 0.9, x.shape), mixed / 0.9, 0)
        x = x - x.mean(-1, keepdims=True)
        x = x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5)
        return cross_entropy(x.mean(1) @ p["out"], labels)

    params = {name: 0.3 * normal(5, 24, 24) for name in ("query", "key", "value")}
    params |= {"embedding": normal(6, 31, 24), "out": normal(7, 24, 10)}
    tokens = np.random.default_rng(8).integers(0, 31, (19, 9))
    return trained(loss, params, tokens, LABELS, random.key(9))


def random_bits():
    def f(key):
        keys = random.split(key, 3)
        drawn = random.normal(keys[0], (77,)), random.uniform(keys[1], (5, 13), np.float64)
        return *drawn, random.randint(keys[2], (33,), 0, 1000), random.permutation(keys[0], 50)

    return f, (random.key(1),)


def sort_on_the_host():
    def f(x):
        values, vectors = fnp.linalg.eigh(x @ x.T)
        return fnp.tanh(fnp.sort(x, axis=0)) * 2, fnp.abs(vectors) + values, fnp.argsort(x[0] + 1)

    return f, (normal(10, 9, 21),)


def scatter():
    def f(x, i, y):
        return x.at[i].add(y), x.at[i, 3].set(0), x.at[i].max(y), x[i] * 2

    i = np.random.default_rng(11).integers(0, 15, 40)
    return f, (normal(12, 15, 18), i, normal(13, 40, 18))


def half_dtypes():
    def f(x, y, z):
        products = (x @ x.T).astype(np.float32), (y @ y.T).astype(np.float32)
        sums = [fnp.asarray(fnp.exp(a).sum(0) / 3 + a.max(), np.float32) for a in (x, y)]
        return products, sums, x.astype(y.dtype), y.astype(x.dtype), z.astype(np.float16)

    x = normal(14, 21, 35, dtype=np.float16)
    z = np.array([0, 1e-8, 3e-8, 6e-5, 65504, 65519, 65520, np.inf, np.nan, -5.96e-8], np.float32)
    return f, (x, fnp.asarray(normal(15, 21, 35), fnp.bfloat16), np.tile(z, 5))


def patterns():
    """float32s at and beside all bfloat16s and float16s, and half way between them; no NaNs."""
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    near = [upper + k for k in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF)]
    with np.errstate(invalid="ignore"):
        halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    near += [halves.view(np.uint32) + np.uint32(k) for k in (0, 1, 0xFFF, 0x1000, 0x1001)]
    x = np.concatenate(near).view(np.float32)
    return x[~np.isnan(x)]


def conversions():
    def bits(x, dtype):
        return lax.bitcast_convert_type(x.astype(dtype), np.uint16)

    def f(x, y):
        wide = lax.bitcast_convert_type(y, np.float16).astype(np.float32)
        return bits(x, fnp.bfloat16), bits(x, np.float16), fnp.where(wide == wide, wide, 0)

    return f, (patterns(), np.arange(1 << 16, dtype=np.uint16))


def arithmetic():
    def f(x, n):
        small = fnp.floor(x), fnp.ceil(x), fnp.trunc(x), fnp.round(x), fnp.fmod(x, 0.7)
        rest = [g(x) for g in (fnp.sin, fnp.tan, fnp.expm1, lax.erf, lax.lgamma, fnp.arctan)]
        whole = n // 7, n % -5, n << 3, n >> 2, lax.population_count(n), lax.clz(n), n * n
        powers = fnp.abs(x) ** 2.5, fnp.log1p(fnp.abs(x)), fnp.hypot(x, 3), fnp.arctan2(x, -x + 1)
        return small, rest, whole, powers, x.astype(np.int64), n.astype(np.float64).cumsum()

    return f, (4 * normal(16, 203), np.random.default_rng(17).integers(-99999, 99999, 203))


def loops():
    def f(x):
        def body(carry, row):
            return lax.cond(row[0] > 0, fnp.sin, fnp.cos, carry) + row, carry.sum()

        return lax.scan(body, fnp.ones(11), x), lax.fori_loop(0, 7, lambda i, c: c * 0.5 + i, x)

    return f, (normal(18, 23, 11),)


PROGRAMS = {
    f.__name__: f
    for f in (
        residual_mlp,
        conv_net,
        attention,
        random_bits,
        sort_on_the_host,
        scatter,
        half_dtypes,
        conversions,
        arithmetic,
        loops,
    )
}


# Compiled for all

TRIPLES = {"avx512": "x86_64", "avx2": "x86_64", "sse2": "x86_64", "neon": "aarch64"}
MACHINES = {"x86_64": 62, "aarch64": 183}  # EM_X86_64, EM_AARCH64 of the ELF format
# Of the C library's mathematics, which every process has.
LIBRARY = {"floor", "ceil", "trunc", "nearbyint", "fmod"}
OWN = {"fst_barrier", "fst_part", "memcpy", "memset", "memmove", *LOOPS}


def elf(code):
    """The machine that an ELF object is for, and the functions that it takes from elsewhere."""
    assert code[:6] == b"\x7fELF\x02\x01"
    (machine,) = struct.unpack_from("<H", code, 18)
    (start,) = struct.unpack_from("<Q", code, 40)
    size, count = struct.unpack_from("<HH", code, 58)
    heads = [struct.unpack_from("<IIQQQQIIQQ", code, start + size * k) for k in range(count)]
    undefined = set()
    for head in heads:
        if head[1] == 2:  # the table of symbols
            texts = heads[head[6]][4]
            for place in range(head[4] + 24, head[4] + head[5], 24):
                name, _, _, section = struct.unpack_from("<IBBH", code, place)
                if section == 0:
                    end = code.index(b"\0", texts + name)
                    undefined.add(code[texts + name : end].decode())
    return machine, undefined


def text_for(name, target):
    """The LLVM IR of a program for a kind of processor."""
    f, args = PROGRAMS[name]()
    program = program_of(fst.jit(f).lower(*args).jaxpr).source
    with mock.patch.object(pipeline, "host_target", return_value=TARGETS[target][0]):
        return pipeline.Pipeline(program).code.llvm


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_object_code(name, target):
    triple = f"{TRIPLES[target]}-unknown-linux-gnu"
    code = engine.object_code(text_for(name, target), triple, TARGETS[target][1])
    machine, needed = elf(code)
    assert machine == MACHINES[TRIPLES[target]]
    needed -= OWN
    if target == "sse2":  # older processors lack some instructions
        needed -= {*PROVIDED, *LIBRARY, *(f"{n}f" for n in LIBRARY)}
    if name == "arithmetic":
        needed -= {"fmod", "fmodf"}
    assert needed == set()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", LOOPS)
def test_object_code_of_the_library(name, target):
    triple = f"{TRIPLES[target]}-unknown-linux-gnu"
    code = engine.object_code(library.source(name), triple, TARGETS[target][1])
    assert elf(code) == (MACHINES[TRIPLES[target]], set())


@pytest.mark.parametrize(
    ("triple", "cpu", "head"),
    [
        ("arm64-apple-macosx14.0", "apple-m1", b"\xcf\xfa\xed\xfe\x0c\x00\x00\x01"),
        ("x86_64-pc-windows-msvc", "x86-64-v3", b"\x64\x86"),
    ],
)
def test_object_code_of_other_systems(triple, cpu, head):
    target = "neon" if triple.startswith("arm") else "avx2"
    assert engine.object_code(text_for("residual_mlp", target), triple, cpu).startswith(head)


# Run as others

RUN = """
import sys, numpy as np
from tests.compiler.test_targets import PROGRAMS, results
for name in PROGRAMS:
    np.savez(f"{sys.argv[1]}/{name}.npz", *results(name))
"""


def results(name):
    f, args = PROGRAMS[name]()
    leaves = [fnp.asarray(x) for x in fst.tree.leaves(fst.jit(f)(*args))]
    return [np.asarray(x.astype(np.float32) if x.dtype == fnp.bfloat16 else x) for x in leaves]


def run_as(target, code, *arguments):
    environment = {**os.environ, "FSTENSOR_TARGET": target}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def runnable():
    """The kinds that this processor can be taken for; without its own."""
    features = engine.llvm.get_host_cpu_features()
    if engine.llvm.get_process_triple().startswith("x86_64"):
        yield "sse2"
        if features.get("avx2") and features.get("fma"):
            yield "avx2"
        if features.get("avx512f") and features.get("avx512vl"):
            yield "avx512"


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """The results of all programs, by kind of processor."""
    found = {}
    for target in runnable():
        folder = tmp_path_factory.mktemp(target)
        done = run_as(target, RUN, str(folder))
        assert (done.returncode, done.stderr) == (0, "")
        for name in PROGRAMS:
            with np.load(folder / f"{name}.npz") as arrays:
                found[target, name] = list(arrays.values())
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_results(others, name):
    want = results(name)
    for target in runnable():
        got = others[target, name]
        assert len(got) == len(want)
        for a, b in zip(got, want, strict=True):
            assert a.dtype == b.dtype
            if a.dtype.kind != "f" or name == "conversions":
                assert np.array_equal(a, b), target
                continue
            eps = np.finfo(np.float16 if name == "half_dtypes" else a.dtype).eps
            scale = np.nanmax(np.abs(b), initial=0, where=np.isfinite(b))
            np.testing.assert_allclose(a, b, rtol=100 * eps, atol=100 * eps * scale)


def test_conversions_are_those_of_numpy():
    x = patterns()
    with np.errstate(over="ignore"):
        want = [x.astype(dtype).view(np.uint16) for dtype in (fnp.bfloat16, np.float16)]
    for a, b in zip(results("conversions"), want, strict=False):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("sign", [0, 0x8000])
def test_nan_as_a_bfloat16_is_numpys(sign):
    x = (np.array([0x7F800001, 0x7FFFFFFF, 0x7FC00000], np.uint32) | sign << 16).view(np.float32)
    got = np.asarray(fst.jit(lambda x: x.astype(fnp.bfloat16))(x)).view(np.uint16)
    assert np.array_equal(got, [sign | 0x7FC0] * 3)


def test_the_code_is_for_the_chosen_kind():
    code = (
        "import fstensor as fst\n"
        "text = fst.jit(fst.numpy.sin).lower(fst.numpy.ones(1000))\n"
        "print(text.as_text('llvm'), text.as_text('asm'))"
    )
    registers = {
        "sse2": ("<4 x float>", "xmm"),
        "avx2": ("<8 x", "ymm"),
        "avx512": ("<16 x", "zmm"),
    }
    for target in runnable():
        text = run_as(target, code).stdout
        for other, (vector, register) in registers.items():
            expected = other == target
            assert (vector in text) is expected
            if list(registers).index(other) >= list(registers).index(target):
                assert (register in text) is expected


@pytest.mark.parametrize("target", ["neon", "sse2"])
def test_a_kind_that_this_processor_is_not(target):
    if target in (*runnable(), None):
        target = "abacus"
    done = run_as(target, "import fstensor as fst\nfst.jit(fst.numpy.sin)(1.0)")
    assert "OptionError: FSTENSOR_TARGET: must be" in done.stderr
    assert f"on this machine, got {target!r}" in done.stderr


def test_nothing_is_chosen_for_the_tests():
    assert chosen_target() is None
