# CUDA, where there is some. Defines BATON_WITH_CUDA, and with it baton_cuda_object.
# The language CUDA of CMake is not enabled: it would have to be enabled as well by all who use the installed
# library, and it compiles test programs first.
set(BATON_CUDA AUTO CACHE STRING "Build with CUDA: AUTO (if an nvcc is found), ON or OFF.")
set(BATON_CUDA_ARCHITECTURES "80;90;100" CACHE STRING "GPU architectures to compile for; the last one also as PTX.")
set_property(CACHE BATON_CUDA PROPERTY STRINGS AUTO ON OFF)
set(baton_cuda_home "${PROJECT_SOURCE_DIR}/build/deps/cuda-13.0")

set(BATON_WITH_CUDA OFF)
if(NOT BATON_CUDA STREQUAL "OFF")
  # An own toolkit comes first: CUDAToolkit_ROOT, PATH, /usr/local/cuda; then the one that cmake/setup --cuda unpacked.
  find_package(CUDAToolkit 12.8 QUIET)
  if(NOT CUDAToolkit_FOUND AND EXISTS "${baton_cuda_home}/bin/nvcc")
    unset(CUDAToolkit_NVCC_EXECUTABLE CACHE)
    unset(CUDAToolkit_BIN_DIR CACHE)
    set(CUDAToolkit_ROOT "${baton_cuda_home}")
    find_package(CUDAToolkit 12.8 QUIET)
  endif()
  if(CUDAToolkit_FOUND AND CUDAToolkit_NVCC_EXECUTABLE AND TARGET CUDA::cudart_static)
    set(BATON_WITH_CUDA ON)
    message(STATUS "CUDA ${CUDAToolkit_VERSION}: ${CUDAToolkit_NVCC_EXECUTABLE}")
  elseif(BATON_CUDA STREQUAL "ON")
    message(FATAL_ERROR "BATON_CUDA is ON, but no CUDA 12.8 or later was found: "
                        "run cmake/setup --cuda, or pass -DCUDAToolkit_ROOT=<prefix>.")
  else()
    message(STATUS "CUDA: none found, so GPU memory is not supported (cmake/setup --cuda brings a compiler)")
  endif()
endif()

# baton_cuda_object(OUT source.cu): compiles kernels, and sets OUT to the object file.
function(baton_cuda_object out source)
  set(object "${CMAKE_CURRENT_BINARY_DIR}/${source}.o")
  set(flags -std=c++20 -O3 -I "${PROJECT_SOURCE_DIR}" -Xcompiler=-fPIC,-Wall,-Wextra)
  if(BATON_WARNINGS_AS_ERRORS)
    list(APPEND flags -Werror=all-warnings)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND flags "-ccbin=${CMAKE_CXX_COMPILER}")
  endif()
  foreach(arch IN LISTS BATON_CUDA_ARCHITECTURES)
    list(APPEND flags "-gencode=arch=compute_${arch},code=sm_${arch}")
  endforeach()
  list(GET BATON_CUDA_ARCHITECTURES -1 newest)
  list(APPEND flags "-gencode=arch=compute_${newest},code=compute_${newest}")
  get_filename_component(folder "${object}" DIRECTORY)
  file(MAKE_DIRECTORY "${folder}")
  add_custom_command(
    OUTPUT "${object}"
    COMMAND "${CUDAToolkit_NVCC_EXECUTABLE}" ${flags} -MD -MF "${object}.d" -c "${CMAKE_CURRENT_SOURCE_DIR}/${source}"
            -o "${object}"
    DEPENDS "${source}"
    DEPFILE "${object}.d"
    COMMENT "Compiling kernels of ${source}"
    VERBATIM)
  set(${out} "${object}" PARENT_SCOPE)
endfunction()
