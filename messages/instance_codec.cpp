#include <algorithm>
#include <limits>
#include <unordered_map>

#include "messages/codec.hpp"
#include "messages/instance.pb.h"
#include "messages/layout_check.hpp"
#include "messages/layout_codec.hpp"
#include "messages/wire.hpp"

namespace baton {
namespace {

/// What goes along with a layout besides its own limit.
constexpr std::size_t rank_info_bytes =
    layout_limits::encoded_bytes + wire_limits::manifest_bytes + 1024;
constexpr std::size_t introduction_bytes = rank_info_bytes + layout_limits::instance_bytes + 1024;

/// What may be in a rank info, an instance and an introduction.
struct shapes {
  field_shape rank[1]{{1, "layout", 1, 0, layout_shape()}};
  field_shape member[2]{{7, "pools", layout_limits::pools, 0, {}},
                        {9, "groups", layout_limits::groups, 0, {}}};
  field_shape instance[2]{{1, "shapes", layout_limits::ranks, 0, layout_shape()},
                          {2, "ranks", layout_limits::ranks, 0, member}};
  field_shape introduction[1]{{3, "self", 1, 0, rank}};
};

const shapes& known_shapes() {
  static const shapes all;
  return all;
}

void write(const rank_info& info, wire::RankInfo& out) {
  write(info.layout, *out.mutable_layout());
  out.set_host(info.host);
  out.set_port(info.port);
  out.set_manifest(info.manifest);
}

/// How many leading items of a list tell the whole, if they are repeated.
template <class List>
std::size_t period_of(const List& list) {
  std::size_t period = 1;
  for (std::size_t i = 1; i < list.size(); ++i)
    if (list[i] != list[i % period])
      period = i + 1;
  return std::min(period, list.size());
}

void write(const group_layout& group, wire::FirstHeads& out) {
  std::vector<std::uint32_t> heads;
  for (const auto& buffer : group.buffers)
    heads.push_back(buffer.first_head);
  if (std::ranges::all_of(heads, [](std::uint32_t head) { return head == 0; }))
    return;
  const auto end = heads.begin() + static_cast<std::ptrdiff_t>(period_of(heads));
  out.mutable_heads()->Add(heads.begin(), end);
}

/// Writes what a rank may have in common with others.
void write_shape(const rank_layout& rank, wire::RankLayout& out) {
  out.Clear();
  write(rank, out);
  out.clear_life();
  out.clear_rank();
  out.clear_pools();
  for (auto& group : *out.mutable_groups())
    for (auto& buffer : *group.mutable_buffers())
      buffer.clear_first_head();
}

/// Writes all of a rank but its shape.
void write(const rank_info& info, wire::InstanceRank& out) {
  out.set_life(info.layout.life.value);
  out.set_rank(info.layout.rank);
  out.set_host(info.host);
  out.set_port(info.port);
  out.set_manifest(info.manifest);
  const auto& pools = info.layout.pools;
  out.set_pool_count(static_cast<std::uint32_t>(pools.size()));
  for (std::size_t i = 0; i < period_of(pools); ++i)
    write(pools[i], *out.add_pools());
  for (const auto& group : info.layout.groups)
    write(group, *out.add_groups());
}

void write(const instance_info& info, wire::InstanceInfo& out) {
  std::unordered_map<std::string, std::uint32_t> shapes;
  wire::RankLayout shape;
  std::string bytes;
  for (const auto& rank : info.ranks) {
    write_shape(rank.layout, shape);
    shape.SerializeToString(&bytes);
    const auto next = static_cast<std::uint32_t>(shapes.size());
    const auto [known, fresh] = shapes.try_emplace(bytes, next);
    if (fresh)
      *out.add_shapes() = shape;
    auto& entry = *out.add_ranks();
    entry.set_shape(known->second);
    write(rank, entry);
  }
}

/// The fields around the layout. Looks at the message, for a port may be too large for its type.
template <class Wire>
expected<> check_contact(const Wire& in) {
  if (auto ok = check_name("host", in.host()); !ok)
    return ok;
  if (in.port() == 0 || in.port() > std::numeric_limits<std::uint16_t>::max())
    return fail(errc::invalid_argument, "port: {} given, must be 1 to 65535", in.port());
  if (in.manifest().size() > wire_limits::manifest_bytes)
    return fail(errc::invalid_argument, "manifest: {} bytes exceed {}", in.manifest().size(),
                wire_limits::manifest_bytes);
  return {};
}

expected<rank_info> read_checked(const wire::RankInfo& in, std::size_t& work) {
  if (auto ok = check_contact(in); !ok)
    return fail(std::move(ok).error());
  if (in.layout().ByteSizeLong() > layout_limits::encoded_bytes)
    return fail(errc::invalid_argument, "layout: {} bytes exceed {}", in.layout().ByteSizeLong(),
                layout_limits::encoded_bytes);
  rank_info info{baton::read(in.layout()), in.host(), static_cast<std::uint16_t>(in.port()),
                 in.manifest()};
  if (auto ok = validate(info.layout, work); !ok)
    return fail(errc::invalid_argument, "layout.{}", ok.error().text);
  return info;
}

expected<> check_period(std::string_view field, int given, std::size_t wanted) {
  if (static_cast<std::size_t>(given) > wanted)
    return fail(errc::invalid_argument, "{}: {} given for {}", field, given, wanted);
  return {};
}

expected<> read_pools(const wire::InstanceRank& in, rank_layout& out) {
  const auto count = in.pool_count();
  if (count > layout_limits::pools || (count > 0 && in.pools_size() == 0))
    return fail(errc::invalid_argument, "pool_count: {} for {} pools, at most {} are possible",
                count, in.pools_size(), layout_limits::pools);
  if (auto ok = check_period("pools", in.pools_size(), count); !ok)
    return ok;
  out.pools.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i)
    out.pools.push_back(baton::read(in.pools(static_cast<int>(i) % in.pools_size())));
  return {};
}

expected<> read_heads(const wire::InstanceRank& in, rank_layout& out) {
  if (static_cast<std::size_t>(in.groups_size()) != out.groups.size())
    return fail(errc::invalid_argument, "groups: {} given, but its shape has {}", in.groups_size(),
                out.groups.size());
  for (std::size_t g = 0; g < out.groups.size(); ++g) {
    const auto& heads = in.groups(static_cast<int>(g)).heads();
    auto& buffers = out.groups[g].buffers;
    if (auto ok = check_period(fmt::format("groups[{}].heads", g), heads.size(), buffers.size());
        !ok)
      return ok;
    for (int i = 0; heads.size() > 0 && i < static_cast<int>(buffers.size()); ++i)
      buffers[static_cast<std::size_t>(i)].first_head = heads[i % heads.size()];
  }
  return {};
}

std::size_t parts_of(const rank_layout& shape) {
  std::size_t parts = 0;
  for (const auto& group : shape.groups)
    parts += group.buffers.size();
  return parts;
}

expected<rank_info> read_checked(const wire::InstanceRank& in, const rank_layout& shape,
                                 std::size_t& parts) {
  // What is written once may be read many times.
  const auto more = parts_of(shape) + in.pool_count();
  if (more > parts)
    return fail(errc::invalid_argument, "layout: its instance has more than {} buffers and pools",
                layout_limits::instance_parts);
  parts -= more;
  if (auto ok = check_contact(in); !ok)
    return fail(std::move(ok).error());
  rank_info info{shape, in.host(), static_cast<std::uint16_t>(in.port()), in.manifest()};
  info.layout.life = incarnation{in.life()};
  info.layout.rank = in.rank();
  if (auto ok = read_pools(in, info.layout); !ok)
    return fail(std::move(ok).error());
  if (auto ok = read_heads(in, info.layout); !ok)
    return fail(std::move(ok).error());
  return info;
}

expected<instance_info> read_checked(const wire::InstanceInfo& in) {
  const auto count = static_cast<std::size_t>(in.ranks_size());
  if (count > layout_limits::ranks)
    return fail(errc::invalid_argument, "ranks: {} exceed {}", count, layout_limits::ranks);
  std::vector<rank_layout> shapes;
  for (const auto& shape : in.shapes())
    shapes.push_back(baton::read(shape));
  instance_info info;
  info.ranks.reserve(count);
  std::size_t parts = layout_limits::instance_parts;
  std::size_t work = instance_work;
  for (const auto& rank : in.ranks()) {
    if (rank.shape() >= shapes.size())
      return fail(errc::invalid_argument, "ranks[{}].shape: {} given, but there are {}",
                  info.ranks.size(), rank.shape(), shapes.size());
    auto read = read_checked(rank, shapes[rank.shape()], parts);
    if (!read)
      return fail(errc::invalid_argument, "ranks[{}].{}", info.ranks.size(), read.error().text);
    if (auto ok = validate(read->layout, work); !ok)
      return fail(errc::invalid_argument, "ranks[{}].layout.{}", info.ranks.size(),
                  ok.error().text);
    info.ranks.push_back(*std::move(read));
  }
  if (auto ok = validate_instance(info.layouts()); !ok)
    return fail(std::move(ok).error());
  return info;
}

/// Reads what every version of the protocol keeps.
expected<introduction> read_head(std::string_view bytes) {
  const auto head = parse<wire::IntroductionHead>(bytes, introduction_bytes, "introduction");
  if (!head)
    return fail(head.error());
  if (head->version() == 0)
    return fail(errc::invalid_argument, "version: must not be 0");
  if (head->ucx_version().size() > layout_limits::name_bytes)
    return fail(errc::invalid_argument, "ucx_version: {} bytes exceed {}",
                head->ucx_version().size(), layout_limits::name_bytes);
  introduction intro;
  intro.version = head->version();
  intro.ucx_version = head->ucx_version();
  return intro;
}

} // namespace

