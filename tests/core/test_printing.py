"""The text of jaxprs, written out; `test_jaxpr_text_like_jax.py` compares it with JAX's."""

import enum
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fstensor import lax
from fstensor.array import from_buffer
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import ClosedJaxpr, Eqn, Jaxpr, Literal, Var
from fstensor.core.primitive import Primitive
from fstensor.core.printing import Break, Group, Nest, eqn_text, jaxpr_text, layout
from fstensor.transforms.jit import jit
from fstensor.transforms.make_jaxpr import make_jaxpr

X = np.ones(3, np.float32)
VECTOR = ShapedArray((3,), np.dtype(np.float32))


class Color(enum.Enum):
    RED = 1


@dataclass(frozen=True)
class Probe(Primitive):
    """A primitive that is not in the registry, with a parameter of any kind."""

    parameter: object = None
    name = "probe"

    def abstract(self, *avals):
        return VECTOR

    def impl(self, xp, *buffers):
        return buffers[0]


def text_of(parameter):
    return eqn_text(Eqn(Probe(parameter), [Var(VECTOR)], [Var(VECTOR)], None))


@pytest.mark.parametrize(
    ("parameter", "text"),
    [
        (3, "3"),
        (None, "None"),
        ((0, 1), "(0, 1)"),
        ("a", "a"),
        (np.dtype(np.int32), "int32"),
        (Color.RED, "Color.RED"),
        (len, "len"),
        (lambda x: x, "<lambda>"),
        (frozenset({"b", "a"}), "frozenset({'a', 'b'})"),
        (VECTOR, "float32[3]"),
        ((VECTOR,), "(ShapedArray(float32[3]),)"),
        ((), "()"),
    ],
    ids=range(12),
)
def test_parameters(parameter, text):
    assert text_of(parameter) == f"a:f32[3] = probe[parameter={text}] b"


def test_addresses_are_not_printed():
    class Something:
        pass

    assert " at 0x" not in text_of(Something())


def test_one_line():
    closed = make_jaxpr(lambda x: lax.mul(lax.sin(x), 20.0))(X)
    expected = "{ lambda ; a:f32[3]. let b:f32[3] = sin a; c:f32[3] = mul b 20.0:f32[] in (c,) }"
    assert len(expected) == 80
    assert str(closed) == expected
    assert str(closed.jaxpr) == expected
    assert jaxpr_text(closed.jaxpr) == expected


def test_one_column_too_many():
    closed = make_jaxpr(lambda x: lax.mul(lax.sin(x), 200.0))(X)
    assert str(closed) == (
        "{ lambda ; a:f32[3]. let\n"
        "    b:f32[3] = sin a\n"
        "    c:f32[3] = mul b 200.0:f32[]\n"
        "  in (c,) }"
    )


def test_empty():
    assert str(make_jaxpr(lambda: ())()) == "{ lambda ; . let  in () }"


def test_constants_and_unread_results():
    closed = make_jaxpr(lambda x: (lax.sin(x), lax.add(x, np.ones(3, np.float32)))[1])(X)
    assert str(closed) == (
        "{ lambda a:f32[3]; b:f32[3]. let _:f32[3] = sin b; c:f32[3] = add b a in (c,) }"
    )


def test_broken_parameters():
    closed = make_jaxpr(
        lambda x: lax.dot_general(x, x, (((1,), (0,)), ((), ())), preferred_element_type=np.float32)
    )(np.ones((3, 3), np.float32))
    assert str(closed) == (
        "{ lambda ; a:f32[3,3]. let\n"
        "    b:f32[3,3] = dot_general[\n"
        "      dimension_numbers=(([1], [0]), ([], []))\n"
        "      preferred_element_type=float32\n"
        "    ] a a\n"
        "  in (b,) }"
    )


def test_shared_programs_stand_in_front():
    g = jit(lambda x: lax.sin(x))
    assert str(make_jaxpr(lambda x: g(g(x)))(X)) == (
        "let lambda = { lambda ; a:f32[3]. let b:f32[3] = sin a in (b,) } in\n"
        "{ lambda ; c:f32[3]. let\n"
        "    d:f32[3] = jit[name=<lambda> jaxpr=lambda] c\n"
        "    e:f32[3] = jit[name=<lambda> jaxpr=lambda] d\n"
        "  in (e,) }"
    )


def test_programs_within_programs_are_counted_quickly():
    """Each level calls the one below twice: 2^40 calls, but 41 programs."""
    f = lax.sin
    for _ in range(40):
        f = jit(lambda x, below=f: lax.add(below(x), below(x)))
    text = str(make_jaxpr(f)(X))
    assert text.count("let lambda") == 39


