#include "actors/block_exchange.hpp"

#include <algorithm>
#include <utility>

#include "messages/params.hpp"
#include "transport/plan/block_tables.hpp"

namespace baton {
namespace {

/// How long after an owner was found busy it is asked again.
constexpr std::chrono::milliseconds busy_pause{20};

error shut_down(const rank_layout& layout) {
  return {errc::shutting_down,
          fmt::format("{} rank {} is shutting down", to_string(layout.role), layout.rank)};
}

error owner_lost(const rank_ticket& from) {
  return {errc::peer_lost, fmt::format("rank {}, which offered the blocks, was lost", from.rank)};
}

} // namespace

block_exchange::block_exchange(rank_layout layout, std::size_t most_pulls,
                               exchange_backend& backend)
    : layout_{std::move(layout)}, most_pulls_{most_pulls}, backend_{backend} {
}

void block_exchange::complete(own_instance_ptr own) {
  // What is read from others depends on the layouts of this rank's group.
  if (own_ && own_->digest() != own->digest())
    owners_.clear();
  own_ = std::move(own);
  for (auto& [key, pull] : pulls_)
    if (pull.at == phase::describing)
      seek(key, pull);
}

// -- offers ----

expected<standing_offer> block_exchange::offer(time_point now, const block_offer& what) {
  if (refusing_)
    return tl::unexpected{shut_down(layout_)};
  if (auto ok = check(layout_, what); !ok)
    return fail(std::move(ok).error());
  const auto id = random_id<offer_id>();
  auto ticket = std::make_shared<request_ticket>();
  ticket->request = request_id{id.value};
  ticket->tables = what.blocks;
  ticket_slice slice{{layout_.life, 0, 1}, {}};
  for (std::size_t i = 0; i < what.ranges.size(); ++i)
    slice.ranges.push_back(
        {static_cast<std::uint32_t>(i), what.ranges[i].tokens, what.ranges[i].layers});
  ticket->ranks.push_back({layout_.rank, layout_.life, id, {std::move(slice)}, {}, false});
  const auto key = backend_.new_key();
  const auto right = backend_.grant(key, {{}, what.ranges, what.blocks});
  if (!right) {
    backend_.retire(key);
    return fail(right.error());
  }
  auto& made = offers_.emplace(id, granted_offer{key, now + what.timeout}).first->second;
  offer_of_.emplace(key, id);
  due(made.expires);
  ticket->ranks.front().slices.front().right = *right;
  if (!encode_within_limit(*ticket)) {
    leave(made);
    return fail(errc::out_of_resources,
                "the offer takes more than {} bytes; offer fewer blocks at once, or blocks in runs",
                ticket_bytes);
  }
  return standing_offer{
      id, encode(disaggregated_params{endpoint_, layout_.dp_rank(), std::move(ticket)})};
}

void block_exchange::withdraw(offer_id id, std::uint64_t caller) {
  const auto found = offers_.find(id);
  if (found == offers_.end())
    return backend_.answer_safe(caller);
  found->second.callers.push_back(caller);
  leave(found->second);
}

void block_exchange::leave(granted_offer& offer) {
  if (!std::exchange(offer.leaving, true))
    backend_.retire(offer.key);
}

// -- pulls ----

expected<block_exchange::running_pull> block_exchange::read(block_pull what) const {
  if (refusing_)
    return tl::unexpected{shut_down(layout_)};
  if (auto ok = check(layout_, what); !ok)
    return fail(std::move(ok).error());
  if (pulls_.size() >= most_pulls_)
    return fail(errc::out_of_resources, "pull of blocks: {} are in flight; wait for some of them",
                pulls_.size());
  auto params = decode_params(what.offer);
  if (!params)
    return fail(params.error().code, "pull of blocks: the offer's {}", params.error().text);
  if (!params->ticket || params->ticket->ranks.size() != 1 ||
      params->ticket->ranks[0].slices.size() != 1)
    return fail(errc::invalid_argument,
                "pull of blocks: the offer is damaged, or none of one rank's blocks");
  running_pull pull;
  pull.endpoint = std::move(params->endpoint);
  pull.ticket = *params->ticket;
  if (pull.owner() == layout_.life)
    return fail(errc::invalid_argument, "pull of blocks: the offer is this rank's own");
  if (std::ranges::none_of(pull.slice().ranges, [&](const ticket_range& range) {
        return find_table(what.blocks, pull.ticket.tables[range.table].group) != nullptr;
      }))
    return fail(errc::invalid_argument, "pull of blocks: the offer has none of its groups");
  pull.what = std::move(what);
  return pull;
}

void block_exchange::pull(time_point now, block_pull what, std::uint64_t caller) {
  auto made = read(std::move(what));
  if (!made) {
    block_outcome refused;
    refused.failure = std::move(made).error();
    return backend_.answer_pull(caller, std::move(refused));
  }
  made->caller = caller;
  made->begin = now;
  made->deadline = now + made->what.timeout;
  due(made->deadline);
  const auto key = backend_.new_key();
  seek(key, pulls_.emplace(key, *std::move(made)).first->second);
}

void block_exchange::seek(session_key key, running_pull& pull) {
  if (!own_)
    return;
  if (owners_.contains(pull.owner()))
    return connect(key, pull);
  if (asked_.insert(pull.endpoint).second)
    backend_.describe_owner(pull.endpoint, described_.contains(pull.endpoint));
}

void block_exchange::described(const std::string& endpoint,
                               const expected<instance_info>& instance) {
  asked_.erase(endpoint);
  if (instance)
    described_.insert(endpoint);
  for (auto& [key, pull] : pulls_) {
    if (pull.at != phase::describing || pull.endpoint != endpoint)
      continue;
    if (!instance)
      end(key, pull, instance.error());
    else if (auto known = meet(pull, *instance); !known)
      end(key, pull, std::move(known).error());
    else
      connect(key, pull);
  }
}

expected<> block_exchange::meet(const running_pull& pull, const instance_info& instance) {
  if (owners_.contains(pull.owner()))
    return {};
  auto owner = find_owner(*own_, instance, pull.from().rank, pull.owner());
  if (!owner)
    return fail(std::move(owner).error());
  owners_.emplace(pull.owner(), *std::move(owner));
  return {};
}

void block_exchange::connect(session_key key, running_pull& pull) {
  pull.at = phase::connecting;
  if (const auto lane = backend_.link_to(owners_.at(pull.owner()).contact)) {
    pull.lane = *lane;
    begin(key, pull);
  }
}

void block_exchange::handle(const link_event& event) {
  const auto* up = std::get_if<link_up>(&event);
  const auto* loss = std::get_if<link_loss>(&event);
  // One that broke may come back; what was granted is read on meanwhile.
  if (loss && !loss->gone)
    return;
  const auto peer = std::visit([](const auto& each) { return each.peer; }, event);
  if (!up)
    owners_.erase(peer);
  const auto* refused = std::get_if<link_refused>(&event);
  for (auto& [key, pull] : pulls_) {
    if (pull.at == phase::describing || pull.owner() != peer)
      continue;
    // Mapped memory outlives its owner, and the lease decides.
    const bool reads_on = pull.at == phase::pulling && pull.lane == lane_kind::mapped;
    if (!up && !reads_on)
      end(key, pull, refused ? refused->reason : owner_lost(pull.from()));
    if (!up || pull.at != phase::connecting)
      continue;
    pull.lane = up->lane.lane;
    begin(key, pull);
  }
}

void block_exchange::begin(session_key key, running_pull& pull) {
  pull_job job;
  job.source = pull.owner();
  job.right = pull.slice().right;
  pull.result.whole = true;
  for (const auto& range : pull.slice().ranges) {
    const auto& table = pull.ticket.tables[range.table];
    if (!find_table(pull.what.blocks, table.group))
      continue;
    job.ranges.push_back({table.group, range.tokens, {}, range.layers});
    job.source_blocks.push_back(table);
    pull.result.whole = pull.result.whole && gives_all(pull, range);
  }
  job.destination_blocks = pull.what.blocks;
  job.after = pull.what.after;
  pull.at = phase::pulling;
  backend_.pull(key, std::move(job));
}

bool block_exchange::gives_all(const running_pull& pull, const ticket_range& range) const {
  const auto& name = pull.ticket.tables[range.table].group;
  const auto owner = owners_.find(pull.owner());
  const auto& buffers = layout_.groups[*layout_.find_group(name)].buffers;
  return owner != owners_.end() && std::ranges::count(owner->second.whole, name) != 0 &&
         std::ranges::all_of(buffers, [&](const buffer_layout& buffer) {
           return range.layers.contains(buffer.layer);
         });
}

void block_exchange::pulled(time_point now, session_key key, expected<pull_stats> result) {
  const auto found = pulls_.find(key);
  if (found == pulls_.end() || found->second.at != phase::pulling)
    return;
  auto& pull = found->second;
  if (!result && result.error().code == errc::out_of_resources) {
    pull.at = phase::busy;
    pull.resume_at = now + busy_pause;
    return due(pull.resume_at);
  }
  if (!result)
    return end(key, pull, std::move(result).error());
  pull.result.bytes = result->bytes;
  pull.result.fragments = result->fragments;
  pull.result.lane = std::move(result->lane);
  end(key, pull, std::nullopt);
}

void block_exchange::end(session_key key, running_pull& pull, std::optional<error> failure) {
  if (pull.at == phase::retiring)
    return;
  pull.at = phase::retiring;
  pull.result.whole = pull.result.whole && !failure;
  pull.result.failure = std::move(failure);
  backend_.retire(key);
}

// -- both ----

void block_exchange::retired(time_point now, session_key key) {
  if (const auto id = offer_of_.extract(key)) {
    const auto offer = offers_.extract(id.mapped());
    for (const auto caller : offer.mapped().callers)
      backend_.answer_safe(caller);
    return;
  }
  auto node = pulls_.extract(key);
  if (node.empty())
    return;
  auto& pull = node.mapped();
  pull.result.total = std::chrono::duration_cast<std::chrono::microseconds>(now - pull.begin);
  backend_.answer_pull(pull.caller, std::move(pull.result));
}

void block_exchange::sweep(time_point now) {
  if (now < next_due_)
    return;
  next_due_ = time_point::max();
  for (auto& [id, offer] : offers_)
    if (now >= offer.expires)
      leave(offer);
    else
      due(offer.expires);
  for (auto& [key, pull] : pulls_) {
    if (pull.at == phase::retiring)
      continue;
    if (now >= pull.deadline) {
      if (pull.at == phase::describing)
        asked_.erase(pull.endpoint);
      end(key, pull, too_late(pull));
      continue;
    }
    if (pull.at == phase::busy && now >= pull.resume_at)
      begin(key, pull);
    due(pull.at == phase::busy ? std::min(pull.resume_at, pull.deadline) : pull.deadline);
  }
}

error block_exchange::too_late(const running_pull& pull) const {
  const auto rank = pull.from().rank;
  std::string why;
  switch (pull.at) {
  case phase::describing:
    why = own_ ? fmt::format("the directory at {} had not described the owner's instance",
                             pull.endpoint)
               : "this rank's own instance was not complete; see that all its ranks run";
    break;
  case phase::connecting:
    why = fmt::format("the introduction to rank {} of the instance at {} had not ended", rank,
                      pull.endpoint);
    break;
  case phase::busy:
    why = fmt::format("rank {} of the instance at {} was busy with other pulls of the offer", rank,
                      pull.endpoint);
    break;
  default:
    why = fmt::format("not all blocks of rank {} of the instance at {} were read", rank,
                      pull.endpoint);
  }
  return {errc::timed_out,
          fmt::format("pull of blocks: after {} ms {}", pull.what.timeout.count(), why)};
}

bool block_exchange::waits_for(incarnation peer) const noexcept {
  return std::ranges::any_of(pulls_, [&](const auto& item) {
    return item.second.at == phase::connecting && item.second.owner() == peer;
  });
}

std::vector<session_key> block_exchange::keys() const {
  std::vector<session_key> keys;
  for (const auto& [id, offer] : offers_)
    keys.push_back(offer.key);
  for (const auto& [key, pull] : pulls_)
    keys.push_back(key);
  return keys;
}

void block_exchange::end_all() {
  for (auto& [id, offer] : offers_)
    leave(offer);
  for (auto& [key, pull] : pulls_)
    end(key, pull, shut_down(layout_));
}

} // namespace baton
