"""The examples that learn points and images: their parts, and short trainings from end to end."""

import contextlib
import io
import re

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import random
from fstensor.examples import datasets, fashion, mnist, olivetti, spiral, vae
from tests.examples.files import easy_images, write_faces, write_images


def run(module, *options):
    """What an example gives, and what it prints; on one thread, as other tests run beside it."""
    with (
        fst.config.override(threads=1),
        contextlib.redirect_stdout(io.StringIO()) as output,
    ):
        found = module.main(options)
    return found, output.getvalue()


# Spiral

SPIRAL = ["--epochs", "8", "--points", "100", "--hidden", "32"]


@pytest.fixture(scope="module")
def spiral_run():
    return run(spiral, *SPIRAL)


def test_points_of_a_spiral():
    examples = spiral.spiral(random.key(0), 50)
    assert examples.inputs.shape == (150, 2)
    assert examples.inputs.dtype == np.float32
    assert examples.labels.dtype == np.int32
    assert np.bincount(examples.labels).tolist() == [50, 50, 50]
    radius = np.hypot(*examples.inputs.T)
    np.testing.assert_allclose(radius, np.tile(np.arange(1, 51) / 50, 3), rtol=1e-5)


def test_arms_are_turned_by_thirds():
    x, y = spiral.spiral(random.key(0), 4, noise=0.0).inputs.T
    angles = np.arctan2(y, x).reshape(3, 4)
    turned = (angles - angles[0]) % (2 * np.pi)
    np.testing.assert_allclose(turned[1], 2 * np.pi / 3, rtol=1e-5)
    np.testing.assert_allclose(turned[2], 4 * np.pi / 3, rtol=1e-5)
    np.testing.assert_allclose(angles[0] % (2 * np.pi), [1, 2, 3, 4], rtol=1e-5)


def test_spiral_is_learned(spiral_run):
    fit, _ = spiral_run
    assert fit.losses[-1] < fit.losses[0] / 2
    assert fit.found[-1]["accuracy"] > 0.85


def test_spiral_prints_a_picture_and_a_table(spiral_run):
    _, output = spiral_run
    lines = output.splitlines()
    assert re.fullmatch(r" +spiral  epoch 8/8  loss +[\d.]+  accuracy [\d.]+ +[\d.]+ s", lines[7])
    shown = lines[8 : 8 + spiral.ROWS]
    assert set("".join(shown)) == set(" -#012")
    assert lines[-3].split("  ")[0] == "network"
    assert lines[-1].startswith("spiral        1,251 ")


def test_same_seed_same_numbers(spiral_run):
    again, _ = run(spiral, *SPIRAL)
    assert again.losses == spiral_run[0].losses
    other, _ = run(spiral, *SPIRAL, "--seed", "1", "--epochs", "1")
    assert other.losses[0] != again.losses[0]


def test_picture_of_known_regions():
    def logits_of(places):
        return fnp.stack([places[..., 0], 0 * places[..., 0], -9 + 0 * places[..., 0]], -1)

    text = spiral.picture(logits_of, datasets.Examples(np.array([[0.99, 0.99]]), np.array([2])))
    first, *others = text.splitlines()
    assert first == "-" * 32 + " " * 31 + "2"
    assert set(others) == {"-" * 32 + " " * 32}


# Variational autoencoder


def with_biases(latent, pixels, mean, log_variance, logit):
    """An autoencoder that gives the same for every image."""
    model = vae.perceptrons(pixels, 4, latent)
    params, _ = model.init(random.key(0), fnp.zeros((1, pixels)))
    params = fst.tree.map(lambda p: 0 * p, params)
    params["encoder"]["2"]["bias"] = fnp.asarray([mean] * latent + [log_variance] * latent)
    params["decoder"]["2"]["bias"] = fnp.full(pixels, logit)
    return model, params


def test_bound_of_known_distributions():
    model, params = with_biases(3, 5, 0.7, -0.4, 0.3)
    images = fnp.asarray([[1.0, 1, 1, 1, 1], [0, 0, 0, 0, 1]])
    reconstruction, minus_divergence = vae.bound(model, params, random.key(0), images).T
    p = 1 / (1 + np.exp(-0.3))
    expected = [5 * np.log(p), 4 * np.log(1 - p) + np.log(p)]
    np.testing.assert_allclose(reconstruction, expected, rtol=1e-5)
    # The divergence of one latent variable by numerical integration.
    z, dz = np.linspace(-12, 12, 20001, retstep=True)
    log_q = -((z - 0.7) ** 2) / (2 * np.exp(-0.4)) + 0.2 - np.log(2 * np.pi) / 2
    log_p = -(z**2) / 2 - np.log(2 * np.pi) / 2
    integral = np.sum(np.exp(log_q) * (log_q - log_p)) * dz
    np.testing.assert_allclose(minus_divergence, -3 * integral, rtol=1e-5)


