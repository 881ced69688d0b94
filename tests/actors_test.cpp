#include <boost/test/unit_test.hpp>
#include <caf/all.hpp>

#include "actors/caf_error.hpp"
#include "tests/support/scheduled_ranks.hpp"

/// The actors of whole ranks over the fake data plane, in virtual time.
namespace baton {

namespace {

using namespace std::chrono_literals;

struct two_ranks : test::scheduled_ranks<fake_plane> {
  two_ranks() : scheduled_ranks{42} {}

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
