# The CPU kernels: what all instruction sets share, and the variants of this processor. Included with `ivit_objects`.

ivit_sources(kernels ${CMAKE_CURRENT_LIST_DIR}/*.cc)
target_sources(ivit_objects PRIVATE ${kernels})

# Adds the sources beside the calling file, and the rows (constants of type Variant, fastest first) that they define.
# Calls stand in the order of speed.
function(ivit_cpu_variants)
  ivit_sources(kernels ${CMAKE_CURRENT_LIST_DIR}/*.cc)
  target_sources(ivit_objects PRIVATE ${kernels})
  set_property(TARGET ivit_objects APPEND PROPERTY IVIT_CPU_VARIANTS ${ARGN})
endfunction()

# Variants are compiled for every processor of a kind and chosen when the library runs.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  include(${CMAKE_CURRENT_LIST_DIR}/x86/avx512vnni/sources.cmake)
  include(${CMAKE_CURRENT_LIST_DIR}/x86/avx2/sources.cmake)
endif()
include(${CMAKE_CURRENT_LIST_DIR}/generic/sources.cmake)

# The list that variant.cc includes.
get_target_property(rows ivit_objects IVIT_CPU_VARIANTS)
list(TRANSFORM rows REPLACE "(.+)" "IVIT_VARIANT(\\1)\n")
string(JOIN "" rows ${rows})
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/cpu_variants.inc CONTENT "${rows}" @ONLY)
target_include_directories(ivit_objects PRIVATE ${PROJECT_BINARY_DIR}/generated)
