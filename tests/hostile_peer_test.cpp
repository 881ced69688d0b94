#include <sys/resource.h>

#include <chrono>
#include <future>
#include <random>
#include <string>
#include <thread>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "tests/support/fleet.hpp"
#include "tests/support/plane_process.hpp"
#include "tests/support/resident.hpp"

using namespace baton;
using namespace baton::test;
using namespace std::chrono_literals;

namespace {

/// A good context and a good generation rank in this process, and a rank in another one that speaks
/// the protocol wrongly to one of them. Whatever it says, requests between the good ones go on, and
/// nothing is left when it is gone.
class company {
public:
  explicit company(instance_role hostile, lane_policy lanes = lane_policy::automatic)
      : context_{fleet_layout(instance_role::context, "c"), "", {}, plane(lanes)},
        generation_{fleet_layout(instance_role::generation, "g"), "", {}, plane(lanes)},
        peer_{HOSTILE_PEER, {std::string{to_string(hostile)}, "hostile"}},
        endpoint_{peer_.read_line()} {
    check_good();
    at_rest();
    before_ = measure_peers();
  }

  ~company() {
    peer_.end();
    check_good();
    const auto until = std::chrono::steady_clock::now() + 20s;
    const auto alone = [&] {
      return context_.door().stats().links == 1 && generation_.door().stats().links == 1 &&
             left_in(context_) == "nothing" && left_in(generation_) == "nothing" &&
             measure_peers().descriptors <= before_.descriptors &&
             measure_peers().mappings <= before_.mappings;
    };
    while (!alone() && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(5ms);
    BOOST_TEST(context_.door().stats().links == 1u);
    BOOST_TEST(generation_.door().stats().links == 1u);
    BOOST_TEST(left_in(context_) == "nothing");
    BOOST_TEST(left_in(generation_) == "nothing");
    BOOST_TEST(measure_peers().descriptors <= before_.descriptors);
    BOOST_TEST(measure_peers().mappings <= before_.mappings);
    check_good();
  }

  [[nodiscard]] node& context() { return context_; }
  [[nodiscard]] node& generation() { return generation_; }
  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }

  void check_good() {
    const auto ended = hand_over(context_, generation_, ++last_id_);
    BOOST_TEST(ended == "complete");
    // Nobody else fetches them.
    static_cast<void>(context_.door().check_context_transfer_status(0));
  }

  /// Has the other rank do something while requests go on.
  std::string beside(const std::string& command) {
    auto said = std::async(std::launch::async, [&] { return peer_.ask(command); });
    do {
      check_good();
    } while (said.wait_for(0s) != std::future_status::ready);
    return said.get();
  }

  /// Introduces the other rank to the good context rank.
  void introduce() {
    BOOST_REQUIRE(beside("introduce " + context_.door().endpoint() + " fine") == "ok");
  }

  /// Receives a request from the other rank, while others go on.
  outcome receive_from_it(std::uint64_t id, std::chrono::milliseconds limit) {
    auto wish = wish_for(id, endpoint_, 100, 32);
    wish.timeout = limit;
    auto ended = std::async(std::launch::async,
                            [&] { return generation_.door().request_and_receive_sync(wish); });
    do {
      check_good();
    } while (ended.wait_for(0s) != std::future_status::ready);
    return ended.get();
  }

  /// Offers blocks that nobody else asks for.
  void offer_to_it(std::uint64_t id) { BOOST_REQUIRE(offer(context_, id, 200, 32, 7)); }
  void take_back(std::uint64_t id) { BOOST_TEST(context_.door().cancel_request(request_id{id})); }

private:
  static plane_options plane(lane_policy lanes) {
    plane_options options;
    options.lanes = lanes;
    return options;
  }

  void at_rest() {
    for (auto last = peer_costs{}; !(last == measure_peers());) {
      last = measure_peers();
      std::this_thread::sleep_for(300ms);
    }
  }

