#include "examples/soak/fleet.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <vector>

#include <poll.h>

#include "examples/handoff/hex.hpp"
#include "examples/support/value_of.hpp"

namespace baton::soak {

namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr milliseconds fleet_tick{5};
constexpr milliseconds start_limit{60'000};
constexpr milliseconds leave_limit{20'000};
constexpr milliseconds reap_limit{10'000};
/// Somebody else may have taken a rank's port while it was away.
constexpr milliseconds start_again{300};
constexpr std::uint64_t notes_of_crashes = 10;

} // namespace

std::string rank_run::name() const {
  return fmt::format("{}/{}", home->plan.name, number);
}

bool instance_run::whole() const {
  return !leaving &&
         std::ranges::all_of(ranks, [](const auto& rank) { return rank.life == rank_life::up; });
}

bool instance_run::known() const {
  return !leaving &&
         std::ranges::none_of(ranks, [](const auto& rank) { return rank.endpoint.empty(); });
}

fleet::fleet(const settings& how, figures& found, chance& draw, listener ears)
    : how_{how}, found_{found}, draw_{draw}, ears_{std::move(ears)} {
}

void fleet::join(instance_plan plan) {
  auto& made = instances_.emplace_back();
  made.plan = std::move(plan);
  made.disturbed = soak_clock::now();
  for (std::uint32_t number = 0; number < made.plan.layouts.size(); ++number) {
    auto& rank = made.ranks.emplace_back();
    rank.home = &made;
    rank.number = number;
    rank.start_at = soak_clock::now();
  }
}

void fleet::part_with(instance_run& instance, bool orderly) {
  instance.leaving = true;
  for (auto& rank : instance.ranks) {
    rank.start_at.reset();
    if (orderly && rank.life == rank_life::up)
      shut_down(rank, milliseconds{0}, std::nullopt);
    else if (rank.life != rank_life::leaving)
      kill(rank, std::nullopt);
  }
}

void fleet::kill(rank_run& rank, std::optional<milliseconds> back_after) {
  rank.home->disturbed = soak_clock::now();
  if (back_after)
    rank.start_at = soak_clock::now() + *back_after;
  if (!rank.process || rank.life == rank_life::dying)
    return;
  rank.process->kill();
  set(rank, rank_life::dying);
}

void fleet::shut_down(rank_run& rank, milliseconds drain, std::optional<milliseconds> back_after) {
  rank.home->disturbed = soak_clock::now();
  if (back_after)
    rank.start_at = soak_clock::now() + *back_after;
  post(rank, {{"do", "leave"}, {"drain_ms", drain.count()}});
  set(rank, rank_life::leaving);
}

void fleet::stop(rank_run& rank) {
  rank.home->disturbed = soak_clock::now();
  rank.process->stop();
  set(rank, rank_life::stopped);
}

void fleet::resume(rank_run& rank) {
  rank.home->disturbed = soak_clock::now();
  rank.process->resume();
  rank.resumed = soak_clock::now();
  set(rank, rank_life::up);
}

void fleet::post(rank_run& rank, const json& command) {
  rank.process->channel().post(command);
}

void fleet::set(rank_run& rank, rank_life life) {
  rank.life = life;
  rank.since = soak_clock::now();
}

bool fleet::calm() const {
  return std::ranges::all_of(instances_, [](const auto& instance) { return instance.whole(); });
}

void fleet::start(rank_run& rank) {
  auto& home = *rank.home;
  const auto& directory = home.ranks.front();
  if (rank.number != 0 && directory.endpoint.empty())
    return;
  rank.start_at.reset();
  auto made = handoff::child::start("baton-soak " + rank.name(), {"UCX_HANDLE_ERRORS=none"});
  rank.process.emplace(examples::value_of(std::move(made)));
  ++found_.processes;
  ++rank.birth;
  rank.told.reset();
  rank.crash.reset();
  set(rank, rank_life::starting);
  post(rank, {{"do", "start"},
              {"layout", handoff::as_hex(encode(home.plan.layouts[rank.number]))},
              {"lanes", static_cast<int>(home.plan.lanes)},
              {"port", rank.port},
              {"directory", rank.number == 0 ? "" : directory.endpoint},
              {"seed", how_.seed},
              {"draw", draw_.below(1u << 31)},
              {"reuse_early", how_.reuse_early && home.plan.role == instance_role::context}});
}

void fleet::pump() {
  std::vector<pollfd> entries;
  std::vector<rank_run*> polled;
  for (auto& instance : instances_)
    for (auto& rank : instance.ranks)
      if (rank.process) {
        const auto& channel = rank.process->channel();
        const short events = channel.pending() ? POLLIN | POLLOUT : POLLIN;
        entries.push_back({channel.descriptor(), events, 0});
        polled.push_back(&rank);
      }
  ::poll(entries.data(), entries.size(), static_cast<int>(fleet_tick.count()));
  for (std::size_t i = 0; i < entries.size(); ++i) {
    auto& channel = polled[i]->process->channel();
    if (entries[i].revents & POLLOUT)
      channel.flush();
    if (!(entries[i].revents & ~POLLOUT))
      continue;
    for (const auto& event : channel.receive())
      if (event.is_object())
        take(*polled[i], event);
    if (channel.closed())
      take_end(*polled[i]);
  }
  for (auto& instance : instances_)
    for (auto& rank : instance.ranks)
      bring_on(rank);
  std::erase_if(instances_, [](const auto& instance) {
    return instance.leaving && instance.requests == 0 &&
           std::ranges::none_of(instance.ranks,
                                [](const auto& rank) { return rank.process.has_value(); });
  });
}

void fleet::take(rank_run& rank, const json& event) {
  const auto what = event.at("event").get<std::string>();
  if (what == "started") {
    rank.endpoint = event.at("endpoint").get<std::string>();
    rank.params = event.at("params").get<std::string>();
    rank.port =
        static_cast<std::uint16_t>(std::stoi(rank.endpoint.substr(rank.endpoint.rfind(':') + 1)));
    rank.home->disturbed = soak_clock::now();
    if (rank.life == rank_life::starting)
      set(rank, rank_life::up);
  } else if (what == "level") {
    rank.told = event;
  } else if (what == "crashed") {
    rank.crash = event;
  } else if (what == "left") {
    // Its end will show.
  } else if (what == "failed" && rank.life == rank_life::starting && rank.birth > 1) {
    rank.start_at = soak_clock::now() + start_again;
    kill(rank, start_again);
  } else if (what == "failed") {
    found_.problem("{}: {}", rank.name(), event.at("text").get<std::string>());
  } else {
    ears_.event(rank, event);
  }
}

void fleet::take_end(rank_run& rank) {
  const auto ending = rank.process->reap(reap_limit);
  if (!ending) {
    ++found_.hung;
    found_.problem("{} has closed its socket, but does not exit", rank.name());
  }
  bury(rank, ending.value_or("killed"));
  rank.process.reset();
  set(rank, rank_life::away);
  ears_.lost(rank);
}

/// Says of which death a rank has died, unless it was meant to.
void fleet::bury(rank_run& rank, const std::string& ending) {
  if (rank.life == rank_life::dying || (rank.life == rank_life::leaving && ending.empty()))
    return;
  const bool ucx = rank.crash && rank.crash->at("ucx").get<bool>();
  const auto where = rank.crash ? rank.crash->at("where").dump() : "";
  if (ucx && ++found_.ucx_crashes <= notes_of_crashes)
    found_.notes.push_back(fmt::format("ucx crash: {}: {} {}", rank.name(), ending, where));
  if (!ucx) {
    ++found_.crashes;
    found_.problem("{} died: {} {}", rank.name(), ending.empty() ? "it left" : ending, where);
  }
  if (!rank.home->leaving && !rank.start_at)
    rank.start_at = soak_clock::now();
  rank.home->disturbed = soak_clock::now();
}

void fleet::bring_on(rank_run& rank) {
  const auto now = soak_clock::now();
  const auto lasted = now - rank.since;
  if (!rank.process && rank.start_at && *rank.start_at <= now)
    return start(rank);
  if (rank.life == rank_life::starting && lasted > start_limit) {
    found_.problem("{} was not ready {} s after its start", rank.name(),
                   std::chrono::seconds{lasted / std::chrono::seconds{1}}.count());
    kill(rank, start_again);
  } else if (rank.life == rank_life::leaving && lasted > leave_limit) {
    ++found_.hung;
    found_.problem("{} did not shut down in {} s", rank.name(), leave_limit.count() / 1000);
    kill(rank, rank.home->leaving ? std::nullopt : std::optional{start_again});
  }
}

} // namespace baton::soak
