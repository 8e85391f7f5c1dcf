"""Collectives under vmap, against JAX: the same function on both, with the names of each."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from fstensor import ops
from fstensor.errors import DtypeError, OptionError, UnboundAxisNameError
from fstensor.ops import collectives
from fstensor.transforms.grad import grad
from fstensor.transforms.jit import jit
from fstensor.transforms.jvp import jvp
from fstensor.transforms.make_jaxpr import make_jaxpr
from fstensor.transforms.vmap import vmap
from tests.tolerances import assert_close

JAX = SimpleNamespace(
    vmap=jax.vmap,
    grad=jax.grad,
    jit=jax.jit,
    jvp=jax.jvp,
    total=jax.lax.reduce_sum,
    **{k: getattr(jax.lax, k) for k in ("sin", "mul", "add", "gt", "convert_element_type")},
    **{
        k: getattr(jax.lax, k) for k in ("psum", "pmean", "pmax", "pmin", "axis_index", "axis_size")
    },
)
OURS = SimpleNamespace(
    vmap=vmap,
    grad=grad,
    jit=jit,
    jvp=jvp,
    total=ops.reduce.reduce_sum,
    sin=ops.transcendental.sin,
    mul=ops.elementwise.mul,
    add=ops.elementwise.add,
    gt=ops.logical.gt,
    convert_element_type=ops.convert.convert_element_type,
    psum=collectives.psum,
    pmean=collectives.pmean,
    pmax=collectives.pmax,
    pmin=collectives.pmin,
    axis_index=collectives.axis_index,
    axis_size=collectives.axis_size,
)
X = np.array([0.5, -1.0, 2.0], np.float32)
M = np.array([[0.5, -1.0, 2.0], [3.0, 0.25, -0.75]], np.float32)


def over_i(n, f, **kw):
    return n.vmap(f, axis_name="i", **kw)


def over_both(n, f):
    """i runs over rows, j over columns."""
    return n.vmap(n.vmap(f, axis_name="j"), axis_name="i")


FUNCTIONS = {
    "psum": (lambda n, x: over_i(n, lambda x: n.psum(x, "i"))(x), X),
    "psum_of_vectors": (lambda n, x: over_i(n, lambda x: n.psum(x, "i"))(x), M),
    "psum_last_axis": (lambda n, x: over_i(n, lambda x: n.psum(x, "i"), in_axes=1)(x), M),
    "psum_tree": (lambda n, x: over_i(n, lambda x: n.psum({"a": x, "b": (x, 2)}, "i"))(x), X),
    "psum_bool": (lambda n, x: over_i(n, lambda x: n.psum(n.gt(x, 0.0), "i"))(x), X),
    "psum_constant": (lambda n, x: over_i(n, lambda _: n.psum(np.float32(2), "i"))(x), X),
    "psum_closed_over": (lambda n, x: over_i(n, lambda _: n.psum(n.sin(x), "i"))(x), X),
    "pmean": (lambda n, x: over_i(n, lambda x: n.pmean(x, "i"))(x), X),
    "pmean_int": (lambda n, x: over_i(n, lambda x: n.pmean(x, "i"))(x), np.arange(4, dtype="i4")),
    "pmean_bool": (lambda n, x: over_i(n, lambda x: n.pmean(n.gt(x, 0.0), "i"))(x), X),
    "pmax": (lambda n, x: over_i(n, lambda x: n.pmax(x, "i"))(x), X),
    "pmin": (lambda n, x: over_i(n, lambda x: n.pmin(x, "i"))(x), M),
    "pmax_int": (lambda n, x: over_i(n, lambda x: n.pmax(x, "i"))(x), np.arange(4, dtype="i4")),
    "pmax_bool": (lambda n, x: over_i(n, lambda x: n.pmax(n.gt(x, 0.0), "i"))(x), X),
    "axis_index": (lambda n, x: over_i(n, lambda x: n.axis_index("i"))(x), X),
    "axis_size": (lambda n, x: over_i(n, lambda x: n.add(x, float(n.axis_size("i"))))(x), X),
    "nested_inner": (lambda n, x: over_both(n, lambda x: n.psum(x, "j"))(x), M),
    "nested_outer": (lambda n, x: over_both(n, lambda x: n.psum(x, "i"))(x), M),
    "nested_both": (lambda n, x: over_both(n, lambda x: n.psum(x, ("i", "j")))(x), M),
    "nested_pmean": (lambda n, x: over_both(n, lambda x: n.pmean(x, ("i", "j")))(x), M),
    "nested_pmax": (lambda n, x: over_both(n, lambda x: n.pmax(n.sin(x), ("j", "i")))(x), M),
    "nested_index": (lambda n, x: over_both(n, lambda x: n.axis_index(("i", "j")))(x), M),
    "outer_sum_of_inner_constant": (
        lambda n, x: n.vmap(
            lambda row: n.vmap(lambda _: n.psum(n.total(row, (0,)), "j"), axis_name="j")(row),
            axis_name="i",
        )(x),
        M,
    ),
    "jit_inside": (lambda n, x: over_i(n, n.jit(lambda x: n.mul(x, n.psum(x, "i"))))(x), X),
    "jit_outside": (lambda n, x: n.jit(over_i(n, lambda x: n.mul(x, n.psum(x, "i"))))(x), X),
    "jit_index": (lambda n, x: over_i(n, n.jit(lambda x: n.axis_index("i")))(x), X),
    "jit_between": (
        lambda n, x: n.vmap(
            n.jit(n.vmap(lambda x: n.psum(n.sin(x), ("i", "j")), axis_name="j")), axis_name="i"
        )(x),
        M,
    ),
    "vmap_grad_psum": (
        lambda n, x: over_i(n, n.grad(lambda x: n.psum(n.mul(x, x), "i")))(x),
        X,
    ),
    "vmap_grad_product": (
        lambda n, x: over_i(n, n.grad(lambda x: n.mul(n.sin(x), n.psum(n.mul(x, x), "i"))))(x),
        X,
    ),
    "vmap_grad_pmean": (lambda n, x: over_i(n, n.grad(lambda x: n.pmean(n.sin(x), "i")))(x), X),
    "vmap_grad_jit": (
        lambda n, x: over_i(n, n.grad(n.jit(lambda x: n.psum(n.sin(x), "i"))))(x),
        X,
    ),
    "grad_vmap": (
        lambda n, x: n.grad(
            lambda x: n.total(over_i(n, lambda x: n.mul(x, n.psum(n.sin(x), "i")))(x), (0,))
        )(x),
        X,
    ),
    "grad_vmap_pmean": (
        lambda n, x: n.grad(
            lambda x: n.total(over_i(n, lambda x: n.sin(n.pmean(x, "i")))(x), (0,))
        )(x),
        X,
    ),
    "grad_grad": (
        lambda n, x: over_i(n, n.grad(n.grad(lambda x: n.psum(n.sin(x), "i"))))(x),
        X,
    ),
    "jvp_vmap": (
        lambda n, x: n.jvp(over_i(n, lambda x: n.mul(x, n.psum(x, "i"))), (x,), (n.sin(x),)),
        X,
    ),
    "vmap_jvp": (
        lambda n, x: over_i(
            n, lambda x: n.jvp(lambda x: n.mul(x, n.psum(x, "i")), (x,), (n.sin(x),))
        )(x),
        X,
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_like_jax(name):
    function, x = FUNCTIONS[name]
    got = jax.tree.map(np.asarray, function(OURS, x))
    expected = jax.tree.map(np.asarray, function(JAX, x))
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert_close(a, b, derivative="grad" in name)


@pytest.mark.parametrize("reduction", [collectives.pmax, collectives.pmin])
def test_derivative_of_extrema(reduction):
    """JAX has no rule here; the reference is the gradient of NumPy's formula at distinct values."""
    choose = np.argmax if reduction is collectives.pmax else np.argmin
    got = grad(
        lambda x: ops.reduce.reduce_sum(vmap(lambda x: reduction(x, "i"), axis_name="i")(x), (0,))
    )(X)
    expected = np.zeros(3, np.float32)
    expected[choose(X)] = 3.0  # each of the three examples has the extremum as its result
    assert_close(got, expected)


