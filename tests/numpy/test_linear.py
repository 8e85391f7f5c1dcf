import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check, few, values


def pair(a, b, dtype="float64"):
    return values(a, dtype, seed=1), values(b, dtype, seed=2)


MATMUL = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((5, 1, 2, 3), (4, 3, 2)), ((1, 2, 3), (4, 3, 2)),
    ((3,), (4, 3, 2)), ((4, 2, 3), (3,)), ((2, 0), (0, 3)), ((0, 2, 3), (3, 4)),
    ((5, 4, 2, 3), (3,)),
]  # fmt: skip


class TestMatmul:
    @pytest.mark.parametrize(("a", "b"), MATMUL)
    @pytest.mark.parametrize("dtype", ["float64", "int32", "complex64"])
    def test_shapes(self, a, b, dtype):
        x, y = pair(a, b, dtype)
        check(fnp.matmul(x, y), x @ y, dtype)

    def test_dtypes_promote(self):
        assert (fnp.ones((2, 2), "int8") @ fnp.ones((2, 2), "float16")).dtype == np.float16
        assert (
            fnp.matmul(
                np.ones((2, 2), "int8"), np.ones((2, 2), "int8"), preferred_element_type="int32"
            ).dtype
            == np.int32
        )

    def test_mistakes(self):
        with pytest.raises(errors.ShapeError, match=r"matmul: axis 1 .* \(3 != 2\)"):
            fnp.matmul(np.ones((2, 3)), np.ones((2, 3)))
        with pytest.raises(errors.ShapeError, match="at least 1 axis"):
            fnp.matmul(1.0, np.ones(2))
        with pytest.raises(errors.ShapeError, match=r"\(2,\) and \(3,\)"):
            fnp.matmul(np.ones((2, 2, 2)), np.ones((3, 2, 2)))

    def test_gradient(self):
        x, y = pair((2, 3), (3, 4))
        gx, gy = fst.grad(lambda x, y: fnp.sum(fnp.sin(x @ y)), (0, 1))(x, y)
        check([gx, gy], [np.cos(x @ y) @ y.T, x.T @ np.cos(x @ y)])


@pytest.mark.parametrize("name", ["dot", "matmul", "vdot", "vecdot", "inner", "tensordot"])
def test_precision(name):
    f = getattr(fnp, name)
    x, y = pair((3, 3), (3, 3))
    expected = np.asarray(f(x, y))
    for precision in ("high", fst.lax.Precision.HIGHEST, (None, "float32"), None):
        check(f(fnp.asarray(x), y, precision=precision), expected)
        check(fst.jit(lambda x, y, p=precision: f(x, y, precision=p))(x, y), expected)
    for wrong in ("best", 3):
        with pytest.raises(errors.OptionError, match=f"{name}: precision must be None"):
            f(fnp.asarray(x), fnp.asarray(y), precision=wrong)


@pytest.mark.parametrize("name", ["dot", "inner"])
def test_precision_of_scalars(name):
    with pytest.raises(errors.OptionError, match=f"{name}: precision must be None"):
        getattr(fnp, name)(2.0, np.ones(2), precision="best")


def test_precision_of_einsum():
    x, y = pair((2, 3), (3, 2))
    check(fnp.einsum("ij,jk", x, y, precision="highest"), x @ y)
    for operands in ((x, y), (x,)):
        terms = ",".join(["ij", "ji"][: len(operands)])
        with pytest.raises(errors.OptionError, match="einsum: precision must be None"):
            fnp.einsum(terms, *operands, precision="best")


@pytest.mark.parametrize(
    ("a", "b"), [((), (3,)), ((3,), (3,)), ((2, 3), (3,)), ((2, 3), (4, 3, 5)), ((4, 2, 3), (3,))]
)
def test_dot(a, b):
    x, y = pair(a, b)
    check(fnp.dot(x, y), np.dot(x, y))


@pytest.mark.parametrize(("a", "b"), [((3,), (3,)), ((2, 3), (4, 3)), ((2, 3), (3,)), ((), (3,))])
def test_inner(a, b):
    x, y = pair(a, b)
    check(fnp.inner(x, y), np.inner(x, y))


