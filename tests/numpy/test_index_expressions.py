"""Any index that NumPy takes: read, updated, derived and batched, at once and traced.

Indices mix integers of every kind, slices, None, Ellipsis, integer arrays and lists, masks and
single bools, for arrays up to rank 4 with axes of size 0 among them.
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors

SETTINGS = settings(
    max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
FEW = settings(SETTINGS, max_examples=30)


def numbered(shape, dtype=np.float64):
    """Distinct values, so that a wrong element shows."""
    return np.arange(1, np.prod(shape, dtype=int) + 1).reshape(shape).astype(dtype)


INTEGERS = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")


@st.composite
def places(draw, n, shape):
    """An array of places on an axis of size n."""
    kind = draw(st.sampled_from(INTEGERS + UNSIGNED))
    low = 0 if kind in UNSIGNED else -n
    return draw(hnp.arrays(kind, shape, elements=st.integers(low, n - 1)))


@st.composite
def integers(draw, n):
    """One place, as any of the things that stand for an integer."""
    i = draw(places(n, ()))
    return draw(st.sampled_from([int(i), i[()], i]))


@st.composite
def indices(draw, shape):
    """An index for an array of this shape, as NumPy takes it."""
    stretched = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    chosen = draw(st.integers(0, 3))  # the count of most masks, so that several broadcast
    entries, axis, may_skip = [], 0, True
    while axis < len(shape) and len(entries) < 8:
        n = shape[axis]
        kind = draw(st.sampled_from(
            ["int", "array", "array", "list", "slice", "slice", "mask", "bool", "none", "ellipsis",
             "stop"]))  # fmt: skip
        if kind == "stop":
            break
        if kind == "none":
            entries.append(None)
        elif kind == "bool":
            flag = draw(st.booleans())
            entries.append(draw(st.sampled_from([flag, np.bool_(flag), np.array(flag)])))
        elif kind == "ellipsis" and may_skip:
            may_skip = False
            entries.append(Ellipsis)
            axis += draw(st.integers(0, len(shape) - axis))
        elif kind == "mask":
            rank = draw(st.integers(1, len(shape) - axis))
            entries.append(draw(masks(shape[axis : axis + rank], chosen)))
            axis += rank
        elif kind == "slice" or n == 0 or kind == "ellipsis":
            step = st.integers(-3, 3).filter(bool) | st.none()
            bound = st.integers(-n - 2, n + 2) | st.none()
            entries.append(slice(draw(bound), draw(bound), draw(step)))
            axis += 1
        elif kind == "int":
            entries.append(draw(integers(n)))
            axis += 1
        else:
            part = draw(st.sampled_from([stretched, stretched[1:], stretched[-1:]]))
            part = tuple(1 if draw(st.integers(0, 4)) == 0 else m for m in part)
            found = draw(places(n, part))
            entries.append(found.tolist() if kind == "list" and found.ndim else found)
            axis += 1
    is_single = len(entries) == 1 and not isinstance(entries[0], list) and draw(st.booleans())
    return entries[0] if is_single else tuple(entries)


@st.composite
def masks(draw, shape, chosen):
    mask = np.zeros(shape, bool)
    count = min(mask.size, draw(st.just(chosen) | st.integers(0, mask.size)))
    order = draw(st.permutations(range(mask.size)))
    mask.flat[list(order[:count])] = True
    return mask


@st.composite
def cases(draw, dtype=np.float64):
    """An array, and an index that NumPy takes of it."""
    x = numbered(draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)), dtype)
    index = draw(indices(x.shape))
    try:
        x[index]
    except IndexError:  # shapes of arrays and counts of masks that do not broadcast
        assume(False)
    return x, index


def is_traceable(entry):
    return isinstance(entry, (np.ndarray, np.generic)) and entry.dtype != np.bool_


def entries_of(index):
    return index if isinstance(index, tuple) else (index,)


def opened(index):
    """The integer arrays and NumPy integers of an index, and what puts others in their place."""
    found = [np.asarray(e) for e in entries_of(index) if is_traceable(e)]

    def filled(values):
        given = iter(values)
        return tuple(next(given) if is_traceable(e) else e for e in entries_of(index))

    return found, filled


def check(got, expected, rtol=0.0):
    expected = np.asarray(expected)
    assert isinstance(got, fst.Array)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(np.asarray(got), expected, rtol=rtol)


# Reading


@SETTINGS
@given(cases())
def test_read(case):
    x, index = case
    arrays, filled = opened(index)
    check(fnp.asarray(x)[index], x[index])
    check(fnp.asarray(x)[filled([fnp.asarray(a) for a in arrays])], x[index])
    check(fnp.asarray(x).at[index].get(), x[index])


@SETTINGS
@given(cases())
def test_jit_read(case):
    x, index = case
    arrays, filled = opened(index)
    check(fst.jit(lambda x: x[index])(x), x[index])
    check(fst.jit(lambda x, *arrays: x[filled(arrays)])(x, *arrays), x[index])


@FEW
@given(cases(), st.sampled_from(["bool", "uint8", "int64", "float16", "complex64"]))
def test_read_of_every_dtype(case, dtype):
    x, index = case
    x = (x % 7).astype(dtype)
    check(fnp.asarray(x)[index], x[index])


@FEW
@given(cases())
def test_list_of_masks_of_arrays(case):
    """Masks and bools as Arrays, which are known outside of transforms."""
    x, index = case
    wrapped = tuple(
        fnp.asarray(e) if isinstance(e, (np.ndarray, np.bool_)) else e for e in entries_of(index)
    )
    check(fnp.asarray(x)[wrapped], x[index])


@FEW
@given(cases())
def test_jvp_and_grad_of_read(case):
    """The derivative reads tangents, and its transpose adds for each time an element was read."""
    x, index = case
    arrays, filled = opened(index)
    t = -3 * numbered(x.shape)
    y, y_t = fst.jvp(lambda x: x[index], (x,), (t,))
    check(y, x[index])
    check(y_t, t[index])
    ct = numbered(x[index].shape)
    expected = np.zeros(x.shape)
    np.add.at(expected, index, ct)
    (got,) = fst.vjp(lambda x: x[index], x)[1](fnp.asarray(ct))
    check(got, expected)
    traced = fst.jit(lambda x, ct, *arrays: fst.vjp(lambda x: x[filled(arrays)], x)[1](ct)[0])
    check(traced(x, ct, *arrays), expected)
    np.testing.assert_allclose(np.vdot(ct, np.asarray(y_t)), np.vdot(np.asarray(got), t))


@FEW
@given(cases(), st.integers(0, 4))
def test_vmap_read(case, where):
    """Batches of the array, of the index, and of both."""
    x, index = case
    arrays, filled = opened(index)
    where = min(where, x.ndim)
    both = np.stack([x, -x], where)
    loop = np.stack([x[index], -x[index]])
    check(fst.vmap(lambda x: x[index], in_axes=where)(both), loop)
    turned = [np.stack([a, np.flip(a)]) for a in arrays]
    by_index = [[a[k] for a in turned] for k in range(2)]
    expected = np.stack([x[filled(i)] for i in by_index])
    if arrays:
        read = fst.vmap(lambda x, *i: x[filled(i)], in_axes=(None, *[0] * len(arrays)))
        check(read(x, *turned), expected)
    read = fst.jit(fst.vmap(lambda x, *i: x[filled(i)], in_axes=(where, *[0] * len(arrays))))
    check(read(both, *turned), np.stack([expected[0], -expected[1]]))


# Updating

UFUNCS = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "mul": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
    "divide": np.divide,
    "power": np.power,
}


def values_for(shape, broadcast):
    """Powers of two, for which every order of operations gives the same result."""
    shape = {"full": shape, "scalar": (), "rows": shape[-1:], "ones": (1,) * len(shape)}[broadcast]
    return 2.0 ** (np.arange(np.prod(shape, dtype=int)) % 5 - 2).reshape(shape)


BROADCASTS = st.sampled_from(["full", "full", "scalar", "rows", "ones"])


@SETTINGS
@given(cases(), st.sampled_from(sorted(UFUNCS)), BROADCASTS)
def test_update(case, name, broadcast):
    x, index = case
    values = values_for(x[index].shape, broadcast)
    expected = x.copy()
    UFUNCS[name].at(expected, index, values)
    # Powers by one product of exponents differ by roundings from powers of powers.
    rtol = 1e-13 if name == "power" else 0.0
    check(getattr(fnp.asarray(x).at[index], name)(values), expected, rtol)
    arrays, filled = opened(index)
    update = fst.jit(lambda x, v, *i: getattr(x.at[filled(i)], name)(v))
    check(update(x, values, *arrays), expected, rtol)


@SETTINGS
@given(cases(), BROADCASTS)
def test_set_and_apply(case, broadcast):
    x, index = case
    arrays, filled = opened(index)
    values = -values_for(x[index].shape, broadcast)
    expected = x.copy()
    expected[index] = values
    check(fnp.asarray(x).at[index].set(values), expected)
    check(fst.jit(lambda x, v, *i: x.at[filled(i)].set(v))(x, values, *arrays), expected)
    expected = x.copy()
    expected[index] = np.negative(x[index])
    check(fnp.asarray(x).at[index].apply(fnp.negative), expected)
    negated = fst.jit(lambda x, *i: x.at[filled(i)].apply(fnp.negative))
    check(negated(x, *arrays), expected)


@FEW
@given(cases(), st.sampled_from(["set", "add", "multiply", "min", "max"]))
def test_vmap_update(case, name):
    """Batches of the array, of the values, of the index, and of all three."""
    x, index = case
    arrays, filled = opened(index)
    values = values_for(x[index].shape, "full")
    xs, vs = np.stack([x, -x]), np.stack([values, 4 * values])
    turned = [np.stack([a, np.flip(a)]) for a in arrays]

    def loop(xs, vs, turned):
        def one(k):
            at = fnp.asarray(xs[k, ...]).at[filled([a[k] for a in turned])]
            return np.asarray(getattr(at, name)(vs[k, ...]))

        return np.stack([one(0), one(1)])

    def update(x, v, *i):
        return getattr(x.at[filled(i)], name)(v)

    rest = [0] * len(arrays)
    check(fst.vmap(update, (0, 0, *rest))(xs, vs, *turned), loop(xs, vs, turned))
    same = [np.stack([a, a]) for a in arrays]
    none = [None] * len(arrays)
    for in_axes in ((0, None, *none), (None, 0, *none), (0, 0, *none)):
        batch = (xs if in_axes[0] == 0 else x, vs if in_axes[1] == 0 else values)
        twice = [b if a == 0 else np.stack([b, b]) for a, b in zip(in_axes, batch, strict=False)]
        check(fst.jit(fst.vmap(update, in_axes))(*batch, *arrays), loop(*twice, same))


@FEW
@given(cases())
def test_grad_of_add(case):
    """x.at[i].add(v) is linear in both: cotangents pass through, and are read at i."""
    x, index = case
    arrays, filled = opened(index)
    values, weights = numbered(x[index].shape), 3 * numbered(x.shape)
    f = fst.jit(lambda x, v, *i: fnp.sum(x.at[filled(i)].add(v) * weights))
    ct_x, ct_values = fst.grad(f, argnums=(0, 1))(x, values, *arrays)
    check(ct_x, weights)
    check(ct_values, weights[index])


# What lies outside


@st.composite
def cases_outside(draw):
    """Integer arrays and integers, of which some may point outside; traced, they are no error."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    stretched = draw(hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=3))
    entries = []
    for n in shape:
        kind = draw(st.sampled_from(["array", "array", "int", "slice"]))
        if kind == "slice":
            entries.append(draw(st.slices(n)))
        else:
            where = draw(st.sampled_from([stretched, stretched[-1:]])) if kind == "array" else ()
            elements = st.integers(-2 * n - 1, 2 * n)
            entries.append(draw(hnp.arrays(np.int32, where, elements=elements)))
    return numbered(shape, np.float32), tuple(entries)


