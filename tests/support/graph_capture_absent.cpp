// In place of graph_capture.cpp, in builds without CUDA.
#include "tests/support/graph_capture.hpp"

namespace baton::test {

struct graph_capture::impl {};

graph_capture::graph_capture(int /*device*/) {
}

graph_capture::~graph_capture() = default;

bool graph_capture::end() {
  return false;
}

} // namespace baton::test
