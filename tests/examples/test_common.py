"""What the examples share."""

import argparse
import sys

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import nn, optim, random
from fstensor.examples import classify, common
from fstensor.examples.datasets import Examples


def test_table():
    text = common.table(("what", "n"), [("a long name", "1"), ("b", "1,234")])
    assert text.splitlines() == [
        "what             n",
        "-----------  -----",
        "a long name      1",
        "b            1,234",
    ]


def test_progress_takes_one_line_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    common.progress("one", last=False)
    common.progress("two", last=True)
    assert capsys.readouterr().out == "\rone\rtwo\n"


def test_progress_takes_a_line_each_elsewhere(capsys):
    common.progress("one", last=False)
    common.progress("two", last=True)
    assert capsys.readouterr().out == "one\ntwo\n"


def test_seconds_of_an_epoch_leave_out_the_first():
    fit = common.Fit({}, {}, (1.0, 0.5, 0.2), (9.0, 1.0, 2.0), ({}, {}, {}))
    assert fit.epoch_seconds() == 1.5
    assert fit._replace(seconds=(9.0,)).epoch_seconds() == 9


def test_in_batches_takes_the_short_last_one():
    sizes = []

    def double(pair):
        sizes.append(len(pair["x"]))
        return pair["x"] + pair["y"]

    x = np.arange(7.0)
    found = common.in_batches(double, {"x": x, "y": x}, batch_size=3)
    assert sizes == [3, 3, 1]
    np.testing.assert_array_equal(found, 2 * x)


def test_count():
    assert common.count({"a": fnp.zeros((2, 3)), "b": {"c": fnp.zeros(())}}) == 7


def test_accuracy():
    examples = Examples(np.eye(4, dtype=np.float32), np.array([0, 1, 2, 0], np.int32))
    assert classify.accuracy(lambda x: x, examples) == 0.75


# Training


def line(params, state, batch, key):
    """The squared error of a line, and how often it was asked for."""
    x, y = batch
    return fnp.mean((params * x - y) ** 2), {"steps": state["steps"] + 1}


def fit_line(**options):
    x = np.linspace(-1, 1, 11, dtype=np.float32)
    settings = {"epochs": 3, "batch_size": 4, "key": random.key(0), **options}
    start = fnp.asarray(0.0), {"steps": fnp.asarray(0)}
    return common.fit(line, optim.sgd(0.5), *start, (x, 3 * x), **settings), start


def test_fit(capsys):
    found, start = fit_line(evaluate=lambda params, state: {"slope": float(params)}, name="line")
    assert found.losses[2] < found.losses[0]
    # Three of the eleven examples are left out of each epoch.
    assert int(found.state["steps"]) == 3 * 2
    assert found.found[-1] == {"slope": float(found.params)}
    assert float(start[0]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("        line  epoch 3/3  loss ")
    assert f"  slope {float(found.params):.4f}  " in lines[2]


def test_fit_depends_on_the_key_alone():
    first, again, other = (fit_line(key=random.key(n))[0].losses for n in (0, 0, 1))
    assert first == again != other


def test_fit_of_too_few_examples():
    with pytest.raises(ValueError, match="a batch of 12 must be within the 11 training examples"):
        fit_line(batch_size=12)


def test_fit_classifier_keeps_state_and_augments(capsys):
    seen = []

    def augment(key, inputs):
        seen.append(inputs.shape)
        return inputs + random.normal(key, inputs.shape)

    examples = Examples(np.eye(8, dtype=np.float32), np.arange(8, dtype=np.int32) % 2)
    found = classify.fit_classifier(
        nn.Sequential(norm=nn.BatchNorm(), out=nn.Linear(2)),
        classify.Split(examples, examples),
        optim.sgd(0.1),
        epochs=2,
        batch_size=4,
        key=random.key(0),
        augment=augment,
    )
    assert seen == [(4, 8)]
    assert list(found.state) == ["norm"]
    assert set(found.found[0]) == {"accuracy"}
    assert "Sequential  epoch 2/2" in capsys.readouterr().out
    table = classify.results({"some": found}).splitlines()
    assert table[2].split()[:2] == ["some", str(common.count(found.params))]
    assert f"{found.found[-1]['accuracy']:.2%}" in table[2]


# Options


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("cut"), ModuleNotFoundError("no")])
def test_what_cannot_be_loaded_ends_the_program(error, capsys):
    def load(folder):
        raise error

    with pytest.raises(SystemExit):
        common.loaded(argparse.ArgumentParser(prog="some"), load, "folder")
    assert capsys.readouterr().err.endswith(f"some: error: {error}\n")


def test_mistakes_in_loaders_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        common.loaded(argparse.ArgumentParser(), lambda: 1 / 0)


def test_check_batch(capsys):
    parser = common.parser("some", "About.\n\nMore.", epochs=1, batch_size=4, lr=0.1)
    common.check_batch(parser, 4, 4)
    with pytest.raises(SystemExit):
        common.check_batch(parser, 5, 4)
    message = "--batch-size must be at most 4, as many as the training examples are, got 5\n"
    assert capsys.readouterr().err.endswith(message)
    assert "About." in parser.format_help()
    assert "More." not in parser.format_help()


def test_values_by_default():
    options = common.parser("some", None, epochs=3, batch_size=4, lr=0.1).parse_args([])
    assert vars(options) == {"epochs": 3, "batch_size": 4, "lr": 0.1, "seed": 0}


def test_arrays_of_parameters_are_not_donated_away():
    params = {"w": fnp.ones(3)}
    common.fit(
        lambda p, s, b, k: (fnp.sum(p["w"] * b), s),
        optim.sgd(0.1),
        params,
        {},
        np.ones((4, 3), np.float32),
        epochs=1,
        batch_size=2,
        key=random.key(0),
    )
    assert fst.tree.map(lambda x: x.tolist(), params) == {"w": [1, 1, 1]}
