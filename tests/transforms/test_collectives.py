"""Collectives under vmap, against JAX: the same function on both, with the names of each."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from fstensor import lax, ops
from fstensor.errors import (
    AxisError,
    DtypeError,
    OptionError,
    ShapeError,
    UnboundAxisNameError,
)
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


# Collectives that move values. JAX refuses partial permutations and, but for all_to_all, several
# names under vmap, so these have references in NumPy below.

Q = np.arange(32, dtype=np.float32).reshape(4, 4, 2) / 8
MOVES = {
    "all_gather": lambda n, x: n.all_gather(x, "i"),
    "all_gather_axis": lambda n, x: n.all_gather(x, "i", axis=1),
    "all_gather_last": lambda n, x: n.all_gather(x, "i", axis=-1),
    "all_gather_tiled": lambda n, x: n.all_gather(x, "i", tiled=True),
    "all_gather_tiled_last": lambda n, x: n.all_gather(x, "i", axis=-1, tiled=True),
    "psum_scatter": lambda n, x: n.psum_scatter(x, "i"),
    "psum_scatter_tiled": lambda n, x: n.psum_scatter(x, "i", tiled=True),
    "all_to_all": lambda n, x: n.all_to_all(x, "i", 0, 0),
    "all_to_all_axes": lambda n, x: n.all_to_all(x, "i", 0, 1),
    "all_to_all_tiled": lambda n, x: n.all_to_all(x, "i", 0, 1, tiled=True),
    "all_to_all_tiled_same": lambda n, x: n.all_to_all(x, "i", 0, 0, tiled=True),
    "ppermute": lambda n, x: n.ppermute(x, "i", [(0, 2), (1, 0), (2, 3), (3, 1)]),
    "pshuffle": lambda n, x: n.pshuffle(x, "i", [3, 0, 2, 1]),
    "pswapaxes": lambda n, x: n.pswapaxes(x, "i", 0),
    "tree": lambda n, x: n.all_gather({"a": x, "b": (x,)}, "i"),
}
for namespace, home in ((JAX, jax.lax), (OURS, lax)):
    for move in ("all_gather", "psum_scatter", "all_to_all", "ppermute", "pshuffle", "pswapaxes"):
        setattr(namespace, move, getattr(home, move))


def under(kind, move, n):
    """A composition of transforms around a collective."""
    f = lambda x: move(n, n.mul(x, n.sin(x)))
    return {
        "vmap": lambda x: over_i(n, f)(x),
        "vmap_last": lambda x: over_i(n, f, in_axes=1, out_axes=-1)(x),
        "constant": lambda x: over_i(n, lambda _: move(n, np.ones((4, 2), np.float32)))(x),
        "jit": lambda x: over_i(n, n.jit(f))(x),
        "jvp": lambda x: n.jvp(over_i(n, f), (x,), (n.sin(x),)),
    }[kind]


def is_wrong_in_jax(kind, name):
    """Of a constant JAX gives each example the results of all; see test_exchange_of_a_constant."""
    return kind == "constant" and name.startswith(("all_to_all", "pswapaxes"))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind in ("vmap", "vmap_last", "constant", "jit", "jvp")
        for name in MOVES
        if not is_wrong_in_jax(kind, name)
    ],
)
def test_moves_like_jax(kind, name):
    got = jax.tree.map(np.asarray, under(kind, MOVES[name], OURS)(Q))
    expected = jax.tree.map(np.asarray, under(kind, MOVES[name], JAX)(Q))
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("name", [m for m in MOVES if m != "tree"])
def test_moves_beside_another_batch(name, inside):
    f = lambda x: MOVES[name](OURS, x)
    both = np.stack([Q, np.sin(Q)], -1)
    if inside:
        got = over_i(OURS, vmap(f, in_axes=-1))(both)
    else:
        got = vmap(over_i(OURS, f), in_axes=-1)(both)
    expected = [np.asarray(over_i(OURS, f)(x)) for x in (Q, np.sin(Q))]
    assert_close(got, np.stack(expected, 1 if inside else 0))


@pytest.mark.parametrize("outside", [True, False])
@pytest.mark.parametrize("name", [m for m in MOVES if m != "tree"])
def test_gradients_of_moves_like_jax(name, outside):
    """Inside of the vmap too, the gradient is that of the sum of what all examples return."""

    def weighted(n, x):
        y = MOVES[name](n, n.sin(x))
        weights = np.arange(1, y.size + 1, dtype=np.float32).reshape(y.shape) / y.size
        return n.total(n.mul(y, weights), tuple(range(y.ndim)))

    def pulled(n):
        return n.grad(lambda x: n.total(over_i(n, lambda x: weighted(n, x))(x), (0,)))(Q)

    got = pulled(OURS) if outside else over_i(OURS, grad(lambda x: weighted(OURS, x)))(Q)
    assert_close(np.asarray(got), np.asarray(pulled(JAX)), derivative=True)


@pytest.mark.parametrize("tiled", [False, True])
def test_exchange_of_a_constant(tiled):
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    same = np.broadcast_to(x, (4, 4, 2))
    move = lambda x: lax.all_to_all(x, "i", 0, 1, tiled=tiled)
    got = vmap(lambda _: move(x), axis_name="i")(np.zeros(4))
    assert_close(got, np.asarray(vmap(move, axis_name="i")(same)))


class TestSeveralNames:
    """Over two names at once as over one axis of the product of their sizes."""

    x = np.arange(6 * 6 * 2, dtype=np.float32).reshape(6, 6, 2)

    def both(self, function, names):
        """Over i (2) outside and j (3) inside; in the order of `names` the last is fastest."""
        shaped = self.x.reshape(2, 3, 6, 2)
        if names == ("j", "i"):
            shaped = self.x.reshape(3, 2, 6, 2).swapaxes(0, 1)
        out = np.asarray(over_both(OURS, lambda x: function(x, names))(shaped))
        if names == ("j", "i"):
            out = out.swapaxes(0, 1)
        return out.reshape(6, *out.shape[2:])

    @pytest.mark.parametrize("names", [("i", "j"), ("j", "i")])
    @pytest.mark.parametrize(
        "function",
        [
            lambda x, names: lax.all_gather(x, names, axis=1),
            lambda x, names: lax.all_gather(x, names, tiled=True),
            lambda x, names: lax.psum_scatter(x, names),
            lambda x, names: lax.psum_scatter(x, names, tiled=True),
            lambda x, names: lax.all_to_all(x, names, 0, 1),
            lambda x, names: lax.all_to_all(x, names, 0, 1, tiled=True),
            lambda x, names: lax.ppermute(x, names, [(0, 5), (5, 1), (2, 2)]),
            lambda x, names: lax.pbroadcast(x, names, 4),
        ],
    )
    def test_as_one_axis(self, function, names):
        expected = vmap(lambda x: function(x, "k"), axis_name="k")(self.x)
        assert_close(self.both(function, names), np.asarray(expected))

    def test_gradient(self):
        def loss(x):
            y = lax.ppermute(x, ("i", "j"), [(0, 5), (1, 0)])
            return OURS.total(OURS.mul(y, y), (0,))

        x = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
        got = over_both(OURS, grad(loss))(x)
        expected = np.where(x <= 1, 2 * x, 0)  # only examples 0 and 1 are seen by any
        assert_close(got, expected)

    def test_no_names(self):
        x = np.ones((3, 1), np.float32)
        assert_close(vmap(lambda x: lax.all_gather(x, ()))(x), x[:, None])
        assert_close(vmap(lambda x: lax.psum_scatter(x, ()))(x), x[:, 0])


def test_partial_permutation():
    f = vmap(lambda x: lax.ppermute(x, "i", [(0, 1), (2, 0)]), axis_name="i")
    assert_close(f(X), np.array([X[2], X[0], 0]).astype(np.float32))
    slope = grad(lambda x: OURS.total(OURS.mul(f(x), np.float32([1, 10, 100])), (0,)))(X)
    assert_close(slope, np.array([10, 0, 1], np.float32))
    constant = vmap(lambda _: lax.ppermute(7.0, "i", [(0, 1)]), axis_name="i")(X)
    assert_close(constant, np.array([0, 7, 0], np.float32))
    integers = vmap(lambda x: lax.ppermute(x, "i", [(0, 1)]), axis_name="i")(np.arange(1, 4))
    assert_close(integers, np.array([0, 1, 0]))
    bools = vmap(lambda x: lax.ppermute(x > 0, "i", [(0, 1)]), axis_name="i")(X)
    assert_close(bools, np.array([False, True, False]))


def test_pbroadcast():
    f = vmap(lambda x: lax.pbroadcast(x, "i", 1), axis_name="i")
    assert_close(f(M.T), np.broadcast_to(M.T[1], (3, 2)))
    assert_close(grad(lambda x: OURS.total(f(x), (0,)))(X), np.array([0, 3, 0], np.float32))


def test_moves_of_bools():
    mask = np.array([[True, False], [True, True]])
    gathered = vmap(lambda x: lax.all_gather(x, "i"), axis_name="i")(mask)
    assert_close(gathered, np.stack([mask, mask]))
    summed = vmap(lambda x: lax.psum_scatter(x, "i"), axis_name="i")(mask)
    assert_close(summed, np.array([2, 1], np.int32))


def test_programs_of_moves():
    closed = make_jaxpr(lambda x: lax.ppermute(x, "i", [(0, 1)]), axis_env=[("i", 2)])(X)
    assert "ppermute[axis_name=i perm=((0, 1),)]" in str(closed)
    closed = make_jaxpr(lambda x: lax.all_gather(x, "i"), axis_env=[("i", 2)])(X)
    closed.check()
    with pytest.raises(UnboundAxisNameError, match=r"all_gather: .*was run outside of a vmap"):
        closed.as_function()(X)


@pytest.mark.parametrize(
    ("function", "error", "text"),
    [
        (lambda x: lax.psum_scatter(x, "i"), ShapeError, "axis 0 must have an index for each"),
        (lambda x: lax.psum_scatter(x, "i", tiled=True), ShapeError, "must be a multiple of"),
        (lambda x: lax.all_to_all(x, "i", 0, 0), ShapeError, "got float32\\[2\\]; with tiled"),
        (lambda x: lax.all_to_all(x, "i", 1, 0), AxisError, "all_to_all"),
        (lambda x: lax.ppermute(x, "i", [(0, 1), (0, 2)]), OptionError, "must be distinct"),
        (lambda x: lax.ppermute(x, "i", [(0, 3)]), OptionError, "positions below 3"),
        (lambda x: lax.pshuffle(x, "i", [0, 1]), OptionError, "each of the 3 examples once"),
        (lambda x: lax.pbroadcast(x, "i", 3), OptionError, "a position below 3"),
        (lambda x: lax.all_gather(x, "j"), UnboundAxisNameError, "binds 'j'"),
        (
            lambda x: lax.all_gather(x, "i", axis_index_groups=[[0], [1, 2]]),
            OptionError,
            "all_gather: axis_index_groups must be None under vmap",
        ),
        (
            lambda x: lax.psum(x, "i", axis_index_groups=[[0], [1, 2]]),
            OptionError,
            "psum: axis_index_groups must be None under vmap",
        ),
        (
            lambda x: lax.pmax(x, "i", axis_index_groups=[[0], [1, 2]]),
            OptionError,
            "pmax: axis_index_groups must be None under vmap",
        ),
    ],
)
def test_wrong_moves(function, error, text):
    with pytest.raises(error, match=text):
        vmap(function, axis_name="i")(M.T)
