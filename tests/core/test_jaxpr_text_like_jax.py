"""The same Python function traced by both libraries gives the same text.

Each entry takes a namespace `n`, with the transforms and `n.lax`, and gives a function of arrays.
"""

import re
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from fstensor import lax, random
from fstensor.transforms.grad import grad, value_and_grad
from fstensor.transforms.jit import jit
from fstensor.transforms.jvp import jvp
from fstensor.transforms.make_jaxpr import make_jaxpr
from fstensor.transforms.transpose import vjp
from fstensor.transforms.vmap import vmap

OURS = SimpleNamespace(
    lax=lax,
    random=random,
    grad=grad,
    value_and_grad=value_and_grad,
    jvp=jvp,
    vjp=vjp,
    jit=jit,
    vmap=vmap,
    make_jaxpr=make_jaxpr,
)
X = np.ones(3, np.float32)
M = np.ones((2, 3), np.float32)
W = np.ones((3, 4), np.float32)
I = np.arange(3, dtype=np.int32)  # noqa: E741
Z = np.ones(3, np.complex64)
S = np.float32(1)
K = np.zeros(2, np.uint32)  # a random key in its older form

# Parameters of JAX's that we do not have, since they say where arrays lie or how exact a matrix
# unit is, or since they never differ from this value here.
ABSENT = (
    r"out_sharding=None",
    r"sharding=None",
    r"dimensions=None",  # of reshape
    r"axis_index_groups=None",  # of psum
    r"input_dtype=complex64",  # of conj; the operand tells it
)


def normalized(text):
    """JAX's tokens without the parameters that we leave out."""
    for parameter in ABSENT:
        text = re.sub(rf"\[\s*{parameter}\s*\]", "", text)
        text = re.sub(rf"(?<=[\[\s]){parameter}(?=[\]\s])", "", text)
    # JAX's batching leaves a NumPy scalar in some parameters, which prints with its type.
    return squeezed(re.sub(r"np\.int64\((\d+)\)", r"\1", text))


def squeezed(text):
    """The tokens, however they are laid out: on several lines, or on one with `; ` between them."""
    text = re.sub(r"\s+", " ", text.replace("; ", " "))
    return re.sub(r"(?<=\[) | (?=\])", "", text).strip()


def chain(n, x):
    for _ in range(30):
        x = n.lax.sin(x)
    return x


def twice(n):
    g = n.jit(lambda x: n.lax.sin(x))
    return lambda x: g(n.lax.cos(g(x)))


def deep(n):
    g = n.jit(lambda x: n.lax.mul(x, 2.0))
    h = n.jit(lambda x: n.lax.add(g(x), 1.0))
    return lambda x: h(h(x))


def named_outputs(n):
    def f(x):
        return n.lax.sin(x), x, n.lax.cos(x)

    return n.jit(f)


def total(n, x):
    return n.lax.reduce_sum(x, tuple(range(x.ndim)))


def layer(n):
    def f(w, x):
        h = n.lax.tanh(n.lax.dot_general(x, w, (((1,), (0,)), ((), ()))))
        return total(n, n.lax.mul(h, h))

    return f


