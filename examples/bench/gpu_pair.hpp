#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "examples/bench/gpu_setup.hpp"
#include "examples/bench/remote_rank.hpp"
#include "examples/bench/report.hpp"
#include "examples/bench/settings.hpp"
#include "transport/rank_plane.hpp"

namespace baton::bench {

/// Where the two ranks of a GPU case run: GPU 0 and GPU 1, or both on GPU 0 if there is no other.
struct gpu_places {
  int context = 0;
  int generation = 0;
};
[[nodiscard]] gpu_places find_gpus();
/// Says which GPUs these are.
[[nodiscard]] std::string to_string(const gpu_places& places);

/// A context and a generation rank on GPUs, two processes, which take one setup after the other.
/// Everything throws `std::runtime_error` if a rank fails.
class gpu_pair {
public:
  gpu_pair();

  /// Makes caches and planes anew, has both know each other, and grants all requests.
  void set_up(const gpu_setup& setup, const plane_options& options);
  /// The lane of the present setup, and why.
  [[nodiscard]] const std::string& lane() const noexcept { return lane_; }
  /// Pieces that the latest pull moved.
  [[nodiscard]] std::uint64_t fragments() const noexcept { return fragments_; }

  /// Pulls all requests at once. @returns GB/s.
  [[nodiscard]] double pull();
  /// Has the generation rank write its pools anew.
  void prepare();
  /// Checks every byte on both sides.
  void check();

  /// Makes so much memory ready for the copies below. Once.
  void lend(std::size_t bytes);
  [[nodiscard]] bool lent() const noexcept { return lent_; }
  /// Copies so many bytes in one piece by the copy engine. @returns GB/s.
  [[nodiscard]] double copy_contiguous(std::uint64_t bytes);
  /// Copies fragments at random slots. @param how "each" or "batch". @returns GB/s.
  [[nodiscard]] double copy_fragments(const std::string& how, std::size_t fragment,
                                      std::size_t count);

  [[nodiscard]] remote_rank& context() noexcept { return context_; }
  [[nodiscard]] remote_rank& generation() noexcept { return generation_; }
  /// Ends both processes in good order.
  void end();

private:
  [[nodiscard]] double copy(const std::string& how, std::size_t fragment, std::size_t count);

  remote_rank context_;
  remote_rank generation_;
  std::uint64_t bytes_ = 0;
  std::uint64_t fragments_ = 0;
  std::string lane_;
  bool lent_ = false;
};

/// Rates of what was measured in turns, in GB/s.
struct turns {
  std::vector<double> pull;
  std::vector<double> contiguous; ///< copies of as many bytes in one piece; empty without memory
                                  ///< that was lent
};

/// Sets a pair up, and measures pulls and contiguous copies in turns after a warm-up. Every byte is
/// checked at the end. Fewer runs than wanted are made of what takes long.
[[nodiscard]] turns measure_turns(gpu_pair& ranks, const gpu_setup& setup,
                                  const plane_options& options, const settings& how);

/// Takes one part of a case after the other. A part that fails is noted, and the next one gets new
/// processes. After two failures, or when the case has taken too long, the rest is left out.
class gpu_parts {
public:
  /// @param lent bytes that copies need; 0 for none.
  gpu_parts(findings& found, std::size_t lent);

  /// Runs `work(ranks)`.
  template <class Work>
  void run(const std::string& name, Work work) {
    if (!go_on(name))
      return;
    try {
      work(ranks());
    } catch (const std::exception& failed) {
      give_up(name, failed.what());
    }
  }

  /// Ends the processes in good order.
  void end();

private:
  [[nodiscard]] bool go_on(const std::string& name);
  gpu_pair& ranks();
  void give_up(const std::string& name, const std::string& why);

  findings& found_;
  std::size_t lent_;
  std::unique_ptr<gpu_pair> ranks_;
  std::chrono::steady_clock::time_point deadline_;
  int failures_ = 0;
};

} // namespace baton::bench
