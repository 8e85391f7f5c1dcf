"""Processes in which LLVM cannot be loaded: programs run by NumPy, and say so once."""

import subprocess
import sys

import pytest

BLOCKS = {
    "missing": "sys.modules['llvmlite'] = None",
    "broken": (
        "class Broken:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'llvmlite.binding':\n"
        "            raise OSError('libllvmlite.so: invalid ELF header')\n"
        "sys.meta_path.insert(0, Broken())"
    ),
    "refused": (
        "import llvmlite.binding as llvm\n"
        "def refuse(*args, **kwargs):\n"
        "    raise RuntimeError('no memory that can be executed')\n"
        "llvm.create_lljit_compiler = refuse"
    ),
}

USE = """
import sys, warnings
{block}
import numpy as np
import fstensor as fst
import fstensor.numpy as fnp

def f(x):
    return fst.lax.fori_loop(0, 3, lambda i, c: c * fnp.tanh(x), x).sum()

x = np.ones(5, np.float32)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for k in range(3):
        y = fst.jit(lambda x: f(x) + k)(x)
        z = fst.jit(fst.grad(f))(x)
compiled = fst.jit(f).lower(x).compile()
compiled.save(sys.argv[1])
assert fst.stages.load(sys.argv[1])(x) == compiled(x) == f(x)
np.testing.assert_allclose(z, fst.grad(f)(x), rtol=1e-6)
(warning,) = caught
assert warning.category is RuntimeWarning
assert warning.filename == "<string>"
print(warning.message)
fst.config.update("executor", "numpy")
def override(name, value):
    with fst.config.override(**{{name: value}}):
        pass

for change in (fst.config.update, override):
    try:
        change("executor", "llvm")
    except fst.errors.OptionError as error:
        print(error.args[0])
assert fst.config.executor == "numpy"
"""

REASONS = {
    "missing": "ModuleNotFoundError: import of llvmlite halted; None in sys.modules",
    "broken": "OSError: libllvmlite.so: invalid ELF header",
    "refused": "RuntimeError: linking LLVM IR: no memory that can be executed",
}


@pytest.mark.parametrize("kind", BLOCKS)
def test_programs_run_by_numpy(kind, tmp_path):
    code = USE.format(block=BLOCKS[kind])
    command = [sys.executable, "-c", code, str(tmp_path / "program")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == ""
    warning, *refused = done.stdout.splitlines()
    assert warning.startswith(
        "jit: programs are run by NumPy, operation by operation, since LLVM cannot be used, "
        + REASONS[kind]
    )
    assert warning.endswith(
        "; install llvmlite, or choose this by config.update('executor', 'numpy')"
    )
    assert len(refused) == 2
    for text in refused:
        assert text.startswith(f"config: executor cannot be 'llvm' here, {REASONS[kind]}")


def test_by_numpy_nothing_is_loaded_nor_said():
    code = (
        "import sys, fstensor as fst\n"
        "fst.config.update('executor', 'numpy')\n"
        "fst.jit(fst.numpy.sin)(1.0)\n"
        "assert 'llvmlite' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
