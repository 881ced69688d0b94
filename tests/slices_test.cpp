#include <boost/test/unit_test.hpp>

#include "tests/support/settled.hpp"

/// How a request may be cut into slices, by tokens and by layers.
using namespace baton;
using namespace baton::test;
using std::chrono::milliseconds;

namespace {

constexpr request_id first{1};
constexpr milliseconds deadline{200};
constexpr auto no_end = layer_range::no_end;

chaos with_layers(std::uint32_t layers, bool state = false) {
  chaos faults;
  faults.layers = layers;
  faults.state = state;
  return faults;
}

/// Offers pieces of a request to one rank that holds layers 0 to 2.
struct offers {
  /// @returns what the slice is refused for, or "".
  std::string next(token_range tokens, layer_range layers = {}, bool last = false) {
    send_slice slice;
    slice.request = first;
    slice.tokens = tokens;
    slice.last = last;
    slice.layers = layers;
    slice.timeout = deadline;
    if (layers.begin < 3)
      slice.blocks = {{"full", 0, {1, 2, 3, 4, 5, 6, 7, 8}}};
    const auto taken = world.context(0).logic().offer(world.clock().now(), std::move(slice));
    return taken ? "" : taken.error().text;
  }

  /// Offers two of the layers, and layer 2 too late.
  void offer_two_of_three() {
    world.context(0).offer(first, {{{0, 4}, {0, 2}}, {{0, 4}, {2, no_end}}}, deadline,
                           milliseconds{500});
    world.clock().run(world.clock().now() + milliseconds{5});
  }

  simulation world{1, {1, 0, 1}, with_layers(3)};
};

layer_list list_of(std::vector<std::uint32_t> layers) {
  return std::make_shared<const std::vector<std::uint32_t>>(std::move(layers));
}

/// Records what a receive session does.
struct recorder : receive_backend {
  void send(incarnation, wire_message) override {}
  void pull(std::uint32_t, std::uint32_t slice, pull_job) override { pulled.push_back(slice); }
  void report(session_report report) override { reports.push_back(std::move(report)); }
  void passed(probe_point) override {}

  std::vector<std::uint32_t> pulled;
  std::vector<session_report> reports;
};

/// A receiver of tokens [0, 4) of layers 2 and 5, which one source holds.
struct receiver {
  receiver() {
    receive_spec spec;
    spec.request.request = first;
    spec.wants = {{"full", {0, 4}}};
    spec.pull = pull_id{7};
    spec.route.sources = {
        {peer, 0, 1, {"full"}, false, {lane_kind::mapped, ""}, {list_of({2, 5})}}};
    session = std::make_unique<receive_protocol>(std::move(spec), seen);
    session->start({});
  }

  void read(std::uint32_t slice, token_range tokens, layer_range layers, bool last = false) {
    slice_grant grant;
    grant.request = first;
    grant.pull = pull_id{7};
    grant.offer = offer_id{2};
    grant.slice = slice;
    grant.last = last;
    grant.ranges = {{"full", tokens, {}, layers}};
    grant.right.owner = peer;
    session->handle(peer_message{peer, grant});
    session->pulled(0, slice, pull_stats{});
  }

  /// How the session ended.
  std::string end() const {
    const auto* report = std::get_if<session_end>(&seen.reports.back());
    return !report ? "not yet" : report->failure ? report->failure->reason.text : "";
  }

  incarnation peer{3};
  recorder seen;
  std::unique_ptr<receive_protocol> session;
};

} // namespace

BOOST_AUTO_TEST_SUITE(slices)

BOOST_AUTO_TEST_CASE(layers_may_come_in_any_order_and_between_tokens) {
  simulation world{1, {2, 1, 2}, with_layers(4, true)};
  world.hand_over(first,
                  {{{0, 3}, {0, 1}},
                   {{0, 7}, {3, no_end}},
                   {{3, 7}, {0, 1}},
                   {{0, 5}, {1, 3}},
                   {{5, 7}, {1, 3}}},
                  2, deadline);
  require_clean(world);
  for (std::size_t rank = 0; rank < 2; ++rank) {
    const auto& ended = world.generation(rank).outcomes().at(first);
    BOOST_TEST(ended.completed());
    BOOST_TEST(ended.bytes == 2u * (5 * 4 + 1));
  }
  for (std::size_t rank = 0; rank < 3; ++rank)
    BOOST_TEST(world.context(rank).outcomes().at(first).completed());
}

