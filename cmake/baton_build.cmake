# How baton's own targets are compiled.
if(NOT CMAKE_BUILD_TYPE AND PROJECT_IS_TOP_LEVEL)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Without this sloppiness ccache leaves everything alone that uses a precompiled header. Several clones of the
  # repository share their objects.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      "${CMAKE_COMMAND}" -E env CCACHE_SLOPPINESS=pch_defines,time_macros CCACHE_NOHASHDIR=1
      "CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}" "${CCACHE_PROGRAM}")
  add_compile_options(-fpch-preprocess)
endif()
find_program(MOLD_PROGRAM mold)
# Not under TSan: mold also links members of our archives that define what only a shared library needs (templates of
# std::string), and with them UCX, which does not start there.
if(MOLD_PROGRAM AND NOT BATON_SANITIZE MATCHES "thread")
  add_link_options(-fuse-ld=mold)
endif()

if(BATON_SANITIZE)
  add_compile_options(-fsanitize=${BATON_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${BATON_SANITIZE})
  if(BATON_SANITIZE MATCHES "undefined")
    # ASan finds bad pointers as well, and without these checks actors and JSON compile in a third of the time.
    add_compile_options(-fno-sanitize=vptr,null,object-size)
  endif()
  if(BATON_SANITIZE MATCHES "thread")
    # UCX does not start under TSan; programs that do not call it must not load it.
    add_link_options(-Wl,--as-needed)
  endif()
endif()

add_library(baton_warnings INTERFACE)
target_compile_options(baton_warnings INTERFACE -Wall -Wextra -Wconversion)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14)
  # These follow inlined code, and see ghosts in std::string and tl::expected of these versions.
  target_compile_options(baton_warnings INTERFACE -Wno-maybe-uninitialized -Wno-restrict -Wno-array-bounds
                         -Wno-stringop-overflow)
endif()
if(BATON_WARNINGS_AS_ERRORS)
  target_compile_options(baton_warnings INTERFACE -Werror)
endif()
if(CMAKE_UNITY_BUILD)
  # Then most sources are not the main file of what is compiled, whose own types GCC would leave alone.
  target_compile_options(baton_warnings INTERFACE -Wno-subobject-linkage)
endif()
if(BATON_SANITIZE MATCHES "thread")
  # GCC does not model fences under TSan; the orders that matter have tests of their own.
  target_compile_options(baton_warnings INTERFACE -Wno-tsan)
endif()

# baton_library(NAME SOURCES... LINK ...): one folder of the library.
function(baton_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK;PRIVATE_LINK" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_include_directories(${name} PUBLIC
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>"
    "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/baton>")
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_link_libraries(${name} PUBLIC ${arg_LINK} PRIVATE ${arg_PRIVATE_LINK} $<BUILD_INTERFACE:baton_warnings>)
  target_precompile_headers(${name} PRIVATE <algorithm> <chrono> <functional> <map> <memory> <mutex> <string>
                            <unordered_map> <variant> <vector> <fmt/format.h> <tl/expected.hpp>)
endfunction()