def test_derivative_of_tied_maximum_is_shared():
    x = np.array([1.0, 5.0, 5.0, 0.0], np.float32)
    t = np.array([1.0, 2.0, 4.0, 8.0], np.float32)
    _, tangent = jvp(vmap(lambda x: collectives.pmax(x, "i"), axis_name="i"), (x,), (t,))
    assert_close(tangent, np.full(4, 3.0, np.float32))


def test_jaxpr_with_axis_env():
    closed = make_jaxpr(lambda x: collectives.psum((x, 2.0), ("i", "j")), [], [("i", 2), ("j", 3)])(
        X
    )
    closed.check()
    assert str(closed) == (
        "{ lambda ; a:f32[3]. let b:f32[3] = psum[axes=('i', 'j')] a in (b, 12.0:f32[]) }"
    )
    closed = make_jaxpr(lambda: collectives.axis_index("i"), axis_env=[("i", 2)])()
    assert str(closed) == "{ lambda ; . let a:i32[] = axis_index[axis_name=i]  in (a,) }"


def test_python_scalars_stay():
    sizes = []

    def f(x):
        sizes.append((collectives.psum(1, "i"), collectives.pmean(3, "i")))
        return x

    vmap(f, axis_name="i")(X)
    assert sizes == [(3, 3.0)]
    assert [type(s) for s in sizes[0]] == [int, float]


def test_jit_retraces_for_another_size():
    mean = jit(lambda x: collectives.pmean(x, "i"))
    for size in (3, 2):
        assert_close(vmap(mean, axis_name="i")(X[:size]), np.full(size, X[:size].mean()))


def test_no_names_is_no_reduction():
    for reduction in (collectives.psum, collectives.pmean, collectives.pmax):
        assert_close(vmap(lambda x, r=reduction: r(x, ()))(X), X)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: collectives.psum(x, "i"),
        lambda x: collectives.pmean(x, "i"),
        lambda x: collectives.pmax(x, "i"),
        lambda x: collectives.axis_index("i"),
        lambda x: collectives.axis_size("i"),
        jit(lambda x: collectives.psum(x, "i")),
        vmap(lambda x: collectives.psum(x, "i"), axis_name="j"),
    ],
)
def test_unbound_name(function):
    with pytest.raises(UnboundAxisNameError, match=r"no enclosing vmap binds 'i'.*axis_name='i'"):
        function(X)
    with pytest.raises(NameError):
        function(X)


def test_program_run_outside_of_its_vmap():
    closed = make_jaxpr(lambda x: collectives.psum(x, "i"), axis_env=[("i", 2)])(X)
    with pytest.raises(UnboundAxisNameError, match=r"psum: .*'i' was run outside of a vmap"):
        closed.as_function()(X)


def test_wrong_arguments():
    with pytest.raises(OptionError, match=r"names must be distinct, got \('i', 'i'\)"):
        vmap(lambda x: collectives.psum(x, ("i", "i")), axis_name="i")(X)
    z = X.astype(np.complex64)
    with pytest.raises(DtypeError, match=r"pmax: takes .*got complex64\[\]"):
        vmap(lambda x: collectives.pmax(x, "i"), axis_name="i")(z)
