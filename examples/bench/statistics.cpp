#include "examples/bench/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>

namespace baton::bench {

summary summarize(const std::vector<double>& samples) {
  const auto [least, most] = std::ranges::minmax(samples);
  return {least, percentile(samples, 50), most, samples.size()};
}

double percentile(std::vector<double> samples, double percent) {
  std::ranges::sort(samples);
  const auto rank = std::ceil(percent / 100 * static_cast<double>(samples.size()));
  const auto place = std::max<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(rank) - 1, 0);
  return samples[static_cast<std::size_t>(std::min(place, std::ssize(samples) - 1))];
}

std::vector<double> ratios(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> out;
  std::ranges::transform(a, b, std::back_inserter(out), std::divides<>{});
  return out;
}

double stopwatch::microseconds() const {
  return std::chrono::duration<double, std::micro>{std::chrono::steady_clock::now() - begin_}
      .count();
}

} // namespace baton::bench
