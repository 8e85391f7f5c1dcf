"""Random programs with nested control flow, written as Python text that both libraries can run.

A program is a function of an array of each kind. Its text names only `np`, `lax`, `jit`, `vmap` and
`grad`, which are bound to one library or to the other. Values stay bounded, and predicates compare
with numbers that no computation gives, so that rounding cannot change which branch runs.

`python -m tests.compose.random_programs START COUNT` checks the programs with these seeds.
"""

from __future__ import annotations

import dataclasses
import functools
import random
import sys
import time
import traceback
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fstensor as fst
import fstensor.numpy as fnp

SHAPES = ((), (3,), (3, 3))
UNARY = (
    "np.sin({})", "np.cos({})", "np.tanh({})", "np.exp(-{0} * {0})", "{0} / (1 + {0} * {0})",
    "np.sqrt(1 + {0} * {0}) - 1", "np.log1p({0} * {0})", "np.arctan({})", "-{}", "0.7 * {} - 0.2",
    "np.tanh({}) ** 3", "1 / (1 + np.exp(-{}))",
)  # fmt: skip
BINARY = (
    "{} + 0.5 * {}", "{} * np.cos({})", "np.sin({}) - {}", "{} / (2 + np.cos({}))",
    "np.tanh({} * {})", "np.where({} > 0.137, {}, 0.25)",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Value:
    """A variable of the program. kind: f8, f4, f (a float of either), i or b."""

    name: str
    kind: str
    shape: tuple[int, ...]


@dataclasses.dataclass
class Block:
    """The lines of a function's body so far, and what they can refer to."""

    scope: list[Value]
    indent: str
    depth: int
    # Whether loops may have bounds that JAX cannot differentiate or map in reverse.
    dynamic: bool
    lines: list[str] = dataclasses.field(default_factory=list)

    def write(self, line: str) -> None:
        self.lines.append(self.indent + line)


class Generator:
    """Writes one program, as `rng` decides."""

    def __init__(self, rng: random.Random, depth: int = 3) -> None:
        self.rng = rng
        # Without float32, results agree to many more digits.
        self.mixed = rng.random() < 0.5
        self.depth = depth
        self.count = 0

    def program(self) -> str:
        inputs = [
            Value("y", "f8", ()),
            Value("x", "f8", (3,)),
            Value("m", "f8", (3, 3)),
            Value("z", "f4" if self.mixed else "f8", (3,)),
            Value("n", "i", ()),
            Value("p", "b", ()),
        ]
        block = Block(inputs, "    ", 0, True)
        for _ in range(self.rng.randint(1, 3)):
            self.control(block)
            if self.rng.random() < 0.3:
                self.simple(block)
        outs = [self.of_type(block, "f8", s) for s in self.rng.sample(SHAPES, 2)]
        if self.rng.random() < 0.5:
            outs.append(self.of_type(block, "f4" if self.mixed else "f8", (3,)))
        integer = self.of_type(block, "i", ())
        lines = ["def program(y, x, m, z, n, p):", *block.lines]
        return "\n".join([*lines, f"    return ({', '.join(outs)}), {integer}"])

    def new(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def pick(self, block: Block, kinds: str, shape: tuple[int, ...] | None = None) -> Value | None:
        """A variable; late ones rather than early ones."""
        found = [
            v for v in block.scope
            if v.kind[0] in kinds and (shape is None or v.shape == shape)
        ]  # fmt: skip
        if not found:
            return None
        return found[-1 - int(min(self.rng.expovariate(0.5), len(found) - 1))]

    def assign(self, block: Block, text: str, kind: str, shape: tuple[int, ...]) -> Value:
        value = Value(self.new("v"), kind, shape)
        block.write(f"{value.name} = {text}")
        block.scope.append(value)
        return value

    # Expressions

    def float(self, block: Block, shape: tuple[int, ...]) -> str:
        """An expression of this shape and some float dtype."""
        rng = self.rng
        choice = rng.random()
        v = self.pick(block, "f", shape)
        w = self.pick(block, "f", shape)
        if v is None or choice < 0.25:
            return self.reshaped(block, shape)
        if choice < 0.6:
            return rng.choice(UNARY).format(v.name)
        if choice < 0.8:
            other = rng.choice([w, self.pick(block, "f", ())]) or w
            assert other is not None
            return rng.choice(BINARY).format(v.name, other.name)
        if choice < 0.9:
            assert w is not None
            return f"np.where({self.bool(block)}, {v.name}, {w.name})"
        return f"{v.name} * {rng.choice(['0.5', '2', 'np.float64(0.3)'])}"

    def reshaped(self, block: Block, shape: tuple[int, ...]) -> str:
        rng = self.rng
        s = self.pick(block, "f", ())
        x = self.pick(block, "f", (3,))
        m = self.pick(block, "f", (3, 3))
        i = self.pick(block, "i", ())
        assert s is not None
        assert x is not None
        assert m is not None
        assert i is not None
        s, x, m, i = s.name, x.name, m.name, i.name
        return rng.choice({
            (): [f"np.sum({x}) * 0.3", f"np.mean({m})", f"{x}[{i}]", f"{x}[1]",
                 f"np.tanh({x} @ {x})",
                 f"np.prod(np.cos({x}))", f"{m}[0, {i}]", f"0.1 * np.asarray({i} % 4)",
                 f"np.sum({x}, where={x} > 0.137)"],
            (3,): [f"np.tanh({m} @ {x})", f"{m}[{i}]", f"{x}[::-1]",
                   f"{x}.at[{i}].set({s}.astype({x}.dtype))",
                   f"{x}.at[{i} % 3].add({s}.astype({x}.dtype))", f"np.sum({m}, axis=1) * 0.3",
                   f"np.cumsum({x}) * 0.4",
                   f"np.stack([{s}, {x}[0], {s}])", f"np.concatenate([{x}[1:], {x}[:1]])",
                   f"{m}[:, 2]", f"{s} * {x}"],
            (3, 3): [f"np.outer({x}, {x})", f"{m}.T", f"np.tanh({m} @ {m})",
                     f"{m} + {x}",
                     f"{m}.at[{i}].set({x}.astype({m}.dtype))",
                     f"np.stack([{x}, {x} * 0.5, {m}[1]])"],
        }[shape])  # fmt: skip

    def int(self, block: Block) -> str:
        i, j = self.pick(block, "i", ()), self.pick(block, "i", ())
        v = self.pick(block, "f", (3,))
        assert i is not None
        assert j is not None
        assert v is not None
        return self.rng.choice([
            f"{i.name} + 1", f"({i.name} + 2 * {j.name}) % 4", f"-{i.name}", f"{i.name} * 3 % 5",
            f"np.where({self.bool(block)}, {i.name}, {j.name})", f"np.sum({v.name} > 0.137)", "2",
        ])  # fmt: skip

    def bool(self, block: Block) -> str:
        i, v = self.pick(block, "i", ()), self.pick(block, "f", ())
        x, b = self.pick(block, "f", (3,)), self.pick(block, "b", ())
        assert i is not None
        assert v is not None
        assert x is not None
        assert b is not None
        return self.rng.choice([
            f"({v.name} > 0.137)", f"({i.name} % 2 == 0)", f"({i.name} < 2)", f"~{b.name}",
            f"np.any({x.name} < -0.411)", f"({b.name} & ({v.name} < 0.533))", b.name,
        ])  # fmt: skip

    def of_type(self, block: Block, kind: str, shape: tuple[int, ...]) -> str:
        """An expression of exactly this type."""
        if kind == "i":
            return f"np.asarray({self.int(block)}).astype(np.int32)"
        if kind == "b":
            return f"np.asarray({self.bool(block)})"
        v = self.pick(block, "f", shape)
        if v is not None and self.rng.random() < 0.4:
            text = v.name
        else:
            text = f"({self.float(block, shape)})"
        exact = v is not None and v.name == text and v.kind == kind
        return text if exact else f"{text}.astype(np.{_DTYPES[kind]})"

    def simple(self, block: Block) -> None:
        if self.rng.random() < 0.15:
            self.assign(block, f"np.asarray({self.int(block)})", "i", ())
        elif self.rng.random() < 0.1:
            self.assign(block, f"np.asarray({self.bool(block)})", "b", ())
        else:
            shape = self.rng.choice(SHAPES)
            self.assign(block, self.float(block, shape), "f", shape)

    # Statements

    def body(self, block: Block) -> None:
        for _ in range(self.rng.randint(0, 2)):
            self.simple(block)
        if block.depth < self.depth and self.rng.random() < 0.45:
            self.control(block)
        if self.rng.random() < 0.5:
            self.simple(block)

    def function(
        self,
        block: Block,
        params: str,
        args: list[Value],
        result: Callable[[Block], str],
        dynamic: bool = True,
    ) -> str:
        """Define a function, and give its name."""
        name = self.new("f")
        inner = Block(
            [*block.scope, *args], block.indent + "    ", block.depth + 1, block.dynamic and dynamic
        )
        self.body(inner)
        returned = result(inner)
        block.write(f"def {name}({params}):")
        block.lines += inner.lines
        block.write(f"    return {returned}")
        return name

    def control(self, block: Block) -> None:
        kinds = [
            self.cond, self.cond, self.switch, self.scan, self.scan, self.scan, self.while_loop,
            self.while_loop, self.fori_loop, self.map, self.associative_scan, self.jit, self.vmap,
            self.grad,
        ]  # fmt: skip
        self.rng.choice(kinds)(block)

    def types(
        self, low: int, high: int, kinds: str = "88488848ib"
    ) -> list[tuple[str, tuple[int, ...]]]:
        found: list[tuple[str, tuple[int, ...]]] = []
        if not self.mixed:
            kinds = kinds.replace("4", "8")
        for _ in range(self.rng.randint(low, high)):
            k = self.rng.choice(kinds)
            found.append((k, ()) if k in "ib" else ("f" + k, self.rng.choice(SHAPES)))
        return found

    def fresh(self, types: list[tuple[str, tuple[int, ...]]], stem: str) -> list[Value]:
        return [Value(self.new(stem), kind, shape) for kind, shape in types]

    def returned(self, block: Block, types: list[tuple[str, tuple[int, ...]]]) -> list[str]:
        return [self.of_type(block, kind, shape) for kind, shape in types]

    def cond(self, block: Block) -> None:
        self.branches(block, "cond", 2)

    def switch(self, block: Block) -> None:
        self.branches(block, "switch", self.rng.randint(1, 4))

    def branches(self, block: Block, what: str, count: int) -> None:
        types = self.types(1, 2)
        operands = self.rng.sample(block.scope, self.rng.randint(0, 2))
        functions = []
        for _ in range(count):
            args = [Value(self.new("a"), v.kind, v.shape) for v in operands]
            result = lambda b: tree_text("tuple", self.returned(b, types))
            functions.append(self.function(block, names(args), args, result))
        given = ", ".join(["", *(v.name for v in operands)])
        outs = self.fresh(types, "c")
        if what == "cond":
            i = self.pick(block, "i", ())
            assert i
            pred = self.bool(block) if self.rng.random() < 0.85 else i.name
            call = f"lax.cond({pred}, {', '.join(functions)}{given})"
        else:
            call = f"lax.switch({self.int(block)}, [{', '.join(functions)}]{given})"
        block.write(f"{tree_text('tuple', [v.name for v in outs])} = {call}")
        block.scope += outs

    def carry(self, block: Block) -> tuple[str, list[Value], list[str]]:
        """The kind of tree of a carry, its parts, and their first values, some of them weak."""
        types = self.types(1, 3)
        parts = self.fresh(types, "c")
        start = []
        for part in parts:
            if part.kind == "f8" and not part.shape and self.rng.random() < 0.3:
                start.append("np.asarray(0.5)")
            else:
                start.append(self.of_type(block, part.kind, part.shape))
        # While a weak start is traced, a part's dtype is not yet its own.
        return self.rng.choice(["tuple", "tuple", "dict", "list"]), parts, start

    def scan(self, block: Block) -> None:
        rng = self.rng
        kind, parts, start = self.carry(block)
        sources = [self.pick(block, "f", rng.choice(SHAPES[1:])) for _ in range(rng.randint(0, 2))]
        elements = [Value(self.new("e"), v.kind, v.shape[1:]) for v in sources if v]
        ys = self.types(0, 2, "84")
        carry, element = self.new("s"), self.new("t")
        inside = loose(parts)

        def result(inner: Block) -> str:
            out = tree_text(kind, self.returned(inner, [(p.kind, p.shape) for p in parts]))
            return f"{out}, {tree_text('tuple', self.returned(inner, ys)) if ys else None}"

        body = self.loop_body(
            block, [(carry, kind, inside), (element, "tuple", elements)], [*inside, *elements],
            result,
        )  # fmt: skip
        if elements:
            xs = tree_text("tuple", [v.name for v in sources if v])
        else:
            xs = f"None, length={rng.choice([0, 1, 2, 3, 4])}"
        options = rng.choice(["", "", ", reverse=True", ", unroll=2", ", unroll=True"])
        outs, stacked = self.fresh([(p.kind, p.shape) for p in parts], "r"), self.new("t")
        target = tree_text("tuple", [v.name for v in outs])
        out = self.new("s")
        block.write(f"{out}, {stacked} = lax.scan({body}, {tree_text(kind, start)}, {xs}{options})")
        block.write(f"{target} = {leaves_text(kind, out, len(outs))}")
        block.scope += outs
        for i, (y_kind, shape) in enumerate(ys):
            if elements and len(shape) < 2:
                self.assign(block, f"{stacked}[{i}]", y_kind, (3, *shape))

    def loop_body(
        self,
        block: Block,
        trees: list[tuple[str, str, list[Value]]],
        args: list[Value],
        result: Callable[[Block], str],
    ) -> str:
        """A function of trees, whose parts are named in its first lines."""
        name = self.new("f")
        inner = Block([*block.scope, *args], block.indent + "    ", block.depth + 1, block.dynamic)
        for whole, kind, values in trees:
            if values:
                target = tree_text("tuple", [v.name for v in values])
                inner.write(f"{target} = {leaves_text(kind, whole, len(values))}")
        self.body(inner)
        returned = result(inner)
        block.write(f"def {name}({', '.join(whole for whole, _, _ in trees)}):")
        block.lines += inner.lines
        block.write(f"    return {returned}")
        return name

    def finish_loop(self, block: Block, kind: str, parts: list[Value], call: str) -> None:
        outs = self.fresh([(p.kind, p.shape) for p in parts], "r")
        whole = self.new("s")
        block.write(f"{whole} = {call}")
        target = tree_text("tuple", [v.name for v in outs])
        block.write(f"{target} = {leaves_text(kind, whole, len(outs))}")
        block.scope += outs

    def while_loop(self, block: Block) -> None:
        if not block.dynamic:
            return self.scan(block)
        kind, parts, start = self.carry(block)
        counter = Value(self.new("i"), "i", ())
        carry = self.new("s")
        inside = [counter, *loose(parts)]
        most = self.assign(block, f"({self.int(block)}) % 4", "i", ())

        def result(inner: Block) -> str:
            return tree_text(kind, [
                f"{counter.name} + 1", *self.returned(inner, [(p.kind, p.shape) for p in parts])
            ])  # fmt: skip

        body = self.loop_body(block, [(carry, kind, inside)], inside, result)
        condition = self.new("f")
        block.write(f"def {condition}({carry}):")
        block.write(
            f"    {tree_text('tuple', [v.name for v in inside])} = "
            f"{leaves_text(kind, carry, len(inside))}"
        )
        scalar = next((v for v in inside if v.kind[0] == "f" and not v.shape), None)
        extra = f" & ({scalar.name} < 1.713)" if scalar and self.rng.random() < 0.4 else ""
        if self.rng.random() < 0.2:  # a value from outside
            extra += f" & {self.bool(block)}"
        block.write(f"    return ({counter.name} < {most.name}){extra}")
        call = f"lax.while_loop({condition}, {body}, {tree_text(kind, ['np.asarray(0)', *start])})"
        self.finish_loop(block, kind, [counter, *parts], call)
        return None

    def fori_loop(self, block: Block) -> None:
        kind, parts, start = self.carry(block)
        i, carry = Value(self.new("i"), "i", ()), self.new("s")
        inside = loose(parts)

        def result(inner: Block) -> str:
            return tree_text(kind, self.returned(inner, [(p.kind, p.shape) for p in parts]))

        trees = [(i.name, "", []), (carry, kind, inside)]
        body = self.loop_body(block, trees, [i, *inside], result)
        if block.dynamic and self.rng.random() < 0.5:
            bounds = f"{self.rng.randint(-1, 1)}, ({self.int(block)}) % 4"
        else:
            bounds = f"{self.rng.randint(-1, 2)}, {self.rng.randint(0, 3)}"
        self.finish_loop(
            block, kind, parts, f"lax.fori_loop({bounds}, {body}, {tree_text(kind, start)})"
        )

    def map(self, block: Block) -> None:
        v = self.pick(block, "f", self.rng.choice(SHAPES[1:]))
        assert v
        element = Value(self.new("a"), v.kind, v.shape[1:])
        shape = self.rng.choice(SHAPES[:2])
        batch = self.rng.choice(["", "", ", batch_size=2"])
        f = self.function(
            block, element.name, [element], lambda b: self.of_type(b, "f8", shape),
            dynamic=not batch,
        )  # fmt: skip
        self.assign(block, f"lax.map({f}, {v.name}{batch})", "f8", (3, *shape))

    def associative_scan(self, block: Block) -> None:
        v = self.pick(block, "f", self.rng.choice(SHAPES[1:]))
        assert v
        combine = self.rng.choice(["np.add", "np.multiply", "lambda a, b: a + b + a * b"])
        reverse = self.rng.choice(["", ", reverse=True", ", axis=-1"])
        text = f"np.tanh(lax.associative_scan({combine}, {v.name}{reverse}))"
        self.assign(block, text, v.kind, v.shape)

    def jit(self, block: Block) -> None:
        shape = self.rng.choice(SHAPES)
        v = self.pick(block, "fib")
        assert v
        arg = Value(self.new("a"), v.kind, v.shape)
        f = self.function(block, arg.name, [arg], lambda b: self.of_type(b, "f8", shape))
        self.assign(block, f"jit({f})({v.name})", "f8", shape)

    def vmap(self, block: Block) -> None:
        v = self.pick(block, "f", (3, 3)) if self.rng.random() < 0.5 else None
        v = v or self.pick(block, "f", (3,))
        assert v
        shape = self.rng.choice(SHAPES[:2])
        arg = Value(self.new("a"), v.kind, v.shape[1:])
        f = self.function(
            block, arg.name, [arg], lambda b: self.of_type(b, "f8", shape), dynamic=False
        )
        axes = self.rng.choice(["", ", in_axes=-1", ", out_axes=-1"])
        self.assign(block, f"vmap({f}{axes})({v.name})", "f8", (3, *shape))

    def grad(self, block: Block) -> None:
        v = self.pick(block, "f", self.rng.choice(SHAPES))
        assert v
        arg = Value(self.new("a"), v.kind, v.shape)
        f = self.function(
            block, arg.name, [arg], lambda b: self.of_type(b, "f8", ()), dynamic=False
        )
        self.assign(block, f"np.tanh(grad({f})({v.name}))", v.kind, v.shape)


_DTYPES = {"f8": "float64", "f4": "float32"}


def loose(parts: list[Value]) -> list[Value]:
    """The parts of a carry as the body sees them: a float's dtype may not be its last one yet."""
    return [Value(p.name, "f" if p.kind[0] == "f" else p.kind, p.shape) for p in parts]


def names(values: list[Value]) -> str:
    return ", ".join(v.name for v in values)


def tree_text(kind: str, parts: list[str]) -> str:
    if kind == "dict":
        return "{" + ", ".join(f"'k{i}': {p}" for i, p in enumerate(parts)) + "}"
    inner = ", ".join(parts)
    return f"[{inner}]" if kind == "list" else f"({inner},)"


def leaves_text(kind: str, whole: str, count: int) -> str:
    if kind == "dict":
        return "(" + "".join(f"{whole}['k{i}'], " for i in range(count)) + ")"
    return whole


def generate(rng: random.Random) -> str:
    return Generator(rng).program()


def _jax_scan(f: Any, init: Any, xs: Any, length: int | None = None, **options: Any) -> Any:
    """JAX cannot run a scan without steps while it compiles nothing: of those, only the types."""
    if length != 0:
        return jax.lax.scan(f, init, xs, length=length, **options)
    with jax.disable_jit(False):
        carry, ys = jax.eval_shape(f, init, None)
    start = jax.tree.map(lambda x, out: jnp.asarray(x).astype(out.dtype), init, carry)
    return start, jax.tree.map(lambda y: jnp.zeros((0, *y.shape), y.dtype), ys)


_JAX_LAX = types.SimpleNamespace(**{**vars(jax.lax), "scan": _jax_scan})


def compiled(text: str, library: Any) -> Callable[..., Any]:
    """The program as a function of (floats, n, p), with one library's functions."""
    scope = {
        "np": fnp if library is fst else jnp,
        "lax": fst.lax if library is fst else _JAX_LAX,
        "jit": library.jit,
        "vmap": library.vmap,
        "grad": library.grad,
    }
    exec(compile(text, "<program>", "exec"), scope)
    program = scope["program"]
    return lambda floats, n, p: program(*floats, n, p)


# Checks


class Example(NamedTuple):
    """Arguments, and tangents of the floats among them."""

    floats: tuple[Any, ...]
    tangents: tuple[Any, ...]
    n: Any
    p: Any


def examples(seed: int, count: int) -> list[Example]:
    rng = np.random.default_rng(seed)

    def floats() -> tuple[Any, ...]:
        return (
            np.asarray(rng.standard_normal()),
            rng.standard_normal(3),
            rng.standard_normal((3, 3)),
            rng.standard_normal(3).astype(np.float32),
        )

    return [
        Example(
            floats(),
            floats(),
            np.asarray(rng.integers(0, 5), np.int32),
            np.asarray(bool(rng.integers(0, 2))),
        )
        for _ in range(count)
    ]


def widened(x: Any) -> Any:
    return x.astype(np.float64) if x.dtype == np.float32 else x


def assert_close(got: Any, expected: Any, what: str, rtol: float) -> None:
    """Equal trees of arrays."""
    got, expected = jax.tree.leaves(got), jax.tree.leaves(expected)
    assert len(got) == len(expected), (what, len(got), len(expected))
    for a, b in zip(got, expected, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.dtype, a.shape) == (b.dtype, b.shape), what
        scale = np.max(np.abs(b), initial=1.0)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale, err_msg=what)


# A float32 value rounds by 6e-8, a float64 value by 1e-16; loops within loops amplify that.
RTOL_MIXED = 2e-4
RTOL_DOUBLE = 1e-10


def in_jax(text: str, first: Example) -> list[Any]:
    """Leaves of the values, of the integer, of the gradient and of the tangents, as JAX has them.

    It runs the program step by step: nothing is compiled, and the reverse mode passes through
    `while`.
    """
    program = compiled(text, jax)
    with jax.enable_x64(True), jax.disable_jit():
        floats = jax.tree.map(jnp.asarray, first.floats)
        n, p = jnp.asarray(first.n), jnp.asarray(first.p)
        out, vjp, aux = jax.vjp(lambda fs: program(fs, n, p), floats, has_aux=True)
        (gradient,) = vjp(tuple(jnp.asarray(np.cos(np.asarray(y))) for y in out))
        tangents = jax.jvp(lambda fs: program(fs, n, p)[0], (floats,), (first.tangents,))[1]
    return jax.tree.leaves((out, aux, gradient, tangents))


def check(text: str, seed: int, answer: Callable[[Callable[[], Any]], Any] | None = None) -> None:
    """Compare a program with JAX, and its transforms with each other. Raises AssertionError.

    answer: gives what a question to JAX has as its answer, where that is known already.
    """
    batch = examples(seed, 3)
    mixed = "float32" in text
    if not mixed:
        batch = [jax.tree.map(widened, e) for e in batch]
    first = batch[0]
    close = functools.partial(assert_close, rtol=RTOL_MIXED if mixed else RTOL_DOUBLE)
    n, p = first.n, first.p
    ours = compiled(text, fst)
    ask = functools.partial(in_jax, text, first)
    said = [np.asarray(x) for x in (answer(ask) if answer else ask())]
    count = (len(said) - 1 - len(first.floats)) // 2
    expected, jax_aux = tuple(said[:count]), said[count]
    expected_grad, expected_tangent = tuple(said[count + 1 : -count]), tuple(said[-count:])
    cts = tuple(np.cos(y) for y in expected)

    def pull(fs: Any, n: Any, p: Any) -> Any:
        return fst.vjp(lambda fs: ours(fs, n, p)[0], fs)[1](cts)[0]

    def push(fs: Any, n: Any, p: Any, ts: Any) -> Any:
        return fst.jvp(lambda fs: ours(fs, n, p)[0], (fs,), (ts,))[1]

    floats, n, p = jax.tree.map(fnp.asarray, (first.floats, n, p))
    ts = first.tangents
    close(ours(floats, n, p), (expected, jax_aux), "value")
    close(push(floats, n, p, ts), expected_tangent, "jvp")
    close(pull(floats, n, p), expected_grad, "vjp")
    fst.make_jaxpr(pull)(floats, n, p).check()
    close(fst.jit(lambda *a: (ours(*a), push(*a, ts), pull(*a)))(floats, n, p),
          ((expected, jax_aux), expected_tangent, expected_grad), "jit")  # fmt: skip

    # A batch is its examples one by one.
    inputs = [jax.tree.map(fnp.asarray, (e.floats, e.n, e.p)) for e in batch]
    stacked = jax.tree.map(lambda *xs: fnp.stack(xs), *inputs)
    each = [(ours(*e), pull(*e)) for e in inputs[1:]]
    each = [((expected, jax_aux), expected_grad), *each]
    stack = jax.tree.map(lambda *xs: np.stack([np.asarray(x) for x in xs]), *each)
    close(fst.vmap(lambda *a: (ours(*a), pull(*a)))(*stacked), stack, "vmap")
    if seed % 2:
        close(
            fst.jit(fst.vmap(lambda fs, n, p: pull(fs, n, p)))(*stacked), stack[1], "jit vmap vjp"
        )
        return
    # The second derivative is symmetric: forward over reverse is reverse over forward.
    first_way = fst.jvp(lambda fs: pull(fs, n, p), (floats,), (ts,))[1]
    second_way = fst.vjp(lambda fs: push(fs, n, p, ts), floats)[1](cts)[0]
    close(first_way, second_way, "second derivative")


def run(start: int, count: int) -> int:
    """Check the programs with these seeds, print those that fail, and give their number."""
    failed = 0
    began = time.perf_counter()
    for seed in range(start, start + count):
        text = generate(random.Random(seed))
        try:
            check(text, seed)
        except Exception:
            failed += 1
            print(f"seed {seed}\n{text}\n{traceback.format_exc(limit=-6)}", flush=True)
    spent = time.perf_counter() - began
    print(f"{count} programs from seed {start}: {failed} failed, {spent:.0f} s", flush=True)
    return failed


if __name__ == "__main__":
    fst.config.update("default_dtype_bits", 64)
    sys.exit(run(int(sys.argv[1]), int(sys.argv[2])) > 0)
