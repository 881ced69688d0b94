// In place of gpu_poison.cpp, in builds without CUDA.
#include "tests/support/gpu_poison.hpp"

namespace baton::test {

expected<> launch_poison(gpu_poison /*how*/, std::chrono::milliseconds /*delay*/, int /*device*/,
                         gpu_stream_ref /*stream*/) {
  return fail(errc::gpu_failed, "built without CUDA");
}

} // namespace baton::test