std::string encode(const rank_info& info) {
  wire::RankInfo out;
  write(info, out);
  return out.SerializeAsString();
}

expected<rank_info> decode_rank_info(std::string_view bytes) {
  const auto message =
      parse<wire::RankInfo>(bytes, rank_info_bytes, "rank info", known_shapes().rank);
  if (!message)
    return fail(message.error());
  std::size_t work = layout_work;
  return read_checked(*message, work);
}

std::string encode(const instance_info& info) {
  wire::InstanceInfo out;
  write(info, out);
  return out.SerializeAsString();
}

expected<instance_info> decode_instance_info(std::string_view bytes) {
  const auto message = parse<wire::InstanceInfo>(bytes, layout_limits::instance_bytes,
                                                 "instance info", known_shapes().instance);
  if (!message)
    return fail(message.error());
  return read_checked(*message);
}

std::vector<rank_info> read_ranks(std::string_view encoded, std::optional<std::uint32_t> dp_rank) {
  std::vector<rank_info> group;
  const auto message =
      parse<wire::InstanceInfo>(encoded, layout_limits::instance_bytes, "instance info");
  if (!message)
    return group;
  std::unordered_map<std::uint32_t, rank_layout> shapes;
  std::size_t parts = layout_limits::instance_parts;
  for (const auto& rank : message->ranks()) {
    if (static_cast<int>(rank.shape()) >= message->shapes_size())
      return {};
    const auto& wire = message->shapes(static_cast<int>(rank.shape()));
    const auto dp = wire.attention_dp() ? rank.rank() % wire.tp_size() : 0;
    if (dp != dp_rank.value_or(dp))
      continue;
    const auto [shape, fresh] = shapes.try_emplace(rank.shape());
    if (fresh)
      shape->second = read(wire);
    auto read = read_checked(rank, shape->second, parts);
    if (!read)
      return {};
    group.push_back(*std::move(read));
  }
  return group;
}

std::string encode(const introduction& intro) {
  wire::Introduction out;
  out.set_version(intro.version);
  out.set_ucx_version(intro.ucx_version);
  write(intro.self, *out.mutable_self());
  out.set_digest(intro.digest);
  out.set_instance(intro.instance);
  out.set_wants_instance(intro.wants_instance);
  out.set_for_blocks(intro.for_blocks);
  return out.SerializeAsString();
}

expected<introduction> decode_introduction(std::string_view bytes) {
  auto intro = read_head(bytes);
  if (!intro || intro->version != protocol_version)
    return intro;
  const auto message = parse<wire::Introduction>(bytes, introduction_bytes, "introduction",
                                                 known_shapes().introduction);
  if (!message)
    return fail(message.error());
  std::size_t work = layout_work;
  auto self = read_checked(message->self(), work);
  if (!self)
    return fail(errc::invalid_argument, "self.{}", self.error().text);
  if (message->digest() == 0)
    return fail(errc::invalid_argument, "digest: must not be 0");
  intro->self = *std::move(self);
  intro->digest = message->digest();
  intro->instance = message->instance();
  intro->wants_instance = message->wants_instance();
  intro->for_blocks = message->for_blocks();
  return intro;
}

} // namespace baton