def test_grey_pixels_are_drawn_anew():
    model, params = with_biases(1, 1000, 0.0, 0.0, 1.0)
    images = fnp.full((1, 1000), 0.25)
    first, again, other = (
        float(vae.bound(model, params, random.key(n), images)[0, 0]) for n in (0, 0, 1)
    )
    assert first == again != other
    # Of 1,000 pixels about 250 are white: each adds 1 to what all have.
    assert first + 1000 * np.log(1 + np.e) == pytest.approx(250, abs=60)


def test_latent_variables_are_drawn_from_their_distribution():
    model, params = with_biases(1, 1, 3.0, -2.0, 0.0)
    # The decoder gives z itself, which is hardly ever below 0.
    params["decoder"]["0"]["kernel"] = fnp.ones((1, 4))
    params["decoder"]["2"]["kernel"] = fnp.full((4, 1), 0.25)
    z, _, _ = model(params, fnp.zeros((2000, 1)), key=random.key(0))
    assert float(z.mean()) == pytest.approx(3, abs=0.05)
    assert float(z.std()) == pytest.approx(np.exp(-1), rel=0.1)


def test_images_as_text():
    small = fnp.zeros((2, 2, 3)).at[0, 0, 0].set(1.0).at[1, 1, 1].set(0.5)
    assert vae.as_text(small) == "@@\n          =="
    large = fnp.zeros((1, 16, 16)).at[0, 2].set(1.0)
    assert vae.as_text(large) == "\n" + "=" * 16 + "\n" * 6


def test_autoencoder_learns():
    options = ["--epochs", "3", "--hidden", "32", "--latent", "2", "--lr", "0.01"]
    fit, output = run(vae, *options)
    bounds = [found["ELBO"] for found in fit.found]
    assert bounds[0] < bounds[2]
    assert -30 < bounds[2] < -20
    for found in fit.found:
        assert found["ELBO"] == pytest.approx(found["reconstruction"] - found["KL"])
        assert found["KL"] > 0
    lines = output.split("samples, decoded from random latent variables\n")[1].splitlines()
    assert len(lines) == 8 + 3
    assert lines[8].split("  ")[0] == "latent variables"
    assert lines[10].startswith("2                      ")
    assert f"{bounds[2]:.2f}" in lines[10]


# Faces


def faces(seed):
    """A file's columns: 40 persons that look alike on each of their pictures."""
    rng = np.random.default_rng(seed)
    persons = np.repeat(rng.integers(0, 200, (4096, 40)), 10, axis=1)
    return (persons + rng.integers(0, 50, (4096, 400))).astype(np.uint8)


def test_two_of_ten_faces_are_for_the_test(tmp_path):
    write_faces(tmp_path, faces(0))
    train, test = olivetti.split(datasets.olivetti(tmp_path))
    assert np.bincount(train.labels).tolist() == [8] * 40
    assert np.bincount(test.labels).tolist() == [2] * 40
    np.testing.assert_allclose(train.inputs.mean(0), 0, atol=1e-5)
    assert train.inputs.std() == pytest.approx(1, rel=1e-4)
    assert test.inputs.std() == pytest.approx(1, rel=0.1)


def test_faces_are_told_apart(tmp_path):
    write_faces(tmp_path, faces(0))
    fits, output = run(olivetti, "--data", str(tmp_path), "--epochs", "2")
    assert list(fits) == ["MLP", "MLP + dropout", "MLP + batch norm"]
    assert all(fit.found[-1]["accuracy"] > 0.9 for fit in fits.values())
    assert list(fits["MLP + batch norm"].state["mlp"]) == ["norm0", "norm1"]
    assert len({fit.losses for fit in fits.values()}) == 3
    assert [line.split("  ")[0] for line in output.splitlines()[-3:]] == list(fits)


# Clothing


