import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check, values


def test_functions_of_scalars():
    x, y = values((2, 1, 3), "float64"), values((4, 1), "float64")
    f = fnp.vectorize(lambda a, b: fnp.where(a > b, a - b, a * b))
    check(f(x, y), np.where(x > y, x - y, x * y))
    check(fst.jit(f)(x, y), np.where(x > y, x - y, x * y))
    check(f(1.0, 2.0), 2.0)


@pytest.mark.parametrize(
    ("a", "b"), [((3,), (3,)), ((2, 3), (3,)), ((2, 1, 3), (4, 3)), ((1, 3), (5, 3))]
)
def test_signatures(a, b):
    x, y = values(a, "float64"), values(b, "float64", seed=1)
    f = fnp.vectorize(fnp.dot, signature="(n),(n)->()")
    check(f(x, y), np.vectorize(np.dot, signature="(n),(n)->()")(x, y))
    m = values((*a[:-1], 2, 3), "float64")
    g = fnp.vectorize(lambda m, v: (m @ v, v[0]), signature="(m,n),(n)->(m),()")
    check(
        list(g(m, y)),
        [
            np.einsum("...mn,...n->...m", m, y),
            np.broadcast_to(y[..., 0], np.broadcast_shapes(m.shape[:-2], y.shape[:-1])),
        ],
    )


def test_excluded_arguments():
    f = fnp.vectorize(lambda x, n, *, scale: x**n * scale, excluded={1})
    check(f(np.arange(3.0), 2, scale=3.0), 3 * np.arange(3.0) ** 2)


def test_leading_axes_of_size_one():
    f = fnp.vectorize(lambda x: x + 1)
    assert f(np.zeros((1, 1, 2))).shape == (1, 1, 2)
    assert f(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("signature", ["(n)", "n->()", "(n)->", "(n,)->()", "((n))->()"])
def test_malformed_signatures(signature):
    with pytest.raises(errors.OptionError, match="signature must be like"):
        fnp.vectorize(fnp.sum, signature=signature)


def test_mistakes():
    f = fnp.vectorize(fnp.dot, signature="(n),(n)->()")
    with pytest.raises(errors.ArgumentError, match="takes 2 arguments, got 1"):
        f(np.ones(3))
    with pytest.raises(errors.ShapeError, match="axis n must have one size, got 3 and 2"):
        f(np.ones(3), np.ones(2))
    with pytest.raises(errors.ShapeError, match="at least 1 axes"):
        f(np.ones(3), 1.0)
    with pytest.raises(errors.ShapeError, match="were announced"):
        fnp.vectorize(lambda x: x, signature="(n)->()")(np.ones(3))
    with pytest.raises(errors.ArgumentError, match="gives 2 results, got 1"):
        fnp.vectorize(fnp.sum, signature="(n)->(),()")(np.ones(3))


class TestFrompyfunc:
    f = fnp.frompyfunc(lambda a, b: fnp.sin(a) * b, 2, 1, identity=0)

    def test_values_and_shapes(self):
        x, y = values((3, 1), "float64"), values((4,), "float64", seed=1)
        check(self.f(x, y), np.sin(x) * y)
        check(self.f(x, 2.0), np.sin(x) * 2)
        check(fst.jit(self.f)(x, y), np.sin(x) * y)
        check(fst.vmap(self.f, (0, None))(x, y), np.sin(x) * y)
        check(self.f.outer(x, y), np.sin(x)[..., None] * y)

    def test_gradient(self):
        x, y = values((3,), "float64"), values((3,), "float64", seed=1)
        slopes = fst.grad(lambda x, y: self.f(x, y).sum(), (0, 1))(x, y)
        check(list(slopes), [np.cos(x) * y, np.sin(x)])

    def test_several_results(self):
        f = fnp.frompyfunc(lambda a: (a + 1, a * 2), 1, 2)
        check(f(np.arange(3)), (np.arange(3) + 1, np.arange(3) * 2))
        assert isinstance(f(np.arange(3)), tuple)
        single = fnp.frompyfunc(lambda a: (a,), 1, 1)
        check(single(np.arange(3)), np.arange(3))

    def test_attributes(self):
        assert (self.f.nin, self.f.nout, self.f.nargs, self.f.identity) == (2, 1, 3, 0)
        assert "UniversalFunction" in repr(self.f)

    def test_mistakes(self):
        with pytest.raises(errors.ArgumentError, match="takes 2 arguments, got 1"):
            self.f(1.0)
        with pytest.raises(errors.ArgumentError, match="must give 2 results, got 1"):
            fnp.frompyfunc(lambda a: a, 1, 2)(1.0)
        with pytest.raises(errors.ArgumentError, match="outer is of 2 arguments"):
            fnp.frompyfunc(lambda a: a, 1, 1).outer(1.0, 2.0)
        with pytest.raises(errors.ArgumentError, match="at least one argument and one result"):
            fnp.frompyfunc(lambda: 1, 0, 1)
