"""Matrix products in LLVM IR, against NumPy in float64.

Operands end where unreadable memory begins, as far as the system can arrange that, so that reading
beyond them crashes; what lies between their elements is NaN, and so is the workspace.
"""

import ctypes
import re
import threading

import ml_dtypes
import numpy as np
import pytest

from fstensor import config, jit, lax
from fstensor import numpy as fnp
from fstensor.compiler.llvm.engine import compile_module
from fstensor.compiler.llvm.gemm import MatrixProduct, make_plan, workspace_bytes, write_product
from fstensor.compiler.llvm.packing import offset
from fstensor.compiler.llvm.target import AVX2, AVX512, NEON, SSE2, host_target
from fstensor.compiler.llvm.text import Function, Module
from fstensor.compiler.llvm.vector import suffix, type_of
from tests.compiler.guarded import guarded
from tests.tolerances import assert_close

SIZES = (1, 2, 3, 5, 7, 13, 17, 31, 33, 44, 65, 100)
# Narrower vectors than the machine's are tried on it, too; wider ones LLVM takes apart.
TARGETS = {"avx512": AVX512, "avx2": AVX2, "sse2": SSE2, "neon": NEON}
FLOATS = [np.dtype(np.float32), np.dtype(np.float64)]
POINTER = ctypes.c_void_p
KERNEL = ctypes.CFUNCTYPE(None, *[POINTER] * 5, ctypes.c_int64, ctypes.c_int64)


def placed(values, strides):
    """The values in guarded memory with the strides (in elements), with NaN between them."""
    for axis, stride in enumerate(strides):
        if stride == 0:
            assert (values == values.take([0], axis)).all()
    last = sum((n - 1) * s for n, s in zip(values.shape, strides, strict=True))
    memory = guarded((last + 1) * values.itemsize).view(values.dtype)
    memory[:] = np.nan
    np.lib.stride_tricks.as_strided(
        memory, values.shape, [s * values.itemsize for s in strides], writeable=True
    )[...] = values
    return memory


def masked_store(fn, acc, pointer, dtype, lanes, mask):
    kind = type_of(dtype, lanes)
    if mask is None:
        fn.do(f"store {kind} {acc}, ptr {pointer}, align {dtype.itemsize}")
        return
    name, bits = f"llvm.masked.store.{suffix(dtype, lanes)}.p0", f"<{lanes} x i1>"
    fn.module.declare(f"declare void @{name}({kind}, ptr, {bits})")
    where = f"ptr align {dtype.itemsize} {pointer}"
    fn.do(f"call void @{name}({kind} {acc}, {where}, {bits} {mask})")


def adding(spec):
    """An epilogue that adds to contiguous results, so that being reached twice is seen."""

    def epilogue(fn, acc, batch, i, j, lanes, mask):
        dtype, pointer, size = spec.dtype, "%p0", spec.m * spec.n
        for axis in reversed(range(len(batch))):
            pointer = offset(fn, pointer, dtype, batch[axis], size)
            size *= spec.batch[axis]
        pointer = offset(fn, pointer, dtype, i, spec.n)
        pointer = offset(fn, pointer, dtype, j)
        kind = type_of(dtype, lanes)
        before = load(fn, pointer, dtype, lanes, mask)
        total = fn.value(f"fadd {kind} {acc}, {before}")
        masked_store(fn, total, pointer, dtype, lanes, mask)

    return epilogue


def load(fn, pointer, dtype, lanes, mask):
    kind = type_of(dtype, lanes)
    if mask is None:
        return fn.value(f"load {kind}, ptr {pointer}, align {dtype.itemsize}")
    name, bits = f"llvm.masked.load.{suffix(dtype, lanes)}.p0", f"<{lanes} x i1>"
    fn.module.declare(f"declare {kind} @{name}(ptr, {bits}, {kind})")
    rest = f"{bits} {mask}, {kind} zeroinitializer"
    return fn.value(f"call {kind} @{name}(ptr align {dtype.itemsize} {pointer}, {rest})")


def relu_of_sum(spec):
    """max(C + bias, 0) by columns, where %p1 is the bias."""
    plain = adding(spec)

    def epilogue(fn, acc, batch, i, j, lanes, mask):
        kind = type_of(spec.dtype, lanes)
        bias = load(fn, offset(fn, "%p1", spec.dtype, j), spec.dtype, lanes, mask)
        acc = fn.value(f"fadd {kind} {acc}, {bias}")
        zero = "zeroinitializer" if lanes > 1 else "0.0"
        positive = fn.value(f"fcmp ogt {kind} {acc}, {zero}")
        bits = "i1" if lanes == 1 else f"<{lanes} x i1>"
        acc = fn.value(f"select {bits} {positive}, {kind} {acc}, {kind} {zero}")
        plain(fn, acc, batch, i, j, lanes, mask)

    return epilogue


