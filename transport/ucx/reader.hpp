#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "messages/ids.hpp"
#include "transport/session/pull_task.hpp"
#include "transport/ucx/chunk_mover.hpp"
#include "transport/ucx/peers.hpp"
#include "transport/ucx/staging_ring.hpp"

namespace baton {

/// The reading half of the ucx lane: asks owners for streams, gives them credits for the slots of
/// its ring, and scatters what lands there. Belongs to the data thread. Tasks finish in `deliver`
/// only, so that callers' callbacks never run inside of UCX.
class ucx_reader {
public:
  struct limits {
    std::size_t chunk_bytes = 0;
    std::size_t credits = 0; ///< chunks that one pull may have on its way
  };

  /// @param worker, peers, ring, mover must outlive the reader.
  ucx_reader(incarnation life, ucx_worker& worker, ucx_peers& peers, staging_ring& ring,
             chunk_mover& mover, limits allowed);

  /// Begins a pull. The task has begun; it is finished here.
  void start(std::shared_ptr<pull_task> task);
  /// Ends a pull as cancelled; its task is finished when nothing is scattered into its blocks any
  /// more. One that ended before is left alone.
  ///
  /// @returns whether there was one.
  bool cancel(const pull_task& task);
  /// Ends the pulls from a peer.
  void lost(const std::shared_ptr<ucx_peer>& peer, const error& why);
  void end_all(const error& why);

  // -- messages
  void chunk(const ucx_message& message) noexcept;
  void end(const ucx_message& message) noexcept;

  /// Hands out credits that became free.
  ///
  /// @returns whether there were any.
  bool feed();
  /// Finishes the tasks that ended.
  ///
  /// @returns whether there were any.
  bool deliver();

  /// Messages that named no pull of ours, because it had ended or never was.
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }

private:
  struct incoming {
    incoming(std::shared_ptr<pull_task> what, std::shared_ptr<ucx_peer> from,
             std::uint64_t chunk_bytes)
        : task{std::move(what)},
          peer{std::move(from)},
          chunks{task->stream(), chunk_bytes},
          seen(chunks.count()) {}

    std::shared_ptr<pull_task> task;
    std::shared_ptr<ucx_peer> peer;
    std::uint64_t number = random_number();
    stream_chunks chunks; ///< of the task's stream
    std::vector<bool> seen;
    std::size_t given = 0;  ///< credits in all
    std::size_t begun = 0;  ///< chunks whose head arrived
    std::size_t landed = 0; ///< chunks that were scattered
    std::size_t scattering = 0;
    bool complete = false;           ///< the owner sent all of it while granted
    bool unconfirmed = false;        ///< all has landed, and the owner's word is missing
    bool hungry = false;             ///< queued for more credits
    std::optional<expected<>> ended; ///< its result, while its last scatters go on
  };
  using shared_incoming = std::shared_ptr<incoming>;
  using pull_map = std::unordered_map<std::uint64_t, shared_incoming>;

  [[nodiscard]] expected<> ask(const std::shared_ptr<pull_task>& task);
  [[nodiscard]] std::size_t reserve(ucx_peer& peer, std::size_t wanted) noexcept;
  [[nodiscard]] shared_incoming find(std::uint64_t reader, std::uint64_t number) noexcept;
  [[nodiscard]] expected<> accept(const incoming& pull, const chunk_head& head,
                                  const ucx_message& message) const;
  using landed_slot = std::shared_ptr<staging_ring::slot>;
  void receive(const shared_incoming& pull, const chunk_head& head, const ucx_message& message);
  void take(const shared_incoming& pull, const chunk_head& head, const ucx_message& message);
  void scatter(const shared_incoming& pull, const chunk_head& head, std::size_t bytes,
               landed_slot slot);
  void scattered(incoming& pull, expected<> result);
  void want_more(incoming& pull);
  void finish(std::uint64_t number, expected<> result, bool tell_owner);

  struct ended {
    std::shared_ptr<pull_task> task;
    expected<> result;
  };

  const incarnation life_;
  ucx_worker& worker_;
  ucx_peers& peers_;
  staging_ring& ring_;
  chunk_mover& mover_;
  const limits limits_;
  pull_map pulls_;
  std::unordered_map<const pull_task*, std::uint64_t> numbers_;
  std::size_t reserved_ = 0; ///< credits given whose chunk has not begun
  std::deque<std::uint64_t> hungry_;
  std::deque<ended> ended_;
  std::uint64_t dropped_ = 0;
};

} // namespace baton
