"""A perceptron learns which arm of a spiral a point belongs to.

    python -m fstensor.examples.spiral

Three arms of points wind around each other, so that no straight lines part them. The points are
drawn at random, and others from the same arms are there to test on. The picture at the end shows
which class the network gives to each place, and some of the points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import optim, random
from fstensor.examples import classify, common
from fstensor.examples.datasets import Examples, Split
from fstensor.nn import models

ARMS = 3
# What the picture shows a place of each class as, and its columns and rows.
SHADES = " -#"
COLUMNS, ROWS = 64, 28


def spiral(key: fst.Array, count: int, noise: float = 0.2) -> Examples:
    """That many points (x, y) of each arm; they lie within 1 of the middle.

    At a radius r, the arm k has the angle 4 r + 2 pi k / 3, to which noise is added.
    """
    radius = fnp.arange(1, count + 1) / count
    arm = fnp.arange(ARMS)[:, None]
    angle = 4 * radius + 2 * fnp.pi / ARMS * arm + noise * random.normal(key, (ARMS, count))
    points = fnp.stack([radius * fnp.cos(angle), radius * fnp.sin(angle)], axis=-1)
    labels = fnp.broadcast_to(arm, (ARMS, count))
    return Examples(np.asarray(points.reshape(-1, 2)), np.asarray(labels.ravel()))


def picture(logits_of: Callable[[fst.Array], fst.Array], examples: Examples) -> str:
    """The class of each place as a shade, and the examples as digits."""
    x, y = np.linspace(-1, 1, COLUMNS), np.linspace(1, -1, ROWS)
    places = fnp.asarray(np.stack(np.meshgrid(x, y), axis=-1), "float32")
    rows = [[SHADES[n] for n in row] for row in logits_of(places).argmax(-1).tolist()]
    for (x_point, y_point), label in zip(examples.inputs, examples.labels, strict=True):
        column = round((1 + float(x_point)) / 2 * (COLUMNS - 1))
        row = round((1 - float(y_point)) / 2 * (ROWS - 1))
        if 0 <= column < COLUMNS and 0 <= row < ROWS:
            rows[row][column] = str(label)
    return "\n".join("".join(row) for row in rows)


def main(argv: Sequence[str] | None = None) -> common.Fit:
    parser = common.parser("spiral", __doc__, epochs=30, batch_size=50, lr=1e-2)
    parser.add_argument(
        "--points", type=common.positive(int), default=200, help="points of each arm"
    )
    parser.add_argument(
        "--hidden", type=common.positive(int), default=64, help="units of each hidden layer"
    )
    options = parser.parse_args(argv)
    train_key, test_key, fit_key = random.split(random.key(options.seed), 3)
    data = Split(spiral(train_key, options.points), spiral(test_key, 50))
    common.check_batch(parser, options.batch_size, len(data.train.labels))
    model = models.MLP((options.hidden, options.hidden, ARMS))
    fit = classify.fit_classifier(
        model,
        data,
        optim.adam(options.lr),
        epochs=options.epochs,
        batch_size=options.batch_size,
        key=fit_key,
        name="spiral",
    )
    print(picture(lambda places: model(fit.params, places), data.test))
    print(classify.results({"spiral": fit}))
    return fit


if __name__ == "__main__":
    main()