def test_products_of_vectors():
    x, y = pair((2, 3), (2, 3), "complex128")
    check(fnp.vdot(x, y), np.vdot(x, y))
    check(fnp.outer(x, y), np.outer(x, y))
    check(fnp.vecdot(x, y), np.vecdot(x, y))
    check(fnp.vecdot(x, y, axis=0), np.vecdot(x, y, axis=0))
    m = values((4, 3, 3), "complex128")
    check(fnp.matvec(m, x[0]), np.matvec(m, x[0]))
    check(fnp.vecmat(x[0], m), np.vecmat(x[0], m))
    check(fnp.kron(x, m), np.kron(x, m))
    check(fnp.kron(x[0], x), np.kron(x[0], x))


@pytest.mark.parametrize(
    "axes", [0, 1, 2, ([1], [0]), (1, 0), ([0, 1], [1, 0]), ((-1, 0), (0, -2))]
)
def test_tensordot(axes):
    if axes == 2:
        x, y = pair((2, 3, 4), (3, 4, 5))
    elif axes in (([0, 1], [1, 0]), ((-1, 0), (0, -2))):
        x, y = pair((2, 3), (3, 2, 4)[:3])
    else:
        x, y = pair((2, 3), (3, 4))
    check(fnp.tensordot(x, y, axes), np.tensordot(x, y, axes))


def test_tensordot_mistakes():
    x, y = pair((2, 3), (3, 4))
    with pytest.raises(errors.AxisError, match="as many axes"):
        fnp.tensordot(x, y, ([0, 1], [0]))
    with pytest.raises(errors.ShapeError, match="tensordot"):
        fnp.tensordot(x, y, ([0], [0]))
    with pytest.raises(errors.AxisError, match="no 3 axes"):
        fnp.tensordot(x, y, 3)


def test_cross():
    x, y = pair((4, 3), (3,))
    check(fnp.cross(x, y), np.cross(x, y))
    x, y = pair((3, 4), (3, 4))
    check(fnp.cross(x, y, axis=0), np.cross(x, y, axis=0))
    check(fnp.cross(x, y.T, axisa=0, axisb=1, axisc=0), np.cross(x, y.T, axisa=0, axisb=1, axisc=0))
    # Of two components, which NumPy no longer takes.
    assert float(fnp.cross(fnp.array([1.0, 2.0]), fnp.array([3.0, 4.0]))) == -2
    with pytest.raises(errors.ShapeError, match="2 or 3 components"):
        fnp.cross(np.ones(4), np.ones(4))


class TestDiagonals:
    @few
    @hypothesis.given(
        shape=st.lists(st.integers(0, 4), min_size=2, max_size=3), offset=st.integers(-4, 4)
    )
    def test_diagonal(self, shape, offset):
        x = values(tuple(shape), "float64")
        check(fnp.diagonal(x, offset), np.diagonal(x, offset))
        check(fnp.diagonal(x, offset, -1, 0), np.diagonal(x, offset, -1, 0))
        check(fnp.trace(x, offset), np.trace(x, offset))
        if len(shape) == 2:
            check(fnp.diag(x, offset), np.diag(x, offset))

    @pytest.mark.parametrize("k", [-2, 0, 1])
    def test_matrices(self, k):
        v = values((3,), "float32")
        check(fnp.diag(v, k), np.diag(v, k), "float32")
        check(fnp.diagflat(values((2, 2), "float32"), k), np.diagflat(values((2, 2), "float32"), k))
        for shape in ((3, 4), (4, 2), (2, 3, 3)):
            x = values(shape, "int32")
            check(fnp.tril(x, k), np.tril(x, k), "int32")
            check(fnp.triu(x, k), np.triu(x, k), "int32")

    def test_trace_dtype(self):
        x = np.full((3, 3), 100, np.int8)
        check(fnp.trace(x), np.int32(300), "int32")
        assert fnp.trace(x, dtype="float32").dtype == np.float32

    def test_mistakes(self):
        for function in (fnp.diagonal, fnp.tril, fnp.triu):
            with pytest.raises(errors.ShapeError, match="at least 2 axes"):
                function(np.ones(3))


