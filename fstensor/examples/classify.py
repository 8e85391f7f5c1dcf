"""Training a classifier: what the examples with images and sentences have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import fstensor as fst
from fstensor import nn, optim, random
from fstensor.examples import common
from fstensor.examples.datasets import Examples, Split


def fit_classifier(
    model: nn.Layer,
    data: Split,
    optimizer: optim.GradientTransformation,
    *,
    epochs: int,
    batch_size: int,
    key: fst.Array,
    label_smoothing: float = 0.0,
    augment: Callable[[fst.Array, fst.Array], fst.Array] | None = None,
    name: str = "",
) -> common.Fit:
    """Train a layer, inputs -> logits, on the cross-entropy; the test accuracy after each epoch.

    augment: changes a batch of inputs at random, given a key, while training.
    """
    init_key, fit_key = random.split(key)
    params, state = model.init(init_key, fst.numpy.asarray(data.train.inputs[:1]))

    def loss(
        params: common.Params, state: common.State, batch: common.Batch, key: fst.Array
    ) -> tuple[fst.Array, common.State]:
        augment_key, apply_key = random.split(key)
        inputs = batch.inputs if augment is None else augment(augment_key, batch.inputs)
        logits, state = model.apply(params, state, inputs, key=apply_key, train=True)
        value = nn.cross_entropy(logits, batch.labels, label_smoothing=label_smoothing)
        return value, state

    logits_of = fst.jit(lambda params, state, x: model.apply(params, state, x)[0])

    def evaluate(params: common.Params, state: common.State) -> dict[str, float]:
        return {"accuracy": accuracy(lambda x: logits_of(params, state, x), data.test)}

    return common.fit(
        loss,
        optimizer,
        params,
        state,
        data.train,
        epochs=epochs,
        batch_size=batch_size,
        key=fit_key,
        evaluate=evaluate,
        name=name or type(model).__name__,
    )


def accuracy(logits_of: Callable[[fst.Array], fst.Array], examples: Examples) -> float:
    """The share of examples whose largest logit is that of their label."""
    found = common.in_batches(logits_of, examples.inputs).argmax(-1)
    return float((found == examples.labels).mean())


def results(fits: Mapping[str, common.Fit]) -> str:
    """The closing table: a row for each network."""
    rows = [
        (
            name,
            f"{common.count(fit.params):,}",
            f"{fit.losses[-1]:.4f}",
            f"{fit.found[-1]['accuracy']:.2%}",
            f"{fit.epoch_seconds():.2f} s",
        )
        for name, fit in fits.items()
    ]
    head = ("network", "parameters", "training loss", "test accuracy", "time per epoch")
    return common.table(head, rows)