def candidates(image, mirror):
    """An image (h, w), moved by up to one pixel with 0 behind it, and mirrored or not."""
    h, w = image.shape
    padded = np.pad(image, 1)
    moved = [padded[r : r + h, c : c + w] for r in range(3) for c in range(3)]
    return np.stack([*moved, *[m[:, ::-1] for m in moved]] if mirror else moved)


@pytest.mark.parametrize("mirror", [True, False])
def test_augmented_images_are_moved_and_mirrored(mirror):
    image = np.random.default_rng(0).random((6, 7)).astype(np.float32)
    batch = fnp.asarray(np.tile(image[None, :, :, None], (64, 1, 1, 1)))
    augment = fst.jit(fashion.augmentation(1, mirror))
    made = np.asarray(augment(random.key(0), batch))[..., 0]
    found = (made[:, None] == candidates(image, mirror)).all((2, 3))
    assert (found.sum(1) == 1).all()
    # Chance leaves hardly any out.
    assert found.any(0).sum() > 0.7 * found.shape[1]
    other = np.asarray(augment(random.key(1), batch))[..., 0]
    assert not np.array_equal(made, other)


def test_residual_network_on_the_digits():
    fit, output = run(fashion, "--epochs", "2", "--batch-size", "64")
    assert fit.losses[1] < 0.7 * fit.losses[0]
    assert fit.found[1]["accuracy"] > 0.5
    assert output.splitlines()[-1].startswith("resnet      308,938 ")


def test_more_blocks_have_more_parameters():
    image = fst.ShapeDtypeStruct((1, 28, 28, 1), "float32")
    counts = []
    for blocks in (1, 2):
        params, _ = fst.eval_shape(
            lambda key, blocks=blocks: fashion.network(blocks).init(key, image), random.key(0)
        )
        counts.append(sum(leaf.size for leaf in fst.tree.leaves(params)))
    # Another block of 32, 64 and 128 features: two convolutions and two norms each.
    added = sum(2 * 9 * n * n + 4 * n for n in (32, 64, 128))
    assert counts == [308938, 308938 + added]


# Files


def test_images_from_files(tmp_path):
    write_images(tmp_path / "mnist", easy_images(320, 8, 1), easy_images(50, 8, 2))
    fits, output = run(mnist, "--data", str(tmp_path), "--epochs", "2", "--batch-size", "32")
    assert list(fits) == ["residual_mlp", "lenet"]
    assert fits["residual_mlp"].found[-1]["accuracy"] == 1
    assert fits["lenet"].losses[-1] < fits["lenet"].losses[0]
    assert [line.split("  ")[0] for line in output.splitlines()[-2:]] == list(fits)


def test_one_network_of_two():
    fits, _ = run(mnist, "--model", "residual_mlp", "--epochs", "1", "--batch-size", "512")
    assert list(fits) == ["residual_mlp"]


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (fashion, ["--blocks", "0"], "argument --blocks: must be positive and finite, got 0"),
        (fashion, ["--batch-size", "2000"], "--batch-size must be at most 1438"),
        (fashion, ["--data", "nowhere"], "fashion_mnist/train-images-idx3-ubyte.gz is not there"),
        (mnist, ["--data", "nowhere"], "mnist/train-images-idx3-ubyte.gz is not there"),
        (mnist, ["--batch-size", "1439"], "--batch-size must be at most 1438"),
        (mnist, ["--model", "vgg"], "argument --model: invalid choice: 'vgg'"),
        (olivetti, [], "--data DIR is needed: DIR/olivetti has olivettifaces.mat, which SciPy"),
        (olivetti, ["--data", "nowhere"], "olivetti/olivettifaces.mat is not there"),
        (spiral, ["--points", "0"], "argument --points: must be positive and finite, got 0"),
        (spiral, ["--batch-size", "601"], "must be at most 600, as many as the training examples"),
        (vae, ["--latent", "many"], "argument --latent: invalid int value: 'many'"),
        (vae, ["--data", "nowhere"], "mnist/train-images-idx3-ubyte.gz is not there"),
        (vae, ["--lr", "inf"], "argument --lr: must be positive and finite, got inf"),
        (vae, ["--seed", "-1"], "argument --seed: must be from 0 to 4294967295, got -1"),
        (vae, ["--momentum", "1"], "unrecognized arguments: --momentum 1"),
    ],
)
def test_bad_options(module, options, message, capsys):
    with pytest.raises(SystemExit) as error:
        module.main(options)
    assert error.value.code == 2
    assert message in capsys.readouterr().err