MODES = [None, "clip", "fill", "drop"]


def text_of(x, index, *options):
    """A short text that tells this case from others."""
    parts = [(e.shape, e.tolist()) if isinstance(e, np.ndarray) else e for e in index]
    return hashlib.sha256(repr((x.shape, parts, options)).encode()).hexdigest()[:16]


@FEW
@given(cases_outside(), st.sampled_from(MODES))
def test_traced_index_outside_is_as_in_jax(recorded_for_module, case, mode):
    x, index = case
    arrays, filled = opened(index)

    def in_jax(what, f):
        ask = lambda: f(jnp.asarray(x), *map(jnp.asarray, arrays))
        return recorded_for_module.each(ask, f"{what} {text_of(x, index, mode)}")

    def read(x, *i):
        return x[filled(i)], x.at[filled(i)].get(mode=mode)

    for got, expected in zip(fst.jit(read)(x, *arrays), in_jax("read", read), strict=True):
        check(got, expected)

    def write(x, *i):
        at = x.at[filled(i)]
        return [at.add(1.0, mode=mode), at.multiply(2.0, mode=mode), at.max(3.0, mode=mode),
                at.set(9.0, mode=mode)]  # fmt: skip

    expected = in_jax("write", write)
    for run in (fst.jit(write), lambda x, *i: write(fnp.asarray(x), *map(fnp.asarray, i))):
        for g, e in zip(run(x, *arrays), expected, strict=True):
            check(g, e)


