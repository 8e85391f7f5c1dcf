"""The demo: its data, its parts, and short trainings from end to end."""

import contextlib
import hashlib
import io
import re
import subprocess
import sys
from importlib import resources

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import random
from fstensor.examples import digits

SHORT = ["--epochs", "3", "--batch-size", "64"]


def run(*options: str) -> tuple[digits.Results, str]:
    """The results of a training, and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        results = digits.main(options)
    return results, output.getvalue()


@pytest.fixture(scope="module")
def short_run():
    return run(*SHORT)


# The data


def raw():
    path = resources.files("fstensor.examples") / "data" / "digits.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return arrays["images"], arrays["labels"]


def test_data_is_the_published_set():
    images, labels = raw()
    assert images.shape == (1797, 8, 8)
    assert images.dtype == labels.dtype == np.uint8
    assert images.min() == 0
    assert images.max() == 16
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert labels[:10].tolist() == list(range(10))
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    assert digest == "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def test_data_ships_with_its_license():
    path = resources.files("fstensor.examples") / "data" / "digits-license.md"
    note = path.read_text(encoding="utf-8")
    for words in ["CC BY 4.0", "Alpaydin", "Kaynak", "https://doi.org/10.24432/C50P49", "4x4"]:
        assert words in note


def test_load():
    images, labels = digits.load()
    assert images.shape == (1797, 8, 8, 1)
    assert images.dtype == fnp.float32
    assert labels.shape == (1797,)
    assert labels.dtype == fnp.int32
    np.testing.assert_array_equal(np.asarray(images)[..., 0] * 16, raw()[0])


def test_split_deals_every_image_once():
    data = digits.load()
    # Number the images, to follow each of them through the split.
    numbered = digits.Digits(data.images, fnp.arange(1797))
    train, test = digits.split(random.key(3), numbered)
    assert train.images.shape == (1437, 8, 8, 1)
    assert test.images.shape == (360, 8, 8, 1)
    dealt = np.concatenate([np.asarray(train.labels), np.asarray(test.labels)])
    assert sorted(dealt.tolist()) == list(range(1797))
    np.testing.assert_array_equal(np.asarray(test.images), np.asarray(data.images)[dealt[1437:]])


def test_split_depends_on_the_key():
    data = digits.load()
    first, again, other = (digits.split(random.key(seed), data)[1].labels for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


# The parts


def test_apply_shapes_and_dtypes():
    params = digits.init(random.key(0))
    assert all(leaf.dtype == fnp.float32 for leaf in fst.tree.leaves(params))
    logits = digits.apply(params, digits.load().images[:5])
    assert logits.shape == (5, 10)
    assert logits.dtype == fnp.float32


def test_loss_of_uniform_logits_is_log_ten():
    zeros = fst.tree.map(lambda p: 0 * p, digits.init(random.key(0)))
    assert float(digits.loss(zeros, digits.load())) == pytest.approx(np.log(10), rel=1e-6)


def test_log_softmax_shifts_each_row_by_its_own_maximum():
    logits = fnp.asarray([[1000.0, 999.0], [-1000.0, -1001.0], [0.0, -1.0]])
    expected = np.array([-np.log1p(np.exp(-1.0)), -1 - np.log1p(np.exp(-1.0))])
    np.testing.assert_allclose(digits.log_softmax(logits), np.tile(expected, (3, 1)), rtol=1e-5)


def test_adam_against_numpy():
    rng = np.random.default_rng(0)
    grads = [rng.normal(size=(4, 3)).astype(np.float32) for _ in range(5)]
    start = {"w": {"w": fnp.zeros((4, 3))}}

    state = digits.adam_init(start)
    mean, square = np.zeros((4, 3)), np.zeros((4, 3))
    for count, grad in enumerate(grads, 1):
        updates, state = digits.adam_update({"w": {"w": fnp.asarray(grad)}}, state, 0.1)
        mean = 0.9 * mean + 0.1 * grad
        square = 0.999 * square + 0.001 * grad.astype(np.float64) ** 2
        expected = -0.1 * (mean / (1 - 0.9**count)) / (np.sqrt(square / (1 - 0.999**count)) + 1e-8)
        np.testing.assert_allclose(updates["w"]["w"], expected, rtol=1e-4)
        assert int(state.step) == count


def test_adam_starts_with_steps_of_the_learning_rate():
    grads = {"w": {"w": fnp.asarray([1e-3, -1.0, 1e3])}}
    updates, _ = digits.adam_update(grads, digits.adam_init(grads), 0.01)
    np.testing.assert_allclose(updates["w"]["w"], [-0.01, 0.01, -0.01], rtol=1e-4)


def test_count_equations_looks_inside():
    def f(x):
        return fst.jit(lambda y: y * y)(x) + x

    assert digits.count_equations(fst.make_jaxpr(f)(1.0)) == 3


# Training


def test_short_training_learns(short_run):
    results, _ = short_run
    losses = results.jitted.losses
    assert len(losses) == 3
    assert losses[2] < losses[1] < losses[0]
    assert results.test_accuracy > 0.88


def test_jitted_and_eager_train_alike(short_run):
    """The first epochs start from the same parameters and see the same batches."""
    results, _ = short_run
    assert results.eager.losses[0] == pytest.approx(results.jitted.losses[0], rel=1e-3)


def test_same_seed_same_numbers(short_run):
    results, _ = short_run
    again, _ = run(*SHORT)
    assert again.jitted.losses == results.jitted.losses
    assert again.eager.losses == results.eager.losses
    assert again.test_accuracy == results.test_accuracy


def test_other_seed_other_numbers(short_run):
    results, _ = short_run
    other, _ = run("--epochs", "1", "--batch-size", "64", "--seed", "1")
    assert other.jitted.losses[0] != results.jitted.losses[0]


def test_batch_of_the_whole_training_set():
    results, _ = run("--epochs", "1", "--batch-size", "1437")
    assert np.isfinite(results.jitted.losses).all()


def test_command_with_defaults_reaches_the_target():
    command = [sys.executable, "-m", "fstensor.examples.digits"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    accuracy = re.search(r"^test accuracy +(\d+\.\d+)%$", done.stdout, re.MULTILINE)
    assert accuracy is not None, done.stdout
    assert float(accuracy[1]) >= 97


# What it prints


def test_plain_progress_is_a_line_for_each_epoch(short_run):
    _, output = short_run
    assert "\r" not in output
    epochs = re.findall(
        r"^ *(jitted|eager)  epoch (\d)/(\d)  loss +[\d.]+ +[\d.]+ s$", output, re.M
    )
    assert epochs == [
        ("jitted", "1", "3"),
        ("jitted", "2", "3"),
        ("jitted", "3", "3"),
        ("eager", "1", "1"),
    ]


def test_terminal_progress_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    digits.progress("epoch 1", last=False)
    digits.progress("epoch 2", last=True)
    assert capsys.readouterr().out == "\repoch 1\repoch 2\n"


def test_table(short_run):
    results, output = short_run
    assert output.endswith(f"{results}\n")
    labels = [line[:26].strip() for line in str(results).splitlines()]
    assert labels == [
        "test accuracy",
        "time per epoch, jitted",
        "time per epoch, eager",
        "jaxpr of a training step",
    ]
    assert f"{results.equations} equations" in str(results)


@pytest.mark.parametrize(("accuracy", "ending"), [(0.965, "96.50% (under 97%)"), (0.985, "98.50%")])
def test_table_says_when_accuracy_is_low(accuracy, ending):
    fit = digits.Fit({}, (0.5, 0.4, 0.3), (9.0, 0.25, 0.75))
    table = str(digits.Results(accuracy, fit, fit._replace(seconds=(1.5,)), 1234)).splitlines()
    assert table[0].endswith(ending)
    # The first epoch, which compiles, does not count.
    assert table[1].endswith(" 500.0 ms")
    assert table[2].endswith(" 1,500.0 ms")
    assert table[3].endswith(" 1,234 equations")


def test_show_jaxpr():
    _, output = run("--epochs", "1", "--batch-size", "512", "--show-jaxpr")
    assert output.startswith("{ lambda ")
    assert "conv_general_dilated" in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "0"], "--epochs must be at least 1, got 0"),
        (
            ["--batch-size", "0"],
            "--batch-size must be from 1 to 1437, the size of the training set, got 0",
        ),
        (
            ["--batch-size", "1438"],
            "--batch-size must be from 1 to 1437, the size of the training set, got 1438",
        ),
        (["--seed", "-1"], "--seed must be from 0 to 4294967295, got -1"),
        (["--seed", "4294967296"], "--seed must be from 0 to 4294967295, got 4294967296"),
        (["--lr", "0"], "--lr must be positive and finite, got 0.0"),
        (["--lr", "nan"], "--lr must be positive and finite, got nan"),
        (["--lr", "inf"], "--lr must be positive and finite, got inf"),
        (["--epochs", "many"], "invalid int value: 'many'"),
        (["--momentum", "0.9"], "unrecognized arguments: --momentum 0.9"),
    ],
)
def test_bad_options(options, message, capsys):
    with pytest.raises(SystemExit) as error:
        digits.main(options)
    assert error.value.code == 2
    assert message in capsys.readouterr().err
