"""The benchmarks' items at tiny sizes, in this process, so that they keep working."""

import io
import json
import math

import jax
import numpy as np
import pytest

from benchmarks import compile as first
from benchmarks import dispatch, ops, train
from benchmarks.models import MODELS, data
from benchmarks.operations import functional
from benchmarks.operations.items import items
from benchmarks.report import Report, Setup, Table, duration, geometric_mean, ratio
from benchmarks.workers import Skip, Worker, WorkerError, interpreter, race, serve

ITEMS = items(tiny=True)


@pytest.mark.parametrize("name", ITEMS)
def test_operation(name):
    item = ITEMS[name]
    with jax.enable_x64(True):
        expected = ops.reference(item) or ops.prepare("jax", {"name": name, "tiny": True}).result()
    task = ops.prepare("fstensor", {"name": name, "tiny": True})
    task.call()
    assert ops.difference(task.result(), expected) <= item.rtol


@pytest.mark.parametrize("name", [n for n, i in ITEMS.items() if i.function == "convolution"])
def test_sizes_of_convolutions(name):
    conv = ITEMS[name].params["conv"]
    shape = ops.prepare("fstensor", {"name": name, "tiny": True}).result()["0"].shape
    assert sorted(shape) == sorted((conv.n, conv.outputs, conv.result(), conv.result()))


def test_full_items_have_work():
    for item in items().values():
        assert item.traffic or item.flops or item.group in ("scan", "loop", "random"), item.name


@pytest.mark.parametrize("model", MODELS)
def test_training_losses(model):
    item = {"model": model, "batch": 4, "batches": 2, "compared": True}
    losses = {}
    for contender in ("fstensor", "jax"):
        task = first.prepare(contender, item)
        task.call()
        losses[contender] = task.result()["losses"]
        task.wait()
    np.testing.assert_allclose(losses["fstensor"], losses["jax"], atol=train.TOLERANCE)


def test_training_with_dropout():
    """Both draw the same masks from the same key."""
    item = {"model": "transformer", "batch": 4, "batches": 1}
    values = [float(first.prepare(c, item).call()) for c in ("fstensor", "jax")]
    assert values[0] == pytest.approx(values[1], abs=train.TOLERANCE)


@pytest.mark.parametrize("name", dispatch.LIMITS)
def test_dispatch(name):
    found = [dispatch.prepare(c, {"name": name}).result() for c in ("fstensor", "jax")]
    assert ops.difference(*found) <= 1e-5


def test_numpy_has_no_gradients():
    with pytest.raises(Skip, match="not in NumPy"):
        ops.prepare("numpy", {"name": "gelu 10^2, forward + backward", "tiny": True})


def test_difference():
    one = {"0": np.array([1.0, -2.0])}
    assert ops.difference(one, {"0": np.array([1.0, -2.5])}) == pytest.approx(0.2)
    assert ops.difference({"0": np.array([1.0, np.nan])}, one) == math.inf
    assert ops.difference({"0": np.ones(3)}, one) == math.inf
    assert ops.difference({}, one) == math.inf


# Data