@FEW
@given(cases_outside())
def test_gradients_outside(recorded_for_module, case):
    """Those of what was read. JAX promises nothing here, unless it is told to clip."""
    x, index = case
    arrays, filled = opened(index)

    def f(read, x, *i):
        return (read(x, i) ** 2).sum() + (x.at[filled(i)].multiply(3.0) * x).sum()

    got = fst.jit(fst.grad(lambda x, *i: f(lambda x, i: x[filled(i)], x, *i)))(x, *arrays)
    jaxs = jax.grad(lambda x, *i: f(lambda x, i: x.at[filled(i)].get(mode="clip"), x, *i))
    ask = lambda: jaxs(jnp.asarray(x), *map(jnp.asarray, arrays))
    expected = recorded_for_module(ask, f"gradient {text_of(x, index)}")
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-5)


@SETTINGS
@given(cases_outside())
def test_known_index_outside_raises(case):
    x, index = case
    uses = [lambda x: x[index], lambda x: x.at[index].set(0), lambda x: x.at[index].get()]
    for use in [*uses, *map(fst.jit, uses)]:
        if _is_inside(x, index):
            use(fnp.asarray(x))
        else:
            with pytest.raises(IndexError, match="out of bounds for axis"):
                use(fnp.asarray(x))


def _is_inside(x, index):
    return all(
        np.all((-n <= i) & (i < n))
        for n, i in zip(x.shape, index, strict=False)
        if isinstance(i, np.ndarray)
    )


