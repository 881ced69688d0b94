# The layouts of a scenario, for the runner and for the tests; included by both.
include_guard(GLOBAL)
baton_library(baton_handoff_layouts
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/layouts.cpp
  LINK baton_messages)
