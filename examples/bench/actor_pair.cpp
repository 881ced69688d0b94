#include "examples/bench/actor_pair.hpp"

namespace baton::bench {

using nlohmann::json;

actor_pair::actor_pair(const cache_setup& setup)
    : actor_pair{actor_start(instance_role::context, setup),
                 actor_start(instance_role::generation, setup)} {
}

actor_pair::actor_pair(const json& context, const json& generation)
    : context_{"context", context}, generation_{"generation", generation} {
  const auto where = context_.ask("describe");
  endpoint_ = where.at("endpoint").get<std::string>();
  echo_port_ = where.at("echo_port").get<std::uint16_t>();
}

json actor_pair::range(std::uint64_t first, std::uint64_t count) const {
  return {{"first", first}, {"count", count}, {"endpoint", endpoint_}};
}

std::vector<double> actor_pair::hand_over(std::size_t first, std::size_t count) {
  context_.ask("offer", range(first, count));
  auto us = generation_.ask("receive", range(first, count)).get<std::vector<double>>();
  context_.ask("offered");
  return us;
}

json actor_pair::hand_over_by_params(std::size_t first, std::size_t count, bool ticket) {
  auto what = range(first, count);
  context_.ask("offer", what);
  what["ticket"] = ticket;
  what["params"] = context_.ask("params", what);
  auto times = generation_.ask("receive_by", what);
  context_.ask("offered");
  return times;
}

double actor_pair::hand_over_together(std::size_t first, std::size_t count) {
  context_.ask("offer", range(first, count));
  const auto us = generation_.ask("receive_together", range(first, count)).get<double>();
  context_.ask("offered");
  return us;
}

void actor_pair::check() {
  context_.check();
  generation_.check();
}

void actor_pair::end() {
  generation_.end();
  context_.end();
}

} // namespace baton::bench
