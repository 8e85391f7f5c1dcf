"""Rematerialization, against JAX and against the same functions without it."""

import functools
import tracemalloc
from dataclasses import dataclass

import jax
import jax.ad_checkpoint
import jax.numpy as jnp
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import checkpoint_policies as policies
from fstensor.core.primitive import Primitive
from fstensor.errors import ArgumentError, OptionError, TreeError
from fstensor.transforms.residuals import saved_residuals
from tests.tolerances import assert_close

RNG = np.random.default_rng(0)
X = RNG.normal(size=3).astype(np.float32)
W = RNG.normal(size=(3, 3)).astype(np.float32)
V = RNG.normal(size=(3, 3)).astype(np.float32)
BATCH = RNG.normal(size=(5, 3)).astype(np.float32)


def sinsin(np):
    return lambda x: np.sin(np.sin(x))


def mlp(np):
    def f(params, x):
        h = np.sin(x @ params["w"])
        return np.sin(h @ params["v"]).sum()

    return f


def mixed(np):
    """Residuals of several kinds: of a product, a contraction with batches, a reduction."""

    def f(a, b):
        c = np.einsum("bij,bjk->bik", a, b)
        d = np.sin(c) @ b[0]
        return (np.cos(d) * d).sum()

    return f


PARAMS = {"w": W, "v": V}
A = RNG.normal(size=(2, 3, 3)).astype(np.float32)
B = RNG.normal(size=(2, 3, 3)).astype(np.float32)
FUNCTIONS = {
    "sinsin": (sinsin, (X,)),
    "mlp": (mlp, (PARAMS, BATCH)),
    "mixed": (mixed, (A, B)),
}
POLICIES = [
    None,
    "everything_saveable",
    "nothing_saveable",
    "dots_saveable",
    "checkpoint_dots",
    "dots_with_no_batch_dims_saveable",
    "checkpoint_dots_with_no_batch_dims",
]


def assert_trees_close(got, expected, factor=1.0):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert_close(a, b, derivative=True, factor=factor)


def both(name, policy=None, **options):
    """A checkpointed function in this library and in JAX, and its arguments."""
    make, args = FUNCTIONS[name]
    ours = theirs = None
    if policy is not None:
        ours = getattr(policies, policy)
        theirs = getattr(jax.checkpoint_policies, policy)
    return (
        fst.checkpoint(make(fnp), policy=ours, **options),
        jax.checkpoint(make(jnp), policy=theirs, **options),
        args,
    )


