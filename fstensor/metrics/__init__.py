"""Metrics over many batches, as pure functions of a state. See `fstensor.metrics.metric`."""

from fstensor.metrics.bleu import BLEU, BLEUStatistics, bleu
from fstensor.metrics.confusion import (
    F1,
    ConfusionMatrix,
    MatthewsCorrelation,
    Precision,
    Recall,
)
from fstensor.metrics.means import (
    R2,
    Accuracy,
    Mean,
    MeanAbsoluteError,
    MeanSquaredError,
    Perplexity,
    TopKAccuracy,
)
from fstensor.metrics.metric import Metric
from fstensor.metrics.ranking import AUROC, BinnedAUROC

__all__ = [
    "AUROC",
    "BLEU",
    "F1",
    "R2",
    "Accuracy",
    "BLEUStatistics",
    "BinnedAUROC",
    "ConfusionMatrix",
    "MatthewsCorrelation",
    "Mean",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Perplexity",
    "Precision",
    "Recall",
    "TopKAccuracy",
    "bleu",
]
