#include "examples/soak/rank.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>
#include <spdlog/cfg/env.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "actors/config.hpp"
#include "actors/transceiver.hpp"
#include "examples/handoff/blocks.hpp"
#include "examples/handoff/control.hpp"
#include "examples/handoff/footprint.hpp"
#include "examples/handoff/hex.hpp"
#include "examples/handoff/workers.hpp"
#include "examples/soak/block_store.hpp"
#include "examples/soak/chance.hpp"
#include "examples/soak/crash_note.hpp"
#include "examples/support/value_of.hpp"
#include "messages/params.hpp"
#include "transport/rank_plane.hpp"

namespace baton::soak {

namespace {

using examples::value_of;
using handoff::control_channel;
using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds send_limit{10'000};
/// The longest that the rank looks neither after chunks nor whether it is done.
constexpr milliseconds tick{50};
/// How long outcomes may take to come once the transceiver is shut down.
constexpr milliseconds last_outcomes{3'000};

/// Comparable among all processes of this machine.
std::int64_t microseconds_of(steady_clock::time_point when) {
  return std::chrono::duration_cast<std::chrono::microseconds>(when.time_since_epoch()).count();
}

aux_data aux_of(request_id request) {
  return {{static_cast<std::int32_t>(request.value & 0x7FFF'FFFF)}, {}, {}};
}

std::vector<std::string> lanes_of(const outcome& ended) {
  std::vector<std::string> lanes;
  for (const auto& source : ended.sources)
    if (source.bytes > 0)
      lanes.emplace_back(to_string(source.lane.lane));
  return lanes;
}

/// A request that this rank has blocks for.
struct held_request {
  block_tables tables;
  std::uint32_t tokens = 0;
  std::uint32_t cached = 0;
  milliseconds timeout{0};
  steady_clock::time_point started;
  std::vector<std::uint32_t> chunks; ///< not yet offered
  std::uint32_t offered = 0;         ///< tokens
  milliseconds gap{0};               ///< between two chunks
  steady_clock::time_point next_chunk;
};

class soak_rank {
public:
  soak_rank(control_channel& channel, const json& start);
  ~soak_rank() { stop(); }
  soak_rank(const soak_rank&) = delete;
  soak_rank& operator=(const soak_rank&) = delete;

  void run(std::vector<json> commands);

private:
  void say(const json& message) { channel_.send(message, send_limit); }
  void handle(const json& command);
  void offer(const json& command);
  void receive(const json& command);
  void cancel(request_id request);
  void leave(milliseconds drain);
  void tell_level();

  std::optional<held_request> hold(const json& command);
  void offer_chunk(request_id id, held_request& request);
  void offer_due_chunks();
  void take_ended();
  void end(const outcome& ended);
  void push(std::vector<outcome> ended);
  void watch_outcomes();
  void wait();
  void stop();
  [[nodiscard]] bool is_context() const { return layout_.role == instance_role::context; }

  control_channel& channel_;
  rank_layout layout_;
  chance draw_;
  const bool reuse_early_;
  std::vector<std::span<std::byte>> views_;
  std::shared_ptr<rank_plane> plane_;
  std::optional<block_store> store_;
  actor_config config_;
  caf::actor_system system_{config_};
  std::optional<transceiver> door_;
  std::map<request_id, held_request> held_;
  std::uint64_t touched_free_ = 0; ///< bytes of free blocks that somebody wrote, not yet told

  unique_fd wake_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::mutex mutex_; ///< guards `ended_`
  std::vector<outcome> ended_;
  std::atomic<std::size_t> watched_{0}; ///< requests whose end `watch_outcomes` will see
  std::atomic<bool> stopping_{false};
  std::atomic<bool> shut_down_{false};
  std::optional<steady_clock::time_point> last_call_; ///< for outcomes of a rank that leaves
  bool done_ = false;
  std::thread watcher_;
  std::optional<handoff::workers> workers_;
};

soak_rank::soak_rank(control_channel& channel, const json& start)
    : channel_{channel},
      layout_{value_of(decode_layout(handoff::from_hex(start.at("layout").get<std::string>())))},
      draw_{start.at("draw").get<std::uint64_t>()},
      reuse_early_{start.at("reuse_early").get<bool>()} {
  layout_.life = random_id<incarnation>();
  std::vector<memory_pool> pools;
  for (const auto& pool : layout_.pools) {
    auto made = value_of(host_pool::create(pool.bytes()));
    pools.emplace_back(std::move(made));
    views_.push_back(pools.back().memory());
  }
  plane_options options;
  options.lanes = static_cast<lane_policy>(start.at("lanes").get<int>());
  options.copy_threads = 1;
  plane_ = value_of(rank_plane::create(layout_.life, layout_, std::move(pools), options));
  store_.emplace(layout_, views_, start.at("seed").get<std::uint64_t>());
  rank_endpoint endpoint;
  endpoint.port = start.at("port").get<std::uint16_t>();
  endpoint.directory = start.at("directory").get<std::string>();
  door_ = value_of(transceiver::start(system_, layout_, plane_, std::move(endpoint)));
  workers_.emplace();
  watcher_ = std::thread{[this] { watch_outcomes(); }};
  say({{"event", "started"},
       {"endpoint", door_->endpoint()},
       {"params", handoff::as_hex(encode(door_->get_disaggregated_params()))}});
}

void soak_rank::run(std::vector<json> commands) {
  while (!done_) {
    for (const auto& command : commands)
      handle(command);
    take_ended();
    offer_due_chunks();
    if (last_call_ && held_.empty()) {
      say({{"event", "left"}});
      done_ = true;
    } else if (last_call_ && steady_clock::now() > *last_call_) {
      say({{"event", "failed"},
           {"text", fmt::format("shut down, but {} requests have not ended", held_.size())}});
      done_ = true;
    }
    if (!done_)
      wait();
    commands = channel_.receive();
    if (channel_.closed())
      ::_exit(1); // without the coordinator there is no point in living on
  }
}

void soak_rank::wait() {
  auto limit = tick;
  for (const auto& [id, request] : held_)
    if (!request.chunks.empty())
      limit = std::clamp(std::chrono::ceil<milliseconds>(request.next_chunk - steady_clock::now()),
                         milliseconds{0}, limit);
  std::array<pollfd, 2> entries{pollfd{channel_.descriptor(), POLLIN, 0},
                                pollfd{wake_.get(), POLLIN, 0}};
  ::poll(entries.data(), entries.size(), static_cast<int>(limit.count()));
  std::uint64_t count = 0;
  static_cast<void>(::read(wake_.get(), &count, sizeof count) > 0);
}

void soak_rank::handle(const json& command) {
  const auto what = command.at("do").get<std::string>();
  if (what == "offer")
    offer(command);
  else if (what == "receive")
    receive(command);
  else if (what == "cancel")
    cancel(request_id{command.at("request").get<std::uint64_t>()});
  else if (what == "level")
    tell_level();
  else if (what == "leave")
    leave(milliseconds{command.at("drain_ms").get<int>()});
}

/// Takes blocks for a request; without them it is not begun.
std::optional<held_request> soak_rank::hold(const json& command) {
  held_request request;
  request.tokens = command.at("tokens").get<std::uint32_t>();
  request.timeout = milliseconds{command.at("timeout_ms").get<int>()};
  request.started = steady_clock::now();
  auto tables = store_->take(request.tokens, draw_);
  if (!tables) {
    say({{"event", "failed"}, {"text", "no blocks are left for a request"}});
    return std::nullopt;
  }
  request.tables = std::move(tables->tables);
  touched_free_ += tables->touched;
  return request;
}

void soak_rank::offer(const json& command) {
  const request_id id{command.at("request").get<std::uint64_t>()};
  auto request = hold(command);
  if (!request)
    return;
  request->chunks = command.at("chunks").get<std::vector<std::uint32_t>>();
  request->gap = milliseconds{command.at("gap_ms").get<int>()};
  auto& kept = held_.insert_or_assign(id, std::move(*request)).first->second;
  ++watched_;
  offer_chunk(id, kept);
}

void soak_rank::offer_chunk(request_id id, held_request& request) {
  const auto size = request.chunks.front();
  request.chunks.erase(request.chunks.begin());
  send_slice slice;
  slice.request = id;
  slice.tokens = {request.offered, request.offered + size};
  slice.last = request.chunks.empty();
  slice.timeout = request.timeout;
  if (slice.last)
    slice.aux = aux_of(id);
  for (std::size_t g = 0; g < request.tables.size(); ++g)
    slice.blocks.push_back(
        handoff::part_of(request.tables[g], layout_.groups[g].tokens_per_block, slice.tokens));
  store_->write(id, request.tables, slice.tokens);
  const bool first = request.offered == 0;
  request.offered += size;
  request.next_chunk = steady_clock::now() + request.gap;
  auto taken = door_->respond_and_send_async(std::move(slice));
  if (taken && reuse_early_)
    store_->rewrite(request.tables);
  if (taken)
    return;
  request.chunks.clear();
  // A later chunk is refused when the request has ended meanwhile; its outcome says why.
  if (!first)
    return;
  --watched_;
  outcome refused;
  refused.request = id;
  refused.failure = taken.error();
  end(refused);
}

void soak_rank::offer_due_chunks() {
  std::vector<request_id> due;
  for (const auto& [id, request] : held_)
    if (!request.chunks.empty() && request.next_chunk <= steady_clock::now())
      due.push_back(id);
  for (const auto id : due)
    offer_chunk(id, held_.at(id));
}

void soak_rank::receive(const json& command) {
  const request_id id{command.at("request").get<std::uint64_t>()};
  auto request = hold(command);
  if (!request)
    return;
  request->cached = command.at("cached").get<std::uint32_t>();
  receive_request wanted;
  wanted.request = id;
  wanted.context =
      value_of(decode_params(handoff::from_hex(command.at("params").get<std::string>())));
  wanted.tokens = request->tokens;
  wanted.cached_tokens = request->cached;
  wanted.blocks = request->tables;
  wanted.timeout = request->timeout;
  held_.insert_or_assign(id, std::move(*request));
  if (command.at("blocking").get<bool>())
    return workers_->run([this, wanted = std::move(wanted)]() mutable {
      push({door_->request_and_receive_sync(std::move(wanted))});
    });
  ++watched_;
  if (auto taken = door_->request_and_receive_async(std::move(wanted)); !taken) {
    --watched_;
    outcome refused;
    refused.request = id;
    refused.failure = taken.error();
    end(refused);
  }
}

void soak_rank::cancel(request_id request) {
  workers_->run([this, request] {
    const bool safe = door_->cancel_request(request);
    say({{"event", "cancelled"}, {"request", request.value}, {"safe", safe}});
  });
}

void soak_rank::leave(milliseconds drain) {
  workers_->run([this, drain] {
    door_->shutdown(drain);
    shut_down_ = true;
  });
}

void soak_rank::tell_level() {
  // Its threads are kept once made, as many as calls were ever blocked at a time.
  if (held_.empty())
    workers_.emplace();
  const auto counts = door_->stats();
  const auto left = held_.size() + counts.live_sends + counts.prepared + counts.live_receives +
                    counts.sessions + counts.early_requests + counts.waiting_callers +
                    counts.leases_granted;
  say({{"event", "level"},
       {"level", handoff::measure_footprint()},
       {"open", handoff::describe_descriptors()},
       {"links", counts.links},
       {"left", left},
       {"what",
        fmt::format("{} held, {} sends, {} receives, {} sessions, {} early, {} callers, {} "
                    "leases",
                    held_.size(), counts.live_sends, counts.live_receives, counts.sessions,
                    counts.early_requests, counts.waiting_callers, counts.leases_granted)}});
}

void soak_rank::watch_outcomes() {
  while (!stopping_) {
    auto ended = watched_ == 0  ? std::vector<outcome>{}
                 : is_context() ? door_->check_context_transfer_status(1)
                                : door_->check_gen_transfer_status(1);
    if (ended.empty())
      std::this_thread::sleep_for(milliseconds{1});
    watched_ -= ended.size();
    push(std::move(ended));
  }
}

void soak_rank::push(std::vector<outcome> ended) {
  if (ended.empty())
    return;
  {
    const std::lock_guard guard{mutex_};
    std::ranges::move(ended, std::back_inserter(ended_));
  }
  const std::uint64_t one = 1;
  static_cast<void>(::write(wake_.get(), &one, sizeof one) > 0);
}

void soak_rank::take_ended() {
  if (shut_down_ && !last_call_)
    last_call_ = steady_clock::now() + last_outcomes;
  std::vector<outcome> ended;
  {
    const std::lock_guard guard{mutex_};
    ended.swap(ended_);
  }
  for (const auto& one : ended)
    end(one);
}

void soak_rank::end(const outcome& ended) {
  const auto found = held_.find(ended.request);
  if (found == held_.end())
    return say(
        {{"event", "failed"}, {"text", fmt::format("request {} ended twice", ended.request)}});
  const auto& request = found->second;
  const auto told = steady_clock::now();
  std::uint64_t wrong = 0;
  std::uint64_t touched = std::exchange(touched_free_, 0);
  if (!is_context()) {
    touched += store_->touched_cached(request.tables, request.cached);
    if (ended.completed())
      wrong = store_->mismatched(ended.request, request.tables, request.tokens, request.cached);
    if (ended.completed() && ended.aux != aux_of(ended.request))
      ++wrong;
  }
  store_->release(request.tables);
  say({{"event", "ended"},
       {"request", ended.request.value},
       {"error", ended.failure ? json(to_string(ended.failure->code)) : json()},
       {"text", ended.failure ? ended.failure->text : ""},
       {"wrong", wrong},
       {"touched", touched},
       {"bytes", ended.bytes},
       {"lanes", lanes_of(ended)},
       {"begin_us", microseconds_of(request.started)},
       {"told_us", microseconds_of(told)},
       {"free_us", microseconds_of(steady_clock::now())},
       {"total_us", ended.total.count()}});
  held_.erase(found);
}

/// Ends all calls and threads; afterwards nobody writes the pools any more.
void soak_rank::stop() {
  stopping_ = true;
  if (door_)
    door_->shutdown();
  if (watcher_.joinable())
    watcher_.join();
  workers_.reset();
}

void set_up_rank_log() {
  // That peers come and go is no news here.
  spdlog::stderr_color_mt("baton")->set_level(spdlog::level::err);
  spdlog::cfg::load_env_levels();
}

void serve_soak(control_channel& channel) {
  std::vector<json> commands;
  while (commands.empty()) {
    channel.wait(milliseconds{1'000});
    commands = channel.receive();
    if (commands.empty() && channel.closed())
      ::_exit(1);
  }
  const auto start = commands.front();
  commands.erase(commands.begin());
  soak_rank{channel, start}.run(std::move(commands));
}

} // namespace

int run_rank(int fd) {
  set_up_rank_log();
  note_crashes_on(fd);
  control_channel channel{unique_fd{fd}};
  try {
    serve_soak(channel);
    return 0;
  } catch (const std::exception& problem) {
    channel.send({{"event", "failed"}, {"text", problem.what()}}, send_limit);
    return 1;
  }
}

} // namespace baton::soak
