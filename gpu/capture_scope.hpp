#pragma once

namespace baton {

/// Lets the calling thread make CUDA calls while another thread captures a graph in the global mode
/// (the default of engines' frameworks), and restores its mode at the end. Without it calls such as
/// cuEventQuery and cudaMalloc fail meanwhile, and break that capture.
class capture_scope {
public:
  capture_scope() noexcept;
  ~capture_scope();
  capture_scope(const capture_scope&) = delete;
  capture_scope& operator=(const capture_scope&) = delete;

private:
  int before_ = -1; ///< CUstreamCaptureMode; -1: none
};

} // namespace baton
