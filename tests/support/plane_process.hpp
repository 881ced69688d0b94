#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/line_process.hpp"
#include "tests/support/planes.hpp"

namespace baton::test {

/// What a rank in another process is made of.
struct process_options {
  instance_role role = instance_role::context;
  cache_shape shape;
  plane_options plane;
  pool_memory memory = pool_memory::host;
  int device = 0; ///< of the pool
};

/// Options as command line words, and back.
[[nodiscard]] std::vector<std::string> to_words(const process_options& options);
[[nodiscard]] process_options parse_options(const std::vector<std::string>& words);

[[nodiscard]] std::string to_hex(std::string_view bytes);
[[nodiscard]] std::string from_hex(std::string_view digits);

/// A rank in another process (`plane_peer.cpp`). Killed when this ends.
class plane_process {
public:
  /// Starts the program, see `find_program`, and waits for its first words.
  plane_process(const char* built, const process_options& options);

  [[nodiscard]] incarnation life() const noexcept { return life_; }
  [[nodiscard]] const std::string& manifest() const noexcept { return manifest_; }

  /// Asks something and returns the answer, "" if it takes too long.
  std::string ask(const std::string& line) { return lines_.ask(line); }
  void signal(int number) const { lines_.signal(number); }
  /// Kills it, and returns when nothing of it is left.
  void end() { lines_.end(); }

private:
  line_process lines_;
  incarnation life_;
  std::string manifest_;
};

/// Returns "verb a b c".
[[nodiscard]] std::string sentence(std::string verb, const std::vector<std::uint32_t>& numbers);

} // namespace baton::test
