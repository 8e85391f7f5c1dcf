"""Metrics in batches, merged and compiled give what NumPy gives of all data at once."""

import math

import numpy as np
import pytest

import fstensor as fst
from fstensor import metrics
from fstensor.errors import ArgumentError, DtypeError, OptionError, ShapeError

RNG = np.random.default_rng(0)
CLASSES, SIZE = 4, 60
SCORES = RNG.normal(size=(SIZE, CLASSES))
TARGETS = RNG.integers(0, CLASSES, SIZE)
PREDICTED = SCORES.argmax(-1)
WHERE = RNG.uniform(size=SIZE) < 0.7
NUMBERS, TRUTH = RNG.normal(size=SIZE) + 1000, RNG.normal(size=SIZE) + 1000
CHANCES = np.round(RNG.uniform(size=SIZE), 1)  # with ties
BINARY = TARGETS % 2


def confusion(predicted, targets):
    counts = np.zeros((CLASSES, CLASSES), int)
    np.add.at(counts, (targets, predicted), 1)
    return counts


def scores_of_classes(predicted, targets):
    """Precision, recall and F1 of each class, 0 for 0 / 0."""
    counts = confusion(predicted, targets)
    hits, all_predicted, actual = np.diag(counts), counts.sum(0), counts.sum(1)
    pairs = ((hits, all_predicted), (hits, actual), (2 * hits, all_predicted + actual))
    return [np.where(d == 0, 0, n / np.maximum(d, 1)) for n, d in pairs]


def area(scores, positive):
    """By comparing all pairs."""
    p, n = scores[positive == 1][:, None], scores[positive == 0]
    return np.mean((p > n) + 0.5 * (p == n))


def correlation(predicted, targets):
    """Of one-hot vectors, summed over classes."""
    one_hot = np.eye(CLASSES)
    x, y = one_hot[predicted], one_hot[targets]
    x, y = x - x.mean(0), y - y.mean(0)
    return (x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum())


def perplexity(scores, targets):
    logp = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    return np.exp(-np.mean(logp[np.arange(len(targets)), targets]))


def top_two(scores, targets):
    return np.mean([t in np.argsort(-s)[:2] for s, t in zip(scores, targets, strict=True)])


def binned(scores, positive):
    return area(np.floor(np.minimum(scores * 5, 4)), positive)


# A metric, its data, and what it should give, as a function of the data.
CASES = {
    "Accuracy": (metrics.Accuracy(), (PREDICTED, TARGETS), lambda p, t: np.mean(p == t)),
    "Accuracy of scores": (
        metrics.Accuracy(),
        (SCORES, TARGETS),
        lambda s, t: np.mean(s.argmax(-1) == t),
    ),
    "TopKAccuracy": (metrics.TopKAccuracy(2), (SCORES, TARGETS), top_two),
    "ConfusionMatrix": (metrics.ConfusionMatrix(CLASSES), (PREDICTED, TARGETS), confusion),
    "MatthewsCorrelation": (
        metrics.MatthewsCorrelation(CLASSES),
        (PREDICTED, TARGETS),
        correlation,
    ),
    "AUROC": (metrics.AUROC(SIZE), (CHANCES, BINARY), area),
    "BinnedAUROC": (metrics.BinnedAUROC(5), (CHANCES, BINARY), binned),
    "Mean": (metrics.Mean(), (NUMBERS,), np.mean),
    "MeanSquaredError": (
        metrics.MeanSquaredError(),
        (NUMBERS, TRUTH),
        lambda p, t: np.mean((p - t) ** 2),
    ),
    "root": (
        metrics.MeanSquaredError(root=True),
        (NUMBERS, TRUTH),
        lambda p, t: np.sqrt(np.mean((p - t) ** 2)),
    ),
    "MeanAbsoluteError": (
        metrics.MeanAbsoluteError(),
        (NUMBERS, TRUTH),
        lambda p, t: np.mean(abs(p - t)),
    ),
    "R2": (
        metrics.R2(),
        (NUMBERS, TRUTH),
        lambda p, t: 1 - np.sum((p - t) ** 2) / np.sum((t - t.mean()) ** 2),
    ),
    "Perplexity": (metrics.Perplexity(), (SCORES, TARGETS), perplexity),
}
for i, kind in enumerate((metrics.Precision, metrics.Recall, metrics.F1)):
    of_each = lambda p, t, i=i: scores_of_classes(p, t)[i]
    CASES |= {
        f"{kind.__name__} of each": (kind(CLASSES, None), (PREDICTED, TARGETS), of_each),
        f"{kind.__name__} macro": (
            kind(CLASSES),
            (PREDICTED, TARGETS),
            lambda p, t, of_each=of_each: np.mean(of_each(p, t)),
        ),
        f"{kind.__name__} micro": (
            kind(CLASSES, "micro"),
            (PREDICTED, TARGETS),
            lambda p, t: np.mean(p == t),
        ),
    }