@FEW
@given(cases(), st.integers(0, 3))
def test_what_numpy_refuses(case, kind):
    """Too many indices, two Ellipses, masks that do not fit: IndexError, as NumPy's."""
    x, index = case
    entries = entries_of(index)
    wrong = [
        (*[slice(None)] * x.ndim, 0),
        (*entries, Ellipsis, Ellipsis),
        np.ones([n + 1 for n in x.shape] or [1], bool),
        (np.zeros(2, int), np.zeros(3, int), *[slice(None)] * (x.ndim - 2)),
    ][kind]
    with pytest.raises(IndexError):
        x[wrong]
    for use in (lambda x: x[wrong], lambda x: x.at[wrong].set(0)):
        with pytest.raises(IndexError):
            use(fnp.asarray(x))
        with pytest.raises(IndexError):
            fst.jit(use)(x)


# Traced masks


@pytest.mark.parametrize("transform", [fst.jit, fst.vmap, lambda f: fst.jit(fst.grad(f))])
@pytest.mark.parametrize(
    "use",
    [
        lambda x: x[x > 0],
        lambda x: x.at[x > 0].set(1.0),
        lambda x: x.at[x > 0].get(),
        lambda x: x.at[x > 0].add(x),
        lambda x: x[(x > 0,)],
        lambda x: x[..., x[0] > 0],
        lambda x: x[None, x[:, 0] > 0, 1:],
        lambda x: x[x[0, 0] > 0],
        lambda x: x[(x > 0) & True, None],
        lambda x: np.ones((2, 3))[x > 0],
    ],
)
def test_traced_mask(use, transform):
    x = np.ones((1, 2, 3) if transform is fst.vmap else (2, 3), np.float32)
    with pytest.raises(errors.ConcretizationTypeError) as caught:
        transform(lambda x: use(x).sum())(x)
    message = str(caught.value)
    assert "where" in message
    assert "size=" in message or "instead of an ndarray" in message
    assert "tests/numpy/test_index_expressions.py:" in message


def test_ragged_list():
    with pytest.raises(IndexError, match="nested lists must have equal lengths"):
        fnp.zeros((3, 3))[0, [[0, 1], [2]]]


def test_gradient_of_a_mask_that_is_known():
    """Under grad and jvp the mask is computed from known values, so that it may set a shape."""
    x = np.array([-1.0, 2.0, 3.0])
    check(fst.grad(lambda x: (x[x > 0] ** 2).sum())(x), [0.0, 4, 6])
    check(fst.grad(lambda x: (x.at[x > 0].multiply(x[x > 0])).sum())(x), [1.0, 4, 6])
    y, t = fst.jvp(lambda x: x.at[x > 2].set(x[:1]), (x,), (x,))
    check(y, [-1.0, 2, -1])
    check(t, [-1.0, 2, -1])
