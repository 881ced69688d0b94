#include "tests/support/simulation.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "tests/support/protocol_session.hpp"

namespace baton::test {
namespace {

constexpr std::uint64_t reused = ~std::uint64_t{0};
constexpr std::uint32_t slots = 4096;
constexpr std::chrono::microseconds look_again{200};
constexpr std::chrono::milliseconds ticket_patience{10};

/// What a layer of a token's block, or of a state (of which the last slice is `token`), holds of a
/// beam.
std::uint64_t number_of(request_id request, std::uint32_t beam, std::uint32_t layer,
                        std::uint32_t token) {
  return request.value << 32 | std::uint64_t{beam} << 24 | std::uint64_t{layer} << 20 | (token + 1);
}

/// State is rewritten with every slice; this is what it holds after the last.
constexpr std::uint32_t final_state = 0xFFFF;

/// From which "token" on a beam has a state of its own: at once, or never.
std::uint32_t state_tail(std::uint32_t tail) {
  return tail % 2;
}

rank_layout make_layout(instance_role role, std::uint32_t rank, incarnation life,
                        const chaos& faults) {
  rank_layout layout;
  layout.instance = role == instance_role::context ? "c" : "g";
  layout.life = life;
  layout.role = role;
  layout.rank = rank;
  layout.tp_size = 8;
  layout.model = "simulated";
  const std::uint64_t slot = 2 * faults.layers;
  layout.pools.push_back({memory_kind::host, 0, {}, slot, slots});
  layout.groups.push_back({"full", 1, 0, {}});
  for (std::uint32_t layer = 0; layer < faults.layers; ++layer)
    layout.groups[0].buffers.push_back(
        {layer, cache_role::key, 0, 2 * layer, slot, 0, 1, 1, 2, 2, 1, element_type::bf16});
  if (faults.state) {
    layout.pools.push_back({memory_kind::host, 0, {}, 2, slots});
    layout.groups.push_back({"state",
                             0,
                             0,
                             {buffer_layout{faults.layers, cache_role::ssm, 1, 0, 2, 0, 1, 1, 2, 2,
                                            1, element_type::bf16}}});
  }
  return layout;
}

std::uint32_t tokens_of(const std::vector<simulated_slice>& slices) {
  std::uint32_t tokens = 0;
  for (const auto& slice : slices)
    tokens = std::max(tokens, slice.tokens.end);
  return tokens;
}

bool is_in(const simulated_slice& slice, std::uint32_t layer, std::uint32_t token) {
  return slice.layers.contains(layer) && token >= slice.tokens.begin && token < slice.tokens.end;
}

} // namespace

/// A session with the supervisor and the plane behind delays of their own.
class simulated_rank::session final : public protocol_session {
public:
  template <class Spec>
  session(simulated_rank& rank, Spec spec) : protocol_session{std::move(spec)}, rank_{rank} {}

