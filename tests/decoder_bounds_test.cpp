#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "messages/agreement.hpp"
#include "messages/layout.hpp"
#include "messages/manifest.hpp"
#include "messages/wire.hpp"
#include "tests/fuzz/memory_watch.hpp"

using namespace baton;

namespace {

std::string varint(std::uint64_t number) {
  std::string out;
  for (; number >= 0x80; number >>= 7)
    out.push_back(static_cast<char>(number | 0x80));
  out.push_back(static_cast<char>(number));
  return out;
}

std::string number_field(unsigned field, std::uint64_t number) {
  return varint(field << 3) + varint(number);
}

std::string bytes_field(unsigned field, std::string_view bytes) {
  return varint(field << 3 | 2) + varint(bytes.size()) + std::string{bytes};
}

/// So many bytes of empty messages in one field: two bytes each, objects of a hundred in memory.
std::string empties(unsigned field, std::size_t bytes) {
  const auto one = bytes_field(field, "");
  std::string out;
  while (out.size() + one.size() <= bytes)
    out += one;
  return out;
}

/// A message that is almost as long as its decoder allows, and makes no sense.
struct bomb {
  const char* field; ///< that the refusal names
  std::string bytes;
  std::function<expected<>(std::string_view)> decode;
};

template <class Result>
expected<> only_error(const Result& result) {
  return result ? expected<>{} : expected<>{fail(result.error())};
}

std::vector<bomb> bombs() {
  constexpr std::size_t room = 64;
  const auto layout = [](auto bytes) { return only_error(decode_layout(bytes)); };
  const auto message = [](auto bytes) { return only_error(decode_message(bytes)); };
  const auto instance = [](auto bytes) { return only_error(decode_instance_info(bytes)); };
  const auto intro = [](auto bytes) { return only_error(decode_introduction(bytes)); };
  const auto vote = [](auto bytes) { return only_error(decode_vote(bytes)); };
  const auto verdict = [](auto bytes) { return only_error(decode_verdict(bytes)); };
  const auto most_layout = layout_limits::encoded_bytes - room;
  const auto most_message = wire_limits::message_bytes - room;
  const auto most_vote = agreement_limits::message_bytes - room;
  // Half of what is allowed, so that the test does not take long.
  const auto most_instance = layout_limits::instance_bytes / 8;
  std::vector<bomb> all{
      {"pools", empties(9, most_layout), layout},
      {"groups", empties(10, most_layout), layout},
      {"groups.buffers", bytes_field(10, empties(4, most_layout)), layout},
      {"wants", bytes_field(1, empties(6, most_message)), message},
      {"ranges", bytes_field(3, empties(6, most_message)), message},
      {"blocks", bytes_field(3, empties(7, most_message)), message},
      {"blocks.tails", bytes_field(3, bytes_field(7, empties(4, most_message))), message},
      {"slice_done", empties(4, most_message), message},
      {"shapes", empties(1, most_instance), instance},
      {"ranks", empties(2, most_instance), instance},
      {"pools", bytes_field(2, empties(7, most_instance)), instance},
      {"groups.buffers", bytes_field(1, bytes_field(10, empties(4, most_instance))), instance},
      {"pools",
       number_field(1, protocol_version) + bytes_field(3, bytes_field(1, empties(9, most_layout))),
       intro},
      {"items", bytes_field(1, empties(7, most_vote)), vote},
      {"items", bytes_field(2, empties(5, most_vote)), verdict},
  };
  return all;
}

} // namespace

BOOST_AUTO_TEST_SUITE(decoder_bounds)

BOOST_AUTO_TEST_CASE(empty_messages_without_number_are_refused_before_they_cost_memory) {
  constexpr std::size_t bound = 1u << 20;
  for (const auto& [field, bytes, decode] : bombs()) {
    const fuzz::memory_watch watch;
    const auto begin = std::chrono::steady_clock::now();
    const auto refused = decode(bytes);
    const auto took = std::chrono::steady_clock::now() - begin;
    BOOST_TEST_CONTEXT(field << " in " << bytes.size() << " bytes") {
      BOOST_TEST_REQUIRE(!refused.has_value());
      BOOST_TEST((refused.error().text.find(field) != std::string::npos), refused.error().text);
      BOOST_TEST(watch.peak() < bound + bytes.size()); // some are copied once
      BOOST_TEST((took < std::chrono::seconds{2}));
    }
  }
}

BOOST_AUTO_TEST_CASE(what_protobuf_would_merge_or_skip_is_refused) {
  const auto done = bytes_field(4, number_field(4, 1));
  BOOST_TEST(decode_message(done).has_value());
  // Twice one message, which Protobuf merges.
  BOOST_TEST(!decode_message(done + done).has_value());
  // A group, which it skips: field 15, begin and end.
  BOOST_TEST(!decode_message(done + "\x7b\x7c").has_value());
  // Fields that a later version may add are skipped.
  BOOST_TEST(decode_message(done + number_field(15, 3)).has_value());
  BOOST_TEST(decode_message(done + bytes_field(15, "x")).has_value());
}

BOOST_AUTO_TEST_SUITE_END()
