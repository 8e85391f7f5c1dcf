"""Losses beside formulas, at extremes, under transforms, and with arguments that are wrong."""

import math

import numpy as np
import pytest

import fstensor as fst
from fstensor import nn
from fstensor import numpy as fnp
from fstensor.errors import DtypeError, OptionError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 5))
Y = RNG.normal(size=(4, 5))
CLASSES = np.array([0, 3, 1, 4])
SIGNS = np.where(RNG.uniform(size=(4, 5)) < 0.5, 1.0, -1.0)
PAIRS = [
    "l1_loss",
    "mse_loss",
    "smooth_l1_loss",
    "huber_loss",
    "poisson_nll_loss",
    "kl_div",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "focal_loss",
    "hinge_loss",
    "soft_margin_loss",
    "hinge_embedding_loss",
    "multilabel_soft_margin_loss",
]


def operands(name):
    """Of functions of two numbers, within their domain."""
    probabilities = 1 / (1 + np.exp(-X))
    return (probabilities if name == "binary_cross_entropy" else X), (SIGNS + 1) / 2


class TestAllOfPairs:
    @pytest.mark.parametrize("name", PAIRS)
    def test_reductions(self, name):
        f, (x, t) = getattr(nn, name), operands(name)
        each = np.asarray(f(x, t, reduction="none"))
        assert each.shape == ((4,) if name.startswith("multilabel") else (4, 5))
        np.testing.assert_allclose(f(x, t), each.mean(), 1e-12)
        np.testing.assert_allclose(f(x, t, reduction="sum"), each.sum(), 1e-12)

    @pytest.mark.parametrize("name", PAIRS)
    def test_vmap_and_jit(self, name):
        f, (x, t) = getattr(nn, name), operands(name)
        together = fst.jit(fst.vmap(fst.value_and_grad(f)))(x, t)
        apart = [fst.value_and_grad(f)(*row) for row in zip(x, t, strict=True)]
        for got, expected in zip(together, zip(*apart, strict=True), strict=True):
            np.testing.assert_allclose(got, np.stack(expected), 1e-10, 1e-12)

    @pytest.mark.parametrize("name", PAIRS)
    def test_errors(self, name):
        f = getattr(nn, name)
        with pytest.raises(ShapeError, match=rf"{name}: .* float64\[4,5\] and float64\[4,1\]"):
            f(X, Y[:, :1])
        with pytest.raises(OptionError, match=f"{name}: reduction must be .* got 'average'"):
            f(X, Y, reduction="average")
        with pytest.raises(DtypeError, match=f"{name}: takes real numbers, got complex128"):
            f(X + 1j, Y)

    @pytest.mark.parametrize("name", PAIRS)
    def test_integers_become_floats(self, name):
        targets = np.ones(3, np.int32)
        assert getattr(nn, name)(np.ones(3, np.int32), targets).dtype == np.float32

    @pytest.mark.parametrize("name", PAIRS)
    def test_nan_stays_nan(self, name):
        x, t = operands(name)
        assert np.isnan(getattr(nn, name)(np.where(x == x[0, 0], np.nan, x), t))


class TestNumbers:
    def test_no_pull_where_equal(self):
        grads = fst.grad(nn.l1_loss)(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
        np.testing.assert_array_equal(grads, [0, 0.5])

    def test_huber_of_large_numbers_in_single_precision(self):
        x = np.array([3e38, -3e38], np.float32)
        np.testing.assert_allclose(nn.huber_loss(x, 0.0, reduction="none"), [3e38, 3e38], 1e-6)

    def test_targets_may_be_a_scalar(self):
        np.testing.assert_allclose(nn.mse_loss(X, 0.5), np.mean((X - 0.5) ** 2), 1e-12)

    def test_options_outside(self):
        with pytest.raises(OptionError, match="beta must not be negative, got -1"):
            nn.smooth_l1_loss(X, Y, beta=-1)
        with pytest.raises(OptionError, match="delta must be positive, got 0"):
            nn.huber_loss(X, Y, delta=0)
        with pytest.raises(OptionError, match="eps must be positive, got 0"):
            nn.gaussian_nll_loss(X, Y, 1.0, eps=0)
        with pytest.raises(ShapeError, match=r"weights must broadcast to float64\[4,5\]"):
            nn.mse_loss(X, Y, weight=np.ones((2, 4, 5)))

    @pytest.mark.parametrize("shape", [(), (4,), (4, 1), (1, 5), (4, 5)])
    def test_gaussian_variances(self, shape):
        var = np.asarray(RNG.uniform(0.5, 2, shape))
        full = var[:, None] if shape == (4,) else var
        expected = np.mean(np.log(full) + (X - Y) ** 2 / full) / 2
        np.testing.assert_allclose(nn.gaussian_nll_loss(X, Y, var), expected, 1e-12)

    def test_gaussian_variance_of_wrong_shape(self):
        with pytest.raises(ShapeError, match=r"var must broadcast .* got float64\[5\]"):
            nn.gaussian_nll_loss(X, Y, np.ones(5))

    def test_divergence(self):
        p, q = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (X, Y))
        p[0, 1], p[0, 2] = 0, p[0, 1] + p[0, 2]
        terms = np.where(p > 0, p * np.log(np.where(p > 0, p, 1) / q), 0)
        divergence = nn.kl_div(np.log(q), p, reduction="batchmean")
        np.testing.assert_allclose(divergence, terms.sum() / 4, 1e-12)
        assert np.isfinite(fst.grad(nn.kl_div, 1)(np.log(q), p)).all()
        with pytest.raises(ShapeError, match="batchmean needs an axis"):
            nn.kl_div(0.0, 1.0, reduction="batchmean")


