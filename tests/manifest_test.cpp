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
  out.network = 4026531840;
  out.ucx_version = "1.22.0";
  out.ucx_address = std::string(100, '\0');
  out.chunk_bytes = 256 * 1024;
  out.pools.resize(4);
  out.pools[0].kind = share_kind::memory_file;
  out.pools[1].kind = share_kind::none;
  out.pools[1].reason = "made of something else";
  out.pools[2].kind = share_kind::vmm;
  out.pools[2].pieces = {2u << 20, 20u << 20};
  out.pools[2].offset = 4096;
  out.pools[2].bytes = (22u << 20) - 4096;
  out.pools[3].kind = share_kind::ipc;
  out.pools[3].handle.fill(std::byte{0xa5});
  out.pools[3].offset = 512;
  out.pools[3].bytes = 1'000'000;
  return out;
}

/// The layout that goes with it.
std::vector<pool_layout> sample_pools() {
  const pool_layout host{memory_kind::host, 0, "", 1000, 1000};
  const pool_layout gpu{memory_kind::cuda, 0, "GPU-0", 1000, 1000};
  return {host, gpu, gpu, gpu};
}

lane_pull sample_call() {
  return {incarnation{1},
          2,
          {incarnation{3}, 4, 5},
          {{"full", {0, 64}, {32, 48}, {2, 5}}, {"swa", {0, 64}}},
          1 << 20,
          8,
          9};
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
  BOOST_TEST(refused("pools", [](manifest& m) { m.pools.resize(layout_limits::pools + 1); }));
  BOOST_TEST(!refused("pools", [](manifest& m) { m.pools.resize(layout_limits::pools); }));
}

BOOST_AUTO_TEST_CASE(a_share_that_is_not_sound_is_refused) {
  using manifest = plane_manifest;
  const auto no = [](auto change) { return refused("pools", change); };
  BOOST_TEST(no([](manifest& m) { m.pools[0].kind = share_kind{0}; }));
  BOOST_TEST(no([](manifest& m) { m.pools[0].kind = share_kind{5}; }));
  BOOST_TEST(no([](manifest& m) { m.pools[0].pieces = {4096}; }));
  BOOST_TEST(no([](manifest& m) { m.pools[0].bytes = 1; }));
  BOOST_TEST(no([](manifest& m) { m.pools[0].reason = "why"; }));
  BOOST_TEST(no([](manifest& m) { m.pools[1].offset = 1; }));
  BOOST_TEST(
      no([](manifest& m) { m.pools[1].reason.assign(manifest_limits::reason_bytes + 1, 'r'); }));
  BOOST_TEST(
      !no([](manifest& m) { m.pools[1].reason.assign(manifest_limits::reason_bytes, 'r'); }));
  BOOST_TEST(no([](manifest& m) { m.pools[2].pieces.clear(); }));
  BOOST_TEST(no([](manifest& m) { m.pools[2].pieces[1] = 0; }));
  BOOST_TEST(no([](manifest& m) { m.pools[2].pieces[1] = layout_limits::pool_bytes + 1; }));
  BOOST_TEST(no([](manifest& m) { m.pools[2].bytes = 0; }));
  BOOST_TEST(no([](manifest& m) { m.pools[2].bytes += 1; }));
  BOOST_TEST(no([](manifest& m) { m.pools[2].offset = 2u << 20; }));
  BOOST_TEST(no([](manifest& m) { m.pools[2].offset = UINT64_MAX; }));
  BOOST_TEST(no([](manifest& m) { m.pools[3].bytes = UINT64_MAX; }));
  BOOST_TEST(no([](manifest& m) { m.pools[3].offset = layout_limits::pool_bytes; }));
}

BOOST_AUTO_TEST_CASE(the_pieces_of_all_pools_are_counted_together) {
  const auto pieces = [](std::size_t more) {
    return refused("pieces", [&](plane_manifest& m) {
      m.pools[2].pieces.resize(manifest_limits::pieces / 2, 2u << 20);
      m.pools.push_back(m.pools[2]);
      m.pools.back().pieces.resize(manifest_limits::pieces / 2 + more, 2u << 20);
    });
  };
  BOOST_TEST(!pieces(0));
  BOOST_TEST(pieces(1));
}

BOOST_AUTO_TEST_CASE(shares_must_fit_the_pools_of_the_layout) {
  const auto shares = sample_manifest().pools;
  BOOST_TEST(fits(shares, sample_pools()).has_value());
  auto pools = sample_pools();
  pools[0].kind = memory_kind::cuda;
  BOOST_TEST(!fits(shares, pools));
  pools = sample_pools();
  pools[2].kind = memory_kind::host;
  BOOST_TEST(!fits(shares, pools));
  pools = sample_pools();
  pools[3].slots = 1001;
  const auto small = fits(shares, pools);
  BOOST_REQUIRE(!small);
  BOOST_TEST(small.error().text == "pools[3] has 1001000 bytes, its manifest 1000000");
  pools = sample_pools();
  pools.pop_back();
  BOOST_TEST(!fits(shares, pools));
}

BOOST_AUTO_TEST_CASE(a_share_says_how_many_descriptors_come_with_it) {
  const auto shares = sample_manifest().pools;
  BOOST_TEST(shares[0].descriptors() == 1u);
  BOOST_TEST(shares[1].descriptors() == 0u);
  BOOST_TEST(shares[2].descriptors() == 2u);
  BOOST_TEST(shares[3].descriptors() == 0u);
}

BOOST_AUTO_TEST_CASE(a_lane_pull_out_of_bounds_is_refused) {
  auto call = sample_call();
  call.right.epoch = 6;
  BOOST_TEST(!decode_lane_pull(encode(call)));
  call = sample_call();
  call.ranges[0].tokens = {5, 4};
  BOOST_TEST(!decode_lane_pull(encode(call)));
  for (const auto layers : {layer_range{4, 4}, layer_range{5, 4}, layer_range{0, 0}}) {
    call = sample_call();
    call.ranges[0].layers = layers;
    BOOST_TEST(!decode_lane_pull(encode(call)));
  }
  call = sample_call();
  call.ranges.assign(layout_limits::groups + 1, call.ranges[0]);
  BOOST_TEST(!decode_lane_pull(encode(call)));
  call = sample_call();
  call.ranges[0].tails.assign(wire_limits::beams - 1, wire_limits::tokens);
  BOOST_TEST((decode_lane_pull(encode(call)).value() == call));
  call.ranges[0].tails.push_back(0);
  BOOST_TEST(!decode_lane_pull(encode(call)));
  call.ranges[0].tails = {wire_limits::tokens + 1};
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
