#include <atomic>
#include <functional>
#include <future>
#include <stdexcept>
#include <thread>

#include <boost/test/unit_test.hpp>

#include "actors/actors.hpp"
#include "tests/support/nodes.hpp"

using namespace baton;
using namespace baton::test;
using namespace std::chrono_literals;

namespace {

/// Each way out of a hand-over, through real ranks, links and lanes in one process. Whatever
/// happened, nothing may be left: this fixture looks after every case.
struct each_way_out {
  void start(deployment::shape form = {}) { world = std::make_unique<deployment>(std::move(form)); }

  ~each_way_out() {
    if (!world)
      return;
    BOOST_TEST(world->leftovers() == "");
    world.reset();
    const auto until = std::chrono::steady_clock::now() + 5s;
    while (!(measure() == before) && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(5ms);
    BOOST_TEST(measure().threads == before.threads);
    BOOST_TEST(measure().descriptors == before.descriptors);
  }

  std::future<outcome> receive(receive_request request) {
    return std::async(std::launch::async, [this, request] {
      return world->generation().door().request_and_receive_sync(request);
    });
  }

  void wait_for(const std::function<bool()>& reached) {
    const auto until = std::chrono::steady_clock::now() + 5s;
    while (!reached() && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(1ms);
    BOOST_REQUIRE(reached());
  }

  /// Offers the first block of two, and asks for both: returns with the session waiting.
  std::future<outcome> receive_half(std::uint64_t id) {
    auto part = world->slice(id, 3, 8);
    part.tokens = {0, 4};
    part.last = false;
    BOOST_REQUIRE(world->context().door().respond_and_send_async(part).has_value());
    auto waiting = receive(world->wish(id, 9, 8));
    wait_for([&] { return world->generation().door().stats().sessions == 1; });
    return waiting;
  }

  outcome context_outcome() {
    auto ended = world->context().door().check_context_transfer_status(1);
    BOOST_REQUIRE(ended.size() == 1u);
    return ended[0];
  }

  footprint before = [] {
    // Loads what is loaded once per process: UCX, CAF's network module.
    static const bool warm = [] {
      deployment once;
      return once.leftovers().empty();
    }();
    static_cast<void>(warm);
    return measure();
  }();
  std::unique_ptr<deployment> world;
};

errc code_of(const outcome& result) {
  BOOST_REQUIRE(result.failure.has_value());
  BOOST_TEST(!result.failure->text.empty());
  return result.failure->code;
}

deployment::shape with_lane(lane_policy policy) {
  deployment::shape form;
  form.lanes.lanes = policy;
  return form;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(transceiver_ways_out, each_way_out)

BOOST_AUTO_TEST_CASE(success_brings_every_byte_and_the_aux_data) {
  for (const auto lane : {lane_policy::mapped, lane_policy::ucx}) {
    start(with_lane(lane));
    for (std::uint32_t i = 0; i < 3; ++i) {
      world->context().fill(5 + i, static_cast<std::uint8_t>(i + 1));
      world->generation().fill(20 + i, 0xee);
    }
    world->generation().fill(23, 0xee);
    auto slice = world->slice(1, 5, 12);
    slice.aux = aux_data{{7}, {8, 9}, "opaque"};
    BOOST_REQUIRE(world->context().door().respond_and_send_async(slice).has_value());
    BOOST_TEST((world->context().door().state_of(request_id{1}) ==
                request_state::context_trans_in_progress));
    const auto result = world->generation().door().request_and_receive_sync(world->wish(1, 20, 12));
    BOOST_TEST(result.completed());
    BOOST_TEST((result.state == request_state::generation_trans_complete));
    BOOST_TEST((result.session == session_state::fully_transferred));
    BOOST_TEST((result.aux == slice.aux));
    BOOST_TEST(result.bytes == 3u * world->context().layout().pools[0].slot_bytes);
    BOOST_REQUIRE(result.sources.size() == 1u);
    BOOST_TEST((result.sources[0].lane.lane ==
                (lane == lane_policy::mapped ? lane_kind::mapped : lane_kind::ucx)));
    BOOST_TEST(!result.sources[0].lane.reason.empty());
    for (std::uint32_t i = 0; i < 3; ++i)
      BOOST_TEST(world->generation().holds(20 + i, static_cast<std::uint8_t>(i + 1)));
    BOOST_TEST(world->generation().holds(23, 0xee));
    BOOST_TEST((context_outcome().state == request_state::context_complete));
    BOOST_TEST((world->generation().door().state_of(request_id{1}) ==
                request_state::generation_trans_complete));
    BOOST_TEST(world->leftovers() == "");
  }
}

BOOST_AUTO_TEST_CASE(async_receives_are_reported_by_the_status_calls) {
  start();
  for (std::uint64_t id = 1; id <= 4; ++id) {
    const auto block = static_cast<std::uint32_t>(id * 4);
    BOOST_REQUIRE(
        world->context().door().respond_and_send_async(world->slice(id, block, 8)).has_value());
    BOOST_REQUIRE(world->generation()
                      .door()
                      .request_and_receive_async(world->wish(id, block, 8))
                      .has_value());
  }
  const auto received = world->generation().door().check_gen_transfer_status(std::nullopt);
  BOOST_TEST(received.size() == 4u);
  for (const auto& result : received)
    BOOST_TEST(result.completed());
  BOOST_TEST(world->generation().door().check_gen_transfer_complete());
  BOOST_TEST(world->context().door().check_context_transfer_status(std::nullopt).size() == 4u);
}

BOOST_AUTO_TEST_CASE(a_fully_cached_request_completes_and_brings_its_aux_data) {
  start();
  world->generation().fill(9, 0xee);
  auto slice = world->slice(1, 3, 4);
  slice.aux = aux_data{{42}, {}, {}};
  BOOST_REQUIRE(world->context().door().respond_and_send_async(slice).has_value());
  const auto result =
      world->generation().door().request_and_receive_sync(world->wish(1, 9, 4, 10s, 4));
  BOOST_TEST(result.completed());
  BOOST_TEST(result.bytes == 0u);
  BOOST_TEST((result.aux == slice.aux));
  BOOST_TEST(world->generation().holds(9, 0xee));
  BOOST_TEST((context_outcome().state == request_state::context_complete));
}

BOOST_AUTO_TEST_CASE(a_request_that_nobody_offers_times_out) {
  start();
  const auto began = std::chrono::steady_clock::now();
  const auto result =
      world->generation().door().request_and_receive_sync(world->wish(1, 9, 4, 300ms));
  const auto took = std::chrono::steady_clock::now() - began;
  BOOST_TEST((code_of(result) == errc::timed_out));
  BOOST_TEST((result.state == request_state::trans_error));
  BOOST_TEST((took >= 300ms && took < 10s));
}

BOOST_AUTO_TEST_CASE(an_offer_that_timed_out_answers_the_late_question_at_once) {
  start();
  BOOST_REQUIRE(
      world->context().door().respond_and_send_async(world->slice(1, 3, 4, 100ms)).has_value());
  BOOST_TEST((code_of(context_outcome()) == errc::timed_out));
  const auto began = std::chrono::steady_clock::now();
  const auto result =
      world->generation().door().request_and_receive_sync(world->wish(1, 9, 4, 60s));
  BOOST_TEST((code_of(result) == errc::timed_out));
  BOOST_TEST((std::chrono::steady_clock::now() - began < 2s));
}

BOOST_AUTO_TEST_CASE(a_cancel_by_the_generation_side_ends_both) {
  start();
  auto waiting = receive(world->wish(1, 9, 8));
  wait_for([&] { return world->context().door().stats().early_requests == 1; });
  BOOST_TEST(world->generation().door().cancel_request(request_id{1}));
  BOOST_TEST((code_of(waiting.get()) == errc::cancelled));
  waiting = receive_half(2);
  BOOST_TEST(world->generation().door().cancel_request(request_id{2}));
  BOOST_TEST((code_of(waiting.get()) == errc::cancelled));
  BOOST_TEST((code_of(context_outcome()) == errc::cancelled));
}

BOOST_AUTO_TEST_CASE(a_cancel_by_the_context_side_ends_both) {
  start();
  auto waiting = receive_half(1);
  BOOST_TEST(world->context().door().cancel_request(request_id{1}));
  BOOST_TEST((code_of(waiting.get()) == errc::cancelled));
  BOOST_TEST((code_of(context_outcome()) == errc::cancelled));
  // The next chunk, which the engine was computing meanwhile, is refused with the reason.
  auto rest = world->slice(1, 3, 8);
  rest.tokens = {4, 8};
  const auto refused = world->context().door().respond_and_send_async(rest);
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error().code == errc::cancelled));
}

BOOST_AUTO_TEST_CASE(both_sides_may_cancel_at_once) {
  start();
  auto waiting = receive_half(1);
  auto other = std::async(std::launch::async,
                          [&] { return world->context().door().cancel_request(request_id{1}); });
  BOOST_TEST(world->generation().door().cancel_request(request_id{1}));
  BOOST_TEST(other.get());
  BOOST_TEST((code_of(waiting.get()) == errc::cancelled));
  BOOST_TEST((code_of(context_outcome()) == errc::cancelled));
}

BOOST_AUTO_TEST_CASE(a_live_id_is_refused_and_left_alone) {
  start();
  auto waiting = receive(world->wish(1, 9, 4));
  wait_for([&] { return world->context().door().stats().early_requests == 1; });
  const auto refused = world->generation().door().request_and_receive_sync(world->wish(1, 30, 4));
  BOOST_TEST((code_of(refused) == errc::duplicate_request));
  BOOST_TEST(refused.attempts == 0u);
  BOOST_TEST((world->generation().door().state_of(request_id{1}) ==
              request_state::generation_trans_in_progress));
  BOOST_REQUIRE(world->context().door().respond_and_send_async(world->slice(1, 3, 4)).has_value());
  BOOST_TEST(waiting.get().completed());
  BOOST_TEST(context_outcome().completed());
}

BOOST_AUTO_TEST_CASE(layouts_that_do_not_fit_are_refused_with_the_field) {
  start();
  deployment::shape other;
  other.model.head_dim = 16;
  deployment foreign{other};
  auto wish = world->wish(1, 9, 4);
  wish.context = foreign.context().door().get_disaggregated_params();
  const auto result = world->generation().door().request_and_receive_sync(wish);
  BOOST_TEST((code_of(result) == errc::incompatible_layout));
  BOOST_TEST((result.failure->text.find("model") != std::string::npos ||
              result.failure->text.find("head_dim") != std::string::npos));
}

BOOST_AUTO_TEST_CASE(a_context_instance_that_does_not_exist_is_reported) {
  start();
  auto wish = world->wish(1, 9, 4, 400ms);
  wish.context.endpoint = "127.0.0.1:1";
  BOOST_TEST(
      (code_of(world->generation().door().request_and_receive_sync(wish)) == errc::timed_out));
  wish = world->wish(2, 9, 4);
  wish.context.endpoint = "nowhere";
  BOOST_TEST((code_of(world->generation().door().request_and_receive_sync(wish)) ==
              errc::invalid_argument));
}

BOOST_AUTO_TEST_CASE(a_crashed_session_is_started_again) {
  std::atomic<int> crashes{0};
  deployment::shape form;
  form.generation_options.probe = [&](probe_point point, request_id) {
    if (point == probe_point::granted && crashes++ == 0)
      throw std::runtime_error{"simulated crash of the session"};
  };
  start(form);
  world->context().fill(3, 0x33);
  BOOST_REQUIRE(world->context().door().respond_and_send_async(world->slice(1, 3, 4)).has_value());
  const auto result = world->generation().door().request_and_receive_sync(world->wish(1, 9, 4));
  BOOST_TEST(result.completed());
  BOOST_TEST(result.attempts == 2u);
  BOOST_TEST(world->generation().holds(9, 0x33));
  BOOST_TEST(context_outcome().completed());
}

BOOST_AUTO_TEST_CASE(sessions_that_crash_again_and_again_end_the_request_on_both_sides) {
  deployment::shape form;
  form.context_options.probe = [](probe_point point, request_id) {
    if (point == probe_point::granted)
      throw std::runtime_error{"simulated crash of the session"};
  };
  start(form);
  BOOST_REQUIRE(world->context().door().respond_and_send_async(world->slice(1, 3, 4)).has_value());
  const auto result = world->generation().door().request_and_receive_sync(world->wish(1, 9, 4));
  BOOST_TEST((code_of(result) == errc::transport_failed));
  const auto sent = context_outcome();
  BOOST_TEST((code_of(sent) == errc::transport_failed));
  BOOST_TEST(sent.attempts == restart_policy{}.budget + 1);
}

BOOST_AUTO_TEST_CASE(shutdown_ends_what_waits) {
  start();
  auto waiting = receive(world->wish(1, 9, 4));
  wait_for([&] { return world->context().door().stats().early_requests == 1; });
  world->generation().door().shutdown();
  BOOST_TEST((code_of(waiting.get()) == errc::shutting_down));
  const auto refused = world->generation().door().request_and_receive_sync(world->wish(2, 9, 4));
  BOOST_TEST((code_of(refused) == errc::shutting_down));
}

BOOST_AUTO_TEST_CASE(shutdown_drains_what_can_still_complete) {
  start();
  auto waiting = receive(world->wish(1, 9, 4));
  wait_for([&] { return world->context().door().stats().early_requests == 1; });
  auto leaving = std::async(std::launch::async, [&] { world->generation().door().shutdown(5s); });
  BOOST_REQUIRE(world->context().door().respond_and_send_async(world->slice(1, 3, 4)).has_value());
  BOOST_TEST(waiting.get().completed());
  leaving.get();
}

BOOST_AUTO_TEST_CASE(what_a_shutdown_ends_is_told_by_the_status_call_after_it) {
  start();
  auto& rank = world->context().door();
  BOOST_REQUIRE(rank.respond_and_send_async(world->slice(1, 3, 4)).has_value());
  BOOST_REQUIRE(rank.respond_and_send_async(world->slice(2, 5, 4)).has_value());
  rank.shutdown(50ms);
  const auto ended = rank.check_context_transfer_status();
  BOOST_REQUIRE(ended.size() == 2u);
  for (const auto& one : ended)
    BOOST_TEST((code_of(one) == errc::shutting_down));
  BOOST_TEST(rank.check_context_transfer_status().empty());
}

BOOST_AUTO_TEST_CASE(a_port_that_others_can_reach_is_bound_only_on_demand) {
  start();
  auto& rank = world->context();
  const auto refusal = [&](const std::string& host) {
    const auto started = transceiver::start(rank.system(), rank.layout(), rank.plane_ptr(), {host});
    return started ? "" : started.error().text;
  };
  for (const auto* host : {"0.0.0.0", "10.77.0.1", "::", "some.host"})
    BOOST_TEST(refusal(host).starts_with(fmt::format("endpoint.host: {} is no loopback", host)));
  for (const auto* host : {"127.0.0.1", "127.8.8.8"})
    BOOST_TEST(refusal(host) == "");
  rank_endpoint anywhere{"0.0.0.0"};
  anywhere.trusted_network = true;
  BOOST_TEST(
      transceiver::start(rank.system(), rank.layout(), rank.plane_ptr(), anywhere).has_value());
}

BOOST_AUTO_TEST_CASE(a_source_from_which_nobody_pulls_is_told_so) {
  deployment::shape form;
  form.model.kv_heads = 1;
  form.model.mla = true;
  form.context.tp = 2;
  start(form);
  for (std::size_t rank = 0; rank < 2; ++rank)
    BOOST_REQUIRE(
        world->context(rank).door().respond_and_send_async(world->slice(1, 3, 4)).has_value());
  const auto result = world->generation().door().request_and_receive_sync(world->wish(1, 9, 4));
  BOOST_TEST(result.completed());
  BOOST_TEST(result.sources.size() == 1u);
  for (std::size_t rank = 0; rank < 2; ++rank) {
    const auto ended = world->context(rank).door().check_context_transfer_status(1);
    BOOST_REQUIRE(ended.size() == 1u);
    BOOST_TEST(ended[0].completed());
  }
}

BOOST_AUTO_TEST_CASE(a_prepared_request_is_computed_when_the_generation_side_has_asked) {
  start();
  auto& context = world->context().door();
  for (const bool asked_before : {false, true}) {
    const request_id id{asked_before ? 2u : 1u};
    std::future<outcome> waiting;
    const auto ask = [&] { waiting = receive(world->wish(id.value, 9, 4)); };
    if (asked_before) {
      ask();
      wait_for([&] { return context.stats().early_requests == 1; });
    }
    auto answer = context.prepare_context_requests({{id, 10s}});
    BOOST_TEST(answer.refused.empty());
    if (!asked_before) {
      BOOST_TEST(answer.ready.empty());
      BOOST_TEST((context.state_of(id) == request_state::context_wait_scheduler));
      // It is not waited for: nothing of it was offered.
      BOOST_TEST(context.check_context_transfer_status(std::nullopt).empty());
      ask();
      wait_for([&] {
        if (answer.ready.empty())
          answer = context.prepare_context_requests();
        return !answer.ready.empty();
      });
    }
    BOOST_REQUIRE(answer.ready.size() == 1u);
    BOOST_TEST((answer.ready[0] == id));
    BOOST_TEST((context.state_of(id) == request_state::context_init));
    BOOST_TEST(context.prepare_context_requests().ready.empty());
    BOOST_REQUIRE(context.respond_and_send_async(world->slice(id.value, 3, 4)).has_value());
    BOOST_TEST(waiting.get().completed());
    BOOST_TEST(context_outcome().completed());
  }
}

BOOST_AUTO_TEST_CASE(a_prepared_request_that_nobody_asks_for_is_reported) {
  start();
  auto& context = world->context().door();
  BOOST_TEST(context.prepare_context_requests({{request_id{1}, 100ms}}).refused.empty());
  std::vector<outcome> ended;
  wait_for([&] {
    if (ended.empty())
      ended = context.check_context_transfer_status();
    return !ended.empty();
  });
  BOOST_TEST((code_of(ended[0]) == errc::timed_out));
  BOOST_TEST((code_of(world->generation().door().request_and_receive_sync(
                  world->wish(1, 9, 4, 60s))) == errc::timed_out));
}

BOOST_AUTO_TEST_CASE(requests_that_cannot_be_prepared_are_named_with_the_reason) {
  start();
  auto& context = world->context().door();
  BOOST_REQUIRE(context.respond_and_send_async(world->slice(1, 3, 4)).has_value());
  const auto some = context.prepare_context_requests(
      {{request_id{1}, 10s}, {request_id{2}, 0ms}, {request_id{3}, 10s}});
  BOOST_REQUIRE(some.refused.size() == 2u);
  BOOST_TEST((some.refused[0].request == request_id{1}));
  BOOST_TEST((some.refused[0].reason.code == errc::duplicate_request));
  BOOST_TEST((some.refused[1].reason.code == errc::invalid_argument));
  BOOST_TEST(
      world->generation().door().prepare_context_requests({{request_id{1}, 10s}}).refused.size() ==
      1u);
  context.shutdown();
  const auto late = context.prepare_context_requests({{request_id{4}, 10s}});
  BOOST_REQUIRE(late.refused.size() == 1u);
  BOOST_TEST((late.refused[0].reason.code == errc::shutting_down));
}

BOOST_AUTO_TEST_CASE(actors_prepare_as_well) {
  start();
  auto& rank = world->context();
  caf::scoped_actor self{rank.system()};
  const auto prepare = [&](std::vector<context_request> requests) {
    preparation answer;
    self->request(actor_access::of(rank.door()), caf::infinite, atom::prepare_v,
                  std::move(requests))
        .receive([&](preparation& given) { answer = std::move(given); },
                 [](const caf::error&) { BOOST_ERROR("refused"); });
    return answer;
  };
  BOOST_TEST(prepare({{request_id{1}, 10s}}).ready.empty());
  auto waiting = receive(world->wish(1, 9, 4));
  bool ready = false;
  wait_for([&] { return ready = ready || !prepare({}).ready.empty(); });
  BOOST_REQUIRE(rank.door().respond_and_send_async(world->slice(1, 3, 4)).has_value());
  BOOST_TEST(waiting.get().completed());
}

BOOST_AUTO_TEST_CASE(bad_options_are_refused_with_the_field) {
  start();
  const auto refusal = [&](void (*spoil)(transceiver_options&)) {
    transceiver_options options;
    spoil(options);
    auto& rank = world->context();
    const auto started =
        transceiver::start(rank.system(), rank.layout(), nullptr, rank_endpoint{}, options);
    BOOST_REQUIRE(!started);
    BOOST_TEST((started.error().code == errc::invalid_argument));
    return started.error().text;
  };
  const auto names = [](const std::string& text, std::string_view field) {
    return text.find(field) != std::string::npos;
  };
  BOOST_TEST(names(refusal([](auto& o) { o.sweep = 0ms; }), "options.sweep: 0"));
  BOOST_TEST(names(refusal([](auto& o) { o.peer_grace = -1ms; }), "options.peer_grace: -1"));
  BOOST_TEST(names(refusal([](auto& o) { o.clean_up = std::chrono::milliseconds::max(); }),
                   "options.clean_up"));
  BOOST_TEST(names(refusal([](auto& o) { o.tombstones = 0; }), "options.tombstones: 0"));
  BOOST_TEST(names(refusal([](auto& o) { o.live_requests = 0; }), "options.live_requests: 0"));
  BOOST_TEST(names(refusal([](auto&) {}), "plane"));
}

BOOST_AUTO_TEST_CASE(a_timeout_beyond_all_bounds_is_refused) {
  start();
  const auto result = world->generation().door().request_and_receive_sync(
      world->wish(1, 9, 4, std::chrono::milliseconds::max()));
  BOOST_TEST((code_of(result) == errc::invalid_argument));
  BOOST_TEST(result.attempts == 0u);
}

BOOST_AUTO_TEST_CASE(after_a_shutdown_no_receive_counts_as_complete) {
  start();
  BOOST_TEST(world->generation().door().check_gen_transfer_complete());
  world->generation().door().shutdown();
  BOOST_TEST(!world->generation().door().check_gen_transfer_complete());
}

BOOST_AUTO_TEST_CASE(a_cancel_right_after_the_call_ends_both_sides_long_before_the_deadline) {
  start();
  // Whether the cancel overtakes the pull request is up to the scheduler; the end is the same.
  for (std::uint64_t id = 1; id <= 20; ++id) {
    auto& context = world->context().door();
    auto& generation = world->generation().door();
    auto part = world->slice(id, 3, 8, 60s);
    part.tokens = {0, 4};
    part.last = false;
    BOOST_REQUIRE(context.respond_and_send_async(part).has_value());
    BOOST_REQUIRE(generation.request_and_receive_async(world->wish(id, 9, 8, 60s)).has_value());
    BOOST_TEST(generation.cancel_request(request_id{id}));
    const auto received = generation.check_gen_transfer_status(1);
    BOOST_REQUIRE(received.size() == 1u);
    BOOST_TEST((code_of(received[0]) == errc::cancelled));
    const auto sent = context_outcome();
    BOOST_TEST((code_of(sent) == errc::cancelled));
    BOOST_TEST((sent.total < 30s));
  }
}

BOOST_AUTO_TEST_CASE(bad_arguments_are_refused_with_the_field_and_lose_nothing) {
  start();
  auto wish = world->wish(1, 9, 4);
  wish.blocks[0].blocks[0] = 64;
  auto refused = world->generation().door().request_and_receive_sync(wish);
  BOOST_TEST((code_of(refused) == errc::invalid_argument));
  BOOST_TEST((refused.failure->text.find("block id 64") != std::string::npos));
  auto slice = world->slice(1, 3, 4);
  slice.blocks[0].group = "other";
  const auto offered = world->context().door().respond_and_send_async(slice);
  BOOST_REQUIRE(!offered);
  BOOST_TEST((offered.error().text.find("'other'") != std::string::npos));
  slice = world->slice(1, 3, 4);
  slice.aux = aux_data{{}, {}, std::string(wire_limits::aux_bytes + 1, 'x')};
  BOOST_TEST(!world->context().door().respond_and_send_async(slice));
  BOOST_TEST(!world->generation().door().respond_and_send_async(world->slice(1, 3, 4)));
}

BOOST_AUTO_TEST_SUITE_END()
