#include <cstdint>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "examples/bench/actor_pair.hpp"
#include "examples/bench/cases.hpp"
#include "examples/bench/latency.hpp"

namespace baton::bench {

namespace {

/// Medians of what each run took.
struct series {
  std::vector<double> waited;
  std::vector<double> total;

  void add(const nlohmann::json& run) {
    waited.push_back(percentile(run.at("waited").get<std::vector<double>>(), 50));
    total.push_back(percentile(run.at("total").get<std::vector<double>>(), 50));
  }
};

} // namespace

findings measure_ticket(const settings& how) {
  const auto batch = how.sized(200u, 20u);
  actor_pair ranks{{latency_layers, 2 * batch * static_cast<std::uint32_t>(how.runs + 1), 1}};
  series asked;
  series by_ticket;
  std::size_t next = 0;
  const auto run = [&](bool ticket) {
    auto times = ranks.hand_over_by_params(next, batch, ticket);
    next += batch;
    return times;
  };
  static_cast<void>(run(false));
  static_cast<void>(run(true));
  for (std::size_t i = 0; i < how.runs; ++i) {
    asked.add(run(false));
    by_ticket.add(run(true));
  }
  ranks.check();
  ranks.end();
  return {{{"until the first pull, asked", "us", summarize(asked.waited), {}},
           {"until the first pull, by ticket", "us", summarize(by_ticket.waited), {}},
           {"by ticket / asked", "x", summarize(ratios(by_ticket.waited, asked.waited)), {}},
           {"until the end, asked", "us", summarize(asked.total), {}},
           {"until the end, by ticket", "us", summarize(by_ticket.total), {}},
           {"end, by ticket / asked", "x", summarize(ratios(by_ticket.total, asked.total)),
            at_most(1)}},
          {fmt::format("1 block of {} KiB per request, {} requests a run, median of each; counted "
                       "from the call, the ranks know each other",
                       latency_layers * fragment_bytes / 1024, batch)}};
}

} // namespace baton::bench
