#include "examples/handoff/rank.hpp"

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <unordered_map>

#include <caf/scoped_actor.hpp>
#include <spdlog/cfg/env.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "actors/actors.hpp"
#include "actors/config.hpp"
#include "actors/transceiver.hpp"
#include "examples/handoff/blocks.hpp"
#include "examples/handoff/content.hpp"
#include "examples/handoff/control.hpp"
#include "examples/handoff/dump.hpp"
#include "examples/handoff/footprint.hpp"
#include "examples/handoff/hex.hpp"
#include "examples/handoff/network_namespace.hpp"
#include "examples/handoff/parking.hpp"
#include "examples/handoff/rank_memory.hpp"
#include "examples/handoff/workers.hpp"
#include "messages/params.hpp"
#include "transport/rank_plane.hpp"

namespace baton::handoff {

namespace {

using nlohmann::json;
using std::chrono::milliseconds;

/// How long the runner may take to read a message before it is dropped.
constexpr milliseconds send_limit{10'000};
/// Pause between two looks for ended requests.
constexpr milliseconds poll_pause{1};
/// How long a cancel may take to be confirmed.
constexpr milliseconds cancel_limit{10'000};
/// What a parked session waits for the runner on top of the fault's own delay and the request's
/// timeout.
constexpr milliseconds park_limit{30'000};
/// How long a rank may take to let go of what a fault has left: lost peers are waited for, and UCX
/// frees some memory later.
constexpr milliseconds leftover_limit{15'000};

/// Parked sessions hold a pool thread each, so there is one more for every fault.
struct rank_config : actor_config {
  explicit rank_config(std::size_t faults) {
    set("scheduler.max-threads", threads + static_cast<std::int64_t>(faults));
  }
};

milliseconds parking_limit(const scenario& run) {
  auto limit = run.timeout + park_limit;
  for (const auto& fault : run.faults)
    limit += fault.after;
  return limit;
}

json describe(const outcome& ended) {
  json sources = json::array();
  for (const auto& source : ended.sources)
    sources.push_back({{"rank", source.rank},
                       {"lane", to_string(source.lane.lane)},
                       {"reason", source.lane.reason},
                       {"bytes", source.bytes}});
  return {{"state", to_string(ended.state)},
          {"error", ended.failure ? json(to_string(*ended.failure)) : json()},
          {"bytes", ended.bytes},
          {"fragments", ended.fragments},
          {"templates", ended.templates},
          {"sources", std::move(sources)},
          {"wait_us", ended.waited.count()},
          {"pull_us", ended.pulling.count()},
          {"total_us", ended.total.count()},
          {"agreed", ended.agreed},
          {"attempts", ended.attempts}};
}

/// What goes along with a request, so that its arrival can be checked too.
aux_data aux_of(const request_spec& request) {
  return {{static_cast<std::int32_t>(request.id.value & 0x7FFF'FFFF)}, {}, {}};
}

/// One rank: its memory, its transceiver, and the calls that an engine would make.
class rank_process {
public:
  rank_process(control_channel& channel, const json& start, scenario run, rank_layout layout);
  ~rank_process() { stop(); }
  rank_process(const rank_process&) = delete;
  rank_process& operator=(const rank_process&) = delete;

  expected<> start(const json& start);
  /// Carries out one command of the runner. Never blocks on a session.
  void handle(const json& command);
  [[nodiscard]] bool finished() const noexcept { return finished_; }

private:
  expected<> make_pools(const json& start);
  rank_cache cache() const;
  void say(json message) { channel_.send(message, send_limit); }

  void prepare(std::size_t index);
  void offer_ready(std::size_t index);
  /// Returns why the first slice was refused.
  expected<> offer_slices(std::size_t index);
  void offer(std::size_t index);
  void receive(std::size_t index, const std::string& params);
  void cancel(std::size_t fault);
  void shut_down(std::size_t fault);
  void finish(const std::string& dump);
  void stop();

  expected<> reuse_blocks(std::size_t index, const outcome& ended);
  std::string await_leftovers();
  void watch_outcomes();
  void report(std::size_t index, const outcome& ended);
  void report_refusal(std::size_t index, const error& reason);
  void report_taken(std::size_t index) { say({{"event", "taken"}, {"request", index}}); }

  control_channel& channel_;
  const scenario run_;
  const rank_name self_;
  const bool agree_; ///< with the other ranks of the instance on what ended
  const bool reuse_; ///< blocks, as soon as their request has ended
  rank_layout layout_;
  std::vector<request_tables> tables_;
  std::unordered_map<request_id, std::size_t> index_of_;
  std::mutex states_mutex_;
  std::vector<request_state> states_;
  std::vector<bool> reported_;
  std::uint64_t mismatched_ = 0;     ///< of requests whose blocks are rewritten
  std::optional<footprint> footing_; ///< before the first fault's request
  parking parking_;
  std::optional<rank_memory> memory_; ///< outlives the plane
  std::shared_ptr<rank_plane> plane_;
  rank_config config_;
  caf::actor_system system_;
  std::optional<transceiver> transceiver_;
  std::atomic<std::size_t> watched_{0}; ///< requests whose end `watch_outcomes` will see
  std::atomic<bool> stopping_{false};
  bool finished_ = false;
  std::thread watcher_;
  std::optional<workers> workers_;
};

rank_process::rank_process(control_channel& channel, const json& start, scenario run,
                           rank_layout layout)
    : channel_{channel},
      run_{std::move(run)},
      self_{layout.role, layout.rank},
      agree_{start.at("agree").get<bool>()},
      reuse_{start.at("reuse").get<bool>()},
      layout_{std::move(layout)},
      tables_{draw_blocks(run_, layout_)},
      states_(run_.requests.size(), layout_.role == instance_role::context
                                        ? request_state::context_trans_in_progress
                                        : request_state::generation_trans_in_progress),
      reported_(run_.requests.size()),
      parking_{run_.faults, self_, parking_limit(run_),
               [this](std::size_t fault) {
                 say({{"event", "parked"}, {"fault", fault}});
               }},
      config_{run_.faults.size()},
      system_{config_} {
  layout_.life = random_id<incarnation>();
  layout_.instance = start.at("instance").get<std::string>();
  for (const auto index : start.at("past").get<std::vector<std::size_t>>())
    tables_[index].clear();
  for (std::size_t i = 0; i < run_.requests.size(); ++i)
    index_of_.emplace(run_.requests[i].id, i);
}

expected<> rank_process::make_pools(const json& start) {
  const auto gpu = start.at("gpu").get<int>();
  auto memory = rank_memory::create(run_.memory[self_.side].place, gpu, layout_);
  if (!memory)
    return fail(memory.error());
  memory_ = std::move(*memory);
  plane_options options;
  options.lanes = run_.lane;
  options.gpu = std::max(gpu, 0);
  const auto& place = start.at("place");
  options.tcp_devices = place.at("tcp").get<std::string>();
  options.ucx_transports = place.at("ucx_tls").get<std::string>();
  auto plane = rank_plane::create(layout_.life, layout_, memory_->take_pools(), options);
  if (!plane)
    return fail(plane.error());
  plane_ = std::move(*plane);
  return {};
}

rank_cache rank_process::cache() const {
  return {run_, layout_, tables_, memory_->view()};
}

expected<> rank_process::start(const json& start) {
  if (auto made = make_pools(start); !made)
    return made;
  transceiver_options options;
  options.agreement.on = agree_;
  if (parking_.used())
    options.probe = [this](probe_point point, request_id request) {
      parking_.pass(point, request);
    };
  rank_endpoint endpoint;
  const auto& place = start.at("place");
  endpoint.host = place.at("host").get<std::string>();
  endpoint.port = place.at("port").get<std::uint16_t>();
  endpoint.directory = start.at("directory").get<std::string>();
  endpoint.trusted_network = place.contains("network"); // only our own ranks are in there
  auto started = transceiver::start(system_, layout_, plane_, std::move(endpoint), options);
  if (!started)
    return fail(started.error());
  transceiver_ = std::move(*started);
  say({{"event", "started"},
       {"endpoint", transceiver_->endpoint()},
       {"params", as_hex(encode(transceiver_->get_disaggregated_params()))}});
  clear_pools(cache());
  if (self_.side == instance_role::context)
    write_requests(cache());
  if (auto filled = memory_->upload(); !filled)
    return filled;
  workers_.emplace();
  watcher_ = std::thread{[this] { watch_outcomes(); }};
  say({{"event", "ready"}});
  return {};
}

void rank_process::handle(const json& command) {
  const auto what = command.at("do").get<std::string>();
  if (reuse_ && !footing_ && command.contains("request") && !run_.faults.empty() &&
      run_.requests[command.at("request").get<std::size_t>()].id == run_.faults[0].request)
    footing_ = measure_footprint(workers_->threads());
  if (what == "offer")
    workers_->run([this, index = command.at("request").get<std::size_t>()] { offer(index); });
  else if (what == "prepare")
    workers_->run([this, index = command.at("request").get<std::size_t>()] { prepare(index); });
  else if (what == "receive")
    workers_->run(
        [this, index = command.at("request").get<std::size_t>(),
         params = from_hex(command.at("params").get<std::string>())] { receive(index, params); });
  else if (what == "cancel")
    cancel(command.at("fault").get<std::size_t>());
  else if (what == "shutdown")
    shut_down(command.at("fault").get<std::size_t>());
  else if (what == "release")
    parking_.release(command.at("fault").get<std::size_t>());
  else if (what == "finish")
    finish(command.at("dump").get<std::string>());
}

void rank_process::offer(std::size_t index) {
  ++watched_;
  if (auto offered = offer_slices(index); !offered) {
    --watched_;
    report_refusal(index, offered.error());
  }
  report_taken(index);
}

void rank_process::prepare(std::size_t index) {
  ++watched_;
  const auto answer =
      transceiver_->prepare_context_requests({{run_.requests[index].id, run_.timeout}});
  for (const auto& refused : answer.refused) {
    --watched_;
    report_refusal(index, refused.reason);
  }
  report_taken(index);
  for (const auto id : answer.ready)
    offer_ready(index_of_.at(id));
}

void rank_process::offer_ready(std::size_t index) {
  // If it is refused, the request has ended meanwhile; its outcome says why.
  static_cast<void>(offer_slices(index));
}

expected<> rank_process::offer_slices(std::size_t index) {
  const auto& request = run_.requests[index];
  std::uint32_t begin = 0;
  for (auto chunk : request.chunks) {
    send_slice slice;
    slice.request = request.id;
    slice.tokens = {begin, begin + chunk};
    slice.last = slice.tokens.end == request.tokens;
    for (std::size_t g = 0; g < layout_.groups.size(); ++g)
      if (slice.last || !layout_.groups[g].is_state())
        slice.blocks.push_back(
            part_of(tables_[index][g], layout_.groups[g].tokens_per_block, slice.tokens));
    if (slice.last)
      slice.aux = aux_of(request);
    slice.timeout = run_.timeout;
    auto taken = transceiver_->respond_and_send_async(std::move(slice));
    if (!taken && begin == 0)
      return taken;
    // A later slice is refused only when the request ended meanwhile; its outcome says why.
    if (!taken)
      break;
    begin += chunk;
  }
  return {};
}

void rank_process::receive(std::size_t index, const std::string& params) {
  auto context = decode_params(params);
  if (!context)
    return report_refusal(index, context.error());
  const auto& request = run_.requests[index];
  receive_request wanted;
  wanted.request = request.id;
  wanted.context = *std::move(context);
  wanted.tokens = request.tokens;
  wanted.cached_tokens = request.cached_tokens;
  wanted.blocks = tables_[index];
  wanted.timeout = run_.timeout;
  if (run_.flow == workflow::ctx_first_sync)
    return report(index, transceiver_->request_and_receive_sync(std::move(wanted)));
  ++watched_;
  if (auto taken = transceiver_->request_and_receive_async(std::move(wanted)); !taken) {
    --watched_;
    report_refusal(index, taken.error());
  }
  report_taken(index);
}

void rank_process::cancel(std::size_t fault) {
  // The answer takes the parked session's help, which shall not go on before the cancel has reached
  // it. The transceiver takes one message after the other, so its answer to a second question says
  // that it has passed the first one on.
  workers_->run([this, fault] {
    const auto request = run_.faults[fault].request;
    const auto actor = actor_access::of(*transceiver_);
    const caf::scoped_actor self{system_};
    auto cancelled = self->request(actor, cancel_limit, atom::cancel_v, request);
    self->request(actor, cancel_limit, atom::state_v, request)
        .receive([](std::optional<request_state>) {}, [](const caf::error&) {});
    parking_.release(fault);
    bool safe = false;
    cancelled.receive([&](bool confirmed) { safe = confirmed; }, [](const caf::error&) {});
    say({{"event", "cancelled"}, {"fault", fault}, {"safe", safe}});
  });
}

void rank_process::shut_down(std::size_t fault) {
  // As with a cancel, the parked session goes on once its end is decided.
  workers_->run([this, fault] {
    const auto actor = actor_access::of(*transceiver_);
    const caf::scoped_actor self{system_};
    self->request(actor, cancel_limit, atom::refuse_v).receive([] {}, [](const caf::error&) {});
    self->request(actor, cancel_limit, atom::end_all_v).receive([] {}, [](const caf::error&) {});
    parking_.release(fault);
    transceiver_->shutdown();
  });
}

void rank_process::watch_outcomes() {
  while (!stopping_) {
    // Those that agree make their calls together.
    if (agree_ || watched_ > 0) {
      const auto ended = self_.side == instance_role::context
                             ? transceiver_->check_context_transfer_status(0)
                             : transceiver_->check_gen_transfer_status(0);
      for (const auto& outcome : ended) {
        --watched_;
        report(index_of_.at(outcome.request), outcome);
      }
      if (prepares(run_.flow) && self_.side == instance_role::context)
        for (const auto id : transceiver_->prepare_context_requests().ready)
          workers_->run([this, index = index_of_.at(id)] { offer_ready(index); });
    }
    std::this_thread::sleep_for(poll_pause);
  }
}

void rank_process::report(std::size_t index, const outcome& ended) {
  {
    const std::lock_guard guard{states_mutex_};
    // One that failed on another rank first is refused here as well, besides being reported.
    if (agree_ && reported_[index])
      return;
    reported_[index] = true;
    states_[index] = ended.state;
    if (reuse_)
      if (auto reused = reuse_blocks(index, ended); !reused)
        say({{"event", "failed"}, {"text", to_string(reused.error())}});
  }
  auto message = describe(ended);
  message["event"] = "outcome";
  message["request"] = index;
  if (reuse_)
    message["free_us"] = std::chrono::duration_cast<std::chrono::microseconds>(
                             std::chrono::steady_clock::now().time_since_epoch())
                             .count();
  message["aux_lost"] = self_.side == instance_role::generation && ended.completed() &&
                        ended.aux != aux_of(run_.requests[index]);
  say(std::move(message));
}

/// With `states_mutex_` held.
expected<> rank_process::reuse_blocks(std::size_t index, const outcome& ended) {
  if (self_.side == instance_role::generation && ended.completed()) {
    if (auto read = memory_->download(); !read)
      return read;
    mismatched_ += check_request(cache(), index);
  }
  for (const auto& block : rewrite_request(cache(), index))
    if (auto written = memory_->upload(block); !written)
      return written;
  return {};
}

/// Waits until nothing is left of any request and the process holds no more than it did before the
/// fault. Returns what is too much after a while.
std::string rank_process::await_leftovers() {
  const auto until = std::chrono::steady_clock::now() + leftover_limit;
  for (;;) {
    const auto counts = transceiver_->stats();
    const auto left = counts.live_sends + counts.live_receives + counts.sessions +
                      counts.early_requests + counts.waiting_callers + counts.leases_granted;
    const auto now = measure_footprint(workers_->threads());
    const bool more = footing_ && excess(now, *footing_) > 0;
    if (left == 0 && !more)
      return "";
    if (std::chrono::steady_clock::now() >= until)
      return fmt::format(
          "has {} sends, {} receives, {} sessions, {} early requests, {} callers and "
          "{} leases left, {}; before the fault {}",
          counts.live_sends, counts.live_receives, counts.sessions, counts.early_requests,
          counts.waiting_callers, counts.leases_granted, to_string(now),
          footing_ ? to_string(*footing_) : "not known");
    std::this_thread::sleep_for(milliseconds{20});
  }
}

void rank_process::report_refusal(std::size_t index, const error& reason) {
  outcome refused;
  refused.request = run_.requests[index].id;
  refused.failure = reason;
  report(index, refused);
}

/// Ends all calls and threads; afterwards nobody writes the pools any more.
void rank_process::stop() {
  parking_.open();
  stopping_ = true;
  if (transceiver_)
    transceiver_->shutdown();
  if (watcher_.joinable())
    watcher_.join();
  workers_.reset();
}

void rank_process::finish(const std::string& dump) {
  const auto left = reuse_ ? await_leftovers() : "";
  stop();
  finished_ = true;
  if (auto read = memory_->download(); !read)
    return say({{"event", "failed"}, {"text", to_string(read.error())}});
  std::vector<bool> completed;
  for (auto state : states_)
    completed.push_back(state == request_state::generation_trans_complete);
  auto wrong = reuse_                                 ? check_rewritten(cache(), reported_)
               : self_.side == instance_role::context ? check_context(cache())
                                                      : check_generation(cache(), completed);
  wrong.mismatched += mismatched_;
  if (!dump.empty())
    if (auto dumped = dump_rank(dump, cache(), states_); !dumped)
      say({{"event", "failed"}, {"text", to_string(dumped.error())}});
  say({{"event", "finished"},
       {"mismatched", wrong.mismatched},
       {"stray", wrong.stray},
       {"left", left}});
}

void set_up_log() {
  spdlog::set_level(spdlog::level::warn);
  spdlog::cfg::load_env_levels();
}

/// Returns the next messages. Without the runner there is no point in living on.
std::vector<json> next_messages(control_channel& channel) {
  channel.wait(milliseconds{1'000});
  auto messages = channel.receive();
  if (messages.empty() && channel.closed())
    ::_exit(1);
  return messages;
}

expected<> serve(control_channel& channel) {
  std::vector<json> messages;
  while (messages.empty())
    messages = next_messages(channel);
  const auto start = messages.front();
  messages.erase(messages.begin());

  auto run = parse_scenario(start.at("scenario").get<std::string>());
  if (!run)
    return fail(run.error());
  const auto side =
      start.at("side") == "context" ? instance_role::context : instance_role::generation;
  if (const auto& place = start.at("place"); place.contains("network"))
    if (auto entered = enter_network(place.at("network").get<std::string>()); !entered)
      return entered;
  auto layouts = build_instance(run->model, run->sides[side], side, std::string{to_string(side)});
  if (!layouts)
    return fail(layouts.error());
  auto layout = std::move(layouts->at(start.at("rank").get<std::size_t>()));

  rank_process rank{channel, start, std::move(*run), std::move(layout)};
  if (auto started = rank.start(start); !started)
    return started;
  for (;;) {
    for (const auto& command : messages)
      rank.handle(command);
    if (rank.finished())
      return {};
    messages = next_messages(channel);
  }
}

} // namespace

int run_rank(int fd) {
  set_up_log();
  control_channel channel{unique_fd{fd}};
  expected<> served;
  try {
    served = serve(channel);
  } catch (const std::exception& problem) {
    served = fail(errc::invalid_argument, "unexpected: {}", problem.what());
  }
  if (served)
    return 0;
  channel.send({{"event", "failed"}, {"text", to_string(served.error())}}, send_limit);
  return 1;
}

} // namespace baton::handoff
