#include "tests/support/plane_process.hpp"

#include <sstream>

namespace baton::test {

std::vector<std::string> to_words(const process_options& options) {
  const auto& plane = options.plane;
  const auto number = [](auto value) { return std::to_string(static_cast<std::uint64_t>(value)); };
  return {number(options.role),        number(options.shape.layers),
          number(options.shape.slots), number(options.shape.fragment_bytes),
          number(plane.lanes),         number(plane.chunk_bytes),
          number(plane.ring_chunks),   number(plane.credits),
          number(plane.copy_threads),  "=" + plane.tcp_devices,
          "=" + plane.ucx_transports,  number(options.memory),
          number(options.device),      number(plane.gpu_blocks)};
}

process_options parse_options(const std::vector<std::string>& words) {
  process_options out;
  const auto number = [&](std::size_t at) { return std::stoul(words.at(at)); };
  out.role = static_cast<instance_role>(number(0));
  out.shape.layers = static_cast<std::uint32_t>(number(1));
  out.shape.slots = static_cast<std::uint32_t>(number(2));
  out.shape.fragment_bytes = static_cast<std::uint32_t>(number(3));
  out.plane.lanes = static_cast<lane_policy>(number(4));
  out.plane.chunk_bytes = number(5);
  out.plane.ring_chunks = number(6);
  out.plane.credits = number(7);
  out.plane.copy_threads = number(8);
  out.plane.tcp_devices = words.at(9).substr(1);
  out.plane.ucx_transports = words.at(10).substr(1);
  out.memory = static_cast<pool_memory>(number(11));
  out.device = static_cast<int>(number(12));
  out.plane.gpu_blocks = static_cast<std::uint32_t>(number(13));
  return out;
}

std::string to_hex(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes)
    out += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return out;
}

std::string from_hex(std::string_view digits) {
  std::string out;
  for (std::size_t at = 0; at + 1 < digits.size(); at += 2)
    out.push_back(static_cast<char>(std::stoi(std::string{digits.substr(at, 2)}, nullptr, 16)));
  return out;
}

std::string sentence(std::string verb, const std::vector<std::uint32_t>& numbers) {
  for (const auto number : numbers)
    verb += fmt::format(" {}", number);
  return verb;
}

plane_process::plane_process(const char* built, const process_options& options)
    : lines_{built, to_words(options)} {
  std::istringstream first{lines_.read_line()};
  std::string manifest;
  first >> life_.value >> manifest;
  manifest_ = from_hex(manifest);
}

} // namespace baton::test
