#include "examples/bench/perftest.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "transport/base/unique_fd.hpp"

namespace baton::bench {

namespace {

using std::chrono::milliseconds;
using clock = std::chrono::steady_clock;

constexpr milliseconds run_limit{60'000};
constexpr milliseconds look_again{20};
constexpr int most_attempts = 250;

/// A program whose output is read. Killed, should it still run at the end of this object.
class program {
public:
  program(std::vector<std::string> words, std::vector<std::string> environment) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
      throw std::runtime_error{"no pipe"};
    output_ = unique_fd{ends[0]};
    const unique_fd theirs{ends[1]};
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, theirs.get(), STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, theirs.get(), STDERR_FILENO);
    const auto failed = ::posix_spawn(&pid_, words.front().c_str(), &actions, nullptr,
                                      pointers(words).data(), pointers(environment).data());
    ::posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) {
      pid_ = -1;
      throw std::runtime_error{
          fmt::format("cannot start {}: name it with --perftest", words.front())};
    }
  }
  program(const program&) = delete;
  program& operator=(const program&) = delete;
  ~program() {
    if (pid_ <= 0)
      return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  /// Returns what it wrote until its end, and whether that was a success.
  std::pair<std::string, bool> wait() {
    std::string said;
    const auto deadline = clock::now() + run_limit;
    for (std::array<char, 4096> bytes; clock::now() < deadline;) {
      pollfd watched{output_.get(), POLLIN, 0};
      if (::poll(&watched, 1, static_cast<int>(look_again.count())) <= 0)
        continue;
      const auto count = ::read(output_.get(), bytes.data(), bytes.size());
      if (count <= 0) {
        int status = 0;
        ::waitpid(std::exchange(pid_, -1), &status, 0);
        return {said, status == 0};
      }
      said.append(bytes.data(), static_cast<std::size_t>(count));
    }
    return {said + "(no end in time)", false};
  }

private:
  static std::vector<char*> pointers(std::vector<std::string>& words) {
    std::vector<char*> all;
    for (auto& word : words)
      all.push_back(word.data());
    all.push_back(nullptr);
    return all;
  }

  pid_t pid_ = -1;
  unique_fd output_;
};

std::uint16_t free_port() {
  const unique_fd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (::bind(socket.get(), any, size) != 0 || ::getsockname(socket.get(), any, &size) != 0)
    throw std::runtime_error{"no free port on the loopback device"};
  return ntohs(address.sin_port);
}

std::vector<std::string> environment_for(const std::string& program, const plane_options& options,
                                         perftest_memory memory) {
  auto added = perftest_environment(options, memory);
  added.emplace_back("UCX_WARN_UNUSED_ENV_VARS", "n");
  // It finds its libraries next to itself, as they were unpacked.
  const auto home = std::filesystem::path{program}.parent_path().parent_path();
  added.emplace_back("LD_LIBRARY_PATH", (home / "lib").string());
  std::vector<std::string> all;
  for (const auto& [name, value] : added)
    all.push_back(name + "=" + value);
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text{*entry};
    const auto name = text.substr(0, text.find('='));
    if (std::ranges::find(added, name, &decltype(added)::value_type::first) == added.end())
      all.emplace_back(text);
  }
  return all;
}

/// Takes the time per message from the line of final numbers: messages, then three times in
/// microseconds (median, average, overall), then rates.
double bandwidth_in(const std::string& said, std::size_t message) {
  std::istringstream lines{said};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words{line};
    double messages = 0;
    double median = 0;
    double average = 0;
    double overall = 0;
    if (words >> messages >> median >> average >> overall && overall > 0)
      return static_cast<double>(message) / overall * 1e6;
  }
  throw std::runtime_error{"ucx_perftest gave no figures: " + said};
}

} // namespace

std::vector<std::pair<std::string, std::string>> perftest_environment(const plane_options& options,
                                                                      perftest_memory memory) {
  auto all = ucx_settings_of(options);
  // As a plane does for pools on GPUs of one host.
  if (memory == perftest_memory::cuda)
    all.emplace_back("CUDA_IPC_ENABLE_GET_ZCOPY", "on");
  for (auto& [name, value] : all) {
    if (name == "TLS" && memory == perftest_memory::cuda && value.find("cuda") == std::string::npos)
      value += value == "tcp" ? ",cuda_copy" : ",cuda_ipc,cuda_copy";
    name.insert(0, "UCX_");
  }
  return all;
}

double run_perftest(const std::string& path, const plane_options& options, std::size_t messages,
                    const perftest_messages& kind) {
  const auto environment = environment_for(path, options, kind.memory);
  const auto* const memory = kind.memory == perftest_memory::cuda ? "cuda" : "host";
  const auto port = std::to_string(free_port());
  const auto warm_up = std::to_string(messages / 8 + 1);
  program server{{path, "-e", "-p", port, "-c", "0"}, environment};
  for (int attempt = 0; attempt < most_attempts; ++attempt) {
    program client{{path, "127.0.0.1", "-e", "-p", port, "-f", "-c", "1", "-t", "ucp_am_bw", "-s",
                    std::to_string(kind.bytes), "-n", std::to_string(messages), "-w", warm_up, "-m",
                    memory},
                   environment};
    const auto [said, good] = client.wait();
    if (good)
      return bandwidth_in(said, kind.bytes);
    if (said.find("Connection refused") == std::string::npos)
      throw std::runtime_error{"ucx_perftest failed: " + said};
    std::this_thread::sleep_for(look_again); // the server does not listen yet
  }
  throw std::runtime_error{"the server of ucx_perftest does not listen"};
}

} // namespace baton::bench
