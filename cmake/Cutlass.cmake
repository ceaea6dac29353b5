# Finds the headers of CUTLASS, of which the matrix products for Hopper are made, and sets IVIT_CUTLASS_INCLUDE_DIR. They
# are taken from the Python package nvidia-cutlass with pip, without its dependencies, and checked against its SHA-256.
# Without them the library is built all the same: Hopper then runs the kernels of the other architectures.

set(IVIT_CUTLASS_VERSION 4.2.0.0)
set(IVIT_CUTLASS_SHA256 f9599ada45c7bcb6bf53f7d3f0a7d154183e53451c01bfa59eecd37dd4a693f6)

set(IVIT_CUTLASS_INCLUDE_DIR "" CACHE PATH "Directory that holds cutlass/cutlass.h; empty to search and fetch it")
set(IVIT_CUTLASS_CACHE ${cache_default}/ivit-onnx/cutlass-${IVIT_CUTLASS_VERSION} CACHE PATH "Where CUTLASS is kept")

# Fills IVIT_CUTLASS_CACHE; sets `failure` to why it could not, or to "".
function(ivit_fetch_cutlass failure)
  set(folder ${CMAKE_BINARY_DIR}/cutlass)
  set(wheel ${folder}/nvidia_cutlass-${IVIT_CUTLASS_VERSION}-py3-none-any.whl)
  set(tried "")
  # The build environments that pip makes have a Python without pip.
  foreach(pip "python3;-m;pip" pip3 pip)
    execute_process(
      COMMAND ${CMAKE_COMMAND} -E env --unset=PYTHONPATH ${pip} download --quiet --no-deps --dest ${folder}
              nvidia-cutlass==${IVIT_CUTLASS_VERSION}
      RESULT_VARIABLE status
      OUTPUT_QUIET
      ERROR_VARIABLE errors)
    if(EXISTS ${wheel})
      break()
    endif()
    list(GET pip 0 program)
    string(STRIP "${errors}" errors)
    string(APPEND tried "\n  ${program}: ${errors}")
  endforeach()
  if(NOT EXISTS ${wheel})
    set(${failure} "pip did not bring nvidia-cutlass ${IVIT_CUTLASS_VERSION}:${tried}" PARENT_SCOPE)
    return()
  endif()
  file(SHA256 ${wheel} found)
  if(NOT found STREQUAL IVIT_CUTLASS_SHA256)
    file(REMOVE ${wheel})
    set(${failure} "${wheel}: expected SHA-256 ${IVIT_CUTLASS_SHA256}, found ${found}" PARENT_SCOPE)
    return()
  endif()
  file(ARCHIVE_EXTRACT INPUT ${wheel} DESTINATION ${folder} PATTERNS "cutlass_library/source/include/*" "*/licenses/*")
  file(COPY ${folder}/cutlass_library/source/include/ DESTINATION ${IVIT_CUTLASS_CACHE})
  set(${failure} "" PARENT_SCOPE)
endfunction()

function(ivit_find_cutlass)
  if(IVIT_CUTLASS_INCLUDE_DIR)
    if(NOT EXISTS ${IVIT_CUTLASS_INCLUDE_DIR}/cutlass/cutlass.h)
      message(FATAL_ERROR "ivit: -DIVIT_CUTLASS_INCLUDE_DIR: there is no cutlass/cutlass.h in ${IVIT_CUTLASS_INCLUDE_DIR}")
    endif()
    return()
  endif()
  set(problem "")
  if(NOT EXISTS ${IVIT_CUTLASS_CACHE}/cutlass/cutlass.h)
    set(problem "fetching is off (IVIT_FETCH_HEADERS)")
    if(IVIT_FETCH_HEADERS)
      message(STATUS "ivit: fetching CUTLASS ${IVIT_CUTLASS_VERSION}")
      ivit_fetch_cutlass(problem)
    endif()
  endif()
  if(problem)
    message(WARNING "ivit: no kernels for Hopper are built, because CUTLASS is missing: ${problem}")
  else()
    set(IVIT_CUTLASS_INCLUDE_DIR ${IVIT_CUTLASS_CACHE} PARENT_SCOPE)
  endif()
endfunction()

ivit_find_cutlass()
