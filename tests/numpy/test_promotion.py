"""The dtypes of binary operations, for all pairs of dtypes and kinds of scalars, against JAX's."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import dtypes

NARROW = [
    "bool", "int8", "int16", "int32", "uint8", "uint16", "uint32",
    "float16", "bfloat16", "float32", "complex64",
]  # fmt: skip
WIDE = ["int64", "uint64", "float64", "complex128"]
SCALARS = [True, 2, 2.5, 1 + 2j]
OPERATIONS = [
    "add", "subtract", "multiply", "true_divide", "floor_divide", "remainder", "power", "maximum",
    "bitwise_and", "left_shift", "logical_or", "less", "equal", "arctan2", "logaddexp", "hypot",
    "copysign", "heaviside", "where",
]  # fmt: skip

REAL_ONLY = {"arctan2", "copysign", "heaviside", "hypot", "logaddexp"}
TO_FLOAT = {"true_divide", "arctan2", "copysign", "heaviside", "hypot", "logaddexp"}


def is_integral(kind):
    return kind is True or kind == 2 or (isinstance(kind, str) and kind.strip("u")[:3] in INTEGRAL)


INTEGRAL = {"boo", "int"}

# Each intended deviation: its reason, and when it holds.
DEVIATIONS = [
    (
        "functions of real numbers refuse complex ones, as NumPy's do",
        lambda name, kinds, ours, theirs: name in REAL_ONLY and ours is None,
    ),
    (
        "integers become floats of the default width; JAX gives narrow ones float32 at either",
        lambda name, kinds, ours, theirs: (
            name in TO_FLOAT
            and all(map(is_integral, kinds))
            and ours[0] == dtypes.default_float()
            and ours[1] == theirs[1]
        ),
    ),
    (
        "weakness is kept, as by every other function",
        lambda name, kinds, ours, theirs: (
            name in ("hypot", "heaviside") and ours[0] == theirs[0] and ours[1]
        ),
    ),
    (
        "bools are divided, shifted and raised to powers as default integers; in JAX as int32",
        lambda name, kinds, ours, theirs: (
            name in ("floor_divide", "remainder", "power", "left_shift")
            and {"bool", True} & set(kinds)
            and all(k in ("bool", True, 2) for k in kinds)
            and ours[0] == dtypes.default_int()
        ),
    ),
]


def apply(np_, name):
    if name == "where":
        return lambda x, y: np_.where(True, x, y)
    return getattr(np_, name)


def shape_of(eval_shape, function, operands):
    """The dtype and weakness of the result, or None when the operation refuses the operands."""
    arrays = [x for x in operands if not isinstance(x, (bool, int, float, complex))]

    def call(*given):
        given = iter(given)
        scalar = (bool, int, float, complex)
        return function(*[x if isinstance(x, scalar) else next(given) for x in operands])

    try:
        out = eval_shape(call, *arrays)
    except (TypeError, ValueError):
        return None
    # Nothing depends on the weakness of a bool, and ours are always strong.
    return np.dtype(out.dtype), out.weak_type and out.dtype != bool


def operands(module, kinds):
    def make(kind):
        if isinstance(kind, str):
            return module.ShapeDtypeStruct((2,), dtypes.canonical(kind))
        return kind

    return [make(k) for k in kinds]


def in_jax(name, pairs):
    """What `shape_of` says of JAX for each pair, as a text."""
    said = []
    for kinds in pairs:
        out = shape_of(jax.eval_shape, apply(jnp, name), operands(jax, kinds))
        said.append(out and (out[0].name, bool(out[1])))
    return np.asarray(json.dumps(said))


def check(name, kinds, said, problems):
    ours = shape_of(fst.eval_shape, apply(fnp, name), operands(fst, kinds))
    theirs = said and (dtypes.canonical(said[0]), said[1])
    if ours != theirs and not any(holds(name, kinds, ours, theirs) for _, holds in DEVIATIONS):
        problems.append((kinds, ours, theirs))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", OPERATIONS)
def test_result_agrees_with_jax(name, bits, recorded):
    names = NARROW if bits == 32 else NARROW + WIDE
    pairs = [
        *itertools.product(names, repeat=2),
        *itertools.product(names, SCALARS),
        *itertools.product(SCALARS, names),
        *itertools.product(SCALARS, repeat=2),
    ]
    problems = []
    with fst.config.override(default_dtype_bits=bits), jax.enable_x64(bits == 64):
        said = json.loads(recorded(lambda: in_jax(name, pairs)).item())
        for kinds, theirs in zip(pairs, said, strict=True):
            check(name, kinds, theirs, problems)
    assert not problems, "\n".join(f"{k}: ours {a}, JAX {b}" for k, a, b in problems[:20])
