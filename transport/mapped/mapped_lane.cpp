#include "transport/mapped/mapped_lane.hpp"

#include <utility>

namespace baton {

namespace {

constexpr std::uint64_t chunk_bytes = 512u << 10;

class mapped_pull final : public pull_task, public copy_job {
public:
  mapped_pull(pull_order order, session_ledger& ledger, copy_pool& copies,
              std::shared_ptr<const peer_memory> source, destination_pools pools)
      : pull_task{std::move(order), ledger},
        copies_{copies},
        source_{std::move(source)},
        pools_{pools},
        chunks_{stream(), chunk_bytes},
        mode_{mode_for(stream().bytes())} {}

  [[nodiscard]] std::size_t chunks() const noexcept { return chunks_.count(); }

  void copy(std::size_t chunk) override {
    copy_range(stream(), chunks_.begin(chunk), chunks_.bytes(chunk), source_->pools(), pools_,
               mode_);
  }

  void ended(expected<> copied) override {
    if (copied && !source_->leases().granted(right()))
      copied = fail(errc::lease_revoked, "the owner took the blocks back while they were read");
    source_.reset();
    finish(std::move(copied));
  }

private:
  void wake() noexcept override { copies_.abort(*this); }

  copy_pool& copies_;
  std::shared_ptr<const peer_memory> source_;
  destination_pools pools_;
  stream_chunks chunks_;
  copy_mode mode_;
};

} // namespace

mapped_lane::mapped_lane(copy_pool& copies, session_ledger& ledger, std::vector<std::byte*> pools)
    : copies_{copies}, ledger_{ledger}, pools_{std::move(pools)} {
}

void mapped_lane::pull(pull_order order, std::shared_ptr<const peer_memory> source) {
  const auto task =
      std::make_shared<mapped_pull>(std::move(order), ledger_, copies_, std::move(source), pools_);
  if (!task->begin(task))
    return;
  if (task->stream().bytes() > inline_bytes) {
    if (auto queued = copies_.submit(task, task->chunks()); !queued)
      return task->ended(std::move(queued));
    // An abort before it was submitted has found nothing to abort.
    if (task->aborted())
      copies_.abort(*task);
    return;
  }
  copies_.copy_here(*task, task->chunks());
}

} // namespace baton
