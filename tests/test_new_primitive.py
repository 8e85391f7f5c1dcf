"""docs/new_primitive.md says what is so: its code runs, and gives what it shows."""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

import fstensor as fst
from fstensor.core.primitive import registry

TEXT = (Path(__file__).parent.parent / "docs" / "new_primitive.md").read_text()
CODE, SHOWN = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def page():
    """What the page's code defines."""
    names = {}
    exec(CODE, names)
    yield names
    del registry["my_add"]  # other tests walk over all that are registered


def test_the_code_is_short():
    kernel = re.search(r'KERNEL = """.*?"""', CODE, re.DOTALL).group()
    lines = [x for x in CODE.replace(kernel, "").splitlines() if x.strip()]
    assert len(lines) < 30


def test_what_it_shows(page):
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(parser.get_doctest(SHOWN, page, "new_primitive.md", None, 0))
    assert runner.tries == 6
    assert not runner.failures


def test_derivatives_compose(page):
    f = page["my_add"]
    x = np.float32([1, 2, 3])
    _, t = fst.jit(fst.vmap(lambda a, b: fst.jvp(f, (a, b), (a, b))))(x, x)
    np.testing.assert_array_equal(t, 3 * x)
    g = fst.grad(lambda a: (fst.jit(f)(a, x) ** 2).sum())
    np.testing.assert_array_equal(fst.jacfwd(g)(x), 8 * np.eye(3))


def test_the_kernel_is_launched_over_all_elements(page):
    launched = []

    class Module:  # CuPy's functions that the page uses, and a kernel that runs in NumPy
        ascontiguousarray, broadcast_arrays = np.ascontiguousarray, np.broadcast_arrays
        empty_like = np.empty_like

        @staticmethod
        def RawKernel(text, name):
            assert name in text

            def launch(grid, block, args):
                launched.append((grid, block))
                x, y, out, n = args
                assert grid[0] * block[0] >= n == out.size
                out[...] = 2 * x + y

            return launch

    impl = page["MyAdd"]().impl
    x, y = np.ones((300, 2), np.float32), np.float32(3)
    np.testing.assert_array_equal(impl(Module, x, y), np.full((300, 2), 5))
    assert impl(Module, x[:0], y).shape == (0, 2)
    assert launched == [((3,), (256,))]


@pytest.mark.gpu
def test_on_a_gpu(page):
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("no CUDA device")
    x = fst.device_put(np.float32([1, 2, 3]), "cuda:0")
    np.testing.assert_array_equal(fst.jit(page["my_add"])(x, x), [3, 6, 9])
