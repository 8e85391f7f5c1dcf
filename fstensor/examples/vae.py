"""A variational autoencoder of handwritten digits (Kingma and Welling, 2014).

    python -m fstensor.examples.vae --data DIR

`DIR/mnist` has the four files of MNIST. Without --data, the digits of 8x8 pixels in the package are
learned.

An image x, of pixels that are black or white, is explained by a vector z of latent variables. The
decoder gives p(x | z), a probability for each pixel; the encoder gives q(z | x), a normal
distribution with a mean and a variance for each latent variable; z itself has the standard normal
distribution p(z). Both networks are trained to make the evidence lower bound large (eq. 3),

    log p(x) >= E_q(z|x)[log p(x | z)] - KL(q(z | x) || p(z)),

which is told in nats per image. z = mean + deviation * noise (eq. 4), so that gradients pass
through the random numbers, which come from keys. Pixels between black and white are drawn anew each
time, with their intensity as the probability (Salakhutdinov and Murray, 2008).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import nn, optim, random
from fstensor.examples import common, datasets


class Autoencoder(nn.Layer):
    """Two networks, for q(z | x) and for p(x | z).

    encoder: pixels (n, p) -> (n, 2 latent), the mean and the logarithm of the variance of each
    latent variable. decoder: latent variables (n, latent) -> the logits of pixels (n, p).
    """

    encoder: nn.Layer
    decoder: nn.Layer

    def forward(self, net: nn.Net, x: fst.Array) -> tuple[fst.Array, fst.Array, fst.Array]:
        """The logits of pixels for one random z, and the mean and logarithm of z's variance."""
        mean, log_variance = fnp.split(net.encoder(x), 2, axis=-1)
        noise = random.normal(net.random_key(), mean.shape)
        z = mean + fnp.exp(log_variance / 2) * noise
        return net.decoder(z), mean, log_variance


def perceptrons(pixels: int, hidden: int, latent: int) -> Autoencoder:
    """An encoder and a decoder with one hidden layer each (appendix C)."""
    return Autoencoder(
        encoder=nn.Sequential(nn.Linear(hidden), nn.relu, nn.Linear(2 * latent)),
        decoder=nn.Sequential(nn.Linear(hidden), nn.relu, nn.Linear(pixels)),
    )


def bound(
    model: Autoencoder, params: common.Params, key: fst.Array, images: fst.Array
) -> fst.Array:
    """The two terms of the bound for each image (n, p), whose sum is to be large: (n, 2)."""
    pixel_key, noise_key = random.split(key)
    x = random.bernoulli(pixel_key, images).astype(images.dtype)
    logits, mean, log_variance = model(params, x, key=noise_key)
    # log p(x | z) = sum of x log p + (1 - x) log(1 - p), with p = sigmoid(logits).
    reconstruction = -nn.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)
    # Of two normal distributions it is known without sampling (appendix B).
    divergence = (fnp.exp(log_variance) + mean**2 - 1 - log_variance).sum(-1) / 2
    return fnp.stack([reconstruction, -divergence], axis=-1)


def as_text(images: fst.Array) -> str:
    """Images (n, h, w) side by side, as characters, which are about twice as high as wide."""
    if images.shape[1] < 16:
        images = fnp.repeat(images, 2, axis=2)
    else:
        images = (images[:, ::2] + images[:, 1::2]) / 2
    levels = fnp.round(images * 9).astype(int).transpose(1, 0, 2).tolist()
    rows = [["".join(" .:-=+*#%@"[n] for n in image) for image in row] for row in levels]
    return "\n".join("  ".join(row).rstrip() for row in rows)


def learn(
    model: Autoencoder,
    train: np.ndarray,
    test: np.ndarray,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    key: fst.Array,
) -> common.Fit:
    """Train on images (n, p); the bound of the test images after each epoch."""
    init_key, fit_key, test_key = random.split(key, 3)
    params, _ = model.init(init_key, fnp.asarray(train[:1]))

    def loss(
        params: common.Params, state: common.State, batch: fst.Array, key: fst.Array
    ) -> tuple[fst.Array, common.State]:
        return -bound(model, params, key, batch).sum(-1).mean(), state

    terms_of = fst.jit(lambda params, images: bound(model, params, test_key, images))

    def evaluate(params: common.Params, state: common.State) -> dict[str, float]:
        terms = common.in_batches(lambda images: terms_of(params, images), test)
        reconstruction, minus_divergence = terms.mean(0).tolist()
        return {
            "ELBO": reconstruction + minus_divergence,
            "reconstruction": reconstruction,
            "KL": -minus_divergence,
        }

    return common.fit(
        loss,
        optim.adam(optim.cosine_decay_schedule(lr, epochs * (len(train) // batch_size))),
        params,
        {},
        train,
        epochs=epochs,
        batch_size=batch_size,
        key=fit_key,
        evaluate=evaluate,
        name="vae",
    )


def results(fit: common.Fit, latent: int) -> str:
    """The closing table."""
    head = ("latent variables", "parameters", "test ELBO", "reconstruction", "KL", "time per epoch")
    last = fit.found[-1]
    terms = [f"{last[name]:.2f}" for name in ("ELBO", "reconstruction", "KL")]
    row = (str(latent), f"{common.count(fit.params):,}", *terms, f"{fit.epoch_seconds():.2f} s")
    return common.table(head, [row])


def main(argv: Sequence[str] | None = None) -> common.Fit:
    parser = common.parser("vae", __doc__, epochs=30, batch_size=128, lr=2e-3)
    parser.add_argument("--data", metavar="DIR", help="take MNIST from there")
    parser.add_argument(
        "--hidden", type=common.positive(int), default=500, help="units of each hidden layer"
    )
    parser.add_argument(
        "--latent", type=common.positive(int), default=20, help="latent variables of an image"
    )
    options = parser.parse_args(argv)
    source = (datasets.mnist, options.data) if options.data else (datasets.digits,)
    data = common.loaded(parser, *source)
    count, height, width, _ = data.train.inputs.shape
    common.check_batch(parser, options.batch_size, count)
    train, test = (part.inputs.reshape(-1, height * width) for part in data)

    model = perceptrons(height * width, options.hidden, options.latent)
    fit_key, sample_key = random.split(random.key(options.seed))
    fit = learn(
        model,
        train,
        test,
        epochs=options.epochs,
        batch_size=options.batch_size,
        lr=options.lr,
        key=fit_key,
    )
    z = random.normal(sample_key, (3, options.latent))
    samples = nn.sigmoid(model.decoder(fit.params["decoder"], z))
    print("samples, decoded from random latent variables")
    print(as_text(samples.reshape(-1, height, width)))
    print(results(fit, options.latent))
    return fit


if __name__ == "__main__":
    main()
