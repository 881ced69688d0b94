#include "examples/handoff/child.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>
#include <thread>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace baton::handoff {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds look_again{2};
constexpr milliseconds stop_limit{5'000};
constexpr int socket_in_child = 3;

/// Runs between fork and exec. Standard output belongs to the runner's table, so ranks write to
/// standard error.
[[noreturn]] void become_rank(int socket, pid_t parent, char* title, char** environment) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent)
    ::_exit(1);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::dup2(STDERR_FILENO, STDOUT_FILENO);
  if (socket == socket_in_child)
    ::fcntl(socket, F_SETFD, 0);
  else
    ::dup2(socket, socket_in_child);
  char option[] = "--rank-fd";
  char descriptor[] = "3";
  char* const words[] = {title, option, descriptor, nullptr};
  ::execve("/proc/self/exe", words, environment);
  ::_exit(127);
}

/// Our environment with some settings replaced or added. Points into `settings`.
std::vector<char*> environment_with(std::vector<std::string>& settings) {
  std::vector<char*> all;
  for (char** entry = ::environ; *entry != nullptr; ++entry) {
    const std::string_view old{*entry};
    const auto name = old.substr(0, old.find('=') + 1);
    if (std::ranges::none_of(settings, [&](const auto& own) { return own.starts_with(name); }))
      all.push_back(*entry);
  }
  for (auto& own : settings)
    all.push_back(own.data());
  all.push_back(nullptr);
  return all;
}

std::string describe_ending(int status) {
  if (WIFSIGNALED(status))
    return fmt::format("signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status)));
  return WEXITSTATUS(status) == 0 ? "" : fmt::format("exit status {}", WEXITSTATUS(status));
}

} // namespace

child::child(pid_t pid, unique_fd socket)
    : pid_{pid}, channel_{std::make_unique<control_channel>(std::move(socket))} {
}

child::child(child&& other) noexcept
    : pid_{std::exchange(other.pid_, -1)},
      reaped_{other.reaped_},
      ending_{std::move(other.ending_)},
      channel_{std::move(other.channel_)} {
}

expected<child> child::start(const std::string& title, const std::vector<std::string>& settings) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return fail(errc::out_of_resources, "no socket pair for {}: {}", title, std::strerror(errno));
  unique_fd ours{ends[0]};
  unique_fd theirs{ends[1]};
  // Between fork and exec nothing may allocate: other threads may be at it.
  auto name = title;
  auto own = settings;
  auto environment = environment_with(own);
  const auto parent = ::getpid();
  const auto pid = ::fork();
  if (pid < 0)
    return fail(errc::out_of_resources, "no process for {}: {}", title, std::strerror(errno));
  if (pid == 0)
    become_rank(theirs.get(), parent, name.data(), environment.data());
  return child{pid, std::move(ours)};
}

child& child::operator=(child&& other) noexcept {
  if (this != &other) {
    end();
    pid_ = std::exchange(other.pid_, -1);
    reaped_ = other.reaped_;
    ending_ = std::move(other.ending_);
    channel_ = std::move(other.channel_);
  }
  return *this;
}

child::~child() {
  end();
}

void child::end() noexcept {
  if (pid_ < 0 || reaped_)
    return;
  kill();
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void child::kill() const noexcept {
  if (!reaped_)
    ::kill(pid_, SIGKILL);
}

void child::stop() const noexcept {
  if (reaped_)
    return;
  ::kill(pid_, SIGSTOP);
  // WNOWAIT leaves an exit for `reap` to see.
  for (auto waited = milliseconds{0}; waited < stop_limit; waited += look_again) {
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED | WEXITED | WNOHANG | WNOWAIT) ==
            0 &&
        info.si_pid == pid_)
      return;
    std::this_thread::sleep_for(look_again);
  }
}

void child::resume() const noexcept {
  if (!reaped_)
    ::kill(pid_, SIGCONT);
}

std::optional<std::string> child::reap(milliseconds limit) {
  for (auto waited = milliseconds{0}; !reaped_; waited += look_again) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      reaped_ = true;
      ending_ = describe_ending(status);
    } else if (waited >= limit) {
      return std::nullopt;
    } else {
      std::this_thread::sleep_for(look_again);
    }
  }
  return ending_;
}

} // namespace baton::handoff
