#include "actors/router.hpp"

#include <algorithm>

namespace baton {
namespace {

// Requests that ended before their sources could be told; more than that are forgotten.
constexpr std::size_t most_farewells = 4'096;

/// Adds the groups that are read from a source, and of each the layers.
void add_parts(source_route& to, const rank_pair& pair, const rank_layout& own) {
  for (auto part = pair.parts.begin(); part != pair.parts.end();) {
    const auto index = part->destination_group;
    std::vector<std::uint32_t> layers;
    for (; part != pair.parts.end() && part->destination_group == index; ++part)
      if (const auto layer = own.groups[index].buffers[part->destination_buffer].layer;
          layers.empty() || layers.back() != layer)
        layers.push_back(layer);
    to.groups.push_back(own.groups[index].name);
    to.layers.push_back(std::make_shared<const std::vector<std::uint32_t>>(std::move(layers)));
  }
}

} // namespace

router::router(router_backend& backend) : backend_{backend} {
}

void router::complete(own_instance_ptr own) {
  const bool changed = own_ && own_->digest() != own->digest();
  own_ = std::move(own);
  if (changed)
    for (auto& [endpoint, instance] : instances_)
      instance = {std::move(instance.encoded), instance.dp_size, false, {}};
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
  const auto* route = plan(context);
  if (!route || !*route)
    return fmt::format("the directory of the context instance at {} had not described it; see that "
                       "all its ranks run",
                       context.endpoint);
  std::string missing;
  for (const auto* rank : connect(**route))
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
  entry->second = {encode(*instance), instance->ranks.front().layout.dp_size(), false, {}};
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
    for (const auto& [dp, route] : it->second.routes)
      if (route)
        for (const auto& contact : route->contacts)
          if (contact.rank.layout.life == peer)
            lost = &contact.rank;
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
    const auto* route = plan(words.context);
    if (route && *route)
      static_cast<void>(connect(**route));
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
  const auto* known = plan(context);
  if (!known)
    return std::nullopt;
  if (!*known)
    return tl::unexpected{attempt_failure{known->error(), false}};
  if (!connect(**known).empty())
    return std::nullopt;
  auto route = (*known)->route;
  for (auto& source : route.sources)
    source.lane = links_.at(source.peer).lane;
  return route;
}

const expected<router::route_entry>* router::plan(const disaggregated_params& context) {
  const auto [found, fresh] = instances_.try_emplace(context.endpoint);
  if (fresh)
    backend_.describe(context.endpoint, described_.contains(context.endpoint));
  auto& instance = found->second;
  if (!own_ || instance.encoded.empty())
    return nullptr;
  const auto known = instance.routes.find(context.dp_rank);
  if (known != instance.routes.end())
    return &known->second;
  auto made = make_route(instance, context.dp_rank);
  // Numbers out of range may be any, and are not remembered for long.
  if (!made)
    std::erase_if(instance.routes, [](const auto& entry) { return !entry.second; });
  return &instance.routes.emplace(context.dp_rank, std::move(made)).first->second;
}

expected<router::route_entry> router::make_route(instance_entry& instance,
                                                 std::uint32_t dp_rank) const {
  if (!instance.compatible) {
    const auto theirs = layouts_of(read_ranks(instance.encoded));
    if (const auto& other = theirs.front(); other.role == own_->layout().role)
      return fail(errc::invalid_argument,
                  "both '{}' and '{}' are {} instances; requests go from a context instance to a "
                  "generation instance",
                  own_->layout().instance, other.instance, to_string(other.role));
    if (auto ok = compatible_instances(theirs, own_->layouts()); !ok)
      return fail(ok.error());
  }
  instance.compatible = true;
  if (dp_rank >= instance.dp_size)
    return fail(errc::invalid_argument,
                "context dp rank {} is out of range: the instance has {} group{}", dp_rank,
                instance.dp_size, instance.dp_size == 1 ? "" : "s");
  const auto group = read_ranks(instance.encoded, dp_rank);
  const auto info_of = [&](std::uint32_t rank) -> const rank_info& {
    return *std::ranges::lower_bound(group, rank, {},
                                     [](const rank_info& item) { return item.layout.rank; });
  };
  auto row = make_receiver_row(layouts_of(group), dp_rank, own_->group_layouts(), own_->layout());
  if (!row)
    return fail(row.error());
  route_entry made;
  made.route.layout_digest = own_->digest();
  for (auto& [pair, receivers] : row->sources) {
    const auto& rank = info_of(pair.source);
    source_route entry;
    entry.peer = rank.layout.life;
    entry.rank = pair.source;
    entry.receivers = receivers;
    add_parts(entry, pair, own_->layout());
    entry.carries_aux = made.route.sources.empty();
    made.route.sources.push_back(std::move(entry));
    made.contacts.push_back({rank, std::make_shared<const rank_pair>(std::move(pair))});
  }
  for (const auto idle : row->idle) {
    const auto& rank = info_of(idle);
    made.route.idle.push_back({rank.layout.life, idle});
    made.contacts.push_back({rank, nullptr});
  }
  return made;
}

std::vector<const rank_info*> router::connect(const route_entry& route) {
  std::vector<const rank_info*> missing;
  for (const auto& contact : route.contacts)
    if (!ready(contact))
      missing.push_back(&contact.rank);
  return missing;
}

std::optional<std::vector<incarnation>> router::sources_of(const disaggregated_params& context) {
  const auto* route = plan(context);
  if (!route)
    return std::nullopt;
  std::vector<incarnation> sources;
  if (*route)
    for (const auto& contact : (*route)->contacts)
      sources.push_back(contact.rank.layout.life);
  return sources;
}

bool router::ready(const source_contact& peer) {
  const auto [found, fresh] = links_.try_emplace(peer.rank.layout.life);
  if (fresh)
    backend_.connect(peer);
  return found->second.up;
}

} // namespace baton