def test_equal_programs_of_two_functions_are_not_shared():
    f, g = (jit(lambda x: lax.sin(x)) for _ in range(2))
    assert not str(make_jaxpr(lambda x: f(g(x)))(X)).startswith("let")


def test_tuples_of_programs():
    programs = tuple(make_jaxpr(f)(X) for f in (lax.sin, lax.cos))
    assert text_of(programs) == (
        "a:f32[3] = probe[\n"
        "  parameter=(\n"
        "    { lambda ; b:f32[3]. let c:f32[3] = sin b in (c,) }\n"
        "    { lambda ; d:f32[3]. let e:f32[3] = cos d in (e,) }\n"
        "  )\n"
        "] f"
    )


def test_a_program_that_nothing_calls_has_a_name_too():
    inner = make_jaxpr(lax.sin)(X)
    eqns = []
    x = first = Var(VECTOR)
    for _ in range(2):
        y = Var(VECTOR)
        eqns.append(Eqn(Probe(inner), [x], [y], None))
        x = y
    assert jaxpr_text(Jaxpr([], [first], [x], eqns)).startswith("let jaxpr = { lambda ; a:f32[3].")


def test_names_of_programs_are_distinct():
    def f(x):
        return lax.sin(x)

    first = jit(f)

    def f(x):
        return lax.cos(x)

    second = jit(f)

    def f1(x):
        return lax.tan(x)

    third = jit(f1)
    text = str(make_jaxpr(lambda x: [g(g(x)) for g in (first, second, third)])(X))
    names = [line.split()[1] for line in text.splitlines() if line.startswith("let")]
    assert names == ["f", "f1", "f11"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(0.1), "0.10000000149011612:f32[]"),
        (np.float64(0.5), "0.5:f64[]"),
        (np.bool_(True), "True:bool[]"),
        (np.int8(-3), "-3:i8[]"),
        (np.complex64(1 + 2j), "(1+2j):c64[]"),
        (np.float32("nan"), "nan:f32[]"),
        (np.float32("-inf"), "-inf:f32[]"),
    ],
)
def test_literals(value, text):
    literal = Literal(from_buffer(np.asarray(value)))
    eqn = Eqn(Probe(), [literal], [Var(VECTOR)], None)
    assert eqn_text(eqn) == f"a:f32[3] = probe[parameter=None] {text}"


def test_names_after_z():
    def f(x):
        for _ in range(30):
            x = lax.sin(x)
        return x

    assert "    z:f32[3] = sin y\n    ba:f32[3] = sin z\n" in str(make_jaxpr(f)(X))


def test_equation():
    eqn = make_jaxpr(lambda x: lax.reduce_sum(x, (0,)))(X).eqns[0]
    assert repr(eqn) == "a:f32[] = reduce_sum[axes=(0,)] b"


def test_closed_jaxpr_prints_as_its_jaxpr():
    closed = make_jaxpr(lax.sin)(X)
    assert repr(ClosedJaxpr(closed.jaxpr)) == repr(closed.jaxpr)


# Layout

words = st.text("xy", max_size=9)
documents = st.recursive(
    words | st.sampled_from(["", " ", "; "]).map(Break),
    lambda inner: st.lists(inner, max_size=5).map(tuple) | inner.map(Nest) | inner.map(Group),
    max_leaves=20,
)


def flat_text(doc):
    if isinstance(doc, str):
        return doc
    if isinstance(doc, Break):
        return doc.text
    return "".join(map(flat_text, doc if isinstance(doc, tuple) else (doc.doc,)))


@given(documents, st.integers(1, 40))
def test_layout_keeps_the_words(doc, width):
    words = "".join(c for c in flat_text(doc) if c in "xy")
    assert "".join(c for c in layout(doc, width) if c in "xy") == words


@given(documents)
def test_group_that_fits_is_flat(doc):
    flat = flat_text(doc)
    assert layout(Group(doc), len(flat)) == flat
    if flat:
        outer = layout(Group((doc, Break(), "x" * len(flat))), len(flat))
        assert outer.endswith("\n" + "x" * len(flat))


def test_layout_of_nested_groups():
    doc = Group(("f(", Nest((Break(""), Group(("a", Break(), "b")), Break(), "c")), ")"))
    assert layout(doc, 20) == "f(a b c)"
    assert layout(doc, 7) == "f(\n  a b\n  c)"
    assert layout(doc, 4) == "f(\n  a\n  b\n  c)"
