#include "transport/pool/kernel_pools.hpp"

#include <utility>

namespace baton {

expected<std::vector<std::byte*>> kernel_pools::starts() {
  const std::lock_guard lock{mutex_};
  if (!starts_.empty())
    return starts_;
  std::vector<host_registration> registered;
  std::vector<std::byte*> starts;
  for (std::size_t i = 0; i < pools_.size(); ++i) {
    if (pools_[i].device() != nullptr) {
      starts.push_back(pools_[i].data());
      continue;
    }
    auto made = host_registration::create(device_, pools_[i].memory(), gpu_access::read_write);
    if (!made)
      return fail(made.error().code, "our pool {} cannot be used by GPU {}: {}", i, device_,
                  made.error().text);
    starts.push_back(const_cast<std::byte*>(made->device_data()));
    registered.push_back(std::move(*made));
  }
  registered_ = std::move(registered);
  starts_ = std::move(starts);
  return starts_;
}

} // namespace baton
