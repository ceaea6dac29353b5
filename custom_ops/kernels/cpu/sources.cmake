# The CPU kernels: what all instruction sets share, and the variants of this processor. Included with `ivit_objects`.

target_sources(
  ivit_objects
  PRIVATE ${CMAKE_CURRENT_LIST_DIR}/add_requantize.cc
          ${CMAKE_CURRENT_LIST_DIR}/gelu_table.cc
          ${CMAKE_CURRENT_LIST_DIR}/int_attention.cc
          ${CMAKE_CURRENT_LIST_DIR}/int_layer_norm.cc
          ${CMAKE_CURRENT_LIST_DIR}/int_linear.cc
          ${CMAKE_CURRENT_LIST_DIR}/int_mlp.cc
          ${CMAKE_CURRENT_LIST_DIR}/int_patch_embed.cc
          ${CMAKE_CURRENT_LIST_DIR}/int_patch_embed_norm.cc
          ${CMAKE_CURRENT_LIST_DIR}/int_patch_merge.cc
          ${CMAKE_CURRENT_LIST_DIR}/int_token_mean.cc
          ${CMAKE_CURRENT_LIST_DIR}/int_window_attention.cc
          ${CMAKE_CURRENT_LIST_DIR}/matmul.cc
          ${CMAKE_CURRENT_LIST_DIR}/parallel.cc
          ${CMAKE_CURRENT_LIST_DIR}/processors.cc
          ${CMAKE_CURRENT_LIST_DIR}/quantize_image.cc
          ${CMAKE_CURRENT_LIST_DIR}/relative_position_bias.cc
          ${CMAKE_CURRENT_LIST_DIR}/shift_gelu.cc
          ${CMAKE_CURRENT_LIST_DIR}/softmax.cc
          ${CMAKE_CURRENT_LIST_DIR}/table_gelu.cc
          ${CMAKE_CURRENT_LIST_DIR}/variant.cc)

# Adds the rows (constants of type Variant, fastest first) that the sources beside the calling file define. Calls stand
# in the order of speed.
function(ivit_cpu_variants)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "ROWS;SOURCES")
  list(TRANSFORM arg_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
  target_sources(ivit_objects PRIVATE ${arg_SOURCES})
  set_property(TARGET ivit_objects APPEND PROPERTY IVIT_CPU_VARIANTS ${arg_ROWS})
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