MASKED = [name for name in CASES if name != "Mean"]


def test_all_are_here():
    kinds = {type(metric).__name__ for metric, _, _ in CASES.values()}
    apart = {"Metric", "BLEU", "BLEUStatistics", "bleu"}  # TestBLEU
    assert kinds | apart == set(metrics.__all__)


def batches(data, number=4):
    return [np.stack(np.split(x, number)) for x in data]


@pytest.mark.parametrize("name", CASES)
class TestEach:
    def test_in_batches(self, name):
        metric, data, expected = CASES[name]
        state = metric.init()
        for batch in zip(*batches(data), strict=True):
            state = fst.jit(metric.update)(state, *batch)
        got = metric.compute(state)
        assert got.dtype == (np.int32 if name == "ConfusionMatrix" else np.float32)
        np.testing.assert_allclose(got, expected(*data), 1e-6)

    def test_scan(self, name):
        metric, data, expected = CASES[name]

        @fst.jit
        def run(metric, data):
            step = lambda state, batch: (metric.update(state, *batch), None)
            state, _ = fst.lax.scan(step, metric.init(), data)
            return metric.compute(state)

        np.testing.assert_allclose(run(metric, tuple(batches(data))), expected(*data), 1e-6)

    def test_vmap_and_merge(self, name):
        metric, data, expected = CASES[name]
        parts = fst.vmap(lambda *batch: metric.update(metric.init(), *batch))(*batches(data))
        of_parts = fst.vmap(metric.compute)(parts)
        for i, batch in enumerate(zip(*batches(data), strict=True)):
            np.testing.assert_allclose(of_parts[i], expected(*batch), 1e-6)
        whole = metric.init()
        for i in range(4):
            whole = metric.merge(fst.tree.map(lambda x, i=i: x[i], parts), whole)
        np.testing.assert_allclose(metric.compute(whole), expected(*data), 1e-6)

    def test_masks(self, name):
        metric, data, expected = CASES[name]
        if name == "Mean":
            state = metric.update(metric.init(), *data, weights=WHERE)
        else:
            state = metric.update(metric.init(), *data, where=WHERE)
        np.testing.assert_allclose(metric.compute(state), expected(*[x[WHERE] for x in data]), 1e-6)

    def test_a_metric_is_a_value(self, name):
        metric, _, _ = CASES[name]
        leaves, structure = fst.tree.flatten(metric)
        assert leaves == []
        assert fst.tree.unflatten(structure, leaves) == metric
        hash(metric)


