#include "transport/lease/grant_book.hpp"

#include <utility>

#include "transport/plan/block_tables.hpp"

namespace baton {
namespace {

expected<> check_blocks(const std::string& group, const std::vector<std::uint32_t>& blocks,
                        std::uint64_t slots) {
  for (const auto block : blocks)
    if (block >= slots)
      return fail(errc::invalid_argument, "grant: block {} of group \"{}\", whose pools have {}",
                  block, group, slots);
  return {};
}

} // namespace

grant_book::grant_book(lease_table table, const rank_layout& layout) : table_{std::move(table)} {
  for (const auto& group : layout.groups)
    slots_[group.name] = slots_of(layout, group);
}

expected<> grant_book::check(const grant_spec& spec) const {
  if (spec.ranges.size() != spec.blocks.size())
    return fail(errc::invalid_argument, "grant: {} ranges and {} block tables", spec.ranges.size(),
                spec.blocks.size());
  for (std::size_t i = 0; i < spec.ranges.size(); ++i) {
    const auto& table = spec.blocks[i];
    const auto slots = slots_.find(table.group);
    if (slots == slots_.end() || table.group != spec.ranges[i].group)
      return fail(errc::invalid_argument, "grant: blocks of group \"{}\" for ranges of \"{}\"",
                  table.group, spec.ranges[i].group);
    if (auto ok = check_blocks(table.group, table.blocks, slots->second); !ok)
      return ok;
    for (const auto& tail : table.tails)
      if (auto ok = check_blocks(table.group, tail.blocks, slots->second); !ok)
        return ok;
  }
  return {};
}

expected<lease> grant_book::grant(session_key session, grant_spec spec) {
  if (auto valid = check(spec); !valid)
    return fail(std::move(valid.error()));
  const std::lock_guard lock{mutex_};
  if (retired_.contains(session))
    return fail(errc::cancelled, "grant: session {} has retired", session);
  const auto right = table_.grant();
  if (!right)
    return right;
  records_[right->slot] = std::make_shared<const grant_record>(*right, session, std::move(spec));
  sessions_[session].insert(right->slot);
  return right;
}

grant_book::record grant_book::revoke_locked(const lease& right) {
  if (!table_.revoke(right))
    return nullptr;
  const auto found = records_.find(right.slot);
  auto revoked = std::move(found->second);
  records_.erase(found);
  return revoked;
}

std::shared_ptr<const grant_record> grant_book::revoke(const lease& right) {
  const std::lock_guard lock{mutex_};
  auto revoked = revoke_locked(right);
  if (!revoked)
    return nullptr;
  const auto session = sessions_.find(revoked->session);
  session->second.erase(right.slot);
  if (session->second.empty())
    sessions_.erase(session);
  return revoked;
}

std::vector<std::shared_ptr<const grant_record>> grant_book::retire(session_key session) {
  std::vector<record> revoked;
  const std::lock_guard lock{mutex_};
  retired_.insert(session);
  const auto found = sessions_.find(session);
  if (found == sessions_.end())
    return revoked;
  for (const auto slot : found->second)
    revoked.push_back(revoke_locked(records_.at(slot)->right));
  sessions_.erase(found);
  return revoked;
}

bool grant_book::serve(const grant_record& record) const noexcept {
  record.served.store(true, std::memory_order_seq_cst);
  return table_.granted(record.right);
}

std::shared_ptr<const grant_record> grant_book::find(const lease& right) const {
  const std::lock_guard lock{mutex_};
  const auto found = records_.find(right.slot);
  return found != records_.end() && found->second->right == right ? found->second : nullptr;
}

} // namespace baton