def built(spec, target, epilogue=None):
    module = Module()
    write_product(module, "product", spec, target, ["ptr %p0", "ptr %p1"], epilogue or adding(spec))
    parameters = ["ptr %a", "ptr %b", "ptr %p0", "ptr %p1", "ptr %w", "i64 %t", "i64 %n"]
    fn = Function(module, "run", parameters, linkage="")
    fn.do(f"call void @product({', '.join(parameters)})")
    fn.finish()
    return compile_module(str(module), verify=True)


def computed(spec, target, a, b, threads=1, epilogue=None, bias=None, together=False):
    """Call the function for each thread, one after the other or at once, and give C."""
    compiled = built(spec, target, epilogue)
    run = KERNEL(compiled.address("run"))
    c = np.zeros((*spec.batch, spec.m, spec.n), spec.dtype)
    size = workspace_bytes(spec, target, threads)
    assert size % 64 == 0
    memory = guarded(size + (-size) % 64)
    assert memory.ctypes.data % 64 == 0
    memory[:] = 255  # NaNs
    used_bias = 0 if bias is None else bias.ctypes.data
    pointers = a.ctypes.data, b.ctypes.data, c.ctypes.data, used_bias, memory.ctypes.data
    workers = [
        threading.Thread(target=run, args=(*pointers, thread, threads)) for thread in range(threads)
    ]
    for worker in workers:
        worker.start()
        if not together:
            worker.join()
    for worker in workers:
        worker.join()
    return c


def strides_of(layout, rows, columns, batch):
    """Strides of batch axes, rows and columns. R, C: contiguous rows, columns. S: neither."""
    row, column = {"R": (columns, 1), "C": (1, rows), "S": (2 * columns + 3, 2)}[layout]
    size = (rows - 1) * row + (columns - 1) * column + 5
    result = []
    for n in reversed(batch):
        result.insert(0, size)
        size *= n
    return (*result, row, column)


def case(dtype, m, n, k, layouts="RR", batch=(), memory=(None, None), repeated=()):
    """A product of random operands in memory, and what should come of it.

    repeated: which operands (0, 1) are the same for all entries of the first batch axis.
    """
    dtype = np.dtype(dtype)
    rng = np.random.default_rng([m, n, k])
    operands, strides = [], []
    for which, (rows, columns) in enumerate([(m, k), (k, n)]):
        stride = strides_of(layouts[which], rows, columns, batch)
        values = rng.standard_normal((*batch, rows, columns)).astype(memory[which] or dtype)
        if which in repeated:
            values[:] = values[0]
            stride = (0, *stride[1:])
        operands.append(values)
        strides.append(stride)
    (*a_batch, a_row, a_k), (*b_batch, b_k, b_column) = strides
    spec = MatrixProduct(
        dtype, batch, m, n, k, tuple(a_batch), a_row, a_k, tuple(b_batch), b_k, b_column, *memory
    )
    a, b = (x.astype(np.float64) for x in operands)
    in_memory = [placed(x, s) for x, s in zip(operands, strides, strict=True)]
    return spec, *in_memory, a @ b, np.abs(a) @ np.abs(b)


def assert_product(got, want, scale, k):
    """Each result is off by at most k roundings of the sum of the absolute products."""
    epsilon = np.finfo(got.dtype).eps
    np.testing.assert_array_less(abs(got - want), (k + 1) * epsilon * scale + 1e-300)


def check(spec_and_values, target, **options):
    spec, a, b, want, scale = spec_and_values
    got = computed(spec, target, a, b, **options)
    assert_product(got, want, scale, spec.k)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("place", range(len(SIZES)))
@pytest.mark.parametrize("layouts", ["RR", "RC", "CR", "CC", "SS"])
def test_layouts_and_odd_sizes(layouts, place, dtype):
    m, n, k = (SIZES[(place * step + step) % len(SIZES)] for step in (1, 5, 7))
    check(case(dtype, m, n, k, layouts), host_target())


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("m", "n", "k", "batch"),
    [
        (100, 333, 44, ()),
        (13, 512, 33, ()),
        (65, 170, 2100, ()),
        (300, 700, 5, (2,)),
        (50, 130, 0, ()),
    ],
)
def test_epilogues_along_lines(m, n, k, batch, threads, target):
    spec, *rest = case(np.float32, m, n, k, "CR", batch)
    spec = spec._replace(large_epilogue=True)
    assert make_plan(spec, TARGETS[target]).in_lines
    check((spec, *rest), TARGETS[target], threads=threads)
    a, b, want, scale = rest
    bias = np.linspace(-1, 1, n, dtype=np.float32)
    got = computed(
        spec, TARGETS[target], a, b, threads, epilogue=relu_of_sum(spec), bias=bias, together=True
    )
    assert_product(got, np.maximum(want + bias, 0), scale + 1, k + 2)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("layouts", ["RR", "RC", "CR", "CC"])
