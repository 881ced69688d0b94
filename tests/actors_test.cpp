#include <boost/test/unit_test.hpp>
#include <caf/all.hpp>

#include "actors/caf_error.hpp"
#include "actors/config.hpp"
#include "actors/door.hpp"
#include "actors/transceiver_actor.hpp"
#include "transport/fake_plane.hpp"

/// The actors of whole ranks on CAF's deterministic scheduler and its virtual clock, over the fake
/// data plane: one thread, no network. Endpoints are looked up in a table.
namespace baton {

namespace {

using namespace std::chrono_literals;

rank_layout layout_of(instance_role role) {
  rank_layout layout;
  layout.instance = role == instance_role::context ? "c" : "g";
  layout.life = incarnation{role == instance_role::context ? 1u : 2u};
  layout.role = role;
  layout.model = "m";
  layout.pools.push_back({memory_kind::host, 0, {}, 2, 64});
  layout.groups.push_back(
      {"full",
       1,
       0,
       {buffer_layout{0, cache_role::key, 0, 0, 2, 0, 1, 1, 2, 2, 1, element_type::bf16}}});
  return layout;
}

/// Without the network module: its thread would send into a job queue that has no lock.
struct threadless_config : caf::actor_system_config {
  threadless_config() {
    register_types(*this);
    set("scheduler.policy", caf::atom("testing"));
  }
};

struct two_ranks {
  struct rank {
    std::shared_ptr<fake_plane> plane;
    rank_context_ptr context;
    transceiver_actor actor;
    directory_actor listing;
    door_actor door;
  };

  two_ranks() {
    system.await_actors_before_shutdown(false);
    context = start(instance_role::context, "127.0.0.1:1001");
    generation = start(instance_role::generation, "127.0.0.1:1002");
    for (const auto* side : {&context, &generation})
      caf::anon_send(side->actor, atom::start_v, side->context->endpoint.host);
    run(100ms);
  }

  ~two_ranks() {
    for (const auto* side : {&context, &generation}) {
      caf::anon_send(side->actor, atom::stop_v);
      caf::anon_send_exit(side->door, caf::exit_reason::user_shutdown);
      caf::anon_send_exit(side->listing, caf::exit_reason::user_shutdown);
    }
    run(10ms);
    scheduler.clock().cancel_all();
  }

  rank start(instance_role role, const std::string& endpoint) {
    rank made;
    auto shared = std::make_shared<rank_context>();
    shared->layout = layout_of(role);
    made.plane = std::make_shared<fake_plane>(fabric, shared->layout.life);
    shared->plane = made.plane;
    shared->endpoint.host = endpoint;
    shared->local_door = [this](const std::string& wanted) -> std::optional<door_actor> {
      const auto found = doors.find(wanted);
      return found == doors.end() ? std::nullopt : std::optional{found->second};
    };
    made.context = shared;
    made.actor = system.spawn(transceiver_shell, shared);
    made.listing = system.spawn(directory, shared->layout, shared->options);
    made.door = system.spawn(door, shared, made.actor, made.listing);
    doors.emplace(endpoint, made.door);
    return made;
  }

  /// Runs all actors and the data planes for a span of virtual time.
  void run(std::chrono::milliseconds span) {
    for (auto left = span; left > 0ms; left -= 1ms) {
      scheduler.run();
      world.run(world.now() + 1ms);
      scheduler.advance_time(1ms);
    }
    scheduler.run();
  }

  void offer(std::uint64_t id, std::uint32_t tokens, std::chrono::milliseconds timeout = 10s,
             fake_event* after = nullptr) {
    send_slice slice{
        .request = request_id{id}, .tokens = {0, tokens}, .blocks = {table(0, tokens)}, .aux = {}};
    slice.timeout = timeout;
    slice.after = {after};
    for (std::uint32_t block = 0; block < tokens; ++block)
      context.plane->write("full", block, id);
    caf::anon_send(context.actor, atom::offer_v, std::move(slice));
  }

