#pragma once
// PINION_ASSERT states what our own code guarantees. It is on in debug, sanitizer and fuzz builds and
// ends the process with file and line; a release build does not evaluate it. Never use it on outside
// input: that is Result's work.

#include <cstdio>
#include <cstdlib>

#if !defined(NDEBUG) || defined(PINION_ASSERTS)
#define PINION_ASSERT(condition)                                                             \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      std::fprintf(stderr, "%s:%d: assertion failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                          \
    }                                                                                        \
  } while (false)
#else
#define PINION_ASSERT(condition) static_cast<void>(0)
#endif
