#include "actors/router.hpp"

namespace baton {
namespace {

// Requests that ended before their sources could be told; more than that are forgotten.
constexpr std::size_t most_farewells = 4'096;

} // namespace

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
  failed_.erase(key);
}

std::string router::waits_for(session_key key) {
  const auto question = pending_.find(key);
  if (question == pending_.end())
    return "its route was not known";
  const auto& context = question->second;
  if (!own_)
    return "this rank's own instance was not complete; see that all its ranks run and enlist with "
           "its directory";
  const auto route = plan(context);
  if (!route || !*route)
    return fmt::format("the directory of the context instance at {} had not described it; see that "
                       "all its ranks run",
                       context.endpoint);
  std::string missing;
  for (const auto* rank : connect(context, **route))
    missing += fmt::format("{}{} at {}:{}", missing.empty() ? "" : ", ", rank->layout.rank,
                           rank->host, rank->port);
  return fmt::format("the introduction to context rank(s) {} had not ended", missing);
}

void router::described(const std::string& endpoint, expected<instance_info> instance) {
  const auto entry = instances_.find(endpoint);
  if (entry == instances_.end())
    return;
  if (!instance) {
    instances_.erase(entry);
    // Nobody is known that could be told.
    for (const auto& [key, context] : pending_)
      if (context.endpoint == endpoint)
        failed_.insert_or_assign(key, std::vector<incarnation>{});
    std::erase_if(farewells_, [&](const farewell& words) {
      return !words.untold && words.context.endpoint == endpoint;
    });
    fail_all(endpoint, {instance.error(), false});
    return;
  }
  described_.insert(endpoint);
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
  attempt_failure failure;
  if (const auto* refused = std::get_if<link_refused>(&event)) {
    peer = refused->peer;
    failure = {{refused->reason.code, fmt::format("gave no link: {}", refused->reason.text)},
               retryable(refused->reason.code) || refused->reason.code == errc::timed_out};
  } else {
    const auto& loss = std::get<link_loss>(event);
    peer = loss.peer;
    failure = {{errc::peer_lost, loss.gone ? "was lost; send the request to another instance"
                                           : "has a broken link; it may come back"},
               !loss.gone};
  }
  links_.erase(peer);
  for (auto& words : farewells_)
    if (words.untold)
      std::erase(*words.untold, peer);
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
    told.reason.text = fmt::format("context rank {} at {}:{} {}", lost->layout.rank, lost->host,
                                   lost->port, failure.reason.text);
    const auto endpoint = it->first;
    for (const auto& [key, context] : pending_)
      if (context.endpoint == endpoint)
        if (auto sources = sources_of(context))
          failed_.insert_or_assign(key, std::move(*sources));
    it = instances_.erase(it);
    fail_all(endpoint, told);
  }
  drop_told();
}

void router::withdraw(session_key key, const disaggregated_params& context, cancel_notice notice) {
  pending_.erase(key);
  farewell words{context, std::move(notice), std::nullopt};
  if (auto failed = failed_.extract(key))
    words.untold = std::move(failed.mapped());
  say(words);
  if (words.untold && words.untold->empty())
    return;
  farewells_.push_back(std::move(words));
  if (farewells_.size() > most_farewells)
    farewells_.pop_front();
}

void router::say(farewell& words) {
  if (!words.untold) {
    const auto route = plan(words.context);
    if (route && *route)
      static_cast<void>(connect(words.context, **route));
    words.untold = sources_of(words.context);
  }
  if (words.untold)
    std::erase_if(*words.untold, [&](incarnation source) {
      const auto link = links_.find(source);
      if (link != links_.end() && link->second.up)
        backend_.tell_withdrawn(source, words.notice);
      // A source without an entry was lost.
      return link == links_.end() || link->second.up;
    });
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
  for (auto& words : farewells_)
    say(words);
  drop_told();
}

void router::drop_told() {
  std::erase_if(farewells_,
                [](const farewell& words) { return words.untold && words.untold->empty(); });
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
  auto route = plan(context);
  if (!route || !*route)
    return route;
  if (!connect(context, **route).empty())
    return std::nullopt;
  for (auto& source : (*route)->sources)
    source.lane = links_.at(source.peer).lane;
  return route;
}