@pytest.mark.parametrize(("m", "n", "k"), [(13, 65, 33), (65, 44, 100), (1, 100, 44), (44, 1, 65)])
def test_targets(m, n, k, layouts, dtype, target):
    check(case(dtype, m, n, k, layouts), TARGETS[target])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("layouts", ["RR", "RC", "CR", "CC", "SS"])
def test_several_blocks_of_k(layouts, dtype, target):
    spec, *rest = case(dtype, 31, 150, 1701, layouts)
    plan = make_plan(spec, TARGETS[target])
    assert plan.k_block < 1701
    assert plan.b_packed
    check((spec, *rest), TARGETS[target])


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(("m", "n"), [(1, 700), (700, 1), (2, 333), (3, 200), (1, 1)])
@pytest.mark.parametrize("layouts", ["RR", "RC", "CR", "CC", "SS"])
def test_few_rows_or_columns(layouts, m, n, dtype):
    for k in (1, 30, 1003):
        check(case(dtype, m, n, k, layouts), host_target())


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_many_rows_have_their_partial_sums_in_parts(dtype):
    spec, *rest = case(dtype, 2100, 33, 1100)
    plan = make_plan(spec, host_target())
    assert 0 < plan.rows_at_once * plan.tile.rows < spec.m
    check((spec, *rest), host_target(), threads=1)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(("m", "n", "k", "layouts"), [(1, 9001, 31, "RR"), (9001, 1, 31, "CR")])
def test_long_results_have_their_partial_sums_in_parts(m, n, k, layouts, dtype):
    target = host_target()._replace(l2=2**16)
    spec, *rest = case(dtype, m, n, k, layouts)
    plan = make_plan(spec, target)
    assert plan.k_block < k
    assert plan.panels * plan.rows_at_once * plan.tile.rows * plan.tile.width < 9001
    for threads in (1, 3):
        check((spec, *rest), target, threads=threads)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("repeated", [(), (0,), (1,), (0, 1)])
@pytest.mark.parametrize(("m", "n", "k"), [(17, 44, 16), (100, 65, 33), (1, 33, 64)])
def test_batches(m, n, k, repeated, threads):
    check(
        case(np.float32, m, n, k, batch=(3, 2), repeated=repeated), host_target(), threads=threads
    )


def test_batch_of_large_products():
    check(case(np.float32, 61, 64, 65, batch=(3,)), host_target(), threads=2)


def test_products_share_code():
    """Tiles, copies and loops depend on no size of the whole, and stand in a module once."""
    module = Module()
    for name, n in (("one", 640), ("two", 960)):
        spec, *_ = case(np.float32, 96, n, 700)
        write_product(module, name, spec, AVX512, ["ptr %p0", "ptr %p1"], adding(spec))
    defined = re.findall(r"^define internal void @([\w.]+)", str(module), re.M)
    own = [name for name in defined if name.split(".")[0] in ("one", "two")]
    assert sorted(own) == ["one", "one.finish32", "two", "two.finish32"]
    assert len(defined) == len(set(defined)) > len(own)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("threads", [2, 3, 7])
@pytest.mark.parametrize(("m", "n", "k"), [(300, 700, 65), (700, 100, 900), (1, 1000, 40)])
def test_threads_share_the_work(m, n, k, threads, together):
    check(case(np.float32, m, n, k), host_target(), threads=threads, together=together)


@pytest.mark.parametrize(("m", "n", "k"), [(0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 4, 0), (4, 1, 0)])
def test_empty(m, n, k):
    spec, *_ = case(np.float32, max(m, 1), max(n, 1), max(k, 1))
    spec = spec._replace(m=m, n=n, k=k)
    nothing = np.zeros(1, np.float32)
    assert (computed(spec, host_target(), nothing, nothing) == np.zeros((m, n))).all()


def test_empty_batch():
    spec, *_ = case(np.float32, 3, 4, 5)
    spec = spec._replace(batch=(2, 0), a_batch=(1, 1), b_batch=(1, 1))
    nothing = np.zeros(1, np.float32)
    assert workspace_bytes(spec, host_target(), 4) == 0
    assert computed(spec, host_target(), nothing, nothing).shape == (2, 0, 3, 4)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(
    ("m", "n", "k"), [(13, 31, 17), (65, 100, 300), (40, 70, 1700), (100, 1, 90)]
)
def test_bias_and_relu(m, n, k, dtype, target):
    spec, a, b, want, scale = case(dtype, m, n, k)
    rng = np.random.default_rng(0)
    bias = placed(rng.standard_normal(n).astype(dtype), (1,))
    got = computed(spec, TARGETS[target], a, b, epilogue=relu_of_sum(spec), bias=bias)
    assert_product(got, np.maximum(want + bias, 0), scale + abs(bias), k)
    assert 0 < np.count_nonzero(got) < got.size


