#include "tests/support/line_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <stdexcept>

#include "tests/support/program.hpp"

namespace baton::test {

namespace {

constexpr std::chrono::milliseconds answer_limit{20'000};

} // namespace

line_process::line_process(const char* built, std::vector<std::string> words) {
  const auto program = find_program(built);
  std::array<int, 2> to_child{};
  std::array<int, 2> from_child{};
  // A socket, since writing to one whose other end is dead need not raise a signal.
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, to_child.data()) != 0 ||
      pipe2(from_child.data(), O_CLOEXEC) != 0)
    throw std::runtime_error{"no pipes"};
  const unique_fd child_in{to_child[0]};
  const unique_fd child_out{from_child[1]};
  in_ = unique_fd{to_child[1]};
  out_ = unique_fd{from_child[0]};

  std::vector<char*> arguments{const_cast<char*>(program.c_str())};
  for (auto& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  // UCX writes its log to standard output unless told otherwise.
  std::string log{"UCX_LOG_FILE=stderr"};
  std::vector<char*> environment{log.data()};
  for (char** entry = environ; *entry != nullptr; ++entry)
    environment.push_back(*entry);
  environment.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, child_in.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, child_out.get(), STDOUT_FILENO);
  const int failed =
      posix_spawn(&pid_, program.c_str(), &actions, nullptr, arguments.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0)
    throw std::runtime_error{"cannot start " + program};
}

line_process::~line_process() {
  end();
}

void line_process::end() {
  if (pid_ <= 0)
    return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void line_process::await_end() {
  // It ends with its last word.
  while (!read_line().empty()) {
  }
  end();
}

std::string line_process::ask(const std::string& line) {
  const auto sent = line + "\n";
  if (send(in_.get(), sent.data(), sent.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(sent.size()))
    return "";
  return read_line();
}

void line_process::signal(int number) const {
  kill(pid_, number);
}

std::string line_process::read_line() {
  for (;;) {
    if (const auto end = buffered_.find('\n'); end != std::string::npos) {
      auto line = buffered_.substr(0, end);
      buffered_.erase(0, end + 1);
      return line;
    }
    pollfd watched{out_.get(), POLLIN, 0};
    std::array<char, 4096> bytes{};
    if (poll(&watched, 1, static_cast<int>(answer_limit.count())) <= 0)
      return "";
    const auto count = read(out_.get(), bytes.data(), bytes.size());
    if (count <= 0)
      return "";
    buffered_.append(bytes.data(), static_cast<std::size_t>(count));
  }
}

} // namespace baton::test
