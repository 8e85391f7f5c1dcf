"""Three perceptrons tell the faces of 40 persons apart: plain, with dropout, with batch norm.

    python -m fstensor.examples.olivetti --data DIR

`DIR/olivetti` has the file of the Olivetti faces, which SciPy reads. There are ten pictures of each
person: the fifth and the tenth are there to test on, and the other eight to train on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fstensor import nn, optim, random
from fstensor.examples import classify, common, datasets
from fstensor.examples.datasets import Examples, Split
from fstensor.nn import models

SIZES = (512, 128, 40)
NETWORKS = {
    "MLP": models.MLP(SIZES),
    "MLP + dropout": models.MLP(SIZES, dropout=0.2),
    "MLP + batch norm": models.MLP(SIZES, batch_norm=True),
}


def split(faces: Examples) -> Split:
    """Of each person's ten faces, which follow one another, two to test on.

    The mean of the training faces is taken from all, and their deviation made 1.
    """
    is_test = np.arange(len(faces.labels)) % 5 == 4
    inputs = faces.inputs - faces.inputs[~is_test].mean(0)
    inputs /= inputs[~is_test].std()
    train, test = (Examples(inputs[rows], faces.labels[rows]) for rows in (~is_test, is_test))
    return Split(train, test)


def main(argv: Sequence[str] | None = None) -> dict[str, common.Fit]:
    parser = common.parser("olivetti", __doc__, epochs=30, batch_size=32, lr=1e-3)
    parser.add_argument("--data", metavar="DIR", help="take the faces from there; always needed")
    options = parser.parse_args(argv)
    if not options.data:
        parser.error("--data DIR is needed: DIR/olivetti has olivettifaces.mat, which SciPy reads")
    data = split(common.loaded(parser, datasets.olivetti, options.data))
    common.check_batch(parser, options.batch_size, len(data.train.labels))
    steps = common.steps(options, len(data.train.labels))
    fits = {}
    for name, mlp in NETWORKS.items():
        fits[name] = classify.fit_classifier(
            nn.Sequential(flatten=nn.Flatten(), mlp=mlp),
            data,
            optim.adam(optim.cosine_decay_schedule(options.lr, steps)),
            epochs=options.epochs,
            batch_size=options.batch_size,
            key=random.key(options.seed),
            name=name,
        )
    print(classify.results(fits))
    return fits


if __name__ == "__main__":
    main()
