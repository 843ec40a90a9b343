#pragma once
// What must be inlined: bodies that are built once for each kind of CPU, and the arithmetic in them.

#define PINION_INLINE __attribute__((always_inline)) inline
