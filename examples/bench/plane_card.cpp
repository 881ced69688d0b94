#include "examples/bench/plane_card.hpp"

#include <cstdint>
#include <vector>

#include "examples/support/value_of.hpp"

namespace baton::bench {

using examples::value_of;
using nlohmann::json;

json to_array(const std::string& bytes) {
  return std::vector<std::uint8_t>(bytes.begin(), bytes.end());
}

std::string from_array(const json& array) {
  const auto bytes = array.get<std::vector<std::uint8_t>>();
  return {bytes.begin(), bytes.end()};
}

json describe(const rank_layout& layout, const rank_plane& plane) {
  return {{"layout", to_array(encode(layout))}, {"manifest", to_array(plane.manifest())}};
}

peer_card card_of(const json& description) {
  peer_card peer;
  peer.layout = value_of(decode_layout(from_array(description.at("layout"))));
  peer.life = peer.layout.life;
  peer.manifest = from_array(description.at("manifest"));
  return peer;
}

json to_json_value(const plane_options& options) {
  return {{"lanes", options.lanes},
          {"copy_threads", options.copy_threads},
          {"gpu_blocks", options.gpu_blocks},
          {"gpu_streams", options.gpu_streams},
          {"chunk_bytes", options.chunk_bytes},
          {"ring_chunks", options.ring_chunks},
          {"credits", options.credits},
          {"tcp_devices", options.tcp_devices},
          {"ucx_transports", options.ucx_transports}};
}

plane_options options_of(const json& value) {
  plane_options options;
  options.lanes = value.at("lanes").get<lane_policy>();
  options.copy_threads = value.at("copy_threads").get<std::size_t>();
  options.gpu_blocks = value.at("gpu_blocks").get<std::uint32_t>();
  options.gpu_streams = value.at("gpu_streams").get<std::uint32_t>();
  options.chunk_bytes = value.at("chunk_bytes").get<std::size_t>();
  options.ring_chunks = value.at("ring_chunks").get<std::size_t>();
  options.credits = value.at("credits").get<std::size_t>();
  options.tcp_devices = value.at("tcp_devices").get<std::string>();
  options.ucx_transports = value.at("ucx_transports").get<std::string>();
  return options;
}

json introduce(rank_plane& plane, peer_card peer) {
  const auto choice = value_of(result_of<expected<lane_choice>>(
      [&](auto done) { plane.introduce(std::move(peer), std::move(done)); }));
  return {{"lane", to_string(choice.lane)}, {"reason", choice.reason}};
}

} // namespace baton::bench
