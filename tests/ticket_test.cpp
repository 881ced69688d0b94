#include <random>
#include <string>

#include <boost/test/unit_test.hpp>

#include "messages/layout.hpp"
#include "messages/params.hpp"
#include "messages/ticket.hpp"

using namespace baton;

namespace {

/// One rank, two slices, beams, blocks in runs up and down.
request_ticket sample(std::uint32_t rank = 0) {
  request_ticket ticket;
  ticket.request = request_id{7};
  ticket.tables = {{"full", 64, {5, 6, 7, 3, 100, 99, 98}, {{96, {1, 2}}, {64, {}}}},
                   {"window", 0, {}, {{0, {0}}, {32, {layout_limits::slots - 1}}}}};
  ticket.aux = {{{1, -2}, {3}, "opaque"}};
  const incarnation life{1000 + rank};
  ticket.ranks = {{rank,
                   life,
                   offer_id{30 + rank},
                   {{{life, 4, 9}, {{0, {64, 100}}}}, {{life, 5, 1}, {{1, {0, 1}}, {0, {1, 2}}}}},
                   0,
                   false}};
  return ticket;
}

error refusal(const request_ticket& ticket) {
  const auto result = decode_ticket(encode(ticket));
  BOOST_REQUIRE(!result.has_value());
  return result.error();
}

bool names(const error& reason, std::string_view what) {
  return reason.code == errc::invalid_argument && reason.text.find(what) != std::string::npos;
}

template <class Change>
bool refused(std::string_view field, Change change) {
  auto ticket = sample();
  change(ticket);
  const auto reason = refusal(ticket);
  BOOST_TEST_MESSAGE(reason.text);
  return names(reason, field);
}

disaggregated_params params_with(request_ticket ticket) {
  return {"host:1", 0, std::make_shared<const request_ticket>(std::move(ticket))};
}

} // namespace

BOOST_AUTO_TEST_SUITE(tickets)

BOOST_AUTO_TEST_CASE(a_ticket_arrives_as_it_is) {
  BOOST_TEST((decode_ticket(encode(sample())) == sample()));
  BOOST_TEST((decode_ticket(encode(request_ticket{})) == request_ticket{}));
  const auto params = params_with(sample());
  BOOST_TEST((decode_params(encode(params)) == params));
  BOOST_TEST((decode_params(encode(params)) != disaggregated_params{"host:1", 0}));
}

BOOST_AUTO_TEST_CASE(ranks_with_the_same_blocks_share_them) {
  auto all = sample();
  for (std::uint32_t rank = 1; rank < 256; ++rank)
    BOOST_REQUIRE(add(all, sample(rank)).has_value());
  BOOST_TEST(all.tables.size() == 2u);
  BOOST_TEST(all.aux.size() == 1u);
  BOOST_TEST((decode_ticket(encode(all)) == all));
  BOOST_TEST(encode(all).size() < 256u * 64u);
  auto other = sample(256);
  other.tables[1].blocks = {8};
  BOOST_REQUIRE(add(all, other).has_value());
  BOOST_TEST(all.tables.size() == 3u);
  BOOST_TEST(all.ranks[256].slices[1].ranges[0].table == 2u);
}

BOOST_AUTO_TEST_CASE(what_does_not_belong_together_is_not_joined) {
  auto all = sample();
  BOOST_TEST(names(add(all, sample()).error(), "rank 0 is there already"));
  auto other = sample(1);
  other.request = request_id{8};
  BOOST_TEST(names(add(all, other).error(), "ticket.request"));
}

