import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check, values


class TestBincount:
    x = np.array([1, 4, 1, 0, 1], np.int32)

    def test_concrete(self):
        check(fnp.bincount(self.x), np.bincount(self.x), "int32")
        check(fnp.bincount(self.x, minlength=8), np.bincount(self.x, minlength=8), "int32")
        w = values((5,), "float32")
        check(fnp.bincount(self.x, w), np.bincount(self.x, w), "float32")
        check(fnp.bincount(self.x[:0]), np.bincount(self.x[:0]), "int32")

    def test_of_known_length(self):
        count = fst.jit(lambda x: fnp.bincount(x, length=3))
        assert count(self.x).tolist() == [1, 3, 0]
        assert count(np.array([-1, -3, 2], np.int32)).tolist() == [0, 0, 1]

    def test_mistakes(self):
        with pytest.raises(errors.ConcretizationTypeError, match="pass length"):
            fst.jit(fnp.bincount)(self.x)
        with pytest.raises(errors.OptionError, match="must not be negative, got -1"):
            fnp.bincount(np.array([-1]))
        with pytest.raises(errors.ArgumentError, match="vector of integers"):
            fnp.bincount(np.ones(3))
        with pytest.raises(errors.ShapeError, match="weights must have the shape"):
            fnp.bincount(self.x, np.ones(2))


class TestHistogram:
    x = values((40,), "float64")

    @pytest.mark.parametrize("bins", [5, np.array([-3.0, -1, 0, 2, 3])])
    @pytest.mark.parametrize("density", [None, True])
    def test_against_numpy(self, bins, density):
        check(
            list(fnp.histogram(self.x, bins, density=density)),
            list(np.histogram(self.x, bins, density=density)),
            factor=20,
        )
        w = values((40,), "float64", 0, 1)
        check(
            list(fnp.histogram(self.x, bins, weights=w, density=density)),
            list(np.histogram(self.x, bins, weights=w, density=density)),
            factor=20,
        )

    def test_range(self):
        got, expected = (m.histogram(self.x, 4, range=(-1, 1)) for m in (fnp, np))
        check(list(got), list(expected))
        check(
            fnp.histogram_bin_edges(np.full(3, 2.0), 2), np.histogram_bin_edges(np.full(3, 2.0), 2)
        )
        counts, edges = fnp.histogram(np.zeros(0), 2)
        assert (counts.tolist(), edges.tolist()) == ([0, 0], [0, 0.5, 1])

    def test_jit(self):
        counts, _ = fst.jit(lambda x: fnp.histogram(x, 5))(self.x)
        check(counts, np.histogram(self.x, 5)[0])

    def test_rules_by_name_are_not_known(self):
        with pytest.raises(errors.OptionError, match="number or edges"):
            fnp.histogram(self.x, "auto")


class TestCovariance:
    m = values((3, 7), "float64")

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"rowvar": False},
            {"bias": True},
            {"ddof": 0},
            {"ddof": 2},
            {"fweights": np.array([1, 2, 3, 1, 1, 2, 4])},
            {"aweights": np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])},
            {
                "fweights": np.array([1, 2, 3, 1, 1, 2, 4]),
                "aweights": np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
            },
        ],
    )
    def test_cov(self, options):
        check(fnp.cov(self.m, **options), np.cov(self.m, **options), "float64", factor=50)

    def test_other_shapes(self):
        check(fnp.cov(self.m[0]), np.cov(self.m[0]), factor=20)
        check(fnp.cov(self.m, self.m[0]), np.cov(self.m, self.m[0]), factor=20)
        check(
            fnp.cov(self.m[0], self.m[1], rowvar=False),
            np.cov(self.m[0], self.m[1], rowvar=False),
            factor=20,
        )
        z = values((3, 7), "complex128")
        check(fnp.cov(z), np.cov(z), factor=20)
        with pytest.raises(errors.ShapeError, match="at most 2 axes"):
            fnp.cov(np.ones((2, 2, 2)))

    def test_dtype(self):
        for f, g in [(fnp.cov, np.cov), (fnp.corrcoef, np.corrcoef)]:
            check(f(self.m, dtype="float32"), g(self.m, dtype="float32"), "float32", factor=50)
            check(f(self.m, self.m[0], dtype="complex64").real, g(self.m, self.m[0]), "float32", 50)
            whole = (self.m * 5).astype("int32")
            check(f(whole, dtype="float64"), g(whole), "float64", factor=50)
            with pytest.raises(errors.DtypeError, match="cov: dtype must be float or complex"):
                f(self.m, dtype="int32")
        weights = np.arange(1, 8)
        check(
            fnp.cov(self.m, fweights=weights, aweights=weights, dtype="float32"),
            np.cov(self.m, fweights=weights, aweights=weights),
            "float32",
            50,
        )

    def test_corrcoef(self):
        check(fnp.corrcoef(self.m), np.corrcoef(self.m), factor=20)
        check(fnp.corrcoef(self.m[0]), np.corrcoef(self.m[0]))
        z = values((3, 7), "complex128")
        check(fnp.corrcoef(z), np.corrcoef(z), factor=20)
