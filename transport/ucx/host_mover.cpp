#include "transport/ucx/host_mover.hpp"

#include <sched.h>

#include <limits>
#include <utility>

namespace baton {

namespace {

/// Below this a hand-over costs more than the copy.
constexpr std::uint64_t least_handed_over = 64u << 10;
/// With fewer cores a copy thread only takes time from the data threads of both ends.
constexpr int least_cores = 3;

std::uint64_t most_inline() noexcept {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  const bool few =
      sched_getaffinity(0, sizeof usable, &usable) == 0 && CPU_COUNT(&usable) < least_cores;
  return few ? std::numeric_limits<std::uint64_t>::max() : least_handed_over;
}

} // namespace

class host_mover::job final : public copy_job {
public:
  job(host_mover& mover, chunk_move what, completion done, copier copy)
      : mover_{mover}, what_{std::move(what)}, copy_{copy} {
    end_.push_back({std::move(done), {}});
  }

  void copy(std::size_t) override { (mover_.*copy_)(what_); }
  void ended(expected<> copied) override {
    end_.front().moved = std::move(copied);
    mover_.ended(std::move(end_));
  }

private:
  host_mover& mover_;
  chunk_move what_;
  std::list<end> end_;
  copier copy_;
};

host_mover::host_mover(copy_pool& copies, std::vector<std::byte*> pools, std::function<void()> wake)
    : copies_{copies},
      inline_bytes_{most_inline()},
      pools_{std::move(pools)},
      readable_{pools_.begin(), pools_.end()},
      wake_{std::move(wake)} {
}

void host_mover::gather(chunk_move what, completion done) {
  run(std::move(what), std::move(done), &host_mover::gather_here);
}

void host_mover::scatter(chunk_move what, completion done) {
  run(std::move(what), std::move(done), &host_mover::scatter_here);
}

bool host_mover::scatter_now(const chunk_move& what, const std::byte* from) {
  scatter_range(*what.stream, what.offset, what.bytes, from, pools_,
                mode_for(what.stream->bytes()));
  return true;
}

void host_mover::gather_here(const chunk_move& what) const noexcept {
  gather_range(*what.stream, what.offset, what.bytes, readable_, what.staged);
}

void host_mover::scatter_here(const chunk_move& what) const noexcept {
  scatter_range(*what.stream, what.offset, what.bytes, what.staged, pools_,
                mode_for(what.stream->bytes()));
}

void host_mover::run(chunk_move what, completion done, copier copy) {
  if (what.bytes <= inline_bytes_) {
    (this->*copy)(what);
    return done({});
  }
  ++open_;
  auto begun = std::make_shared<job>(*this, std::move(what), std::move(done), copy);
  if (auto queued = copies_.submit(begun, 1); !queued)
    begun->ended(std::move(queued));
}

void host_mover::ended(std::list<end> one) {
  {
    const std::lock_guard lock{mutex_};
    ended_.splice(ended_.end(), one);
  }
  wake_();
}

bool host_mover::progress() {
  if (open_ == 0)
    return false;
  {
    const std::lock_guard lock{mutex_};
    taken_.splice(taken_.end(), ended_);
  }
  bool any = false;
  for (; !taken_.empty(); any = true) {
    auto [done, moved] = std::move(taken_.front());
    taken_.pop_front();
    --open_;
    done(std::move(moved));
  }
  return any;
}

} // namespace baton