  void send(incarnation peer, wire_message message) override {
    rank_.send(peer, std::move(message));
  }
  void report(session_report report) override {
    rank_.later([&rank = rank_, key = key(), report = std::move(report)] {
      rank.supervisor_->reported(rank.world_.clock_.now(), key, report);
      rank.rewrite_released();
    });
  }
  void pull(std::uint32_t source, std::uint32_t slice, pull_job job) override {
    rank_.plane_.pull(key(), std::move(job),
                      [&rank = rank_, key = key(), source, slice](expected<pull_stats> result) {
                        const auto found = rank.sessions_.find(key);
                        if (found != rank.sessions_.end())
                          found->second->pulled(source, slice, std::move(result));
                      });
  }
  void when(std::uint32_t slice, gpu_event_ref event) override {
    rank_.plane_.when(key(), event, [&rank = rank_, key = key(), slice](expected<> complete) {
      rank.later([&rank, key, slice, complete = std::move(complete)] {
        if (const auto found = rank.sessions_.find(key); found != rank.sessions_.end())
          found->second->filled(slice, complete);
      });
    });
  }
  expected<lease> grant(grant_spec spec) override {
    return rank_.plane_.grant(key(), std::move(spec));
  }
  void revoke(const lease& right) override { rank_.plane_.revoke(right); }

private:
  simulated_rank& rank_;
};

simulated_rank::simulated_rank(simulation& world, instance_role role, std::uint32_t number)
    : world_{world},
      number_{number},
      life_{world.clock_.pick(1, ~std::uint64_t{0} >> 1)},
      role_{role},
      plane_{world.fabric_, life_},
      supervisor_{std::make_unique<supervisor>(make_layout(role, number, life_, world.faults_),
                                               world.options_, *this,
                                               world.clock_.pick(0, 1u << 30))} {
}

simulated_rank::~simulated_rank() = default;

void simulated_rank::later(std::function<void()> action) {
  world_.clock_.after({}, [this, action = std::move(action)] {
    if (!dead_)
      action();
  });
}

std::vector<std::uint32_t> simulated_rank::draw(std::uint32_t count) {
  std::vector<std::uint32_t> blocks;
  for (std::uint32_t i = 0; i < count; ++i)
    blocks.push_back(next_block_++ % slots);
  return blocks;
}

std::vector<group_blocks> simulated_rank::draw_tables(std::uint32_t first, std::uint32_t tokens,
                                                      const std::vector<std::uint32_t>& tails) {
  std::vector<group_blocks> tables{{"full", first, draw(tokens - first)}};
  for (const auto tail : tails)
    tables[0].tails.push_back({tail, draw(tokens - std::min(tail, tokens))});
  if (world_.faults_.state) {
    tables.push_back({"state", 0, draw(1)});
    for (const auto tail : tails)
      tables[1].tails.push_back({state_tail(tail), draw(1 - state_tail(tail))});
  }
  return tables;
}

std::vector<simulated_rank::place>
simulated_rank::places_of(const std::vector<group_blocks>& tables) const {
  std::vector<place> places;
  for (const auto& table : tables) {
    const auto& layers = world_.fabric_.layers.at(table.group);
    const auto add = [&](std::uint32_t beam, std::uint32_t first,
                         const std::vector<std::uint32_t>& blocks) {
      for (const auto block : blocks) {
        for (const auto layer : layers)
          places.push_back({table.group, layer, block, beam, first});
        ++first;
      }
    };
    add(0, table.first_block_token, table.blocks);
    std::uint32_t beam = 0;
    for (const auto& tail : table.tails)
      add(++beam, tail.first_block_token, tail.blocks);
  }
  return places;
}

std::uint64_t simulated_rank::number_at(const place& at) const {
  return plane_.block(at.group, at.block, at.layer);
}

void simulated_rank::write(const place& at, std::uint64_t number) {
  plane_.write(at.group, at.block, number, at.layer);
}

/// Returns what a place of a generation rank must hold in the end.
std::uint64_t simulated_rank::arrived(request_id request, const place& at, std::uint32_t tokens,
                                      std::uint32_t cached) const {
  const auto& tails = world_.forms_[request].context_tails;
  const bool state = at.group == "state";
  if (state ? cached == tokens : at.token < cached)
    return 0;
  auto source = at.beam;
  if (at.beam > 0 && at.token < (state ? state_tail(tails[at.beam - 1]) : tails[at.beam - 1]))
    source = 0;
  return number_of(request, source, at.layer, state ? final_state : at.token);
}

void simulated_rank::offer(request_id request, std::vector<simulated_slice> slices,
                           std::chrono::milliseconds timeout, std::chrono::milliseconds gap) {
  if (dead_)
    return;
  const auto& form = world_.forms_[request];
  const auto tables = draw_tables(form.released, tokens_of(slices), form.context_tails);
  if (outcomes_.contains(request)) {
    // It was prepared, and ended before it was computed.
    if (supervisor_->offer(world_.clock_.now(), {request,
                                                 slices[0].tokens,
                                                 slices.size() == 1,
                                                 tables,
                                                 {},
                                                 timeout,
                                                 {},
                                                 slices[0].layers}))
      world_.complain(fmt::format("request {}: an offer was taken after its end", request));
    return;
  }
  expectations_[request] = places_of(tables);
  offered_[request] = slices;
  for (std::size_t i = 0; i < slices.size(); ++i)
    world_.clock_.after(gap * i, [this, request, timeout, tables, i, slice = slices[i],
                                  last = i + 1 == slices.size()] {
      if (dead_)
        return;
      send_slice part{request,      slice.tokens,       last, tables, std::nullopt, timeout, {},
                      slice.layers, slice.early_release};
      std::vector<place> filled;
      for (auto at : expectations_.at(request)) {
        const bool state = at.group == "state";
        at.number = number_of(request, at.beam, at.layer,
                              !state ? at.token
                              : last ? final_state
                                     : slice.tokens.end);
        if (state || is_in(slice, at.layer, at.token))
          filled.push_back(at);
      }
      part.after = start_work(request, static_cast<std::uint32_t>(i), filled);
      if (!part.after)
        fill(request, filled);
      if (last)
        part.aux = aux_data{{static_cast<std::int32_t>(request.value)}, {}, {}};
      // A slice that comes after the request's end is refused; that is not an error here.
      static_cast<void>(supervisor_->offer(world_.clock_.now(), std::move(part)));
    });
}

void simulated_rank::rewrite_released() {
  for (const auto& one : supervisor_->take_released()) {
    released_.push_back(one);
    const auto& slice = offered_.at(one.request).at(one.slice);
    if (!slice.early_release)
      world_.complain(
          fmt::format("request {}: slice {} was released unasked", one.request, one.slice));
    const auto is_part = [&](const place& at) {
      return at.group != "state" && is_in(slice, at.layer, at.token);
    };
    if (number_ < world_.size_.context)
      for (const auto& rank : world_.generation_)
        for (const auto& at : rank->expectations_[one.request])
          if (is_part(at) && !rank->dead_ && !rank->outcomes_.contains(one.request) &&
              rank->number_at(at) != at.number)
            world_.complain(fmt::format("request {}: slice {} was released before generation rank "
                                        "{} had read it",
                                        one.request, one.slice, rank->number_));
    for (const auto& at : expectations_.at(one.request))
      if (is_part(at))
        write(at, reused);
  }
}

void simulated_rank::prepare(request_id request, std::vector<simulated_slice> slices,
                             std::chrono::milliseconds timeout) {
  if (dead_)
    return;
  expectations_[request] = {};
  prepared_[request] = {std::move(slices), timeout};
  if (auto ok = supervisor_->prepare(world_.clock_.now(), {request, timeout}); !ok)
    world_.complain(fmt::format("prepare of {} refused: {}", request, ok.error().text));
}

void simulated_rank::compute_ready() {
  for (const auto id : supervisor_->take_ready()) {
    const auto node = prepared_.extract(id);
    if (node.empty()) {
      world_.complain(fmt::format("request {} was ready twice", id));
      continue;
    }
    if (!computing_)
      continue;
    const bool idle = number_ >= world_.size_.context;
    for (std::uint32_t rank = 0; rank < (idle ? 1 : world_.size_.generation); ++rank)
      if (!world_.asked_.contains({id, rank}))
        world_.complain(
            fmt::format("request {} was ready before generation rank {} had asked", id, rank));
    world_.clock_.after(world_.clock_.delay(std::chrono::microseconds{5'000}),
                        [this, id, work = node.mapped()] { offer(id, work.slices, work.timeout); });
  }
}

void simulated_rank::receive(request_id request, std::uint32_t tokens, std::uint32_t cached,
                             std::chrono::milliseconds timeout,
                             std::shared_ptr<const request_ticket> ticket) {
  if (dead_)
    return;
  world_.asked_.insert({request, number_});
  const auto tables = draw_tables(0, tokens, world_.forms_[request].generation_tails);
  auto& places = expectations_[request] = places_of(tables);
  for (auto& at : places)
    at.number = arrived(request, at, tokens, cached);
  receive_request call{request, {"context", 0}, tokens, cached, tables, timeout};
  call.context.ticket = std::move(ticket);
  call.after = start_work(request, 0, places);
  if (auto ok = supervisor_->receive(world_.clock_.now(), std::move(call), request.value); !ok)
    world_.complain(fmt::format("receive of {} refused: {}", request, ok.error().text));
}

void simulated_rank::ask_for_ticket(request_id request, ticket_answer done) {
  if (dead_)
    return;
  const caller_id caller = ticket_askers_.size() + 1;
  ticket_askers_.emplace(caller, std::move(done));
  supervisor_->ticket(world_.clock_.now(), request, ticket_patience, caller);
}

void simulated_rank::answer_ticket(caller_id caller, std::shared_ptr<const request_ticket> ticket) {
  later([done = std::exchange(ticket_askers_.at(caller), nullptr), ticket = std::move(ticket)] {
    done(ticket);
  });
}

gpu_event_ref simulated_rank::start_work(request_id request, std::uint32_t slice,
                                         std::vector<place> places) {
  const auto& faults = world_.faults_;
  const bool by_chance = faults.events > 0 && world_.clock_.chance(faults.events);
  if (!holding_ && !by_chance)
    return {};
  auto& work = works_[{request, slice}];
  work.places = std::move(places);
  if (!holding_)
    world_.clock_.after(
        world_.clock_.delay(faults.longest_work),
        [this, request, slice, failed = world_.clock_.chance(faults.event_failure)] {
          finish_work(request, slice, failed);
        });
  return {&work.event};
}

void simulated_rank::finish_work(request_id request, std::uint32_t slice, bool failed) {
  auto& work = works_.at({request, slice});
  if (role_ == instance_role::context && !failed)
    fill(request, work.places);
  if (role_ == instance_role::generation && !dead_ && !outcomes_.contains(request))
    for (const auto& at : work.places)
      if (number_at(at) != 0)
        world_.complain(fmt::format("request {}: block {} was written while the GPU still used it",
                                    request, at.block));
  (failed ? work.event.failed : work.event.complete) = true;
}

void simulated_rank::fill(request_id request, const std::vector<place>& places) {
  if (dead_ || outcomes_.contains(request))
    return;
  for (const auto& at : places)
    // Work on a state is in order, whenever its events are noticed.
    if (at.group != "state" || number_at(at) < at.number)
      write(at, at.number);
}

void simulated_rank::cancel(request_id request) {
  if (dead_)
    return;
  ++cancels_open_;
  supervisor_->cancel(request, 0);
}

void simulated_rank::crash(request_id request) {
  const auto found = std::find_if(sessions_.begin(), sessions_.end(), [&](const auto& each) {
    return each.second->request() == request;
  });
  if (dead_ || found == sessions_.end())
    return;
  const auto key = found->first;
  sessions_.erase(found);
  supervisor_->crashed(world_.clock_.now(), key, "simulated");
}

void simulated_rank::die() {
  dead_ = true;
  sessions_.clear();
  plane_.die();
}

void simulated_rank::sweep() {
  if (!dead_)
    supervisor_->sweep(world_.clock_.now());
}

void simulated_rank::send(incarnation peer, wire_message message) {
  if (dead_ || world_.clock_.chance(world_.faults_.loss))
    return;
  const int copies = world_.clock_.chance(world_.faults_.repeat) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    const auto now = world_.clock_.now();
    auto arrival = now + world_.clock_.delay(world_.faults_.longest_message);
    auto& last = last_arrival_[peer];
    if (world_.faults_.in_order)
      arrival = last = std::max(arrival, last);
    world_.clock_.after(arrival - now, [this, peer, message] {
      auto* to = world_.find(peer);
      if (to && !to->dead_ && !to->lost_.contains(life_))
        to->supervisor_->received(world_.clock_.now(), life_, message);
    });
  }
}

std::vector<simulated_rank*> simulated_rank::sources() const {
  std::vector<simulated_rank*> all;
  for (const auto& rank : world_.context_)
    if (rank->number_ < world_.size_.context || number_ == 0)
      all.push_back(rank.get());
  return all;
}

receive_route simulated_rank::whole_route() const {
  receive_route route;
  std::vector<std::string> groups{"full"};
  if (world_.faults_.state)
    groups.push_back("state");
  std::vector<layer_list> layers;
  for (const auto& group : groups)
    layers.push_back(
        std::make_shared<const std::vector<std::uint32_t>>(world_.fabric_.layers.at(group)));
  for (const auto* rank : sources())
    if (rank->number_ < world_.size_.context)
      route.sources.push_back({rank->life_,
                               rank->number_,
                               world_.size_.generation,
                               groups,
                               rank->number_ == 0,
                               {world_.faults_.kind, "simulated"},
                               layers});
    else
      route.idle.push_back({rank->life_, rank->number_});
  return route;
}

bool simulated_rank::ready(simulated_rank& source) {
  const auto now = world_.clock_.now();
  if (introduced_.contains(source.life_))
    return true;
  const auto [when, fresh] = ready_at_.try_emplace(source.life_);
  if (fresh)
    when->second = now + world_.clock_.delay(world_.faults_.longest_introduction);
  if (now < when->second || source.dead_)
    return false;
  introduced_.insert(source.life_);
  if (source.number_ < world_.size_.context) {
    std::vector<std::uint32_t> receivers;
    for (std::uint32_t rank = 0; rank < world_.size_.generation; ++rank)
      receivers.push_back(rank);
    source.supervisor_->met(
        life_, {"g", number_, std::make_shared<const std::vector<std::uint32_t>>(receivers)});
  }
  return true;
}

void simulated_rank::route(session_key key, const receive_request&) {
  questions_.insert(key);
  const bool failed = world_.clock_.chance(world_.faults_.route_failure);
  world_.clock_.after(world_.clock_.delay(world_.faults_.longest_message), [this, key, failed] {
    if (!failed)
      look_for_route(key);
    else if (!dead_ && questions_.erase(key) != 0)
      supervisor_->routed(world_.clock_.now(), key,
                          tl::unexpected{attempt_failure{{errc::peer_lost, "simulated"}, true}});
  });
}

void simulated_rank::look_for_route(session_key key) {
  if (dead_ || !questions_.contains(key))
    return;
  bool all_ready = true;
  bool gone = false;
  for (auto* source : sources()) {
    gone = gone || lost_.contains(source->life_);
    all_ready = ready(*source) && all_ready;
  }
  if (!gone && !all_ready)
    return world_.clock_.after(look_again, [this, key] { look_for_route(key); });
  questions_.erase(key);
  if (gone)
    supervisor_->routed(world_.clock_.now(), key,
                        tl::unexpected{attempt_failure{{errc::peer_lost, "simulated"}, false}});
  else
    supervisor_->routed(world_.clock_.now(), key, whole_route());
}

std::string simulated_rank::waits_for(session_key) {
  return "its route was not known";
}

void simulated_rank::withdraw(session_key key, const receive_request&, cancel_notice notice) {
  questions_.erase(key);
  say(std::make_shared<farewell>(farewell{std::move(notice), sources()}));
}

void simulated_rank::say(std::shared_ptr<farewell> words) {
  if (dead_)
    return;
  std::erase_if(words->untold, [&](simulated_rank* source) {
    const bool told = ready(*source);
    if (told)
      send(source->life_, words->notice);
    return told || lost_.contains(source->life_);
  });
  if (!words->untold.empty())
    world_.clock_.after(look_again, [this, words] { say(words); });
}

void simulated_rank::hear_of_death(incarnation life) {
  if (dead_)
    return;
  lost_.insert(life);
  supervisor_->link_lost(world_.clock_.now(), {life, true});
}

template <class Spec>
void simulated_rank::start(Spec spec) {
  const auto key = spec.key;
  auto made = std::make_shared<session>(*this, std::move(spec));
  sessions_.emplace(key, made);
  later([this, key] {
    if (const auto found = sessions_.find(key); found != sessions_.end())
      found->second->start(world_.clock_.now());
  });
}

void simulated_rank::spawn(receive_spec spec) {
  start(std::move(spec));
}

void simulated_rank::spawn(send_spec spec) {
  start(std::move(spec));
}

void simulated_rank::tell(session_key key, session_input input) {
  later([this, key, input = std::move(input)] {
    const auto found = sessions_.find(key);
    if (found == sessions_.end())
      return;
    const auto kept = found->second;
    if (world_.clock_.chance(world_.faults_.crash)) {
      sessions_.erase(found);
      supervisor_->crashed(world_.clock_.now(), key, "simulated");
      return;
    }
    kept->handle(input);
  });
}

void simulated_rank::dismiss(session_key key) {
  questions_.erase(key);
  later([this, key] { sessions_.erase(key); });
}

void simulated_rank::retire(session_key key) {
  later([this, key] {
    plane_.retire(key, [this, key] {
      later([this, key] { supervisor_->retired(world_.clock_.now(), key); });
    });
  });
}

void simulated_rank::answer(caller_id caller, outcome result) {
  if (caller != result.request.value)
    world_.complain(fmt::format("caller {} got the outcome of {}", caller, result.request));
  ended(std::move(result));
}

void simulated_rank::answer_safe(caller_id) {
  --cancels_open_;
}

void simulated_rank::answer_ended(caller_id, std::vector<outcome> results) {
  for (auto& result : results)
    ended(std::move(result));
}

void simulated_rank::ended(outcome result) {
  const auto id = result.request;
  const auto& want = expectations_.at(id);
  if (result.completed() && role_ == instance_role::generation) {
    for (const auto& at : want)
      if (const auto number = number_at(at); number != at.number)
        world_.complain(
            fmt::format("request {} completed on generation rank {} with {:x} instead of {:x} at "
                        "{} layer {} token {} of beam {}",
                        id, number_, number, at.number, at.group, at.layer, at.token, at.beam));
    if (!result.aux || result.aux->first_tokens != std::vector{static_cast<std::int32_t>(id.value)})
      world_.complain(fmt::format("request {} completed without its aux data", id));
  }
  if (!result.completed() && !result.failure)
    world_.complain(fmt::format("request {} failed without a reason", id));
  for (const auto& at : want)
    write(at, reused);
  if (!outcomes_.emplace(id, std::move(result)).second)
    world_.complain(fmt::format("request {} ended twice on one rank", id));
}

simulation::simulation(std::uint64_t seed, shape size, chaos faults, transceiver_options options)
    : clock_{seed},
      faults_{faults},
      options_{std::move(options)},
      fabric_{clock_, faults.lane, {}, {}},
      size_{size} {
  for (std::uint32_t layer = 0; layer < faults.layers; ++layer)
    fabric_.layers["full"].push_back(layer);
  fabric_.layers["state"] = {faults.layers};
  for (std::uint32_t i = 0; i < size.context + size.idle; ++i)
    context_.push_back(std::make_unique<simulated_rank>(*this, instance_role::context, i));
  for (std::uint32_t i = 0; i < size.generation; ++i)
    generation_.push_back(std::make_unique<simulated_rank>(*this, instance_role::generation, i));
  clock_.after(options_.sweep, [this] { sweep_all(); });
}

void simulation::sweep_all() {
  for (auto* rank : all())
    rank->sweep();
  // What ended on the context side is fetched by the engine now and then.
  for (auto& rank : context_)
    if (!rank->dead_) {
      rank->supervisor_->await_ended(clock_.now(), instance_role::context, 0, 0);
      rank->compute_ready();
    }
  clock_.after(options_.sweep, [this] { sweep_all(); });
}

void simulation::hand_over(request_id request, std::vector<simulated_slice> slices,
                           std::uint32_t cached, std::chrono::milliseconds timeout,
                           request_form form) {
  const auto tokens = tokens_of(slices);
  const auto flow = form.flow;
  forms_[request] = std::move(form);
  constexpr std::chrono::microseconds spread{3'000};
  const auto wait_for_context = flow == workflow::gen_first1 ? spread : spread * 0;
  const auto wait_for_generation = flow == workflow::gen_first2 ? 2 * spread : spread * 0;
  for (auto& rank : context_)
    clock_.after(wait_for_generation + clock_.delay(spread),
                 [&rank = *rank, request, slices, timeout, flow] {
                   if (flow == workflow::ctx_first)
                     rank.offer(request, slices, timeout);
                   else
                     rank.prepare(request, slices, timeout);
                 });
  const auto receive_all = [this, request, tokens, cached, timeout,
                            wait_for_context](std::shared_ptr<const request_ticket> ticket) {
    for (auto& rank : generation_)
      clock_.after(wait_for_context + clock_.delay(spread),
                   [&rank = *rank, request, tokens, cached, timeout, ticket] {
                     rank.receive(request, tokens, cached, timeout, ticket);
                   });
  };
  if (flow != workflow::ctx_first || faults_.tickets == 0 || !clock_.chance(faults_.tickets))
    return receive_all(nullptr);
  clock_.after(clock_.delay(spread), [this, request, receive_all] {
    collect(request, [this, receive_all](std::shared_ptr<const request_ticket> ticket) {
      clock_.after(clock_.delay(faults_.longest_way),
                   [receive_all, ticket] { receive_all(ticket); });
    });
  });
}

void simulation::collect(request_id request, simulated_rank::ticket_answer done) {
  struct collection {
    request_ticket all;
    std::size_t missing;
    simulated_rank::ticket_answer done;
    void end(std::shared_ptr<const request_ticket> ticket) {
      if (done)
        std::exchange(done, nullptr)(std::move(ticket));
    }
  };
  auto open = std::make_shared<collection>(
      collection{{request, {}, {}, {}}, context_.size(), std::move(done)});
  for (auto& rank : context_)
    rank->ask_for_ticket(request, [this, open, number = rank->number_](
                                      std::shared_ptr<const request_ticket> one) {
      if (!one)
        return open->end(nullptr);
      if (auto ok = add(open->all, *one); !ok)
        complain(fmt::format("the ticket of context rank {}: {}", number, ok.error().text));
      if (--open->missing == 0)
        open->end(std::make_shared<const request_ticket>(decode_ticket(encode(open->all)).value()));
    });
  clock_.after(2 * ticket_patience, [open] { open->end(nullptr); });
}

void simulation::kill(simulated_rank& victim) {
  if (victim.dead_)
    return;
  victim.die();
  for (auto* rank : all())
    if (rank != &victim)
      clock_.after(clock_.delay(faults_.longest_news),
                   [rank, life = victim.life_] { rank->hear_of_death(life); });
}

void simulation::break_link(simulated_rank& a, simulated_rank& b) {
  for (auto [from, to] : {std::pair{&a, &b}, std::pair{&b, &a}})
    clock_.after(clock_.delay(faults_.longest_message), [from = from, life = to->life_, this] {
      if (!from->dead_)
        from->supervisor_->link_lost(clock_.now(), {life, false});
    });
}

std::vector<std::string> simulation::settle(std::chrono::milliseconds longest) {
  const auto until = clock_.now() + longest;
  const auto busy = [&] {
    for (auto* rank : all())
      if (!rank->dead_ && (rank->supervisor_->live() != 0 || rank->supervisor_->early() != 0))
        return true;
    return false;
  };
  do
    clock_.run(clock_.now() + std::chrono::milliseconds{50});
  while (busy() && clock_.now() < until);
  clock_.run(clock_.now() + std::chrono::milliseconds{100});
  for (auto* rank : all()) {
    if (rank->dead_)
      continue;
    const auto name = fmt::format("{} rank {}", to_string(rank->role_), rank->number_);
    const auto check = [&](std::string_view what, std::size_t count) {
      if (count != 0)
        complain(fmt::format("{}: {} {} left", name, count, what));
    };
    check("live requests", rank->supervisor_->live());
    check("early requests", rank->supervisor_->early());
    check("waiting callers", rank->supervisor_->waiting_callers());
    check("sessions", rank->sessions_.size());
    check("leases", rank->plane_.granted());
    check("jobs", rank->plane_.jobs());
    check("waits for events", rank->plane_.waits());
    check("unanswered cancels", rank->cancels_open_);
    for (const auto& [id, want] : rank->expectations_) {
      if (!rank->outcomes_.contains(id))
        complain(fmt::format("{}: request {} never ended", name, id));
      for (const auto& at : want)
        if (rank->number_at(at) != reused)
          complain(fmt::format("{}: {} block {} of request {} was written after its end", name,
                               at.group, at.block, id));
    }
  }
  return complaints_;
}

std::vector<simulated_rank*> simulation::all() {
  std::vector<simulated_rank*> ranks;
  for (auto& rank : context_)
    ranks.push_back(rank.get());
  for (auto& rank : generation_)
    ranks.push_back(rank.get());
  return ranks;
}

simulated_rank* simulation::find(incarnation life) {
  for (auto* rank : all())
    if (rank->life_ == life)
      return rank;
  return nullptr;
}

} // namespace baton::test
