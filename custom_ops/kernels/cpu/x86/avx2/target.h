// Compiles what follows for AVX2. Included after every other header and closed by target_end.h, so that no inline
// function of a header is compiled for a processor that may lack these instructions.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC diagnostic push
#pragma GCC target("avx2")
#endif
