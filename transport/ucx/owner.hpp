#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "messages/manifest.hpp"
#include "transport/lease/grant_book.hpp"
#include "transport/session/session_ledger.hpp"
#include "transport/ucx/chunk_mover.hpp"
#include "transport/ucx/peers.hpp"
#include "transport/ucx/staging_ring.hpp"

namespace baton {

/// The owning half of the ucx lane: serves the pulls of peers, from what was granted to them and
/// only while it is, chunk by chunk through its ring. Pulls take turns; chunks are gathered while
/// others are on the wire. Belongs to the data thread.
class ucx_owner {
public:
  /// @param grants, ledger, peers, ring, mover must outlive the owner.
  ucx_owner(incarnation life, grant_book& grants, session_ledger& ledger, ucx_peers& peers,
            staging_ring& ring, chunk_mover& mover, std::size_t chunk_bytes);

  // -- messages, only noted within UCX
  void pull(const ucx_message& message) noexcept;
  void credit(const ucx_message& message) noexcept;
  void abort(const ucx_message& message) noexcept;

  /// Does what the messages noted ask for, in their order.
  ///
  /// @returns whether there were any.
  bool read_mail();

  /// Begins to stage one chunk, if one may be sent.
  ///
  /// @returns whether there was one.
  bool serve();

  void revoked(const lease& right);
  /// Ends what is being served to a peer, which cannot be told.
  void lost(const std::shared_ptr<ucx_peer>& peer);
  /// Ends all serving with an error that is told to the readers, and answers all later pulls with
  /// it.
  void refuse_all(const error& why);
  /// Ends all serving with an error that is told to the readers.
  void end_all(const error& why);

  /// Messages that named no pull being served, or were not understood.
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }

private:
  using key = std::pair<std::uint64_t, std::uint64_t>; ///< reader, number

  /// Counts a pull in its grant for as long as it is served.
  struct uncount {
    void operator()(const grant_record* record) const noexcept { --record->serves; }
  };
  using counted = std::unique_ptr<const grant_record, uncount>;

  struct outgoing {
    std::shared_ptr<ucx_peer> peer;
    std::shared_ptr<const grant_record> record;
    std::shared_ptr<const plan_stream> stream;
    stream_chunks chunks;
    std::size_t next = 0; ///< chunk
    std::size_t credits = 0;
    std::size_t in_flight = 0; ///< chunks being gathered or sent
    bool queued = false;
    counted count{}; ///< goes before the record does
  };

  void begin(const lane_pull& call);
  [[nodiscard]] expected<outgoing> examine(const lane_pull& call,
                                           const std::shared_ptr<ucx_peer>& peer);
  [[nodiscard]] expected<plan> plan_for(const lane_pull& call, const grant_record& record,
                                        const planner& plans) const;
  [[nodiscard]] outgoing* find(const key& name) noexcept;
  using staged_slot = std::shared_ptr<staging_ring::slot>;
  void stage_chunk(const key& name, outgoing& serving);
  void staged(const key& name, const chunk_head& head, std::uint64_t bytes, staged_slot slot,
              expected<> gathered);
  void sent(const key& name, ucs_status_t status);
  void queue(const key& name, outgoing& serving);
  void end(key name, std::uint64_t code, std::string text);
  void end(const key& name, const error& why);

  const incarnation life_;
  grant_book& grants_;
  session_ledger& ledger_;
  ucx_peers& peers_;
  staging_ring& ring_;
  chunk_mover& mover_;
  const std::size_t chunk_bytes_;
  std::optional<error> refusal_;
  std::map<key, outgoing> serving_;
  std::deque<std::function<void()>> inbox_;
  std::deque<key> ready_; ///< those with credits and chunks left
  std::uint64_t dropped_ = 0;
};

} // namespace baton