@pytest.mark.parametrize("half", [ml_dtypes.bfloat16, np.float16])
@pytest.mark.parametrize("layouts", ["RR", "RC", "CR", "CC", "SS"])
@pytest.mark.parametrize(("m", "n", "k"), [(13, 65, 33), (1, 44, 100), (44, 1, 100), (3, 7, 64)])
def test_operands_of_16_bits(m, n, k, layouts, half):
    half = np.dtype(half)
    for memory in [(half, half), (half, None), (None, half)]:
        check(case(np.float32, m, n, k, layouts, memory=memory), host_target())


@pytest.mark.parametrize("layouts", ["RR", "CC"])
def test_transposed(layouts):
    spec, a, b, want, scale = case(np.float32, 33, 5, 44, layouts)
    got = computed(spec.transposed(), host_target(), b, a)
    assert_product(got, want.T, scale.T, spec.k)


def test_nonfinite_operands_stay_where_they_belong():
    spec, a, b, _, _ = case(np.float32, 44, 44, 44)
    a[3 * 44 + 5], b[7 * 44 + 9] = np.inf, np.nan
    got = computed(spec, host_target(), a, b)
    assert np.isinf(np.delete(got[3], 9)).all()
    assert np.isnan(got[:, 9]).all()
    assert np.isfinite(np.delete(np.delete(got, 3, 0), 9, 1)).all()


# From programs


def run(how, *operands, executor="llvm", threads=1, **options):
    with config.override(executor=executor, threads=threads):
        lowered = jit(lambda x, y: fnp.einsum(how, x, y, **options)).lower(*operands)
        assert executor == "numpy" or "host:" not in lowered.report()
        return lowered, np.array(lowered.compile()(*operands))


def drawn(how, sizes, dtype):
    rng = np.random.default_rng(7)
    shapes = [[sizes[c] for c in part] for part in how.split("->")[0].split(",")]
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("preferred", [None, np.float32])
@pytest.mark.parametrize("half", [ml_dtypes.bfloat16, np.float16])
@pytest.mark.parametrize(
    "how",
    ["mk,kn->mn", "km,kn->mn", "mk,nk->mn", "km,nk->nm", "bmk,bkn->bmn", "mk,k->m", "k,kn->n",
     "k,k->"],
)  # fmt: skip
def test_products_of_16_bits_are_native(how, half, preferred):
    """The arithmetic is float32; a result of 16 bits is rounded once."""
    operands = drawn(how, {"b": 3, "m": 37, "n": 21, "k": 90}, half)
    _, got = run(how, *operands, preferred_element_type=preferred)
    assert got.dtype == (preferred or half)
    _, on_numpy = run(how, *operands, executor="numpy", preferred_element_type=preferred)
    assert_close(got, on_numpy)
    want = np.einsum(how, *[x.astype(np.float64) for x in operands])
    scale = np.einsum(how, *[abs(x.astype(np.float64)) for x in operands])
    allowed = 91 * np.finfo(np.float32).eps * scale
    if preferred is None:
        allowed = allowed + abs(want) * float(ml_dtypes.finfo(half).eps) / 2
    assert (abs(got.astype(np.float64) - want) <= 1.01 * allowed).all()


def test_product_of_two_dtypes_is_native():
    x = np.ones((5, 40), ml_dtypes.bfloat16)
    y = np.full((40, 7), 0.1, np.float32)
    numbers = (((1,), (0,)), ((), ()))
    f = jit(lambda x, y: lax.dot_general(x, y, numbers, preferred_element_type=np.float32))
    with config.override(executor="llvm"):
        assert "host:" not in f.lower(x, y).report()
        np.testing.assert_allclose(f(x, y), np.full((5, 7), 4), rtol=1e-6)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("how", ["mk,kn->mn", "km,kn->mn", "mk,nk->nm", "bkm,bkn->bmn", "k,k->"])
def test_long_sums_of_few_results_are_shared(how, dtype):
    """They are cut into parts, the same for any number of threads."""
    operands = drawn(how, {"b": 2, "m": 5, "n": 19, "k": 32768}, dtype)
    lowered, alone = run(how, *operands)
    assert "reduce_sum[axes=(0,)]" in lowered.as_text("optimized")
    wide = [x.astype(np.float64) for x in operands]
    scale = np.einsum(how, *map(abs, wide))
    assert_product(alone, np.einsum(how, *wide), scale, 100)
    for threads in (2, 3):
        np.testing.assert_array_equal(run(how, *operands, threads=threads)[1], alone)


def test_long_sums_of_many_results_are_left_alone():
    x = np.ones((40, 16384), np.float32)
    lowered, _ = run("mk,nk->mn", x, x)
    assert "reduce_sum" not in lowered.as_text("optimized")
