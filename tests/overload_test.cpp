#include <algorithm>
#include <csignal>
#include <thread>

#include <boost/test/unit_test.hpp>

#include "actors/actors.hpp"
#include "examples/support/value_of.hpp"
#include "tests/support/fleet.hpp"
#include "tests/support/plane_process.hpp"
#include "tests/support/resident.hpp"
#include "tests/support/slow_plane.hpp"

/// More than a rank can do at once, or more than it has room for: it refuses with an error that
/// names who and what to do, or lets wait within the deadline; in bounded memory, with nobody
/// forgotten, and works on afterwards.
namespace baton {

namespace {

using namespace test;
using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

#ifdef __SANITIZE_ADDRESS__
constexpr bool under_asan = true;
#else
constexpr bool under_asan = false;
#endif

/// Requests at once; ASan takes several times as long for each.
constexpr std::uint32_t many = under_asan ? 5'000 : 50'000;
/// Blocks besides, for those who come when it is full.
constexpr std::uint32_t spare = 64;
/// What DESIGN 11 allows for a session.
constexpr std::size_t session_bytes = 8 * 1024;
constexpr auto ample = 60s;
/// What so many deadlines that pass together may take to be seen to.
constexpr auto late = 3s;

/// What `count` requests that are live now have added.
std::size_t bytes_each(std::size_t before, std::size_t count) {
  const auto now = resident();
  return now > before ? (now - before) / count : 0;
}

std::chrono::milliseconds ms(auto span) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(span);
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

/// One block of one token a request: all that is left is what a request costs.
rank_layout tiny_layout(instance_role role, const std::string& instance) {
  handoff::model_spec model;
  model.head_dim = 8;
  handoff::side_spec side;
  side.blocks = many + spare;
  return examples::value_of(handoff::build_instance(model, side, role, instance)).front();
}

std::uint8_t byte_of(std::uint32_t id) {
  return static_cast<std::uint8_t>(1 + id % 251);
}

send_slice slice_of(std::uint32_t id, std::chrono::milliseconds timeout) {
  send_slice slice;
  slice.request = request_id{id};
  slice.tokens = {0, 1};
  slice.blocks = {{"full", 0, {id}}};
  slice.timeout = timeout;
  return slice;
}

/// A context and a generation rank with a block for each request: number `id` lies in block `id` of
/// both.
struct crowded_ranks {
  explicit crowded_ranks(transceiver_options context_limits = {},
                         transceiver_options generation_limits = {}, plane_options lanes = {})
      : context{tiny_layout(instance_role::context, "c"), "", std::move(context_limits), lanes},
        generation{tiny_layout(instance_role::generation, "g"), "", std::move(generation_limits),
                   lanes} {
    for (std::uint32_t id = 0; id < many + spare; ++id)
      context.fill(id, byte_of(id));
    BOOST_REQUIRE(hand_over_one(many + spare - 1) == "complete"); // they know each other
  }

  [[nodiscard]] expected<> offer(std::uint32_t id, std::chrono::milliseconds timeout = ample) {
    return context.door().respond_and_send_async(slice_of(id, timeout));
  }

  [[nodiscard]] receive_request wish(std::uint32_t id, std::chrono::milliseconds timeout = ample) {
    receive_request request;
    request.request = request_id{id};
    request.context = {context.door().endpoint(), 0};
    request.tokens = 1;
    request.blocks = {{"full", 0, {id}}};
    request.timeout = timeout;
    return request;
  }

  [[nodiscard]] expected<> ask(std::uint32_t id, std::chrono::milliseconds timeout = ample) {
    return generation.door().request_and_receive_async(wish(id, timeout));
  }

  /// Throws offers or receives at a rank, without waiting for an answer to any. Returns when the
  /// rank has heard them all.
  void throw_offers(std::uint32_t first, std::uint32_t end, std::chrono::milliseconds timeout) {
    const auto door = actor_access::of(context.door());
    for (auto id = first; id < end; ++id)
      caf::anon_send(door, atom::offer_v, slice_of(id, timeout));
    static_cast<void>(context.door().stats());
  }
  template <class TimeoutOf>
  void throw_receives(std::uint32_t first, std::uint32_t end, TimeoutOf timeout_of) {
    const auto door = actor_access::of(generation.door());
    for (auto id = first; id < end; ++id)
      caf::anon_send(door, atom::begin_v, wish(id, timeout_of(id)));
    static_cast<void>(generation.door().stats());
  }

