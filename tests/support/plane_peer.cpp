// A rank in a process of its own, that a test can kill or stop. It is driven by lines on stdin:
//
//     peer <life> <manifest> [<memory> <device>]
//                                     introduces the other rank, whose pool may be on a GPU
//     grant <blocks...>               grants whole blocks to it
//     revoke_all                      retires the granting session
//     pull <slot> <epoch> <blocks...> pulls these blocks into the same ones, over and over
//     forget                          forgets the other rank
//
// and answers each with a line: "ok", or what was asked for.
#include <iostream>
#include <sstream>

#include "tests/support/plane_process.hpp"
#include "tests/support/planes.hpp"

namespace {

using namespace baton;
using namespace baton::test;

class peer_program {
public:
  explicit peer_program(const process_options& options)
      : rank_{options.shape, options.role, options.plane, options.memory, options.device},
        other_role_{options.role == instance_role::context ? instance_role::generation
                                                           : instance_role::context} {
    rank_.fill(1);
  }

  void run() {
    say(fmt::format("{} {}", rank_.life().value, to_hex(rank_.plane->manifest())));
    for (std::string line; std::getline(std::cin, line);) {
      std::istringstream words{line};
      std::string verb;
      words >> verb;
      if (verb == "peer")
        meet(words);
      else if (verb == "grant")
        grant(words);
      else if (verb == "revoke_all")
        say(retired(*rank_.plane, sender) ? "ok" : "stuck");
      else if (verb == "pull")
        pull(words);
      else if (verb == "forget")
        forget();
      else
        say("what?");
    }
  }

private:
  static void say(const std::string& line) { std::cout << line << std::endl; }

  static std::vector<std::uint32_t> numbers(std::istringstream& words) {
    std::vector<std::uint32_t> all;
    for (std::uint32_t number = 0; words >> number;)
      all.push_back(number);
    return all;
  }

  void meet(std::istringstream& words) {
    std::uint64_t life = 0;
    std::string manifest;
    int memory = 0;
    int device = 0;
    words >> life >> manifest;
    if (!(words >> memory >> device))
      memory = 0;
    other_ = incarnation{life};
    auto layout = cache_layout(rank_.shape, other_role_, other_);
    place(layout, static_cast<pool_memory>(memory), device);
    const auto choice = introduce(*rank_.plane, card_of(rank_.layout, layout, from_hex(manifest)));
    say(choice ? fmt::format("ok {}", to_string(choice->lane)) : to_string(choice.error()));
  }

  void grant(std::istringstream& words) {
    const auto right =
        rank_.plane->grant(sender, whole_blocks(rank_.shape, other_, numbers(words)));
    say(right ? fmt::format("{} {}", right->slot, right->epoch) : to_string(right.error()));
  }

  void forget() {
    rank_.plane->forget(other_);
    say("ok");
  }

  void pull(std::istringstream& words) {
    lease right{other_, 0, 0};
    words >> right.slot >> right.epoch;
    const auto blocks = numbers(words);
    job_ = job_for(right, whole_blocks(rank_.shape, rank_.life(), blocks), blocks);
    again();
    say("ok");
  }

  void again() {
    rank_.plane->pull(receiver, job_, [this](const expected<pull_stats>& ended) {
      if (ended)
        again();
    });
  }

  plane_rank rank_;
  instance_role other_role_;
  incarnation other_;
  pull_job job_;
};

} // namespace

int main(int count, char** arguments) {
  const auto options = parse_options({arguments + 1, arguments + count});
  peer_program{options}.run();
}
