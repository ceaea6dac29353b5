// A library for LD_PRELOAD in which the k-th allocation of one library fails: fail_allocation(k) starts counting calls
// of operator new and malloc that come from the library whose code is at `of`, fail_allocation(0) ends it and returns
// whether an allocation failed.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

static uintptr_t library;
static long countdown;
static int failed;

// The library that an address is in, by where it begins.
static uintptr_t base_of(void* address) {
  Dl_info info;
  return dladdr(address, &info) ? (uintptr_t)info.dli_fbase : 0;
}

int fail_allocation(long k, void* of) {
  const int result = failed;
  library = of ? base_of(of) : 0;
  failed = 0;
  __atomic_store_n(&countdown, k, __ATOMIC_SEQ_CST);
  return result;
}

static int fails(void* caller) {
  if (__atomic_load_n(&countdown, __ATOMIC_RELAXED) <= 0 || base_of(caller) != library) return 0;
  if (__atomic_sub_fetch(&countdown, 1, __ATOMIC_SEQ_CST) != 0) return 0;
  failed = 1;
  return 1;
}

// operator new(size_t), (size_t, nothrow), [] and those with an alignment, as the ABI names them. What throws is made
// by the C++ library when a size is asked for that no machine has.
#define IMPOSSIBLE ((size_t)PTRDIFF_MAX / 2)

void* _Znwm(size_t size) {
  static void* (*real)(size_t);
  if (!real) real = (void* (*)(size_t))dlsym(RTLD_NEXT, "_Znwm");
  return real(fails(__builtin_return_address(0)) ? IMPOSSIBLE : size);
}

void* _Znam(size_t size) {
  static void* (*real)(size_t);
  if (!real) real = (void* (*)(size_t))dlsym(RTLD_NEXT, "_Znam");
  return real(fails(__builtin_return_address(0)) ? IMPOSSIBLE : size);
}

void* _ZnwmSt11align_val_t(size_t size, size_t alignment) {
  static void* (*real)(size_t, size_t);
  if (!real) real = (void* (*)(size_t, size_t))dlsym(RTLD_NEXT, "_ZnwmSt11align_val_t");
  return real(fails(__builtin_return_address(0)) ? IMPOSSIBLE : size, alignment);
}
