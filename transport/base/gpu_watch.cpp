#include "transport/base/gpu_watch.hpp"

#include <utility>

namespace baton {

namespace {

/// What a GPU that works no more can look like. UCX reports an error of its own, or none before the
/// deadline.
bool may_be_its_end(errc code) noexcept {
  switch (code) {
  case errc::gpu_failed:
  case errc::transport_failed:
  case errc::peer_lost:
  case errc::timed_out:
  case errc::cancelled:
    return true;
  default:
    return false;
  }
}

} // namespace

error gpu_watch::judge(error why) {
  if (!may_be_its_end(why.code))
    return why;
  if (auto known = note_.get())
    return *known;
  const int device = device_;
  if (device < 0)
    return why;
  const auto looked = look_(device);
  if (looked || looked.error().code == errc::out_of_resources)
    return why;
  return lost(why.code == errc::gpu_failed ? why : looked.error());
}

error gpu_watch::lost(const error& why) {
  note_.set({errc::gpu_failed,
             fmt::format("GPU {} works no more in this process, start the rank again: {}",
                         device_.load(), why.text)});
  return *note_.get();
}

} // namespace baton
