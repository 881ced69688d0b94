#include <algorithm>
#include <set>
#include <stdexcept>
#include <vector>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "actors/supervisor.hpp"
#include "tests/support/troubled_ranks.hpp"

/// What a rank does when its own parts fail: which attempts are made again and when, sessions that
/// throw in each of their handlers, and a data plane that fails for good.
namespace baton {

namespace {

using namespace test;
using namespace std::chrono_literals;
namespace data = boost::unit_test::data;

constexpr request_id first{1};
constexpr auto context = instance_role::context;
constexpr auto generation = instance_role::generation;

/// A supervisor of sends alone, whose sessions do what the test says.
struct lone_supervisor final : supervisor_backend {
  explicit lone_supervisor(restart_policy policy, std::uint64_t seed = 1)
      : logic{layout(), options_of(policy), *this, seed} {}

  static rank_layout layout() {
    rank_layout layout;
    layout.role = context;
    layout.pools.push_back({memory_kind::host, 0, {}, 2, 64});
    layout.groups.push_back(
        {"full",
         1,
         0,
         {buffer_layout{0, cache_role::key, 0, 0, 2, 0, 1, 1, 2, 2, 1, element_type::bf16}}});
    return layout;
  }
  static transceiver_options options_of(restart_policy policy) {
    transceiver_options options;
    options.restarts = policy;
    return options;
  }

  void offer(request_id id, std::chrono::milliseconds timeout = 60s) {
    send_slice slice;
    slice.request = id;
    slice.tokens = {0, 1};
    slice.blocks = {{"full", 0, {0}}};
    slice.timeout = timeout;
    BOOST_REQUIRE(logic.offer(now, std::move(slice)).has_value());
  }

  /// The newest attempt fails; its clean-up takes no time.
  void fail_attempt(bool may_retry = true, errc code = errc::transport_failed) {
    const auto key = running;
    logic.reported(now, key, session_end{attempt_failure{{code, "simulated"}, may_retry}});
    logic.retired(now, key);
  }

  /// Waits for the next attempt. @returns how long it took; nullopt if none came within 5 s.
  std::optional<std::chrono::microseconds> next_attempt() {
    const auto begin = now;
    for (const auto before = attempts; attempts == before; now += step) {
      if (now - begin > 5s)
        return std::nullopt;
      logic.sweep(now);
    }
    return std::chrono::duration_cast<std::chrono::microseconds>(now - begin);
  }

  [[nodiscard]] std::optional<outcome> ended() {
    auto all = logic.take_ended(context);
    return all.empty() ? std::nullopt : std::optional{std::move(all.front().result)};
  }

  void send(incarnation, wire_message) override {}
  void route(session_key, const receive_request&) override {}
  std::string waits_for(session_key) override { return {}; }
  void withdraw(session_key, const receive_request&, cancel_notice) override {}
  void spawn(receive_spec) override {}
  void spawn(send_spec spec) override {
    running = spec.key;
    ++attempts;
    spawned.emplace_back(spec.request, now);
  }
  void tell(session_key, session_input) override {}
  void dismiss(session_key) override {}
  void retire(session_key) override {}
  void answer(caller_id, outcome) override {}
  void answer_safe(caller_id) override {}
  void answer_ticket(caller_id, std::shared_ptr<const request_ticket>) override {}
  void answer_ended(caller_id, std::vector<outcome>) override {}