A, B, C = (values(s, "float64", seed=i) for i, s in enumerate([(2, 3), (3, 4), (4, 2)]))
EINSUMS = [
    ("ij,jk->ik", A, B), ("ij,jk", A, B), ("ij->ji", A), ("ji", A), ("ij->", A), ("ij->j", A),
    ("ij,ij->ij", A, A), ("ij,ij->i", A, A), ("i,j->ij", A[0], B[0]), ("ij,jk,kl->il", A, B, C),
    ("ij,jk,ki", A, B, C), ("ij,jk,ki->j", A, B, C), ("...j,jk->...k", np.stack([A, A]), B),
    ("...ij,...jk->...ik", np.stack([A, A])[:, None], B), ("i...->...", A), ("...", A),
    ("ij , jk -> ik", A, B), ("bij,bjk->bik", np.stack([A, A]), np.stack([B, B])),
    ("ij,kl->", A, B), ("ij,k->ijk", A, B[0]), ("ij,jk->jki", A, B), ("ij,kj->kji", A, A),
    ("ij,j", A, A[0]), ("i,i,i->i", A[0], A[0], A[0]), ("ij,ij,j->", A, A, A[0]),
    (",ij->ij", 2.0, A),
]  # fmt: skip


class TestEinsum:
    @pytest.mark.parametrize("case", EINSUMS, ids=lambda c: c[0])
    def test_against_numpy(self, case):
        check(fnp.einsum(*case), np.einsum(*case), "float64", factor=20)
        check(fst.jit(lambda *xs: fnp.einsum(case[0], *xs))(*case[1:]), np.einsum(*case), factor=20)

    @pytest.mark.parametrize("subscripts", ["ii->i", "ii", "ii->", "iij->ji", "iji->j"])
    def test_diagonals(self, subscripts):
        x = values((3, 3) if subscripts.count("j") == 0 else (3, 3, 3), "float64")
        check(fnp.einsum(subscripts, x), np.einsum(subscripts, x))

    def test_axes_of_size_one_stretch(self):
        x, y = values((2, 1), "float64"), values((3, 4), "float64")
        check(fnp.einsum("ij,jk->ik", x, y), np.einsum("ij,jk->ik", x, y))
        check(fnp.einsum("ij,jk->ijk", x, y), np.einsum("ij,jk->ijk", x, y))

    def test_lists_of_numbers(self):
        check(fnp.einsum(A, [0, 1], B, [1, 2], [0, 2]), A @ B)
        check(fnp.einsum(A, [0, 1], B, [1, 2]), A @ B)
        check(fnp.einsum(A, [..., 1], B, [1, 2], [..., 2]), A @ B)

    @pytest.mark.parametrize(
        "optimize", ["greedy", "optimal", "auto", True, False, [(1, 2), (0, 1)]]
    )
    def test_orders(self, optimize):
        got = fnp.einsum("ij,jk,kl->il", A, B, C, optimize=optimize)
        check(got, A @ B @ C, factor=20)

    def test_order_saves_work(self):
        x, y, z = (fnp.ones(s) for s in [(2, 500), (500, 500), (500, 1)])
        jaxpr = str(fst.make_jaxpr(lambda x, y, z: fnp.einsum("ij,jk,kl", x, y, z))(x, y, z))
        assert "f32[500,1]" in jaxpr
        assert "f32[2,500] =" not in jaxpr

    def test_dtypes(self):
        assert fnp.einsum("i,i", np.ones(2, "int32"), np.ones(2, "float16")).dtype == np.float16
        assert (
            fnp.einsum(
                "i,i", np.ones(2, "int8"), np.ones(2, "int8"), preferred_element_type="int32"
            ).dtype
            == np.int32
        )

    @pytest.mark.parametrize(
        ("subscripts", "error", "match"),
        [
            ("ij", errors.OptionError, "term for each operand"),
            ("ijk,jk", errors.OptionError, "one letter for each axis"),
            ("ij,jk->iz", errors.OptionError, "occur in an operand"),
            ("ij,jk->ii", errors.OptionError, "distinct"),
            ("ij,ik", errors.ShapeError, "one size"),
        ],
    )
    def test_mistakes(self, subscripts, error, match):
        with pytest.raises(error, match=match):
            fnp.einsum(subscripts, A, B)

    def test_gradient_and_vmap(self):
        gradient = fst.grad(lambda a: fnp.einsum("ij,jk,ki", a, B, C))(A)
        check(gradient, (B @ C).T, factor=20)
        batch = np.stack([A, 2 * A])
        check(
            fst.vmap(lambda a: fnp.einsum("ij,jk->k", a, B))(batch),
            np.einsum("bij,jk->bk", batch, B),
            factor=20,
        )
