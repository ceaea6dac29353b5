// glibc 2.32 has this variable, with which the C++ run-time library leaves out atomic instructions while there is one
// thread. A library that is to load with older versions has its own, which says that there may be more.
extern "C" {
__attribute__((visibility("hidden"))) char __libc_single_threaded = 0;
}