class TestClasses:
    def test_each_row_is_shifted_by_its_own_largest(self):
        """A shift by the largest of all would lose the second row."""
        x = np.array([[1e4, 1e4 - 1, 0.0], [-1e4, -1e4 - 1, -3e4]], np.float32)
        loss = nn.cross_entropy(x, np.array([1, 1]), reduction="none")
        np.testing.assert_allclose(loss, [math.log(1 + math.e)] * 2, 1e-6)
        assert np.isfinite(fst.grad(nn.cross_entropy)(x, np.array([2, 2]))).all()

    @pytest.mark.parametrize("axis", [0, 1, -1])
    @pytest.mark.parametrize("smoothing", [0.0, 0.2])
    def test_axis(self, axis, smoothing):
        x = RNG.normal(size=(3, 3, 3))
        t = RNG.integers(0, 3, (3, 3))
        weight = np.array([0.5, 1.0, 2.0])
        options = {"weight": weight, "label_smoothing": smoothing, "reduction": "none"}
        moved = nn.cross_entropy(np.moveaxis(x, axis, -1), t, **options)
        np.testing.assert_allclose(nn.cross_entropy(x, t, axis=axis, **options), moved, 1e-12)
        logp = nn.log_softmax(x, axis=axis)
        plain = nn.nll_loss(logp, t, axis=axis)
        np.testing.assert_allclose(plain, nn.cross_entropy(x, t, axis=axis), 1e-12)
        one_hot = nn.one_hot(t, 3, axis=axis, dtype=np.float64)
        soft = nn.cross_entropy(x, one_hot, axis=axis, **options)
        # With indices, smoothing weighs each class by its own weight too.
        np.testing.assert_allclose(soft, moved, 1e-12)

    def test_impossible_classes_of_no_probability(self):
        x = np.array([[0.0, -np.inf, 0.0]])
        np.testing.assert_allclose(
            nn.cross_entropy(x, np.array([[0.5, 0.0, 0.5]])), math.log(2), 1e-12
        )

    def test_ignored_targets(self):
        t = np.array([0, -100, 1, -100])
        kept = nn.cross_entropy(X[[0, 2]], t[[0, 2]])
        np.testing.assert_allclose(nn.cross_entropy(X, t), kept, 1e-12)
        grads = np.asarray(fst.grad(nn.cross_entropy)(X, t))
        assert not grads[[1, 3]].any()
        assert grads[[0, 2]].all()
        assert np.isnan(nn.cross_entropy(X, np.full(4, -100)))
        assert nn.cross_entropy(X, np.full(4, -100), reduction="sum") == 0

    def test_indices_outside(self):
        loss = fst.jit(lambda t: nn.cross_entropy(X, t, reduction="none"))(np.array([0, 5, -1, 2]))
        np.testing.assert_array_equal(np.isnan(loss), [False, True, True, False])

    def test_errors(self):
        with pytest.raises(ShapeError, match=r"without axis 1, got float64\[4,5\] and int64\[5\]"):
            nn.cross_entropy(X, np.zeros(5, np.int64))
        with pytest.raises(ShapeError, match="integers, or floats of the input's shape"):
            nn.cross_entropy(X, np.zeros(4))
        with pytest.raises(OptionError, match="label_smoothing must be between 0 and 1, got 2"):
            nn.cross_entropy(X, CLASSES, label_smoothing=2)
        with pytest.raises(ShapeError, match=r"each of 5 classes, got float64\[4\]"):
            nn.cross_entropy(X, CLASSES, weight=np.ones(4))
        with pytest.raises(DtypeError, match="nll_loss: indices of classes must be integers"):
            nn.nll_loss(X, Y)
        with pytest.raises(OptionError, match="p must be 1 or 2, got 3"):
            nn.multi_margin_loss(X, CLASSES, p=3)
        with pytest.raises(ShapeError, match="multilabel_margin_loss: takes two of shape"):
            nn.multilabel_margin_loss(X, CLASSES)


