"""Every primitive has every rule, or stands here with the reason why not."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest

import fstensor  # noqa: F401  # registers every primitive
from fstensor.core.primitive import Primitive, finished, primitive, registry
from fstensor.ops import families

# What a family's rule calls in its subclasses: the rule is whole only when one of them is written.
HOOKS = {"jvp": ("tangent", "derive", "derive_x", "derive_y")}


def words(text: str) -> list[str]:
    return text.split()


NOT_LINEAR = words("""
    abs acos acosh adjugate and argmax argmin asin asinh atan atan2 atanh bessel_i0 bessel_i0e
    bessel_i1 bessel_i1e cbrt ceil cholesky clamp clz cos cosh cumlogsumexp cummax cummin cumprod
    det digamma eig eigh eq erf erf_inv erfc erfcx exp exp2 expi expm expm1 expn floor floor_divide
    gamma ge gt igamma igamma_grad_a igammac integer_pow is_finite le lgamma log log1p log_ndtr
    logistic lt lu lu_pivots_to_permutation max min mulhi ndtr ndtri ne nextafter not or pinv pmax
    pmin polygamma population_count pow qr random_gamma_grad reduce_and reduce_max reduce_min
    reduce_or reduce_prod reduce_window_max reduce_window_min reduce_xor regularized_incomplete_beta
    rem remainder round rsqrt scatter-max scatter-min shift_left shift_right_arithmetic
    shift_right_logical sign sin sinh slogdet sort spence sqrt sqrtm square svd tan tanh top_k
    xlog1py xlogy xor zeta
""")

LACKING = {
    "jvp": {
        "has no operands": ["axis_index", "iota"],
        "operands are bools and integers, which have no tangents": words(
            "check_index reduce_and reduce_or reduce_xor"
        ),
        "steps to the neighboring number, which is no function of the reals": ["nextafter"],
    },
    "batch": {"has no operands, so nothing is batched": ["iota"]},
    "transpose": {
        "not linear": NOT_LINEAR,
        "its reverse mode goes through the scan that partial_eval makes": ["while"],
        "its tangent is zero by structure, so it is never part of a linear program": words(
            "bitcast_convert_type check_index random_bits random_fold_in random_seed random_split "
            "random_unwrap random_wrap stop_gradient"
        ),
        "calls the user's function, of which nothing is known": words(
            "debug_callback io_callback pure_callback"
        ),
        "has no operands": ["axis_index", "iota"],
    },
}


def own(cls: type, rule: str) -> bool:
    """Whether `cls` gets the rule from a class below Primitive, with its hooks filled in."""
    if getattr(cls, rule) is getattr(Primitive, rule):
        return False
    hooks = HOOKS.get(rule, ())
    family = next(
        (f for f in (families.Unary, families.Binary, families.Elementwise) if issubclass(cls, f)),
        None,
    )
    if family is None or getattr(cls, rule) is not families.Elementwise.jvp:
        return True
    return any(getattr(cls, h, None) is not getattr(family, h, None) for h in hooks)


@pytest.mark.parametrize("rule", LACKING)
def test_rules_are_complete(rule):
    listed = [name for names in LACKING[rule].values() for name in names]
    assert len(listed) == len(set(listed)), "one reason each"
    missing = {name for name, cls in registry.items() if not own(cls, rule)}
    assert missing - set(listed) == set(), f"no {rule} rule and no reason in this file"
    assert set(listed) - missing == set(), f"has a {rule} rule by now"


@pytest.mark.parametrize("name", registry)
def test_primitives_are_final_and_frozen(name):
    cls = finished(registry[name])
    assert cls.name == name
    assert getattr(cls, "__final__", False), "marked @final"
    with pytest.raises(dataclasses.FrozenInstanceError, match=f"{name}: cannot change 'name'"):
        object.__new__(cls).name = "another"
    assert cls.__doc__
    assert not cls.__doc__.startswith(f"{cls.__name__}("), "a docstring of its own"


def test_first_instances_may_be_made_by_several_threads():
    """Methods of a class are written with its first instance; nobody meets a class without some."""

    entered = dict(registry)
    try:
        for n in range(50):
            body = {"__annotations__": {"size": int}, "abstract": None, "impl": None}
            cls = primitive(f"sized{n}")(type(f"Sized{n}", (Primitive,), body))
            with ThreadPoolExecutor(4) as pool:
                made = list(pool.map(cls, [3] * 4, timeout=60))
            assert len({hash(one) for one in made}) == 1
            assert all(one == made[0] for one in made)
            assert made[0].params == {"size": 3}
    finally:
        registry.clear()
        registry.update(entered)
