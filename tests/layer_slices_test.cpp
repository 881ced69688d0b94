#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "tests/support/nodes.hpp"

/// Slices by layers, and their early release, by real ranks over real lanes in one process.
namespace baton::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t tokens = 10;
constexpr std::uint32_t context_block = 3;
constexpr std::uint32_t generation_block = 17;
constexpr std::byte rewritten{0xEE};

struct piece {
  token_range tokens;
  layer_range layers;
};

/// Layers and tokens cut at odd places; on a context rank that holds layers 2 and 3 the first two
/// are empty.
const std::vector<piece> pieces{{{0, 6}, {0, 1}},
                                {{6, 10}, {0, 1}},
                                {{0, 5}, {1, 3}},
                                {{0, 10}, {3, layer_range::no_end}},
                                {{5, 10}, {1, 3}}};

/// What all bytes of a row must be.
std::byte content(const buffer_layout& buffer, std::uint32_t head, std::uint32_t token) {
  return static_cast<std::byte>(
      1 + buffer.layer * 59 + static_cast<std::uint32_t>(buffer.role) * 29 + head * 13 + token * 3);
}

/// Calls `visit(row, content)` for all rows of a piece that a rank holds.
template <class Visit>
void for_each_row(node& at, const piece& what, std::uint32_t first_block, const Visit& visit) {
  const auto& group = at.layout().groups.at(0);
  for (const auto& buffer : group.buffers)
    for (auto token = what.tokens.begin; token < what.tokens.end; ++token)
      for (std::uint32_t head = 0; head < buffer.head_count; ++head) {
        if (!what.layers.contains(buffer.layer))
          continue;
        auto* row = at.plane().pool(buffer.pool).data() + buffer.offset +
                    (first_block + token / group.tokens_per_block) * buffer.slot_stride +
                    head * buffer.head_stride +
                    token % group.tokens_per_block * buffer.token_stride;
        visit(std::span{row, buffer.row_bytes()}, content(buffer, buffer.first_head + head, token));
      }
}

/// tp, pp and block size differ.
struct unlike_sides {
  explicit unlike_sides(lane_policy lane) {
    deployment::shape form;
    form.model.layers = 4;
    form.context.pp = 2;
    form.generation.tp = 2;
    form.generation.tokens_per_block = 2;
    form.lanes.lanes = lane;
    world = std::make_unique<deployment>(std::move(form));
  }

  void ask() {
    for (auto& rank : world->generations)
      BOOST_REQUIRE(
          rank->door().request_and_receive_async(world->wish(1, generation_block, tokens)));
  }

  /// Computes a piece on every context rank, and offers it.
  void offer(std::size_t index, bool early_release) {
    for (auto& rank : world->contexts) {
      for_each_row(*rank, pieces[index], context_block,
                   [](auto row, std::byte value) { std::ranges::fill(row, value); });
      auto slice = world->slice(1, context_block, tokens);
      slice.tokens = pieces[index].tokens;
      slice.layers = pieces[index].layers;
      slice.last = index + 1 == pieces.size();
      slice.early_release = early_release;
      BOOST_REQUIRE(rank->door().respond_and_send_async(std::move(slice)));
    }
  }

  /// Waits until every context rank has named a slice, and rewrites what it had there.
  void await_release(std::uint32_t index) {
    const auto until = std::chrono::steady_clock::now() + 5s;
    for (std::size_t rank = 0; rank < world->contexts.size(); ++rank) {
      auto& at = world->context(rank);
      while (!released[rank].contains(index)) {
        for (const auto& one : at.door().released_slices())
          BOOST_REQUIRE((one.request == request_id{1} && released[rank].insert(one.slice).second));
        BOOST_REQUIRE((std::chrono::steady_clock::now() < until));
        std::this_thread::sleep_for(1ms);
      }
      for_each_row(at, pieces[index], context_block,
                   [](auto row, std::byte) { std::ranges::fill(row, rewritten); });
    }
  }

  void check_end() {
    for (auto& rank : world->generations) {
      const auto ended = rank->door().check_gen_transfer_status(1);
      BOOST_REQUIRE(ended.size() == 1u);
      BOOST_TEST(ended[0].completed());
      std::size_t rows = 0;
      for_each_row(*rank, {{0, tokens}, {}}, generation_block, [&](auto row, std::byte value) {
        ++rows;
        BOOST_TEST_REQUIRE(std::ranges::count(row, value) == std::ssize(row));
      });
      BOOST_TEST(rows == std::size_t{tokens} * 4 * 2 /* key, value */);
    }
    for (auto& rank : world->contexts) {
      const auto ended = rank->door().check_context_transfer_status(1);
      BOOST_REQUIRE(ended.size() == 1u);
      BOOST_TEST(ended[0].completed());
      BOOST_TEST(rank->door().released_slices().empty());
    }
    BOOST_TEST(world->leftovers() == "");
  }

  std::unique_ptr<deployment> world;
  std::map<std::size_t, std::set<std::uint32_t>> released; ///< by context rank
};

} // namespace

BOOST_AUTO_TEST_SUITE(layer_slices)

BOOST_AUTO_TEST_CASE(layers_arrive_while_later_ones_are_computed) {
  for (const auto lane : {lane_policy::mapped, lane_policy::ucx})
    for (const bool asked_first : {true, false}) {
      unlike_sides sides{lane};
      if (asked_first)
        sides.ask();
      for (std::uint32_t index = 0; index < pieces.size(); ++index)
        sides.offer(index, false);
      if (!asked_first)
        sides.ask();
      sides.check_end();
    }
}

BOOST_AUTO_TEST_CASE(what_is_released_may_be_rewritten_while_the_request_goes_on) {
  for (const auto lane : {lane_policy::mapped, lane_policy::ucx}) {
    unlike_sides sides{lane};
    sides.ask();
    for (std::uint32_t index = 0; index < pieces.size(); ++index) {
      // Of a slice that is not to be released early nothing is said.
      sides.offer(index, index != 2);
      if (index != 2 && index + 1 < pieces.size())
        sides.await_release(index);
    }
    for (auto& [rank, slices] : sides.released)
      BOOST_TEST(!slices.contains(2));
    sides.check_end();
  }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton::test