class TestTwoClasses:
    def test_logits_are_accurate_far_out(self):
        x = np.array([50.0, -50.0])
        loss = nn.binary_cross_entropy_with_logits(x, np.array([1.0, 0.0]), reduction="none")
        np.testing.assert_allclose(loss, np.exp(-50.0), 1e-12)

    def test_second_derivative(self):
        second = fst.grad(fst.grad(nn.binary_cross_entropy_with_logits))(0.0, 1.0)
        np.testing.assert_allclose(second, 0.25, 1e-6)
        np.testing.assert_allclose(fst.grad(fst.grad(nn.binary_cross_entropy))(0.5, 1.0), 4, 1e-6)

    @pytest.mark.parametrize("gamma", [0, 0.5, 1, 2, 3.5])
    @pytest.mark.parametrize("alpha", [None, 0.3])
    def test_focal_loss(self, gamma, alpha):
        x, t = X, (SIGNS + 1) / 2
        p = 1 / (1 + np.exp(-SIGNS * x))
        share = 1 if alpha is None else np.where(t == 1, alpha, 1 - alpha)
        expected = -share * (1 - p) ** gamma * np.log(p)
        loss = nn.focal_loss(x, t, gamma=gamma, alpha=alpha, reduction="none")
        np.testing.assert_allclose(loss, expected, 1e-10)

    @pytest.mark.parametrize("gamma", [0, 0.5, 1, 2])
    def test_focal_loss_far_out(self, gamma):
        x, t = np.array([1e4, -1e4, 1e4, -1e4]), np.array([1.0, 1.0, 0.0, 0.0])
        loss, grads = fst.value_and_grad(
            lambda x: nn.focal_loss(x, t, gamma=gamma, alpha=None, reduction="sum")
        )(x)
        np.testing.assert_allclose(loss, 2e4, 1e-12)
        np.testing.assert_allclose(grads, [0, -1, 1, 0], atol=1e-12)

    def test_focal_options(self):
        with pytest.raises(OptionError, match="gamma must not be negative, got -1"):
            nn.focal_loss(X, Y, gamma=-1)
        with pytest.raises(OptionError, match="alpha must be between 0 and 1, got 2"):
            nn.focal_loss(X, Y, alpha=2)


class TestTriplets:
    def test_coinciding_points(self):
        grads = fst.grad(nn.triplet_margin_loss, (0, 1, 2))(X, X, X, eps=0.0)
        assert all(np.array_equal(g, np.zeros_like(X)) for g in grads)

    def test_errors(self):
        with pytest.raises(OptionError, match="margin must be positive, got 0"):
            nn.triplet_margin_loss(X, X, Y, margin=0)
        with pytest.raises(ShapeError, match="anchor and positive and negative"):
            nn.triplet_margin_with_distance_loss(X, X, Y[:2])
        with pytest.raises(ShapeError, match="cosine_embedding_loss: takes vectors"):
            nn.cosine_embedding_loss(X, Y, SIGNS)
        with pytest.raises(ShapeError, match="input1 and input2 and target"):
            nn.margin_ranking_loss(X, Y, SIGNS[0])


def all_alignments(logp, target, blank=0):
    """The probability of a target, by walking over all alignments."""
    times, classes = logp.shape
    total = 0.0
    for path in np.ndindex(*[classes] * times):
        merged = [c for i, c in enumerate(path) if i == 0 or c != path[i - 1]]
        if [c for c in merged if c != blank] == list(target):
            total += np.exp(sum(logp[i, c] for i, c in enumerate(path)))
    return total


