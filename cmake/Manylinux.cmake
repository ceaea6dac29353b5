# Lets a library that is linked here load on older distributions (option IVIT_MANYLINUX, for wheels that are given away).
# The C++ run-time library is linked statically. Of the C library, glibc 2.34 moved the functions of libpthread, libdl and
# librt into libc and gave them new versions; the linker would ask for those. It is shown stand-ins of the three libraries
# instead, which carry the versions of before. Every glibc has both, and the three names, to this day.

set(ivit_old_pthread
    __pthread_key_create
    pthread_condattr_setpshared
    pthread_create
    pthread_detach
    pthread_getspecific
    pthread_join
    pthread_key_create
    pthread_key_delete
    pthread_kill
    pthread_mutex_trylock
    pthread_mutexattr_destroy
    pthread_mutexattr_init
    pthread_mutexattr_setpshared
    pthread_mutexattr_settype
    pthread_once
    pthread_rwlock_destroy
    pthread_rwlock_init
    pthread_rwlock_rdlock
    pthread_rwlock_timedrdlock
    pthread_rwlock_timedwrlock
    pthread_rwlock_tryrdlock
    pthread_rwlock_trywrlock
    pthread_rwlock_unlock
    pthread_rwlock_wrlock
    pthread_rwlockattr_destroy
    pthread_rwlockattr_init
    pthread_rwlockattr_setpshared
    pthread_setspecific
    pthread_spin_destroy
    pthread_spin_init
    pthread_spin_lock
    pthread_spin_trylock
    pthread_spin_unlock
    sem_destroy
    sem_init
    sem_post
    sem_timedwait
    sem_trywait
    sem_wait)
set(ivit_old_dl dlclose dlerror dlmopen dlopen dlsym dlvsym)
set(ivit_old_rt shm_open shm_unlink)
set(ivit_soname_pthread libpthread.so.0)
set(ivit_soname_dl libdl.so.2)
set(ivit_soname_rt librt.so.1)

# The first version that glibc had on a processor; the functions above are that old, with one exception.
set(ivit_first_glibc_x86_64 GLIBC_2.2.5)
set(ivit_first_glibc_aarch64 GLIBC_2.17)
set(ivit_version_x86_64_dlmopen GLIBC_2.3.4)

# Makes the stand-in of one library, the target ivit_old_${name}.
function(ivit_stand_in name)
  set(functions "")
  set(first "")
  set(later "")
  foreach(symbol ${ivit_old_${name}})
    string(APPEND functions "void ${symbol}(void) {}\n")
    set(version ${ivit_version_${CMAKE_SYSTEM_PROCESSOR}_${symbol}})
    if(version)
      string(APPEND later "${version} { global: ${symbol}; };\n")
    else()
      string(APPEND first "${symbol}; ")
    endif()
  endforeach()
  set(first_glibc ${ivit_first_glibc_${CMAKE_SYSTEM_PROCESSOR}})
  set(folder ${CMAKE_BINARY_DIR}/manylinux)
  file(CONFIGURE OUTPUT ${folder}/${name}.cc CONTENT "extern \"C\" {\n@functions@}\n" @ONLY)
  file(CONFIGURE OUTPUT ${folder}/${name}.map CONTENT "@first_glibc@ { global: @first@local: *; };\n@later@" @ONLY)
  add_library(ivit_old_${name} MODULE ${folder}/${name}.cc)
  set_target_properties(ivit_old_${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${folder})
  target_link_options(ivit_old_${name} PRIVATE -nostdlib -Wl,-soname,${ivit_soname_${name}}
                      -Wl,--version-script=${folder}/${name}.map)
endfunction()

if(NOT DEFINED ivit_first_glibc_${CMAKE_SYSTEM_PROCESSOR})
  message(FATAL_ERROR "ivit: IVIT_MANYLINUX is for x86_64 and aarch64, found ${CMAKE_SYSTEM_PROCESSOR}")
endif()
foreach(name pthread dl rt)
  ivit_stand_in(${name})
endforeach()

# Links a library so. What it does not use of the C++ run-time library is left out: some of it is only in new glibc.
function(ivit_manylinux target)
  target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/cmake/single_threaded.cc)
  target_link_options(${target} PRIVATE -static-libstdc++ -Wl,--gc-sections)
  foreach(name ${ARGN})
    add_dependencies(${target} ivit_old_${name})
    target_link_libraries(${target} PRIVATE -Wl,--push-state,--no-as-needed,$<TARGET_FILE:ivit_old_${name}>,--pop-state)
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS $<TARGET_FILE:ivit_old_${name}>)
  endforeach()
endfunction()
