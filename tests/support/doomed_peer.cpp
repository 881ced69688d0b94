// A rank in a process of its own with a pool on a GPU, whose CUDA context it can ruin. Words:
//
//     <context|generation> <instance> <gpu> <lane policy>
//
// It first says its endpoint, is driven by lines on stdin, and answers each with a line:
//
//     fill <block> <blocks> <byte>   fills these blocks
//     offer <id> <block> <blocks> <ms> <after>              offers them, with that deadline
//     receive <id> <endpoint> <block> <blocks> <ms> <after>
//                                    "after": 1 to have it wait for the work that `poison` began
//     ended                          what ended since: <id> complete | <id> <error> | ...
//     holds <block> <blocks> <byte>  whether these blocks are full of it: yes or no
//     poison <trap|illegal> <ms>     ruins the context after so long, and answers at once
//     broken                         why the data plane works no more, or no
//     counts                         sessions, callers and leases that are left
//     leave                          shuts down, destroys the rank, and ends
//
// What fails is answered with "error: " and the reason.
#include <algorithm>
#include <exception>
#include <iostream>
#include <memory>
#include <sstream>

#include "examples/support/value_of.hpp"
#include "gpu/record_event.hpp"
#include "tests/support/fleet.hpp"
#include "tests/support/gpu_poison.hpp"

namespace {

using namespace baton;
using namespace baton::test;
using baton::examples::value_of;

/// Blocks of 512 KiB, 512 MiB in all.
rank_layout doomed_layout(instance_role role, const std::string& instance) {
  handoff::model_spec model;
  model.layers = 8;
  model.kv_heads = 8;
  model.head_dim = 128;
  handoff::side_spec side;
  side.tokens_per_block = 16;
  side.blocks = 1024;
  return value_of(handoff::build_instance(model, side, role, instance)).front();
}

/// One thread block, and small chunks: what moves takes a while.
plane_options doomed_plane(lane_policy lanes) {
  plane_options options;
  options.lanes = lanes;
  options.gpu_blocks = 1;
  options.chunk_bytes = 256u << 10;
  return options;
}

void need(const expected<>& done) {
  if (!done)
    throw std::runtime_error{to_string(done.error())};
}

class doomed_program {
public:
  doomed_program(instance_role role, const std::string& instance, int gpu, lane_policy lanes)
      : gpu_{gpu},
        poison_stream_{value_of(gpu_stream::create(gpu))},
        node_{std::make_unique<node>(doomed_layout(role, instance), "", transceiver_options{},
                                     doomed_plane(lanes), gpu)} {}

  void run() {
    say(node_->door().endpoint());
    for (std::string line; node_ && std::getline(std::cin, line);) {
      std::istringstream words{line};
      words.exceptions(std::ios::failbit);
      try {
        say(answer(words));
      } catch (const std::exception& problem) {
        say(std::string{"error: "} + problem.what());
      }
    }
  }

private:
  static void say(std::string line) {
    std::ranges::replace(line, '\n', ' ');
    std::cout << line << std::endl;
  }

  std::string answer(std::istringstream& words) {
    std::string verb;
    words >> verb;
    if (verb == "fill")
      return fill(words);
    if (verb == "offer")
      return offer(words);
    if (verb == "receive")
      return receive(words);
    if (verb == "ended")
      return ended();
    if (verb == "holds")
      return holds(words);
    if (verb == "poison")
      return poison(words);
    if (verb == "broken") {
      const auto why = node_->plane().broken();
      return why ? to_string(*why) : "no";
    }
    if (verb == "counts")
      return left_in(*node_);
    if (verb == "leave") {
      node_->door().shutdown(std::chrono::seconds{1});
      node_.reset();
      return "ok";
    }
    throw std::runtime_error{"what?"};
  }

  /// <block> <blocks> of the words that come next.
  static std::vector<group_blocks> table(std::istringstream& words) {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    words >> first >> count;
    group_blocks blocks{"full", 0, {}};
    for (std::uint32_t i = 0; i < count; ++i)
      blocks.blocks.push_back(first + i);
    return {std::move(blocks)};
  }

  [[nodiscard]] std::uint32_t tokens_of(const std::vector<group_blocks>& blocks) const {
    return static_cast<std::uint32_t>(blocks[0].blocks.size()) *
           node_->layout().groups[0].tokens_per_block;
  }

  [[nodiscard]] std::pair<std::chrono::milliseconds, gpu_event_ref>
  limits(std::istringstream& words) const {
    std::int64_t milliseconds = 0;
    int after = 0;
    words >> milliseconds >> after;
    return {std::chrono::milliseconds{milliseconds},
            after == 1 ? poisoned_.ref() : gpu_event_ref{}};
  }

  std::string fill(std::istringstream& words) {
    const auto blocks = table(words);
    unsigned byte = 0;
    words >> byte;
    for (const auto block : blocks[0].blocks)
      node_->fill(block, static_cast<std::uint8_t>(byte));
    return "ok";
  }

  std::string offer(std::istringstream& words) {
    send_slice slice;
    words >> slice.request.value;
    slice.blocks = table(words);
    slice.tokens = {0, tokens_of(slice.blocks)};
    std::tie(slice.timeout, slice.after) = limits(words);
    need(node_->door().respond_and_send_async(std::move(slice)));
    return "ok";
  }

  std::string receive(std::istringstream& words) {
    receive_request request;
    words >> request.request.value >> request.context.endpoint;
    request.blocks = table(words);
    request.tokens = tokens_of(request.blocks);
    std::tie(request.timeout, request.after) = limits(words);
    need(node_->door().request_and_receive_async(std::move(request)));
    return "ok";
  }

  std::string ended() {
    std::string all;
    const bool sends = node_->layout().role == instance_role::context;
    for (const auto& one : sends ? node_->door().check_context_transfer_status(0)
                                 : node_->door().check_gen_transfer_status(0))
      all += fmt::format("{}{} {}", all.empty() ? "" : " | ", one.request,
                         one.completed() ? "complete" : to_string(*one.failure));
    return all.empty() ? "none" : all;
  }

  std::string holds(std::istringstream& words) {
    const auto blocks = table(words);
    unsigned byte = 0;
    words >> byte;
    for (const auto block : blocks[0].blocks)
      if (!node_->holds(block, static_cast<std::uint8_t>(byte)))
        return "no";
    return "yes";
  }

  std::string poison(std::istringstream& words) {
    std::string how;
    std::int64_t milliseconds = 0;
    words >> how >> milliseconds;
    need(launch_poison(how == "trap" ? gpu_poison::trap : gpu_poison::illegal_address,
                       std::chrono::milliseconds{milliseconds}, gpu_, poison_stream_.ref()));
    poisoned_ = value_of(record_event(gpu_, poison_stream_.ref()));
    return "ok";
  }

  int gpu_;
  gpu_stream poison_stream_;
  gpu_event poisoned_; ///< after the kernel that ruins the context
  std::unique_ptr<node> node_;
};

} // namespace

int main(int count, char** words) try {
  if (count != 5)
    throw std::runtime_error{"wants role, instance, GPU and lane policy"};
  const auto role =
      words[1] == std::string{"context"} ? instance_role::context : instance_role::generation;
  doomed_program{role, words[2], std::stoi(words[3]), static_cast<lane_policy>(std::stoi(words[4]))}
      .run();
} catch (const std::exception& problem) {
  std::cout << "error: " << problem.what() << std::endl;
  return 1;
}
