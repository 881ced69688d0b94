#include "tests/support/fleet.hpp"

#include <algorithm>
#include <fstream>
#include <stdexcept>

#include "examples/support/value_of.hpp"

namespace baton::test {

namespace {

constexpr std::uint32_t tokens_per_block = 4;

std::vector<group_blocks> table(std::uint32_t first, std::uint32_t tokens) {
  std::vector<std::uint32_t> blocks;
  for (std::uint32_t token = 0; token < tokens; token += tokens_per_block)
    blocks.push_back(first++);
  return {{"full", 0, std::move(blocks)}};
}

} // namespace

rank_layout fleet_layout(instance_role role, const std::string& instance) {
  deployment::shape form;
  form.model.head_dim = 64;
  auto side = role == instance_role::context ? form.context : form.generation;
  side.tokens_per_block = tokens_per_block;
  side.blocks = 512;
  return examples::value_of(handoff::build_instance(form.model, side, role, instance)).front();
}

expected<> offer(node& rank, std::uint64_t id, std::uint32_t first, std::uint32_t tokens,
                 std::uint8_t byte) {
  send_slice slice;
  slice.request = request_id{id};
  slice.tokens = {0, tokens};
  slice.blocks = table(first, tokens);
  for (const auto block : slice.blocks[0].blocks)
    rank.fill(block, byte++);
  return rank.door().respond_and_send_async(std::move(slice));
}

receive_request wish_for(std::uint64_t id, const std::string& endpoint, std::uint32_t first,
                         std::uint32_t tokens) {
  receive_request request;
  request.request = request_id{id};
  request.context = {endpoint, 0};
  request.tokens = tokens;
  request.blocks = table(first, tokens);
  return request;
}

std::string ending_of(const outcome& result) {
  return result.completed() ? "complete" : std::string{to_string(result.failure->code)};
}

std::string hand_over(node& context, node& generation, std::uint64_t id,
                      std::chrono::milliseconds limit) {
  constexpr std::uint32_t blocks = 8;
  const auto byte = static_cast<std::uint8_t>(10 * id);
  for (std::uint32_t block = 0; block < blocks; ++block)
    generation.fill(block, static_cast<std::uint8_t>(byte + blocks));
  if (auto offered = offer(context, id, 0, tokens_per_block * blocks, byte); !offered)
    return to_string(offered.error());
  auto wish = wish_for(id, context.door().endpoint(), 0, tokens_per_block * blocks);
  wish.timeout = limit;
  const auto result = generation.door().request_and_receive_sync(std::move(wish));
  if (!result.completed()) {
    static_cast<void>(context.door().cancel_request(request_id{id}));
    return to_string(*result.failure);
  }
  for (std::uint32_t block = 0; block < blocks; ++block)
    if (!generation.holds(block, static_cast<std::uint8_t>(byte + block)))
      return "wrong bytes";
  return "complete";
}

std::string left_in(node& rank) {
  const auto counts = rank.door().stats();
  const auto left = counts.live_sends + counts.live_receives + counts.sessions +
                    counts.early_requests + counts.waiting_callers + counts.leases_granted;
  if (left == 0)
    return "nothing";
  return fmt::format("{} sends, {} receives, {} sessions, {} early, {} callers, {} leases",
                     counts.live_sends, counts.live_receives, counts.sessions,
                     counts.early_requests, counts.waiting_callers, counts.leases_granted);
}

fleet_member::fleet_member(instance_role role, std::string instance, lane_policy lanes)
    : role_{role}, instance_{std::move(instance)}, lanes_{lanes} {
}

void fleet_member::start(const char* built) {
  process_ = std::make_unique<line_process>(
      built,
      std::vector<std::string>{std::string{to_string(role_)}, instance_, std::to_string(port_),
                               std::to_string(static_cast<int>(lanes_))});
  endpoint_ = process_->read_line();
  const auto colon = endpoint_.rfind(':');
  if (colon == std::string::npos)
    throw std::runtime_error{instance_ + " did not start"};
  port_ = static_cast<std::uint16_t>(std::stoi(endpoint_.substr(colon + 1)));
}

void fleet_member::leave() {
  if (ask("leave") != "ok")
    throw std::runtime_error{instance_ + " did not leave"};
  process_->await_end();
  process_.reset();
}

void fleet_member::move(std::string instance) {
  instance_ = std::move(instance);
  port_ = 0;
}

peer_costs measure_peers() {
  peer_costs costs;
  costs.descriptors = measure().descriptors;
  std::ifstream maps{"/proc/self/maps"};
  for (std::string line; std::getline(maps, line);)
    for (const auto* shared : {"/memfd:", "/dev/shm/", "/SYSV"})
      costs.mappings += line.find(shared) != std::string::npos ? 1 : 0;
  return costs;
}

} // namespace baton::test
