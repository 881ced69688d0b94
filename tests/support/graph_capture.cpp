#include "tests/support/graph_capture.hpp"

#include <cuda_runtime_api.h>

#include <future>
#include <thread>

namespace baton::test {

struct graph_capture::impl {
  void run(int device) {
    cudaStream_t stream = nullptr;
    bool good = cudaSetDevice(device) == cudaSuccess &&
                cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess &&
                cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == cudaSuccess;
    begun.set_value();
    stop.get_future().wait();
    cudaGraph_t graph = nullptr;
    good = good && cudaStreamEndCapture(stream, &graph) == cudaSuccess && graph != nullptr;
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
    whole.set_value(good);
  }

  std::promise<void> begun;
  std::promise<void> stop;
  std::promise<bool> whole;
  std::jthread thread;
};

graph_capture::graph_capture(int device) : impl_{std::make_unique<impl>()} {
  impl_->thread = std::jthread{[this, device] { impl_->run(device); }};
  impl_->begun.get_future().wait();
}

graph_capture::~graph_capture() {
  if (impl_->thread.joinable())
    static_cast<void>(end());
}

bool graph_capture::end() {
  impl_->stop.set_value();
  const bool whole = impl_->whole.get_future().get();
  impl_->thread.join();
  return whole;
}

} // namespace baton::test
