"""What a call costs beside its arithmetic: eager operations, small gradients, jitted calls, import.

Arrays are tiny, so that the time is that of dispatch. `python -m benchmarks.dispatch`
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import fstensor as fst
import fstensor.numpy as fnp
from benchmarks.measure import Row, measure, table

MICRO = 1e-6
VALUES = np.arange(3, dtype=np.float32)


def small_function(np_):
    """Five operations from a scalar to a scalar."""
    return lambda x: np_.sin(np_.exp(x * 2.0) * (x + 1.0))


def cases() -> list[tuple[str, float | None, dict[str, Callable[[], object]]]]:
    x, jx, n = fnp.asarray(VALUES), jnp.asarray(VALUES), VALUES
    s, js = fnp.asarray(0.5), jnp.asarray(0.5)
    grad, jax_grad = fst.grad(small_function(fnp)), jax.grad(small_function(jnp))
    vmap, jax_vmap = fst.vmap(lambda x: fnp.sin(x) * x), jax.vmap(lambda x: jnp.sin(x) * x)
    jit, jax_jit = fst.jit(lambda x: x + x), jax.jit(lambda x: x + x)
    tree = {f"w{i}": x for i in range(100)}
    jax_tree = {f"w{i}": jx for i in range(100)}
    jit_tree = fst.jit(lambda t: t["w0"])
    jax_jit_tree = jax.jit(lambda t: t["w0"])
    return [
        ("x + x", 3 * MICRO, {"fstensor": lambda: x + x, "JAX": lambda: jx + jx,
                              "NumPy": lambda: n + n}),
        ("x * 2.0", None, {"fstensor": lambda: x * 2.0, "JAX": lambda: jx * 2.0,
                           "NumPy": lambda: n * 2.0}),
        ("sum(x)", None, {"fstensor": lambda: fnp.sum(x), "JAX": lambda: jnp.sum(jx),
                          "NumPy": lambda: np.sum(n)}),
        ("x[1]", 6 * MICRO, {"fstensor": lambda: x[1], "JAX": lambda: jx[1],
                             "NumPy": lambda: n[1]}),
        ("x.at[1].set(2)", 20 * MICRO, {"fstensor": lambda: x.at[1].set(2),
                                        "JAX": lambda: jx.at[1].set(2)}),
        ("grad of five operations", 300 * MICRO, {"fstensor": lambda: grad(s),
                                                  "JAX": lambda: jax_grad(js)}),
        ("vmap of two operations", 80 * MICRO, {"fstensor": lambda: vmap(x),
                                                "JAX": lambda: jax_vmap(jx)}),
        ("jit of x + x", None, {"fstensor": lambda: jit(x), "JAX": lambda: jax_jit(jx)}),
        ("jit with a tree of 100 arrays", None, {"fstensor": lambda: jit_tree(tree),
                                                 "JAX": lambda: jax_jit_tree(jax_tree)}),
    ]  # fmt: skip


def import_seconds(module: str) -> float:
    """The time of `import module` in a fresh interpreter in which NumPy is loaded already."""
    code = (
        "import time, numpy; start = time.perf_counter(); "
        f"import {module}; print(time.perf_counter() - start)"
    )
    # An installed package has its bytecode; ours in a checkout has it after the first run.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

    def run() -> float:
        command = [sys.executable, "-c", code]
        return float(
            subprocess.run(command, capture_output=True, check=True, env=environment).stdout
        )

    run()
    return statistics.median(run() for _ in range(7))


def main() -> None:
    rows = [Row(name, measure(contenders), limit) for name, limit, contenders in cases()]
    print(f"microseconds a call (median); NumPy {np.__version__}, JAX {jax.__version__}")
    print(table(rows, "fstensor", ("JAX", "NumPy")))
    ours, theirs = import_seconds("fstensor"), import_seconds("jax")
    print(
        f"import beyond NumPy: fstensor {1e3 * ours:.0f} ms (limit 150), JAX {1e3 * theirs:.0f} ms"
    )


if __name__ == "__main__":
    main()
