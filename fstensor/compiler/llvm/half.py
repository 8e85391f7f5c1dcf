"""Conversions of float16 for processors without instructions for them: x86 before 2012.

LLVM then calls these functions, by the names that compilers' libraries have for them.
"""

from __future__ import annotations

# To float32: the magnitude, moved to where a float32 has its digits, is too small by the difference
# of the exponents' biases, 2^(127 - 15); the product is exact, also for the smallest ones.
# From float32, to the nearest, of two to the even one. Below the least normal number 2^-14, adding
# 1/2 rounds to multiples of 2^-24, as wanted, and leaves them in the lowest digits of the sum.
CONVERSIONS = """
define float @fst_extend_half(half %x) nounwind {
  %h = bitcast half %x to i16
  %wide = zext i16 %h to i32
  %magnitude = and i32 %wide, 32767
  %digits = shl i32 %magnitude, 13
  %small = bitcast i32 %digits to float
  %scaled = fmul float %small, 0x46F0000000000000
  %finite = bitcast float %scaled to i32
  %special = or i32 %digits, 2139095040
  %is_special = icmp uge i32 %magnitude, 31744
  %size = select i1 %is_special, i32 %special, i32 %finite
  %above = and i32 %wide, 32768
  %sign = shl i32 %above, 16
  %bits = or i32 %size, %sign
  %y = bitcast i32 %bits to float
  ret float %y
}

define half @fst_truncate_half(float %x) nounwind {
  %bits = bitcast float %x to i32
  %size = and i32 %bits, 2147483647
  %moved = lshr i32 %size, 13
  %odd = and i32 %moved, 1
  %based = sub i32 %size, 939524096
  %more = add i32 %odd, 4095
  %sum = add i32 %based, %more
  %normal = lshr i32 %sum, 13
  %value = bitcast i32 %size to float
  %with_half = fadd float %value, 0.5
  %digits = bitcast float %with_half to i32
  %tiny = sub i32 %digits, 1056964608
  %is_tiny = icmp ult i32 %size, 947912704
  %finite = select i1 %is_tiny, i32 %tiny, i32 %normal
  %is_large = icmp uge i32 %size, 1199566848
  %bounded = select i1 %is_large, i32 31744, i32 %finite
  %payload = and i32 %moved, 1023
  %nan = or i32 %payload, 32256
  %is_nan = icmp ugt i32 %size, 2139095040
  %magnitude = select i1 %is_nan, i32 %nan, i32 %bounded
  %above = lshr i32 %bits, 16
  %sign = and i32 %above, 32768
  %all = or i32 %magnitude, %sign
  %narrow = trunc i32 %all to i16
  %y = bitcast i16 %narrow to half
  ret half %y
}
"""

# By the names that LLVM calls.
PROVIDED = {"__extendhfsf2": "fst_extend_half", "__truncsfhf2": "fst_truncate_half"}
