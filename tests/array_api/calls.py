"""What each function of the standard is called with."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from tests.array_api.arguments import (
    DTYPE,
    FILLED,
    FLOAT_DTYPE,
    INT_OR_BOOL,
    SHAPES,
    Call,
    Dtype,
    along_axis,
    arrays,
    call,
    maybe,
    pairs,
    python_scalars,
    reductions,
    unary,
)
from tests.array_api.standard import (
    BOOL,
    COMPLEX,
    DTYPES,
    FLOATING,
    INTEGER,
    NUMERIC,
    REAL,
    REAL_FLOATING,
    SIGNED,
    UNSIGNED,
)

CALLS: dict[str, Any] = {}

# Elementwise functions of one array
for _name in [
    "abs",
    "conj",
    "isfinite",
    "isinf",
    "isnan",
    "negative",
    "positive",
    "real",
    "square",
]:
    CALLS[_name] = unary(NUMERIC)
for _name in ["ceil", "floor", "trunc"]:
    CALLS[_name] = unary(REAL)
for _name in [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "cos",
    "cosh",
    "exp",
    "expm1",
    "log",
    "log10",
    "log1p",
    "log2",
    "reciprocal",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
]:
    CALLS[_name] = unary(FLOATING)
CALLS |= {
    "bitwise_invert": unary(INT_OR_BOOL),
    "imag": unary(COMPLEX),
    "logical_not": unary(BOOL),
    "round": unary(NUMERIC),
    "sign": unary(NUMERIC),
    "signbit": unary(REAL_FLOATING),
}

# Elementwise functions of two arrays
for _name in ["add", "subtract", "multiply", "equal", "not_equal"]:
    CALLS[_name] = pairs(NUMERIC if _name in ("add", "subtract", "multiply") else DTYPES,
                         special=True)  # fmt: skip
for _name in ["greater", "greater_equal", "less", "less_equal", "maximum", "minimum"]:
    CALLS[_name] = pairs(REAL, special=True)
for _name in ["atan2", "copysign", "hypot", "logaddexp", "nextafter"]:
    CALLS[_name] = pairs(REAL_FLOATING, special=True)
for _name in ["bitwise_and", "bitwise_or", "bitwise_xor"]:
    CALLS[_name] = pairs(INT_OR_BOOL)
for _name in ["logical_and", "logical_or", "logical_xor"]:
    CALLS[_name] = pairs(BOOL)
for _name in ["bitwise_left_shift", "bitwise_right_shift"]:
    CALLS[_name] = pairs(INTEGER, low=-3, high=3, second=(0, 4))
# Quotients near an integer round either way, so that divisors are powers of two.
CALLS |= {
    "divide": pairs(FLOATING, second=(1, 9)),
    "pow": pairs(INTEGER, low=-3, high=3, second=(0, 3)) | pairs(FLOATING, low=1, second=(-3, 3)),
    "floor_divide": pairs(INTEGER, second=(1, 9)) | pairs(REAL_FLOATING, second=(1, 1)),
    "remainder": pairs(INTEGER, second=(1, 9)) | pairs(REAL_FLOATING, second=(1, 1)),
}


@st.composite
def clips(draw):
    x = draw(arrays(REAL))
    dtype = x.dtype.name
    bound = st.none() | python_scalars(dtype, -5, 5) | arrays((dtype,), x.shape) | arrays(
        (dtype,), ())  # fmt: skip
    low, high = draw(bound), draw(bound)
    if low is not None and high is not None:
        assume(np.all(low <= high))
    return draw(st.sampled_from([Call((x, low, high), {}), Call((x,), {"min": low, "max": high}),
                                 Call((x,), {"max": high})]))  # fmt: skip


CALLS["clip"] = clips()

# Creation
_SHAPE = st.integers(0, 3) | SHAPES
_COUNT = st.integers(0, 5)
for _name in ["empty", "ones", "zeros"]:
    CALLS[_name] = call(_SHAPE, dtype=maybe(DTYPE)) | call(shape=_SHAPE)
for _name in ["empty_like", "ones_like", "zeros_like"]:
    CALLS[_name] = call(arrays(DTYPES), dtype=maybe(DTYPE))
CALLS |= {
    "full": call(_SHAPE, st.integers(0, 9), dtype=maybe(st.sampled_from(NUMERIC).map(Dtype)))
    | call(shape=_SHAPE, fill_value=st.booleans() | st.floats(-9, 9) | st.just(1 + 2j)),
    "full_like": call(arrays(NUMERIC), st.integers(0, 9), dtype=maybe(FLOAT_DTYPE))
    | call(arrays(COMPLEX), fill_value=st.integers(0, 9)),
    "arange": call(st.integers(-5, 5), st.none() | st.integers(-5, 5), st.sampled_from([1, 2, -1]),
                   dtype=maybe(st.sampled_from(SIGNED + REAL_FLOATING).map(Dtype)))
    | call(st.integers(0, 5).map(float))
    | call(st.integers(0, 5), stop=st.integers(-5, 9), step=st.sampled_from([0.5, 2])),
    "linspace": call(st.integers(-5, 5), st.integers(-5, 5) | st.just(1j), st.integers(1, 6),
                     endpoint=maybe(st.booleans()),
                     dtype=maybe(st.sampled_from(COMPLEX).map(Dtype)))
    | call(st.floats(-5, 5), st.floats(-5, 5), num=st.integers(1, 6),
           dtype=maybe(st.sampled_from(REAL_FLOATING).map(Dtype))),
    "eye": call(_COUNT, st.none() | _COUNT, k=maybe(st.integers(-5, 5)), dtype=maybe(DTYPE))
    | call(_COUNT),
    "tril": call(arrays(DTYPES, hnp.array_shapes(min_dims=2, min_side=0)),
                 k=maybe(st.integers(-5, 5))),
    "triu": call(arrays(DTYPES, hnp.array_shapes(min_dims=2, min_side=0)),
                 k=maybe(st.integers(-5, 5))),
    "asarray": call(st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.just(1 + 2j)
                    | st.lists(st.integers(-9, 9)) | st.just([[1.5, 2], [3, 4]])
                    | st.just(((True,), (False,))))
    | call(arrays(REAL, low=0), dtype=maybe(st.sampled_from(NUMERIC).map(Dtype)),
           copy=maybe(st.just(True) | st.none())),
}  # fmt: skip


@st.composite
def meshgrids(draw):
    dtype = draw(st.sampled_from(NUMERIC))
    vectors = draw(st.lists(arrays((dtype,), st.tuples(st.integers(0, 3))), max_size=3))
    return Call(tuple(vectors), draw(st.sampled_from([{}, {"indexing": "ij"}, {"indexing": "xy"}])))


CALLS["meshgrid"] = meshgrids()


# Data types


@st.composite
def dtype_tuples(draw):
    """Arrays, dtypes and scalars of a family, for result_type."""
    family = draw(st.sampled_from([SIGNED, UNSIGNED, SIGNED + UNSIGNED[:3], FLOATING, BOOL]))
    dtype = st.sampled_from(family)
    values = [draw(arrays(family, ()) | dtype.map(Dtype))]
    values += draw(st.lists(arrays(family, SHAPES) | dtype.map(Dtype), max_size=2))
    if family != BOOL:
        values += draw(st.just([]) | st.just([1]))
    if family == FLOATING:
        values += draw(st.just([]) | st.just([1.0]) | st.just([1j]))
    return Call(tuple(values), {})


CALLS |= {
    "astype": call(arrays(BOOL + REAL, low=0), DTYPE, copy=maybe(st.booleans()))
    | call(arrays(COMPLEX), st.sampled_from(COMPLEX).map(Dtype)),
    "can_cast": st.sampled_from([SIGNED, UNSIGNED, REAL_FLOATING, COMPLEX, BOOL]).flatmap(
        lambda family: call(st.sampled_from(family).map(Dtype) | arrays(family, ()),
                            st.sampled_from(family).map(Dtype))),
    "result_type": dtype_tuples(),
    "isdtype": call(DTYPE, st.sampled_from(["bool", "signed integer", "unsigned integer",
                                            "integral", "real floating", "complex floating",
                                            "numeric"]))
    | call(DTYPE, kind=DTYPE) | call(DTYPE, st.tuples(DTYPE, st.just("integral"))),
    "broadcast_shapes": hnp.mutually_broadcastable_shapes(num_shapes=3).map(
        lambda s: Call(s.input_shapes, {})
    ),
}  # fmt: skip

# Statistics and searching
CALLS |= {
    "sum": reductions(REAL, dtype=FLOAT_DTYPE) | reductions(COMPLEX),
    "prod": reductions(high=2, dtype=st.just(Dtype("complex128"))),
    "mean": reductions(FLOATING, FILLED),
    "std": reductions(REAL_FLOATING, FILLED, correction=st.sampled_from([0, 0.0, 0.5])),
    "var": reductions(REAL_FLOATING, FILLED, correction=st.sampled_from([0, 0.0, 0.5])),
    "max": reductions(REAL, FILLED),
    "min": reductions(REAL, FILLED),
    "all": reductions(DTYPES),
    "any": reductions(DTYPES),
    "count_nonzero": reductions(DTYPES),
    "argmax": reductions(REAL, FILLED, several=False),
    "argmin": reductions(REAL, FILLED, several=False),
    "nonzero": call(arrays(DTYPES, FILLED)),
}
_LINES = st.tuples(st.integers(1, 4))
for _name, _most in (("cumulative_sum", 9), ("cumulative_prod", 2)):
    CALLS[_name] = along_axis(
        "axis", needed=True, dtype=st.just(Dtype("complex64")), include_initial=st.booleans()
    ) | call(arrays(NUMERIC, _LINES, high=_most))
CALLS["sort"] = along_axis("axis", REAL, descending=st.booleans(), stable=st.booleans())
CALLS["argsort"] = along_axis("axis", REAL, descending=st.booleans())


@st.composite
def searches(draw):
    x = draw(arrays(REAL, st.tuples(st.integers(1, 5))))
    sorter = np.argsort(x, kind="stable")
    values = draw(arrays((x.dtype.name,), SHAPES) | python_scalars(x.dtype.name, -5, 5))
    side = draw(st.sampled_from([{}, {"side": "right"}, {"side": "left"}]))
    if draw(st.booleans()):
        return Call((x, values), {**side, "sorter": sorter})
    return Call((np.sort(x), values), side)


@st.composite
def wheres(draw):
    x, y = draw(pairs(DTYPES))[0]
    shape = x.shape if isinstance(x, np.ndarray) else y.shape
    return Call((draw(arrays(BOOL, st.sampled_from([shape, ()]))), x, y), {})


@st.composite
def differences(draw):
    x = draw(arrays(REAL, FILLED))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    kwargs = {"axis": axis, "n": draw(st.integers(0, 2))}
    for end in ("prepend", "append"):
        if draw(st.booleans()):
            kwargs[end] = draw(arrays((x.dtype.name,), x.shape))
    return Call((x,), kwargs)


CALLS |= {
    "searchsorted": searches(),
    "where": wheres(),
    "diff": differences(),
    "isin": pairs(INTEGER),  # array-api-strict 2.6.1 ignores `invert`; test_isin_invert does not
}
_FEW = st.integers(0, 4)
for _name in ["unique_all", "unique_counts", "unique_inverse", "unique_values"]:
    CALLS[_name] = call(arrays(BOOL + INTEGER + REAL_FLOATING, high=2, low=-2))


# Manipulation


@st.composite
def sequences(draw, axis):
    """Lists of arrays that agree in all axes, or all but one."""
    dtype = draw(st.sampled_from([SIGNED, UNSIGNED, FLOATING]))
    shape = draw(FILLED)
    place = draw(st.integers(-len(shape), len(shape) - 1))
    several = draw(st.lists(arrays(dtype, shape), min_size=1, max_size=3))
    if axis == "concat":
        several = [
            x.swapaxes(0, place)[: draw(st.integers(0, 4))].swapaxes(0, place) for x in several
        ]
        kwargs = draw(st.just({"axis": place}))
        if draw(st.booleans()):
            kwargs = {"axis": None}
    else:
        several = [np.real(x).astype(several[0].dtype) for x in several]
        kwargs = draw(st.just({}) | st.just({"axis": place}))
    return Call((draw(st.sampled_from([tuple, list]))(several),), kwargs)


@st.composite
def with_shape(draw, name):
    x = draw(arrays(DTYPES))
    if name == "broadcast_to":
        shape = draw(hnp.broadcastable_shapes(x.shape, min_dims=x.ndim, max_side=3, min_side=0)
                     .filter(lambda s: _stretches(x.shape, s)))  # fmt: skip
        return draw(st.sampled_from([Call((x, shape), {}), Call((x,), {"shape": shape})]))
    shapes = [(x.size,), (1, x.size), (x.size, 1), x.shape[::-1], (-1,), (*x.shape, 1)]
    shape = draw(st.sampled_from(shapes))
    copy = draw(st.sampled_from([{}, {"copy": True}, {"copy": None}]))
    return draw(st.sampled_from([Call((x, shape), copy), Call((x,), {"shape": shape, **copy})]))


def _stretches(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(small, large) == large
    except ValueError:
        return False


@st.composite
def with_axes(draw, name):
    """Functions of an array and axes or numbers of steps."""
    x = draw(arrays(DTYPES, FILLED))
    n = x.ndim
    axis = st.integers(-n, n - 1)
    order = tuple(draw(st.permutations(range(n))))
    if name == "permute_dims":
        order = tuple(a - n * draw(st.booleans()) for a in order)
        return draw(st.sampled_from([Call((x, order), {}), Call((x,), {"axes": order})]))
    if name == "moveaxis":
        some = draw(st.integers(0, n))
        return Call((x, order[:some], tuple(draw(st.permutations(range(n))))[:some]), {}) if draw(
            st.booleans()) else Call((x, draw(axis), draw(axis)), {})  # fmt: skip
    if name == "expand_dims":
        new = draw(st.integers(-n - 1, n) | st.sampled_from([(0, 1), (0, -1), (-1, -2), (1,)]))
        return draw(st.sampled_from([Call((x, new), {}), Call((x,), {"axis": new})]))
    if name == "squeeze":
        x = x[:, None] if draw(st.booleans()) else x[..., None]
        ones = [a for a in range(x.ndim) if x.shape[a] == 1]
        chosen = draw(st.sampled_from(ones) | st.just(tuple(ones)))
        return draw(st.sampled_from([Call((x, chosen), {}), Call((x,), {"axis": chosen})]))
    if name == "flip":
        return Call(
            (x,), draw(st.sampled_from([{}, {"axis": None}, {"axis": order}, {"axis": -1}]))
        )
    if name == "roll":
        steps = st.integers(-5, 5)
        return draw(call(st.just(x), steps) | call(st.just(x), shift=steps, axis=axis) | call(
            st.just(x), st.tuples(*[steps] * n), axis=st.just(order)))  # fmt: skip
    if name == "repeat":
        repeats = st.integers(0, 3)
        each = hnp.arrays("int64", x.shape[-1], elements=repeats)
        return draw(
            call(st.just(x), repeats, axis=maybe(axis)) | call(st.just(x), each, axis=st.just(-1))
        )
    assert name == "tile"
    return Call((x, tuple(draw(st.lists(st.integers(0, 3), max_size=n + 1)))), {})


@st.composite
def takes(draw, along):
    x = draw(arrays(DTYPES, FILLED))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    n = x.shape[axis]
    places = st.integers(-n, n - 1)
    if along:
        shape = list(x.shape)
        shape[axis] = draw(st.integers(0, 4))
        kwargs = {} if axis == -1 else {"axis": axis}
        return Call((x, draw(hnp.arrays("int64", tuple(shape), elements=places))), kwargs)
    index = draw(hnp.arrays("int64", st.integers(0, 4), elements=places))
    return Call((x, index), {} if x.ndim == 1 and draw(st.booleans()) else {"axis": axis})


CALLS |= {
    "broadcast_arrays": pairs(NUMERIC, scalars=False),
    "concat": sequences("concat"),
    "stack": sequences("stack"),
    "unstack": along_axis("axis", DTYPES),
    "take": takes(along=False),
    "take_along_axis": takes(along=True),
    **{name: with_shape(name) for name in ("broadcast_to", "reshape")},
    **{name: with_axes(name) for name in ("permute_dims", "moveaxis", "expand_dims", "squeeze",
                                          "flip", "roll", "repeat", "tile")},
}  # fmt: skip


# Linear algebra in the main namespace


@st.composite
def products(draw, name):
    dtypes = draw(st.sampled_from([SIGNED, UNSIGNED, FLOATING]))
    n = draw(st.integers(1, 3))
    m, k = draw(_FEW), draw(_FEW)
    if name == "vecdot":
        batch = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3))
        x, y = (draw(arrays(dtypes, (*s, n))) for s in batch.input_shapes)
        if draw(st.booleans()) and x.ndim == y.ndim:
            return Call((np.moveaxis(x, -1, 0), np.moveaxis(y, -1, 0)), {"axis": -x.ndim})
        return Call((x, y), draw(st.sampled_from([{}, {"axis": -1}])))
    if name == "tensordot":
        x, y = draw(arrays(dtypes, (m, 2, n))), draw(arrays(dtypes, (2, n, k)))
        return draw(st.sampled_from([
            Call((x, y), {}), Call((x, y), {"axes": 2}), Call((x, y), {"axes": ((1, 2), (0, 1))}),
            Call((x, y), {"axes": ((-1,), (1,))}), Call((x, y), {"axes": 0}),
        ]))  # fmt: skip
    shapes = [((m, n), (n, k)), ((n,), (n, k)), ((m, n), (n,)), ((n,), (n,)),
              ((2, 1, m, n), (3, n, k)), ((0, m, n), (n, k))]  # fmt: skip
    first, second = draw(st.sampled_from(shapes))
    return Call((draw(arrays(dtypes, first)), draw(arrays(dtypes, second))), {})


_MATRICES = hnp.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=3)
CALLS |= {
    "matmul": products("matmul"),
    "vecdot": products("vecdot"),
    "tensordot": products("tensordot"),
    "matrix_transpose": call(arrays(DTYPES, _MATRICES)),
}

# The extension fft


@st.composite
def transforms(draw, dtypes, several):
    # Two elements at least: of one, NumPy refuses to make the 2 (n - 1) real ones.
    x = draw(arrays(dtypes, hnp.array_shapes(min_dims=1, max_dims=3, min_side=2, max_side=4)))
    norm = maybe(st.sampled_from(["backward", "ortho", "forward"]))
    if not several:
        return draw(call(st.just(x), axis=maybe(st.integers(-x.ndim, x.ndim - 1)), norm=norm,
                         n=maybe(st.integers(2, 5) | st.none())))  # fmt: skip
    axes = tuple(draw(st.permutations(range(x.ndim))))[: draw(st.integers(1, x.ndim))]
    sizes = tuple(draw(st.lists(st.integers(2, 4), min_size=len(axes), max_size=len(axes))))
    chosen = [{}, {"axes": axes}, {"axes": axes, "s": sizes}]
    kwargs = draw(st.sampled_from(chosen))
    return draw(call(st.just(x), norm=norm, **{k: st.just(v) for k, v in kwargs.items()}))


for _name in ("fft", "ifft", "hfft"):
    CALLS[f"fft.{_name}"] = transforms(COMPLEX, several=False)
for _name in ("rfft", "ihfft"):
    CALLS[f"fft.{_name}"] = transforms(REAL_FLOATING, several=False)
for _name in ("fftn", "ifftn"):
    CALLS[f"fft.{_name}"] = transforms(COMPLEX, several=True)
for _name in ("fftshift", "ifftshift"):
    CALLS[f"fft.{_name}"] = along_axis("axes", FLOATING)
for _name in ("fftfreq", "rfftfreq"):
    CALLS[f"fft.{_name}"] = call(
        st.integers(1, 9),
        d=maybe(st.sampled_from([0.5, 2.0])),
        dtype=maybe(st.sampled_from(REAL_FLOATING).map(Dtype)),
    )
CALLS |= {
    "fft.irfft": transforms(COMPLEX, several=False),
    "fft.rfftn": transforms(REAL_FLOATING, several=True),
    "fft.irfftn": transforms(COMPLEX, several=True),
}

# The extension linalg


@st.composite
def matrices(draw, dtypes=FLOATING, square=True, kind="any", **kwargs):
    """Stacks of matrices: well conditioned if square, Hermitian or positive definite by `kind`."""
    n = draw(st.integers(1, 3))
    m = n if square else draw(st.integers(1, 3))
    batch = draw(st.sampled_from([(), (2,), (2, 1), (0,)]))
    x = draw(arrays(dtypes, (*batch, m, n), low=-1, high=1))
    if kind == "definite":
        x = x @ np.conj(np.swapaxes(x, -1, -2)) + np.eye(n, dtype=x.dtype)
    elif kind == "hermitian":
        # Distinct eigenvalues, so that the vectors are determined but for a factor.
        x = (x + np.conj(np.swapaxes(x, -1, -2))) / 8 + np.diag(np.arange(n)).astype(x.dtype)
    elif square:
        x = x + 4 * np.eye(n, dtype=x.dtype)
    return draw(call(st.just(x.astype(x.dtype)), **{k: maybe(v) for k, v in kwargs.items()}))


@st.composite
def systems(draw):
    a = draw(matrices())[0][0]
    vector = a.ndim == 2 and draw(st.booleans())
    k = draw(st.integers(0, 3))
    b = draw(arrays((a.dtype.name,), (a.shape[-1],) if vector else (*a.shape[:-1], k)))
    return Call((a, b), {})


@st.composite
def crosses(draw):
    shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3))
    dtypes = draw(st.sampled_from([SIGNED, UNSIGNED, FLOATING]))
    x, y = (draw(arrays(dtypes, (*s, 3))) for s in shapes.input_shapes)
    if x.ndim == y.ndim and draw(st.booleans()):
        axis = -x.ndim
        return Call((np.moveaxis(x, -1, 0), np.moveaxis(y, -1, 0)), {"axis": axis})
    return Call((x, y), {})


_ORDERS = [None, 0, 1, 2, 3.5, np.inf, -np.inf, -1, -2]
CALLS |= {
    "linalg.cholesky": matrices(kind="definite", upper=st.booleans()),
    "linalg.cross": crosses(),
    "linalg.det": matrices(),
    "linalg.diagonal": call(arrays(DTYPES, _MATRICES), offset=maybe(st.integers(-4, 4))),
    "linalg.eig": matrices(kind="hermitian"),
    "linalg.eigh": matrices(kind="hermitian"),
    "linalg.eigvals": matrices(kind="hermitian"),
    "linalg.eigvalsh": matrices(kind="hermitian"),
    "linalg.inv": matrices(),
    "linalg.matrix_norm": matrices(square=False, keepdims=st.booleans(), ord=st.sampled_from(
        ["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])),
    "linalg.matrix_power": matrices().flatmap(
        lambda c: st.integers(-3, 3).map(lambda n: Call((*c.args, n), {}))),
    "linalg.matrix_rank": matrices(square=False, rtol=st.sampled_from([1e-3, 0.5])),
    "linalg.outer": call(arrays(FLOATING, _LINES), arrays(FLOATING, _LINES)),
    "linalg.pinv": matrices(rtol=st.sampled_from([1e-3])),
    "linalg.qr": matrices(square=False, mode=st.sampled_from(["reduced", "complete"])),
    "linalg.slogdet": matrices(),
    "linalg.solve": systems(),
    "linalg.svd": matrices(square=False, full_matrices=st.booleans()),
    "linalg.svdvals": matrices(square=False),
    "linalg.trace": call(arrays(NUMERIC, hnp.array_shapes(min_dims=2, min_side=1, max_side=3)),
                         offset=maybe(st.integers(-4, 4)),
                         dtype=maybe(st.just(Dtype("complex128")))),
    "linalg.vector_norm": reductions(FLOATING, FILLED, ord=st.sampled_from(_ORDERS[1:])),
    **{f"linalg.{name}": CALLS[name]
       for name in ("matmul", "matrix_transpose", "tensordot", "vecdot")},
}  # fmt: skip
