#include "examples/bench/remote_rank.hpp"

#include <chrono>
#include <stdexcept>

#include <fmt/format.h>

#include "examples/support/value_of.hpp"

namespace baton::bench {

namespace {

using nlohmann::json;
using std::chrono::seconds;
using clock = std::chrono::steady_clock;

/// Nothing that is measured takes nearly as long.
constexpr seconds answer_limit{60};
constexpr seconds end_limit{10};

} // namespace

remote_rank::remote_rank(std::string name, const json& start)
    : name_{std::move(name)},
      process_{examples::value_of(handoff::child::start("baton-bench: " + name_))} {
  ask("start", start);
}

remote_rank::~remote_rank() = default;

json remote_rank::ask(const std::string& verb, const json& arguments) {
  tell(verb, arguments);
  return answer();
}

void remote_rank::tell(const std::string& verb, const json& arguments) {
  process_.channel().send({{"verb", verb}, {"arguments", arguments}}, answer_limit);
}

json remote_rank::answer() {
  auto& channel = process_.channel();
  const auto deadline = clock::now() + answer_limit;
  auto messages = channel.receive();
  while (messages.empty() && !channel.closed() && clock::now() < deadline) {
    channel.wait(seconds{1});
    messages = channel.receive();
  }
  if (messages.empty())
    throw std::runtime_error{fmt::format("the {} rank {}", name_,
                                         channel.closed() ? "is gone" : "does not answer in time")};
  const auto& message = messages.front();
  if (const auto problem = message.find("error"); problem != message.end())
    throw std::runtime_error{fmt::format("{} rank: {}", name_, problem->get<std::string>())};
  return message.at("result");
}

void remote_rank::check() {
  if (const auto wrong = ask("check").get<std::uint64_t>(); wrong > 0)
    throw std::runtime_error{fmt::format("{} bytes of the {} rank are wrong", wrong, name_)};
}

void remote_rank::end() {
  tell("end");
  const auto ending = process_.reap(end_limit);
  if (!ending || !ending->empty())
    throw std::runtime_error{
        fmt::format("the {} rank ended with {}", name_, ending.value_or("nothing at all"))};
}

} // namespace baton::bench
