"""A residual perceptron and LeNet on handwritten digits.

    python -m fstensor.examples.mnist --data DIR

`DIR/mnist` has the four files of MNIST. Without --data, the digits of 8x8 pixels in the package are
learned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fstensor import nn, optim, random
from fstensor.examples import classify, common, datasets
from fstensor.nn import models

# Images (n, height, width, 1) -> logits (n, 10).
MODELS: dict[str, Callable[[], nn.Layer]] = {
    "residual_mlp": lambda: nn.Sequential(flatten=nn.Flatten(), mlp=models.ResidualMLP()),
    "lenet": models.LeNet,
}


def main(argv: Sequence[str] | None = None) -> dict[str, common.Fit]:
    parser = common.parser("mnist", __doc__, epochs=5, batch_size=128, lr=1e-3)
    parser.add_argument("--data", metavar="DIR", help="take MNIST from there")
    parser.add_argument("--model", nargs="+", choices=MODELS, default=list(MODELS))
    options = parser.parse_args(argv)
    source = (datasets.mnist, options.data) if options.data else (datasets.digits,)
    data = common.loaded(parser, *source)
    common.check_batch(parser, options.batch_size, len(data.train.labels))
    found = {}
    for name in options.model:
        # The learning rate falls to 0 along half a cosine.
        steps = common.steps(options, len(data.train.labels))
        found[name] = classify.fit_classifier(
            MODELS[name](),
            data,
            optim.adam(optim.cosine_decay_schedule(options.lr, steps)),
            epochs=options.epochs,
            batch_size=options.batch_size,
            key=random.key(options.seed),
            name=name,
        )
    print(classify.results(found))
    return found


if __name__ == "__main__":
    main()
