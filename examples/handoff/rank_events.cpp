#include "examples/handoff/rank_events.hpp"

#include <cstdint>
#include <utility>

#include <poll.h>

namespace baton::handoff {

namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds reap_limit{2'000};

void take_outcome(run_state& state, const rank_run& rank, json event) {
  const auto index = event.at("request").get<std::size_t>();
  if (event.at("aux_lost").get<bool>())
    state.problem("request {}: {} completed without the first token", state.run.requests[index].id,
                  to_string(rank.name));
  if (!state.requests[index].outcomes.emplace(rank.name, std::move(event)).second)
    state.problem("request {}: {} reported more than one outcome", state.run.requests[index].id,
                  to_string(rank.name));
  state.touched.insert(index);
}

void take_ready(rank_run& rank) {
  rank.ready = true;
  if (rank.life != rank_life::returning)
    return;
  rank.life = rank_life::running;
  rank.resume_at = run_clock::now();
}

void take(run_state& state, rank_run& rank, json event) {
  const auto what = event.at("event").get<std::string>();
  if (what == "started") {
    rank.started = true;
    rank.endpoint = event.at("endpoint").get<std::string>();
    rank.params = event.at("params").get<std::string>();
  } else if (what == "ready") {
    take_ready(rank);
  } else if (what == "taken") {
    const auto index = event.at("request").get<std::size_t>();
    state.requests[index].acknowledged.insert(rank.name);
    state.touched.insert(index);
  } else if (what == "outcome") {
    take_outcome(state, rank, std::move(event));
  } else if (what == "parked") {
    const auto fault = event.at("fault").get<std::size_t>();
    if (state.faults[fault].acted) // upon an earlier life of the rank
      rank.process.channel().post({{"do", "release"}, {"fault", fault}});
    else
      state.faults[fault].act_at = run_clock::now() + state.run.faults[fault].after;
  } else if (what == "cancelled") {
    if (!event.at("safe").get<bool>())
      state.problem("{}: faults[{}]: the cancel could not be confirmed in time",
                    to_string(rank.name), event.at("fault").get<std::size_t>());
  } else if (what == "finished") {
    rank.finished = wrong_bytes{event.at("mismatched").get<std::uint64_t>(),
                                event.at("stray").get<std::uint64_t>()};
    if (const auto left = event.at("left").get<std::string>(); !left.empty())
      state.problem("{} {}", to_string(rank.name), left);
  } else if (what == "failed") {
    state.problem("{}: {}", to_string(rank.name), event.at("text").get<std::string>());
  }
}

void take_end(run_state& state, rank_run& rank) {
  rank.gone = true;
  if (rank.life == rank_life::killed || rank.life == rank_life::falling || rank.finished)
    return;
  const auto ending = rank.process.reap(reap_limit);
  if (state.starting && !state.problems.empty())
    return; // it has said why
  if (rank.life == rank_life::returning)
    rank.life = rank_life::killed;
  state.problem("{} died: {}", to_string(rank.name), ending.value_or("its socket is closed"));
}

void serve(run_state& state, rank_run& rank, short events) {
  auto& channel = rank.process.channel();
  if (events & POLLOUT)
    channel.flush();
  if (!(events & ~POLLOUT))
    return;
  for (auto& event : channel.receive())
    take(state, rank, std::move(event));
  if (channel.closed())
    take_end(state, rank);
}

} // namespace

void pump(run_state& state) {
  std::vector<pollfd> entries;
  std::vector<rank_run*> polled;
  for (auto& rank : state.ranks)
    if (!rank.gone) {
      const auto& channel = rank.process.channel();
      const short events = channel.pending() ? POLLIN | POLLOUT : POLLIN;
      entries.push_back({channel.descriptor(), events, 0});
      polled.push_back(&rank);
    }
  if (::poll(entries.data(), entries.size(), static_cast<int>(pump_tick.count())) <= 0)
    return;
  for (std::size_t i = 0; i < entries.size(); ++i)
    serve(state, *polled[i], entries[i].revents);
}

} // namespace baton::handoff
