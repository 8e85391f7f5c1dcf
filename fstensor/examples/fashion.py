"""A small residual network on pictures of clothing.

    python -m fstensor.examples.fashion --data DIR

`DIR/fashion_mnist` has the four files of Fashion-MNIST. Without --data, the digits of 8x8 pixels in
the package are learned.

Each image is first made one of half the size with 4 channels, which leaves a quarter of the work.
Each training step sees its images moved and mirrored at random (digits are only moved): that is
part of the jitted step, with random numbers from its key. The optimizer is SGD with Nesterov's
momentum; its rate rises and then falls within one cycle (Smith and Topin, 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import lax, nn, optim, random
from fstensor.examples import classify, common, datasets
from fstensor.nn import models


def network(blocks: int) -> nn.Layer:
    """Images (n, h, w, c) -> logits (n, 10), with that many residual blocks in each stage."""
    resnet = models.ResNet((blocks,) * 3, (32, 64, 128), classes=10, small_images=True)
    return nn.Sequential(halve=nn.PixelUnshuffle(2), resnet=resnet)


def augmentation(shift: int, mirror: bool) -> Callable[[fst.Array, fst.Array], fst.Array]:
    """What moves each image (h, w, c) by up to `shift` pixels, and mirrors every other one."""

    def augment(key: fst.Array, images: fst.Array) -> fst.Array:
        move_key, mirror_key = random.split(key)
        count, *shape = images.shape
        corners = random.randint(move_key, (count, 2), 0, 2 * shift + 1)
        padded = fnp.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)))
        moved = fst.vmap(
            lambda image, corner: lax.dynamic_slice(image, (corner[0], corner[1], 0), shape)
        )(padded, corners)
        if not mirror:
            return moved
        chosen = random.bernoulli(mirror_key, shape=(count, 1, 1, 1))
        return fnp.where(chosen, moved[:, :, ::-1], moved)

    return augment


def main(argv: Sequence[str] | None = None) -> common.Fit:
    parser = common.parser("fashion", __doc__, epochs=15, batch_size=128, lr=0.1)
    parser.add_argument("--data", metavar="DIR", help="take Fashion-MNIST from there")
    parser.add_argument(
        "--blocks", type=common.positive(int), default=1, help="residual blocks in each stage"
    )
    options = parser.parse_args(argv)
    source = (datasets.fashion_mnist, options.data) if options.data else (datasets.digits,)
    data = common.loaded(parser, *source)
    common.check_batch(parser, options.batch_size, len(data.train.labels))
    steps = common.steps(options, len(data.train.labels))
    fit = classify.fit_classifier(
        network(options.blocks),
        data,
        optim.sgd(
            optim.one_cycle_schedule(options.lr, steps),
            momentum=0.9,
            nesterov=True,
            weight_decay=5e-4,
        ),
        epochs=options.epochs,
        batch_size=options.batch_size,
        key=random.key(options.seed),
        label_smoothing=0.1,
        augment=augmentation(1, mirror=options.data is not None),
        name="resnet",
    )
    print(classify.results({"resnet": fit}))
    return fit


if __name__ == "__main__":
    main()