  static constexpr std::chrono::microseconds step{100};
  supervisor logic;
  time_point now{1h};
  session_key running;
  std::uint32_t attempts = 0;
  std::vector<std::pair<request_id, time_point>> spawned;
};

} // namespace

BOOST_AUTO_TEST_SUITE(restarts)

BOOST_AUTO_TEST_CASE(back_offs_double_and_half_of_each_is_jitter) {
  constexpr std::uint64_t seeds = 300;
  std::vector<std::vector<double>> parts(3); // of the back-off that was to be expected, by restart
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    lone_supervisor rank{{}, seed};
    rank.offer(first);
    for (std::size_t restart = 0; restart < parts.size(); ++restart) {
      rank.fail_attempt();
      const auto took = rank.next_attempt();
      BOOST_REQUIRE(took.has_value());
      const auto whole = std::chrono::microseconds{10ms} * (1 << restart);
      BOOST_REQUIRE((*took >= whole / 2 && *took <= whole + 2 * rank.step));
      parts[restart].push_back(static_cast<double>(took->count()) /
                               static_cast<double>(whole.count()));
    }
  }
  for (auto& part : parts) {
    std::ranges::sort(part);
    BOOST_TEST(part.front() < 0.55);
    BOOST_TEST(part[seeds / 2] > 0.70);
    BOOST_TEST(part[seeds / 2] < 0.80);
    BOOST_TEST(part.back() > 0.95);
  }
}

BOOST_AUTO_TEST_CASE(requests_that_fail_together_do_not_come_back_together) {
  lone_supervisor rank{restart_policy{}, 7};
  std::vector<session_key> keys;
  for (std::uint64_t id = 1; id <= 1'000; ++id) {
    rank.offer(request_id{id});
    keys.push_back(rank.running);
  }
  rank.spawned.clear();
  for (const auto key : keys) {
    rank.logic.reported(rank.now, key,
                        session_end{attempt_failure{{errc::peer_lost, "simulated"}, true}});
    rank.logic.retired(rank.now, key);
  }
  const auto begin = rank.now;
  for (; rank.now < begin + 11ms; rank.now += rank.step)
    rank.logic.sweep(rank.now);
  BOOST_REQUIRE(rank.spawned.size() == keys.size());
  std::map<std::int64_t, std::size_t> by_millisecond;
  for (const auto& [id, when] : rank.spawned)
    ++by_millisecond[std::chrono::duration_cast<std::chrono::milliseconds>(when - begin).count()];
  for (const auto& [at, count] : by_millisecond)
    BOOST_TEST(count < keys.size() / 3);
}

BOOST_AUTO_TEST_CASE(the_back_off_has_an_upper_bound) {
  lone_supervisor rank{{.budget = 10, .first_backoff = 10ms, .last_backoff = 25ms}};
  rank.offer(first);
  for (int restart = 0; restart < 10; ++restart) {
    rank.fail_attempt();
    const auto took = rank.next_attempt();
    BOOST_REQUIRE(took.has_value());
    BOOST_TEST((*took <= 25ms + 2 * rank.step));
  }
}

BOOST_AUTO_TEST_CASE(a_budget_is_used_up_and_the_last_failure_is_told) {
  lone_supervisor rank{{.budget = 3}};
  rank.offer(first);
  for (int restart = 0; restart < 3; ++restart) {
    rank.fail_attempt();
    BOOST_REQUIRE(rank.next_attempt().has_value());
  }
  BOOST_TEST(!rank.ended());
  rank.fail_attempt(true, errc::peer_lost);
  const auto result = rank.ended();
  BOOST_REQUIRE(result.has_value());
  BOOST_TEST((result->failure->code == errc::peer_lost));
  BOOST_TEST(result->attempts == 4u);
}

BOOST_AUTO_TEST_CASE(restarts_count_within_their_window_only) {
  lone_supervisor rank{{.budget = 1, .window = 100ms}};
  rank.offer(first);
  for (int round = 0; round < 5; ++round) {
    rank.fail_attempt();
    BOOST_REQUIRE(rank.next_attempt().has_value());
    rank.now += 100ms;
  }
  rank.fail_attempt();
  BOOST_REQUIRE(rank.next_attempt().has_value());
  rank.fail_attempt();
  BOOST_TEST(rank.ended().has_value());
}

