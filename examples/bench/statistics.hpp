#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

namespace baton::bench {

/// What is told of many samples of the same thing.
struct summary {
  double min = 0;
  double median = 0;
  double max = 0;
  std::size_t count = 0;
};

/// @pre there is a sample.
[[nodiscard]] summary summarize(const std::vector<double>& samples);

/// Returns the smallest sample that `percent` of all samples do not exceed.
///
/// @pre there is a sample.
[[nodiscard]] double percentile(std::vector<double> samples, double percent);

/// Returns a[i] / b[i]. Both have as many samples, each pair taken one right after the other.
[[nodiscard]] std::vector<double> ratios(const std::vector<double>& a,
                                         const std::vector<double>& b);

/// Measures wall time from its construction on.
class stopwatch {
public:
  [[nodiscard]] double microseconds() const;

private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

} // namespace baton::bench