class TestEdges:
    @pytest.mark.parametrize("name", CASES)
    def test_no_data(self, name):
        metric, _, _ = CASES[name]
        result = np.asarray(metric.compute(metric.init()))
        nan = name in ("Mean", "MeanSquaredError", "root", "MeanAbsoluteError", "R2", "Perplexity")
        assert np.isnan(result).all() if nan or "AUROC" in name else not result.any()

    def test_macro_is_over_classes_that_occur(self):
        metric = metrics.Recall(10)
        state = metric.update(metric.init(), np.array([0, 1, 1]), np.array([0, 1, 2]))
        np.testing.assert_allclose(metric.compute(state), 2 / 3, 1e-6)

    def test_indices_outside_do_not_count(self):
        predictions, targets = np.array([0, 1, 5, -1, 1]), np.array([0, -1, 1, 1, 7])
        matrix = metrics.ConfusionMatrix(2)
        found = matrix.compute(matrix.update(matrix.init(), predictions, targets))
        np.testing.assert_array_equal(found, [[1, 0], [0, 0]])
        recall = metrics.Recall(2, None)
        state = recall.update(recall.init(), predictions, targets)
        np.testing.assert_allclose(recall.compute(state), [1, 0])

    def test_long_sums_in_single_precision_data(self):
        """A float32 sum would stand still at 2^24."""
        metric, ones = metrics.Mean(), np.ones(4, np.float32)
        state = metric.update(metric.init(), np.float32(2.0), weights=2.0**24)
        state = metric.update(state, ones)
        assert float(state.weight) == 2**24 + 4

    def test_r2_far_from_zero(self):
        metric = metrics.R2()
        state = metric.init()
        for p, t in zip(*batches((NUMBERS + 1e8, TRUTH + 1e8)), strict=True):
            state = metric.update(state, p, t)
        expected = CASES["R2"][2](NUMBERS, TRUTH)
        np.testing.assert_allclose(metric.compute(state), expected, 1e-6)

    def test_top_k_of_equal_scores(self):
        metric = metrics.TopKAccuracy(2)
        scores = np.zeros((4, 4))
        for target, expected in enumerate([1, 1, 0, 0]):
            state = metric.update(metric.init(), scores, np.full(4, target))
            assert metric.compute(state) == expected
        state = metric.update(metric.init(), scores, np.array([-1, 4, 9, 0]))
        assert metric.compute(state) == 0.25

    def test_perplexity_ignores(self):
        metric = metrics.Perplexity(ignore_index=1)
        state = metric.update(metric.init(), SCORES, TARGETS)
        kept = TARGETS != 1
        expected = perplexity(SCORES[kept], TARGETS[kept])
        np.testing.assert_allclose(metric.compute(state), expected, 1e-6)


class TestAUROC:
    def test_more_than_capacity_is_nan(self):
        metric = metrics.AUROC(5)
        state = metric.update(metric.init(), CHANCES[:5], BINARY[:5])
        assert np.isfinite(metric.compute(state))
        assert np.isnan(metric.compute(metric.update(state, CHANCES[:1], BINARY[:1])))
        assert np.isnan(metric.compute(metric.merge(state, state)))

    def test_infinite_scores(self):
        metric = metrics.AUROC(10)
        scores, targets = np.array([np.inf, -np.inf, np.inf, 0.0]), np.array([1, 0, 0, 1])
        state = metric.update(metric.init(), scores, targets)
        np.testing.assert_allclose(metric.compute(state), area(scores, targets))
        state = metric.update(state, np.array([np.nan]), np.array([1]))
        assert np.isnan(metric.compute(state))

    def test_many_pairs(self):
        """More than 2^31 of them, counted without overflow."""
        size = 200_000
        scores, targets = RNG.normal(size=size).astype(np.float32), np.arange(size) % 2
        metric = metrics.AUROC(size)
        got = metric.compute(metric.update(metric.init(), scores, targets))
        ranks = np.argsort(np.argsort(scores, kind="stable"), kind="stable") + 1
        positives = size // 2
        less = ranks[targets == 1].sum() - positives * (positives + 1) / 2
        np.testing.assert_allclose(got, less / positives**2, 1e-5)

    @pytest.mark.parametrize("bins", [1, 3, 10, 1000])
    def test_error_of_bins(self, bins):
        metric = metrics.BinnedAUROC(bins, 0.0, 1.0)
        scores = RNG.uniform(size=SIZE)
        state = metric.update(metric.init(), scores, BINARY)
        error = abs(float(metric.compute(state)) - area(scores, BINARY))
        bound = float(metric.error_bound(state))
        assert error <= bound + 1e-7
        assert bound == pytest.approx(0.5 if bins == 1 else bound)
        assert bound < 0.5 / bins**0.5 + 0.01


def words(text):
    return text.split()


