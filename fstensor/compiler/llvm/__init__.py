"""The target for CPUs: kernels as LLVM IR, compiled in memory."""