BOOST_AUTO_TEST_CASE(blocks_in_runs_take_a_few_bytes) {
  auto ticket = sample();
  ticket.tables[0].blocks.clear();
  for (std::uint32_t i = 0; i < 100'000; ++i)
    ticket.tables[0].blocks.push_back(7 + i);
  BOOST_TEST(encode(ticket).size() < 300u);
  BOOST_TEST((decode_ticket(encode(ticket)) == ticket));
}

BOOST_AUTO_TEST_CASE(aux_data_that_do_not_fit_are_left_out_and_blocks_that_do_not_leave_nothing) {
  auto ticket = sample();
  BOOST_TEST((encode_within_limit(ticket) == encode(ticket)));
  ticket.aux[0].opaque.assign(ticket_bytes, 'x');
  const auto bytes = encode_within_limit(ticket);
  BOOST_REQUIRE(bytes.has_value());
  const auto read = decode_ticket(*bytes);
  BOOST_REQUIRE(read.has_value());
  BOOST_TEST(read->ranks[0].aux_left_out);
  BOOST_TEST(!read->ranks[0].aux.has_value());
  BOOST_TEST((read->tables == ticket.tables));
  for (std::uint32_t i = 0; i < 40'000; ++i)
    ticket.tables[0].blocks.push_back(3 * (i % 5'000));
  const auto none = encode_within_limit(ticket);
  BOOST_REQUIRE(!none.has_value());
  BOOST_TEST((none.error().code == errc::out_of_resources));
}

BOOST_AUTO_TEST_CASE(what_is_out_of_bounds_is_refused_with_the_field) {
  BOOST_TEST(refused("tables[0].group", [](auto& t) { t.tables[0].group.clear(); }));
  BOOST_TEST(refused("tables[0].first_block_token",
                     [](auto& t) { t.tables[0].first_block_token = wire_limits::tokens + 1; }));
  BOOST_TEST(refused("tables[1].runs[0]", [](auto& t) {
    t.tables[1].blocks = {layout_limits::slots - 1, layout_limits::slots};
  }));
  BOOST_TEST(refused("tables[0].tails: 64", [](auto& t) { t.tables[0].tails.resize(64); }));
  BOOST_TEST(refused("slices[1].epoch", [](auto& t) { t.ranks[0].slices[1].right.epoch = 2; }));
  BOOST_TEST(
      refused("ranges[0].table: 2", [](auto& t) { t.ranks[0].slices[0].ranges[0].table = 2; }));
  BOOST_TEST(refused("ranges[0]: tokens [5, 4)", [](auto& t) {
    t.ranks[0].slices[0].ranges[0].tokens = {5, 4};
  }));
  BOOST_TEST(refused("ranges[1]: group window is given twice",
                     [](auto& t) { t.ranks[0].slices[1].ranges[1].table = 1; }));
  BOOST_TEST(refused("ranks[0].slices: 0", [](auto& t) { t.ranks[0].slices.clear(); }));
  BOOST_TEST(refused("ranks[0].life", [](auto& t) { t.ranks[0].life = {}; }));
  BOOST_TEST(refused("ranks[0].rank", [](auto& t) { t.ranks[0].rank = layout_limits::ranks; }));
  BOOST_TEST(refused("ranks[1].rank: 0", [](auto& t) { t.ranks.push_back(t.ranks[0]); }));
  BOOST_TEST(refused("ranks[0].aux: 1", [](auto& t) { t.ranks[0].aux = 1; }));
}

BOOST_AUTO_TEST_CASE(few_bytes_do_not_make_many_blocks) {
  auto ticket = sample();
  std::vector<std::uint32_t> most(wire_limits::blocks);
  for (std::uint32_t i = 0; i < most.size(); ++i)
    most[i] = i;
  ticket.tables = {{"full", 0, most, {}}, {"window", 0, {}, {}}};
  BOOST_TEST(decode_ticket(encode(ticket)).has_value());
  ticket.tables[1].blocks = {0};
  BOOST_TEST(names(refusal(ticket), "tables[1].runs[0]"));
}

BOOST_AUTO_TEST_CASE(damage_is_found) {
  const std::uint64_t seed = 20260214;
  BOOST_TEST_MESSAGE("seed " << seed);
  std::mt19937_64 random{seed};
  const auto good = encode(sample());
  for (std::size_t size = 0; size < good.size(); ++size)
    BOOST_TEST(!decode_ticket(std::string_view{good}.substr(0, size)));
  for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
    auto bytes = good;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ 1 << bit % 8);
    const auto read = decode_ticket(bytes);
    BOOST_REQUIRE_MESSAGE(!read || *read == sample(), "bit " << bit);
  }
  // With the check made to fit: decoded with checks, or refused, and never more.
  // The check, then the body behind its tag and length.
  const std::size_t head = (good[10] & 0x80) != 0 ? 12 : 11;
  const std::string_view body = std::string_view{good}.substr(head);
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes{body};
    for (auto flips = 1 + random() % 3; flips > 0; --flips)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    std::uint64_t check = 0xcbf29ce484222325;
    for (const char byte : bytes)
      check = (check ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
    auto whole = good;
    for (int at = 0; at < 8; ++at)
      whole[1 + static_cast<std::size_t>(at)] = static_cast<char>(check >> 8 * at);
    whole.replace(whole.size() - bytes.size(), bytes.size(), bytes);
    if (const auto read = decode_ticket(whole))
      BOOST_REQUIRE((decode_ticket(encode(*read)) == *read));
  }
}

BOOST_AUTO_TEST_CASE(parameters_with_a_ticket_that_cannot_be_read_have_none) {
  auto bytes = encode(params_with(sample()));
  const auto at = bytes.find("opaque");
  BOOST_REQUIRE(at != std::string::npos);
  bytes[at] = 'x';
  BOOST_TEST((decode_params(bytes) == disaggregated_params{"host:1", 0}));
}

BOOST_AUTO_TEST_SUITE_END()
