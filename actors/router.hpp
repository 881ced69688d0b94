#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "actors/session.hpp"
#include "messages/wire.hpp"
#include "transport/plan/pairs.hpp"

namespace baton {

/// What the router needs from the world around it. Calls must not re-enter the router.
class router_backend {
public:
  virtual ~router_backend() = default;

  /// Asks the directory at `endpoint` (host:port) for its instance until it answers; the answer
  /// goes to `router::described`. `again`: it has answered before, so that its silence means more.
  virtual void describe(const std::string& endpoint, bool again) = 0;
  /// Makes a link to a peer; its fate goes to `router::handle`.
  virtual void connect(const rank_info& peer) = 0;
  virtual void routed(session_key key, tl::expected<receive_route, attempt_failure> route) = 0;
  /// A source of a withdrawn request can be told so.
  virtual void tell_withdrawn(incarnation source, const cancel_notice& notice) = 0;
};

/// A link to a peer is ready: introduced on both sides, its lane chosen.
struct link_up {
  incarnation peer;
  lane_choice lane;
  peer_place place; ///< of a generation rank; empty on generation ranks
};

/// A link could not be made, and will not be: the peer refused, or is somebody else now.
struct link_refused {
  incarnation peer;
  error reason;
};

/// What happens to links.
using link_event = std::variant<link_up, link_refused, link_loss>;

/// Finds out where a request's cache comes from: learns the context instance from its directory
/// once, works out the pairs of ranks, and has links made to the sources. Every question waits
/// until all it needs is there or has failed for good. A question that is withdrawn goes on until
/// every source that can be reached was told. Not thread-safe.
class router {
public:
  router(std::uint32_t rank, router_backend& backend);

  /// The instance that this rank belongs to is complete.
  void own_instance(instance_info instance);

  void ask(session_key key, const disaggregated_params& context);
  /// What a question waits for.
  [[nodiscard]] std::string waits_for(session_key key);
  /// Ends a question, open or failed, and has `notice` sent to each of its sources.
  void withdraw(session_key key, const disaggregated_params& context, cancel_notice notice);
  void forget(session_key key);
  void described(const std::string& endpoint, expected<instance_info> instance);
  void handle(const link_event& event);

private:
  /// What this rank reads from one source: of each group the layers.
  struct source_parts {
    std::vector<std::string> groups;
    std::vector<layer_list> layers;
  };
  struct dp_pairs {
    pair_table table;
    std::map<std::uint32_t, source_parts> parts; ///< by source
  };
  struct instance_entry {
    std::optional<instance_info> info;
    std::vector<rank_layout> layouts;
    std::map<std::uint32_t, dp_pairs> pairs; ///< by context dp rank
  };
  struct link_entry {
    bool up = false;
    lane_choice lane;
  };
  struct farewell {
    disaggregated_params context;
    cancel_notice notice;
    std::optional<std::vector<incarnation>> untold; ///< sources; nullopt until they are known
  };
  using answer = tl::expected<receive_route, attempt_failure>;

  void advance();
  /// The whole route, lanes left out; nullopt until both instances are known.
  [[nodiscard]] std::optional<answer> plan(const disaggregated_params& context);
  /// Has links made to the whole route. Returns the ranks whose link is not ready.
  [[nodiscard]] std::vector<const rank_info*> connect(const disaggregated_params& context,
                                                      const receive_route& route);
  [[nodiscard]] std::optional<std::vector<incarnation>>
  sources_of(const disaggregated_params& context);
  void say(farewell& words);
  /// Forgets farewells that all their sources were told.
  void drop_told();
  /// Returns nullopt while something is still on its way.
  [[nodiscard]] std::optional<answer> resolve(const disaggregated_params& context);
  [[nodiscard]] expected<const dp_pairs*> pairs(instance_entry& instance, std::uint32_t dp_rank);
  [[nodiscard]] source_parts parts_of(const rank_pair& pair) const;
  [[nodiscard]] bool ready(const rank_info& peer);
  void fail_all(const std::string& endpoint, const attempt_failure& failure);

  std::uint32_t rank_;
  router_backend& backend_;
  std::optional<instance_info> own_;
  std::vector<rank_layout> own_layouts_;
  std::uint64_t own_digest_ = 0;
  std::unordered_map<std::string, instance_entry> instances_; ///< by endpoint
  std::unordered_map<incarnation, link_entry> links_;
  std::map<session_key, disaggregated_params> pending_;
  std::map<session_key, std::vector<incarnation>> failed_; ///< sources of questions that failed
  std::deque<farewell> farewells_;
  std::unordered_set<std::string> described_; ///< directories that have answered
};

} // namespace baton
