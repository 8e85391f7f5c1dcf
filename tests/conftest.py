import atexit
import gc
import os
import shutil
import tempfile
from pathlib import Path

import pytest

# Compiled programs are shared by this run's processes, not with other runs.
if "FSTENSOR_CACHE_DIR" not in os.environ:
    os.environ["FSTENSOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="fstensor-tests-")
    atexit.register(shutil.rmtree, os.environ["FSTENSOR_CACHE_DIR"], ignore_errors=True)

# JAX compiles for each shape that it is asked about, and is asked once.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import fstensor
from tests.recorded import Answers, Recorded

# Tests call one function with many signatures on purpose.
fstensor.config.update("explain_retraces", False)
# Two are enough to go wrong, and several processes test at once.
fstensor.config.update("threads", 2)

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(autouse=True)
def _the_working_directory_stays():
    """Messages tell files as seen from there, so that other tests would fail."""
    before = os.getcwd()
    yield
    after = os.getcwd()
    os.chdir(before)
    assert after == before


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write the texts and JAX's answers in tests/golden anew",
    )


def pytest_collection_finish(session):
    # Tens of thousands of tests stay until the end: collectors of garbage need not look at them.
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session):
    for answers in _answers.values():
        if answers.has_changed:
            answers.save()


@pytest.fixture
def golden(request):
    """Compare a text with the file of that name in tests/golden."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.write_text(text + "\n")
        assert path.exists(), f"no golden text {name}; run pytest --update-golden, and read it"
        assert text + "\n" == path.read_text()

    return check


_answers: dict[Path, Answers] = {}


@pytest.fixture
def recorded(request):
    """What JAX answers to the questions of a test; see `tests/recorded.py`."""
    return _recorded(request, request.node.nodeid.partition("::")[2])


@pytest.fixture(scope="module")
def recorded_for_module(request):
    """What JAX answers to the questions of all tests of a file."""
    return _recorded(request, "")


def _recorded(request, test):
    update = request.config.getoption("--update-golden")
    if update and "PYTEST_XDIST_WORKER" in os.environ:
        pytest.fail("answers of JAX are written by one process: pytest -n 0 --update-golden")
    tests = request.path.relative_to(GOLDEN.parent).with_suffix("")
    path = GOLDEN / "recorded" / f"{'.'.join(tests.parts)}.npz"
    if path not in _answers:
        _answers[path] = Answers(path)
    return Recorded(_answers[path], test, update)
