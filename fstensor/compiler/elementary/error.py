"""The error function and its complement."""

from __future__ import annotations

from fstensor.compiler.elementary.common import SINGLE, at_most, format_of, horner
from fstensor.compiler.elementary.exponential import expm1_inside
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


def erf(ops: ScalarOps[V], x: V) -> V:
    """erf |x| = 1 - e^-y with y = -log(erfc |x|), a smooth function that begins like 2 x / sqrt(pi).

    Errors of y count less the larger x is, so that a short polynomial serves, and no division.
    """
    single = format_of(ops, x) is SINGLE
    size = at_most(ops, ops.abs(x), 4.0 if single else 6.0)
    q = horner(ops, size, _ERF_SINGLE if single else _ERF_DOUBLE)
    return ops.copysign(expm1_inside(ops, ops.neg(ops.fma(size, q, size))), x)
