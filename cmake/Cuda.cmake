# The part for GPUs: kernels, and how operators call them. nvcc compiles it into the library; for tests, the host's
# compiler compiles the same sources against the emulator.

set(IVIT_CUDA_SOURCES
    custom_ops/kernels/cuda/add_requantize.cu
    custom_ops/kernels/cuda/gelu_rows.cu
    custom_ops/kernels/cuda/gelu_tables.cc
    custom_ops/kernels/cuda/int_layer_norm.cu
    custom_ops/kernels/cuda/int_token_mean.cu
    custom_ops/kernels/cuda/matmul.cu
    custom_ops/kernels/cuda/matmul_mma.cu
    custom_ops/kernels/cuda/merge_rows.cu
    custom_ops/kernels/cuda/patches.cu
    custom_ops/kernels/cuda/quantize_image.cu
    custom_ops/kernels/cuda/requantize.cu
    custom_ops/kernels/cuda/shiftmax.cu
    custom_ops/kernels/cuda/tokens.cu)

set(IVIT_CUDA_OPERATORS
    custom_ops/ort/cuda/add_requantize.cc
    custom_ops/ort/cuda/int_layer_norm.cc
    custom_ops/ort/cuda/int_linear.cc
    custom_ops/ort/cuda/int_mlp.cc
    custom_ops/ort/cuda/int_patch_embed.cc
    custom_ops/ort/cuda/int_patch_embed_norm.cc
    custom_ops/ort/cuda/int_patch_merge.cc
    custom_ops/ort/cuda/int_token_mean.cc
    custom_ops/ort/cuda/quantize_image.cc
    custom_ops/ort/cuda/requantize.cc
    custom_ops/ort/cuda/shift_gelu.cc
    custom_ops/ort/cuda/shiftmax.cc
    custom_ops/ort/cuda/table.cc)

if(IVIT_EMULATOR)
  add_subdirectory(custom_ops/kernels/cuda/emulator)
endif()

set(cuda_found OFF)
if(NOT IVIT_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(cuda_found ON)
  elseif(NOT IVIT_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "IVIT_CUDA is ON, but there is no CUDA compiler: expected nvcc 12.8 or newer on PATH or in CUDACXX")
  endif()
endif()
if(NOT cuda_found)
  message(STATUS "ivit: building for CPUs only (no CUDA compiler, or IVIT_CUDA=OFF)")
  return()
endif()

if(IVIT_CUDA_ARCHITECTURES STREQUAL "all")
  # Machine code for each generation since Turing, and intermediate code for those to come.
  set(CMAKE_CUDA_ARCHITECTURES "75-real;80-real;86-real;89-real;90a-real;100-real;120")
else()
  set(CMAKE_CUDA_ARCHITECTURES "${IVIT_CUDA_ARCHITECTURES}")
endif()
enable_language(CUDA)
message(STATUS "ivit: building for GPUs of architecture ${CMAKE_CUDA_ARCHITECTURES} with CUDA ${CMAKE_CUDA_COMPILER_VERSION}")

add_library(ivit_cuda_objects OBJECT ${IVIT_CUDA_SOURCES} custom_ops/kernels/cuda/runtime.cu ${IVIT_CUDA_OPERATORS})
ivit_settings(ivit_cuda_objects)
set_target_properties(ivit_cuda_objects PROPERTIES CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON CUDA_VISIBILITY_PRESET hidden)
# The arithmetic that all devices share is constexpr.
target_compile_options(ivit_cuda_objects PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>)
target_include_directories(ivit_cuda_objects PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})

# The run-time is linked statically, so the library loads on machines without CUDA.
target_sources(ivit_ort PRIVATE $<TARGET_OBJECTS:ivit_cuda_objects> custom_ops/ort/cuda/cuda_custom_op.cc)
target_compile_definitions(ivit_ort PRIVATE IVIT_CUDA)
set_target_properties(ivit_ort PROPERTIES CUDA_RUNTIME_LIBRARY Static LINKER_LANGUAGE CUDA CUDA_ARCHITECTURES OFF)
target_include_directories(ivit_ort PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})

if(IVIT_STAGED)
  # The GPU's kernels as operators of the CPU provider, a test library.
  ivit_library(ivit_cuda_staged custom_ops/ort/cuda/staged_custom_ops.cc $<TARGET_OBJECTS:ivit_cuda_objects>)
  set_target_properties(ivit_cuda_staged PROPERTIES CUDA_RUNTIME_LIBRARY Static LINKER_LANGUAGE CUDA CUDA_ARCHITECTURES OFF)
  target_include_directories(ivit_cuda_staged PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
endif()