  static group_blocks table(std::uint32_t first, std::uint32_t tokens) {
    group_blocks blocks{"full", 0, {}};
    for (std::uint32_t token = 0; token < tokens; ++token)
      blocks.blocks.push_back(first + token);
    return blocks;
  }

  auto receive(std::uint64_t id, std::uint32_t tokens, std::chrono::milliseconds timeout = 10s,
               fake_event* after = nullptr) {
    receive_request wish{.request = request_id{id},
                         .context = {"127.0.0.1:1001", 0},
                         .tokens = tokens,
                         .blocks = {table(32, tokens)}};
    wish.timeout = timeout;
    wish.after = {after};
    return self->request(generation.actor, caf::infinite, atom::receive_v, std::move(wish));
  }

  template <class Handle>
  outcome result_of(Handle handle) {
    outcome got;
    handle.receive([&](outcome& answer) { got = std::move(answer); },
                   [&](caf::error& err) { got.failure = from_caf(err, "receive"); });
    return got;
  }

  template <class Result, class... Args>
  Result ask(const transceiver_actor& actor, Args&&... args) {
    Result result{};
    auto handle = self->request(actor, caf::infinite, std::forward<Args>(args)...);
    run(1ms);
    handle.receive([&](Result& answer) { result = std::move(answer); },
                   [](caf::error& err) { BOOST_ERROR(caf::to_string(err)); });
    return result;
  }

  void require_empty() {
    for (const auto* side : {&context, &generation}) {
      const auto counts = ask<transceiver::statistics>(side->actor, atom::stats_v);
      BOOST_TEST(counts.live_sends + counts.live_receives + counts.sessions +
                     counts.early_requests + counts.leases_granted ==
                 0u);
    }
  }