class TestCTC:
    @pytest.mark.parametrize("target", [[], [1], [1, 2], [1, 1], [2, 1, 2]])
    def test_sum_over_alignments(self, target):
        logp = np.asarray(nn.log_softmax(RNG.normal(size=(4, 3))))
        padded = np.array([*target, 0, 0], np.int64)
        loss = nn.ctc_loss(logp, padded, 4, len(target), reduction="sum")
        np.testing.assert_allclose(loss, -np.log(all_alignments(logp, target)), 1e-10)

    def test_derivative_is_that_of_the_function(self):
        logp = np.asarray(nn.log_softmax(RNG.normal(size=(5, 2, 3))))
        labels, times, counts = np.array([[1, 2], [2, 2]]), np.array([5, 4]), np.array([2, 2])
        f = lambda logp: nn.ctc_loss(logp, labels, times, counts, reduction="sum")
        fst.test_util.check_grads(f, (logp,), order=1, modes=("fwd", "rev"))
        grads = np.asarray(fst.grad(f)(logp))
        # At each time that counts, minus the probabilities of where the alignments are.
        np.testing.assert_allclose(grads.sum(-1), [[-1, -1]] * 4 + [[-1, 0]], 1e-10, 1e-12)

    def test_impossible_target(self):
        logp = np.zeros((2, 3))
        f = lambda logp: nn.ctc_loss(logp, np.array([1, 1]), 2, 2)
        assert f(logp) == np.inf
        assert np.isfinite(fst.grad(f)(logp)).all()
        f = lambda logp: nn.ctc_loss(logp, np.array([1, 1]), 2, 2, zero_infinity=True)
        assert f(logp) == 0
        assert not np.asarray(fst.grad(f)(logp)).any()

    def test_classes_of_no_probability(self):
        logp = np.log(np.array([[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]]).clip(1e-300))
        logp[logp < -600] = -np.inf
        loss, grads = fst.value_and_grad(lambda x: nn.ctc_loss(x, np.array([1, 2]), 2, 2))(logp)
        np.testing.assert_allclose(loss, -np.log(0.5 * 0.75) / 2, 1e-12)
        assert np.isfinite(grads).all()

    def test_vmap_gives_what_a_batch_gives(self):
        logits = RNG.normal(size=(6, 3, 4))
        labels, times, counts = RNG.integers(1, 4, (3, 3)), np.array([6, 5, 4]), np.array([3, 2, 0])
        one = lambda x, *rest: nn.ctc_loss(nn.log_softmax(x), *rest, reduction="none")
        together = fst.jit(fst.vmap(one, (1, 0, 0, 0)))(logits, labels, times, counts)
        np.testing.assert_allclose(together, one(logits, labels, times, counts), 1e-10)

    def test_targets_one_after_the_other(self):
        logp = np.asarray(nn.log_softmax(RNG.normal(size=(6, 3, 4))))
        padded, times, counts = (
            np.array([[1, 2], [3, 0], [0, 0]]),
            np.full(3, 6),
            np.array([2, 1, 0]),
        )
        expected = nn.ctc_loss(logp, padded, times, counts, reduction="none")
        joined = lambda counts: nn.ctc_loss(
            logp, np.array([1, 2, 3]), times, counts, reduction="none"
        )
        np.testing.assert_allclose(joined(counts), expected, 1e-12)
        np.testing.assert_allclose(fst.jit(joined)(counts), expected, 1e-12)
        none = nn.ctc_loss(logp, np.zeros(0, int), times, 0 * counts, reduction="none")
        np.testing.assert_allclose(none, -logp[..., 0].sum(0), 1e-12)
        with pytest.raises(ShapeError, match=r"as target_lengths together, 3, got int64\[4\]"):
            nn.ctc_loss(logp, np.array([1, 2, 3, 1]), times, counts)

    def test_errors(self):
        logp, labels, n = fnp.zeros((5, 2, 3)), np.ones((2, 2), int), np.array([2, 2])
        with pytest.raises(OptionError, match="blank must be one of 3 classes, got 3"):
            nn.ctc_loss(logp, labels, n, n, blank=3)
        with pytest.raises(ShapeError, match=r"got float32\[5,2,3\], int64\[1,4\]"):
            nn.ctc_loss(logp, labels.reshape(1, 4), n, n)
        with pytest.raises(DtypeError, match=r"must be integers, got float64\[2\]"):
            nn.ctc_loss(logp, labels, n, n.astype(float))
