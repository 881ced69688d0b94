#include "actors/router.hpp"

namespace baton {

router::router(std::uint32_t rank, router_backend& backend) : rank_{rank}, backend_{backend} {
}

void router::own_instance(instance_info instance) {
  own_ = std::move(instance);
  own_layouts_ = own_->layouts();
  own_digest_ = digest(own_layouts_);
  advance();
}

void router::ask(session_key key, const disaggregated_params& context) {
  if (auto answer = resolve(context))
    backend_.routed(key, std::move(*answer));
  else
    pending_.emplace(key, context);
}

void router::forget(session_key key) {
  pending_.erase(key);
}

void router::described(const std::string& endpoint, expected<instance_info> instance) {
  const auto entry = instances_.find(endpoint);
  if (entry == instances_.end())
    return;
  if (!instance) {
    instances_.erase(entry);
    fail_all(endpoint, {instance.error(), false});
    return;
  }
  entry->second.layouts = instance->layouts();
  entry->second.info = std::move(*instance);
  advance();
}

void router::handle(const link_event& event) {
  if (const auto* up = std::get_if<link_up>(&event)) {
    links_.insert_or_assign(up->peer, link_entry{true, up->lane});
    advance();
    return;
  }
  incarnation peer;
  attempt_failure failure{{errc::peer_lost, "its link broke; it may come back"}, true};
  if (const auto* refused = std::get_if<link_refused>(&event)) {
    peer = refused->peer;
    failure = {refused->reason,
               retryable(refused->reason.code) || refused->reason.code == errc::timed_out};
  } else {
    peer = std::get<link_loss>(event).peer;
  }
  links_.erase(peer);
  // The rank may have been replaced: its instance is asked for anew, and nobody waits for the old
  // one.
  for (auto it = instances_.begin(); it != instances_.end();) {
    const rank_info* lost = nullptr;
    if (it->second.info)
      for (const auto& rank : it->second.info->ranks)
        if (rank.layout.life == peer)
          lost = &rank;
    if (!lost) {
      ++it;
      continue;
    }
    auto told = failure;
    told.reason.text = fmt::format("context rank {} at {}:{}: {}", lost->layout.rank, lost->host,
                                   lost->port, failure.reason.text);
    const auto endpoint = it->first;
    it = instances_.erase(it);
    fail_all(endpoint, told);
  }
}

void router::advance() {
  std::vector<std::pair<session_key, answer>> answers;
  for (const auto& [key, context] : pending_)
    if (auto answer = resolve(context))
      answers.emplace_back(key, std::move(*answer));
  for (auto& [key, answer] : answers) {
    pending_.erase(key);
    backend_.routed(key, std::move(answer));
  }
}

void router::fail_all(const std::string& endpoint, const attempt_failure& failure) {
  std::vector<session_key> failed;
  for (const auto& [key, context] : pending_)
    if (context.endpoint == endpoint)
      failed.push_back(key);
  for (const auto key : failed) {
    pending_.erase(key);
    backend_.routed(key, tl::unexpected{failure});
  }
}

std::optional<router::answer> router::resolve(const disaggregated_params& context) {
  const auto [found, fresh] = instances_.try_emplace(context.endpoint);
  if (fresh)
    backend_.describe(context.endpoint);
  auto& instance = found->second;
  if (!own_ || !instance.info)
    return std::nullopt;
  const auto table = pairs(instance, context.dp_rank);
  if (!table)
    return tl::unexpected{attempt_failure{table.error(), false}};
  receive_route route;
  route.layout_digest = own_digest_;
  bool all_ready = true;
  for (const auto source : (*table)->sources_of(rank_)) {
    const auto& peer = instance.info->ranks[source];
    if (!ready(peer)) {
      all_ready = false;
      continue;
    }
    source_route entry;
    entry.peer = peer.layout.life;
    entry.rank = source;
    entry.receivers = static_cast<std::uint32_t>((*table)->receivers_of(source).size());
    const auto* pair = (*table)->find(source, rank_);
    for (const auto& part : pair->parts)
      if (const auto& name = own_layouts_[rank_].groups[part.destination_group].name;
          entry.groups.empty() || entry.groups.back() != name)
        entry.groups.push_back(name);
    entry.carries_aux = route.sources.empty();
    entry.lane = links_.at(entry.peer).lane;
    route.sources.push_back(std::move(entry));
  }
  for (const auto& idle : (*table)->idle)
    if (idle.teller == rank_) {
      const auto& peer = instance.info->ranks[idle.source];
      if (ready(peer))
        route.idle.push_back({peer.layout.life, idle.source});
      else
        all_ready = false;
    }
  if (!all_ready)
    return std::nullopt;
  return route;
}

expected<const pair_table*> router::pairs(instance_entry& instance, std::uint32_t dp_rank) {
  if (const auto known = instance.pairs.find(dp_rank); known != instance.pairs.end())
    return &known->second;
  if (auto ok = compatible_instances(instance.layouts, own_layouts_); !ok)
    return fail(ok.error());
  auto table = make_pairs(instance.layouts, dp_rank, own_layouts_, own_layouts_[rank_].dp_rank());
  if (!table)
    return fail(table.error());
  return &instance.pairs.emplace(dp_rank, std::move(*table)).first->second;
}

bool router::ready(const rank_info& peer) {
  const auto [found, fresh] = links_.try_emplace(peer.layout.life);
  if (fresh)
    backend_.connect(peer);
  return found->second.up;
}

} // namespace baton