BOOST_AUTO_TEST_CASE(no_attempt_is_made_that_the_deadline_would_cut_off) {
  lone_supervisor rank{{.first_backoff = 400ms}};
  rank.offer(first, 150ms);
  rank.fail_attempt(true, errc::peer_lost);
  const auto result = rank.ended();
  BOOST_REQUIRE(result.has_value());
  BOOST_TEST((result->failure->code == errc::peer_lost));
  BOOST_TEST(result->attempts == 1u);
}

BOOST_AUTO_TEST_CASE(no_attempt_is_made_again_during_a_shutdown) {
  lone_supervisor rank{restart_policy{}};
  rank.offer(first);
  rank.logic.refuse_new();
  rank.fail_attempt();
  BOOST_TEST(rank.ended().has_value());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(supervision)

BOOST_AUTO_TEST_CASE(what_may_pass_is_tried_again_and_nothing_else) {
  const std::set<errc> passing{errc::peer_lost, errc::lease_revoked, errc::transport_failed};
  for (int number = 1; number <= static_cast<int>(last_errc); ++number) {
    const auto code = static_cast<errc>(number);
    BOOST_TEST_CONTEXT("a pull that ends as " << to_string(code)) {
      troubled_ranks ranks;
      int pulls = 0;
      ranks.at(generation).plane->trouble = [&](plane_call call) -> std::optional<error> {
        if (call != plane_call::pull || pulls++ != 0)
          return std::nullopt;
        return error{code, "simulated"};
      };
      ranks.offer(1, {0, 4}, true);
      ranks.receive(1, 4);
      ranks.run(500ms);
      const auto& received = ranks.ended(generation);
      const auto& sent = ranks.ended(context);
      BOOST_REQUIRE(received.contains(1));
      BOOST_REQUIRE(sent.contains(1));
      if (passing.contains(code)) {
        BOOST_TEST(received.at(1).completed());
        BOOST_TEST(received.at(1).attempts == 2u);
        BOOST_TEST(ranks.arrived(1, 4));
        BOOST_TEST(sent.at(1).completed());
      } else {
        for (const auto* side : {&received, &sent}) {
          BOOST_REQUIRE(side->at(1).failure.has_value());
          BOOST_TEST((side->at(1).failure->code == code));
          BOOST_TEST(side->at(1).attempts == 1u);
        }
      }
      BOOST_TEST(ranks.left(context) == "");
      BOOST_TEST(ranks.left(generation) == "");
    }
  }
}

namespace {

/// How a request ends whose session throws whenever it passes a place.
enum class ending : std::uint8_t {
  failure,
  completion, ///< what was achieved before it throws is kept, so that it gets on
  either,     ///< the same, but it may need one restart more than there are: jitter decides
};

/// A place in a session where it throws.
struct throwing_place {
  std::string name;
  instance_role side;
  std::optional<plane_call> call{};   ///< of the data plane
  std::optional<probe_point> point{}; ///< or one of the protocol
  /// What else happens in the run, so that the place is passed in the handler that is meant.
  bool event = false;   ///< the first slice comes with a GPU event, which is complete later
  bool late = false;    ///< the receiver asks first, and a second slice comes later
  bool ticket = false;  ///< a ticket is wanted
  bool failing = false; ///< the first pull fails
  ending at_last = ending::failure;

  friend std::ostream& operator<<(std::ostream& out, const throwing_place& place) {
    return out << place.name;
  }
};

const std::vector<throwing_place> places{
    {.name = "send: start", .side = context, .call = plane_call::when, .event = true},
    {.name = "send: GPU event complete", .side = context, .call = plane_call::grant, .event = true},
    {.name = "send: later slice", .side = context, .call = plane_call::grant, .late = true},
    {.name = "send: pull request", .side = context, .call = plane_call::grant},
    {.name = "send: ticket wanted",
     .side = context,
     .call = plane_call::bearer_grant,
     .ticket = true},
    {.name = "send: slice done",
     .side = context,
     .call = plane_call::revoke,
     .at_last = ending::completion},
    {.name = "send: slice failed",
     .side = context,
     .call = plane_call::revoke,
     .failing = true,
     .at_last = ending::either},
    {.name = "send: introduced", .side = context, .point = probe_point::introduced},
    {.name = "send: requested", .side = context, .point = probe_point::requested},
    {.name = "send: granted", .side = context, .point = probe_point::granted},
    {.name = "send: pulling", .side = context, .point = probe_point::pulling},
    {.name = "send: done",
     .side = context,
     .point = probe_point::done,
     .at_last = ending::completion},
    {.name = "receive: start", .side = generation, .point = probe_point::introduced},
    {.name = "receive: requested", .side = generation, .point = probe_point::requested},
    {.name = "receive: granted", .side = generation, .point = probe_point::granted},
    {.name = "receive: slice granted", .side = generation, .call = plane_call::pull},
    {.name = "receive: pulling", .side = generation, .point = probe_point::pulling},
    {.name = "receive: pulled",
     .side = generation,
     .point = probe_point::done,
     .at_last = ending::completion},
    {.name = "receive: start by ticket",
     .side = generation,
     .call = plane_call::pull,
     .ticket = true},
};

constexpr auto crash_text = "thrown by the test";

/// Lets the place throw the first `times` times that it is passed. @returns how often it was.
std::shared_ptr<int> arm(troubled_ranks& ranks, const throwing_place& place, int times) {
  auto passed = std::make_shared<int>(0);
  const auto pass = [passed, times] {
    if ((*passed)++ < times)
      throw std::runtime_error{crash_text};
  };
  auto& rank = ranks.at(place.side);
  if (place.call)
    rank.plane->ahead = [pass, wanted = *place.call](plane_call call) {
      if (call == wanted)
        pass();
    };
  if (place.point)
    rank.context->options.probe = [pass, wanted = *place.point](probe_point point, request_id) {
      if (point == wanted)
        pass();
    };
  return passed;
}

/// All restarts were used up, and the text tells what was thrown.
void check_crash(const outcome& result) {
  BOOST_TEST(result.attempts == restart_policy{}.budget + 1);
  const auto& text = result.failure->text;
  BOOST_TEST(text.find("the session of request 1 crashed") != std::string::npos, text);
  BOOST_TEST(text.find(crash_text) != std::string::npos, text);
}

/// Hands request 1 over in the way that the place needs.
void hand_over(troubled_ranks& ranks, const throwing_place& place, fake_event& filled) {
  if (place.failing)
    ranks.at(generation).plane->trouble =
        [first = true](plane_call call) mutable -> std::optional<error> {
      if (call != plane_call::pull || !std::exchange(first, false))
        return std::nullopt;
      return error{errc::transport_failed, "a pull that fails"};
    };
  if (place.late)
    ranks.receive(1, 4);
  ranks.offer(1, {0, 2}, false, place.event ? &filled : nullptr);
  if (place.late)
    ranks.run(100ms);
  ranks.offer(1, {2, 4}, true);
  auto ticket = place.ticket ? ranks.ticket(1) : nullptr;
  if (!place.late)
    ranks.receive(1, 4, std::move(ticket));
  ranks.run(50ms);
  filled.complete = true;
  ranks.run(2s);
}

} // namespace

BOOST_DATA_TEST_CASE(a_session_that_throws_once_is_started_again, data::make(places), place) {
  troubled_ranks ranks;
  const auto passed = arm(ranks, place, 1);
  fake_event filled;
  hand_over(ranks, place, filled);
  BOOST_TEST(*passed > 0);
  for (const auto side : {context, generation}) {
    const auto& ended = ranks.ended(side);
    BOOST_REQUIRE(ended.contains(1));
    BOOST_TEST(ended.at(1).completed(),
               (ended.at(1).failure ? to_string(*ended.at(1).failure) : ""));
    if (side == place.side)
      BOOST_TEST(ended.at(1).attempts >= 2u);
    BOOST_TEST(ranks.left(side) == "");
  }
  BOOST_TEST(ranks.arrived(1, 4));
}

BOOST_DATA_TEST_CASE(a_session_that_throws_whenever_it_can_ends_on_both_sides_and_harms_no_other,
                     data::make(places), place) {
  troubled_ranks ranks;
  const auto passed = arm(ranks, place, 1'000);
  fake_event filled;
  hand_over(ranks, place, filled);
  BOOST_TEST(*passed > 1);
  for (const auto side : {context, generation}) {
    const auto& ended = ranks.ended(side);
    BOOST_REQUIRE(ended.contains(1));
    if (place.at_last == ending::completion)
      BOOST_TEST(ended.at(1).completed());
    if (place.at_last == ending::failure)
      BOOST_TEST(ended.at(1).failure.has_value());
    if (ended.at(1).failure) {
      BOOST_TEST((ended.at(1).failure->code == errc::transport_failed));
      if (side == place.side)
        check_crash(ended.at(1));
    }
    BOOST_TEST((ended.at(1).total < 1s));
    BOOST_TEST(ranks.left(side) == "");
  }
  // The rank itself is well.
  ranks.at(place.side).plane->ahead = [](plane_call) {};
  ranks.at(place.side).context->options.probe = nullptr;
  ranks.offer(2, {0, 4}, true);
  ranks.receive(2, 4);
  ranks.run(200ms);
  BOOST_TEST(ranks.ended(generation).at(2).completed());
  BOOST_TEST(ranks.ended(context).at(2).completed());
}

BOOST_AUTO_TEST_CASE(a_send_session_that_throws_when_its_link_is_lost_leaves_no_lease) {
  troubled_ranks ranks;
  fake_event never;
  ranks.offer(1, {0, 4}, true);
  ranks.receive(1, 4, nullptr, &never);
  ranks.run(100ms);
  BOOST_REQUIRE(ranks.at(context).plane->granted() == 1u);
  int thrown = 0;
  ranks.at(context).plane->ahead = [&](plane_call call) {
    if (call == plane_call::revoke && ++thrown < 5)
      throw std::runtime_error{crash_text};
  };
  ranks.leave(generation);
  ranks.run(5s);
  BOOST_TEST(thrown > 0);
  const auto& ended = ranks.ended(context);
  BOOST_REQUIRE(ended.contains(1));
  BOOST_REQUIRE(ended.at(1).failure.has_value());
  BOOST_TEST((ended.at(1).failure->code == errc::peer_lost));
  BOOST_TEST(ranks.left(context) == "");
}

BOOST_AUTO_TEST_CASE(what_is_thrown_need_not_be_an_exception) {
  troubled_ranks ranks;
  ranks.at(generation).plane->ahead = [](plane_call call) {
    if (call == plane_call::pull)
      throw 7;
  };
  ranks.offer(1, {0, 4}, true);
  ranks.receive(1, 4);
  ranks.run(1s);
  const auto& ended = ranks.ended(generation);
  BOOST_REQUIRE(ended.contains(1));
  BOOST_TEST((ended.at(1).failure->code == errc::transport_failed));
  BOOST_TEST(ranks.left(generation) == "");
}

BOOST_AUTO_TEST_CASE(leases_that_run_out_end_the_request_at_once_on_both_sides) {
  troubled_ranks ranks;
  ranks.at(context).plane->trouble = [](plane_call call) -> std::optional<error> {
    if (call != plane_call::grant)
      return std::nullopt;
    return error{errc::out_of_resources, "all simulated leases are in use"};
  };
  ranks.offer(1, {0, 4}, true);
  ranks.receive(1, 4);
  ranks.run(100ms);
  for (const auto side : {context, generation}) {
    const auto& ended = ranks.ended(side);
    BOOST_REQUIRE(ended.contains(1));
    BOOST_TEST((ended.at(1).failure->code == errc::out_of_resources));
    BOOST_TEST(ended.at(1).attempts == 1u);
    BOOST_TEST(ranks.left(side) == "");
  }
}

BOOST_AUTO_TEST_CASE(a_gpu_error_while_a_slice_is_filled_ends_only_its_request) {
  troubled_ranks ranks;
  fake_event broken;
  fake_event fine;
  ranks.receive(1, 4);
  ranks.offer(1, {0, 2}, false);
  ranks.offer(1, {2, 4}, true, &broken);
  ranks.offer(2, {0, 4}, true, &fine);
  ranks.run(100ms); // the first slice has been read by now
  broken.failed = true;
  ranks.run(50ms);
  for (const auto side : {context, generation}) {
    const auto& ended = ranks.ended(side);
    BOOST_REQUIRE(ended.contains(1));
    BOOST_TEST((ended.at(1).failure->code == errc::gpu_failed));
    BOOST_TEST(ended.at(1).attempts == 1u);
  }
  fine.complete = true;
  ranks.receive(2, 4);
  ranks.run(200ms);
  BOOST_TEST(ranks.ended(generation).at(2).completed());
}

BOOST_AUTO_TEST_CASE(a_request_that_follows_a_breakdown_at_once_is_refused) {
  for (const auto side : {context, generation}) {
    troubled_ranks ranks;
    ranks.at(side).plane->breakdown = error{errc::gpu_failed, "simulated breakdown"};
    const auto refused = ranks.refusal(side, 1);
    BOOST_REQUIRE(refused.has_value());
    BOOST_TEST((refused->code == errc::gpu_failed));
  }
}

/// A broken plane: what is under way, what waits, what comes.
BOOST_DATA_TEST_CASE(a_data_plane_that_fails_ends_all_its_rank_has_and_lets_in_no_more,
                     data::make({false, true}) * data::make({false, true}), on_context, of_gpu) {
  const auto side = on_context ? context : generation;
  const auto code = of_gpu ? errc::gpu_failed : errc::transport_failed;
  troubled_ranks ranks;
  fake_event never;
  const auto other = side == context ? generation : context;
  ranks.offer(1, {0, 4}, true);
  ranks.receive(1, 4, nullptr, &never); // granted, and pulling
  ranks.offer(2, {0, 4}, true);         // nobody has asked
  ranks.receive(3, 4);                  // asked too early
  ranks.offer(4, {0, 2}, false);
  ranks.receive(4, 4); // half of it has been read
  ranks.run(100ms);
  BOOST_REQUIRE(ranks.ended(context).empty());
  BOOST_REQUIRE(ranks.ended(generation).empty());

  ranks.at(side).plane->breakdown = error{code, "simulated breakdown"};
  ranks.run(100ms);
  const auto name = fmt::format("{} rank 0 has failed", to_string(side));
  const auto check = [&](instance_role where, std::uint64_t id) {
    BOOST_TEST_CONTEXT("request " << id << " on the " << to_string(where) << " rank") {
      const auto& ended = ranks.ended(where);
      BOOST_REQUIRE(ended.contains(id));
      BOOST_REQUIRE(ended.at(id).failure.has_value());
      BOOST_TEST((ended.at(id).failure->code == code));
      const auto& text = ended.at(id).failure->text;
      BOOST_TEST(text.find(name) != std::string::npos, text);
      BOOST_TEST(text.find("simulated breakdown") != std::string::npos, text);
    }
  };
  for (const auto id : {1u, 4u}) {
    check(context, id);
    check(generation, id);
  }
  check(side, side == context ? 2 : 3);
  if (side == context)
    check(generation, 3); // it waited there for its offer
  BOOST_TEST(ranks.left(side) == "");

  const auto refused = ranks.refusal(side, 5);
  BOOST_REQUIRE(refused.has_value());
  BOOST_TEST((refused->code == code));
  BOOST_TEST(refused->text.find(name) != std::string::npos, refused->text);
  // The other side's new request ends as soon as it is heard of.
  if (side == context) {
    ranks.receive(6, 4);
    ranks.run(100ms);
    check(generation, 6);
    BOOST_TEST(ranks.left(other) == "");
  }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
