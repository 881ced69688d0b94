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

#include "actors/acquaintance.hpp"
#include "actors/own_instance.hpp"
#include "actors/session.hpp"
#include "messages/wire.hpp"

namespace baton {

/// What the router needs from the world around it. Calls must not re-enter the router.
class router_backend {
public:
  virtual ~router_backend() = default;

  /// Asks the directory at `endpoint` (host:port) for its instance until it answers; the answer
  /// goes to `router::described`. `again`: it has answered before, so that its silence means more.
  virtual void describe(const std::string& endpoint, bool again) = 0;
  /// Makes a link to a peer; its fate goes to `router::handle`.
  virtual void connect(const source_contact& peer) = 0;
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
/// every source that can be reached was told.
///
/// Of a context instance it keeps, besides the encoded whole, what concerns this rank: one route
/// for each dp group that was asked for, made once. A question costs as much as its route is long.
/// Not thread-safe.
class router {
public:
  explicit router(router_backend& backend);

  /// The instance that this rank belongs to is complete.
  void complete(own_instance_ptr own);

  void ask(session_key key, const disaggregated_params& context);
  /// What a question waits for.
  [[nodiscard]] std::string waits_for(session_key key);
  /// Ends a question, open or failed, and has `notice` sent to each of its sources.
  void withdraw(session_key key, const disaggregated_params& context, cancel_notice notice);
  void forget(session_key key);
  void described(const std::string& endpoint, expected<instance_info> instance);
  void handle(const link_event& event);

private:
  /// The sources of one dp group, and those that are to be told that nobody pulls from them.
  struct route_entry {
    receive_route route; ///< lanes left out
    std::vector<source_contact> contacts;
  };
  struct instance_entry {
    std::string encoded; ///< empty until it was described
    std::uint32_t dp_size = 0;
    bool compatible = false;                               ///< whether it was found to be
    std::map<std::uint32_t, expected<route_entry>> routes; ///< by context dp rank
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
  /// The route to a dp group; nullptr until both instances are known.
  [[nodiscard]] const expected<route_entry>* plan(const disaggregated_params& context);
  [[nodiscard]] expected<route_entry> make_route(instance_entry& instance,
                                                 std::uint32_t dp_rank) const;
  /// Has links made to the whole route. Returns the ranks whose link is not ready.
  [[nodiscard]] std::vector<const rank_info*> connect(const route_entry& route);
  [[nodiscard]] std::optional<std::vector<incarnation>>
  sources_of(const disaggregated_params& context);
  void say(farewell& words);
  /// Forgets farewells that all their sources were told.
  void drop_told();
  /// Returns nullopt while something is still on its way.
  [[nodiscard]] std::optional<answer> resolve(const disaggregated_params& context);
  [[nodiscard]] bool ready(const source_contact& peer);
  void fail_all(const std::string& endpoint, const attempt_failure& failure);

  router_backend& backend_;
  own_instance_ptr own_;
  std::unordered_map<std::string, instance_entry> instances_; ///< by endpoint
  std::unordered_map<incarnation, link_entry> links_;
  std::map<session_key, disaggregated_params> pending_;
  std::map<session_key, std::vector<incarnation>> failed_; ///< sources of questions that failed
  std::deque<farewell> farewells_;
  std::unordered_set<std::string> described_; ///< directories that have answered
};

} // namespace baton
