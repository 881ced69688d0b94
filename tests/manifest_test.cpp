#include <random>

#include <boost/test/unit_test.hpp>

#include "messages/layout.hpp"
#include "messages/manifest.hpp"

namespace baton {

namespace {

plane_manifest sample_manifest() {
  plane_manifest out;
  out.life = incarnation{42};
  out.boot_id = "b0071d";
  out.socket = "baton-0123";
  out.token = std::string(manifest_limits::token_bytes, '\xfe');
  out.user = 1000;
  out.ucx_version = "1.22.0";
  out.ucx_address = std::string(100, '\0');
  out.chunk_bytes = 256 * 1024;
  out.shareable = {true, false, true};
  return out;
}

lane_pull sample_call() {
  return {incarnation{1}, 2, {incarnation{3}, 4, 5}, {{"full", {0, 64}}}, 1 << 20, 8, 9};
}

/// Whether the change makes the manifest one that is refused, with this word in the text.
template <class Change>
bool refused(const char* word, Change change) {
  auto manifest = sample_manifest();
  change(manifest);
  const auto decoded = decode_manifest(encode(manifest));
  return !decoded && decoded.error().text.find(word) != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_SUITE(manifests)

BOOST_AUTO_TEST_CASE(a_manifest_survives_the_round_trip) {
  BOOST_TEST((decode_manifest(encode(sample_manifest())).value() == sample_manifest()));
}

BOOST_AUTO_TEST_CASE(a_lane_pull_survives_the_round_trip) {
  BOOST_TEST((decode_lane_pull(encode(sample_call())).value() == sample_call()));
}

BOOST_AUTO_TEST_CASE(a_manifest_out_of_bounds_is_refused_by_name) {
  using manifest = plane_manifest;
  BOOST_TEST(refused("life", [](manifest& m) { m.life = {}; }));
  BOOST_TEST(refused("socket", [](manifest& m) { m.socket.clear(); }));
  BOOST_TEST(refused("socket", [](manifest& m) { m.socket.assign(101, 's'); }));
  BOOST_TEST(!refused("socket", [](manifest& m) { m.socket.assign(100, 's'); }));
  BOOST_TEST(refused("token", [](manifest& m) { m.token.pop_back(); }));
  BOOST_TEST(refused("ucx_address", [](manifest& m) { m.ucx_address.clear(); }));
  BOOST_TEST(refused("ucx_address", [](manifest& m) {
    m.ucx_address.resize(manifest_limits::address_bytes + 1);
  }));
  BOOST_TEST(refused("chunk_bytes",
                     [](manifest& m) { m.chunk_bytes = manifest_limits::least_chunk - 1; }));
  BOOST_TEST(
      refused("chunk_bytes", [](manifest& m) { m.chunk_bytes = manifest_limits::most_chunk + 1; }));
  BOOST_TEST(refused("shareable",
                     [](manifest& m) { m.shareable.assign(layout_limits::pools + 1, true); }));
}

BOOST_AUTO_TEST_CASE(a_lane_pull_out_of_bounds_is_refused) {
  auto call = sample_call();
  call.right.epoch = 6;
  BOOST_TEST(!decode_lane_pull(encode(call)));
  call = sample_call();
  call.ranges[0].tokens = {5, 4};
  BOOST_TEST(!decode_lane_pull(encode(call)));
  call = sample_call();
  call.ranges.assign(layout_limits::groups + 1, call.ranges[0]);
  BOOST_TEST(!decode_lane_pull(encode(call)));
  call = sample_call();
  call.number = 0;
  BOOST_TEST(!decode_lane_pull(encode(call)));
}

BOOST_AUTO_TEST_CASE(damaged_bytes_never_crash_the_decoders) {
  constexpr std::uint32_t seed = 7;
  std::mt19937 random{seed};
  for (const auto& good : {encode(sample_manifest()), encode(sample_call())})
    for (int round = 0; round < 5'000; ++round) {
      auto bytes = good;
      for (auto flips = 1 + random() % 4; flips > 0; --flips)
        bytes[random() % bytes.size()] = static_cast<char>(random());
      bytes.resize(random() % (bytes.size() + 1));
      if (const auto manifest = decode_manifest(bytes))
        BOOST_TEST((decode_manifest(encode(*manifest)).value() == *manifest));
      if (const auto call = decode_lane_pull(bytes))
        BOOST_TEST((decode_lane_pull(encode(*call)).value() == *call));
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
