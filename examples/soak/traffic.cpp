#include "examples/soak/traffic.hpp"

#include <algorithm>
#include <utility>

namespace baton::soak {

namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr milliseconds least_timeout{1'500};
/// So long after something was done to an instance its requests may fail for it: a lost peer is
/// waited for, the restarted one introduced.
constexpr milliseconds aftermath{3'000};
/// A request that has not ended so long after its time counts as hung.
constexpr milliseconds hung_after{15'000};
constexpr std::uint64_t notes_of_unprovoked = 5;

std::int64_t in_microseconds(soak_clock::time_point when) {
  return std::chrono::duration_cast<std::chrono::microseconds>(when.time_since_epoch()).count();
}

std::uint32_t draw_tokens(chance& draw) {
  if (draw.one_in(10))
    return draw.between(200, instance_limits::tokens_of_one);
  return draw.between(1, draw.one_in(3) ? 20 : 200);
}

std::vector<std::uint32_t> draw_chunks(chance& draw, std::uint32_t tokens) {
  std::vector<std::uint32_t> chunks;
  for (auto left = draw.one_in(2) ? 0 : draw.between(1, 4); left > 0 && tokens > 1; --left) {
    chunks.push_back(draw.between(1, tokens - 1));
    tokens -= chunks.back();
  }
  chunks.push_back(tokens);
  return chunks;
}

/// What the generation side has already: nothing, whole blocks, or all.
std::uint32_t draw_cached(chance& draw, std::uint32_t tokens, std::uint32_t tokens_per_block) {
  if (draw.one_in(30))
    return tokens;
  return draw.one_in(4) ? draw.below(tokens / tokens_per_block + 1) * tokens_per_block : 0;
}

std::string error_of(const json& ended) {
  return ended.at("error").is_null() ? "" : ended.at("error").get<std::string>();
}

} // namespace

traffic::traffic(const settings& how, figures& found, chance& draw, fleet& ranks)
    : how_{how}, found_{found}, draw_{draw}, ranks_{ranks} {
}

void traffic::begin_more() {
  while (flights_.size() < how_.concurrency && begin()) {
  }
}

instance_run* traffic::choose(instance_role role, const instance_run* partner,
                              std::uint32_t tokens) {
  // Now and then also one of which a rank is away or stopped.
  const bool any = draw_.one_in(6);
  std::vector<instance_run*> choice;
  for (auto& one : ranks_.instances())
    if (one.plan.role == role && one.known() && (any || one.whole()) &&
        one.requests < instance_limits::requests &&
        one.tokens + tokens <= instance_limits::tokens &&
        (partner == nullptr || lanes_fit(one.plan, partner->plan)))
      choice.push_back(&one);
  return choice.empty() ? nullptr : draw_.of(choice);
}

bool traffic::begin() {
  flight made;
  made.tokens = draw_tokens(draw_);
  made.timeout = draw_.between(least_timeout, longest_timeout);
  made.context = choose(instance_role::context, nullptr, made.tokens);
  if (made.context == nullptr)
    return false;
  made.generation = choose(instance_role::generation, made.context, made.tokens);
  if (made.generation == nullptr)
    return false;
  for (auto* side : {made.context, made.generation}) {
    ++side->requests;
    side->tokens += made.tokens;
    made.provoked =
        made.provoked || !side->whole() || soak_clock::now() - side->disturbed < aftermath;
  }
  const auto id = ++last_id_;
  add_parts(made, id);
  flights_.emplace(id, std::move(made));
  ++found_.requests;
  return true;
}

void traffic::add_parts(flight& made, std::uint64_t id) {
  // Either side may hear of a request first.
  const auto late =
      draw_.one_in(3) ? draw_.between(milliseconds{1}, milliseconds{30}) : milliseconds{0};
  const bool context_late = draw_.one_in(2);
  json offer{{"do", "offer"},
             {"request", id},
             {"tokens", made.tokens},
             {"timeout_ms", made.timeout.count()},
             {"chunks", draw_chunks(draw_, made.tokens)},
             {"gap_ms", draw_.below(25)}};
  json receive{
      {"do", "receive"},
      {"request", id},
      {"tokens", made.tokens},
      {"timeout_ms", made.timeout.count()},
      {"cached", draw_cached(draw_, made.tokens, made.generation->plan.side.tokens_per_block)},
      {"params", made.context->ranks.front().params},
      {"blocking", draw_.one_in(4)}};
  for (auto* side : {made.context, made.generation})
    for (auto& rank : side->ranks) {
      const bool context = side == made.context;
      part piece;
      piece.rank = &rank;
      piece.birth = rank.birth;
      piece.command = context ? offer : receive;
      piece.due = soak_clock::now() + (context == context_late ? late : milliseconds{0});
      made.parts.push_back(std::move(piece));
    }
}

void traffic::tell(flight& one, part& piece) {
  auto& rank = *piece.rank;
  if (rank.birth != piece.birth ||
      (rank.life != rank_life::up && rank.life != rank_life::stopped)) {
    piece.gone = true;
    one.provoked = true;
    return;
  }
  ranks_.post(rank, piece.command);
  piece.told = true;
}

void traffic::advance() {
  const auto now = soak_clock::now();
  for (auto next = flights_.begin(); next != flights_.end();) {
    auto& [id, one] = *next;
    for (auto& piece : one.parts)
      if (!piece.told && !piece.gone && piece.due <= now)
        tell(one, piece);
    look_for_hung(id, one);
    if (std::ranges::none_of(one.parts, &part::open)) {
      count_end(id, one);
      next = flights_.erase(next);
    } else {
      ++next;
    }
  }
  for (auto next = cancels_.begin(); next != cancels_.end();) {
    const auto& [whom, since] = *next;
    if (whom.first->life == rank_life::stopped || now - since < hung_after) {
      ++next;
      continue;
    }
    ++found_.hung;
    found_.problem("{} did not answer the cancel of request {}", whom.first->name(), whom.second);
    next = cancels_.erase(next);
  }
}

void traffic::look_for_hung(std::uint64_t id, flight& one) {
  for (auto& piece : one.parts) {
    if (!piece.told || !piece.open() || piece.rank->life == rank_life::stopped)
      continue;
    const auto from = std::max(piece.due, piece.rank->resumed);
    if (soak_clock::now() - from < one.timeout + hung_after)
      continue;
    ++found_.hung;
    found_.problem("request {} has not ended on {}", id, piece.rank->name());
    piece.gone = true;
  }
}

void traffic::take(rank_run& rank, const json& event) {
  const auto id = event.at("request").get<std::uint64_t>();
  if (event.at("event") == "cancelled") {
    cancels_.erase({&rank, id});
    if (!event.at("safe").get<bool>() && rank.life != rank_life::leaving)
      found_.problem("{} could not confirm in time that the cancelled request {} is safe",
                     rank.name(), id);
    return;
  }
  const auto found = flights_.find(id);
  if (found == flights_.end())
    return; // it counts as hung already
  for (auto& piece : found->second.parts)
    if (piece.rank == &rank && piece.birth == rank.birth && piece.open())
      take_end(id, found->second, piece, event);
}

void traffic::take_end(std::uint64_t id, flight& one, part& piece, const json& event) {
  piece.ended = event;
  const auto wrong = event.at("wrong").get<std::uint64_t>();
  const auto touched = event.at("touched").get<std::uint64_t>();
  found_.wrong_bytes += wrong;
  found_.stray_bytes += touched;
  if (wrong + touched > 0)
    found_.problem("request {}: {} has {} wrong bytes, and {} in cached blocks", id,
                   piece.rank->name(), wrong, touched);
  if (error_of(event).empty() && piece.rank->home == one.generation)
    found_.bytes += event.at("bytes").get<std::uint64_t>();
  for (const auto& lane : event.at("lanes"))
    ++found_.lanes[lane.get<std::string>()];
  const auto begin = event.at("begin_us").get<std::int64_t>();
  const auto told = event.at("told_us").get<std::int64_t>();
  // A stopped process cannot be in time, and may have been stopped before the call was made.
  const auto resumed = in_microseconds(piece.rank->resumed);
  const auto called = resumed > begin ? told - event.at("total_us").get<std::int64_t>() : begin;
  const auto from = std::max(called + one.timeout.count() * 1000, resumed);
  const auto late = told - from - how_.margin.count() * 1000;
  if (late > 0) {
    ++found_.late;
    found_.problem("request {} ended on {} {} ms after its deadline of {} ms: {}", id,
                   piece.rank->name(), (told - from) / 1000, one.timeout.count(), error_of(event));
  }
  for (const auto fault : piece.faults)
    if (const auto at = in_microseconds(faults_[fault].at); begin <= at)
      found_.reclaim[faults_[fault].kind].push_back(
          std::max<std::int64_t>(event.at("free_us").get<std::int64_t>() - at, 0));
}

void traffic::count_end(std::uint64_t id, const flight& one) {
  for (auto* side : {one.context, one.generation}) {
    --side->requests;
    side->tokens -= one.tokens;
  }
  std::string failure;
  std::string text;
  for (const auto& piece : one.parts)
    if (piece.rank->home == one.generation && failure.empty()) {
      failure = piece.ended ? error_of(*piece.ended) : "rank lost";
      text = piece.ended ? piece.ended->at("text").get<std::string>() : "";
    }
  if (failure.empty()) {
    ++found_.completed;
    return;
  }
  ++found_.failed[failure];
  if (!one.provoked && ++found_.unprovoked <= notes_of_unprovoked)
    found_.notes.push_back(fmt::format("request {} of {} for {} failed without a fault: {}: {}", id,
                                       one.context->plan.name, one.generation->plan.name, failure,
                                       text));
}

void traffic::forget(const rank_run& rank) {
  for (auto& [id, one] : flights_)
    for (auto& piece : one.parts)
      if (piece.rank == &rank && piece.open()) {
        piece.gone = true;
        one.provoked = true;
      }
  std::erase_if(cancels_, [&](const auto& entry) { return entry.first.first == &rank; });
}

void traffic::note(fault_kind kind, const instance_run& home, const rank_run* victim,
                   bool lives_on) {
  ++found_.faults[kind];
  faults_.push_back({kind, soak_clock::now()});
  for (auto& [id, one] : flights_) {
    if (one.context != &home && one.generation != &home)
      continue;
    one.provoked = true;
    for (auto& piece : one.parts) {
      const bool hit = victim == nullptr ? piece.rank->home == &home : piece.rank == victim;
      if (hit && !lives_on)
        piece.faults.clear(); // it cannot free anything now
      else if (piece.told && piece.open() && piece.rank->life != rank_life::stopped)
        piece.faults.push_back(faults_.size() - 1);
    }
  }
}

bool traffic::cancel(instance_role side) {
  std::vector<std::pair<std::uint64_t, part*>> choice;
  for (auto& [id, one] : flights_)
    for (auto& piece : one.parts)
      if (piece.told && piece.open() && piece.rank->life == rank_life::up &&
          piece.rank->home->plan.role == side && !cancels_.contains({piece.rank, id}))
        choice.emplace_back(id, &piece);
  if (choice.empty())
    return false;
  const auto [id, piece] = draw_.of(choice);
  const auto kind =
      side == instance_role::context ? fault_kind::cancel_context : fault_kind::cancel_generation;
  ++found_.faults[kind];
  faults_.push_back({kind, soak_clock::now()});
  auto& one = flights_.at(id);
  one.provoked = true;
  for (auto& other : one.parts)
    if (other.told && other.open() && other.rank->life != rank_life::stopped)
      other.faults.push_back(faults_.size() - 1);
  cancels_.emplace(std::pair{piece->rank, id}, soak_clock::now());
  ranks_.post(*piece->rank, {{"do", "cancel"}, {"request", id}});
  return true;
}

} // namespace baton::soak
