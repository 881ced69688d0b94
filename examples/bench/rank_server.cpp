#include "examples/bench/rank_server.hpp"

#include <chrono>
#include <deque>
#include <exception>
#include <memory>
#include <stdexcept>

#include <fmt/format.h>
#include <sched.h>
#include <spdlog/cfg/env.h>
#include <spdlog/spdlog.h>

#include "examples/bench/actor_rank.hpp"
#include "examples/bench/gpu_rank.hpp"
#include "examples/bench/plane_rank.hpp"
#include "examples/handoff/control.hpp"

namespace baton::bench {

namespace {

using nlohmann::json;
using std::chrono::seconds;

constexpr seconds look_again{1};
constexpr seconds send_limit{10};

/// Keeps this process, with all its threads to come, on one core.
void stay_on(int core) {
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(core, &only);
  if (::sched_setaffinity(0, sizeof only, &only) != 0)
    throw std::runtime_error{fmt::format("cannot stay on core {}", core)};
}

std::unique_ptr<rank> make_rank(const json& start) {
  if (start.contains("core"))
    stay_on(start.at("core").get<int>());
  if (start.at("kind") == "plane")
    return std::make_unique<plane_rank>(start);
  if (start.at("kind") == "gpu")
    return std::make_unique<gpu_rank>(start);
  return std::make_unique<actor_rank>(start);
}

/// Requests of the parent, one after the other.
class inbox {
public:
  explicit inbox(handoff::control_channel& channel) : channel_{channel} {}

  /// Returns nothing to do any more as `{"verb": "end"}`, also when the parent is gone.
  json next() {
    while (waiting_.empty() && !channel_.closed()) {
      channel_.wait(look_again);
      for (auto& message : channel_.receive())
        waiting_.push_back(std::move(message));
    }
    if (waiting_.empty())
      return {{"verb", "end"}};
    auto first = std::move(waiting_.front());
    waiting_.pop_front();
    return first;
  }

private:
  handoff::control_channel& channel_;
  std::deque<json> waiting_;
};

/// Carries out what was asked, and answers with the result or with what went wrong.
template <class Work>
void reply(handoff::control_channel& channel, Work work) {
  json answer;
  try {
    answer["result"] = work();
  } catch (const std::exception& problem) {
    answer["error"] = problem.what();
  }
  channel.send(answer, send_limit);
}

} // namespace

int serve_rank(int socket) {
  spdlog::set_level(spdlog::level::warn); // that ranks come and go is no news here
  spdlog::cfg::load_env_levels();
  handoff::control_channel channel{unique_fd{socket}};
  inbox requests{channel};
  std::unique_ptr<rank> self;
  for (;;) {
    const auto request = requests.next();
    const auto verb = request.at("verb").get<std::string>();
    if (verb == "end")
      return 0;
    reply(channel, [&]() -> json {
      if (verb != "start")
        return self->answer(verb, request.at("arguments"));
      self = make_rank(request.at("arguments"));
      return nullptr;
    });
    if (!self)
      return 1;
  }
}

} // namespace baton::bench
