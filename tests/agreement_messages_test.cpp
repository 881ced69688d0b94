#include <functional>
#include <random>
#include <string>
#include <type_traits>

#include <boost/test/unit_test.hpp>

#include "messages/agreement.hpp"
#include "messages/layout.hpp"
#include "messages/wire.hpp"

using namespace baton;
using std::chrono::milliseconds;

namespace {

agreement_vote sample_vote() {
  return {.life = incarnation{7},
          .rank = 3,
          .topic = agreement_topic::ended,
          .round = 12,
          .seen = 11,
          .attempt = 40,
          .items = {{request_id{1}, std::nullopt, milliseconds{59'000}},
                    {request_id{2}, error{errc::cancelled, "by its engine"}, milliseconds{0}}},
          .at_least = agreement_vote::all,
          .open = true,
          .remaining = milliseconds{61'000}};
}

agreement_verdict sample_verdict() {
  return {.topic = agreement_topic::ready,
          .round = 12,
          .seen = 12,
          .attempt = 40,
          .items = {{request_id{1}, std::nullopt, milliseconds{0}}}};
}

template <class Message, class Result>
void refuses(const Message& sample, Result (*decode)(std::string_view), std::string_view field,
             const std::type_identity_t<std::function<void(Message&)>>& spoil) {
  auto message = sample;
  spoil(message);
  const auto result = decode(encode(message));
  BOOST_TEST_CONTEXT(field) {
    BOOST_REQUIRE(!result.has_value());
    BOOST_TEST((result.error().code == errc::invalid_argument));
    BOOST_TEST(result.error().text.substr(0, field.size()) == field);
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(agreement_messages)

BOOST_AUTO_TEST_CASE(votes_and_verdicts_arrive_as_they_are) {
  BOOST_TEST((decode_vote(encode(sample_vote())) == sample_vote()));
  BOOST_TEST((decode_verdict(encode(sample_verdict())) == sample_verdict()));
  BOOST_TEST(!decode_vote(encode(sample_verdict())));
  BOOST_TEST(!decode_verdict(encode(sample_vote())));
}

BOOST_AUTO_TEST_CASE(long_texts_and_times_are_cut_when_encoded) {
  auto vote = sample_vote();
  vote.items[1].failure->text.assign(agreement_limits::text_bytes + 1, 'x');
  vote.items[0].remaining = milliseconds::max();
  vote.remaining = milliseconds{-1};
  const auto decoded = decode_vote(encode(vote));
  BOOST_REQUIRE(decoded.has_value());
  BOOST_TEST(decoded->items[1].failure->text.size() == agreement_limits::text_bytes);
  BOOST_TEST((decoded->items[0].remaining == wire_limits::remaining));
  BOOST_TEST((decoded->remaining == milliseconds{0}));
}

BOOST_AUTO_TEST_CASE(what_is_out_of_bounds_is_refused_with_the_field) {
  const auto vote = [](std::string_view field, std::function<void(agreement_vote&)> spoil) {
    refuses(sample_vote(), decode_vote, field, spoil);
  };
  vote("life", [](auto& v) { v.life = {}; });
  vote("rank", [](auto& v) { v.rank = static_cast<std::uint32_t>(layout_limits::ranks); });
  vote("topic", [](auto& v) { v.topic = agreement_topic{3}; });
  vote("topic", [](auto& v) { v.topic = agreement_topic{0}; });
  vote("round", [](auto& v) { v.round = 0; });
  vote("attempt", [](auto& v) { v.attempt = 0; });
  vote("items[1].failure.code", [](auto& v) { v.items[1].failure->code = errc{99}; });
  vote("items[1].failure", [](auto& v) { v.topic = agreement_topic::ready; });
  vote("items", [](auto& v) { v.items.resize(agreement_limits::items + 1); });
  const auto verdict = [](std::string_view field, std::function<void(agreement_verdict&)> spoil) {
    refuses(sample_verdict(), decode_verdict, field, spoil);
  };
  verdict("topic", [](auto& v) { v.topic = agreement_topic{7}; });
  verdict("round", [](auto& v) { v.round = 0; });
  verdict("attempt", [](auto& v) { v.attempt = 0; });
  auto full = sample_vote();
  full.items.resize(agreement_limits::items);
  BOOST_TEST(decode_vote(encode(full)).has_value());
}

BOOST_AUTO_TEST_CASE(garbage_is_survived) {
  const std::uint64_t seed = 20260104;
  BOOST_TEST_MESSAGE("seed " << seed);
  std::mt19937_64 random{seed};
  for (const auto& good : {encode(sample_vote()), encode(sample_verdict())}) {
    for (std::size_t size = 0; size < good.size(); ++size) {
      BOOST_TEST(!decode_vote(std::string_view{good}.substr(0, size)));
      BOOST_TEST(!decode_verdict(std::string_view{good}.substr(0, size)));
    }
    for (int i = 0; i < 10'000; ++i) {
      auto bytes = good;
      for (auto flips = 1 + random() % 3; flips > 0; --flips)
        bytes[random() % bytes.size()] = static_cast<char>(random());
      if (const auto vote = decode_vote(bytes))
        BOOST_REQUIRE((decode_vote(encode(*vote)) == *vote));
      if (const auto verdict = decode_verdict(bytes))
        BOOST_REQUIRE((decode_verdict(encode(*verdict)) == *verdict));
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
