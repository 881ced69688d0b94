#include "tests/support/scale_world.hpp"

#include <algorithm>
#include <utility>

#include "tests/support/live_bytes.hpp"
#include "tests/support/protocol_session.hpp"

namespace baton::test {
namespace {

constexpr std::uint32_t tokens = 2;
constexpr std::size_t most_complaints = 10;
constexpr std::chrono::microseconds longest_message{1'000};
constexpr auto context_endpoint = "10.0.0.1:7000";
/// About as long as that of a rank with both lanes.
constexpr std::size_t manifest_bytes = 512;

transceiver_options options_of() {
  transceiver_options options;
  options.tombstones = 256;
  return options;
}

std::vector<group_blocks> tables_of(const rank_layout& layout,
                                    const std::vector<std::uint32_t>& blocks) {
  std::vector<group_blocks> tables;
  for (const auto& group : layout.groups)
    tables.push_back({group.name, 0, blocks});
  return tables;
}

} // namespace

class scale_rank::session final : public protocol_session {
public:
  template <class Spec>
  session(scale_rank& rank, Spec spec) : protocol_session{std::move(spec)}, rank_{rank} {}

  void send(incarnation peer, wire_message message) override {
    rank_.send(peer, std::move(message));
  }
  void report(session_report report) override {
    rank_.world_.after({}, [&rank = rank_, key = key(), report = std::move(report)] {
      rank.supervisor_.reported(rank.world_.clock_.now(), key, report);
    });
  }
  void pull(std::uint32_t source, std::uint32_t slice, pull_job job) override {
    rank_.plane_.pull(key(), std::move(job),
                      [&rank = rank_, key = key(), source, slice](expected<pull_stats> result) {
                        const auto found = rank.sessions_.find(key);
                        if (found != rank.sessions_.end())
                          found->second->pulled(source, slice, std::move(result));
                      });
  }
  void when(std::uint32_t, gpu_event_ref) override {}
  expected<lease> grant(grant_spec spec) override {
    return rank_.plane_.grant(key(), std::move(spec));
  }
  void revoke(const lease& right) override { rank_.plane_.revoke(right); }

private:
  scale_rank& rank_;
};

// -- scale_rank ----

scale_rank::scale_rank(scale_world& world, rank_layout layout)
    : world_{world},
      layout_{std::move(layout)},
      plane_{world.fabric_, layout_.life},
      supervisor_{layout_, options_of(), *this, layout_.life.value},
      router_{*this} {
}

scale_rank::~scale_rank() = default;

rank_info scale_rank::info() const {
  return {layout_, fmt::format("10.{}.{}.{}", layout_.rank / 4096, layout_.rank / 8 % 256, 1), 7000,
          std::string(manifest_bytes, 'm')};
}

void scale_rank::join(const instance_info& instance) {
  own_ = std::make_shared<const own_instance>(instance, layout_.rank);
  if (layout_.role == instance_role::context)
    guests_.emplace(own_);
  else
    router_.complete(own_);
}

void scale_rank::offer(request_id request, const std::vector<std::uint32_t>& blocks) {
  for (const auto& group : layout_.groups)
    for (const auto block : blocks)
      plane_.write(group.name, block, request.value);
  send_slice slice{request, {0, tokens}, true, tables_of(layout_, blocks), aux_data{{1}, {}, {}}};
  if (auto ok = supervisor_.offer(world_.clock_.now(), std::move(slice)); !ok)
    world_.complain(ok.error().text);
}

void scale_rank::receive(request_id request, std::uint32_t context_dp,
                         const std::vector<std::uint32_t>& blocks) {
  receive_request wish{
      request, {context_endpoint, context_dp}, tokens, 0, tables_of(layout_, blocks)};
  if (auto ok = supervisor_.receive(world_.clock_.now(), std::move(wish), request.value); !ok)
    world_.complain(ok.error().text);
}

void scale_rank::sweep() {
  supervisor_.sweep(world_.clock_.now());
  for (const auto& next : strangers_.overdue(world_.clock_.now()))
    world_.after(longest_message, [next, this] { next.rank->introduce(next.meant, true); });
}

std::string scale_rank::left() const {
  std::string all;
  const auto check = [&](std::string_view what, std::size_t count) {
    if (count != 0)
      all += fmt::format(" {} {}", count, what);
  };
  check("live requests", supervisor_.live());
  check("early requests", supervisor_.early());
  check("waiting callers", supervisor_.waiting_callers());
  check("dropped messages", supervisor_.dropped());
  check("sessions", sessions_.size());
  check("leases", plane_.granted());
  check("jobs", plane_.jobs());
  return all;
}

void scale_rank::send(incarnation peer, wire_message message) {
  auto bytes = encode(message);
  world_.requests.add(bytes.size());
  world_.after(longest_message, [this, to = world_.by_life_.at(peer), bytes = std::move(bytes)] {
    to->received(layout_.life, bytes);
  });
}

void scale_rank::received(incarnation peer, const std::string& bytes) {
  auto message = decode_message(bytes);
  if (!message)
    return world_.complain(message.error().text);
  supervisor_.received(world_.clock_.now(), peer, std::move(*message));
}

void scale_rank::route(session_key key, const receive_request& request) {
  router_.ask(key, request.context);
}

std::string scale_rank::waits_for(session_key key) {
  return router_.waits_for(key);
}

void scale_rank::withdraw(session_key key, const receive_request& request, cancel_notice notice) {
  router_.withdraw(key, request.context, std::move(notice));
}

void scale_rank::spawn(receive_spec spec) {
  const auto key = spec.key;
  sessions_.emplace(key, std::make_unique<session>(*this, std::move(spec)))
      .first->second->start(world_.clock_.now());
}

void scale_rank::spawn(send_spec spec) {
  const auto key = spec.key;
  sessions_.emplace(key, std::make_unique<session>(*this, std::move(spec)))
      .first->second->start(world_.clock_.now());
}

void scale_rank::tell(session_key key, session_input input) {
  if (const auto found = sessions_.find(key); found != sessions_.end())
    found->second->handle(input);
}

void scale_rank::dismiss(session_key key) {
  router_.forget(key);
  sessions_.erase(key);
}

void scale_rank::retire(session_key key) {
  plane_.retire(key, [this, key] {
    world_.after({}, [this, key] {
      supervisor_.retired(world_.clock_.now(), key);
      for (const auto& ended : supervisor_.take_ended(layout_.role))
        world_.ended(ended.result);
    });
  });
}

void scale_rank::answer(caller_id caller, outcome result) {
  for (const auto& group : layout_.groups)
    for (const auto block : world_.blocks_of(world_.live_.at(result.request).lane))
      if (plane_.block(group.name, block) != caller)
        world_.complain(fmt::format("generation rank {} holds {} instead of {}", layout_.rank,
                                    plane_.block(group.name, block), caller));
  world_.ended(result);
}

void scale_rank::answer_safe(caller_id) {
}

void scale_rank::answer_ticket(caller_id, std::shared_ptr<const request_ticket>) {
}

void scale_rank::answer_ended(caller_id, std::vector<outcome>) {
}

// -- introductions ----

void scale_rank::describe(const std::string&, bool) {
  world_.after(longest_message, [this] {
    router_.described(context_endpoint, world_.describe(instance_role::context));
  });
}

void scale_rank::connect(const source_contact& peer) {
  world_.after(longest_message, [this, peer] { introduce(peer, false); });
}

void scale_rank::introduce(const source_contact& peer, bool with_instance) {
  auto intro = own_->introduce(std::string(manifest_bytes, 'm'), "fake");
  if (with_instance)
    intro.instance = own_->encoded();
  auto bytes = encode(intro);
  (with_instance ? world_.instances : world_.introductions).add(bytes.size());
  auto* const to = world_.by_life_.at(peer.rank.layout.life);
  world_.after(longest_message, [this, to, peer, bytes = std::move(bytes)] {
    to->visited({this, peer, bytes});
  });
}

void scale_rank::visited(visitor who) {
  const auto intro = decode_introduction(who.introduction);
  if (!intro)
    return world_.complain(intro.error().text);
  if (!guests_->knows(intro->digest) && intro->instance.empty()) {
    if (const auto asked = strangers_.wait(world_.clock_.now(), intro->digest, std::move(who)))
      world_.after(longest_message, [asked] { asked->rank->introduce(asked->meant, true); });
    return;
  }
  if (!guests_->knows(intro->digest))
    if (auto ok = guests_->add(intro->digest, intro->instance); !ok)
      return world_.complain(ok.error().text);
  for (auto& other : strangers_.release(intro->digest))
    visited(std::move(other));
  auto met = guests_->meet(*intro);
  if (!met)
    return world_.complain(met.error().text);
  link_up(std::move(*met));
  auto answer = encode(own_->introduce(std::string(manifest_bytes, 'm'), "fake"));
  world_.introductions.add(answer.size());
  world_.after(longest_message, [who = std::move(who), answer = std::move(answer)] {
    who.rank->answered(who.meant, answer);
  });
}

void scale_rank::answered(const source_contact& peer, const std::string& bytes) {
  const auto intro = decode_introduction(bytes);
  if (!intro)
    return world_.complain(intro.error().text);
  auto met = acquaint(*own_, peer, *intro);
  if (!met)
    return world_.complain(met.error().text);
  link_up(std::move(*met));
}

void scale_rank::link_up(acquaintance met) {
  const auto peer = met.card.life;
  const auto& layout = met.card.layout;
  if (met.receivers)
    supervisor_.met(peer, {layout.instance, layout.rank, met.receivers});
  links_.emplace(peer, std::move(met));
  router_.handle(baton::link_up{peer, {lane_kind::mapped, "simulated"}, {}});
}

void scale_rank::routed(session_key key, tl::expected<receive_route, attempt_failure> route) {
  world_.after({}, [this, key, route = std::move(route)] {
    supervisor_.routed(world_.clock_.now(), key, route);
  });
}

void scale_rank::tell_withdrawn(incarnation source, const cancel_notice& notice) {
  send(source, notice);
}

// -- scale_world ----

scale_world::scale_world(std::uint64_t seed, std::vector<rank_layout> context,
                         std::vector<rank_layout> generation)
    : clock_{seed}, fabric_{clock_, {}, {}} {
  for (auto* side : {&context, &generation})
    for (auto& layout : *side) {
      layout.life = incarnation{clock_.pick(1, ~std::uint64_t{0} >> 1)};
      auto& ranks = layout.role == instance_role::context ? context_ : generation_;
      ranks.push_back(std::make_unique<scale_rank>(*this, std::move(layout)));
      by_life_.emplace(ranks.back()->layout().life, ranks.back().get());
    }
}

scale_world::~scale_world() = default;

void scale_world::start() {
  for (const auto* side : {&context_, &generation_}) {
    const auto& first = side->front()->layout();
    auto& listing = listings_.emplace(first.role, first).first->second;
    for (const auto& rank : *side) {
      auto info = decode_rank_info(encode(rank->info()));
      if (auto ok = info ? listing.enlist(std::move(*info)) : expected<>{fail(info.error())}; !ok)
        complain(ok.error().text);
    }
    for (const auto& rank : *side)
      rank->join(describe(rank->layout().role));
  }
  sweep();
}

const instance_info& scale_world::describe(instance_role side) {
  const auto& text = listings_.at(side).describe();
  descriptions.add(text.size());
  const auto [known, fresh] = described_.try_emplace(side);
  if (fresh) {
    auto instance = decode_instance_info(text);
    if (instance)
      known->second = std::move(*instance);
    else
      complain(instance.error().text);
  }
  return known->second;
}

void scale_world::hand_over(std::uint64_t count, std::uint32_t at_once,
                            const std::function<dp_groups()>& choose) {
  free_lanes_.clear();
  for (std::uint32_t lane = 0; lane < at_once; ++lane)
    free_lanes_.push_back(lane);
  const auto until = completed_ + count;
  auto begun = completed_;
  const auto patience = clock_.now() + std::chrono::hours{1};
  while (completed_ < until && clock_.now() < patience && complaints_.empty()) {
    for (; begun < until && !free_lanes_.empty(); ++begun)
      begin(choose());
    clock_.run(clock_.now() + std::chrono::milliseconds{2});
  }
  clock_.run(clock_.now() + std::chrono::milliseconds{50});
  if (completed_ != until)
    complain(fmt::format("{} requests never ended", until - completed_));
  for (const auto* side : {&context_, &generation_})
    for (const auto& rank : *side)
      if (const auto left = rank->left(); !left.empty())
        complain(fmt::format("{} rank {}:{} left", to_string(rank->layout().role),
                             rank->layout().rank, left));
}

void scale_world::begin(dp_groups between) {
  const request_id id{++last_request_};
  auto& request = live_[id];
  request.lane = free_lanes_.back();
  free_lanes_.pop_back();
  const auto blocks = blocks_of(request.lane);
  for (const auto& rank : context_)
    if (rank->layout().dp_rank() == between.context) {
      ++request.ranks;
      after(longest_message, [&rank = *rank, id, blocks] { rank.offer(id, blocks); });
    }
  for (const auto& rank : generation_)
    if (rank->layout().dp_rank() == between.generation) {
      ++request.ranks;
      after(longest_message,
            [&rank = *rank, id, dp = between.context, blocks] { rank.receive(id, dp, blocks); });
    }
}

std::vector<std::uint32_t> scale_world::blocks_of(std::uint32_t lane) const {
  std::vector<std::uint32_t> blocks;
  for (std::uint32_t token = 0; token < tokens; ++token)
    blocks.push_back(lane * tokens + token);
  return blocks;
}

void scale_world::ended(const outcome& result) {
  if (!result.completed())
    complain(fmt::format("request {} failed: {}", result.request,
                         result.failure ? to_string(*result.failure) : "no reason"));
  auto& request = live_.at(result.request);
  if (--request.ranks > 0)
    return;
  free_lanes_.push_back(request.lane);
  live_.erase(result.request);
  ++completed_;
}

void scale_world::complain(std::string what) {
  if (complaints_.size() < most_complaints)
    complaints_.push_back(std::move(what));
}

void scale_world::after(std::chrono::microseconds most, std::function<void()> action) {
  clock_.after(clock_.delay(most), std::move(action));
}

void scale_world::sweep() {
  for (const auto* side : {&context_, &generation_})
    for (const auto& rank : *side)
      rank->sweep();
  clock_.after(options_of().sweep, [this] { sweep(); });
}

std::size_t scale_world::links() const noexcept {
  std::size_t count = 0;
  for (const auto& rank : generation_)
    count += rank->links();
  return count;
}

std::size_t scale_world::end_ranks() {
  const auto before = live_bytes();
  for (const auto& rank : context_)
    by_life_.erase(rank->layout().life);
  context_.clear();
  generation_.clear();
  return before - live_bytes();
}

} // namespace baton::test
