#include "examples/handoff/parking.hpp"

namespace baton::handoff {

parking::parking(const std::vector<fault_spec>& faults, rank_name self,
                 std::chrono::milliseconds limit, std::function<void(std::size_t)> report)
    : limit_{limit}, report_{std::move(report)} {
  for (std::size_t i = 0; i < faults.size(); ++i)
    if (faults[i].who == self)
      places_.push_back({i, faults[i].at, faults[i].request});
}

void parking::pass(probe_point point, request_id request) {
  std::unique_lock lock{mutex_};
  for (auto& place : places_) {
    if (place.point != point || place.request != request || place.taken || place.released)
      continue;
    place.taken = true;
    lock.unlock();
    report_(place.fault);
    lock.lock();
    wake_.wait_for(lock, limit_, [&] { return place.released; });
  }
}

void parking::release(std::size_t fault) {
  {
    const std::lock_guard guard{mutex_};
    for (auto& place : places_)
      if (place.fault == fault)
        place.released = true;
  }
  wake_.notify_all();
}

void parking::open() {
  {
    const std::lock_guard guard{mutex_};
    for (auto& place : places_)
      place.released = true;
  }
  wake_.notify_all();
}

} // namespace baton::handoff
