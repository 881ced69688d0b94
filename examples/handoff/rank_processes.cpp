#include "examples/handoff/rank_processes.hpp"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include <fmt/ranges.h>

#include "examples/handoff/interruption.hpp"
#include "examples/handoff/placement.hpp"
#include "examples/handoff/rank_events.hpp"
#include "gpu/device.hpp"
#include "messages/ids.hpp"

namespace baton::handoff {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds start_limit{120'000};
constexpr milliseconds check_limit{300'000};
constexpr milliseconds exit_limit{20'000};

/// Returns how many GPUs there are; 0 also if none is needed.
expected<std::uint32_t> count_gpus(const scenario& run) {
  if (!needs_gpu(run))
    return 0;
  const auto side = run.memory.context.on_gpu() ? "context" : "generation";
  if (auto first = describe_gpu(0); !first)
    return fail(errc::gpu_failed, "{}.memory needs a GPU: {}", side, first.error().text);
  return static_cast<std::uint32_t>(gpu_count());
}

/// A rank's new process, and the ordinal of its GPU as that one counts.
struct spawned {
  child process;
  int gpu;
};

expected<spawned> spawn(const run_state& state, rank_name name, std::uint32_t gpus) {
  const auto gpu = gpu_of(state.run, name, gpus);
  if (!gpu)
    return fail(gpu.error());
  int ordinal = *gpu ? static_cast<int>(**gpu) : -1;
  std::vector<std::string> environment;
  if (*gpu && state.settings.isolate_gpus) {
    const auto device = describe_gpu(ordinal);
    if (!device)
      return fail(device.error());
    environment.push_back("CUDA_VISIBLE_DEVICES=" + device->uuid);
    ordinal = 0;
  }
  auto process = child::start(fmt::format("baton-handoff {}", to_string(name)), environment);
  if (!process)
    return fail(process.error());
  return spawned{std::move(*process), ordinal};
}

expected<> spawn_all(run_state& state) {
  const auto gpus = count_gpus(state.run);
  if (!gpus)
    return fail(gpus.error());
  for (auto side : both_sides)
    for (std::uint32_t rank = 0; rank < state.run.sides[side].tp * state.run.sides[side].pp; ++rank)
      if (auto made = spawn(state, {side, rank}, *gpus); made)
        state.ranks.emplace_back(rank_name{side, rank}, std::move(made->process), made->gpu);
      else
        return fail(made.error());
  return {};
}

/// What a rank must know of the network. Between namespaces, tcp is the only way.
nlohmann::json place_of(const run_state& state, const rank_run& rank) {
  const auto side = rank.name.side;
  const auto& settings = state.settings;
  nlohmann::json place{{"host", "127.0.0.1"},
                       {"port", 0},
                       {"tcp", settings.tcp_devices},
                       {"ucx_tls", settings.ucx_transports}};
  if (const auto port = rank.endpoint.rfind(':'); port != std::string::npos)
    place["port"] = std::stoi(rank.endpoint.substr(port + 1));
  if (!state.networks)
    return place;
  place["network"] = state.networks->path(side);
  place["host"] = two_networks::address(side);
  if (settings.tcp_devices.empty())
    place["tcp"] = two_networks::device;
  if (settings.ucx_transports.empty())
    place["ucx_tls"] = "tcp,self";
  return place;
}

/// Requests that a new process in a rank's place has no part in: its predecessor had.
std::vector<std::size_t> past_of(const run_state& state) {
  std::vector<std::size_t> past;
  for (std::size_t i = 0; i < state.requests.size(); ++i)
    if (state.requests[i].stage > request_run::stage::one_told)
      past.push_back(i);
  return past;
}

void start(run_state& state, rank_run& rank) {
  const auto side = rank.name.side;
  rank.process.channel().post(
      {{"do", "start"},
       {"scenario", state.settings.scenario_text},
       {"side", to_string(side)},
       {"rank", rank.name.rank},
       {"instance", fmt::format("{}-{:016x}", to_string(side), state.instance)},
       {"directory", rank.name.rank == 0 ? "" : state.rank_of({side, 0}).endpoint},
       {"gpu", rank.gpu},
       {"past", past_of(state)},
       {"place", place_of(state, rank)},
       {"agree", state.settings.agree},
       {"reuse", state.settings.reuse}});
}

expected<> check_running(const run_state& state) {
  if (interrupted())
    return fail(errc::cancelled, "interrupted");
  if (!state.problems.empty())
    return fail(errc::peer_lost, "{}", fmt::join(state.problems, "; "));
  return {};
}

/// Waits until `done` holds for all of `ranks`.
template <class Done>
expected<> await_all(run_state& state, const std::vector<rank_run*>& ranks, Done done) {
  const bool all = await(state, start_limit,
                         [&] { return !check_running(state) || std::ranges::all_of(ranks, done); });
  if (auto running = check_running(state); !running)
    return running;
  if (!all)
    return fail(errc::timed_out, "not all ranks were ready after {} s",
                std::chrono::duration_cast<std::chrono::seconds>(start_limit).count());
  return {};
}

void judge_end(run_state& state, rank_run& rank) {
  if (!rank.finished) {
    if (!rank.gone)
      state.problem("{} did not finish its check", to_string(rank.name));
    return;
  }
  state.wrong += *rank.finished;
  if (rank.finished->mismatched + rank.finished->stray > 0)
    state.problem("{} has {} mismatched and {} stray bytes", to_string(rank.name),
                  rank.finished->mismatched, rank.finished->stray);
  if (const auto ending = rank.process.reap(exit_limit); !ending)
    state.problem("{} did not exit", to_string(rank.name));
  else if (!ending->empty())
    state.problem("{} ended with {}", to_string(rank.name), *ending);
}

} // namespace

expected<> start_ranks(run_state& state) {
  if (state.run.network == network_kind::netns) {
    auto networks = two_networks::create();
    if (!networks)
      return fail(networks.error().code, "network: netns: {}", networks.error().text);
    state.networks = std::move(*networks);
  }
  if (auto spawned = spawn_all(state); !spawned)
    return spawned;
  state.instance = random_number();
  std::vector<rank_run*> first;
  std::vector<rank_run*> all;
  for (auto& rank : state.ranks) {
    all.push_back(&rank);
    if (rank.name.rank == 0)
      first.push_back(&rank);
  }
  for (auto* rank : first)
    start(state, *rank);
  if (auto started = await_all(state, first, &rank_run::started); !started)
    return started;
  for (auto* rank : all)
    if (rank->name.rank != 0)
      start(state, *rank);
  if (auto ready = await_all(state, all, &rank_run::ready); !ready)
    return ready;
  state.starting = false;
  return {};
}

void replace_rank(run_state& state, rank_run& rank) {
  rank.life = rank_life::returning;
  const auto gpus = count_gpus(state.run);
  auto made = gpus ? spawn(state, rank.name, *gpus) : fail(gpus.error());
  if (!made) {
    rank.life = rank_life::killed;
    return state.problem("{} could not be restarted: {}", to_string(rank.name), made.error().text);
  }
  rank.process = std::move(made->process);
  rank.gone = rank.started = rank.ready = false;
  rank.return_by = run_clock::now() + start_limit;
  start(state, rank);
  if (rank.name.side != state.first_side())
    return;
  for (std::size_t i = 0; i < state.requests.size(); ++i)
    if (state.requests[i].stage == request_run::stage::one_told && state.takes_part(rank, i)) {
      state.requests[i].acknowledged.erase(rank.name);
      state.tell(rank, i);
    }
}

void finish_ranks(run_state& state) {
  std::vector<rank_run*> finishing;
  for (auto& rank : state.ranks)
    if (!rank.gone && rank.life == rank_life::running) {
      rank.process.channel().post({{"do", "finish"}, {"dump", state.settings.dump}});
      finishing.push_back(&rank);
    }
  // Whoever misses the limit is found out below.
  std::ignore = await(state, check_limit, [&] {
    return interrupted() || std::ranges::all_of(finishing, [](const rank_run* rank) {
             return rank->finished || rank->gone;
           });
  });
  for (auto* rank : finishing)
    judge_end(state, *rank);
}

} // namespace baton::handoff
