#include "transport/session/event_waits.hpp"

#include <algorithm>
#include <utility>

namespace baton {

event_wait::event_wait(session_key session, gpu_event_ref event,
                       std::function<void(expected<>)> done, session_ledger& ledger,
                       const canceller& cancel)
    : session_{session}, event_{event}, done_{std::move(done)}, ledger_{ledger}, cancel_{cancel} {
}

bool event_wait::begin() {
  if (ledger_.enter(session_, shared_from_this()))
    return true;
  std::exchange(done_, nullptr)(fail(errc::cancelled, "the session has retired"));
  return false;
}

void event_wait::finish(expected<> result) {
  leave_after(ledger_, session_, this, [&] { std::exchange(done_, nullptr)(std::move(result)); });
}

void event_wait::abort() noexcept {
  aborted_.store(true, std::memory_order_release);
  cancel_(shared_from_this());
}

void event_waits::add(std::shared_ptr<event_wait> wait) {
  if (wait->aborted())
    return wait->finish(fail(errc::cancelled, "the wait for a GPU event was cancelled"));
  waits_.push_back(std::move(wait));
}

void event_waits::cancel(const event_wait& wait) {
  const auto found =
      std::ranges::find_if(waits_, [&](const auto& held) { return held.get() == &wait; });
  if (found != waits_.end())
    take(static_cast<std::size_t>(found - waits_.begin()))
        ->finish(fail(errc::cancelled, "the wait for a GPU event was cancelled"));
}

void event_waits::cancel_all(const error& why) {
  while (!waits_.empty())
    take(waits_.size() - 1)->finish(fail(why));
}

bool event_waits::look() {
  bool any = false;
  for (auto left = std::min(most_looks, waits_.size()); left > 0 && !waits_.empty(); --left) {
    if (next_ >= waits_.size())
      next_ = 0;
    const auto complete = look_(waits_[next_]->event());
    if (complete && !*complete) {
      ++next_;
      continue;
    }
    any = true;
    take(next_)->finish(complete ? expected<>{} : expected<>{fail(complete.error())});
  }
  return any;
}

std::shared_ptr<event_wait> event_waits::take(std::size_t index) {
  auto taken = std::move(waits_[index]);
  waits_[index] = std::move(waits_.back());
  waits_.pop_back();
  return taken;
}

} // namespace baton
