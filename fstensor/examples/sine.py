"""Three recurrent networks learn the cosine from the sine.

    python -m fstensor.examples.sine

A network reads the sine along a stretch of 20 steps and gives the cosine at each of them. One value
of the sine leaves the sign of the cosine open, so that it takes memory: the first step, before
which there is nothing to remember, does not count. Stretches begin anywhere in the period, those
of the test elsewhere than those of the training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import fstensor as fst
from fstensor import nn, optim, random
from fstensor import numpy as fnp
from fstensor.examples import common

STEPS = 20
SPACING = math.pi / 20  # from one step to the next
FEATURES = 32
LAYERS = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}


class Waves(NamedTuple):
    """Stretches of both functions: each (stretches, STEPS, 1)."""

    sine: fst.Array
    cosine: fst.Array


def waves(starts: np.ndarray) -> Waves:
    """The stretches that begin at these angles."""
    angles = starts[:, None, None] + SPACING * np.arange(STEPS)[:, None]
    return Waves(*(fnp.asarray(f(angles).astype(np.float32)) for f in (np.sin, np.cos)))


class SequenceToSequence(nn.Layer):
    """A recurrent layer, and a linear one of what it gives at each step."""

    recurrent: nn.Layer
    out: nn.Linear = nn.Linear(1)

    def forward(self, net: nn.Net, x: fst.Array) -> fst.Array:
        hidden, _ = net.recurrent(x)
        y: fst.Array = net.out(hidden)
        return y


def mean_squared_error(model: nn.Layer, params: common.Params, batch: Waves) -> fst.Array:
    found = model(params, batch.sine)
    return nn.mse_loss(found[:, 1:], batch.cosine[:, 1:])


def learn(name: str, epochs: int, batch_size: int, lr: float, seed: int) -> common.Fit:
    """Train the network of a name; its error on the test after each epoch."""
    starts = np.linspace(0, 2 * math.pi, 4096, endpoint=False)
    train, test = waves(starts), waves(starts[::16] + starts[1] / 2)  # halfway between
    model = SequenceToSequence(LAYERS[name](FEATURES))
    init_key, fit_key = random.split(random.key(seed))
    params, state = model.init(init_key, train.sine)
    test_error = fst.jit(lambda params: mean_squared_error(model, params, test))
    return common.fit(
        lambda params, state, batch, key: (mean_squared_error(model, params, batch), state),
        # The learning rate falls to 0 along half a cosine.
        optim.adam(optim.cosine_decay_schedule(lr, epochs * (len(starts) // batch_size))),
        params,
        state,
        train,
        epochs=epochs,
        batch_size=batch_size,
        key=fit_key,
        evaluate=lambda params, state: {"test error": float(test_error(params))},
        name=name,
    )


def main(argv: Sequence[str] | None = None) -> dict[str, common.Fit]:
    parser = common.parser("sine", __doc__, epochs=20, batch_size=32, lr=1e-2)
    parser.add_argument("--layer", nargs="+", choices=LAYERS, default=list(LAYERS))
    options = parser.parse_args(argv)
    fits = {
        name: learn(name, options.epochs, options.batch_size, options.lr, options.seed)
        for name in options.layer
    }
    rows = [
        (
            name,
            f"{common.count(fit.params):,}",
            f"{fit.found[-1]['test error']:.1e}",
            f"{fit.epoch_seconds():.3f} s",
        )
        for name, fit in fits.items()
    ]
    print(common.table(("network", "parameters", "test error", "time per epoch"), rows))
    return fits


if __name__ == "__main__":
    main()
