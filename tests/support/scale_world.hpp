#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "actors/guest_book.hpp"
#include "actors/guest_queue.hpp"
#include "actors/instance_listing.hpp"
#include "actors/router.hpp"
#include "actors/supervisor.hpp"
#include "transport/fake_plane.hpp"

namespace baton::test {

/// What ranks say to each other.
struct traffic {
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;

  void add(std::size_t size) noexcept {
    ++messages;
    bytes += size;
  }
};

class scale_world;

/// One rank with all of its logic: supervisor, router, guest book and sessions, over a fake data
/// plane. Nothing fails; what it sends is encoded, counted, and decoded where it arrives.
class scale_rank final : public supervisor_backend, public router_backend {
public:
  scale_rank(scale_world& world, rank_layout layout);
  ~scale_rank() override;

  /// Its directory has described its own instance.
  void join(const instance_info& instance);
  void offer(request_id request, const std::vector<std::uint32_t>& blocks);
  void receive(request_id request, std::uint32_t context_dp,
               const std::vector<std::uint32_t>& blocks);
  void sweep();

  [[nodiscard]] const rank_layout& layout() const noexcept { return layout_; }
  [[nodiscard]] rank_info info() const;
  [[nodiscard]] std::size_t links() const noexcept { return links_.size(); }
  /// What must be gone when no request is live; empty if all is.
  [[nodiscard]] std::string left() const;

  // -- supervisor_backend ----
  void send(incarnation peer, wire_message message) override;
  void route(session_key key, const receive_request& request) override;
  [[nodiscard]] std::string waits_for(session_key key) override;
  void withdraw(session_key key, const receive_request& request, cancel_notice notice) override;
  void spawn(receive_spec spec) override;
  void spawn(send_spec spec) override;
  void tell(session_key key, session_input input) override;
  void dismiss(session_key key) override;
  void retire(session_key key) override;
  void answer(caller_id caller, outcome result) override;
  void answer_safe(caller_id caller) override;
  void answer_ticket(caller_id caller, std::shared_ptr<const request_ticket> ticket) override;
  void answer_ended(caller_id caller, std::vector<outcome> ended) override;

  // -- router_backend ----
  void describe(const std::string& endpoint, bool again) override;
  void connect(const source_contact& peer) override;
  void routed(session_key key, tl::expected<receive_route, attempt_failure> route) override;
  void tell_withdrawn(incarnation source, const cancel_notice& notice) override;

private:
  class session;

  struct visitor {
    scale_rank* rank = nullptr;
    source_contact meant;
    std::string introduction;
  };

  void introduce(const source_contact& peer, bool with_instance);
  void visited(visitor who);
  void answered(const source_contact& peer, const std::string& bytes);
  void link_up(acquaintance met);
  void received(incarnation peer, const std::string& bytes);

  scale_world& world_;
  rank_layout layout_;
  fake_plane plane_;
  supervisor supervisor_;
  router router_;
  own_instance_ptr own_;
  std::optional<guest_book> guests_;
  guest_queue<visitor> strangers_{std::chrono::milliseconds{500}};
  std::unordered_map<session_key, std::unique_ptr<session>> sessions_;
  std::unordered_map<incarnation, acquaintance> links_;
};

/// A context and a generation instance on one virtual clock.
class scale_world {
public:
  /// Which dp groups a request goes from and to.
  struct dp_groups {
    std::uint32_t context = 0;
    std::uint32_t generation = 0;
  };

  scale_world(std::uint64_t seed, std::vector<rank_layout> context,
              std::vector<rank_layout> generation);
  ~scale_world();

  /// Every rank enlists, and hears of its instance.
  void start();
  /// Hands `count` requests over, up to `at_once` at any time, between the dp groups that `choose`
  /// picks; runs until all have ended.
  void hand_over(std::uint64_t count, std::uint32_t at_once,
                 const std::function<dp_groups()>& choose);
  /// Ends all ranks. Returns how many bytes of memory they had.
  std::size_t end_ranks();

  /// What went wrong; the first of each kind.
  [[nodiscard]] const std::vector<std::string>& complaints() const noexcept { return complaints_; }
  [[nodiscard]] std::size_t ranks() const noexcept { return context_.size() + generation_.size(); }
  [[nodiscard]] std::size_t links() const noexcept;
  [[nodiscard]] std::uint64_t completed() const noexcept { return completed_; }

  traffic requests;      ///< messages of sessions
  traffic introductions; ///< both ways
  traffic instances;     ///< introductions that brought an instance
  traffic descriptions;  ///< what directories answered

private:
  struct live_request {
    std::uint32_t lane = 0; ///< picks its blocks
    std::size_t ranks = 0;  ///< that have not ended it
  };

  void begin(dp_groups between);
  void ended(const outcome& result);
  void complain(std::string what);
  void after(std::chrono::microseconds most, std::function<void()> action);
  /// What a directory answers. It is decoded once for all ranks, which would each come to the same.
  [[nodiscard]] const instance_info& describe(instance_role side);
  [[nodiscard]] std::vector<std::uint32_t> blocks_of(std::uint32_t lane) const;
  void sweep();

  fake_world clock_;
  fake_fabric fabric_;
  std::map<instance_role, instance_listing> listings_;
  std::map<instance_role, instance_info> described_;
  std::vector<std::unique_ptr<scale_rank>> context_;
  std::vector<std::unique_ptr<scale_rank>> generation_;
  std::unordered_map<incarnation, scale_rank*> by_life_;
  std::unordered_map<request_id, live_request> live_;
  std::vector<std::uint32_t> free_lanes_;
  std::uint64_t last_request_ = 0;
  std::uint64_t completed_ = 0;
  std::vector<std::string> complaints_;

  friend class scale_rank;
};

} // namespace baton::test