  node context_;
  node generation_;
  line_process peer_;
  std::string endpoint_;
  std::uint64_t last_id_ = 0;
  peer_costs before_;
};

/// What a hostile peer may cost at most. ASan alone keeps 256 MiB of what was freed.
constexpr std::size_t memory_room = 500u << 20;

/// Ends when this does; not less than what is open already.
class fewer_descriptors {
public:
  explicit fewer_descriptors(rlim_t most) {
    getrlimit(RLIMIT_NOFILE, &before_);
    auto fewer = before_;
    fewer.rlim_cur = std::min(most, before_.rlim_cur);
    setrlimit(RLIMIT_NOFILE, &fewer);
  }
  ~fewer_descriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

private:
  rlimit before_{};
};

std::string port_in(const std::string& endpoint) {
  return endpoint.substr(endpoint.rfind(':') + 1);
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

struct bad_introduction {
  const char* how;
  const char* code;
  const char* names;
};

} // namespace

BOOST_AUTO_TEST_SUITE(hostile_peers)

BOOST_AUTO_TEST_CASE(an_introduction_that_makes_no_sense_is_refused_by_name) {
  company world{instance_role::generation};
  const auto memory = resident();
  for (const auto& [how, code, names] :
       {bad_introduction{"version", "version_mismatch", "the peer speaks protocol 2, this rank 1"},
        {"garbage", "invalid_argument", "introduction: 1000 bytes that are none"},
        {"bomb", "invalid_argument", "ranks: more than 4096"},
        {"role", "invalid_argument", "both 'c' and 'hostile' are context instances"},
        {"blocks_model", "incompatible_layout", "model"},
        {"rank", "invalid_argument", "rank"},
        {"model", "incompatible_layout", "model"},
        {"manifest", "invalid_argument", "manifest"},
        {"life", "invalid_argument", "belongs to peer"},
        {"nobody", "invalid_argument", "without the other end of the link"}})
    BOOST_TEST_CONTEXT(how) {
      const auto answer =
          world.beside(fmt::format("introduce {} {}", world.context().door().endpoint(), how));
      BOOST_TEST(has(answer, code), answer);
      BOOST_TEST(has(answer, names), answer);
    }
  BOOST_TEST(resident() < memory + memory_room);
  world.introduce();
}

BOOST_AUTO_TEST_CASE(a_question_that_makes_no_sense_is_answered_with_why) {
  company world{instance_role::generation};
  world.introduce();
  world.offer_to_it(1000001);
  const auto ask = [&](const std::string& how) { return world.beside("pull 1000001 " + how); };
  BOOST_TEST(has(ask("digest"), "incompatible_layout: layout digest"));
  BOOST_TEST(has(ask("rank"), "invalid_argument: rank 0 asks as rank 3"));
  BOOST_TEST(has(ask("receivers"), "4000 receivers"));
  BOOST_TEST(ask("garbage") == "silence");
  BOOST_TEST(ask("bomb") == "silence");
  // None of these was about the request: it is still there to be asked for.
  BOOST_TEST(ask("fine") == "granted 8 blocks");
  world.take_back(1000001);
}

BOOST_AUTO_TEST_CASE(who_came_for_blocks_cannot_ask_for_a_request) {
  company world{instance_role::generation};
  const auto came =
      world.beside(fmt::format("introduce {} blocks", world.context().door().endpoint()));
  BOOST_TEST(came == "ok");
  world.offer_to_it(1000001);
  const auto answer = world.beside("pull 1000001 fine");
  BOOST_TEST(has(answer, "invalid_argument"), answer);
  BOOST_TEST(has(answer, "for blocks only"), answer);
  world.introduce();
  BOOST_TEST(world.beside("pull 1000001 fine") == "granted 8 blocks");
  world.take_back(1000001);
}

BOOST_AUTO_TEST_CASE(receipts_and_cancels_are_taken_once) {
  company world{instance_role::generation};
  world.introduce();
  world.offer_to_it(1000001);
  world.offer_to_it(1000002);
  BOOST_TEST(world.beside("pull 1000001 fine") == "granted 8 blocks");
  BOOST_TEST(world.beside("done 1000001 500") == "ok");
  // The first receipt completed it. What comes after changes nothing.
  const auto until = std::chrono::steady_clock::now() + 5s;
  const auto state = [&] { return world.context().door().state_of(request_id{1000001}); };
  while (state() != request_state::context_complete && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(1ms);
  BOOST_TEST((state() == request_state::context_complete));
  BOOST_TEST(world.beside("undo 1000001 500") == "ok");
  BOOST_TEST((state() == request_state::context_complete));
  BOOST_TEST(has(world.beside("pull 1000001 fine"), "unknown_request: request 1000001 was handed"));
  BOOST_TEST(world.beside("pull 1000002 fine") == "granted 8 blocks");
  BOOST_TEST(world.context().door().stats().dropped_messages > 0u);
  world.take_back(1000002);
}

BOOST_AUTO_TEST_CASE(a_request_of_others_is_not_ended_by_meddling) {
  company world{instance_role::generation};
  world.introduce();
  // Offered in two slices, the second of which comes late.
  send_slice part;
  part.request = request_id{1000001};
  part.tokens = {0, 16};
  part.blocks = {{"full", 0, {200, 201, 202, 203}}};
  part.last = false;
  for (std::uint32_t block = 200; block < 208; ++block)
    world.context().fill(block, static_cast<std::uint8_t>(block));
  BOOST_REQUIRE(world.context().door().respond_and_send_async(part));
  auto ended = std::async(std::launch::async, [&] {
    return world.generation().door().request_and_receive_sync(
        wish_for(1000001, world.context().door().endpoint(), 300, 32));
  });
  const auto seed = std::random_device{}();
  BOOST_TEST_MESSAGE("seed " << seed);
  BOOST_TEST(world.beside(fmt::format("meddle 1000001 {} 500", seed)) == "ok");
  part.tokens = {16, 32};
  part.blocks = {{"full", 16, {204, 205, 206, 207}}};
  part.last = true;
  BOOST_REQUIRE(world.context().door().respond_and_send_async(part));
  const auto result = ended.get();
  BOOST_REQUIRE_MESSAGE(result.completed(), (result.failure ? to_string(*result.failure) : ""));
  for (std::uint32_t block = 0; block < 8; ++block)
    BOOST_TEST(world.generation().holds(300 + block, static_cast<std::uint8_t>(200 + block)));
}

BOOST_AUTO_TEST_CASE(noise_on_a_link_is_dropped) {
  company world{instance_role::generation};
  world.introduce();
  const auto seed = std::random_device{}();
  BOOST_TEST_MESSAGE("seed " << seed);
  const auto memory = resident();
  BOOST_TEST(world.beside(fmt::format("noise {} 3000", seed)) == "ok");
  BOOST_TEST(resident() < memory + memory_room);
}

BOOST_AUTO_TEST_CASE(a_directory_takes_neither_strangers_nor_votes_of_them) {
  company world{instance_role::generation};
  const auto answer = world.beside("knock " + world.context().door().endpoint() + " 200");
  BOOST_TEST(has(answer, "enlists with instance hostile, rank 0 of 'c' has c"), answer);
}

BOOST_AUTO_TEST_CASE(grants_that_make_no_sense_end_their_own_request_only) {
  company world{instance_role::context};
  std::uint64_t id = 2'000'000;
  for (const auto& [how, code, names] :
       {bad_introduction{"foreign", "invalid_argument", "1073741824"},
        {"fewer", "invalid_argument", "full"},
        {"range", "invalid_argument", "full"},
        {"group", "invalid_argument", "other"},
        {"lease", "invalid_argument", "lease"},
        {"request", "timed_out", ""},
        {"slices", "timed_out", ""},
        {"nothing", "timed_out", ""}})
    BOOST_TEST_CONTEXT(how) {
      BOOST_REQUIRE(world.beside("cheat " + std::string{how}) == "ok");
      const auto begin = std::chrono::steady_clock::now();
      const auto result = world.receive_from_it(++id, 1500ms);
      BOOST_REQUIRE(result.failure.has_value());
      const auto text = to_string(*result.failure);
      BOOST_TEST_MESSAGE(how << ": " << text);
      BOOST_TEST(text.starts_with(code), text);
      BOOST_TEST(has(text, names), text);
      BOOST_TEST((std::chrono::steady_clock::now() - begin < 4s));
    }
  // That it can grant at all, and that a grant that comes five times is taken once.
  BOOST_REQUIRE(world.beside("cheat true") == "ok");
  const auto result = world.receive_from_it(++id, 5s);
  BOOST_TEST(result.completed(), (result.failure ? to_string(*result.failure) : ""));
  BOOST_TEST(result.bytes == 8 * world.generation().layout().pools[0].slot_bytes);
}

BOOST_AUTO_TEST_CASE(another_version_of_ucx_is_refused) {
  company world{instance_role::context, lane_policy::ucx};
  BOOST_REQUIRE(world.beside("cheat ucx") == "ok");
  const auto result = world.receive_from_it(3'000'000, 1500ms);
  BOOST_REQUIRE(result.failure.has_value());
  const auto text = to_string(*result.failure);
  BOOST_TEST(text.starts_with("version_mismatch"), text);
  BOOST_TEST(has(text, "the peer's UCX is 9.9.9"), text);
}

BOOST_AUTO_TEST_CASE(half_messages_and_silence_hold_nobody_up) {
  company world{instance_role::generation};
  const auto port = port_in(world.context().door().endpoint());
  // Nothing, half a header of CAF's, one of an operation that there is not.
  for (const auto* bytes : {"", "0000000000000010",
                            "ff00000000000000000000000000000000000000000000"
                            "000000000000000000"})
    BOOST_TEST(world.beside(fmt::format("connects {} 20 {}", port, bytes)).ends_with("ions"));
  const auto begin = std::chrono::steady_clock::now();
  node late{fleet_layout(instance_role::generation, "late"), ""};
  BOOST_TEST(hand_over(world.context(), late, 5'000'000) == "complete");
  BOOST_TEST((std::chrono::steady_clock::now() - begin < 3s));
}

BOOST_AUTO_TEST_CASE(ten_thousand_connections_cost_a_bounded_number_of_descriptors) {
  const fewer_descriptors limit{2048};
  company world{instance_role::generation};
  const auto memory = resident();
  const auto port = port_in(world.context().door().endpoint());
  BOOST_TEST(world.beside(fmt::format("connects {} 10000", port)) == "10000 connections");
  // None may be left for anything else by now, and the good ranks need none.
  for (int i = 0; i < 20; ++i) {
    world.check_good();
    std::this_thread::sleep_for(50ms);
  }
  BOOST_TEST(world.beside("hang up") == "ok");
  node late{fleet_layout(instance_role::generation, "late"), ""};
  BOOST_TEST(hand_over(world.context(), late, 5'000'001, 20s) == "complete");
  BOOST_TEST(resident() < memory + memory_room);
}

BOOST_AUTO_TEST_SUITE_END()