std::optional<router::answer> router::plan(const disaggregated_params& context) {
  const auto [found, fresh] = instances_.try_emplace(context.endpoint);
  if (fresh)
    backend_.describe(context.endpoint, described_.contains(context.endpoint));
  auto& instance = found->second;
  if (!own_ || !instance.info)
    return std::nullopt;
  const auto known = pairs(instance, context.dp_rank);
  if (!known)
    return tl::unexpected{attempt_failure{known.error(), false}};
  const auto& table = (*known)->table;
  const auto life_of = [&](std::uint32_t rank) { return instance.info->ranks[rank].layout.life; };
  receive_route route;
  route.layout_digest = own_digest_;
  for (const auto& [source, parts] : (*known)->parts) {
    source_route entry;
    entry.peer = life_of(source);
    entry.rank = source;
    entry.receivers = static_cast<std::uint32_t>(table.receivers_of(source).size());
    entry.groups = parts.groups;
    entry.layers = parts.layers;
    entry.carries_aux = route.sources.empty();
    route.sources.push_back(std::move(entry));
  }
  for (const auto& idle : table.idle)
    if (idle.teller == rank_)
      route.idle.push_back({life_of(idle.source), idle.source});
  return route;
}

std::vector<const rank_info*> router::connect(const disaggregated_params& context,
                                              const receive_route& route) {
  const auto& ranks = instances_.at(context.endpoint).info->ranks;
  std::vector<const rank_info*> missing;
  const auto look = [&](std::uint32_t rank) {
    if (!ready(ranks[rank]))
      missing.push_back(&ranks[rank]);
  };
  for (const auto& source : route.sources)
    look(source.rank);
  for (const auto& idle : route.idle)
    look(idle.rank);
  return missing;
}

std::optional<std::vector<incarnation>> router::sources_of(const disaggregated_params& context) {
  const auto route = plan(context);
  if (!route)
    return std::nullopt;
  std::vector<incarnation> sources;
  if (*route) {
    for (const auto& source : (*route)->sources)
      sources.push_back(source.peer);
    for (const auto& idle : (*route)->idle)
      sources.push_back(idle.peer);
  }
  return sources;
}

expected<const router::dp_pairs*> router::pairs(instance_entry& instance, std::uint32_t dp_rank) {
  if (const auto known = instance.pairs.find(dp_rank); known != instance.pairs.end())
    return &known->second;
  if (auto ok = compatible_instances(instance.layouts, own_layouts_); !ok)
    return fail(ok.error());
  auto table = make_pairs(instance.layouts, dp_rank, own_layouts_, own_layouts_[rank_].dp_rank());
  if (!table)
    return fail(table.error());
  dp_pairs known;
  for (const auto source : table->sources_of(rank_))
    known.parts.emplace(source, parts_of(*table->find(source, rank_)));
  known.table = std::move(*table);
  return &instance.pairs.emplace(dp_rank, std::move(known)).first->second;
}

router::source_parts router::parts_of(const rank_pair& pair) const {
  const auto& groups = own_layouts_[rank_].groups;
  source_parts result;
  for (auto first = pair.parts.begin(); first != pair.parts.end();) {
    const auto& group = groups[first->destination_group];
    std::vector<std::uint32_t> layers;
    for (const auto index = first->destination_group;
         first != pair.parts.end() && first->destination_group == index; ++first)
      if (const auto layer = group.buffers[first->destination_buffer].layer;
          layers.empty() || layers.back() != layer)
        layers.push_back(layer);
    result.groups.push_back(group.name);
    result.layers.push_back(std::make_shared<const std::vector<std::uint32_t>>(std::move(layers)));
  }
  return result;
}

bool router::ready(const rank_info& peer) {
  const auto [found, fresh] = links_.try_emplace(peer.layout.life);
  if (fresh)
    backend_.connect(peer);
  return found->second.up;
}

} // namespace baton
