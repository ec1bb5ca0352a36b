"""Compiled kernels: SIMD values, the register tile, activations, cells, the recurrence and the gradient products."""
