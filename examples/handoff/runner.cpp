#include "examples/handoff/runner.hpp"

#include <algorithm>
#include <csignal>
#include <deque>
#include <optional>
#include <set>
#include <system_error>

#include <fmt/ranges.h>
#include <poll.h>

#include "examples/handoff/child.hpp"
#include "examples/handoff/dump.hpp"
#include "examples/handoff/placement.hpp"
#include "gpu/device.hpp"
#include "messages/ids.hpp"

namespace baton::handoff {

namespace {

using nlohmann::json;
using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds tick{10};
constexpr milliseconds start_limit{120'000};
constexpr milliseconds check_limit{300'000};
constexpr milliseconds exit_limit{20'000};
constexpr milliseconds reap_limit{2'000};
/// What a request gets on top of its timeout before it counts as lost.
constexpr milliseconds outcome_margin{10'000};
/// How long after the request's deadline a rank under `stop_resume` goes on.
constexpr milliseconds resume_delay{500};

volatile std::sig_atomic_t interrupted = 0;

void note_interruption(int) {
  interrupted = 1;
}

enum class rank_life {
  running,
  resting, ///< stopped, to be resumed
  stopped, ///< for good
  killed,
};

struct rank_run {
  rank_name name;
  child process;
  int gpu = -1; ///< ordinal, as its process counts; -1: none
  rank_life life = rank_life::running;
  bool gone = false; ///< its socket is closed: nothing more will come
  bool started = false;
  bool ready = false;
  std::string endpoint;
  std::string directory; ///< for the other side
  std::optional<clock::time_point> resume_at;
  std::optional<wrong_bytes> finished;

  /// Whether it will still answer.
  [[nodiscard]] bool answers() const noexcept { return !gone && life != rank_life::stopped; }
};

struct request_run {
  enum class stage { waiting, offered, asked, ended } stage = stage::waiting;
  clock::time_point started;
  std::set<rank_name> acknowledged;
  std::map<rank_name, json> outcomes;
};

struct fault_run {
  std::optional<clock::time_point> act_at; ///< set once the rank parks
  bool acted = false;
};

class runner {
public:
  runner(const scenario& run, const run_settings& settings)
      : run_{run},
        settings_{settings},
        requests_(run.requests.size()),
        faults_(run.faults.size()) {}

  expected<run_result> go();

private:
  // Starting and ending the ranks.
  expected<> start_ranks();
  expected<> count_gpus();
  expected<> spawn(instance_role side);
  expected<> spawn(rank_name name);
  void start_rank(rank_run& rank);
  void finish_ranks();
  expected<> check_running() const;

  // Events.
  template <class Done>
  bool await(milliseconds limit, Done done);
  void pump();
  void take(rank_run& rank, const json& event);
  void take_outcome(const rank_run& rank, json event);
  void take_end(rank_run& rank);

  // Requests.
  void hand_over();
  void start_requests();
  void advance_all();
  void advance(std::size_t index);
  void ask(std::size_t index);
  void give_up(std::size_t index);
  void end(std::size_t index);
  bool has_offered(std::size_t index, const rank_run& rank) const;
  clock::time_point patience(std::size_t index) const;

  // Faults.
  void act_on_faults();
  void act(std::size_t fault);
  void resume_rested();
  bool faults_settled() const;

  // The verdict.
  run_result collect();
  void judge(std::size_t index, request_result& result);
  void judge_outcome(std::size_t index, const rank_run& rank, const json& outcome);

  bool takes_part(const rank_run& rank, std::size_t index) const {
    return handoff::takes_part(run_.sides[rank.name.side], rank.name.rank, index);
  }
  rank_run& rank_of(rank_name name) { return *std::ranges::find(ranks_, name, &rank_run::name); }
  template <class... Args>
  void problem(fmt::format_string<Args...> format, Args&&... args) {
    result_.problems.push_back(fmt::format(format, std::forward<Args>(args)...));
  }

  const scenario& run_;
  const run_settings& settings_;
  const std::uint64_t instance_number_ = random_number();
  std::uint32_t gpus_ = 0; ///< of this machine; 0 also if none is needed
  std::deque<rank_run> ranks_;
  std::vector<request_run> requests_;
  std::vector<fault_run> faults_;
  std::set<std::size_t> in_flight_;
  std::set<std::size_t> touched_; ///< requests that an event may have moved on
  std::size_t next_request_ = 0;
  std::size_t ended_ = 0;
  bool starting_ = true;
  run_result result_;
};

// -- starting and ending the ranks ---

expected<> runner::count_gpus() {
  if (!needs_gpu(run_))
    return {};
  const auto side = run_.memory.context.on_gpu() ? "context" : "generation";
  if (auto first = describe_gpu(0); !first)
    return fail(errc::gpu_failed, "{}.memory needs a GPU: {}", side, first.error().text);
  gpus_ = static_cast<std::uint32_t>(gpu_count());
  return {};
}

expected<> runner::spawn(instance_role side) {
  for (std::uint32_t rank = 0; rank < run_.sides[side].tp * run_.sides[side].pp; ++rank)
    if (auto spawned = spawn(rank_name{side, rank}); !spawned)
      return spawned;
  return {};
}

expected<> runner::spawn(rank_name name) {
  const auto gpu = gpu_of(run_, name, gpus_);
  if (!gpu)
    return fail(gpu.error());
  int ordinal = *gpu ? static_cast<int>(**gpu) : -1;
  std::vector<std::string> settings;
  if (*gpu && settings_.isolate_gpus) {
    const auto device = describe_gpu(ordinal);
    if (!device)
      return fail(device.error());
    settings.push_back("CUDA_VISIBLE_DEVICES=" + device->uuid);
    ordinal = 0;
  }
  auto process = child::start(fmt::format("baton-handoff {}", to_string(name)), settings);
  if (!process)
    return fail(process.error());
  ranks_.push_back({name, std::move(*process), ordinal, {}, {}, {}, {}, {}, {}, {}, {}});
  return {};
}

void runner::start_rank(rank_run& rank) {
  const auto& first = rank_of({rank.name.side, 0});
  rank.process.channel().post(
      {{"do", "start"},
       {"scenario", settings_.scenario_text},
       {"side", to_string(rank.name.side)},
       {"rank", rank.name.rank},
       {"instance", fmt::format("{}-{:016x}", to_string(rank.name.side), instance_number_)},
       {"directory", rank.name.rank == 0 ? "" : first.endpoint},
       {"gpu", rank.gpu},
       {"tcp", settings_.tcp_devices},
       {"ucx_tls", settings_.ucx_transports}});
}

expected<> runner::check_running() const {
  if (interrupted)
    return fail(errc::cancelled, "interrupted");
  if (!result_.problems.empty())
    return fail(errc::peer_lost, "{}", fmt::join(result_.problems, "; "));
  return {};
}

expected<> runner::start_ranks() {
  if (auto counted = count_gpus(); !counted)
    return counted;
  for (auto side : both_sides)
    if (auto spawned = spawn(side); !spawned)
      return spawned;
  const auto give_up = [this] { return !check_running(); };
  for (auto side : both_sides)
    start_rank(rank_of({side, 0}));
  const bool first = await(start_limit, [&] {
    return give_up() || (rank_of({instance_role::context, 0}).started &&
                         rank_of({instance_role::generation, 0}).started);
  });
  if (auto running = check_running(); !running)
    return running;
  for (auto& rank : ranks_)
    if (rank.name.rank != 0)
      start_rank(rank);
  const bool all = first && await(start_limit, [&] {
                     return give_up() || std::ranges::all_of(ranks_, &rank_run::ready);
                   });
  if (auto running = check_running(); !running)
    return running;
  if (!all)
    return fail(errc::timed_out, "not all ranks were ready after {} s",
                std::chrono::duration_cast<std::chrono::seconds>(start_limit).count());
  starting_ = false;
  return {};
}

void runner::finish_ranks() {
  std::vector<rank_run*> finishing;
  for (auto& rank : ranks_)
    if (!rank.gone && rank.life == rank_life::running) {
      rank.process.channel().post({{"do", "finish"}, {"dump", settings_.dump}});
      finishing.push_back(&rank);
    }
  await(check_limit, [&] {
    return interrupted || std::ranges::all_of(finishing, [](const rank_run* rank) {
             return rank->finished || rank->gone;
           });
  });
  for (auto* rank : finishing) {
    if (!rank->finished) {
      if (!rank->gone)
        problem("{} did not finish its check", to_string(rank->name));
      continue;
    }
    result_.wrong += *rank->finished;
    if (rank->finished->mismatched + rank->finished->stray > 0)
      problem("{} has {} mismatched and {} stray bytes", to_string(rank->name),
              rank->finished->mismatched, rank->finished->stray);
    if (const auto ending = rank->process.reap(exit_limit); !ending)
      problem("{} did not exit", to_string(rank->name));
    else if (!ending->empty())
      problem("{} ended with {}", to_string(rank->name), *ending);
  }
}

// -- events ---

template <class Done>
bool runner::await(milliseconds limit, Done done) {
  const auto deadline = clock::now() + limit;
  while (!done()) {
    if (clock::now() >= deadline)
      return false;
    pump();
  }
  return true;
}

/// Takes what the ranks say, and waits a tick for it at most.
void runner::pump() {
  std::vector<pollfd> entries;
  std::vector<rank_run*> polled;
  for (auto& rank : ranks_)
    if (!rank.gone) {
      const auto& channel = rank.process.channel();
      const short events = channel.pending() ? POLLIN | POLLOUT : POLLIN;
      entries.push_back({channel.descriptor(), events, 0});
      polled.push_back(&rank);
    }
  if (::poll(entries.data(), entries.size(), static_cast<int>(tick.count())) <= 0)
    return;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    auto& rank = *polled[i];
    auto& channel = rank.process.channel();
    if (entries[i].revents & POLLOUT)
      channel.flush();
    if (!(entries[i].revents & ~POLLOUT))
      continue;
    for (auto& event : channel.receive())
      take(rank, event);
    if (channel.closed())
      take_end(rank);
  }
}

void runner::take(rank_run& rank, const json& event) {
  const auto what = event.at("event").get<std::string>();
  if (what == "started") {
    rank.started = true;
    rank.endpoint = event.at("endpoint").get<std::string>();
    rank.directory = event.at("directory").get<std::string>();
  } else if (what == "ready") {
    rank.ready = true;
  } else if (what == "offered") {
    const auto index = event.at("request").get<std::size_t>();
    requests_[index].acknowledged.insert(rank.name);
    touched_.insert(index);
  } else if (what == "outcome") {
    take_outcome(rank, event);
  } else if (what == "parked") {
    const auto fault = event.at("fault").get<std::size_t>();
    faults_[fault].act_at = clock::now() + run_.faults[fault].after;
  } else if (what == "cancelled") {
    if (!event.at("safe").get<bool>())
      problem("{}: faults[{}]: the cancel could not be confirmed in time", to_string(rank.name),
              event.at("fault").get<std::size_t>());
  } else if (what == "finished") {
    rank.finished = wrong_bytes{event.at("mismatched").get<std::uint64_t>(),
                                event.at("stray").get<std::uint64_t>()};
  } else if (what == "failed") {
    problem("{}: {}", to_string(rank.name), event.at("text").get<std::string>());
  }
}

void runner::take_outcome(const rank_run& rank, json event) {
  const auto index = event.at("request").get<std::size_t>();
  if (event.at("aux_lost").get<bool>())
    problem("request {}: {} completed without the first token", run_.requests[index].id,
            to_string(rank.name));
  if (!requests_[index].outcomes.emplace(rank.name, std::move(event)).second)
    problem("request {}: {} reported more than one outcome", run_.requests[index].id,
            to_string(rank.name));
  touched_.insert(index);
}

void runner::take_end(rank_run& rank) {
  rank.gone = true;
  if (rank.life == rank_life::killed || rank.finished)
    return;
  const auto ending = rank.process.reap(reap_limit);
  if (starting_ && !result_.problems.empty())
    return; // it has said why
  problem("{} died: {}", to_string(rank.name), ending.value_or("its socket is closed"));
}

// -- requests ---

void runner::hand_over() {
  const auto begin = clock::now();
  auto last_look = begin;
  while (!interrupted && !(ended_ == requests_.size() && faults_settled())) {
    start_requests();
    pump();
    act_on_faults();
    for (auto index : std::exchange(touched_, {}))
      advance(index);
    if (clock::now() - last_look >= tick) {
      advance_all();
      last_look = clock::now();
    }
  }
  result_.duration = clock::now() - begin;
}

void runner::start_requests() {
  while (in_flight_.size() < run_.concurrency && next_request_ < requests_.size()) {
    const auto index = next_request_++;
    in_flight_.insert(index);
    requests_[index].stage = request_run::stage::offered;
    requests_[index].started = clock::now();
    for (auto& rank : ranks_)
      if (rank.name.side == instance_role::context && takes_part(rank, index) && rank.answers())
        rank.process.channel().post({{"do", "offer"}, {"request", index}});
    touched_.insert(index);
  }
}

void runner::advance_all() {
  for (auto index : std::vector<std::size_t>(in_flight_.begin(), in_flight_.end()))
    advance(index);
}

/// Whether the generation side need not wait for this rank's offer any longer.
bool runner::has_offered(std::size_t index, const rank_run& rank) const {
  if (!rank.answers() || rank.life == rank_life::resting ||
      requests_[index].acknowledged.contains(rank.name))
    return true;
  for (std::size_t i = 0; i < faults_.size(); ++i)
    if (faults_[i].act_at && run_.faults[i].who == rank.name &&
        run_.faults[i].request == run_.requests[index].id)
      return true;
  return false;
}

void runner::advance(std::size_t index) {
  auto& request = requests_[index];
  if (!in_flight_.contains(index))
    return;
  if (request.stage == request_run::stage::offered &&
      std::ranges::all_of(ranks_, [&](const rank_run& rank) {
        return rank.name.side == instance_role::generation || !takes_part(rank, index) ||
               has_offered(index, rank);
      }))
    ask(index);
  if (request.stage == request_run::stage::asked &&
      std::ranges::all_of(ranks_, [&](const rank_run& rank) {
        return !takes_part(rank, index) || !rank.answers() || request.outcomes.contains(rank.name);
      }))
    return end(index);
  if (clock::now() > patience(index))
    give_up(index);
}

void runner::ask(std::size_t index) {
  const auto& directory = rank_of({instance_role::context, 0}).directory;
  for (auto& rank : ranks_)
    if (rank.name.side == instance_role::generation && takes_part(rank, index) && rank.answers())
      rank.process.channel().post({{"do", "receive"},
                                   {"request", index},
                                   {"endpoint", directory},
                                   {"dp_rank", dp_group(run_.sides.context, index)}});
  requests_[index].stage = request_run::stage::asked;
}

/// When a request counts as lost: ranks that were held up by a fault count from when they went on.
clock::time_point runner::patience(std::size_t index) const {
  auto from = requests_[index].started;
  for (const auto& rank : ranks_)
    if (takes_part(rank, index) && rank.resume_at)
      from = std::max(from, *rank.resume_at);
  for (std::size_t i = 0; i < faults_.size(); ++i)
    if (faults_[i].act_at && run_.faults[i].request == run_.requests[index].id)
      from = std::max(from, *faults_[i].act_at);
  return from + run_.timeout + outcome_margin;
}

void runner::give_up(std::size_t index) {
  std::vector<std::string> silent;
  for (const auto& rank : ranks_)
    if (takes_part(rank, index) && rank.answers() && !requests_[index].outcomes.contains(rank.name))
      silent.push_back(to_string(rank.name));
  problem("request {}: no outcome from {}", run_.requests[index].id, fmt::join(silent, ", "));
  end(index);
}

void runner::end(std::size_t index) {
  requests_[index].stage = request_run::stage::ended;
  in_flight_.erase(index);
  ++ended_;
  if (settings_.progress)
    print_progress(ended_, requests_.size());
}

// -- faults ---

void runner::act_on_faults() {
  const auto now = clock::now();
  for (std::size_t i = 0; i < faults_.size(); ++i)
    if (faults_[i].act_at && !faults_[i].acted && *faults_[i].act_at <= now) {
      faults_[i].acted = true;
      act(i);
    }
  resume_rested();
}

void runner::act(std::size_t fault) {
  auto& rank = rank_of(run_.faults[fault].who);
  auto& channel = rank.process.channel();
  if (rank.gone || rank.life == rank_life::stopped || rank.life == rank_life::killed)
    return;
  switch (run_.faults[fault].act) {
  case fault_action::kill:
    rank.life = rank_life::killed;
    return rank.process.kill();
  case fault_action::stop:
    rank.life = rank_life::stopped;
    rank.process.stop();
    return;
  case fault_action::stop_resume: {
    const auto request =
        std::ranges::find(run_.requests, run_.faults[fault].request, &request_spec::id) -
        run_.requests.begin();
    rank.life = rank_life::resting;
    rank.process.stop();
    rank.resume_at = std::max(requests_[static_cast<std::size_t>(request)].started + run_.timeout,
                              clock::now()) +
                     resume_delay;
    return channel.post({{"do", "release"}, {"fault", fault}});
  }
  case fault_action::cancel:
    return channel.post({{"do", "cancel"}, {"fault", fault}});
  }
}

void runner::resume_rested() {
  for (auto& rank : ranks_)
    if (rank.life == rank_life::resting && rank.resume_at <= clock::now()) {
      rank.life = rank_life::running;
      rank.process.resume();
    }
}

bool runner::faults_settled() const {
  return std::ranges::all_of(faults_,
                             [](const fault_run& fault) { return !fault.act_at || fault.acted; }) &&
         std::ranges::none_of(ranks_,
                              [](const rank_run& rank) { return rank.life == rank_life::resting; });
}

// -- the verdict ---

run_result runner::collect() {
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    request_result result;
    judge(i, result);
    result_.requests.push_back(std::move(result));
  }
  for (std::size_t i = 0; i < faults_.size(); ++i)
    if (!faults_[i].act_at)
      result_.warnings.push_back(fmt::format("faults[{}]: {} never came to \"{}\" of request {}", i,
                                             to_string(run_.faults[i].who),
                                             to_string(run_.faults[i].at), run_.faults[i].request));
  return std::move(result_);
}

void runner::judge(std::size_t index, request_result& result) {
  const auto complete = to_string(request_state::generation_trans_complete);
  result.completed = true;
  result.outcomes = std::move(requests_[index].outcomes);
  for (const auto& rank : ranks_) {
    if (!takes_part(rank, index))
      continue;
    auto [found, missing] = result.outcomes.try_emplace(rank.name);
    if (missing)
      found->second = missing_outcome(rank.life == rank_life::killed    ? "peer_lost: killed"
                                      : rank.life == rank_life::stopped ? "peer_lost: stopped"
                                                                        : "timed_out: no outcome");
    if (rank.name.side == instance_role::generation)
      result.completed &= found->second["state"] == complete;
    if (rank.life == rank_life::running && !missing)
      judge_outcome(index, rank, found->second);
  }
}

void runner::judge_outcome(std::size_t index, const rank_run& rank, const json& outcome) {
  const auto& request = run_.requests[index];
  const auto& accepted = request.expect[rank.name.side];
  const auto state = parse_request_state(outcome["state"].get<std::string>());
  if (!state || std::ranges::find(accepted, *state) == accepted.end()) {
    std::vector<std::string_view> names;
    for (auto one : accepted)
      names.push_back(to_string(one));
    problem("request {}: {} ended as {} ({}), expected {}", request.id, to_string(rank.name),
            outcome["state"].get<std::string>(),
            outcome["error"].is_null() ? "no error" : outcome["error"].get<std::string>(),
            fmt::join(names, " or "));
  }
  const auto lane = run_.lane == lane_policy::mapped ? "mapped" : "ucx";
  for (const auto& source : outcome["sources"])
    if (run_.lane != lane_policy::automatic && source["lane"] != lane)
      problem("request {}: {} used lane {}, but {} is required", request.id, to_string(rank.name),
              source["lane"].get<std::string>(), lane);
}

expected<run_result> runner::go() {
  if (auto started = start_ranks(); !started)
    return fail(started.error());
  hand_over();
  if (!interrupted)
    finish_ranks();
  if (interrupted)
    return fail(errc::cancelled, "interrupted");
  return collect();
}

} // namespace

expected<run_result> run_scenario(const scenario& run, const run_settings& settings) {
  for (int signal : {SIGINT, SIGTERM}) {
    struct sigaction action {};
    action.sa_handler = note_interruption;
    ::sigaction(signal, &action, nullptr);
  }
  if (!settings.dump.empty()) {
    std::error_code problem;
    std::filesystem::create_directories(settings.dump, problem);
    if (problem)
      return fail(errc::invalid_argument, "--dump {}: {}", settings.dump, problem.message());
    clear_dump(settings.dump, run);
  }
  return runner{run, settings}.go();
}

} // namespace baton::handoff
