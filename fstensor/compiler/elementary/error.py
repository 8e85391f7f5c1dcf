"""The error function and its complement."""

from __future__ import annotations

from fstensor.compiler.elementary.common import SINGLE, at_most, format_of, head, horner
from fstensor.compiler.elementary.exponential import exp_parts, expm1_inside
from fstensor.core.scalar import ScalarOps, V

# -log(erfc(x)) = x + x q(x) for 0 <= x <= 4 and 6, weighted by what its errors do to erf;
# relative errors of erf: 2^-27.8 and 2^-55.3.
_ERF_SINGLE = (
    0.12837917,
    0.63661957,
    0.102776304,
    -0.019147826,
    -0.00016948652,
    0.0016756443,
    -0.00063733617,
    0.0001188505,
    -9.386347e-06,
)
_ERF_DOUBLE = (
    0.12837916709551256,
    0.6366197723675898,
    0.10277260330135823,
    -0.019128446993832964,
    -0.00020919484672588825,
    0.0016962076254448378,
    -0.0005901322434634546,
    2.5903938282696414e-05,
    6.442172402308642e-05,
    -2.9577791193970232e-05,
    3.1724633308321975e-06,
    3.130079321388653e-06,
    -2.0348272526833592e-06,
    5.690893892782186e-07,
    -1.0901432066437717e-08,
    -6.607079978050961e-08,
    3.4697080990470455e-08,
    -1.080282359346047e-08,
    2.366535257241887e-09,
    -3.7700628070205775e-10,
    4.312440983309535e-11,
    -3.3727362275000418e-12,
    1.6189402441933643e-13,
    -3.60135750849523e-15,
)

# e^(x^2) erfc(x) = p(u) / (x + 3) with u = x / (x + 3) - 1/2 for 0 <= x <= 10.1 and 27.6; relative
# errors 2^-26.2 and 2^-52.8.
_ERFC_SINGLE = (
    1.0740069,
    -1.7667891,
    2.360911,
    -2.4837177,
    1.9125814,
    -0.85906214,
    -0.08051523,
    0.39410573,
    -0.11207143,
    -0.15299636,
)
_ERFC_DOUBLE = (
    1.0740069070883398,
    -1.766788906339767,
    2.3609134284163975,
    -2.483738095204593,
    1.9124441805989845,
    -0.8584715079777303,
    -0.07759466435996294,
    0.3883599358684404,
    -0.14036727072274657,
    -0.14171024834856863,
    0.1101426786987618,
    0.06225523704016945,
    -0.0715546608410927,
    -0.03890230123064666,
    0.045257156262808775,
    0.03269176500842599,
    -0.026392432099240127,
    -0.03028453018134454,
    0.010671600379628218,
    0.0248554767747738,
    0.0019816889608737544,
    -0.012552791767847555,
    -0.0058733461701141855,
)


def erf(ops: ScalarOps[V], x: V) -> V:
    """1 - e^-y of |x| with y = -log(erfc |x|), a smooth function that begins like 2 x / sqrt(pi).

    Errors of y count less the larger x is, so that a short polynomial serves, and no division.
    """
    single = format_of(ops, x) is SINGLE
    size = at_most(ops, ops.abs(x), 4.0 if single else 6.0)
    q = horner(ops, size, _ERF_SINGLE if single else _ERF_DOUBLE)
    return ops.copysign(expm1_inside(ops, ops.neg(ops.fma(size, q, size))), x)


def erfc(ops: ScalarOps[V], x: V) -> V:
    """The product of e^(-x^2) and e^(x^2) erfc |x|; for negative x, 2 less that.

    x^2 = h^2 + (x - h) (x + h) with the first bits h of x, whose square is exact. The second factor
    is a polynomial in x / (x + c), as in Shepherd and Laframboise, Chebyshev approximation of
    (1 + 2x) exp(x^2) erfc x, Mathematics of Computation 36 (1981).
    """
    single = format_of(ops, x) is SINGLE
    size = at_most(ops, ops.abs(x), 10.1 if single else 27.5)
    h = head(ops, size)
    rest = ops.mul(ops.sub(h, size), ops.add(h, size))
    p, s = exp_parts(ops, ops.neg(ops.mul(h, h)), rest)

    inverse = ops.div(ops.like(1, x), ops.add(size, ops.like(3, x)))
    u = ops.fma(size, inverse, ops.like(-0.5, x))
    q = horner(ops, u, _ERFC_SINGLE if single else _ERFC_DOUBLE)
    # The last factor comes alone, so that a subnormal result is rounded once.
    y = ops.mul(ops.mul(ops.mul(q, inverse), ops.mul(p, s)), s)
    return ops.select(ops.lt(x, ops.like(0, x)), ops.sub(ops.like(2, x), y), y)
