#include "examples/handoff/scenario.hpp"

#include <numeric>

#include "tests/fuzz/target.hpp"

namespace {

/// What the runner relies on.
void check_requests(const baton::handoff::scenario& run) {
  for (const auto& request : run.requests)
    if (std::accumulate(request.chunks.begin(), request.chunks.end(), std::uint64_t{0}) !=
            request.tokens ||
        request.expect.context.empty() || request.expect.generation.empty())
      baton::fuzz::found("a request that makes no sense was accepted");
  for (const auto& fault : run.faults)
    if (baton::handoff::request_index(run, fault.request) == run.requests.size())
      baton::fuzz::found("a fault of no request was accepted");
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace baton;
  // Numbers of ten digits may ask for so many requests, or ranks with so many layers.
  constexpr fuzz::memory_bound bound{1u << 30, 256};
  constexpr std::size_t longest_text = 4096;
  const fuzz::memory_watch watch;
  const auto run = handoff::parse_scenario(fuzz::text_of(data, size));
  bound.check(watch, size);
  if (run)
    check_requests(*run);
  else if (run.error().text.empty() || run.error().text.size() > longest_text)
    fuzz::found("an error whose text says nothing, or too much");
  return 0;
}