  /// Hands one request over by itself, and fetches both ends.
  std::string hand_over_one(std::uint32_t id) {
    generation.fill(id, 0);
    if (auto offered = offer(id); !offered)
      return to_string(offered.error());
    const auto result = generation.door().request_and_receive_sync(wish(id, 10s));
    static_cast<void>(context.door().check_context_transfer_status(std::nullopt));
    if (!result.completed())
      return to_string(*result.failure);
    return generation.holds(id, byte_of(id)) ? "complete" : "wrong bytes";
  }

  [[nodiscard]] std::size_t wrong_blocks(std::uint32_t first, std::uint32_t end) const {
    std::size_t wrong = 0;
    for (auto id = first; id < end; ++id)
      wrong += generation.holds(id, byte_of(id)) ? 0 : 1;
    return wrong;
  }

  /// Nothing is left of any request on either rank; waited for.
  void require_idle() {
    const auto until = clock::now() + 5s;
    while ((left_in(context) != "nothing" || left_in(generation) != "nothing") &&
           clock::now() < until)
      std::this_thread::sleep_for(2ms);
    BOOST_TEST(left_in(context) == "nothing");
    BOOST_TEST(left_in(generation) == "nothing");
  }

  node context;
  node generation;
};

/// A generation rank whose pulls each begin late.
struct slow_rank {
  explicit slow_rank(std::chrono::milliseconds pause)
      : layout{tiny_layout(instance_role::generation, "slow")} {
    layout.life = random_id<incarnation>();
    std::vector<host_pool> pools;
    pools.push_back(examples::value_of(host_pool::create(layout.pools[0].bytes())));
    real = examples::value_of(rank_plane::create(layout.life, layout, std::move(pools)));
    door.emplace(examples::value_of(transceiver::start(
        system, layout, std::make_shared<slow_plane>(real, pause), rank_endpoint{})));
  }

  rank_layout layout;
  actor_config config;
  caf::actor_system system{config};
  std::shared_ptr<rank_plane> real;
  std::optional<transceiver> door;
};

/// Of many requests that ended.
struct tally {
  std::size_t completed = 0;
  std::size_t timed_out = 0;
  std::size_t refused = 0; ///< `out_of_resources`
  std::size_t other = 0;
  std::chrono::microseconds longest{0};
  std::size_t most_overtaken = 0; ///< by how many that were begun later

