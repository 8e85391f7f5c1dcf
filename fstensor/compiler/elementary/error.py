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

# e^(x^2) erfc(x) = p q(p x - 2) with p = 3 / (x + 3) for 0 <= x <= 10.1 and 27.6;
# relative errors 2^-25.8 and 2^-55.3.
_ERFC_SINGLE = (
    0.2783297,
    -0.12829985,
    0.051781163,
    -0.017841201,
    0.005014542,
    -0.0010366449,
    0.000100667334,
    9.454131e-06,
    -1.9017962e-05,
    -2.8262552e-06,
)
_ERFC_DOUBLE = (
    0.27832970340161506,
    -0.12829984080279763,
    0.051781203485325784,
    -0.017841365041010228,
    0.00501365096997847,
    -0.001036663787849835,
    0.00010571149130477233,
    1.9579155368386478e-05,
    -1.0062736063851374e-05,
    9.544855191027561e-07,
    4.687010266953703e-07,
    -1.411671995567635e-07,
    -1.5869999566131324e-08,
    1.3163297666655143e-08,
    9.412039350616144e-11,
    -1.2003660965622352e-09,
    7.609100367820807e-11,
    1.3523468545534588e-10,
    -9.12359135109017e-12,
    -2.3987228707618113e-11,
    -7.613546624345159e-12,
    -1.0862728925132634e-12,
    -6.238737891894645e-14,
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
    three = ops.like(3, x)
    total = ops.add(size, three)
    p = ops.div(three, total)
    # The rounding error of the sum changes p by a factor near one, which joins the exponential.
    lost = ops.add(ops.sub(three, total), size)

    h = head(ops, size)
    rest = ops.mul(ops.sub(h, size), ops.add(h, size))
    rest = ops.fma(ops.mul(lost, p), ops.like(-1 / 3, x), rest)
    e, s = exp_parts(ops, ops.neg(ops.mul(h, h)), rest)

    u = ops.fma(size, p, ops.like(-2, x))
    q = horner(ops, u, _ERFC_SINGLE if single else _ERFC_DOUBLE)
    # The last factor comes alone, so that a subnormal result is rounded once.
    y = ops.mul(ops.mul(ops.mul(p, q), ops.mul(e, s)), s)
    return ops.select(ops.lt(x, ops.like(0, x)), ops.sub(ops.like(2, x), y), y)