FUNCTIONS = {
    "elementwise": (lambda n: lambda x: n.lax.mul(n.lax.sin(x), 2.0), (X,)),
    "unary": (
        lambda n: (
            lambda x: [
                f(x)
                for f in (
                    n.lax.exp,
                    n.lax.log1p,
                    n.lax.tanh,
                    n.lax.logistic,
                    n.lax.rsqrt,
                    n.lax.abs,
                )
            ]
        ),
        (X,),
    ),
    "binary": (
        lambda n: (
            lambda x, y: [
                f(x, y)
                for f in (n.lax.max, n.lax.pow, n.lax.atan2, n.lax.rem, n.lax.div, n.lax.sub)
            ]
        ),
        (X, X),
    ),
    "integer_pow": (lambda n: lambda x: n.lax.integer_pow(x, 3), (X,)),
    "comparison": (lambda n: lambda x, y: (n.lax.eq(x, y), n.lax.lt(x, 0.5)), (X, X)),
    "integers": (
        lambda n: lambda i: n.lax.shift_left(n.lax.bitwise_and(i, 6), n.lax.add(i, 1)),
        (I,),
    ),
    "complex": (lambda n: lambda z: (n.lax.real(z), n.lax.conj(z), n.lax.mul(z, 2j)), (Z,)),
    "select": (lambda n: lambda x: n.lax.select_n(n.lax.gt(x, 0.0), x, n.lax.neg(x)), (X,)),
    "clamp": (lambda n: lambda x: n.lax.clamp(0.0, x, 1.0), (X,)),
    "convert": (lambda n: lambda x: n.lax.convert_element_type(x, np.int32), (X,)),
    "bitcast": (lambda n: lambda x: n.lax.bitcast_convert_type(x, np.uint32), (X,)),
    "broadcast": (lambda n: lambda x: n.lax.broadcast_in_dim(x, (2, 3), (1,)), (X,)),
    "broadcast_scalar": (lambda n: lambda s: n.lax.broadcast_in_dim(s, (2, 3), ()), (S,)),
    "reshape": (lambda n: lambda m: n.lax.reshape(m, (3, 2)), (M,)),
    "transpose": (lambda n: lambda m: n.lax.transpose(m, (1, 0)), (M,)),
    "squeeze": (lambda n: lambda x: n.lax.squeeze(n.lax.expand_dims(x, (0,)), (0,)), (X,)),
    "iota": (lambda n: lambda: n.lax.broadcasted_iota(np.int32, (2, 3), 1), ()),
    "slice": (
        lambda n: (
            lambda m: (n.lax.slice(m, (0, 1), (2, 3)), n.lax.slice(m, (0, 0), (2, 3), (1, 2)))
        ),
        (M,),
    ),
    "pad": (lambda n: lambda x: n.lax.pad(x, 0.0, [(1, 2, 0)]), (X,)),
    "concatenate": (lambda n: lambda x, y: n.lax.concatenate([x, y], 0), (X, X)),
    "rev": (lambda n: lambda m: n.lax.rev(m, (1,)), (M,)),
    "reduce_sum": (lambda n: lambda m: n.lax.reduce_sum(m, (0,)), (M,)),
    "reduce_max": (lambda n: lambda m: n.lax.reduce_max(m, (0, 1)), (M,)),
    "argmax": (lambda n: lambda m: n.lax.argmax(m, 1, np.int32), (M,)),
    "cumsum": (lambda n: lambda m: n.lax.cumsum(m, 1, reverse=True), (M,)),
    "sort": (lambda n: lambda x, i: n.lax.sort((x, i), num_keys=1), (X, I)),
    "dot_general": (
        lambda n: lambda m, w: n.lax.dot_general(m, w, (((1,), (0,)), ((), ()))),
        (M, W),
    ),
    "dot_general_batch": (
        lambda n: (
            lambda a, b: n.lax.dot_general(
                a, b, (((2,), (1,)), ((0,), (0,))), preferred_element_type=np.float32
            )
        ),
        (np.ones((5, 2, 3), np.float32), np.ones((5, 3, 4), np.float32)),
    ),
    "constant": (lambda n: lambda m: n.lax.add(m, M), (M,)),
    "literals": (
        lambda n: lambda x: (x, 1.0, 2, True, 1 + 2j, np.float32(0.1), float("nan"), np.int8(3)),
        (X,),
    ),
    "nothing": (lambda n: lambda: (), ()),
    "identity": (lambda n: lambda x: x, (X,)),
    "unused": (lambda n: lambda x, y: (n.lax.sin(x), y)[1], (X, X)),
    "trees": (
        lambda n: lambda p, x: {"out": n.lax.mul(p["a"], x), "both": (p["a"], p["b"][0])},
        ({"a": X, "b": [S]}, X),
    ),
    "many_names": (lambda n: lambda x: chain(n, x), (X,)),
    "long_lines": (lambda n: lambda *xs: (n.lax.concatenate(xs, 0), *xs), [X] * 30),
    "jit": (lambda n: lambda x: n.jit(lambda y: n.lax.sin(y))(n.lax.cos(x)), (X,)),
    "jit_named": (named_outputs, (X,)),
    "jit_shared": (twice, (X,)),
    "jit_nested": (deep, (X,)),
    "jit_long": (lambda n: lambda x: n.jit(lambda y: chain(n, y))(x), (X,)),
    "jit_dropped": (
        lambda n: lambda x: n.jit(lambda y: (n.lax.sin(y), n.lax.cos(y)))(x)[0],
        (X,),
    ),
    "grad": (lambda n: n.grad(lambda x: total(n, n.lax.sin(x))), (X,)),
    "grad_mul": (lambda n: n.grad(lambda x, y: total(n, n.lax.mul(x, y)), (0, 1)), (X, X)),
    "grad_layer": (lambda n: n.grad(layer(n)), (W, M)),
    "value_and_grad": (lambda n: n.value_and_grad(lambda x: total(n, n.lax.exp(x))), (X,)),
    "grad_grad": (lambda n: n.grad(n.grad(lambda s: n.lax.sin(s))), (S,)),
    "grad_jit": (lambda n: n.grad(n.jit(lambda x: total(n, n.lax.sin(x)))), (X,)),
    "grad_structural": (
        lambda n: n.grad(lambda m: total(n, n.lax.sin(n.lax.transpose(m, (1, 0))))),
        (M,),
    ),
    "grad_broadcast": (
        lambda n: n.grad(lambda s: total(n, n.lax.sin(n.lax.broadcast_in_dim(s, (2, 3), ())))),
        (S,),
    ),
    "jvp": (lambda n: lambda x, t: n.jvp(n.lax.sin, (x,), (t,)), (X, X)),
    "jvp_div": (lambda n: lambda x, y, t: n.jvp(n.lax.div, (x, y), (t, t)), (X, X, X)),
    "jvp_max": (lambda n: lambda x, y, t: n.jvp(n.lax.max, (x, y), (t, t)), (X, X, X)),
    "vjp": (lambda n: lambda x, ct: n.vjp(n.lax.tanh, x)[1](ct), (X, X)),
    "vmap": (lambda n: n.vmap(lambda x: total(n, n.lax.mul(x, 2.0))), (M,)),
    "vmap_axes": (lambda n: n.vmap(lambda x, y: n.lax.add(x, y), (0, None)), (M, X)),
    "vmap_dot": (
        lambda n: n.vmap(lambda x, w: n.lax.dot_general(x, w, (((0,), (0,)), ((), ()))), (0, None)),
        (M, W),
    ),
    "vmap_grad": (lambda n: n.vmap(n.grad(lambda x: total(n, n.lax.sin(x)))), (M,)),
    "vmap_jit": (lambda n: n.vmap(n.jit(lambda x: n.lax.sin(x))), (M,)),
    "uniform": (lambda n: lambda k: n.random.uniform(n.random.wrap_key_data(k), (3,)), (K,)),
    "normal": (lambda n: lambda k: n.random.normal(k, (3,)), (K,)),
    "split": (lambda n: lambda k: n.random.split(k, 3), (K,)),
    "bernoulli": (lambda n: lambda k: n.random.bernoulli(k, 0.5, (3,)), (K,)),
    "exponential": (lambda n: lambda k: n.random.exponential(k, (3,)), (K,)),
}
UNARY = """neg exp exp2 expm1 log log1p logistic sin cos tan asin acos atan sinh cosh tanh asinh
    acosh atanh sqrt rsqrt cbrt abs sign floor ceil erf erfc erf_inv lgamma square"""
for op in UNARY.split():
    FUNCTIONS[f"jvp_{op}"] = (
        lambda n, op=op: lambda x, t: n.jvp(getattr(n.lax, op), (x,), (t,)),
        (X, X),
    )
    FUNCTIONS[f"vmap_grad_{op}"] = (
        lambda n, op=op: n.vmap(n.grad(lambda s: getattr(n.lax, op)(s))),
        (X,),
    )


def compare(name):
    function, args = FUNCTIONS[name]
    theirs = SimpleNamespace(**{k: getattr(jax, k) for k in vars(OURS)})
    return [str(n.make_jaxpr(function(n))(*args)) for n in (OURS, theirs)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_same_text(name):
    ours, theirs = compare(name)
    assert squeezed(ours) == normalized(theirs)
    if normalized(theirs) == squeezed(theirs):
        assert ours == theirs  # line by line
