#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "transport/base/unique_fd.hpp"

namespace baton::test {

/// A program that answers each line on its standard input with one on its standard output. Killed
/// when this ends. Not thread-safe.
class line_process {
public:
  /// Starts the program, see `find_program`.
  line_process(const char* built, std::vector<std::string> words);
  ~line_process();
  line_process(const line_process&) = delete;
  line_process& operator=(const line_process&) = delete;

  /// Asks something and returns the answer, "" if it takes too long.
  std::string ask(const std::string& line);
  /// Returns the next line, "" if it takes too long.
  [[nodiscard]] std::string read_line();
  void signal(int number) const;
  /// Waits until it has ended by itself, and kills it if that takes too long.
  void await_end();
  /// Kills it, and returns when nothing of it is left.
  void end();

private:
  pid_t pid_ = -1;
  unique_fd in_;
  unique_fd out_;
  std::string buffered_;
};

} // namespace baton::test