def test_mnist_files(tmp_path):
    import gzip

    folder = tmp_path / "mnist"
    folder.mkdir()
    pixels = np.arange(2 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(2, 28, 28)
    heads = {"images-idx3": (3, (2, 28, 28)), "labels-idx1": (1, (2,))}
    bodies = {"images-idx3": pixels.tobytes(), "labels-idx1": b"\x07\x02"}
    for name, (rank, shape) in heads.items():
        head = bytes([0, 0, 8, rank]) + np.array(shape, ">i4").tobytes()
        with gzip.open(folder / f"train-{name}-ubyte.gz", "wb") as file:
            file.write(head + bodies[name])
    found = data.images(str(tmp_path), 5, (784,))
    np.testing.assert_array_equal(found.labels, [7, 2])
    np.testing.assert_array_equal(found.inputs, pixels.reshape(2, 784) / np.float32(255))


def test_cola_file(tmp_path):
    folder = tmp_path / "cola" / "tokenized"
    folder.mkdir(parents=True)
    text = "a\t1\t\tone two one .\nb\t0\t*\ttwo three\n"
    (folder / "in_domain_train.tsv").write_text(text, encoding="utf-8")
    found = data.cola(str(tmp_path), 9, 5, 5)
    rows = sorted(zip(found.labels.tolist(), found.inputs.tolist(), strict=True))
    assert rows == [(0, [2, 4, 0, 0, 0]), (1, [1, 2, 1, 3, 0])]
    with pytest.raises(ValueError, match="4 words"):
        data.cola(str(tmp_path), 9, 5, 4)


# The protocol


def test_serve_answers_each_line():
    requests = [
        {"do": "about"},
        {"do": "prepare", "item": {"name": "sum_all 10^2", "tiny": True}},
        {"do": "calibrate", "target": 1e-4},
        {"do": "run"},
        {"do": "memory"},
        {"do": "prepare", "item": {"name": "sum_all 10^2, backward", "tiny": True}},
        {"do": "prepare", "item": {"name": "rnn 5 steps", "tiny": True}},
    ]
    sink = io.StringIO()
    serve("numpy", "benchmarks.ops", [json.dumps(r) + "\n" for r in requests], sink)
    about, prepared, calibrated, ran, memory, unknown, skipped = map(
        json.loads, sink.getvalue().splitlines()
    )
    assert about["version"] == np.__version__
    assert prepared["seconds"] > 0
    assert calibrated["calls"] >= 1
    assert ran["seconds"] > 0
    assert memory["peak"] > 2**20
    assert unknown["error"].startswith("KeyError")
    assert skipped == {"skip": "not in NumPy"}


def test_worker_processes():
    item = {"name": "axpy 10^2", "tiny": True}
    with Worker("numpy", "benchmarks.ops", threads=1, quiet=True) as worker:
        assert worker.ask("about")["cores"] == 1
        worker.ask("prepare", item=item)
        expected = ops.prepare("numpy", item).result()
        np.testing.assert_array_equal(worker.result()["0"], expected["0"])
        times = race({"numpy": worker}, rounds=2, target=1e-4, settle=0)
        assert len(times["numpy"]) == 2
        with pytest.raises(Skip):
            worker.ask("prepare", item={"name": "rnn 5 steps", "tiny": True})
        with pytest.raises(WorkerError, match="KeyError"):
            worker.ask("prepare", item={"name": "nothing"})


def test_interpreter_of_a_contender(monkeypatch):
    monkeypatch.setenv("BENCH_PYTHON_TORCH", "/a/python")
    assert interpreter("torch_compile", {}) == "/a/python"
    assert interpreter("torch", {"torch": "/b/python"}) == "/b/python"
    assert interpreter("jax", {}) != "/a/python"


# The report


def test_figures():
    assert [duration(s) for s in (2.5, 0.0123, 4.56e-6)] == ["2.5 s", "12.3 ms", "4.56 us"]
    assert ratio(1.5, 1.0) == "1.50 !"
    assert ratio(None) == ""
    assert geometric_mean([0.5, 8]) == pytest.approx(2)


def test_table():
    table = Table("T", ("name", "ours"), [("a", "1"), ("long name", "22")])
    assert str(table) == "T\nname       ours\na             1\nlong name    22"
    assert table.markdown().splitlines()[2:] == [
        "| name | ours |", "|---|--:|", "| a | 1 |", "| long name | 22 |"
    ]  # fmt: skip


def test_first_call_tables():
    run = {"import": 0.1, "first": 0.2, "peak": 2**20}
    slow = {"import": 0.1, "first": 0.5, "peak": 3 * 2**20}
    found = {
        "conv_net": {"fstensor": {"cold": run, "warm": run}, "jax": {"cold": slow, "warm": run}}
    }
    rows = first.first_call_table(found).rows
    assert rows[0] == ("ConvNet", "fstensor", "100 ms", "200 ms", "200 ms !", "0.40 !", "1.00 !")
    assert first.memory_table(found).rows == [("ConvNet", "1", "1", "1.00")]


def test_losses_that_differ_are_not_timed():
    class Fake:
        def __init__(self, losses):
            self.losses = losses

        def ask(self, do, **rest):
            return {}

        def result(self):
            return {"losses": np.array(self.losses)}

    report = Report("train", "", "", "")
    workers = {"fstensor": Fake([1.0, 0.5]), "jax": Fake([1.0, 0.9]), "torch": Fake([1.0, 0.9])}
    good = train.agreeing(workers, {"model": "conv_net"}, report, {})
    assert list(good) == ["jax", "torch"]
    assert "fstensor: not timed" in report.notes[0]


def test_every_function_of_the_table_exists():
    for item in items().values():
        assert callable(getattr(functional, item.function))


def test_setup_lists_contenders():
    who = Setup(("fstensor",), {}, 1, 1)
    with who.workers("benchmarks.ops") as workers:
        assert list(workers) == ["fstensor"]