class TestBLEU:
    CANDIDATES = (words("the the the the the the the"), words("the cat sat on a mat today"))
    REFERENCES = (
        [words("the cat is on the mat"), words("there is a cat on the mat")],
        [words("the cat sat on the mat"), words("a cat sat on a mat")],
    )

    def test_statistics(self):
        """The first sentence is the example of Papineni et al., section 2.1: 2 of 7."""
        found = metrics.BLEU(2).statistics(self.CANDIDATES[:1], self.REFERENCES[:1])
        assert found.matches.tolist() == [2, 0]
        assert found.possible.tolist() == [7, 6]
        assert (found.candidate_length, found.reference_length) == (7, 7)

    def test_score(self):
        # Sequences with "today" have no match; all others are in one reference or the other.
        got = metrics.bleu(self.CANDIDATES[1:], self.REFERENCES[1:])
        matches, possible = [6, 5, 4, 3], [7, 6, 5, 4]
        expected = math.prod(m / p for m, p in zip(matches, possible, strict=True)) ** 0.25
        assert got == pytest.approx(expected, 1e-12)

    def test_short_candidates(self):
        got = metrics.bleu([["a", "b"]], [[["a", "b", "c"]]], max_order=2)
        assert got == pytest.approx(math.exp(1 - 3 / 2), 1e-12)
        assert metrics.bleu([[]], [[["a"]]]) == 0

    def test_smooth(self):
        options = {"max_order": 3, "smooth": True}
        got = metrics.bleu([["a", "b"]], [[["b", "a"]]], **options)
        assert got == pytest.approx((1 * 1 / 2 * 1 / 1) ** (1 / 3), 1e-12)
        assert metrics.bleu([["a", "b"]], [[["b", "a"]]]) == 0

    def test_in_batches(self):
        metric = metrics.BLEU()
        state = metric.init()
        for c, r in zip(self.CANDIDATES, self.REFERENCES, strict=True):
            state = fst.jit(metric.update)(state, metric.statistics([c], [r]))
        expected = metrics.bleu(self.CANDIDATES, self.REFERENCES)
        np.testing.assert_allclose(metric.compute(state), expected, 1e-6)
        np.testing.assert_allclose(metric.compute(metric.merge(state, state)), expected, 1e-6)

    def test_errors(self):
        with pytest.raises(ArgumentError, match="takes lists of tokens, got text"):
            metrics.bleu(["a b"], [["a b"]])
        with pytest.raises(ShapeError, match="got 1 and 2"):
            metrics.bleu([["a"]], [[["a"]], [["a"]]])
        with pytest.raises(ShapeError, match="must have a reference"):
            metrics.bleu([["a"]], [[]])
        with pytest.raises(OptionError, match="max_order must be positive, got 0"):
            metrics.BLEU(0)


class TestErrors:
    def test_classes(self):
        metric = metrics.Accuracy()
        state = metric.init()
        with pytest.raises(ShapeError, match=r"Accuracy: .* got int64\[3\] and int64\[4\]"):
            metric.update(state, np.arange(3), np.arange(4))
        with pytest.raises(DtypeError, match="for scores of two classes, pass scores > threshold"):
            metric.update(state, np.zeros(3), np.arange(3))
        with pytest.raises(DtypeError, match="targets must be indices of classes"):
            metric.update(state, np.zeros((3, 2)), np.zeros(3))
        with pytest.raises(DtypeError, match=r"where must be of bools, got float64\[3\]"):
            metric.update(state, np.arange(3), np.arange(3), np.ones(3))
        with pytest.raises(ShapeError, match="where must have the shape of int32"):
            metric.update(state, np.arange(3), np.arange(3), np.ones(1, bool))
        with pytest.raises(OptionError, match="F1: average must be micro, macro or None"):
            metrics.F1(3, "weighted")
        with pytest.raises(ShapeError, match="Perplexity: logits must have an axis of classes"):
            metrics.Perplexity().update(state, np.arange(3), np.arange(3))
        with pytest.raises(ShapeError, match="TopKAccuracy: scores must have an axis"):
            metrics.TopKAccuracy().update(state, np.arange(3), np.arange(3))

    def test_numbers(self):
        metric = metrics.MeanSquaredError()
        with pytest.raises(ShapeError, match=r"got float64\[3\] and float64\[3,1\]"):
            metric.update(metric.init(), np.zeros(3), np.zeros((3, 1)))
        with pytest.raises(DtypeError, match="Mean: takes real numbers"):
            metrics.Mean().update(metric.init(), np.zeros(3) * 1j)
        with pytest.raises(ShapeError, match="Mean: weights must broadcast"):
            metrics.Mean().update(metric.init(), np.zeros(3), np.zeros((2, 3)))
        with pytest.raises(OptionError, match="BinnedAUROC: there must be bins"):
            metrics.BinnedAUROC(0)
        with pytest.raises(DtypeError, match="AUROC: takes real scores, and targets 0 or 1"):
            metrics.AUROC(3).update(metrics.AUROC(3).init(), np.zeros(3), np.zeros(3))
