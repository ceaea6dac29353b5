# Writes what the library contains that others wrote, a CycloneDX bill of materials, into the wheel (PEP 770:
# *.dist-info/sboms). THIRD_PARTY.md says the same for readers; a test compares the two, and both with the headers that
# were compiled. Nothing in it depends on when or where the library was built.

set(IVIT_SBOM ${CMAKE_BINARY_DIR}/ivit-onnx.cdx.json)
set(ivit_component_list "[]")
set(ivit_component_refs "[]")

# Appends `json` to the list in the variable `list`.
function(ivit_append list json)
  string(JSON length LENGTH "${${list}}")
  string(JSON result SET "${${list}}" ${length} "${json}")
  set(${list} "${result}" PARENT_SCOPE)
endfunction()

# `licence` is an SPDX identifier or expression, or the name of a licence that SPDX does not know, with its `url`.
macro(ivit_component name version purl licence url use)
  if("${url}" STREQUAL "")
    set(entry "{\"expression\": \"${licence}\"}")
  else()
    set(entry "{\"license\": {\"name\": \"${licence}\", \"url\": \"${url}\"}}")
  endif()
  ivit_append(ivit_component_list "{\"type\": \"library\", \"bom-ref\": \"${name}\", \"name\": \"${name}\",
    \"version\": \"${version}\", \"purl\": \"${purl}\", \"licenses\": [${entry}], \"description\": \"${use}\"}")
  ivit_append(ivit_component_refs "\"${name}\"")
endmacro()

# The value of a macro in a header.
function(ivit_read_macro header name result)
  file(STRINGS ${header} line REGEX "^#define ${name} +[0-9]+" LIMIT_COUNT 1)
  string(REGEX MATCH "[0-9]+" value "${line}")
  set(${result} "${value}" PARENT_SCOPE)
endfunction()

ivit_read_macro(${ONNXRUNTIME_INCLUDE_DIR}/onnxruntime_c_api.h ORT_API_VERSION api)
ivit_component(onnxruntime "1.${api}" "pkg:generic/onnxruntime@1.${api}" "MIT" ""
               "C headers, compiled in; the library of ONNX Runtime is not part of the wheel")

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(use "C++ headers, compiled in")
  if(IVIT_MANYLINUX)
    set(use "C++ headers, compiled in, and libstdc++, linked statically")
  endif()
  ivit_component(gcc-libstdc++ "${CMAKE_CXX_COMPILER_VERSION}"
                 "pkg:generic/gcc@${CMAKE_CXX_COMPILER_VERSION}#libstdc++-v3"
                 "GPL-3.0-or-later WITH GCC-exception-3.1" "" "${use}")
endif()

if(CMAKE_CUDA_COMPILER)
  set(eula "https://docs.nvidia.com/cuda/eula/index.html")
  string(REGEX MATCH "^[0-9]+\\.[0-9]+" toolkit "${CMAKE_CUDA_COMPILER_VERSION}")
  ivit_component(cuda-runtime "${toolkit}" "pkg:generic/nvidia-cuda-runtime@${toolkit}"
                 "NVIDIA CUDA Toolkit EULA" "${eula}" "CUDA headers, compiled in, and cudart, linked statically")
  if(IVIT_CUTLASS_INCLUDE_DIR)
    foreach(part MAJOR MINOR PATCH)
      ivit_read_macro(${IVIT_CUTLASS_INCLUDE_DIR}/cutlass/version.h CUTLASS_${part} ${part})
    endforeach()
    ivit_component(cutlass "${MAJOR}.${MINOR}.${PATCH}" "pkg:github/nvidia/cutlass@v${MAJOR}.${MINOR}.${PATCH}"
                   "BSD-3-Clause" "" "C++ headers, compiled in")
    ivit_component(cccl "CUDA ${toolkit}" "pkg:generic/nvidia-cuda-cccl@${toolkit}"
                   "Apache-2.0 WITH LLVM-exception" "" "C++ headers of libcu++, which CUTLASS includes, compiled in")
  endif()
endif()

if(DEFINED SKBUILD_PROJECT_VERSION_FULL)
  set(version ${SKBUILD_PROJECT_VERSION_FULL})
else()
  set(version ${IVIT_VERSION})
endif()
file(
  CONFIGURE OUTPUT ${IVIT_SBOM}
  CONTENT [[{
  "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
  "bomFormat": "CycloneDX",
  "specVersion": "1.6",
  "version": 1,
  "metadata": {
    "component": {
      "type": "library",
      "bom-ref": "ivit-onnx",
      "name": "ivit-onnx",
      "version": "@version@",
      "purl": "pkg:pypi/ivit-onnx@@version@",
      "licenses": [{"expression": "Apache-2.0"}]
    }
  },
  "components": @ivit_component_list@,
  "dependencies": [{"ref": "ivit-onnx", "dependsOn": @ivit_component_refs@}]
}
]] @ONLY)
if(SKBUILD_METADATA_DIR)
  install(FILES ${IVIT_SBOM} DESTINATION ${SKBUILD_METADATA_DIR}/sboms)
endif()
