#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <map>
#include <random>

#include <boost/test/unit_test.hpp>

#include "tests/support/layouts.hpp"
#include "tests/support/scale_world.hpp"

/// Instances of hundreds of ranks: what a request costs and what a rank keeps depends on the ranks
/// that overlap, not on how many there are.
namespace baton {

namespace {

using handoff::model_spec;
using handoff::side_spec;
using test::scale_world;
using dp_groups = scale_world::dp_groups;

struct topology {
  std::string name;
  model_spec model;
  side_spec context;
  side_spec generation;
};

model_spec model_of(std::uint32_t layers, bool mla = false) {
  model_spec model;
  model.layers = layers;
  model.kv_heads = mla ? 1 : 8;
  model.head_dim = mla ? 576 : 128;
  model.mla = mla;
  return model;
}

side_spec side_of(std::uint32_t tp, std::uint32_t pp, bool attention_dp = false) {
  side_spec side;
  side.tp = tp;
  side.pp = pp;
  side.attention_dp = attention_dp;
  side.blocks = 256; // one token each, as the fake plane has it
  return side;
}

bool is_long() {
  return std::getenv("BATON_LONG") != nullptr;
}

/// How many requests are handed over: the small instances get as many for each rank as the large
/// ones, or so many that a rank remembers no more of them; fewer under ASan, which takes several
/// times as long.
std::uint64_t requests_of(std::uint64_t usual, std::uint64_t at_length) {
#ifdef __SANITIZE_ADDRESS__
  usual = std::max<std::uint64_t>(usual / 5, 10);
#endif
  return is_long() ? at_length : usual;
}

/// Averages over what was measured of one pair of instances.
struct figures {
  double pairs = 0;      ///< a request, context ranks that are only told included
  double messages = 0;   ///< a request
  double bytes = 0;      ///< a request
  double links = 0;      ///< a rank
  double link_bytes = 0; ///< a link: both introductions
  double instances = 0;  ///< a context rank: how often it was sent a generation instance
  double described = 0;  ///< bytes of an instance as directories describe it
  double memory = 0;     ///< a rank, in bytes, when nothing is live
  double ranks = 0;      ///< of both instances
};

/// A run of one topology: the world, and what the whole pair tables say that it must cost.
class run {
public:
  explicit run(const topology& shape)
      : context_{tests::build(shape.model, shape.context, instance_role::context)},
        generation_{tests::build(shape.model, shape.generation, instance_role::generation)},
        world_{tests::seed(), context_, generation_} {
    world_.start();
  }

  figures hand_over(std::uint64_t requests, std::uint32_t at_once) {
    world_.hand_over(requests, at_once, [this] { return choose(); });
    for (const auto& complaint : world_.complaints())
      BOOST_ERROR(complaint);
    BOOST_TEST(world_.completed() == requests);
    // Asked, granted and acknowledged, once for each pair; or told that there is nothing to do.
    BOOST_TEST(world_.requests.messages == 3 * pulls_ + idle_);
    // A context rank is sent an instance once, however many of its ranks come.
    BOOST_TEST(world_.instances.messages <= context_.size());
    const auto count = static_cast<double>(requests);
    const auto links = static_cast<double>(world_.links());
    figures got;
    got.ranks = static_cast<double>(world_.ranks());
    got.pairs = static_cast<double>(pulls_ + idle_) / count;
    got.messages = static_cast<double>(world_.requests.messages) / count;
    got.bytes = static_cast<double>(world_.requests.bytes) / count;
    got.links = 2 * links / got.ranks;
    got.link_bytes = static_cast<double>(world_.introductions.bytes) / links;
    got.instances =
        static_cast<double>(world_.instances.messages) / static_cast<double>(context_.size());
    got.described = static_cast<double>(world_.descriptions.bytes) /
                    static_cast<double>(world_.descriptions.messages);
    got.memory = static_cast<double>(world_.end_ranks()) / got.ranks;
    return got;
  }

private:
  struct cost {
    std::uint64_t pulls = 0;
    std::uint64_t idle = 0;
  };

  dp_groups choose() {
    // In a short run each generation group works with few others, since they all must meet first.
    const auto reach = is_long() ? context_[0].dp_size() : 2;
    const auto generation = static_cast<std::uint32_t>(random_() % generation_[0].dp_size());
    const auto context = (generation + random_() % reach) % context_[0].dp_size();
    const dp_groups between{static_cast<std::uint32_t>(context), generation};
    const auto& wanted = cost_of(between);
    pulls_ += wanted.pulls;
    idle_ += wanted.idle;
    return between;
  }

