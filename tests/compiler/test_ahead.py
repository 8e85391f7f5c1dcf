"""What is loaded ahead of the first call, in processes of their own."""

import os
import subprocess
import sys

import pytest

from fstensor.compiler.threads import usable_cpus

SLOW = 120  # seconds that a process may take at most


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=SLOW,
        env={**os.environ, **environment},
    )
    assert not done.returncode, done.stderr
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.skipif(usable_cpus() < 2, reason="there is no processor for another thread")
def test_it_begins_with_the_first_function_that_is_to_be_compiled():
    code = """
import sys, threading
import fstensor as fst
print("llvmlite" in sys.modules, threading.active_count())
f = fst.jit(lambda x: x + 1)
from fstensor.compiler import ahead
ahead.wait()
from fstensor.compiler.llvm import team
print("llvmlite" in sys.modules, team.native.cache_info().currsize)
print(f(1.0))
"""
    assert run(code) == ["False", "1", "True", "1", "2.0"]


def test_it_does_not_begin_where_numpy_runs_programs():
    code = """
import sys
import fstensor as fst
fst.config.update("executor", "numpy")
print(fst.jit(lambda x: x + 1)(1.0), "llvmlite" in sys.modules)
"""
    assert run(code) == ["2.0", "False"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("pause", [0.0, 0.01, 0.03, 0.06])
def test_a_fork_meanwhile(pause):
    code = f"""
import os, time, warnings
warnings.simplefilter("ignore")  # of forks in processes with threads
import fstensor as fst
f = fst.jit(lambda x: x * 2 + 1)
time.sleep({pause})
child = os.fork()
value = float(f(fst.numpy.arange(4.0)).sum())
if not child:
    os._exit(value != 16.0)
print(value, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(code, FSTENSOR_CACHE_DIR="") == ["16.0", "0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_forks_while_another_thread_compiles():
    code = """
import os, threading, time, warnings
warnings.simplefilter("ignore")  # of forks in processes with threads
import fstensor as fst
def compiled(k):
    return float(fst.jit(lambda x: fst.numpy.sin(x * k) @ x)(fst.numpy.arange(4.0)))
compiled(0)
compiling = threading.Thread(target=lambda: [compiled(k) for k in range(30)])
compiling.start()
codes = []
while compiling.is_alive():
    child = os.fork()
    if not child:
        compiled(-1)
        os._exit(0)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(any(codes), len(codes) > 1)
"""
    assert run(code, FSTENSOR_CACHE_DIR="") == ["False", "True"]


def test_an_exit_meanwhile():
    assert run("import fstensor as fst; fst.jit(lambda x: x)") == []
