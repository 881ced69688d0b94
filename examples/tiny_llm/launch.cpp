#include "examples/tiny_llm/launch.hpp"

#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <system_error>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

namespace tiny_llm {

namespace {

/// A child process that runs one rank. Killed, should it still run at the end of this object.
class rank_process {
public:
  /// @param inherited channels that the child finds open.
  rank_process(const rank_task& task, const std::vector<channel>& inherited)
      : name_{fmt::format("{} rank {}", to_string(task.role), task.self.rank)} {
    auto [own, other] = channel::make_pair(name_);
    const auto control = std::to_string(other.descriptor());
    pid_ = ::fork();
    if (pid_ < 0)
      throw std::system_error{errno, std::generic_category(), "fork"};
    if (pid_ == 0) {
      other.keep_over_exec();
      for (const auto& one : inherited)
        one.keep_over_exec();
      ::execl("/proc/self/exe", "baton-tiny-llm", "rank", control.c_str(), nullptr);
      ::_exit(127);
    }
    talk_ = std::move(own);
    talk_.send_values(std::span{&task, 1});
  }

  rank_process(rank_process&& other) noexcept
      : name_{std::move(other.name_)},
        talk_{std::move(other.talk_)},
        pid_{std::exchange(other.pid_, -1)} {}

  ~rank_process() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] channel& talk() noexcept { return talk_; }

  void end() {
    talk_.end_sending();
    talk_.wait_for_end();
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    if (status != 0)
      throw std::runtime_error{fmt::format("{} did not end well (status {})", name_, status)};
  }

private:
  std::string name_;
  channel talk_;
  pid_t pid_ = -1;
};

/// All ranks of one instance.
class instance {
public:
  instance(const job& what, baton::instance_role role, const instance_shape& shape)
      : vocabulary_{what.model.vocabulary}, reporter_{(shape.pp - 1) * shape.tp} {
    const auto ranks = shape.tp * shape.pp;
    std::vector<std::vector<channel>> ends(ranks);
    for (auto& row : ends)
      row.resize(ranks);
    for (std::uint32_t i = 0; i < ranks; ++i)
      for (std::uint32_t k = 0; k < i; ++k)
        std::tie(ends[i][k], ends[k][i]) = channel::make_pair("a peer");

    for (std::uint32_t i = 0; i < ranks; ++i) {
      rank_task task{what, role, {i, shape.tp, shape.pp}, shape.cache, {}};
      for (std::uint32_t k = 0; k < ranks; ++k)
        task.peers.at(k) = ends[i][k].descriptor();
      ranks_.emplace_back(task, ends[i]);
    }
  }

  /// Tells the other ranks where rank 0 is. @returns its endpoint.
  std::string introduce() {
    const auto endpoint = ranks_.front().talk().receive_text();
    for (std::size_t i = 1; i < ranks_.size(); ++i)
      ranks_[i].talk().send_text(endpoint);
    return endpoint;
  }

  void tell_all(const std::string& text) {
    for (auto& rank : ranks_)
      rank.talk().send_text(text);
  }

  void ask_all(const report_sink& report) {
    for (auto& rank : ranks_)
      report(fmt::format("{} {}", rank.name(), rank.talk().receive_text()));
  }

  [[nodiscard]] std::vector<float> next_logits() {
    return ranks_[reporter_].talk().receive_values<float>(vocabulary_);
  }

  void end() {
    for (auto& rank : ranks_)
      rank.end();
  }

private:
  std::uint32_t vocabulary_;
  std::uint32_t reporter_; ///< the rank that sends the logits
  std::vector<rank_process> ranks_;
};

} // namespace

void run_apart(const job& what, const instance_shape& context, const instance_shape& generation,
               const logits_sink& sink, const report_sink& report) {
  instance givers{what, baton::instance_role::context, context};
  instance takers{what, baton::instance_role::generation, generation};
  const auto endpoint = givers.introduce();
  takers.introduce();
  takers.tell_all(endpoint);

  sink(givers.next_logits());
  givers.ask_all(report);
  takers.ask_all(report);
  givers.end();
  for (std::uint32_t i = 0; i < what.tokens; ++i)
    sink(takers.next_logits());
  takers.end();
}

} // namespace tiny_llm
