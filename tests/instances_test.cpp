#include <map>
#include <set>

#include <boost/test/unit_test.hpp>

#include "actors/guest_book.hpp"
#include "actors/guest_queue.hpp"
#include "actors/instance_listing.hpp"
#include "actors/router.hpp"
#include "tests/sample_layout.hpp"
#include "tests/support/layouts.hpp"
#include "transport/plan/pairs.hpp"

/// What ranks know of instances, their own and others, and of the ranks in them.
namespace baton {

namespace {

using namespace std::chrono_literals;
using test::sample_info;
using test::sample_shape;

instance_info info_of(const std::vector<rank_layout>& layouts) {
  instance_info info;
  for (const auto& layout : layouts)
    info.ranks.push_back({layout, "h", static_cast<std::uint16_t>(1 + layout.rank), {}});
  return info;
}

own_instance_ptr own_of(const instance_info& info, std::uint32_t rank = 0) {
  return std::make_shared<const own_instance>(info, rank);
}

sample_shape generation(std::uint32_t tp, std::uint32_t pp = 1, bool attention_dp = false) {
  return {tp, pp, attention_dp, 4, instance_role::generation};
}

void check_error(const auto& result, errc code, std::string_view text) {
  BOOST_REQUIRE(!result.has_value());
  BOOST_TEST((result.error().code == code));
  BOOST_TEST(result.error().text.find(text) != std::string::npos, result.error().text);
}

/// Remembers what a router wants, and makes every link at once when told to.
struct recorder : router_backend {
  void describe(const std::string& endpoint, bool) override { described.push_back(endpoint); }
  void connect(const source_contact& peer) override { contacts.push_back(peer); }
  void routed(session_key, tl::expected<receive_route, attempt_failure> route) override {
    routes.push_back(std::move(route));
  }
  void tell_withdrawn(incarnation, const cancel_notice&) override {}

