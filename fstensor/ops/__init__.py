"""Every primitive with all of its rules, and beside each the function that applies it.

The modules are loaded in the order below. Each imports names from those before it, and reaches
those after it through this package (`ops.reduce.reduce_sum`), inside rules only.
"""

# isort: off
from fstensor.ops import families as families
from fstensor.ops import elementwise as elementwise
from fstensor.ops import rounding as rounding
from fstensor.ops import division as division
from fstensor.ops import transcendental as transcendental
from fstensor.ops import doubled as doubled
from fstensor.ops import element as element
from fstensor.ops import special as special
from fstensor.ops import polygamma as polygamma
from fstensor.ops import gamma as gamma
from fstensor.ops import beta as beta
from fstensor.ops import bessel as bessel
from fstensor.ops import expint as expint
from fstensor.ops import xlogy as xlogy
from fstensor.ops import dilogarithm as dilogarithm
from fstensor.ops import shape as shape
from fstensor.ops import convert as convert
from fstensor.ops import logical as logical
from fstensor.ops import mulhi as mulhi
from fstensor.ops import barrier as barrier
from fstensor.ops import reduce as reduce
from fstensor.ops import bounds as bounds
from fstensor.ops import index as index
from fstensor.ops import arrange as arrange
from fstensor.ops import gather as gather
from fstensor.ops import scatter as scatter
from fstensor.ops import sort as sort
from fstensor.ops import random_bits as random_bits
from fstensor.ops import precision as precision
from fstensor.ops import dot as dot
from fstensor.ops import cumulative as cumulative
from fstensor.ops import im2col as im2col
from fstensor.ops import conv as conv
from fstensor.ops import patches as patches
from fstensor.ops import window as window
from fstensor.ops import fft as fft
from fstensor.ops import linalg as linalg
from fstensor.ops import decompositions as decompositions
from fstensor.ops import lu as lu
from fstensor.ops import tridiagonal as tridiagonal
from fstensor.ops import expm as expm
from fstensor.ops import pinv as pinv
from fstensor.ops import sqrtm as sqrtm
from fstensor.ops import collectives as collectives
from fstensor.ops import exchange as exchange
# isort: on
