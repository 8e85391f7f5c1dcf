"""Every public function of NumPy, given Arrays: ours takes over, or an error says what to do.

What NumPy computes without asking us must not lose a traced value in an array of objects.
"""

import array
import cmath
import io
import math
import pickle

import numpy as np
import pytest
import scipy.special
from numpy.testing import overrides

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from fstensor.numpy.dispatch import _WRITERS, _counterparts

X = np.array([[2.0, 1.0], [1.0, 3.0]], np.float32)
V = np.array([1.0, 2.0, 3.0], np.float32)
I = np.array([0, 1, 1], np.int32)  # noqa: E741
N = np.arange(3.0)

# Arguments that most functions take, in the order in which they are tried.
USUAL = [
    lambda x, v, i: (x,), lambda x, v, i: (v,), lambda x, v, i: (i,), lambda x, v, i: (x, x),
    lambda x, v, i: (v, v), lambda x, v, i: (i, i), lambda x, v, i: (v, 1), lambda x, v, i: (v, i),
    lambda x, v, i: (x, 1, 0), lambda x, v, i: (v, v, v), lambda x, v, i: ([v, v],),
    lambda x, v, i: (i, [v, v, v]), lambda x, v, i: (v > 0, [v]), lambda x, v, i: (v, [v > 0], [1]),
]  # fmt: skip
UNUSUAL = {
    "apply_along_axis": lambda x, v, i: (lambda r: r[0], 0, x),
    "apply_over_axes": lambda x, v, i: (np.sum, x, (0,)),
    "astype": lambda x, v, i: (x, np.float64),
    "broadcast_to": lambda x, v, i: (v, (2, 3)),
    "choose": lambda x, v, i: (i, [v, v, v], None, "clip"),
    "dsplit": lambda x, v, i: (x[..., None], 1),
    "einsum": lambda x, v, i: ("ij,jk", x, x),
    "matrix_power": lambda x, v, i: (x, 2),
    "polyfit": lambda x, v, i: (v, v, 1),
    "put_along_axis": None,
    "ravel_multi_index": lambda x, v, i: ((i, i), (2, 2), "clip"),
    "reshape": lambda x, v, i: (x, (4,)),
    "tensorinv": lambda x, v, i: (x, 1),
    "tensorsolve": lambda x, v, i: (x, x[0]),
    "unpackbits": lambda x, v, i: (i.astype(np.uint8),),
    "unravel_index": lambda x, v, i: (i, (2, 2)),
    "vsplit": lambda x, v, i: (x, 1),
}
# Of these, a result is no array, or there is nothing to take over from.
NO_ARRAYS = {
    "about dtypes and shapes": "broadcast_shapes can_cast iscomplexobj isdtype isrealobj isscalar "
    "issubdtype ndim promote_types result_type shape size einsum_path",
    "made from numbers": "arange bartlett blackman diag_indices empty eye fftfreq fromfunction "
    "full hamming hanning identity indices kaiser ones rfftfreq tri tril_indices triu_indices "
    "zeros",
    "gives an ndarray by its contract": "array asarray from_dlpack",
    "files": "load save",
    "makes a function": "frompyfunc",
    "takes inplace=False only from us; NumPy's call would have to write": "put_along_axis",
}
WITHOUT_ARRAYS = {name for names in NO_ARRAYS.values() for name in names.split()}
# Values set the shape of the result, so that a traced argument raises.
SHAPES_OF_VALUES = {
    "argwhere",
    "bincount",
    "compress",
    "extract",
    "flatnonzero",
    "intersect1d",
    "nonzero",
    "roots",
    "setdiff1d",
    "setxor1d",
    "trim_zeros",
    "union1d",
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
}


def reaches(function, x, v, i):
    """Whether one of the calls gives Arrays and nothing else."""
    ways = [UNUSUAL[function.__name__]] if function.__name__ in UNUSUAL else USUAL
    for arguments in ways:
        try:
            found = function(*arguments(x, v, i))
        except (TypeError, ValueError, IndexError):  # arguments that it does not take
            continue
        if all(isinstance(y, fst.Array) for y in fst.tree.leaves(found)):
            return True
    return False


