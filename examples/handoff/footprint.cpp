#include "examples/handoff/footprint.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <system_error>
#include <vector>

#include <fmt/format.h>

namespace baton::handoff {

namespace {

std::size_t entries_of(const char* folder) {
  const std::filesystem::directory_iterator all{folder};
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/// The TCP sockets of this network namespace by inode: their ports and states.
std::map<std::string, std::string> tcp_sockets() {
  static constexpr std::array states{"?",          "established", "syn-sent",  "syn-received",
                                     "fin-wait-1", "fin-wait-2",  "time-wait", "closed",
                                     "close-wait", "last-ack",    "listening", "closing"};
  const auto port = [](const std::string& address) {
    return std::stoul(address.substr(address.rfind(':') + 1), nullptr, 16);
  };
  std::map<std::string, std::string> found;
  std::ifstream table{"/proc/self/net/tcp"};
  std::string line;
  std::getline(table, line); // heads of columns
  while (std::getline(table, line)) {
    std::istringstream words{line};
    const std::vector<std::string> word{std::istream_iterator<std::string>{words}, {}};
    if (word.size() < 10)
      continue;
    const auto state = std::stoul(word[3], nullptr, 16);
    found[word[9]] = fmt::format("tcp {} to {} {}", port(word[1]), port(word[2]),
                                 states.at(state < states.size() ? state : 0));
  }
  return found;
}

/// UCX makes a timer for a worker when an endpoint first needs one, and keeps it.
std::size_t timers_of_ucx() {
  std::size_t timers = 0;
  for (const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"}) {
    std::error_code gone;
    timers += std::filesystem::read_symlink(entry, gone) == "anon_inode:[timerfd]" ? 1 : 0;
  }
  return std::min<std::size_t>(timers, 1);
}

std::size_t more(std::size_t now, std::size_t before) noexcept {
  return now > before ? now - before : 0;
}

} // namespace

footprint measure_footprint(std::size_t own_threads) {
  footprint found{entries_of("/proc/self/fd") - timers_of_ucx(),
                  entries_of("/proc/self/task") - own_threads, 0};
  std::ifstream maps{"/proc/self/maps"};
  for (std::string line; std::getline(maps, line);)
    for (const auto* shared : {"/memfd:", "/dev/shm/", "/SYSV"})
      found.mappings += line.find(shared) != std::string::npos ? 1 : 0;
  return found;
}

void to_json(nlohmann::json& out, const footprint& one) {
  out = {{"descriptors", one.descriptors}, {"threads", one.threads}, {"mappings", one.mappings}};
}

void from_json(const nlohmann::json& in, footprint& one) {
  in.at("descriptors").get_to(one.descriptors);
  in.at("threads").get_to(one.threads);
  in.at("mappings").get_to(one.mappings);
}

std::size_t excess(const footprint& now, const footprint& before) noexcept {
  return more(now.descriptors, before.descriptors) + more(now.threads, before.threads) +
         more(now.mappings, before.mappings);
}

std::string to_string(const footprint& one) {
  return fmt::format("{} descriptors, {} threads, {} shared mappings", one.descriptors, one.threads,
                     one.mappings);
}

std::string describe_descriptors() {
  std::map<std::string, std::size_t> kinds;
  const auto tcp = tcp_sockets();
  for (const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"}) {
    std::error_code gone;
    auto target = std::filesystem::read_symlink(entry, gone).string();
    // "socket:[4711]", "anon_inode:[eventfd]", "/memfd:name (deleted)".
    if (const auto one = target.starts_with("socket:[")
                             ? tcp.find(target.substr(8, target.size() - 9))
                             : tcp.end();
        one != tcp.end())
      target = one->second;
    else if (const auto number = target.find(":["); number != std::string::npos && target[0] != 'a')
      target.erase(number);
    ++kinds[target];
  }
  std::string text;
  for (const auto& [kind, count] : kinds)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, kind);
  return text;
}

} // namespace baton::handoff
