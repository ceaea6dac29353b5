# The part for GPUs: kernels, and how operators call them. nvcc compiles it into the library; for tests, the host's
# compiler compiles the same sources against the emulator.

set(cuda_kernels ${PROJECT_SOURCE_DIR}/custom_ops/kernels/cuda)
ivit_sources(IVIT_CUDA_SOURCES ${cuda_kernels}/*.cu ${cuda_kernels}/*.cc
             EXCEPT ${cuda_kernels}/runtime.cu ${cuda_kernels}/matmul_hopper.cu)
ivit_sources(IVIT_CUDA_OPERATORS ${ep}/cuda/*.cc ${ort}/cuda/*.cc
             EXCEPT ${ort}/cuda/cuda_custom_op.cc ${ort}/cuda/staged_custom_ops.cc)

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
  target_sources(ivit_ort PRIVATE custom_ops/ep/no_gpu.cc)
  message(STATUS "ivit: building for CPUs only (no CUDA compiler, or IVIT_CUDA=OFF)")
  return()
endif()

if(IVIT_CUDA_ARCHITECTURES STREQUAL "all")
  # Machine code for each generation since Turing. That of 8.0 runs on 8.6, 8.7 and 8.9 too, that of 10.0 on 10.3, that
  # of 12.0 on 12.1; for others, and those to come, there is the intermediate code of 8.0.
  set(CMAKE_CUDA_ARCHITECTURES "75-real;80;90a-real;100-real;120-real")
else()
  set(CMAKE_CUDA_ARCHITECTURES "${IVIT_CUDA_ARCHITECTURES}")
endif()
enable_language(CUDA)
message(STATUS "ivit: building for GPUs of architecture ${CMAKE_CUDA_ARCHITECTURES} with CUDA ${CMAKE_CUDA_COMPILER_VERSION}")

# Compiles a target's CUDA sources.
function(ivit_cuda_settings target)
  ivit_settings(${target})
  set_target_properties(${target} PROPERTIES CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON CUDA_VISIBILITY_PRESET hidden)
  # The arithmetic that all devices share is constexpr; machine code is kept compressed, to a third of its size.
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;--compress-mode=size>)
  target_include_directories(${target} PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
endfunction()

# Adds the GPU part to a library. The run-time is linked statically, so it loads on machines without CUDA.
function(ivit_add_cuda target)
  target_sources(${target} PRIVATE ${IVIT_CUDA_OBJECTS})
  target_include_directories(${target} PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  set_target_properties(${target} PROPERTIES CUDA_RUNTIME_LIBRARY Static LINKER_LANGUAGE CUDA CUDA_ARCHITECTURES OFF)
endfunction()

add_library(ivit_cuda_objects OBJECT ${IVIT_CUDA_SOURCES} ${cuda_kernels}/runtime.cu ${IVIT_CUDA_OPERATORS})
ivit_cuda_settings(ivit_cuda_objects)
set(IVIT_CUDA_OBJECTS $<TARGET_OBJECTS:ivit_cuda_objects>)

# Hopper's matrix products, of CUTLASS; they take most of the time of a build.
if("90a-real" IN_LIST CMAKE_CUDA_ARCHITECTURES)
  include(cmake/Cutlass.cmake)
  if(IVIT_CUTLASS_INCLUDE_DIR)
    add_library(ivit_hopper_objects OBJECT custom_ops/kernels/cuda/matmul_hopper.cu)
    ivit_cuda_settings(ivit_hopper_objects)
    set_target_properties(ivit_hopper_objects PROPERTIES CUDA_ARCHITECTURES 90a-real)
    target_include_directories(ivit_hopper_objects SYSTEM PRIVATE ${IVIT_CUTLASS_INCLUDE_DIR})
    # Without NDEBUG its checks are function calls inside the products, which serialise them.
    target_compile_definitions(ivit_hopper_objects PRIVATE NDEBUG)
    target_compile_definitions(ivit_cuda_objects PRIVATE IVIT_HOPPER)
    list(APPEND IVIT_CUDA_OBJECTS $<TARGET_OBJECTS:ivit_hopper_objects>)
  endif()
endif()

ivit_add_cuda(ivit_ort)
target_sources(ivit_ort PRIVATE custom_ops/ort/cuda/cuda_custom_op.cc)
target_compile_definitions(ivit_ort PRIVATE IVIT_CUDA)
if(IVIT_MANYLINUX)
  ivit_manylinux(ivit_ort dl rt)
endif()

if(IVIT_STAGED)
  # The GPU's kernels as operators of the CPU provider, a test library.
  ivit_library(ivit_cuda_staged custom_ops/ort/cuda/staged_custom_ops.cc)
  ivit_add_cuda(ivit_cuda_staged)
endif()