TAKEN_OVER = sorted(
    {f for f in _counterparts() if f.__name__ not in WITHOUT_ARRAYS}, key=lambda f: f.__name__
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("function", TAKEN_OVER, ids=lambda f: f.__name__)
def test_ours_takes_over(function):
    assert reaches(function, fnp.asarray(X), fnp.asarray(V), fnp.asarray(I))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("function", TAKEN_OVER, ids=lambda f: f.__name__)
def test_ours_takes_over_tracers(function):
    found = []

    def f(x, v, i):
        found.append(reaches(function, x, v, i))
        return x

    fst.jit(f)(X, V, I)
    assert found == [function.__name__ not in SHAPES_OF_VALUES]


def test_tables_name_what_there_is():
    ours = {f.__name__ for f in _counterparts()} | {"save", "load"}
    assert ours >= (set(UNUSUAL) | WITHOUT_ARRAYS | SHAPES_OF_VALUES) - {"trim_zeros"}


# What has no counterpart


def of_main_namespaces(functions):
    """Those of numpy, numpy.linalg and numpy.fft, without internal ufuncs of string dtypes."""
    public = [getattr(m, n, None) for m in (np, np.linalg, np.fft) for n in dir(m) if n[0] != "_"]
    known = {f for f in public if callable(f) and not isinstance(f, type)}
    return sorted({f for f in functions if f in known}, key=lambda f: f.__name__)


LEFT = [
    f
    for f in of_main_namespaces(overrides.get_overridable_numpy_array_functions())
    if f not in _counterparts() and f not in _WRITERS
]
UFUNCS_LEFT = [
    f
    for f in of_main_namespaces(overrides.get_overridable_numpy_ufuncs())
    if f not in _counterparts()
]


@pytest.mark.parametrize("function", LEFT, ids=lambda f: f.__name__)
def test_function_without_counterpart(function):
    """NumPy hands such a call to __array_function__, whatever its arguments are."""
    for run in (lambda f: f(fnp.asarray(V)), lambda f: fst.jit(f)(V)):
        with pytest.raises(errors.ArgumentError) as caught:
            run(lambda x: x.__array_function__(function, (fst.Array,), (x,), {}))
        assert_teaches(caught.value, f"{function.__name__}:", "np.asarray(x)")


@pytest.mark.parametrize("function", UFUNCS_LEFT, ids=lambda f: f.__name__)
def test_ufunc_without_counterpart(function):
    for run in (lambda f: f(fnp.asarray(V)), lambda f: fst.jit(f)(V)):
        with pytest.raises(errors.ArgumentError) as caught:
            run(lambda x: function(*[x] * function.nin))
        assert_teaches(caught.value, f"{function.__name__}:", "np.asarray(x)")


def assert_teaches(error, *words):
    """The error, or what it was raised from, is ours, and shows this file's line and the words."""
    while not isinstance(error, errors.FstensorError):
        assert error is not None, "no error of ours"
        error = error.__cause__ or error.__context__
    message = str(error)
    assert "test_all_of_numpy.py:" in message.split("; ")[-1]
    for word in words:
        assert word in message


class TestWriters:
    @pytest.mark.parametrize(
        ("write", "expected"),
        [
            (lambda n, x: np.copyto(n, x), [1, 2, 3]),
            (lambda n, x: np.copyto(n, x, where=n > 0), [0, 2, 3]),
            (lambda n, x: np.place(n, n > 0, x), [0, 1, 2]),
            (lambda n, x: np.put(n, [1, 0], x), [2, 1, 2]),
            (lambda n, x: np.putmask(n, n > 1, x), [0, 1, 3]),
            (lambda n, x: n.__setitem__(slice(None), x), [1, 2, 3]),
            (lambda n, x: n.__setitem__(0, x[1]), [2, 1, 2]),
            (lambda n, x: n.fill(x[1]), [2, 2, 2]),
        ],
    )  # fmt: skip
    def test_into_an_ndarray(self, write, expected):
        n = N.copy()
        write(n, fnp.asarray(V))
        assert n.tolist() == expected
        with pytest.raises((TypeError, ValueError)) as caught:
            fst.jit(lambda x: write(N.copy(), x))(V)
        assert_teaches(caught.value, "traced")

    def test_into_an_array(self):
        for write in (
            lambda x: np.copyto(x, 1.0), lambda x: np.place(x, x > 0, 1.0),
            lambda x: np.put(x, 0, 1), lambda x: np.putmask(x, x > 0, 1.0),
            lambda x: np.fill_diagonal(x, 1.0),
        ):  # fmt: skip
            for run in (lambda f: f(fnp.asarray(X)), lambda f: fst.jit(f)(X)):
                with pytest.raises(errors.ImmutableArrayError) as caught:
                    run(write)
                assert_teaches(caught.value, "arrays are immutable", "x.at[...].set(value)")

    def test_diagonal(self):
        n = np.zeros((2, 2))
        np.fill_diagonal(n, np.asarray(fnp.asarray(V[:2])))
        assert n.tolist() == [[1, 0], [0, 2]]


# What NumPy and Python compute without asking us. x is traced, s and i are its scalars.
CONVERSIONS = {
    "asarray": (lambda x, s, i: np.asarray(x), "fstensor.numpy"),
    "array": (lambda x, s, i: np.array(x), "fstensor.numpy"),
    "array of objects": (lambda x, s, i: np.asarray(x, dtype=object), "fstensor.numpy"),
    "list of scalars": (lambda x, s, i: np.array([s, s]), "fstensor.numpy"),
    "list of arrays": (lambda x, s, i: np.array([x, x]), "fstensor.numpy"),
    "list of objects": (lambda x, s, i: np.array([x, s], dtype=object), "fstensor.numpy"),
    "list with a number": (lambda x, s, i: np.array([1.0, s]), "fstensor.numpy"),
    "list with None": (lambda x, s, i: np.array([s, None]), "fstensor.numpy"),
    "list with text": (lambda x, s, i: np.array([s, "a"]), "fstensor.numpy"),
    "nested lists": (lambda x, s, i: np.array([[s], [1.0]]), "fstensor.numpy"),
    "list of rows": (lambda x, s, i: np.array([a * 2 for a in x]), "fstensor.numpy"),
    "np.float32": (lambda x, s, i: np.float32(s), "fstensor.numpy"),
    "np.int64": (lambda x, s, i: np.int64(i), "fstensor.numpy"),
    "np.object_": (lambda x, s, i: np.object_(x), "fstensor.numpy"),
    "ufunc of a list": (lambda x, s, i: np.sin([s, s]), "fstensor.numpy"),
    "function of a list": (lambda x, s, i: np.sum([s, s]), "fstensor.numpy"),
    "linalg of a list": (lambda x, s, i: np.linalg.norm([s, s]), "fstensor.numpy"),
    "fft of a list": (lambda x, s, i: np.fft.fft([s, s]), "fstensor.numpy"),
    "scipy of a list": (lambda x, s, i: scipy.special.erf([s, s]), "fstensor.numpy"),
    "ndarray[i]": (lambda x, s, i: N[i], "fstensor.numpy.asarray(n)"),
    "ndarray[i, :]": (lambda x, s, i: X[i, :], "fstensor.numpy.asarray(n)"),
    "ndarray[x > 0]": (lambda x, s, i: N[x > 0], "fstensor.numpy.where"),
    "ndarray[i:]": (lambda x, s, i: N[i:], "fstensor.numpy"),
    "ndarray[i] = 1": (lambda x, s, i: N.copy().__setitem__(i, 1.0), "fstensor.numpy.asarray(n)"),
    "ndarray[0] = s": (lambda x, s, i: N.copy().__setitem__(0, s), "arrays"),
    "ndarray[:] = x": (lambda x, s, i: N.copy().__setitem__(slice(None), x), "fstensor.numpy"),
    "ndarray[x > 0] = 1": (lambda x, s, i: N.copy().__setitem__(x > 0, 1), "fstensor.numpy.where"),
    "ndarray += x": (lambda x, s, i: N.copy().__iadd__(x), "n = n + x instead of n += x"),
    "ndarray *= s": (lambda x, s, i: N.copy().__imul__(s), "instead of"),
    "ndarray @= x": (lambda x, s, i: np.eye(3).__imatmul__(x), "instead of"),
    "out=": (lambda x, s, i: np.add(x, 1, out=N.copy()), "bind a new name"),
    "add.at": (lambda x, s, i: np.add.at(N.copy(), [0], s), "bind a new name"),
    "object array + x": (lambda x, s, i: np.array([1, "a", 2], object) + x, "got object"),
    "object array @ x": (lambda x, s, i: np.array([1, 2, 3], object) @ x, "got object"),
    "dates + x": (lambda x, s, i: np.zeros(3, "M8[s]") + x, "got datetime64"),
    "text == x": (lambda x, s, i: np.array(["a", "b", "c"]) == x, "convert to one of these"),
    "ndarray.dot": (lambda x, s, i: N.dot(x), "fstensor.numpy"),
    "ndarray.take": (lambda x, s, i: N.take(i), "fstensor.numpy"),
    "ndarray.put": (lambda x, s, i: N.copy().put(0, s), "fstensor.numpy"),
    "ndarray.searchsorted": (lambda x, s, i: N.searchsorted(s), "fstensor.numpy"),
    "ndarray.repeat": (lambda x, s, i: N.repeat(i), "fstensor.numpy"),
    "ndarray.choose": (lambda x, s, i: np.array([0, 1]).choose([s, s]), "fstensor.numpy"),
    "ndarray.compress": (lambda x, s, i: N.compress(x > 0), "fstensor.numpy"),
    "ndarray.reshape": (lambda x, s, i: N.reshape(i, -1), "static_argnums"),
    "ndarray.sum(axis)": (lambda x, s, i: N.sum(axis=i), "static_argnums"),
    "ndarray.item": (lambda x, s, i: N.item(i), "static_argnums"),
    "ndarray.sum(initial)": (lambda x, s, i: N.sum(initial=s), "arrays"),
    "x in ndarray": (lambda x, s, i: s in N, "fstensor.numpy"),
    "full": (lambda x, s, i: np.full(3, s), "fstensor.numpy"),
    "full_like": (lambda x, s, i: np.full_like(N, s), "full_like"),
    "arange": (lambda x, s, i: np.arange(i), "fstensor.numpy"),
    "eye": (lambda x, s, i: np.eye(i), "static_argnums"),
    "fromiter": (lambda x, s, i: np.fromiter([s, s], float), "arrays"),
    "tril_indices": (lambda x, s, i: np.tril_indices(i), "static_argnums"),
    "r_": (lambda x, s, i: np.r_[x, 1.0], "fstensor.numpy"),
    "mgrid": (lambda x, s, i: np.mgrid[0:i], "fstensor.numpy"),
    "vectorize": (lambda x, s, i: np.vectorize(lambda a: a + 1)(x), "fstensor.numpy"),
    "frompyfunc": (lambda x, s, i: np.frompyfunc(lambda a: a + 1, 1, 1)(x), "np.asarray(x)"),
    "ndenumerate": (lambda x, s, i: list(np.ndenumerate(x)), "fstensor.numpy"),
    "broadcast": (lambda x, s, i: np.broadcast(x, 1), "fstensor.numpy"),
    "masked array": (lambda x, s, i: np.ma.array(x), "fstensor.numpy"),
    "matrix": (lambda x, s, i: np.matrix(x), "fstensor.numpy"),
    "Polynomial": (lambda x, s, i: np.polynomial.Polynomial([s, s]), "fstensor.numpy"),
    "poly1d": (lambda x, s, i: np.poly1d(x), "fstensor.numpy"),
    "as_strided": (lambda x, s, i: np.lib.stride_tricks.as_strided(x, (2,)), "fstensor.numpy"),
    "sliding windows": (
        lambda x, s, i: np.lib.stride_tricks.sliding_window_view(x, 2), "sliding_window_view:"),
    "emath": (lambda x, s, i: np.emath.sqrt(x), "sqrt:"),
    "testing": (lambda x, s, i: np.testing.assert_allclose(x, N), "fstensor.numpy"),
    "ascontiguousarray": (lambda x, s, i: np.ascontiguousarray(x), "fstensor.numpy"),
    "asarray_chkfinite": (lambda x, s, i: np.asarray_chkfinite(x), "fstensor.numpy"),
    "from_dlpack": (lambda x, s, i: np.from_dlpack(x), "static_argnums"),
    "random.normal": (lambda x, s, i: np.random.default_rng(0).normal(x), "fstensor.numpy"),
    "random.choice": (lambda x, s, i: np.random.default_rng(0).choice(x), "fstensor.numpy"),
    "random.integers": (lambda x, s, i: np.random.default_rng(0).integers(i), "fstensor.numpy"),
    "random.shuffle": (lambda x, s, i: np.random.default_rng(0).shuffle(x), "immutable"),
    "save": (lambda x, s, i: np.save(io.BytesIO(), x), "fstensor.numpy"),
    "save a list": (lambda x, s, i: np.save(io.BytesIO(), [x]), "fstensor.numpy"),
    "savez": (lambda x, s, i: np.savez(io.BytesIO(), x), "savez:"),
    "savetxt": (lambda x, s, i: np.savetxt(io.StringIO(), x), "savetxt:"),
    "bool": (lambda x, s, i: bool(s), "fstensor.numpy.where"),
    "if": (lambda x, s, i: 1 if s > 0 else 0, "fstensor.numpy.where"),
    "and": (lambda x, s, i: s and 1, "fstensor.numpy.where"),
    "not": (lambda x, s, i: not s, "fstensor.numpy.where"),
    "sorted": (lambda x, s, i: sorted(x), "fstensor.numpy.where"),
    "max": (lambda x, s, i: max(s, 1.0), "fstensor.numpy.where"),
    "in": (lambda x, s, i: 1.0 in x, "fstensor.numpy.where"),
    "float": (lambda x, s, i: float(s), "float() of a traced value"),
    "int": (lambda x, s, i: int(i), "int() of a traced value"),
    "complex": (lambda x, s, i: complex(s), "complex() of a traced value"),
    "item": (lambda x, s, i: s.item(), "item() of a traced value"),
    "tolist": (lambda x, s, i: x.tolist(), "tolist() of a traced value"),
    "index": (lambda x, s, i: [1, 2, 3][i], "static_argnums"),
    "range": (lambda x, s, i: range(i), "static_argnums"),
    "math.sin": (lambda x, s, i: math.sin(s), "compute with arrays"),
    "math.floor": (lambda x, s, i: math.floor(s), "compute with arrays"),
    "math.fsum": (lambda x, s, i: math.fsum(x), "compute with arrays"),
    "cmath.exp": (lambda x, s, i: cmath.exp(s), "compute with arrays"),
    "format": (lambda x, s, i: f"{s:.3f}", "compute with arrays"),
    "%": (lambda x, s, i: "%f" % s, "compute with arrays"),  # noqa: UP031
    "pickle": (lambda x, s, i: pickle.dumps(x), "no value to store"),
    "array.array": (lambda x, s, i: array.array("d", x), "compute with arrays"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # np.matrix
@pytest.mark.filterwarnings("ignore:you are shuffling")
@pytest.mark.parametrize("name", CONVERSIONS)
def test_conversion_of_a_tracer(name):
    """Each raises, and never makes an array of objects."""
    convert, word = CONVERSIONS[name]

    def f(x, i):
        convert(x, x[0], i)
        return x

    for run in (fst.jit(f), lambda x, i: fst.vmap(f)(x[None], i[None])):
        with pytest.raises((TypeError, ValueError)) as caught:
            run(V, I[1])
        assert_teaches(caught.value, word)


def test_numpy_drops_our_error():
    """For a size NumPy shows an error of its own; it names the tracer, and the chain is cut."""
    for make in (np.zeros, np.empty):
        with pytest.raises(TypeError, match=r"integer, got 'JaxprTracer\(int32\[\]\)'"):
            fst.jit(make)(I[1])


def test_values_of_arrays_are_numbers():
    """Concrete Arrays in lists become arrays of numbers."""
    x = fnp.asarray(V)
    for thing in ([x, x], [x[0], 1.0], (x[0],), [[x[0]], [2]]):
        assert np.asarray(thing).dtype.kind == "f"
    assert np.asarray([x[0] > 0, True]).dtype == bool
    assert np.asarray(x, dtype=object).tolist() == [1, 2, 3]
    assert type(np.asarray(x, dtype=object)[0]) is float
    assert np.full_like(N, x[1]).tolist() == [2, 2, 2]
    assert isinstance(N.clip(x[0], 2.0), fst.Array)


@pytest.mark.parametrize("make", ["ones", "zeros", "empty", "eye", "identity", "tri", "arange"])
def test_like(make):
    function = getattr(np, make)
    for run in (lambda f: f(fnp.asarray(V)), lambda f: fst.jit(f)(V)):
        found = run(lambda x: function(2, like=x))
        assert isinstance(found, fst.Array)
        assert found.shape == function(2).shape


# SciPy's ufuncs

SPECIAL = sorted(n for n in dir(scipy.special) if isinstance(getattr(scipy.special, n), np.ufunc))


@pytest.mark.parametrize("name", SPECIAL)
def test_ufunc_of_scipy_special(name):
    """Ours, where `fstensor.scipy.special` has the name; an error that names it otherwise."""
    ufunc = getattr(scipy.special, name)
    has = name in fst.scipy.special.__all__ or name == "psi"
    seen = []

    def f(x, i):
        args = [x] * ufunc.nin
        if name in INTEGER_FIRST:
            args[0] = i
        seen.append(ufunc(*args))
        return x

    for run in (f, fst.jit(f)):
        if has:
            run(fnp.asarray([0.25, 0.5]), fnp.asarray([1, 2]))
            assert all(isinstance(y, fst.Array) for y in fst.tree.leaves(seen.pop()))
        else:
            with pytest.raises(errors.ArgumentError) as caught:
                run(fnp.asarray([0.25, 0.5]), fnp.asarray([1, 2]))
            assert_teaches(caught.value, "has no counterpart", "np.asarray(x)")


INTEGER_FIRST = {"expn"}
