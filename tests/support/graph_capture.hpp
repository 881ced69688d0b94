#pragma once

#include <memory>

namespace baton::test {

/// A thread that captures a CUDA graph, in the mode of which other threads take notice.
class graph_capture {
public:
  /// The capture has begun when this returns.
  explicit graph_capture(int device);
  graph_capture(graph_capture&&) = delete;
  graph_capture& operator=(graph_capture&&) = delete;
  ~graph_capture();

  /// Ends it. @returns whether nobody broke it.
  [[nodiscard]] bool end();

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

} // namespace baton::test
