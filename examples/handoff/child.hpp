#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "examples/handoff/control.hpp"
#include "messages/error.hpp"

namespace baton::handoff {

/// A rank process, started from this very program. It dies with the runner, whatever happens, and
/// is killed and reaped by the destructor. Not thread-safe; start children from the thread that
/// lives as long as they shall.
class child {
public:
  /// @param title     what process lists show.
  /// @param settings  NAME=value, of the child's environment; the rest is as ours.
  /// @returns `out_of_resources` when the kernel refuses.
  [[nodiscard]] static expected<child> start(const std::string& title,
                                             const std::vector<std::string>& settings = {});

  child(child&& other) noexcept;
  /// Ends the process that this was, as the destructor does.
  child& operator=(child&& other) noexcept;
  ~child();

  [[nodiscard]] control_channel& channel() const noexcept { return *channel_; }

  void kill() const noexcept;
  /// Stops the process and waits until it stands still.
  void stop() const noexcept;
  void resume() const noexcept;

  /// Waits until the process is gone, at most `limit`.
  ///
  /// @returns how it ended, e.g. "exit status 1", empty for success; nullopt if it is still there.
  [[nodiscard]] std::optional<std::string> reap(std::chrono::milliseconds limit);

private:
  child(pid_t pid, unique_fd socket);
  void end() noexcept;

  pid_t pid_ = -1;
  bool reaped_ = false;
  std::string ending_;
  std::unique_ptr<control_channel> channel_;
};

} // namespace baton::handoff