  std::vector<std::string> described;
  std::vector<source_contact> contacts;
  std::vector<tl::expected<receive_route, attempt_failure>> routes;
};

/// The route of one generation rank is what the whole table says of it.
void check_route(const tests::instances& given, const rank_layout& rank, std::uint32_t dp) {
  recorder seen;
  router asked{seen};
  asked.ask(session_key{1}, {"c:1", dp});
  asked.complete(own_of(info_of(given.generation), rank.rank));
  asked.described("c:1", info_of(given.context));
  BOOST_TEST_REQUIRE(seen.described.size() == 1u);
  for (const auto& peer : std::vector{seen.contacts})
    asked.handle(link_up{peer.rank.layout.life, {lane_kind::mapped, "test"}, {}});
  asked.ask(session_key{2}, {"c:1", dp});
  BOOST_TEST_REQUIRE(seen.routes.size() == 2u);
  BOOST_TEST_REQUIRE(seen.described.size() == 1u);

  const auto table = make_pairs(given.context, dp, given.generation, rank.dp_rank());
  BOOST_REQUIRE(table.has_value());
  const auto sources = table->sources_of(rank.rank);
  auto contact = seen.contacts.begin();
  for (const auto& route : seen.routes) {
    BOOST_TEST_REQUIRE(route.has_value());
    BOOST_TEST_REQUIRE(route->layout_digest == digest(given.generation));
    BOOST_TEST_REQUIRE(route->sources.size() == sources.size());
    for (std::size_t i = 0; i < sources.size(); ++i) {
      BOOST_TEST_REQUIRE(route->sources[i].rank == sources[i]);
      BOOST_TEST_REQUIRE((route->sources[i].peer == given.context[sources[i]].life));
      BOOST_TEST_REQUIRE(route->sources[i].receivers == table->receivers_of(sources[i]).size());
      BOOST_TEST_REQUIRE(route->sources[i].carries_aux == (i == 0));
      BOOST_TEST_REQUIRE(route->sources[i].lane.reason == "test");
    }
  }
  for (const auto source : sources) {
    BOOST_TEST_REQUIRE((contact->rank.layout == given.context[source]));
    BOOST_TEST_REQUIRE((*(contact++)->pair == *table->find(source, rank.rank)));
  }
  std::size_t told = 0;
  for (const auto& [source, teller] : table->idle)
    if (teller == rank.rank) {
      BOOST_TEST_REQUIRE(seen.routes[0]->idle[told++].rank == source);
      BOOST_TEST_REQUIRE((contact->rank.layout == given.context[source]));
      BOOST_TEST_REQUIRE(((contact++)->pair == nullptr));
    }
  BOOST_TEST_REQUIRE(seen.routes[0]->idle.size() == told);
  BOOST_TEST_REQUIRE((contact == seen.contacts.end()));
}

/// What a context rank finds out about each of its guests is what the tables say.
void check_guests(const tests::instances& given, const rank_layout& rank) {
  guest_book book{own_of(info_of(given.context), rank.rank)};
  const auto whole = info_of(given.generation);
  BOOST_TEST_REQUIRE(book.add(digest(given.generation), encode(whole)).has_value());
  for (const auto& info : whole.ranks) {
    const auto met = book.meet(own_instance{whole, info.layout.rank}.introduce("m", "1"));
    BOOST_TEST_REQUIRE(met.has_value());
    const auto table =
        make_pairs(given.context, rank.dp_rank(), given.generation, info.layout.dp_rank());
    BOOST_REQUIRE(table.has_value());
    BOOST_TEST_REQUIRE((met->receivers ? *met->receivers : std::vector<std::uint32_t>{}) ==
                       table->receivers_of(rank.rank));
    const auto* pair = table->find(rank.rank, info.layout.rank);
    BOOST_TEST_REQUIRE((met->card.serve != nullptr) == (pair != nullptr));
    if (pair)
      BOOST_TEST_REQUIRE((met->card.serve->pair() == *pair));
    BOOST_TEST_REQUIRE((met->card.layout == info.layout));
    BOOST_TEST_REQUIRE(met->card.manifest == "m");
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(instances)

BOOST_AUTO_TEST_CASE(routes_and_guests_are_what_the_pair_tables_say) {
  std::mt19937_64 random{tests::seed()};
  const auto any = [&](const std::vector<rank_layout>& side) -> const rank_layout& {
    return side[tests::pick(random, 0, static_cast<std::uint32_t>(side.size() - 1))];
  };
  for (int i = 0; i < 100; ++i) {
    const auto given = tests::random_instances(random);
    BOOST_TEST_CONTEXT("case " << i << ": " << given.text) {
      check_route(given, any(given.generation),
                  tests::pick(random, 0, given.context[0].dp_size() - 1));
      check_guests(given, any(given.context));
    }
  }
}

BOOST_AUTO_TEST_CASE(the_ranks_of_a_dp_group_are_read_without_the_others) {
  for (const bool dp : {false, true}) {
    const auto whole = sample_info({4, 2, dp});
    const auto bytes = encode(whole);
    BOOST_TEST((read_ranks(bytes) == whole.ranks));
    for (std::uint32_t group = 0; group < 5; ++group) {
      std::vector<rank_info> wanted;
      for (const auto& rank : whole.ranks)
        if (rank.layout.dp_rank() == group)
          wanted.push_back(rank);
      BOOST_TEST((read_ranks(bytes, group) == wanted));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_dp_group_that_is_not_there_is_refused_by_its_number) {
  recorder seen;
  router asked{seen};
  asked.complete(own_of(sample_info(generation(2))));
  for (const std::uint32_t dp : {2u, 7u, 2u})
    asked.ask(session_key{dp}, {"c:1", dp});
  asked.described("c:1", sample_info({2, 1, true}));
  BOOST_TEST_REQUIRE(seen.routes.size() == 2u);
  for (const auto& route : seen.routes) {
    BOOST_TEST_REQUIRE(!route.has_value());
    BOOST_TEST(route.error().reason.text.find("the instance has 2 groups") != std::string::npos);
  }
  BOOST_TEST(seen.contacts.empty());
}

BOOST_AUTO_TEST_CASE(a_guest_whose_instance_does_not_fit_hears_why) {
  guest_book book{own_of(sample_info({2}))};
  auto unlike = sample_info(generation(2));
  for (auto& rank : unlike.ranks)
    rank.layout.model = "another";
  const auto guest = own_of(unlike, 1);
  const auto intro = guest->introduce("m", "1");
  check_error(book.meet(intro), errc::invalid_argument, "no instance of");
  BOOST_TEST(!book.knows(guest->digest()));
  BOOST_TEST(book.add(guest->digest(), guest->encoded()).has_value());
  BOOST_TEST(book.knows(guest->digest()));
  check_error(book.meet(intro), errc::incompatible_layout, "model");
}

BOOST_AUTO_TEST_CASE(a_guest_of_the_same_side_is_refused) {
  const auto context = own_of(sample_info({2}));
  const auto generation_side = own_of(sample_info(generation(2)));
  guest_book book{context};
  BOOST_TEST(book.add(context->digest(), context->encoded()).has_value());
  check_error(book.meet(context->introduce("m", "1")), errc::invalid_argument, "context instances");
  guest_book other{generation_side};
  BOOST_TEST(other.add(context->digest(), context->encoded()).has_value());
  check_error(other.meet(context->introduce("m", "1")), errc::invalid_argument,
              "generation instance");
}

BOOST_AUTO_TEST_CASE(an_instance_must_be_the_one_it_is_said_to_be) {
  guest_book book{own_of(sample_info({2}))};
  const auto guest = own_of(sample_info(generation(2)));
  check_error(book.add(guest->digest(), "garbage"), errc::invalid_argument, "instance.");
  check_error(book.add(guest->digest() + 1, guest->encoded()), errc::invalid_argument, "digest");
  BOOST_TEST(!book.knows(guest->digest()));
  BOOST_TEST(!book.knows(guest->digest() + 1));
  BOOST_TEST(book.add(guest->digest(), guest->encoded()).has_value());
  auto intro = guest->introduce("m", "1");
  BOOST_TEST(book.meet(intro).has_value());
  intro.self.layout.life = incarnation{77};
  BOOST_TEST(book.meet(intro).has_value());
  ++intro.self.layout.pools[0].slots;
  check_error(book.meet(intro), errc::invalid_argument, "another layout");
}

BOOST_AUTO_TEST_CASE(the_oldest_instances_are_forgotten) {
  guest_book book{own_of(sample_info({2})), 2};
  std::vector<std::uint64_t> digests;
  for (const std::uint32_t tp : {1u, 2u, 4u}) {
    const auto guest = own_of(sample_info(generation(tp)));
    BOOST_TEST(book.add(guest->digest(), guest->encoded()).has_value());
    digests.push_back(guest->digest());
  }
  BOOST_TEST(!book.knows(digests[0]));
  BOOST_TEST(book.knows(digests[1]));
  BOOST_TEST(book.knows(digests[2]));
}

BOOST_AUTO_TEST_CASE(a_source_must_be_who_its_directory_said) {
  const auto context = sample_info({2});
  const auto own = own_of(sample_info(generation(2)));
  const source_contact told{
      context.ranks[1], std::make_shared<const rank_pair>(rank_pair{1, 0, {{0, 0, 0, 0, 0, 1}}})};
  const auto intro = own_of(context, 1)->introduce("m", "1");
  const auto met = acquaint(*own, told, intro);
  BOOST_REQUIRE(met.has_value());
  BOOST_TEST((met->card.pull->pair() == *told.pair));
  BOOST_TEST((acquaint(*own, {told.rank, nullptr}, intro)->card.pull == nullptr));
  auto other = intro;
  other.self.layout.life = incarnation{5};
  check_error(acquaint(*own, told, other), errc::peer_lost, "restarted");
  other = intro;
  ++other.self.layout.pools[0].slots;
  check_error(acquaint(*own, told, other), errc::incompatible_layout, "another layout");
}

BOOST_AUTO_TEST_CASE(one_guest_is_asked_and_the_others_wait) {
  guest_queue<int> queue{500ms, 2};
  const guest_queue<int>::time_point begin{};
  BOOST_TEST((queue.wait(begin, 9, 1) == 1));
  BOOST_TEST((queue.wait(begin, 9, 2) == std::nullopt));
  BOOST_TEST((queue.wait(begin, 9, 3) == std::nullopt));
  BOOST_TEST((queue.wait(begin, 8, 4) == 4));
  // Too many to wait: whoever comes sends what it has.
  BOOST_TEST((queue.wait(begin, 9, 5) == 5));
  BOOST_TEST((queue.release(9) == std::deque{2, 3}));
  BOOST_TEST(queue.release(9).empty());
  BOOST_TEST((queue.wait(begin, 9, 6) == 6));
}

BOOST_AUTO_TEST_CASE(another_guest_is_asked_when_one_does_not_come_back) {
  guest_queue<int> queue{500ms};
  const guest_queue<int>::time_point begin{};
  BOOST_TEST((queue.wait(begin, 9, 1) == 1));
  BOOST_TEST((queue.wait(begin, 9, 2) == std::nullopt));
  BOOST_TEST((queue.wait(begin, 9, 3) == std::nullopt));
  BOOST_TEST(queue.overdue(begin + 499ms).empty());
  BOOST_TEST((queue.overdue(begin + 500ms) == std::vector{2}));
  BOOST_TEST(queue.overdue(begin + 900ms).empty());
  BOOST_TEST((queue.clear() == std::vector{3}));
  BOOST_TEST((queue.wait(begin + 900ms, 9, 4) == 4));
  BOOST_TEST(queue.overdue(begin + 1400ms).empty());
  // Nobody is left to be asked: the next to come is.
  BOOST_TEST((queue.wait(begin + 1500ms, 9, 5) == 5));
}

BOOST_AUTO_TEST_CASE(a_listing_describes_its_instance_once_it_is_complete) {
  auto info = sample_info({2});
  instance_listing listing{info.ranks[0].layout};
  BOOST_TEST(listing.enlist(info.ranks[1]).has_value());
  BOOST_TEST(!listing.complete());
  BOOST_TEST(listing.enlist(info.ranks[1]).has_value());
  BOOST_TEST(!listing.complete());
  BOOST_TEST(listing.enlist(info.ranks[0]).has_value());
  BOOST_TEST(listing.complete());
  for (auto& rank : info.ranks)
    rank.manifest.clear();
  BOOST_TEST((decode_instance_info(listing.describe()) == info));
  BOOST_TEST(&listing.describe() == &listing.describe());

  auto next = info.ranks[1];
  next.layout.life = incarnation{7};
  next.port = 9;
  BOOST_TEST(listing.enlist(next).has_value());
  BOOST_TEST((decode_instance_info(listing.describe())->ranks[1] == next));
  BOOST_TEST(listing.knows(1, incarnation{7}));
  BOOST_TEST(!listing.knows(1, info.ranks[1].layout.life));
  check_error(listing.enlist(info.ranks[1]), errc::duplicate_request, "replaced");
  next.layout.life = incarnation{8};
  next.layout.groups[0].buffers[0].head_count = 1;
  check_error(listing.enlist(next), errc::invalid_argument, "head");
  BOOST_TEST(listing.knows(1, incarnation{7}));
  BOOST_TEST(listing.complete());
  next.layout.tp_size = 4;
  check_error(listing.enlist(next), errc::invalid_argument, "tp_size 4");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