  const cost& cost_of(dp_groups between) {
    const auto [known, fresh] = costs_.try_emplace({between.context, between.generation});
    if (fresh) {
      const auto table = make_pairs(context_, between.context, generation_, between.generation);
      BOOST_REQUIRE(table.has_value());
      known->second = {table->pairs.size(), table->idle.size()};
    }
    return known->second;
  }

  std::vector<rank_layout> context_;
  std::vector<rank_layout> generation_;
  scale_world world_;
  std::mt19937_64 random_{7};
  std::map<std::pair<std::uint32_t, std::uint32_t>, cost> costs_;
  std::uint64_t pulls_ = 0;
  std::uint64_t idle_ = 0;
};

figures measure(const topology& shape, std::uint64_t requests) {
  const auto begin = std::clock();
  const auto got = run{shape}.hand_over(requests, 16);
  const auto seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  fmt::print("{:<40} {:5.0f} ranks {:7} requests: {:5.0f} pairs {:6.0f} messages {:8.0f} bytes; "
             "{:5.1f} links a rank, {:4.0f} bytes each; {:6.0f} bytes a description; {:6.1f} KiB a "
             "rank; {:.1f} s of CPU\n",
             shape.name, got.ranks, requests, got.pairs, got.messages, got.bytes, got.links,
             got.link_bytes, got.described, got.memory / 1024, seconds);
  return got;
}

/// What may grow with the pairs of a rank: some copies of both layouts for each. What may grow with
/// the instances: their encoded descriptions, of some dozens of bytes a rank.
void check_growth(const figures& small, const figures& large) {
  BOOST_TEST(large.messages / large.pairs == small.messages / small.pairs);
  // Ranks and counts have more digits.
  BOOST_TEST(large.bytes / large.pairs < small.bytes / small.pairs + 8);
  BOOST_TEST(large.link_bytes < small.link_bytes + 16);
  BOOST_TEST(large.instances <= 1.0);
  BOOST_TEST(large.memory < small.memory + 4096 * std::max(large.links - small.links, 0.0) +
                                64 * (large.ranks - small.ranks));
}

} // namespace

BOOST_AUTO_TEST_SUITE(scale)

/// Every rank of both instances takes part in every request.
BOOST_AUTO_TEST_CASE(tensor_and_pipeline_parallel_instances_cost_what_their_pairs_cost) {
  const topology small{"tp8 pp2 -> tp16 pp2", model_of(4), side_of(8, 2), side_of(16, 2)};
  const topology large{"tp8 pp32 -> tp16 pp32", model_of(64), side_of(8, 32), side_of(16, 32)};
  const auto few = measure(small, requests_of(100, 1'000));
  check_growth(few, measure(large, requests_of(100, 5'000)));
}

/// A request concerns one dp group of each instance, and costs the same however many there are.
BOOST_AUTO_TEST_CASE(attention_parallel_instances_cost_what_one_dp_group_costs) {
  const topology small{"tp4 dp pp8 -> tp8 dp pp8", model_of(16), side_of(4, 8, true),
                       side_of(8, 8, true)};
  const topology large{"tp32 dp pp8 -> tp64 dp pp8", model_of(16), side_of(32, 8, true),
                       side_of(64, 8, true)};
  const auto few = measure(small, requests_of(250, 10'000));
  const auto many = measure(large, requests_of(2'000, 100'000));
  check_growth(few, many);
  BOOST_TEST(many.messages == few.messages);
}

/// All context ranks hold the latent cache: its layers come from some, the others are told that
/// nothing is wanted.
BOOST_AUTO_TEST_CASE(a_replicated_cache_costs_what_its_holders_cost) {
  const topology small{"mla tp64 -> tp16 dp", model_of(4, true), side_of(64, 1),
                       side_of(16, 1, true)};
  const topology large{"mla tp64 pp4 -> tp128 dp pp4", model_of(16, true), side_of(64, 4),
                       side_of(128, 4, true)};
  const auto few = measure(small, requests_of(20, 1'000));
  check_growth(few, measure(large, requests_of(20, 5'000)));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
