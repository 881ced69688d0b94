#include "examples/bench/gpu_pulls.hpp"

#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

#include "examples/bench/gpu_call.hpp"
#include "examples/bench/statistics.hpp"

namespace baton::bench {

namespace {

constexpr session_key session{1};

/// Where pulls come in. Their callbacks keep it.
class landing {
public:
  explicit landing(std::size_t pulls) : left_{pulls} {}

  void add(const expected<pull_stats>& result) {
    {
      const std::lock_guard lock{mutex_};
      if (result) {
        bytes_ += result->bytes;
        fragments_ += result->fragments;
      } else {
        failure_ = result.error();
      }
    }
    left_.fetch_sub(1, std::memory_order_release);
  }

  void wait() const {
    const auto deadline = std::chrono::steady_clock::now() + gpu_limit;
    while (left_.load(std::memory_order_acquire) > 0)
      if (std::chrono::steady_clock::now() > deadline)
        throw std::runtime_error{"a pull does not end in time"};
  }

  [[nodiscard]] pulled result(double us) {
    const std::lock_guard lock{mutex_};
    if (failure_)
      throw std::runtime_error{"a pull failed: " + to_string(*failure_)};
    return {us, bytes_, fragments_};
  }

private:
  std::atomic<std::size_t> left_;
  std::mutex mutex_; ///< guards what follows
  std::uint64_t bytes_ = 0;
  std::uint64_t fragments_ = 0;
  std::optional<error> failure_;
};

} // namespace

gpu_pulls::gpu_pulls(rank_plane& plane, const gpu_cache& cache, std::vector<lease> rights)
    : plane_{plane},
      cache_{cache},
      rights_{std::move(rights)},
      source_tables_{draw_tables(cache.setup(), instance_role::context)} {
}

pull_job gpu_pulls::job_of(std::size_t request) const {
  pull_job job;
  job.source = rights_[request].owner;
  job.right = rights_[request];
  job.source_blocks = source_tables_[request];
  job.ranges = {{job.source_blocks.front().group, cache_.tokens()}};
  job.destination_blocks = cache_.blocks_of(request);
  return job;
}

pulled gpu_pulls::run() const {
  std::vector<pull_job> jobs;
  for (std::size_t request = 0; request < rights_.size(); ++request)
    jobs.push_back(job_of(request));
  const auto landed = std::make_shared<landing>(jobs.size());
  const stopwatch watch;
  for (auto& job : jobs)
    plane_.pull(session, std::move(job),
                [landed](const expected<pull_stats>& result) { landed->add(result); });
  landed->wait();
  return landed->result(watch.microseconds());
}

pull_loop::pull_loop(gpu_pulls pulls) : pulls_{std::move(pulls)}, thread_{[this] { run(); }} {
}

pulled pull_loop::stop() {
  over_ = true;
  thread_.join();
  if (!problem_.empty())
    throw std::runtime_error{problem_};
  return sum_;
}

void pull_loop::run() {
  const stopwatch watch;
  try {
    while (!over_) {
      const auto one = pulls_.run();
      sum_.bytes += one.bytes;
      sum_.fragments += one.fragments;
      sum_.us = watch.microseconds();
    }
  } catch (const std::exception& failed) {
    problem_ = failed.what();
  }
}

} // namespace baton::bench