def equations(jaxpr):
    """All equations of a program, also those of the programs in it."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            for inner in value if isinstance(value, tuple) else (value,):
                if hasattr(inner, "eqns"):
                    yield from equations(inner)


def count(f, args, name):
    """How often a primitive occurs in the program of a function of this library."""
    return sum(e.primitive.name == name for e in equations(fst.make_jaxpr(f)(*args)))


def jax_count(f, args, name):
    return sum(e.primitive.name == name for e in equations(jax.make_jaxpr(f)(*args).jaxpr))


# Values and derivatives


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients_are_those_of_jax(name, policy):
    ours, theirs, args = both(name, policy)
    assert_trees_close(ours(*args), theirs(*args))
    if name == "sinsin":
        ours, theirs = (lambda x, f=f: f(x).sum() for f in (ours, theirs))
    assert_trees_close(fst.grad(ours)(*args), jax.grad(theirs)(*args))
    assert_trees_close(fst.jit(fst.grad(ours))(*args), jax.grad(theirs)(*args))


def compositions(f):
    """Transforms of a function of a vector that gives one, as functions of it."""
    total = lambda x: f(x).sum()
    return {
        "jvp": lambda x: fst.jvp(f, (x,), (fnp.cos(x),)),
        "vjp": lambda x: fst.vjp(f, x)[1](fnp.cos(x)),
        "linearize": lambda x: fst.linearize(f, x)[1](fnp.cos(x)),
        "jacfwd": fst.jacfwd(f),
        "jacrev": fst.jacrev(f),
        "hessian": fst.hessian(total),
        "reverse over reverse": fst.jacrev(fst.jacrev(f)),
        "reverse over forward": fst.jacrev(fst.jacfwd(f)),
        "third": fst.jacfwd(fst.jacrev(fst.jacrev(f))),
        "vmap of grad": lambda x: fst.vmap(fst.grad(total))(fnp.stack([x, 2 * x])),
        "vmap of jvp": lambda x: fst.vmap(lambda t: fst.jvp(f, (x,), (t,))[1])(fnp.eye(3)),
        "grad of vmap": lambda x: fst.grad(lambda y: fst.vmap(total)(y).sum())(
            fnp.stack([x, 2 * x])
        ),
        "jit of hessian": fst.jit(fst.hessian(total)),
        "hessian of jit": fst.hessian(fst.jit(total)),
    }


@pytest.mark.parametrize("policy", [None, policies.dots_saveable, policies.everything_saveable])
@pytest.mark.parametrize("name", compositions(sinsin(fnp)))
def test_compositions(name, policy):
    def f(x):
        return fnp.sin(fnp.sin(x) @ W) * x

    plain = compositions(f)[name](X)
    got = compositions(fst.checkpoint(f, policy=policy))[name](X)
    assert_trees_close(got, plain, factor=3)


@pytest.mark.parametrize("inside", [False, True])
def test_jit_inside_and_outside(inside):
    f = mlp(fnp)
    plain = fst.grad(f)(PARAMS, BATCH)
    wrapped = fst.checkpoint(fst.jit(f)) if inside else fst.jit(fst.checkpoint(f))
    assert_trees_close(fst.grad(wrapped)(PARAMS, BATCH), plain)
    assert_trees_close(fst.jit(fst.grad(wrapped))(PARAMS, BATCH), plain)


def test_policies_see_through_jit():
    f = fst.checkpoint(fst.jit(mlp(fnp)), policy=policies.dots_saveable)
    assert len(saved_residuals(f, PARAMS, BATCH)) == 5
    assert count(fst.grad(f), (PARAMS, BATCH), "sin") == 2 + 1


def test_arguments_without_derivatives_and_complex_ones():
    def f(x, n, z):
        return (x * n).sum() * (z * z.conj()).real

    args = X, np.arange(3), np.complex64(1 + 2j)
    for argnums in (0, 2, (0, 2)):
        got = fst.grad(fst.checkpoint(f), argnums)(*args)
        assert_trees_close(got, fst.grad(f, argnums)(*args))
    g = fst.grad(fst.checkpoint(f), (0, 1), allow_int=True)(*args)
    assert g[1].dtype == fst.float0


def test_trees_and_keywords():
    def f(x, *, scale, shift=0.0):
        return {"out": (x * scale["a"] + shift, [x])}

    got = fst.checkpoint(f)(X, scale={"a": 2.0}, shift=1.0)
    assert_trees_close(got, f(X, scale={"a": 2.0}, shift=1.0))
    g = fst.grad(lambda s: fst.checkpoint(f)(X, scale={"a": s})["out"][0].sum())(2.0)
    assert_close(g, X.sum(), factor=10)


def test_collectives():
    f = fst.checkpoint(lambda x: fnp.sin(x) / fst.lax.psum(fnp.cos(x), "i"))
    got = fst.vmap(fst.grad(lambda x: f(x).sum()), axis_name="i")(BATCH)
    plain = fst.vmap(fst.grad(lambda x: f.__wrapped__(x).sum()), axis_name="i")(BATCH)
    assert_trees_close(got, plain)


@fst.custom_jvp
def tripled(x):
    return fnp.sin(x)


@tripled.defjvp
def _(primals, tangents):
    return tripled(primals[0]), 3 * fnp.cos(primals[0]) * tangents[0]


@fst.custom_vjp
def fivefold(x):
    return fnp.sin(x)


fivefold.defvjp(lambda x: (fnp.sin(x), x), lambda x, ct: (5 * fnp.cos(x) * ct,))


@pytest.mark.parametrize("f", [tripled, fivefold])
@pytest.mark.parametrize("policy", [None, policies.everything_saveable])
def test_rules_of_the_user_hold_inside(f, policy):
    g = lambda x: f(fnp.exp(x)).sum()
    h = fst.checkpoint(g, policy=policy)
    assert_trees_close(fst.grad(h)(X), fst.grad(g)(X))
    assert_trees_close(fst.jit(fst.grad(h))(X), fst.grad(g)(X))
    assert_trees_close(fst.vmap(fst.grad(h))(BATCH), fst.vmap(fst.grad(g))(BATCH))
    assert_trees_close(fst.jacrev(fst.grad(h))(X), fst.jacrev(fst.grad(g))(X))


# What is recorded


@pytest.mark.parametrize("policy", [None, "everything_saveable"])
@pytest.mark.parametrize("name", ["call", "grad", "jvp", "vmap of grad"])
def test_text_is_that_of_jax(name, policy):
    def text(module, np):
        p = policy and getattr(module.checkpoint_policies, policy)
        f = module.checkpoint(sinsin(np), policy=p)
        transformed, args = {
            "call": (f, (1.0,)),
            "grad": (module.grad(f), (1.0,)),
            "jvp": (lambda x, t: module.jvp(f, (x,), (t,)), (1.0, 1.0)),
            "vmap of grad": (module.vmap(module.grad(f)), (X,)),
        }[name]
        return str(module.make_jaxpr(transformed)(*args))

    expected = text(jax, jnp).replace("remat2[", "checkpoint[")
    expected = expected.replace(f"<function {policy} at 0xXXXXXXXXXXXX>", str(policy))
    assert text(fst, fnp) == expected


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_much_is_kept_as_in_jax(name, policy, capsys):
    ours, theirs, args = both(name, policy)
    fst.print_saved_residuals(ours, *args)
    got = sorted(line.split()[0] for line in capsys.readouterr().out.splitlines())
    jax.ad_checkpoint.print_saved_residuals(theirs, *args)
    expected = sorted(line.split()[0] for line in capsys.readouterr().out.splitlines())
    assert got == expected
    assert got


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("primitive", ["sin", "cos", "dot_general"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_much_is_computed_again_as_in_jax(name, primitive, policy):
    ours, theirs, args = both(name, policy)
    if name == "sinsin":
        ours, theirs = (lambda x, f=f: f(x).sum() for f in (ours, theirs))
    expected = jax_count(jax.grad(theirs), args, primitive)
    assert count(fst.grad(ours), args, primitive) == expected


def test_computing_again_doubles_the_forward_pass():
    def f(x):
        for _ in range(4):
            x = fnp.sin(x)
        return x

    assert count(fst.grad(f), (1.0,), "sin") == 4
    assert count(fst.grad(fst.checkpoint(f)), (1.0,), "sin") == 4 + 3
    whole = fst.checkpoint(f, policy=policies.everything_saveable)
    assert count(fst.grad(whole), (1.0,), "sin") == 4


def nested(module, np, depth, n=0):
    """Halves of halves, each with a checkpoint of its own."""
    if not depth:
        return np.sin
    first, second = (nested(module, np, depth - 1) for _ in range(2))
    return module.checkpoint(lambda x: second(first(x)))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_nested(depth):
    ours, theirs = nested(fst, fnp, depth), nested(jax, jnp, depth)
    assert_close(fst.grad(ours)(0.3), jax.grad(theirs)(0.3), derivative=True)
    assert_close(fst.grad(fst.grad(ours))(0.3), jax.grad(jax.grad(theirs))(0.3), derivative=True)
    assert count(fst.grad(ours), (0.3,), "sin") == jax_count(jax.grad(theirs), (0.3,), "sin")


def test_a_nested_checkpoint_is_computed_again_inside():
    inner = fst.checkpoint(sinsin(fnp))
    outer = fst.checkpoint(lambda x: inner(fnp.exp(x)))
    program = fst.make_jaxpr(fst.grad(outer))(0.3)
    (around,) = [e for e in program.eqns if e.primitive.name == "checkpoint"]
    inside = [e.primitive.name for e in around.params["jaxpr"].eqns]
    assert inside.count("checkpoint") == 1
    assert "cos" not in inside


def test_unused_arguments_and_outputs_are_not_kept():
    def f(x, y, z):
        return fnp.sin(x) * y, fnp.exp(z)

    first = fst.checkpoint(f)
    kept = saved_residuals(lambda x, y, z: first(x, y, z)[0], X, X, X)
    pull = fst.make_jaxpr(fst.grad(lambda x: first(x, X, X)[0].sum()))(X)
    (again,) = [e for e in pull.eqns if e.primitive.name == "checkpoint"]
    assert len(again.invars) == 3, "x, y and a cotangent"
    assert "exp" not in [e.primitive.name for e in again.params["jaxpr"].eqns]
    assert [origin for _, origin in kept] == ["from the argument x", "from the argument y"]


# Policies and names


def named(module, np):
    name = fst.checkpoint_name if module is fst else jax.ad_checkpoint.checkpoint_name

    def f(x):
        a = name(np.sin(x), "a")
        b = name(np.sin(a), "b")
        return np.sin(np.sin(b))

    return f


NAMED = {
    "only a": ("save_only_these_names", ("a",)),
    "only b": ("save_only_these_names", ("b",)),
    "only both": ("save_only_these_names", ("a", "b")),
    "only others": ("save_only_these_names", ("c",)),
    "but a": ("save_any_names_but_these", ("a",)),
    "but none": ("save_any_names_but_these", ()),
}


@pytest.mark.parametrize("case", NAMED)
def test_names(case, capsys):
    policy, names = NAMED[case]
    ours = fst.checkpoint(named(fst, fnp), policy=getattr(policies, policy)(*names))
    theirs = jax.checkpoint(
        named(jax, jnp), policy=getattr(jax.checkpoint_policies, policy)(*names)
    )
    assert_close(fst.grad(ours)(0.3), jax.grad(theirs)(0.3), derivative=True)
    for primitive in ("sin", "cos"):
        assert count(fst.grad(ours), (0.3,), primitive) == jax_count(
            jax.grad(theirs), (0.3,), primitive
        )
    fst.print_saved_residuals(ours, 0.3)
    got = capsys.readouterr().out.splitlines()
    jax.ad_checkpoint.print_saved_residuals(theirs, 0.3)
    expected = capsys.readouterr().out.splitlines()
    assert [line.split(" from ")[0] for line in got] == [
        line.split(" from ")[0] for line in expected
    ]


def test_all_but_these_names():
    def kept(*names):
        policy = policies.save_anything_except_these_names(*names)
        f = fst.checkpoint(named(fst, fnp), policy=policy)
        assert_close(fst.grad(f)(0.3), fst.grad(named(fst, fnp))(0.3), derivative=True)
        return count(fst.grad(f), (0.3,), "sin")

    assert kept() == 4
    assert kept("a") == kept("b") == 4, "their derivatives alone are needed, and those are kept"

    def g(x):
        y = fst.checkpoint_name(fnp.sin(x), "y")
        return (y * y).sum()

    plain = fst.checkpoint(g, policy=policies.everything_saveable)
    but = fst.checkpoint(g, policy=policies.save_anything_except_these_names("y"))
    other = fst.checkpoint(g, policy=policies.save_anything_except_these_names("z"))
    assert count(fst.grad(plain), (X,), "sin") == count(fst.grad(other), (X,), "sin") == 1
    assert count(fst.grad(but), (X,), "sin") == 2
    either = policies.save_from_both_policies(
        policies.save_anything_except_these_names("y"), policies.nothing_saveable
    )
    assert count(fst.grad(fst.checkpoint(g, policy=either)), (X,), "sin") == 2
    assert_trees_close(fst.grad(but)(X), fst.grad(g)(X))


def test_either_of_two_policies():
    either = policies.save_from_both_policies(
        policies.dots_saveable, policies.save_only_these_names("h")
    )

    def f(x, w):
        h = fst.checkpoint_name(fnp.sin(x @ w), "h")
        return fnp.sin(h).sum()

    kept = saved_residuals(fst.checkpoint(f, policy=either), BATCH, W)
    origins = [origin.split(" from ")[0] for _, origin in kept]
    assert origins == ["from the argument x", "from the argument w", "output of dot_general",
                       "named 'h'"]  # fmt: skip
    assert either == policies.save_from_both_policies(
        policies.dots_saveable, policies.save_only_these_names("h")
    )


def test_convolutions_are_dots():
    def f(x, w):
        return fnp.sin(fst.lax.conv_general_dilated(x, w, (1,), "SAME")).sum()

    x, w = np.ones((1, 2, 5), np.float32), np.ones((2, 2, 3), np.float32)
    again = fst.grad(fst.checkpoint(f))
    keep = fst.grad(fst.checkpoint(f, policy=policies.dots_saveable))
    name = "conv_general_dilated"
    assert count(again, (x, w), name) == count(keep, (x, w), name) + 1
    unbatched = fst.checkpoint(f, policy=policies.dots_with_no_batch_dims_saveable)
    assert count(fst.grad(unbatched), (x, w), name) == count(again, (x, w), name)


def test_policies_of_the_user():
    asked = []

    def policy(primitive, *avals, **params):
        asked.append((primitive.name, [a.short() for a in avals], sorted(params)))
        return primitive.name == "sin"

    f = fst.checkpoint(lambda x: fnp.sin(fnp.sin(x)).sum(), policy=policy)
    assert count(fst.grad(f), (X,), "sin") == 2
    assert ("sin", ["f32[3]"], []) in asked
    assert ("reduce_sum", ["f32[3]"], ["axes"]) in asked


def test_names_change_nothing_else():
    f = lambda x: fst.checkpoint_name({"a": x, "b": [x * 2]}, "n")
    assert_trees_close(f(X), {"a": X, "b": [X * 2]})
    assert_trees_close(fst.jit(fst.vmap(f))(BATCH), {"a": BATCH, "b": [BATCH * 2]})
    total = lambda x: f(x)["a"].sum()
    assert_close(fst.grad(total)(X), np.ones(3, np.float32))
    assert_close(fst.linear_transpose(total, X)(np.float32(2))[0], np.full(3, 2, np.float32))
    assert str(fst.make_jaxpr(lambda x: fst.checkpoint_name(x, "n"))(1.0)) == str(
        jax.make_jaxpr(lambda x: jax.ad_checkpoint.checkpoint_name(x, "n"))(1.0)
    )


# The compiler


def compiled_sins(f, *args):
    return fst.jit(fst.value_and_grad(f)).lower(*args).as_text("optimized").count(" sin ")


def test_the_compiler_does_not_undo_it():
    def f(x):
        return fnp.sin(fnp.sin(fnp.sin(x)))

    assert compiled_sins(f, 1.0) == 3
    assert compiled_sins(fst.checkpoint(f), 1.0) == 3 + 2
    assert compiled_sins(fst.checkpoint(f, prevent_cse=False), 1.0) == 3
    assert compiled_sins(fst.checkpoint(f, prevent_cse=(True,)), 1.0) == 3 + 2
    assert compiled_sins(fst.checkpoint(f, prevent_cse=(False,)), 1.0) == 3


def test_barriers_for_chosen_arguments():
    def f(params, x):
        return (fnp.sin(fnp.sin(params["a"])) * fnp.sin(fnp.sin(x))).sum()

    def sins(flags):
        return compiled_sins(fst.checkpoint(f, prevent_cse=flags), {"a": X}, X)

    assert sins((False, False)) < sins(({"a": True}, False)) < sins((True, True))
    assert sins(({"a": True}, False)) == sins((True, False)) == sins([True, False])
    assert sins(True) == sins((True, True))
    g = fst.checkpoint(lambda x, y: fnp.sin(x * y), prevent_cse=(False, True))
    expected = fst.hessian(lambda x: fnp.sin(x * x))(0.3)
    assert_close(fst.hessian(lambda x: g(x, x))(0.3), expected, derivative=True)
    assert_close(
        fst.vmap(fst.grad(fst.grad(lambda x: g(x, x))))(X),
        fst.vmap(fst.grad(fst.grad(lambda x: fnp.sin(x * x))))(X),
        derivative=True,
    )


# Control flow


def step(c, x):
    a = fnp.sin(c * x)
    return fnp.sin(a) + c, a


def looped(body):
    def f(c, xs):
        last, ys = fst.lax.scan(body, c, xs)
        return last + (ys**2).sum()

    return f


def branched(body):
    def f(c, xs):
        return fst.lax.cond(c > 0, lambda: body(c, xs[0])[0], lambda: c * 2) + xs.sum()

    return f


def repeated(body):
    def f(c, xs):
        return fst.lax.while_loop(lambda c: c < 2.0, lambda c: body(c, xs[0])[0] + 0.7, c)

    return f


@pytest.mark.parametrize("around", [False, True])
@pytest.mark.parametrize("make", [looped, branched, repeated])
def test_in_and_around_control_flow(make, around):
    f = fst.checkpoint(make(step)) if around else make(fst.checkpoint(step))
    args = np.float32(0.4), X
    plain = make(step)
    assert_trees_close(f(*args), plain(*args))
    assert_trees_close(fst.grad(f, (0, 1))(*args), fst.grad(plain, (0, 1))(*args))
    assert_trees_close(fst.jit(fst.grad(f, (0, 1)))(*args), fst.grad(plain, (0, 1))(*args))
    assert_trees_close(fst.hessian(f)(*args), fst.hessian(plain)(*args), factor=3)
    cs = np.float32([0.4, 0.9])
    got = fst.vmap(fst.grad(f), (0, None))(cs, X)
    assert_trees_close(got, fst.vmap(fst.grad(plain), (0, None))(cs, X))


def test_a_scan_of_checkpointed_steps_stacks_the_carry_alone():
    def body(c, x):
        c = fnp.tanh(fnp.sin(c @ W) @ V) + x
        return c, None

    def stacked(step):
        total = lambda c, xs: fst.lax.scan(step, c, xs)[0].sum()
        program = fst.make_jaxpr(fst.grad(total))(X, BATCH)
        forwards = next(e for e in program.eqns if e.primitive.name == "scan")
        return [v.aval.shape for v in forwards.outvars[forwards.primitive.num_carry :]]

    assert stacked(fst.checkpoint(body)) == [(5, 3)]
    assert len(stacked(body)) > 1


def test_what_only_the_second_computation_needs_is_not_stacked_in_the_first():
    def total(c, xs):
        return fst.lax.scan(step, c, xs)[0]

    program = fst.make_jaxpr(fst.grad(fst.checkpoint(total)))(np.float32(0.4), X)
    forwards = next(e for e in program.eqns if e.primitive.name == "scan")
    assert len(forwards.outvars) == 1
    (again,) = [e for e in program.eqns if e.primitive.name == "checkpoint"]
    loops = [e for e in again.params["jaxpr"].eqns if e.primitive.name == "scan"]
    assert len(loops) == 2
    assert len(loops[0].outvars) > 1


# What is referred to from outside


def test_closed_over_tracers():
    f = lambda x, w: fst.checkpoint(lambda y: fnp.sin(y * w) * w)(x).sum()
    g = lambda x, w: (fnp.sin(x * w) * w).sum()
    assert_trees_close(fst.grad(f, (0, 1))(X, X + 1), fst.grad(g, (0, 1))(X, X + 1))
    assert_trees_close(fst.hessian(f, 1)(X, X + 1), fst.hessian(g, 1)(X, X + 1))
    assert_trees_close(
        fst.vmap(fst.grad(f, (0, 1)), (None, 0))(X, BATCH),
        fst.vmap(fst.grad(g, (0, 1)), (None, 0))(X, BATCH),
    )
    assert_trees_close(fst.jit(fst.grad(f, 1))(X, X + 1), fst.grad(g, 1)(X, X + 1))


def test_closed_over_arrays_are_kept_like_arguments(capsys):
    w = fnp.asarray(W)
    fst.print_saved_residuals(fst.checkpoint(lambda x: fnp.sin(x @ w)), X)
    assert capsys.readouterr().out.splitlines() == [
        "f32[3,3] from a constant",
        "f32[3] from the argument x",
    ]


def test_closed_over_ndarrays_may_change():
    w = np.float32([1.0, 2.0, 3.0])
    f = fst.checkpoint(lambda x: (x * w).sum())
    assert_close(fst.grad(f)(X), w)
    w[:] = 5.0
    assert_close(fst.grad(f)(X), w)


def test_traced_once_for_each_signature():
    calls = []

    def f(x):
        calls.append(1)
        return fnp.sin(x)

    for _ in range(3):
        fst.grad(lambda x: fst.checkpoint(f)(x).sum())(X)
    assert len(calls) == 1
    fst.checkpoint(f)(BATCH)
    fst.checkpoint(f)(np.float64(1.0))
    assert len(calls) == 3
    fst.clear_caches()
    fst.checkpoint(f)(X)
    assert len(calls) == 4


def test_methods():
    class Layer:
        def __init__(self, w):
            self.w = w

        @fst.checkpoint
        def __call__(self, x):
            return fnp.sin(x @ self.w).sum()

        apply = functools.partial(fst.checkpoint, static_argnums=0)(
            lambda self, x: fnp.sin(x @ self.w).sum()
        )

    layer = Layer(fnp.asarray(W))
    assert_trees_close(fst.grad(layer.apply)(X), fst.grad(lambda x: fnp.sin(x @ W).sum())(X))
    with pytest.raises(ArgumentError, match="checkpoint: arguments must be trees of arrays"):
        layer(X)


# Static arguments


def test_static_arguments():
    def f(x, twice, *, power=1):
        assert isinstance(twice, bool)
        y = fnp.sin(x) ** power
        return (2 * y if twice else y).sum()

    g = fst.checkpoint(f, static_argnums=1, static_argnames="power")
    for twice in (True, False):
        for power in (1, 2):
            got = fst.grad(lambda x: g(x, twice, power=power))(X)  # noqa: B023  # called at once
            expected = fst.grad(lambda x: f(x, twice, power=power))(X)  # noqa: B023  # called at once
            assert_trees_close(got, expected)
    h = fst.checkpoint(f, static_argnums=(-1,), static_argnames=["power"])
    assert_trees_close(h(X, True), f(X, True))


def test_static_arguments_that_cannot_be_hashed():
    f = fst.checkpoint(lambda x, sizes: x * sum(sizes), static_argnums=(1,))
    sizes = [1, 2]
    assert_close(f(X, sizes), X * 3)
    sizes.append(3)
    assert_close(f(X, sizes), X * 6)


# Effects


@dataclass(frozen=True, repr=False)
class Told(Primitive):
    """The operand, told to `told`: an operation with effects and a result."""

    name = "told"

    @property
    def effectful(self):
        return True

    def abstract(self, x):
        return x

    def impl(self, xp, x):
        told.append(float(x))
        return x

    def jvp(self, primals, tangents):
        return self.bind(*primals), tangents[0]


told: list[float] = []


@pytest.mark.parametrize("policy", [None, policies.everything_saveable])
def test_effects_happen_once(policy):
    told.clear()
    f = fst.checkpoint(lambda x: fnp.sin(Told().bind(fnp.sin(x))), policy=policy)
    assert_close(fst.grad(f)(0.3), fst.grad(sinsin(fnp))(0.3), derivative=True)
    assert_close(told, [np.sin(0.3)], factor=1e9, err_msg="told by float32 numbers")
    told.clear()
    fst.jit(fst.grad(f))(0.3)
    assert len(told) == 1
    kept = [origin.split(" from ")[0] for _, origin in saved_residuals(f, 0.3)]
    assert policy is not None or "output of told" in kept


def test_a_dropped_unit_stays_dropped():
    def layer(x, key):
        keep = fst.random.bernoulli(key, 0.5, x.shape)
        return fnp.where(keep, fnp.sin(x) / 0.5, 0)

    x = np.ones(200, np.float32)
    key = fst.random.key(3)
    out, pull = fst.vjp(lambda x: fst.checkpoint(layer)(x, key), x)
    gradient = pull(np.ones(200, np.float32))[0]
    dropped = np.asarray(out) == 0
    assert 50 < dropped.sum() < 150
    np.testing.assert_array_equal(np.asarray(gradient) == 0, dropped)


# Memory


def peak(f, *args):
    """The most memory that a call holds at once, in bytes; a call before it has made programs."""
    f(*args)
    tracemalloc.start()
    try:
        f(*args)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


N, WIDTH = 512, 2048
START = RNG.normal(size=WIDTH).astype(np.float32)
BLOCK = START.nbytes


def wide_step(c, _):
    for _ in range(4):
        c = fnp.sin(c) * fnp.cos(c)
    return c, None


def plain_loop(c):
    return fst.lax.scan(wide_step, c, None, length=N)[0].sum()


def loop_of_checkpoints(c):
    return fst.lax.scan(fst.checkpoint(wide_step), c, None, length=N)[0].sum()


def loop_of_loops(c):
    @fst.checkpoint
    def stretch(c, _):
        return fst.lax.scan(fst.checkpoint(wide_step), c, None, length=16)

    return fst.lax.scan(stretch, c, None, length=N // 16)[0].sum()


@pytest.mark.parametrize("compiled", [False, True])
def test_memory_of_long_loops(compiled):
    loops = [plain_loop, loop_of_checkpoints, loop_of_loops]
    gradients = [fst.grad(f) for f in loops]
    if compiled:  # in native code, the memory is planned
        gradients = [fst.jit(g) for g in gradients]
        used = [g.lower(START).cost_analysis()["arena size"] for g in gradients]
    else:
        used = [peak(g, START) for g in gradients]
    plain, each, roots = (n / BLOCK for n in used)
    assert plain > 4 * N, "several values of each step"
    assert N <= each < 1.2 * N, "the carry of each step"
    assert roots < 0.2 * N, "a carry of each stretch, and those of one stretch"
    first, *others = (np.asarray(g(START)) for g in gradients)
    for other in others:
        assert_close(other, first, derivative=True, factor=100)  # 2048 steps after each other


@pytest.mark.parametrize("compiled", [False, True])
def test_memory_of_deep_networks(compiled):
    depth, width, batch = 24, 32, 2048
    ws = [RNG.normal(size=(width, width)).astype(np.float32) / 6 for _ in range(depth)]
    x = RNG.normal(size=(batch, width)).astype(np.float32)

    def layer(x, w):
        h = fnp.tanh(x @ w)
        return fnp.sin(h) * fnp.cos(h) + x

    def network(layer):
        def loss(ws):
            h = x
            for w in ws:
                h = layer(h, w)
            return (h * h).mean()

        return loss

    def several(ws, x, size):
        block = fst.checkpoint(lambda x, ws: functools.reduce(layer, ws, x))
        for i in range(0, len(ws), size):
            x = block(x, tuple(ws[i : i + size]))
        return x

    fs = [
        network(layer),
        network(fst.checkpoint(layer)),
        lambda ws: (several(ws, x, 5) ** 2).mean(),
    ]
    gradients = [fst.grad(f) for f in fs]
    if compiled:
        gradients = [fst.jit(g) for g in gradients]
        held = [g.lower(ws).cost_analysis()["arena size"] for g in gradients]
    else:
        held = [peak(g, ws) for g in gradients]
    plain, each, some = (h / x.nbytes for h in held)
    assert plain > 4 * depth
    assert each < depth + 12
    assert some < plain / 2.5
    expected = gradients[0](ws)
    for g in gradients[1:]:
        assert_trees_close(g(ws), expected, factor=10)


# What is told


def test_origins_of_residuals(capsys):
    w = fnp.asarray(W)

    def f(params, x, *, scale):
        return fnp.sin(x @ params["v"] @ w) * scale

    fst.print_saved_residuals(f, {"v": V}, BATCH, scale=np.float32(2.0))
    got = capsys.readouterr().out.splitlines()
    line = f.__code__.co_firstlineno + 1
    assert got[:-2] == [
        "f32[3,3] from a constant",
        "f32[3,3] from the argument params['v']",
        "f32[5,3] from the argument x",
        "f32[] from the argument scale",
    ]
    assert got[-2].startswith("f32[5,3] output of sin from ")
    assert got[-1].startswith("f32[5,3] output of cos from ")
    assert all(origin.endswith(f"test_checkpoint.py:{line} (f)") for origin in got[-2:])


def test_origins_in_a_checkpoint_are_lines_of_the_function():
    f = fst.checkpoint(mlp(fnp), policy=policies.dots_saveable)
    kept = saved_residuals(f, PARAMS, BATCH)
    lines = [origin.rsplit(":", 1)[1] for _, origin in kept if "dot_general" in origin]
    first = mlp(fnp).__code__.co_firstlineno
    assert lines == [f"{first + 1} (f)", f"{first + 2} (f)"]


MISTAKES = {
    "no function": (
        lambda: fst.checkpoint(3),
        ArgumentError,
        "checkpoint: takes a function, got int",
    ),
    "no policy": (
        lambda: fst.checkpoint(fnp.sin, policy="dots"),
        ArgumentError,
        "checkpoint: policy: takes a function, got str",
    ),
    "no answer": (
        lambda: fst.grad(fst.checkpoint(fnp.sin, policy=lambda *a, **p: None))(1.0),
        ArgumentError,
        "checkpoint: a policy must return True or False, got None from <lambda>",
    ),
    "no answer of one of two": (
        lambda: fst.grad(
            fst.checkpoint(
                fnp.sin,
                policy=policies.save_from_both_policies(
                    policies.dots_saveable, lambda *a, **p: "yes"
                ),
            )
        )(1.0),
        ArgumentError,
        "checkpoint: a policy must return True or False, got 'yes' from <lambda>",
    ),
    "no second policy": (
        lambda: policies.save_from_both_policies(policies.dots_saveable, None),
        ArgumentError,
        "save_from_both_policies: takes a function, got NoneType",
    ),
    "no name": (
        lambda: policies.save_only_these_names(["a", "b"]),
        ArgumentError,
        r"save_only_these_names: names must be strings, got \['a', 'b'\]",
    ),
    "no name of a value": (
        lambda: fst.checkpoint_name(1.0, 2),
        ArgumentError,
        "checkpoint_name: the name must be a string, got 2",
    ),
    "no bool": (
        lambda: fst.checkpoint(fnp.sin, prevent_cse="no"),
        ArgumentError,
        "checkpoint: prevent_cse must be a bool or a tuple, got str",
    ),
    "no prefix": (
        lambda: fst.checkpoint(fnp.sin, prevent_cse=(True, True))(1.0),
        TreeError,
        "checkpoint: prevent_cse",
    ),
    "no position": (
        lambda: fst.checkpoint(fnp.sin, static_argnums=("x",)),
        ArgumentError,
        r"checkpoint: static_argnums must be ints, got \('x',\)",
    ),
    "no such argument": (
        lambda: fst.checkpoint(lambda x: x, static_argnums=2)(1.0),
        OptionError,
        r"checkpoint: static_argnums=\(2,\) names an argument that was not passed by position, "
        "got 1 positional argument",
    ),
    "no array": (
        lambda: fst.checkpoint(lambda x: x)("a"),
        ArgumentError,
        "checkpoint: arguments must be trees of arrays or scalars, got a leaf of type str",
    ),
    "no array returned": (
        lambda: fst.checkpoint(lambda x: "a")(1.0),
        ArgumentError,
        "checkpoint: the function must return trees of arrays or scalars, got a leaf of type str",
    ),
    "no function to look at": (
        lambda: fst.print_saved_residuals(3),
        ArgumentError,
        "saved_residuals: takes a function, got int",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake):
    call, error, text = MISTAKES[mistake]
    with pytest.raises(error, match=text):
        call()


def test_a_policy_that_cannot_be_hashed():
    @dataclass
    class Policy:
        size: int

        def __call__(self, primitive, *avals, **params):
            return avals[0].size < self.size

    with pytest.raises(ArgumentError, match="checkpoint: a policy must be hashable, got Policy"):
        fst.checkpoint(fnp.sin, policy=Policy(3))


def test_names_of_jax():
    from fstensor import ad_checkpoint

    assert fst.remat is fst.checkpoint
    assert ad_checkpoint.checkpoint_name is fst.checkpoint_name
    assert ad_checkpoint.print_saved_residuals is fst.print_saved_residuals
    assert ad_checkpoint.checkpoint_policies is fst.checkpoint_policies
    offloading = {"offload_dot_with_no_batch_dims", "save_and_offload_only_these_names"}
    assert set(vars(jax.checkpoint_policies)) - offloading == set(policies.__all__)
