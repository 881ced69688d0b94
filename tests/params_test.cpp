#include <random>
#include <string>

#include <boost/test/unit_test.hpp>

#include "messages/layout.hpp"
#include "messages/params.hpp"

using namespace baton;

namespace {

const disaggregated_params sample{"10.0.0.7:4711", 3};

error refusal(const std::string& bytes) {
  const auto result = decode_params(bytes);
  BOOST_REQUIRE(!result.has_value());
  return result.error();
}

bool names(const error& reason, std::string_view what) {
  return reason.code == errc::invalid_argument && reason.text.find(what) != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_SUITE(params)

BOOST_AUTO_TEST_CASE(parameters_arrive_as_they_are) {
  for (const auto& each : {sample, disaggregated_params{"[::1]:1", 0}, {"host:65535", 0}})
    BOOST_TEST((decode_params(encode(each)) == each));
}

BOOST_AUTO_TEST_CASE(the_bytes_of_version_1_stay_as_they_are) {
  const std::string bytes{"\x08\x01\x12\x11\x0a\x0d"
                          "10.0.0.7:4711"
                          "\x10\x03",
                          21};
  BOOST_TEST(encode(sample) == bytes);
}

BOOST_AUTO_TEST_CASE(another_version_is_refused_with_both_numbers) {
  auto bytes = encode(sample);
  bytes[1] = 2;
  const auto reason = refusal(bytes);
  BOOST_TEST((reason.code == errc::version_mismatch));
  BOOST_TEST(reason.text.find("2 given, this version reads 1") != std::string::npos);
  // Whatever its body is.
  BOOST_TEST((refusal(std::string{"\x08\x07\x12\x01\xff", 5}).code == errc::version_mismatch));
}

BOOST_AUTO_TEST_CASE(fields_of_later_writers_are_ignored) {
  const std::string more = "\x22\x03xyz"; // field 4 of the body
  auto bytes = encode(sample);
  bytes[3] = static_cast<char>(bytes[3] + more.size());
  BOOST_TEST((decode_params(bytes + more) == sample));
}

BOOST_AUTO_TEST_CASE(what_is_out_of_bounds_is_refused_with_the_field) {
  for (const auto* endpoint : {"host", ":1", "host:", "host:0", "host:65536", "host:1x", "host:-1"})
    BOOST_TEST(names(refusal(encode({endpoint, 0})), "params.endpoint"), endpoint);
  BOOST_TEST(names(refusal(encode({"", 0})), "params.endpoint"));
  BOOST_TEST(names(refusal(encode({std::string(layout_limits::name_bytes, 'x') + ":1", 0})),
                   "params.endpoint"));
  BOOST_TEST(names(refusal(encode({"host:1", static_cast<std::uint32_t>(layout_limits::ranks)})),
                   "params.dp_rank"));
  BOOST_TEST(names(refusal(std::string(params_bytes + 1, 'x')), "params: 65537 bytes"));
  BOOST_TEST(names(refusal(""), "params.version: is missing"));
}

BOOST_AUTO_TEST_CASE(garbage_is_survived) {
  const std::uint64_t seed = 20260105;
  BOOST_TEST_MESSAGE("seed " << seed);
  std::mt19937_64 random{seed};
  const auto good = encode(sample);
  for (std::size_t size = 0; size < good.size(); ++size)
    BOOST_TEST(!decode_params(std::string_view{good}.substr(0, size)));
  for (int i = 0; i < 10'000; ++i) {
    auto bytes = good;
    for (auto flips = 1 + random() % 3; flips > 0; --flips)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    if (const auto params = decode_params(bytes))
      BOOST_REQUIRE((decode_params(encode(*params)) == *params));
  }
}

BOOST_AUTO_TEST_SUITE_END()
