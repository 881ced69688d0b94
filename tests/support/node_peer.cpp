// An instance of one rank in a process of its own, that a test can kill and start again. Words:
//
//     <context|generation> <instance> <port> <lane policy>
//
// It first says its endpoint, is driven by lines on stdin, and answers each with a line:
//
//     offer <id> <block> <tokens> <byte>       fills blocks from that one on, and offers them
//     offer_blocks <block> <tokens> <byte>     the same without a request; answers the offer in hex
//     receive <id> <endpoint> <block> <tokens> asks for a request, into blocks from that one on
//     ended                                    what ended since: <id>:<complete or error> ...
//     holds <block> <blocks> <byte>            whether these blocks are full of it: yes or no
//     counts                                   sessions, callers and leases that are left
//     leave                                    shuts down and ends
#include <iostream>
#include <sstream>

#include "examples/support/value_of.hpp"
#include "tests/support/fleet.hpp"

namespace {

using namespace baton;
using namespace baton::test;

class peer_program {
public:
  peer_program(instance_role role, const std::string& instance, std::uint16_t port,
               lane_policy lanes)
      : node_{fleet_layout(role, instance), "", {}, plane_for(lanes), -1, port} {}

  void run() {
    std::cout << node_.door().endpoint() << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
      std::istringstream words{line};
      std::string verb;
      words >> verb;
      std::cout << answer(verb, words) << std::endl;
      if (verb == "leave")
        return;
    }
  }

private:
  static plane_options plane_for(lane_policy lanes) {
    plane_options options;
    options.lanes = lanes;
    return options;
  }

  std::string answer(const std::string& verb, std::istringstream& words) {
    if (verb == "offer")
      return offer(words);
    if (verb == "offer_blocks")
      return offer_blocks(words);
    if (verb == "receive")
      return receive(words);
    if (verb == "ended")
      return ended();
    if (verb == "holds")
      return holds(words);
    if (verb == "counts")
      return left_in(node_);
    if (verb == "leave") {
      node_.door().shutdown(std::chrono::seconds{1});
      return "ok";
    }
    return "what?";
  }

  static std::string told(const expected<>& done) { return done ? "ok" : to_string(done.error()); }

  std::string offer(std::istringstream& words) {
    std::uint64_t id = 0;
    std::uint32_t block = 0;
    std::uint32_t tokens = 0;
    unsigned byte = 0;
    words >> id >> block >> tokens >> byte;
    return told(baton::test::offer(node_, id, block, tokens, static_cast<std::uint8_t>(byte)));
  }

  std::string offer_blocks(std::istringstream& words) {
    std::uint32_t block = 0;
    std::uint32_t tokens = 0;
    unsigned byte = 0;
    words >> block >> tokens >> byte;
    block_offer what{{{"full", {0, tokens}, {}}}, wish_for(1, "", block, tokens).blocks, {}};
    what.timeout = std::chrono::seconds{60};
    for (const auto each : what.blocks[0].blocks)
      node_.fill(each, static_cast<std::uint8_t>(byte++));
    const auto standing = node_.door().offer_blocks(std::move(what));
    if (!standing)
      return to_string(standing.error());
    std::string hex;
    for (const auto one : standing->bytes)
      hex += fmt::format("{:02x}", static_cast<unsigned char>(one));
    return hex;
  }

  std::string receive(std::istringstream& words) {
    std::uint64_t id = 0;
    std::string endpoint;
    std::uint32_t block = 0;
    std::uint32_t tokens = 0;
    words >> id >> endpoint >> block >> tokens;
    return told(node_.door().request_and_receive_async(wish_for(id, endpoint, block, tokens)));
  }

  std::string ended() {
    std::string all;
    for (const auto* side : {"context", "generation"})
      for (const auto& one : side[0] == 'c' ? node_.door().check_context_transfer_status(0)
                                            : node_.door().check_gen_transfer_status(0))
        all += fmt::format("{}:{} ", one.request, ending_of(one));
    return all;
  }

  std::string holds(std::istringstream& words) {
    std::uint32_t block = 0;
    std::uint32_t blocks = 0;
    unsigned byte = 0;
    words >> block >> blocks >> byte;
    for (std::uint32_t i = 0; i < blocks; ++i)
      if (!node_.holds(block + i, static_cast<std::uint8_t>(byte + i)))
        return "no";
    return "yes";
  }

  node node_;
};

} // namespace

int main(int, char** arguments) {
  const auto role =
      arguments[1] == std::string{"context"} ? instance_role::context : instance_role::generation;
  peer_program{role, arguments[2], static_cast<std::uint16_t>(std::stoi(arguments[3])),
               static_cast<lane_policy>(std::stoi(arguments[4]))}
      .run();
}
