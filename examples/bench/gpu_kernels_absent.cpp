// Stands in for gpu_kernels.cu where there is no CUDA.
#include "examples/bench/gpu_kernels.hpp"

namespace baton::bench::kernels {

namespace {

constexpr problem no_cuda = "built without CUDA";

} // namespace

problem write_content(const content& /*what*/, void* /*stream*/) noexcept {
  return no_cuda;
}

problem check_content(const content& /*what*/, bool /*clear*/, std::byte /*untouched*/,
                      std::uint64_t* /*wrong*/, void* /*stream*/) noexcept {
  return no_cuda;
}

problem count_touched(const std::byte* /*memory*/, std::size_t /*bytes*/, std::byte /*untouched*/,
                      std::uint64_t* /*touched*/, void* /*stream*/) noexcept {
  return no_cuda;
}

problem copy_each(const copy_list& /*copies*/, void* /*stream*/) noexcept {
  return no_cuda;
}

problem copy_batch(const copy_list& /*copies*/, void* /*stream*/) noexcept {
  return no_cuda;
}

problem make_stream(void** /*stream*/) noexcept {
  return no_cuda;
}

void drop_stream(void* /*stream*/) noexcept {
}

problem multiply(const void* /*a*/, const void* /*b*/, float* /*c*/, std::uint32_t /*n*/,
                 void* /*stream*/) noexcept {
  return no_cuda;
}

problem fill_matrix(void* /*matrix*/, std::size_t /*count*/, std::uint64_t /*seed*/,
                    void* /*stream*/) noexcept {
  return no_cuda;
}

problem add_arrays(const float* /*x*/, float* /*y*/, std::size_t /*count*/,
                   void* /*stream*/) noexcept {
  return no_cuda;
}

} // namespace baton::bench::kernels
