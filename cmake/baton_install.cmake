# Installs headers (the same tree, below include/baton), libraries and a CMake package.
include(CMakePackageConfigHelpers)

install(TARGETS baton baton_actors baton_sessions baton_transport baton_gpu baton_messages
        EXPORT batonTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES baton.hpp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/baton)
foreach(folder messages gpu transport actors)
  install(DIRECTORY ${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/baton FILES_MATCHING PATTERN "*.hpp"
          PATTERN "gpu/cuda" EXCLUDE)
endforeach()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/baton)
configure_package_config_file(cmake/batonConfig.cmake.in "${CMAKE_CURRENT_BINARY_DIR}/batonConfig.cmake"
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/batonConfigVersion.cmake"
                                 COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/batonConfig.cmake"
              "${CMAKE_CURRENT_BINARY_DIR}/batonConfigVersion.cmake"
              cmake/FindCAF.cmake
        DESTINATION ${package_dir})
install(EXPORT batonTargets NAMESPACE baton:: DESTINATION ${package_dir})
