#include "tests/support/plane_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <sstream>
#include <stdexcept>

#include "tests/support/program.hpp"

namespace baton::test {

std::vector<std::string> to_words(const process_options& options) {
  const auto& plane = options.plane;
  const auto number = [](auto value) { return std::to_string(static_cast<std::uint64_t>(value)); };
  return {number(options.role),        number(options.shape.layers),
          number(options.shape.slots), number(options.shape.fragment_bytes),
          number(plane.lanes),         number(plane.chunk_bytes),
          number(plane.ring_chunks),   number(plane.credits),
          number(plane.copy_threads),  "=" + plane.tcp_devices,
          "=" + plane.ucx_transports,  number(options.memory),
          number(options.device),      number(plane.gpu_blocks)};
}

process_options parse_options(const std::vector<std::string>& words) {
  process_options out;
  const auto number = [&](std::size_t at) { return std::stoul(words.at(at)); };
  out.role = static_cast<instance_role>(number(0));
  out.shape.layers = static_cast<std::uint32_t>(number(1));
  out.shape.slots = static_cast<std::uint32_t>(number(2));
  out.shape.fragment_bytes = static_cast<std::uint32_t>(number(3));
  out.plane.lanes = static_cast<lane_policy>(number(4));
  out.plane.chunk_bytes = number(5);
  out.plane.ring_chunks = number(6);
  out.plane.credits = number(7);
  out.plane.copy_threads = number(8);
  out.plane.tcp_devices = words.at(9).substr(1);
  out.plane.ucx_transports = words.at(10).substr(1);
  out.memory = static_cast<pool_memory>(number(11));
  out.device = static_cast<int>(number(12));
  out.plane.gpu_blocks = static_cast<std::uint32_t>(number(13));
  return out;
}

std::string to_hex(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes)
    out += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return out;
}

std::string from_hex(std::string_view digits) {
  std::string out;
  for (std::size_t at = 0; at + 1 < digits.size(); at += 2)
    out.push_back(static_cast<char>(std::stoi(std::string{digits.substr(at, 2)}, nullptr, 16)));
  return out;
}

std::string sentence(std::string verb, const std::vector<std::uint32_t>& numbers) {
  for (const auto number : numbers)
    verb += fmt::format(" {}", number);
  return verb;
}

plane_process::plane_process(const char* built, const process_options& options) {
  const auto program = find_program(built);
  std::array<int, 2> to_child{};
  std::array<int, 2> from_child{};
  if (pipe2(to_child.data(), O_CLOEXEC) != 0 || pipe2(from_child.data(), O_CLOEXEC) != 0)
    throw std::runtime_error{"no pipes"};
  const unique_fd child_in{to_child[0]};
  const unique_fd child_out{from_child[1]};
  in_ = unique_fd{to_child[1]};
  out_ = unique_fd{from_child[0]};

  auto words = to_words(options);
  std::vector<char*> arguments{const_cast<char*>(program.c_str())};
  for (auto& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, child_in.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, child_out.get(), STDOUT_FILENO);
  const int failed =
      posix_spawn(&pid_, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0)
    throw std::runtime_error{"cannot start the peer process"};
  std::istringstream first{read_line()};
  std::string manifest;
  first >> life_.value >> manifest;
  manifest_ = from_hex(manifest);
}

plane_process::~plane_process() {
  end();
}

void plane_process::end() {
  if (pid_ <= 0)
    return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::string plane_process::ask(const std::string& line) {
  const auto sent = line + "\n";
  if (write(in_.get(), sent.data(), sent.size()) != static_cast<ssize_t>(sent.size()))
    return "";
  return read_line();
}

void plane_process::signal(int number) const {
  kill(pid_, number);
}

std::string plane_process::read_line() {
  for (;;) {
    if (const auto end = buffered_.find('\n'); end != std::string::npos) {
      auto line = buffered_.substr(0, end);
      buffered_.erase(0, end + 1);
      return line;
    }
    pollfd watched{out_.get(), POLLIN, 0};
    std::array<char, 4096> bytes{};
    if (poll(&watched, 1, static_cast<int>(std::chrono::milliseconds{patience}.count())) <= 0)
      return "";
    const auto count = read(out_.get(), bytes.data(), bytes.size());
    if (count <= 0)
      return "";
    buffered_.append(bytes.data(), static_cast<std::size_t>(count));
  }
}

} // namespace baton::test