BOOST_AUTO_TEST_CASE(a_slice_without_a_layer_of_this_rank_is_done_with_no_byte) {
  simulation world{2, {1, 0, 2}, with_layers(2)};
  world.hand_over(first, {{{0, 4}, {0, 2}}, {{0, 4}, {2, 9}}, {{0, 4}, {9, no_end}}}, 0, deadline);
  require_clean(world);
  BOOST_TEST(world.context(0).outcomes().at(first).completed());
  for (std::size_t rank = 0; rank < 2; ++rank) {
    BOOST_TEST(world.generation(rank).outcomes().at(first).completed());
    BOOST_TEST(world.generation(rank).outcomes().at(first).bytes == 8u);
  }
}

BOOST_AUTO_TEST_CASE(the_tokens_of_a_layer_follow_without_a_gap) {
  offers to;
  BOOST_TEST(to.next({0, 4}, {0, 2}) == "");
  BOOST_TEST(to.next({4, 6}) == "request 1: a slice from token 4 of layer 2 follows one up to 0");
  BOOST_TEST(to.next({4, 6}, {1, 3}) ==
             "request 1: a slice from token 4 of layer 2 follows one up to 0");
  BOOST_TEST(to.next({5, 6}, {1, 2}) ==
             "request 1: a slice from token 5 of layer 1 follows one up to 4");
  BOOST_TEST(to.next({0, 4}, {0, 1}) ==
             "request 1: a slice from token 0 of layer 0 follows one up to 4");
  BOOST_TEST(to.next({4, 6}, {1, 2}) == "");
  BOOST_TEST(to.next({0, 6}, {2, no_end}) == "");
  BOOST_TEST(to.next({4, 6}, {0, 1}) == "");
  BOOST_TEST(to.next({5, 7}) == "request 1: a slice from token 5 follows one up to 6");
  BOOST_TEST(to.next({6, 7}, {1, 1}) == "request 1: a slice of layers [1, 1) is empty");
  BOOST_TEST(to.next({6, 7}, {}, true) == "");
}

BOOST_AUTO_TEST_CASE(the_last_slice_completes_every_layer) {
  offers to;
  BOOST_TEST(
      to.next({0, 4}, {0, 2}, true) ==
      "request 1: with its last slice, layer 2 has tokens up to 0, others up to 4; offer all "
      "tokens of every layer before");
  BOOST_TEST(to.world.context(0).logic().live() == 0u);
  BOOST_TEST(to.next({0, 4}) == "");
  BOOST_TEST(to.next({4, 6}, {0, 1}) == "");
  BOOST_TEST(
      to.next({4, 5}, {1, no_end}, true) ==
      "request 1: with its last slice, layer 1 has tokens up to 5, others up to 6; offer all "
      "tokens of every layer before");
  BOOST_TEST(to.next({4, 6}, {1, no_end}, true) == "");
}

BOOST_AUTO_TEST_CASE(a_request_begins_at_layer_0) {
  offers to;
  BOOST_TEST(
      to.next({0, 4}, {1, 2}) ==
      "request 1: its first slice starts at layer 1, not at 0; begin with layer 0, whichever "
      "layers the rank holds");
  BOOST_TEST(to.next({4, 8}, {0, 2}) == "request 1: its first slice starts at token 4, not at 0");
}

BOOST_AUTO_TEST_CASE(late_layers_of_a_request_that_has_ended_get_its_reason) {
  offers to;
  to.offer_two_of_three();
  to.world.context(0).cancel(first);
  require_clean(to.world);
  BOOST_TEST(to.next({0, 4}, {1, 2}) == "request 1 was cancelled by the engine of context rank 0");
  BOOST_TEST(to.next({0, 4}, {0, 1}) == "");
}

BOOST_AUTO_TEST_CASE(the_text_of_a_deadline_names_the_layer_that_is_behind) {
  offers to;
  to.offer_two_of_three();
  require_clean(to.world);
  const auto& failure = to.world.context(0).outcomes().at(first).failure;
  BOOST_REQUIRE(failure.has_value());
  BOOST_TEST(failure->text.find("its slices ended at token 0 of layer 2;") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_receiver_looks_whether_it_was_offered_every_token_of_its_layers) {
  receiver whole;
  whole.read(0, {0, 3}, {0, 3});
  whole.read(1, {0, 4}, {3, no_end});
  BOOST_TEST(whole.end() == "not yet");
  whole.read(2, {3, 4}, {0, 3}, true);
  BOOST_TEST(whole.end() == "");

  receiver one_short;
  one_short.read(0, {0, 4}, {0, 5});
  one_short.read(1, {0, 3}, {5, 6}, true);
  BOOST_TEST(one_short.end() ==
             "context rank 0 marked its last slice of request 1, but offered the tokens of layer 5 "
             "of group 'full' only up to 3 of 4; offer all tokens of the request");

  receiver other_layers;
  other_layers.read(0, {0, 4}, {0, 2});
  other_layers.read(1, {0, 4}, {3, no_end}, true);
  BOOST_TEST(other_layers.end().find("layer 2 of group 'full' only up to 0") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
