#include <vector>

#include <fmt/format.h>

#include "examples/bench/actor_pair.hpp"
#include "examples/bench/cases.hpp"
#include "examples/bench/latency.hpp"
#include "messages/wire.hpp"

namespace baton::bench {

namespace {

/// Returns the size of what a request of one block is asked for with.
std::size_t question_bytes() {
  pull_request question;
  question.request = request_id{1};
  question.pull = random_id<pull_id>();
  question.layout_digest = random_number();
  question.receivers = 1;
  question.wants = {{"full", {0, tokens_per_block}}};
  question.wants_aux = true;
  question.remaining = default_timeout;
  return encode(wire_message{question}).size();
}

/// Two figures per run.
struct series {
  std::vector<double> p50;
  std::vector<double> p99;

  void add(const std::vector<double>& run) {
    p50.push_back(percentile(run, 50));
    p99.push_back(percentile(run, 99));
  }
};

} // namespace

findings compare_latency(actor_pair& ranks, std::size_t runs, std::uint32_t batch, double most) {
  const auto bytes = question_bytes();
  const nlohmann::json ping{{"port", ranks.echo_port()}, {"count", batch}, {"bytes", bytes}};
  series receive;
  series blocking;
  series events;
  static_cast<void>(ranks.hand_over(0, batch));
  ranks.generation().ask("ping", ping);
  for (std::size_t run = 1; run <= runs; ++run) {
    receive.add(ranks.hand_over(run * batch, batch));
    const auto bare = ranks.generation().ask("ping", ping);
    blocking.add(bare.at("blocking").get<std::vector<double>>());
    events.add(bare.at("events").get<std::vector<double>>());
  }
  ranks.check();
  ranks.end();
  return {{{"receive_sync p50", "us", summarize(receive.p50), {}},
           {"receive_sync p99", "us", summarize(receive.p99), {}},
           {"bare round trip p50", "us", summarize(blocking.p50), {}},
           {"bare round trip p99", "us", summarize(blocking.p99), {}},
           {"bare, event-based p50", "us", summarize(events.p50), {}},
           {"bare, event-based p99", "us", summarize(events.p99), {}},
           {"receive_sync / bare, p50", "x", summarize(ratios(receive.p50, blocking.p50)),
            at_most(most)}},
          {fmt::format("1 block of {} KiB per request, {} requests a run; a bare round trip is {} "
                       "bytes there and back, from a scoped_actor",
                       latency_layers * fragment_bytes / 1024, batch, bytes)}};
}

findings measure_latency(const settings& how) {
  const auto batch = how.sized(200u, 20u);
  actor_pair ranks{{latency_layers, batch * static_cast<std::uint32_t>(how.runs + 1), 1}};
  return compare_latency(ranks, how.runs, batch, 3);
}

} // namespace baton::bench
