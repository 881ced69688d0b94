#include "examples/bench/actor_rank.hpp"

#include <atomic>
#include <chrono>
#include <fstream>
#include <stdexcept>
#include <thread>

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include "actors/layer_cover.hpp"
#include "examples/bench/echo.hpp"
#include "examples/bench/plane_card.hpp"
#include "examples/bench/statistics.hpp"
#include "examples/support/value_of.hpp"
#include "messages/params.hpp"
#include "messages/ticket.hpp"

namespace baton::bench {

namespace {

using examples::value_of;
using nlohmann::json;
using std::chrono::milliseconds;

constexpr auto loopback = "127.0.0.1";

void require_end(const outcome& ended) {
  if (!ended.completed())
    throw std::runtime_error{to_string(ended.failure.value_or(error{}))};
}

double now_microseconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::micro>{now}.count();
}

json footprint() {
  std::uint64_t mapped = 0;
  std::uint64_t resident = 0;
  std::ifstream{"/proc/self/statm"} >> mapped >> resident;
  const auto heap = ::mallinfo2();
  return {{"resident", resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE))},
          {"heap", heap.uordblks + heap.hblkhd}};
}

double cpu_microseconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto of = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_usec);
  };
  return of(used.ru_utime) + of(used.ru_stime);
}

double rest(milliseconds length) {
  const stopwatch watch;
  const auto before = cpu_microseconds();
  std::this_thread::sleep_for(length);
  return (cpu_microseconds() - before) / watch.microseconds();
}

} // namespace

json actor_start(instance_role role, const cache_setup& setup) {
  return {{"kind", "actor"}, {"role", role}, {"cache", setup}};
}

json actor_start(instance_role role, const gpu_setup& setup, int device,
                 const plane_options& options) {
  return {{"kind", "actor"},
          {"role", role},
          {"cache", setup},
          {"gpu", device},
          {"options", to_json_value(options)}};
}

actor_rank::actor_rank(const json& start)
    : cache_{make_cache(start)},
      plane_{value_of(rank_plane::create(
          cache_->layout().life, cache_->layout(), cache_->make_pools(),
          start.contains("options") ? options_of(start.at("options")) : plane_options{}))},
      system_{config_},
      transceiver_{value_of(transceiver::start(system_, cache_->layout(), plane_, {}))},
      echo_{spawn_echo(system_)} {
  cache_->prepare(*plane_);
  const auto port = system_.middleman().publish(echo_, 0, loopback);
  if (!port)
    throw std::runtime_error{"the echo actor cannot be published"};
  echo_port_ = *port;
}

actor_rank::~actor_rank() {
  caf::anon_send_exit(echo_, caf::exit_reason::user_shutdown);
}

json actor_rank::answer(const std::string& verb, const json& arguments) {
  const auto first = [&] { return arguments.at("first").get<std::uint64_t>(); };
  const auto count = [&] { return arguments.at("count").get<std::uint64_t>(); };
  const auto endpoint = [&] { return arguments.at("endpoint").get<std::string>(); };
  json result;
  if (verb == "describe") {
    result = {{"endpoint", transceiver_.endpoint()}, {"echo_port", echo_port_}};
  } else if (verb == "offer") {
    for (auto i = first(); i < first() + count(); ++i)
      offer(i);
  } else if (verb == "offered") {
    wait_for_offers();
  } else if (verb == "compute") {
    result = compute(arguments.at("request"), arguments.at("chunks"), arguments.at("by_layers"),
                     std::chrono::microseconds{arguments.at("us").get<std::int64_t>()});
  } else if (verb == "receive") {
    for (auto i = first(); i < first() + count(); ++i)
      result.push_back(receive(i, endpoint()));
  } else if (verb == "params") {
    for (auto i = first(); i < first() + count(); ++i)
      result.push_back(params_of(i, arguments.at("ticket")));
  } else if (verb == "receive_by") {
    result = receive_by(first(), arguments.at("params"));
  } else if (verb == "receive_together") {
    result = receive_together(first(), count(), endpoint());
  } else if (verb == "receive_until") {
    static_cast<void>(receive(arguments.at("request"), endpoint()));
    result = now_microseconds();
  } else if (verb == "ping") {
    result = ping(arguments);
  } else if (verb == "begin") {
    for (auto id = first(); id < first() + count(); ++id)
      begin(request_id{id}, endpoint());
  } else if (verb == "cancel") {
    result = cancel(first(), count(), arguments.at("threads").get<std::size_t>());
  } else if (verb == "counts") {
    const auto now = transceiver_.stats();
    result = {
        {"early", now.early_requests}, {"sessions", now.sessions}, {"live", now.live_receives}};
  } else if (verb == "footprint") {
    result = footprint();
  } else if (verb == "rest") {
    result = rest(milliseconds{arguments.get<int>()});
  } else if (verb == "check") {
    result = cache_->wrong_bytes(*plane_);
  } else {
    throw std::invalid_argument{"an actor rank cannot " + verb};
  }
  return result;
}

void actor_rank::offer(std::size_t request) {
  send_slice slice;
  slice.request = cache_->id_of(request);
  slice.tokens = cache_->tokens();
  slice.blocks = cache_->blocks_of(request);
  value_of(transceiver_.respond_and_send_async(std::move(slice)));
}