  fake_world world{42};
  fake_fabric fabric{world, {}, {}};
  threadless_config config;
  caf::actor_system system{config};
  caf::scheduler::test_coordinator& scheduler =
      dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
  std::map<std::string, door_actor> doors; ///< gone before the system is, as all handles must be
  rank context;
  rank generation;
  caf::scoped_actor self{system, true};
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(actors, two_ranks)

BOOST_AUTO_TEST_CASE(a_request_is_handed_over) {
  offer(1, 4);
  auto answer = receive(1, 4);
  run(100ms);
  const auto result = result_of(std::move(answer));
  BOOST_TEST(result.completed());
  for (std::uint32_t block = 32; block < 36; ++block)
    BOOST_TEST(generation.plane->block("full", block) == 1u);
  require_empty();
}

BOOST_AUTO_TEST_CASE(a_request_is_handed_over_by_ticket) {
  offer(1, 4);
  const auto params =
      ask<disaggregated_params>(context.actor, atom::params_v, request_id{1}, std::int64_t{100});
  BOOST_REQUIRE(params.ticket != nullptr);
  receive_request wish{
      .request = request_id{1}, .context = params, .tokens = 4, .blocks = {table(32, 4)}};
  auto answer = self->request(generation.actor, caf::infinite, atom::receive_v, std::move(wish));
  run(100ms);
  const auto result = result_of(std::move(answer));
  BOOST_REQUIRE(result.completed());
  BOOST_TEST((result.sources.at(0).ticket == ticket_use::used));
  require_empty();
}

BOOST_AUTO_TEST_CASE(a_question_before_the_offer_waits) {
  auto answer = receive(1, 4);
  run(500ms);
  offer(1, 4);
  run(100ms);
  BOOST_TEST(result_of(std::move(answer)).completed());
  require_empty();
}

BOOST_AUTO_TEST_CASE(a_deadline_passes_in_virtual_time) {
  auto answer = receive(1, 4, 5s);
  run(5'100ms);
  const auto result = result_of(std::move(answer));
  BOOST_REQUIRE(result.failure.has_value());
  BOOST_TEST((result.failure->code == errc::timed_out));
  require_empty();
}

BOOST_AUTO_TEST_CASE(a_live_id_is_refused) {
  auto answer = receive(1, 4);
  run(10ms);
  auto again = receive(1, 4);
  run(10ms);
  const auto refused = result_of(std::move(again));
  BOOST_REQUIRE(refused.failure.has_value());
  BOOST_TEST((refused.failure->code == errc::duplicate_request));
  offer(1, 4);
  run(100ms);
  BOOST_TEST(result_of(std::move(answer)).completed());
}

BOOST_AUTO_TEST_CASE(a_cancel_is_answered_when_the_blocks_are_free) {
  offer(1, 30);
  auto answer = receive(1, 30);
  run(20ms);
  BOOST_REQUIRE(generation.plane->jobs() == 1u);
  auto cancelled = self->request(generation.actor, caf::infinite, atom::cancel_v, request_id{1});
  run(50ms);
  cancelled.receive([&](bool safe) { BOOST_TEST(safe); },
                    [](caf::error& err) { BOOST_ERROR(caf::to_string(err)); });
  BOOST_TEST(generation.plane->jobs() == 0u);
  const auto result = result_of(std::move(answer));
  BOOST_REQUIRE(result.failure.has_value());
  BOOST_TEST((result.failure->code == errc::cancelled));
  run(50ms);
  require_empty();
}

BOOST_AUTO_TEST_CASE(a_session_that_crashes_is_started_again) {
  generation.context->options.probe = [crashes = 0](probe_point point, request_id) mutable {
    if (point == probe_point::granted && crashes++ == 0)
      throw std::runtime_error{"simulated"};
  };
  offer(1, 4);
  auto answer = receive(1, 4);
  run(500ms);
  const auto result = result_of(std::move(answer));
  BOOST_TEST(result.completed());
  BOOST_TEST(result.attempts == 2u);
  require_empty();
}

BOOST_AUTO_TEST_CASE(a_directory_that_is_not_there_is_asked_until_the_deadline) {
  doors.erase("127.0.0.1:1001");
  auto answer = receive(1, 4, 2s);
  run(2'200ms);
  const auto result = result_of(std::move(answer));
  BOOST_REQUIRE(result.failure.has_value());
  BOOST_TEST((result.failure->code == errc::timed_out));
  require_empty();
}

BOOST_AUTO_TEST_CASE(the_end_of_the_transceiver_answers_whoever_waits) {
  auto answer = receive(1, 4);
  run(10ms);
  caf::anon_send(generation.actor, atom::stop_v);
  run(10ms);
  const auto result = result_of(std::move(answer));
  BOOST_REQUIRE(result.failure.has_value());
  BOOST_TEST((result.failure->code == errc::shutting_down));
}

BOOST_AUTO_TEST_CASE(bytes_move_only_after_the_events_of_both_sides) {
  fake_event filled;
  fake_event unused;
  offer(1, 4, 10s, &filled);
  auto answer = receive(1, 4, 10s, &unused);
  run(100ms);
  BOOST_TEST(context.plane->waits() == 1u);
  BOOST_TEST(context.plane->granted() == 0u);
  filled.complete = true;
  run(100ms);
  BOOST_TEST(context.plane->granted() == 1u);
  BOOST_TEST(generation.plane->jobs() == 1u);
  BOOST_TEST(generation.plane->block("full", 32) == 0u);
  unused.complete = true;
  run(100ms);
  BOOST_TEST(result_of(std::move(answer)).completed());
  BOOST_TEST(generation.plane->block("full", 32) == 1u);
  require_empty();
}

BOOST_AUTO_TEST_CASE(events_that_are_complete_already_hold_up_nothing) {
  fake_event complete{.complete = true};
  offer(1, 4, 10s, &complete);
  auto answer = receive(1, 4, 10s, &complete);
  run(100ms);
  BOOST_TEST(result_of(std::move(answer)).completed());
  require_empty();
}

BOOST_AUTO_TEST_CASE(failed_gpu_work_ends_the_request_on_both_sides) {
  fake_event broken{.failed = true};
  auto answer = receive(1, 4);
  run(10ms);
  offer(1, 4, 10s, &broken);
  run(100ms);
  const auto result = result_of(std::move(answer));
  BOOST_REQUIRE(result.failure.has_value());
  BOOST_TEST((result.failure->code == errc::gpu_failed));
  require_empty();
}

BOOST_AUTO_TEST_CASE(the_end_of_the_transceiver_ends_the_wait_for_an_event) {
  fake_event never;
  offer(1, 4, 10s, &never);
  run(10ms);
  BOOST_REQUIRE(context.plane->waits() == 1u);
  caf::anon_send(context.actor, atom::stop_v);
  run(10ms);
  BOOST_TEST(context.plane->waits() == 0u);
}

BOOST_AUTO_TEST_CASE(a_held_up_send_grants_nothing_after_the_end_of_its_transceiver) {
  // The engine shuts down while the session is held up in the middle of a handler.
  context.context->options.probe = [this](probe_point point, request_id) {
    if (point != probe_point::requested)
      return;
    caf::anon_send(context.actor, atom::end_all_v);
    caf::anon_send(context.actor, atom::stop_v);
    scheduler.run();
  };
  offer(1, 4);
  auto answer = receive(1, 4, 1s);
  run(1'500ms);
  BOOST_TEST(context.plane->granted() == 0u);
  BOOST_TEST(!result_of(std::move(answer)).completed());
}

BOOST_AUTO_TEST_CASE(a_held_up_receive_writes_nothing_after_the_end_of_its_transceiver) {
  generation.context->options.probe = [this](probe_point point, request_id) {
    if (point != probe_point::granted)
      return;
    caf::anon_send(generation.actor, atom::end_all_v);
    caf::anon_send(generation.actor, atom::stop_v);
    scheduler.run();
  };
  offer(1, 4, 1s);
  auto answer = receive(1, 4);
  run(1'500ms);
  BOOST_TEST(generation.plane->jobs() == 0u);
  for (std::uint32_t block = 32; block < 36; ++block)
    BOOST_TEST(generation.plane->block("full", block) == 0u);
  BOOST_TEST((result_of(std::move(answer)).failure->code == errc::shutting_down));
}

BOOST_AUTO_TEST_CASE(a_peer_that_ends_during_the_introduction_is_lost_at_once) {
  const auto endpoint = "127.0.0.1:1003";
  auto layout = layout_of(instance_role::context);
  layout.life = incarnation{3};
  const auto instance = encode(instance_info{{rank_info{layout, "127.0.0.1", 1003, "fake"}}});
  const auto asked = std::make_shared<std::size_t>(0);
  // It describes itself, and lets whoever introduces himself wait.
  auto silent = system.spawn([=](door_actor::pointer self) -> door_actor::behavior_type {
    return {
        [](atom::who) { return std::uint64_t{3}; },
        [=](atom::introduce, const std::string&, const caf::strong_actor_ptr&) {
          ++*asked;
          return self->make_response_promise<std::string, caf::strong_actor_ptr>();
        },
        [](atom::enlist, const std::string&) {},
        [=](atom::describe) { return instance; },
        [](atom::agree, const std::string&) {},
        [](atom::collect, std::uint32_t, std::uint64_t, std::uint64_t) -> caf::result<std::string> {
          return caf::sec::unexpected_message;
        },
    };
  });
  doors.emplace(endpoint, silent);
  receive_request wish{.request = request_id{1},
                       .context = {endpoint, 0},
                       .tokens = 4,
                       .blocks = {table(32, 4)},
                       .timeout = 60s};
  auto answer = self->request(generation.actor, caf::infinite, atom::receive_v, std::move(wish));
  run(20ms);
  BOOST_REQUIRE(*asked == 1u);
  caf::anon_send_exit(silent, caf::exit_reason::kill);
  run(20ms);
  BOOST_REQUIRE(ask<transceiver::statistics>(generation.actor, atom::stats_v).live_receives == 0u);
  const auto result = result_of(std::move(answer));
  BOOST_REQUIRE(result.failure.has_value());
  BOOST_TEST((result.failure->code == errc::peer_lost));
  BOOST_TEST((result.failure->text.find("another instance") != std::string::npos));
}

BOOST_AUTO_TEST_CASE(a_cancel_before_the_offer_ends_the_offer) {
  auto answer = receive(1, 4, 60s);
  run(20ms);
  BOOST_TEST(ask<bool>(generation.actor, atom::cancel_v, request_id{1}));
  run(20ms);
  offer(1, 4, 60s);
  run(50ms);
  require_empty();
  const auto ended =
      ask<std::vector<outcome>>(context.actor, atom::fetch_v,
                                static_cast<std::uint8_t>(instance_role::context), std::int64_t{0});
  BOOST_REQUIRE(ended.size() == 1u);
  BOOST_TEST((ended[0].failure->code == errc::cancelled));
  BOOST_TEST(!result_of(std::move(answer)).completed());
}

BOOST_AUTO_TEST_CASE(a_status_call_waits_for_what_was_live_when_it_was_made) {
  auto first = self->request(generation.actor, caf::infinite, atom::begin_v,
                             receive_request{.request = request_id{1},
                                             .context = {"127.0.0.1:1001", 0},
                                             .tokens = 4,
                                             .blocks = {table(32, 4)},
                                             .timeout = 1s});
  run(10ms);
  auto status =
      self->request(generation.actor, caf::infinite, atom::fetch_v,
                    static_cast<std::uint8_t>(instance_role::generation), std::int64_t{-1});
  run(10ms);
  auto second = self->request(generation.actor, caf::infinite, atom::begin_v,
                              receive_request{.request = request_id{2},
                                              .context = {"127.0.0.1:1001", 0},
                                              .tokens = 4,
                                              .blocks = {table(40, 4)},
                                              .timeout = 60s});
  run(1'100ms);
  BOOST_REQUIRE(ask<transceiver::statistics>(generation.actor, atom::stats_v).waiting_callers ==
                0u);
  status.receive([](std::vector<outcome>& ended) { BOOST_TEST(ended.size() == 1u); },
                 [](caf::error& err) { BOOST_ERROR(caf::to_string(err)); });
  const auto accepted = [](auto& call) {
    call.receive([] {}, [](caf::error& err) { BOOST_ERROR(caf::to_string(err)); });
  };
  accepted(first);
  accepted(second);
}

BOOST_AUTO_TEST_CASE(a_process_that_was_replaced_does_not_come_back) {
  const auto enlist = [&](std::uint64_t life) {
    auto layout = layout_of(instance_role::context);
    layout.life = incarnation{life};
    auto call = self->request(context.door, caf::infinite, atom::enlist_v,
                              encode(rank_info{layout, "127.0.0.1", 1001, "fake"}));
    run(1ms);
    std::optional<errc> refused;
    call.receive([] {}, [&](caf::error& err) { refused = from_caf(err, "").code; });
    return refused;
  };
  BOOST_TEST(!enlist(9));
  BOOST_TEST(!enlist(9));
  BOOST_TEST((enlist(1) == errc::duplicate_request));
}

BOOST_AUTO_TEST_CASE(a_garbled_introduction_is_refused) {
  auto knock = self->request(context.door, caf::infinite, atom::introduce_v, std::string{"garbage"},
                             caf::actor_cast<caf::strong_actor_ptr>(generation.door));
  run(10ms);
  knock.receive(
      [](const std::string&, const caf::strong_actor_ptr&) { BOOST_ERROR("let in"); },
      [](caf::error& err) { BOOST_TEST((from_caf(err, "").code == errc::invalid_argument)); });
  offer(1, 4);
  auto answer = receive(1, 4);
  run(100ms);
  BOOST_TEST(result_of(std::move(answer)).completed());
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
