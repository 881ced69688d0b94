#include "actors/guest_book.hpp"

#include <algorithm>
#include <utility>

namespace baton {
namespace {

std::uint64_t digest_of(const rank_layout& layout) {
  return digest({&layout, 1});
}

} // namespace

guest_book::guest_book(own_instance_ptr own, std::size_t capacity)
    : own_{std::move(own)}, capacity_{capacity} {
}

expected<> guest_book::add(std::uint64_t digest, std::string_view encoded) {
  if (knows(digest))
    return {};
  const auto instance = decode_instance_info(encoded);
  if (!instance)
    return fail(errc::invalid_argument, "instance.{}", instance.error().text);
  if (const auto real = baton::digest(instance->layouts()); real != digest)
    return fail(errc::invalid_argument, "digest: {:x} given for an instance of digest {:x}", digest,
                real);
  entries_.emplace(digest, look_through(*instance));
  order_.push_back(digest);
  if (order_.size() > capacity_) {
    entries_.erase(order_.front());
    order_.pop_front();
  }
  return {};
}

expected<guest_book::relation> guest_book::look_through(const instance_info& instance) const {
  const auto& us = own_->layout();
  const auto theirs = instance.layouts();
  const auto& them = theirs.front();
  if (them.role == us.role)
    return fail(errc::invalid_argument, "both '{}' and '{}' are {} instances", us.instance,
                them.instance, to_string(us.role));
  if (us.role != instance_role::context)
    return fail(errc::invalid_argument,
                "'{}' is a generation instance, to which no context rank introduces itself",
                us.instance);
  const auto ours = own_->layouts();
  if (auto ok = compatible_instances(ours, theirs); !ok)
    return fail(ok.error());
  auto row = make_source_row(ours, us, theirs);
  if (!row)
    return fail(row.error());
  relation found;
  std::map<std::uint32_t, std::vector<std::uint32_t>> receivers;
  for (auto& pair : *row) {
    const auto& layout = theirs[pair.destination];
    receivers[layout.dp_rank()].push_back(pair.destination);
    found.guests.push_back({std::move(pair), digest_of(layout)});
  }
  for (auto& [dp, ranks] : receivers)
    found.receivers[dp] = std::make_shared<const std::vector<std::uint32_t>>(std::move(ranks));
  return found;
}

expected<acquaintance> guest_book::meet(const introduction& intro) const {
  const auto entry = entries_.find(intro.digest);
  if (entry == entries_.end())
    return fail(errc::invalid_argument, "digest: no instance of {:x} is known", intro.digest);
  if (!entry->second)
    return fail(entry->second.error());
  const auto& [row, receivers] = *entry->second;
  const auto& them = intro.self.layout;
  acquaintance result;
  result.card = {them.life, them, intro.self.manifest, nullptr, nullptr};
  result.digest = intro.digest;
  if (const auto group = receivers.find(them.dp_rank()); group != receivers.end())
    result.receivers = group->second;
  const auto found = std::ranges::lower_bound(
      row, them.rank, {}, [](const guest& item) { return item.pair.destination; });
  if (found == row.end() || found->pair.destination != them.rank)
    return result;
  if (found->digest != digest_of(them))
    return fail(errc::invalid_argument,
                "rank {} of '{}' introduces itself with another layout than that of its instance",
                them.rank, them.instance);
  result.card.serve = std::make_shared<const planner>(own_->layout(), them, found->pair);
  return result;
}

} // namespace baton