double actor_rank::compute(std::size_t request, std::uint32_t chunks, bool by_layers,
                           std::chrono::microseconds each) {
  const auto all = by_layers ? layers_of(cache_->layout())->back() + 1 : cache_->tokens().end;
  const auto share = all / chunks;
  double computed = 0;
  for (std::uint32_t i = 0; i < chunks; ++i) {
    std::this_thread::sleep_for(each);
    computed = now_microseconds();
    send_slice slice;
    slice.request = cache_->id_of(request);
    slice.tokens = cache_->tokens();
    if (by_layers)
      slice.layers = {i * share, (i + 1) * share};
    else
      slice.tokens = {i * share, (i + 1) * share};
    slice.last = i + 1 == chunks;
    slice.blocks = cache_->blocks_of(request);
    value_of(transceiver_.respond_and_send_async(std::move(slice)));
  }
  return computed;
}

void actor_rank::wait_for_offers() {
  for (const auto& ended : transceiver_.check_context_transfer_status(std::nullopt))
    require_end(ended);
}

receive_request actor_rank::wanted(request_id id, std::size_t blocks_of,
                                   const std::string& endpoint) const {
  receive_request request;
  request.request = id;
  request.context.endpoint = endpoint;
  request.tokens = cache_->tokens().end;
  request.blocks = cache_->blocks_of(blocks_of);
  return request;
}

double actor_rank::receive(std::size_t request, const std::string& endpoint) {
  auto what = wanted(cache_->id_of(request), request, endpoint);
  const stopwatch watch;
  const auto ended = transceiver_.request_and_receive_sync(std::move(what));
  const auto us = watch.microseconds();
  require_end(ended);
  return us;
}

json actor_rank::params_of(std::size_t request, bool ticket) {
  constexpr std::chrono::seconds patience{2};
  const auto params = ticket
                          ? transceiver_.get_disaggregated_params(cache_->id_of(request), patience)
                          : transceiver_.get_disaggregated_params();
  if (ticket && !params.ticket)
    throw std::runtime_error{fmt::format("request {} has no ticket", request)};
  const auto bytes = encode(params);
  return std::vector<std::uint8_t>(bytes.begin(), bytes.end());
}

json actor_rank::receive_by(std::size_t first, const json& params) {
  json times;
  for (std::size_t i = 0; i < params.size(); ++i) {
    const auto bytes = params[i].get<std::vector<std::uint8_t>>();
    auto what = wanted(cache_->id_of(first + i), first + i, "");
    what.context =
        value_of(decode_params({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
    const bool ticket = what.context.ticket != nullptr;
    const auto ended = transceiver_.request_and_receive_sync(std::move(what));
    require_end(ended);
    if ((ended.sources.at(0).ticket == ticket_use::used) != ticket)
      throw std::runtime_error{"a ticket was not used"};
    times["waited"].push_back(ended.waited.count());
    times["total"].push_back(ended.total.count());
  }
  return times;
}

double actor_rank::receive_together(std::size_t first, std::size_t count,
                                    const std::string& endpoint) {
  std::vector<receive_request> wishes;
  for (auto request = first; request < first + count; ++request)
    wishes.push_back(wanted(cache_->id_of(request), request, endpoint));
  const stopwatch watch;
  for (auto& wish : wishes)
    value_of(transceiver_.request_and_receive_async(std::move(wish)));
  const auto all = transceiver_.check_gen_transfer_status(std::nullopt);
  const auto us = watch.microseconds();
  for (const auto& ended : all)
    require_end(ended);
  if (all.size() != count)
    throw std::runtime_error{fmt::format("{} of {} requests ended", all.size(), count)};
  return us;
}

json actor_rank::ping(const json& arguments) {
  const auto port = arguments.at("port").get<std::uint16_t>();
  const auto count = arguments.at("count").get<std::size_t>();
  const auto bytes = arguments.at("bytes").get<std::size_t>();
  const auto echo = system_.middleman().remote_actor(loopback, port);
  if (!echo)
    throw std::runtime_error{"cannot reach the echo actor"};
  return {{"blocking", ping_blocking(system_, *echo, count, bytes)},
          {"events", ping_with_events(system_, *echo, count, bytes)}};
}

/// Nothing will ever be written to the blocks, so all requests may name the same ones.
void actor_rank::begin(request_id request, const std::string& endpoint) {
  value_of(transceiver_.request_and_receive_async(wanted(request, 0, endpoint)));
}

double actor_rank::cancel(std::uint64_t first, std::uint64_t count, std::size_t threads) {
  std::atomic<std::uint64_t> next{0};
  std::atomic<bool> safe{true};
  const stopwatch watch;
  {
    std::vector<std::jthread> callers;
    for (std::size_t i = 0; i < threads; ++i)
      callers.emplace_back([&] {
        for (auto at = next++; at < count; at = next++)
          if (!transceiver_.cancel_request(request_id{first + at}))
            safe = false;
      });
  }
  if (!safe)
    throw std::runtime_error{"a cancelled request's blocks are not safe"};
  return watch.microseconds() / 1e6;
}

} // namespace baton::bench
