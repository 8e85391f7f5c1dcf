"""Examples of the transforms in `fstensor` itself, of control flow, and of functions of trees."""

from __future__ import annotations

from typing import Any

import numpy as np

import fstensor as fst
from fstensor.testing.examples.example import (
    MATRIX,
    OTHER,
    POSITIVE,
    UNIT,
    Call,
    Examples,
    each,
)

# Operators and methods alone: the same functions run with JAX.


def _scalar(x: Any) -> Any:
    return (x * x * x + x).sum()


def _vector(x: Any) -> Any:
    return x * x + x[0]


def _along(f: Call, x: object, t: object) -> object:
    return f(_vector, (x,), (t,))


def _within(setting: Any, x: Any) -> Any:
    with setting(True):
        return x * x


EXAMPLES: dict[str, Examples] = {
    "fstensor": {
        **each("grad value_and_grad hessian", UNIT, call=lambda f, x: f(_scalar)(x)),
        **each(
            "jacfwd jacrev jacobian jit checkpoint remat", UNIT, call=lambda f, x: f(_vector)(x)
        ),
        **each("vmap", MATRIX, call=lambda f, x: f(_vector)(x)),
        **each("checkpoint_name", UNIT, call=lambda f, x: f(x, "x") * 2, like=""),
        **each("jvp", UNIT, OTHER, call=_along),
        **each("vjp", UNIT, OTHER, call=lambda f, x, ct: f(_vector, x)[1](ct)),
        **each("linearize", UNIT, OTHER, call=lambda f, x, t: f(_vector, x)[1](t)),
        **each("linear_transpose", UNIT, OTHER, call=lambda f, x, ct: f(lambda y: 3 * y, x)(ct)),
        **each("eval_shape", UNIT, call=lambda f, x: f(_vector, x).shape),
        **each("make_jaxpr", UNIT, call=lambda f, x: len(f(_vector)(x).eqns), like=""),
        **each("typeof", UNIT, call=lambda f, x: f(x).shape),
        **each("debug_nans debug_infs log_compiles", UNIT, call=_within),
        **each("checking_leaks", UNIT, call=lambda f, x: _within(lambda _: f(), x)),
        **each("explain_cache_misses", UNIT, call=_within),
        **each(
            "pure_callback",
            UNIT,
            call=lambda f, x: f(lambda y: y * 2, x, x, vmap_method="sequential"),
        ),
        **each(
            "experimental.io_callback",
            UNIT,
            call=lambda f, x: f(lambda y: y * 2, x, x, ordered=False),
        ),
        **each("debug.callback", UNIT, call=lambda f, x: f(lambda y: None, x) or x),
        **each("debug.print", UNIT, call=lambda f, x: f("{}", x) or x),
        **each("device_put device_get block_until_ready", UNIT),
        **each("tree.map", UNIT, OTHER, call=lambda f, x, y: f(lambda a, b: a * b, [x], [y])),
        **each("tree.leaves", UNIT, OTHER, call=lambda f, x, y: f({"b": x, "a": (y, None)})),
        **each("tree.flatten", UNIT, call=lambda f, x: f({"b": x})[0]),
        **each(
            "tree.flatten_with_path",
            UNIT,
            call=lambda f, x: f([x])[0][0][1],
        ),
        **each(
            "tree.leaves_with_path",
            UNIT,
            call=lambda f, x: f([x])[0][1],
        ),
        **each(
            "tree.map_with_path", UNIT, call=lambda f, x: f(lambda path, y: len(path) * y, [[x]])
        ),
        **each("tree.reduce", UNIT, OTHER, call=lambda f, x, y: f(lambda a, b: a * b, [x, y])),
        **each("tree.unflatten", UNIT, call=lambda f, x: f(fst.tree.structure([1]), [x]), like=""),
        **each("tree.structure", UNIT, call=lambda f, x: f([x, x]).num_leaves),
        **each(
            "tree.transpose",
            UNIT,
            OTHER,
            call=lambda f, x, y: f(
                fst.tree.structure([0, 0]), fst.tree.structure((0,)), [(x,), (y,)]
            ),
            like="",
        ),
        **each("tree.broadcast", UNIT, call=lambda f, x: f(x, [1, 2])),
        **each("tree.all", np.array(True), call=lambda f, x: f([True, 1])),
        **each("flatten_util.ravel_pytree", UNIT, MATRIX, call=lambda f, x, y: f([x, y])[0]),
        **each(
            "custom_gradient",
            UNIT,
            call=lambda f, x: f(lambda y: (y * y, lambda ct: (2 * y * ct,)))(x),
        ),
        **each("closure_convert", UNIT, call=lambda f, x: f(_vector, x)[0](x)),
        **each("named_scope", UNIT, call=lambda f, x: f("part") and x),
    },
    "lax": {
        **each("scan", UNIT, call=lambda f, x: f(lambda c, e: (c * e, c + e), 1.5, x)),
        **each(
            "while_loop",
            UNIT,
            call=lambda f, x: f(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * s[1]), (0, x))[1],
        ),
        **each("fori_loop", UNIT, call=lambda f, x: f(0, 3, lambda i, c: c * c + i, x)),
        **each(
            "cond",
            UNIT,
            call=lambda f, x: f(x[0] > 0, lambda y: y * y, lambda y: y - 1, x),
        ),
        **each(
            "switch",
            UNIT,
            call=lambda f, x: f(1, [lambda y: y, lambda y: y * y, lambda y: -y], x),
        ),
        **each("map", MATRIX, call=lambda f, x: f(lambda row: row * row[0], x)),
        **each("associative_scan", UNIT, call=lambda f, x: f(lambda a, b: a * b, x)),
        **each(
            "custom_root",
            POSITIVE,
            call=lambda f, x: f(
                lambda y: y * y - x, x, lambda g, y: x**0.5, lambda g, y: y / g(np.ones(3))
            ),
        ),
        **each(
            "custom_linear_solve",
            POSITIVE,
            OTHER,
            call=lambda f, a, b: f(lambda v: a * v, b, lambda g, c: c / a, symmetric=True),
        ),
    },
}
