#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "examples/bench/actor_pair.hpp"
#include "examples/bench/cases.hpp"

namespace baton::bench {

namespace {

constexpr std::uint32_t layers = 8; // one for each chunk
constexpr std::uint32_t chunks = 8;
/// A chunk computes for so many times as long as it is on its way.
constexpr double computing = 1.5;

/// How a request is cut into slices.
struct cut {
  std::uint32_t parts = 1;
  bool by_layers = false;
};

/// Hands a request over while the context rank computes it.
///
/// @returns microseconds from the end of the computing to the end of the request.
double tail(actor_pair& ranks, std::size_t request, cut how, double compute_us) {
  auto wish = ranks.range(request, 1);
  wish["request"] = request;
  ranks.generation().tell("receive_until", wish);
  const auto computed = ranks.context()
                            .ask("compute", {{"request", request},
                                             {"chunks", how.parts},
                                             {"by_layers", how.by_layers},
                                             {"us", std::llround(compute_us)}})
                            .get<double>();
  const auto ended = ranks.generation().answer().get<double>();
  ranks.context().ask("offered");
  return ended - computed;
}

/// Requests of one size, for one of warm-up and for each run.
class request_row {
public:
  request_row(std::uint32_t blocks, std::size_t runs, cut how)
      : ranks_{cache_setup{layers, static_cast<std::uint32_t>(runs + 1), blocks}}, how_{how} {}

  /// @param compute_us of each part
  double next(double compute_us) { return tail(ranks_, next_++, how_, compute_us); }
  void end() {
    ranks_.check();
    ranks_.end();
  }

private:
  actor_pair ranks_;
  cut how_;
  std::size_t next_ = 0;
};

} // namespace

findings measure_overlap(const settings& how) {
  constexpr double most = 1.1;
  constexpr double warm_up_us = 5'000;
  const auto blocks = how.sized(128u, 4u); // of a chunk
  request_row single{blocks, how.runs, {}};
  request_row whole{chunks * blocks, how.runs, {}};
  request_row chunked{chunks * blocks, how.runs, {chunks}};
  request_row layered{chunks * blocks, how.runs, {chunks, true}};
  const auto first = single.next(warm_up_us);
  for (auto* row : {&whole, &chunked, &layered})
    static_cast<void>(row->next(warm_up_us));
  std::vector<double> one;
  std::vector<double> at_end;
  std::vector<double> by_tokens;
  std::vector<double> by_layers;
  for (std::size_t run = 0; run < how.runs; ++run) {
    const auto compute_us = computing * (one.empty() ? first : summarize(one).median);
    one.push_back(single.next(compute_us));
    at_end.push_back(whole.next(chunks * compute_us));
    by_tokens.push_back(chunked.next(compute_us));
    by_layers.push_back(layered.next(compute_us));
  }
  for (auto* row : {&single, &whole, &chunked, &layered})
    row->end();
  return {
      {{"one chunk alone", "us", summarize(one), {}},
       {"all in one slice", "us", summarize(at_end), {}},
       {"in chunks of tokens", "us", summarize(by_tokens), {}},
       {"in chunks of layers", "us", summarize(by_layers), {}},
       {"in chunks of tokens / one chunk", "x", summarize(ratios(by_tokens, one)), at_most(most)},
       {"in chunks of layers / one chunk", "x", summarize(ratios(by_layers, one)), at_most(most)}},
      {fmt::format("from the end of computing to the end of the request; {} chunks of {} KiB, "
                   "each computed for {} times its transfer",
                   chunks, layers * blocks * fragment_bytes / 1024, computing)}};
}

} // namespace baton::bench
