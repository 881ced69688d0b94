// In place of expandable_segment.cpp, in builds without CUDA.
#include "tests/support/expandable_segment.hpp"

namespace baton::test {

expected<expandable_segment> expandable_segment::create(int /*device*/,
                                                        std::vector<std::size_t> /*pieces*/) {
  return fail(errc::gpu_failed, "built without CUDA");
}

expandable_segment::~expandable_segment() = default;

} // namespace baton::test
