"""The table of operations: what each is called with, and what the least work for it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

Operands = Callable[[np.random.Generator], tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class Item:
    """One operation on one set of operands.

    function: its name in `functional` and in `eager`; `params` are its static arguments.
    operands: makes them; the same in every process.
    grads: differentiate with respect to as many of the first operands; with 0, the value alone.
    traffic: the bytes that must be read and written, of an operation that memory bounds.
    flops: the additions and multiplications, of one that arithmetic bounds.
    rtol: the largest error allowed, over the largest size of a result's elements.
    """

    group: str
    name: str
    function: str
    operands: Operands
    params: Mapping[str, Any] = field(default_factory=dict)
    grads: int = 0
    traffic: int = 0
    flops: int = 0
    rtol: float = 1e-4


@dataclass(frozen=True)
class Limit:
    """The most that our time may be of the best peer's: for each item, and in the geometric mean.

    peer: the one that it speaks of, if not the best.
    """

    each: float
    mean: float
    peer: str | None = None


LIMITS = {
    "elementwise": Limit(1.0, 1.0),
    "reductions": Limit(1.0, 1.0),
    "normalization": Limit(1.0, 1.0),
    "adam": Limit(1.0, 1.0),
    "matmul": Limit(1 / 0.95, 1.0),
    "conv": Limit(1 / 0.9, 1 / 1.3, "torch"),
    "scan": Limit(1.0, 1.0, "jax"),
    "loop": Limit(1.0, 1.0, "jax"),
    "random": Limit(1.0, 1.0, "jax"),
}


def floats(*shapes: tuple[int, ...], dtype: Any = np.float32) -> Operands:
    """Standard normal operands of these shapes."""
    return lambda rng: tuple(rng.standard_normal(s, np.float32).astype(dtype) for s in shapes)


def power(n: int) -> str:
    return f"10^{round(math.log10(n))}"


def pair(item: Item, grads: int, traffic: int = 0, flops: int = 0) -> tuple[Item, Item]:
    """The item, and it with gradients and what these move and compute."""
    name = f"{item.name}, forward + backward"
    return item, replace(item, name=name, grads=grads, traffic=traffic, flops=flops)


def memory_bound(n: int) -> Iterator[Item]:
    """Elementwise chains, reductions, normalizations and Adam of about n elements.

    Traffic: without gradients, operands are read and the value is written; with them, operands and
    the cotangent are read, the value and the gradients are written. What has no more elements than
    a row or a column is left out.
    """
    size, whole = power(n), 4 * n
    # One gradient of axpy is the cotangent itself: there is nothing to compute.
    vectors = floats((n,), (n,))
    yield Item("elementwise", f"axpy {size}", "axpy", vectors, traffic=3 * whole)
    for function, count in (("gelu", 1), ("gate", 3)):
        vectors, traffic = floats(*[(n,)] * count), whole * (count + 1)
        item = Item("elementwise", f"{function} {size}", function, vectors, traffic=traffic)
        yield from pair(item, count, whole * (2 * count + 2))

    rows, columns = max(1, n // 1000), min(n, 1000)
    matrix = floats((rows, columns))
    for function in ("sum_all", "sum_rows", "max_rows"):
        yield Item("reductions", f"{function} {size}", function, matrix, traffic=whole)
    for function in ("sum_columns", "variance_rows"):
        item = Item("reductions", f"{function} {size}", function, matrix, traffic=whole)
        yield from pair(item, 1, 2 * whole)

    def normalization(function: str, operands: Operands, grads: int, arrays: int) -> Iterator[Item]:
        """arrays: how many large ones the value reads and writes; the gradient does as many."""
        name, traffic = f"{function} {size}", arrays * whole
        item = Item("normalization", name, function, operands, traffic=traffic)
        yield from pair(item, grads, 2 * traffic)

    yield from normalization("softmax", matrix, 1, 2)
    yield from normalization("logsumexp", matrix, 1, 1)
    yield from normalization("layer_norm", floats((rows, columns), (columns,), (columns,)), 3, 2)
    yield from normalization("cross_entropy", labelled(rows, columns), 1, 1)
    yield Item("adam", f"adam {size}", "adam", optimizer(n), traffic=7 * whole)


def labelled(rows: int, columns: int) -> Operands:
    def make(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        logits = rng.standard_normal((rows, columns), np.float32)
        return logits, rng.integers(0, columns, rows).astype(np.int32)

    return make


def optimizer(n: int) -> Operands:
    def make(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        parameters, grads, mean = (rng.standard_normal(n, np.float32) for _ in range(3))
        return parameters, grads, mean, np.square(rng.standard_normal(n, np.float32))

    return make


def products(tiny: bool) -> Iterator[Item]:
    """Matrix products: the letters are those of einsum, sizes in the order of the letters."""
    squares = (16,) if tiny else (64, 128, 256, 512, 1024, 2048)
    cases: list[tuple[str, str, tuple[int, ...]]] = []
    cases += [("square", "mk,kn->mn", (n, n, n)) for n in squares]
    cases += [
        ("rectangular", "mk,kn->mn", (128, 784, 1024)),
        ("rectangular", "mk,kn->mn", (5632, 64, 256)),
        ("rectangular", "mk,kn->mn", (64, 5632, 256)),
        ("rectangular", "mk,kn->mn", (128, 1024, 10)),
        ("batched", "bmk,bkn->bmn", (512, 44, 16, 44)),
        ("batched", "bmk,bkn->bmn", (64, 128, 64, 128)),
        ("batched", "bmk,bkn->bmn", (16, 512, 512, 512)),
        ("transposed", "km,kn->mn", (512, 512, 512)),
        ("transposed", "mk,nk->mn", (512, 512, 512)),
        ("transposed", "km,nk->mn", (512, 512, 512)),
        ("matrix-vector", "mk,k->m", (1024, 1024)),
        ("matrix-vector", "mk,k->m", (4096, 4096)),
        ("vector-matrix", "k,kn->n", (4096, 4096)),
    ]
    if tiny:
        cases = [(name, how, tuple(min(s, 8) for s in sizes)) for name, how, sizes in cases]
    seen = set()
    for name, how, sizes in cases:
        letters = "bmkn" if "b" in how else "".join(c for c in "mkn" if c in how)
        size = dict(zip(letters, sizes, strict=True))
        shapes = [tuple(size[c] for c in part) for part in how.split("->")[0].split(",")]
        for dtype in ("float32", "float64"):
            label = f"{name} {how} {'x'.join(map(str, sizes))} {dtype}"
            if label in seen:
                continue
            seen.add(label)
            yield Item(
                "matmul",
                label,
                "product",
                floats(*shapes, dtype=dtype),
                {"how": how},
                flops=2 * math.prod(sizes),
                rtol=1e-4 if dtype == "float32" else 1e-12,
            )


@dataclass(frozen=True)
class Conv:
    """A convolution of [n, inputs, size, size] images, with square kernels.

    transposed: the stride dilates the images; the padding is that of the convolution whose
    gradient it is.
    """

    name: str
    n: int
    inputs: int
    outputs: int
    size: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    transposed: bool = False

    def result(self) -> int:
        """The height and width of the result."""
        if self.transposed:
            return (self.size - 1) * self.stride - 2 * self.padding + self.kernel
        reach = self.dilation * (self.kernel - 1) + 1
        return (self.size + 2 * self.padding - reach) // self.stride + 1

    def flops(self) -> int:
        places = (self.size if self.transposed else self.result()) ** 2
        taps = self.kernel**2 * self.inputs // self.groups
        return 2 * self.n * places * taps * self.outputs


CONVS = (
    Conv("1x1", 32, 64, 128, 28, 1),
    Conv("3x3", 128, 16, 32, 28, 3, padding=1),
    Conv("5x5 stride 2", 32, 32, 64, 28, 5, stride=2, padding=2),
    Conv("7x7 stride 2", 4, 3, 64, 224, 7, stride=2, padding=3),
    Conv("depthwise 3x3", 32, 64, 64, 28, 3, padding=1, groups=64),
    Conv("grouped 3x3", 32, 64, 64, 28, 3, padding=1, groups=4),
    Conv("dilated 3x3", 32, 32, 32, 28, 3, padding=2, dilation=2),
    Conv("transposed 4x4 stride 2", 32, 64, 32, 14, 4, stride=2, padding=1, transposed=True),
)
TINY_CONVS = (
    Conv("3x3 stride 2", 2, 4, 6, 7, 3, stride=2, padding=1),
    Conv("grouped, dilated", 2, 4, 4, 7, 3, padding=2, dilation=2, groups=2),
    Conv("transposed", 2, 4, 6, 5, 4, stride=2, padding=1, transposed=True),
)


def convolutions(tiny: bool) -> Iterator[Item]:
    for conv in TINY_CONVS if tiny else CONVS:
        k, inputs = conv.kernel, conv.inputs // conv.groups
        for layout in ("NCHW", "NHWC"):
            image: tuple[int, ...] = (conv.n, conv.inputs, conv.size, conv.size)
            kernel: tuple[int, ...] = (conv.outputs, inputs, k, k)
            if layout == "NHWC":
                image, kernel = (image[0], *image[2:], image[1]), (k, k, inputs, conv.outputs)
            params = {"conv": conv, "layout": layout}
            name, operands = f"{conv.name} {layout}", floats(image, kernel)
            item = Item("conv", name, "convolution", operands, params, flops=conv.flops())
            yield from pair(item, 2, flops=3 * conv.flops())


def recurrences(tiny: bool) -> Iterator[Item]:
    """Over time: x [t, n, d], the first state [n, h], and the matrices."""
    t, n, d, h = (5, 2, 3, 4) if tiny else (64, 32, 64, 128)
    for name, gates in (("rnn", 1), ("gru", 3)):

        def make(rng: np.random.Generator, gates: int = gates) -> tuple[np.ndarray, ...]:
            shapes = ((t, n, d), (n, h), (d, gates * h), (h, gates * h), (gates * h,))
            scales = (1, 1, d**-0.5, h**-0.5, 0.1)
            return tuple(
                (scale * rng.standard_normal(shape)).astype(np.float32)
                for scale, shape in zip(scales, shapes, strict=True)
            )

        yield from pair(Item("scan", f"{name} {t} steps", name, make), 5)


def loops(tiny: bool) -> Iterator[Item]:
    count = 10 if tiny else 100_000
    scalars: Operands = lambda rng: (np.array(2.0, np.float32),)
    yield Item("loop", f"slow Newton, {count:,} times", "newton", scalars, {"count": count})
    integers: Operands = lambda rng: (np.array(1, np.uint32),)
    yield Item("loop", f"congruential, {count:,} times", "congruential", integers, {"count": count})


def draws(tiny: bool) -> Iterator[Item]:
    n = 100 if tiny else 1_000_000
    seeds: Operands = lambda rng: (np.array(7, np.uint32),)
    for name in ("uniform", "normal"):
        yield Item("random", f"{name} {power(n)}", name, seeds, {"count": n})


def items(tiny: bool = False) -> dict[str, Item]:
    """All items by name; tiny ones for tests."""
    sizes = (100,) if tiny else (10**4, 10**5, 10**6, 10**7)
    found = [
        *[item for n in sizes for item in memory_bound(n)],
        *products(tiny),
        *convolutions(tiny),
        *recurrences(tiny),
        *loops(tiny),
        *draws(tiny),
    ]
    order = list(LIMITS)
    found.sort(key=lambda item: order.index(item.group))
    by_name = {item.name: item for item in found}
    assert len(by_name) == len(found), "two items of one name"
    return by_name