  /// @param ended in the order in which they did; ids count up in the order in which they began.
  explicit tally(const std::vector<outcome>& ended) {
    std::uint64_t newest = 0;
    for (const auto& one : ended) {
      const auto code = one.failure ? one.failure->code : errc{};
      ++(one.completed()                  ? completed
         : code == errc::timed_out        ? timed_out
         : code == errc::out_of_resources ? refused
                                          : other);
      longest = std::max(longest, one.total);
      newest = std::max(newest, one.request.value);
      most_overtaken = std::max<std::size_t>(most_overtaken, newest - one.request.value);
    }
  }
};

} // namespace

BOOST_AUTO_TEST_SUITE(overload)

BOOST_AUTO_TEST_CASE(a_context_rank_takes_as_many_offers_as_it_may_and_serves_them_all) {
  transceiver_options limits;
  limits.live_requests = many;
  crowded_ranks world{limits};
  auto& door = world.context.door();
  const auto before = resident();
  const auto begin = clock::now();
  world.throw_offers(0, many, ample);
  const auto offering = ms(clock::now() - begin);
  BOOST_REQUIRE(door.stats().live_sends == many);
  const auto each = bytes_each(before, many);

  const auto refused = world.offer(many);
  BOOST_REQUIRE(!refused);
  BOOST_TEST(to_string(refused.error()) ==
             fmt::format("out_of_resources: request {0}: {0} requests are in flight on context "
                         "rank 0, all that transceiver_options::live_requests allows; wait until "
                         "some have ended, or raise it",
                         many));
  // It is full, not slow; and the place of whoever leaves is free.
  const auto asked = clock::now();
  BOOST_TEST(door.cancel_request(request_id{0}));
  BOOST_TEST(ms(clock::now() - asked).count() < 1'000);
  BOOST_TEST(door.check_context_transfer_status().size() == 1u);
  BOOST_TEST(world.offer(many).has_value());

  const auto reading = clock::now();
  world.throw_receives(1, many + 1, [](std::uint32_t) { return ms(ample); });
  const tally received{world.generation.door().check_gen_transfer_status(std::nullopt)};
  const auto served = ms(clock::now() - reading);
  BOOST_TEST(received.completed == many);
  BOOST_TEST((received.longest < 20s));
  // In turn, up to what two threads and a link shuffle.
  BOOST_TEST(received.most_overtaken < many / 4);
  BOOST_TEST(world.wrong_blocks(1, many + 1) == 0u);
  BOOST_TEST(tally{door.check_context_transfer_status(std::nullopt)}.completed == many);
  world.require_idle();
  const auto both = bytes_each(before, many);

  // Again, twice: nobody reads, and all end by themselves.
  constexpr auto deadline = 1'000ms;
  std::chrono::microseconds latest{0};
  for (int wave = 0; wave < 2; ++wave) {
    world.throw_offers(0, many, deadline);
    const tally ended{door.check_context_transfer_status(std::nullopt)};
    BOOST_TEST(ended.timed_out == many);
    latest = std::max(latest, ended.longest);
  }
  BOOST_TEST((latest < deadline + late));
  if (!under_asan) {
    BOOST_TEST(each <= session_bytes);
    BOOST_TEST(both <= 2 * session_bytes);
    BOOST_TEST(bytes_each(before, many) <= 2 * session_bytes);
  }
  BOOST_TEST(world.hand_over_one(many + 1) == "complete");
  world.require_idle();
  fmt::print("{} offers that nobody reads: {} bytes each, taken in {} ms; then asked for all at "
             "once: served in {} ms, the slowest in {} ms, overtaken by {}, {} bytes each on both "
             "ranks; again, up to the deadline: over {} ms after it\n",
             many, each, offering.count(), served.count(), ms(received.longest).count(),
             received.most_overtaken, both, ms(latest - deadline).count());
}

BOOST_AUTO_TEST_CASE(a_generation_rank_waits_for_as_many_slow_sources_as_it_may) {
  transceiver_options limits;
  limits.live_requests = many;
  limits.early_requests = many;
  crowded_ranks world{limits, limits};
  auto& door = world.generation.door();
  constexpr auto deadline = 6'000ms;
  const auto before = resident();
  // Every other one is never offered.
  world.throw_receives(0, many,
                       [&](std::uint32_t id) { return id % 2 == 0 ? ms(ample) : deadline; });
  const auto until = clock::now() + deadline;
  while (world.context.door().stats().early_requests < many && clock::now() < until)
    std::this_thread::sleep_for(2ms);
  BOOST_REQUIRE(world.context.door().stats().early_requests == many);
  const auto each = bytes_each(before, many);

  const auto refused = world.ask(many);
  BOOST_REQUIRE(!refused);
  BOOST_TEST(has(refused.error().text, "generation rank 0"), refused.error().text);
  BOOST_TEST(has(refused.error().text, "live_requests"), refused.error().text);

  const auto context = actor_access::of(world.context.door());
  for (std::uint32_t id = 0; id < many; id += 2)
    caf::anon_send(context, atom::offer_v, slice_of(id, ample));
  const auto ended = door.check_gen_transfer_status(std::nullopt);
  const tally all{ended};
  BOOST_TEST(all.completed == many / 2);
  BOOST_TEST(all.timed_out == many / 2);
  std::chrono::microseconds latest{0};
  for (const auto& one : ended)
    if (!one.completed())
      latest = std::max(latest, one.total);
  BOOST_TEST((latest < deadline + late));
  static_cast<void>(world.context.door().check_context_transfer_status(std::nullopt));
  world.require_idle();
  BOOST_TEST(world.hand_over_one(many + 1) == "complete");
  if (!under_asan)
    BOOST_TEST(each <= session_bytes);
  fmt::print("{} receives whose sources are slow: {} bytes each, the question at the context rank "
             "included; {} served, the others over {} ms after their deadline\n",
             many, each, all.completed, ms(latest - deadline).count());
}

BOOST_AUTO_TEST_CASE(a_context_rank_lets_a_bounded_number_of_questions_wait) {
  transceiver_options limits;
  limits.early_requests = 20;
  crowded_ranks world{limits};
  for (std::uint32_t id = 0; id < 30; ++id)
    BOOST_REQUIRE(world.ask(id).has_value());
  const auto too_many = world.generation.door().check_gen_transfer_status(10);
  BOOST_REQUIRE(too_many.size() == 10u);
  for (const auto& one : too_many) {
    BOOST_REQUIRE(one.failure.has_value());
    const auto text = to_string(*one.failure);
    BOOST_TEST(text.starts_with("out_of_resources: context rank 0: "), text);
    BOOST_TEST(has(text, "transceiver_options::early_requests"), text);
  }
  for (std::uint32_t id = 0; id < 30; ++id)
    if (world.generation.door().state_of(request_id{id}) ==
        request_state::generation_trans_in_progress)
      BOOST_REQUIRE(world.offer(id).has_value());
  BOOST_TEST(tally{world.generation.door().check_gen_transfer_status(std::nullopt)}.completed ==
             20u);
  static_cast<void>(world.context.door().check_context_transfer_status(std::nullopt));
  world.require_idle();
  BOOST_TEST(world.hand_over_one(40) == "complete");
}

BOOST_AUTO_TEST_CASE(a_full_lease_table_refuses_by_name_and_recovers) {
  plane_options lanes;
  lanes.leases = 8;
  crowded_ranks world{{}, {}, lanes};
  slow_rank slow{50ms};
  constexpr std::uint32_t count = 60;
  for (std::uint32_t id = 0; id < count; ++id) {
    BOOST_REQUIRE(world.offer(id).has_value());
    BOOST_REQUIRE(slow.door->request_and_receive_async(world.wish(id)).has_value());
  }
  const auto ended = slow.door->check_gen_transfer_status(std::nullopt);
  const tally all{ended};
  BOOST_TEST(all.completed >= 8u);
  BOOST_TEST(all.refused > 0u);
  BOOST_TEST(all.completed + all.refused == count);
  for (const auto& one : ended)
    if (!one.completed()) {
      const auto text = to_string(*one.failure);
      BOOST_TEST(
          has(text, fmt::format("context rank 0: request {}: all 8 leases", one.request.value)),
          text);
      BOOST_TEST(has(text, "raise plane_options::leases"), text);
    }
  BOOST_TEST(tally{world.context.door().check_context_transfer_status(std::nullopt)}.completed ==
             all.completed);
  world.require_idle();
  BOOST_TEST(world.hand_over_one(count) == "complete");
  world.require_idle();
}

BOOST_AUTO_TEST_CASE(a_slow_receiver_does_not_hold_up_a_quick_one) {
  crowded_ranks world;
  slow_rank slow{1'000ms};
  constexpr std::uint32_t count = 2'000;
  for (std::uint32_t id = 0; id < count; ++id)
    BOOST_REQUIRE(slow.door->request_and_receive_async(world.wish(id)).has_value());
  world.throw_offers(0, count, ample);
  std::chrono::microseconds longest{0};
  std::uint32_t served = 0;
  for (; served < 100; ++served) {
    const auto id = count + served;
    BOOST_REQUIRE(world.offer(id).has_value());
    const auto result = world.generation.door().request_and_receive_sync(world.wish(id));
    BOOST_REQUIRE(result.completed());
    longest = std::max(longest, result.total);
  }
  BOOST_TEST(world.context.door().stats().leases_granted > count / 2);
  BOOST_TEST(world.wrong_blocks(count, count + served) == 0u);
  BOOST_TEST((longest < 500ms));
  const tally all{slow.door->check_gen_transfer_status(std::nullopt)};
  BOOST_TEST(all.completed == count);
  BOOST_TEST((all.longest < 10s));
  static_cast<void>(world.context.door().check_context_transfer_status(std::nullopt));
  world.require_idle();
  fmt::print("beside {} requests of a receiver that takes 1 s for each, {} of a quick one: the "
             "slowest took {} us\n",
             count, served, longest.count());
}

namespace {

constexpr std::uint32_t pulls = 200;

process_options tiny_ring(instance_role role) {
  process_options options;
  options.role = role;
  options.shape = {.layers = 2, .slots = 4 * pulls, .fragment_bytes = 16 * 1024};
  options.plane.lanes = lane_policy::ucx;
  options.plane.ucx_transports = "posix,cma,self";
  options.plane.ring_chunks = 2;
  options.plane.chunk_bytes = 64 * 1024;
  options.plane.credits = 2;
  // So that nobody is given up in the meantime.
  options.plane.ucx_stuck_after = 20s;
  return options;
}

void meet(const plane_rank& owner, plane_process& reader) {
  const auto layout = cache_layout(owner.shape, instance_role::generation, reader.life());
  BOOST_REQUIRE(introduce(*owner.plane, card_of(owner.layout, layout, reader.manifest())));
  const auto answer =
      reader.ask(fmt::format("peer {} {}", owner.life().value, to_hex(owner.plane->manifest())));
  BOOST_REQUIRE_MESSAGE(answer.starts_with("ok"), answer);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_ring_of_two_chunks_serves_hundreds_of_pulls_beside_a_stopped_reader) {
  const auto options = tiny_ring(instance_role::generation);
  const plane_rank owner{options.shape, instance_role::context, options.plane};
  const plane_rank reader{options.shape, instance_role::generation, options.plane};
  owner.fill(1);
  BOOST_REQUIRE(
      introduce(*owner.plane, card_of(owner.layout, reader.layout, reader.plane->manifest())));
  BOOST_REQUIRE(
      introduce(*reader.plane, card_of(reader.layout, owner.layout, owner.plane->manifest())));
  plane_process stopped{PLANE_PEER, options};
  meet(owner, stopped);
  const auto some = shuffled(64, options.shape.slots, 1);
  const auto theirs =
      owner.plane->grant(sender, whole_blocks(owner.shape, stopped.life(), some)).value();
  for (int i = 0; i < 3; ++i)
    BOOST_REQUIRE(
        stopped.ask(sentence(fmt::format("pull {} {}", theirs.slot, theirs.epoch), some)) == "ok");
  stopped.signal(SIGSTOP);

  // Each takes 4 chunks: all of them want 800, of which 2 fit at a time.
  std::vector<eventually<expected<pull_stats>>> ended(pulls);
  std::vector<std::vector<std::uint32_t>> sources;
  const auto begin = clock::now();
  for (std::uint32_t i = 0; i < pulls; ++i) {
    sources.push_back(shuffled(4, options.shape.slots, i));
    const auto spec = whole_blocks(owner.shape, reader.life(), sources.back());
    const session_key session{100 + i};
    const auto right = owner.plane->grant(session, spec).value();
    const auto to = 4 * i;
    reader.plane->pull(session, job_for(right, spec, {to, to + 1, to + 2, to + 3}),
                       ended[i].callback());
  }
  std::chrono::microseconds longest{0};
  std::size_t wrong = 0;
  for (std::uint32_t i = 0; i < pulls; ++i) {
    const auto result = ended[i].get(10s);
    BOOST_REQUIRE(result);
    BOOST_REQUIRE_MESSAGE(*result, to_string(*result ? error{} : result->error()));
    longest = std::max(longest, (*result)->pulling);
    for (std::uint32_t k = 0; k < 4; ++k)
      wrong += reader.holds(4 * i + k, sources[i][k], 1) ? 0 : 1;
  }
  const auto took = ms(clock::now() - begin);
  BOOST_TEST(wrong == 0u);
  BOOST_TEST((longest < 8s));

  // The blocks that the stopped one reads are free all the same.
  const auto back = clock::now();
  BOOST_TEST(retired(*owner.plane, sender, 5s));
  const auto reclaimed = ms(clock::now() - back);
  for (std::uint32_t i = 0; i < pulls; ++i)
    BOOST_TEST(retired(*owner.plane, session_key{100 + i}, 5s));
  BOOST_TEST(owner.plane->granted() == 0u);
  stopped.signal(SIGCONT);
  meet(owner, stopped);
  const session_key again{1'000};
  const auto right =
      owner.plane->grant(again, whole_blocks(owner.shape, stopped.life(), some)).value();
  BOOST_TEST(stopped.ask(sentence(fmt::format("pull {} {}", right.slot, right.epoch), some)) ==
             "ok");
  BOOST_TEST(retired(*owner.plane, again, 5s));
  fmt::print(
      "{} pulls of 4 chunks through a ring of 2, beside a stopped reader: {} ms, the slowest "
      "{} ms; the blocks that the stopped one read are free after {} ms\n",
      pulls, took.count(), ms(longest).count(), reclaimed.count());
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
