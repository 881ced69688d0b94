#include "messages/manifest.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "messages/codec.hpp"
#include "messages/layout.hpp"
#include "messages/manifest.pb.h"

namespace baton {

namespace {

constexpr field_shape manifest_fields[]{{10, "manifest.pools", layout_limits::pools, 0, {}}};
constexpr field_shape lane_pull_fields[]{{6, "lane pull: ranges", layout_limits::groups, 0, {}}};

/// Whether fields that another kind of share uses are left alone.
bool is_pure(const wire::PoolShare& in, share_kind kind) {
  const bool placed = kind == share_kind::vmm || kind == share_kind::ipc;
  return (kind == share_kind::none || in.reason().empty()) &&
         (kind == share_kind::vmm || in.pieces().empty()) &&
         (kind == share_kind::ipc || in.handle().empty()) &&
         (placed || (in.offset() == 0 && in.bytes() == 0));
}

/// `[offset, offset + bytes)` lies within memory of so many bytes, and starts in its first piece.
bool is_within(const wire::PoolShare& in, std::uint64_t first, std::uint64_t all) {
  return in.bytes() > 0 && in.offset() < first && in.bytes() <= all - in.offset();
}

bool is_sound(const wire::PoolShare& in, share_kind kind) {
  constexpr auto most = layout_limits::pool_bytes;
  std::uint64_t all = 0;
  switch (kind) {
  case share_kind::none:
    return in.reason().size() <= manifest_limits::reason_bytes;
  case share_kind::memory_file:
    return true;
  case share_kind::vmm:
    for (const auto piece : in.pieces()) {
      if (piece == 0 || piece > most)
        return false;
      all += piece; // at most 4096 times 2^46
    }
    return !in.pieces().empty() && is_within(in, in.pieces(0), all);
  case share_kind::ipc:
    return in.handle().size() == sizeof(pool_share::handle) && is_within(in, most, 2 * most);
  }
  return false;
}

expected<> check_shares(const wire::Manifest& in) {
  std::size_t pieces = 0;
  for (int i = 0; i < in.pools_size(); ++i) {
    const auto& pool = in.pools(i);
    pieces += static_cast<std::size_t>(pool.pieces_size());
    if (pieces > manifest_limits::pieces)
      return fail(errc::invalid_argument, "manifest.pools has more than {} pieces",
                  manifest_limits::pieces);
    const auto kind = read_enum<share_kind>(static_cast<int>(std::min(pool.kind(), 255u)));
    if (!is_pure(pool, kind) || !is_sound(pool, kind))
      return fail(errc::invalid_argument, "manifest.pools[{}] of kind {} is not valid", i,
                  pool.kind());
  }
  return {};
}

void write(const pool_share& share, wire::PoolShare& out) {
  out.set_kind(static_cast<std::uint32_t>(share.kind));
  out.set_reason(share.reason);
  for (const auto piece : share.pieces)
    out.add_pieces(piece);
  if (share.kind == share_kind::ipc)
    out.set_handle(share.handle.data(), share.handle.size());
  out.set_offset(share.offset);
  out.set_bytes(share.bytes);
}

pool_share read(const wire::PoolShare& in) {
  pool_share out;
  out.kind = static_cast<share_kind>(in.kind());
  out.reason = in.reason();
  out.pieces.assign(in.pieces().begin(), in.pieces().end());
  if (out.kind == share_kind::ipc)
    std::memcpy(out.handle.data(), in.handle().data(), out.handle.size());
  out.offset = in.offset();
  out.bytes = in.bytes();
  return out;
}

expected<> check(const wire::Manifest& in) {
  using namespace manifest_limits;
  if (in.life() == 0)
    return fail(errc::invalid_argument, "manifest.life is 0");
  if (in.boot_id().size() > name_bytes)
    return fail(errc::invalid_argument, "manifest.boot_id has {} bytes", in.boot_id().size());
  if (in.socket().empty() || in.socket().size() > name_bytes)
    return fail(errc::invalid_argument, "manifest.socket has {} bytes", in.socket().size());
  if (in.token().size() != token_bytes)
    return fail(errc::invalid_argument, "manifest.token has {} bytes, not {}", in.token().size(),
                token_bytes);
  if (in.ucx_version().size() > name_bytes)
    return fail(errc::invalid_argument, "manifest.ucx_version has {} bytes",
                in.ucx_version().size());
  if (in.ucx_address().size() > address_bytes ||
      in.ucx_address().empty() != in.ucx_version().empty())
    return fail(errc::invalid_argument, "manifest.ucx_address has {} bytes",
                in.ucx_address().size());
  if (in.chunk_bytes() < least_chunk || in.chunk_bytes() > most_chunk)
    return fail(errc::invalid_argument, "manifest.chunk_bytes {} is not within {} and {}",
                in.chunk_bytes(), least_chunk, most_chunk);
  return check_shares(in);
}

expected<> check(const wire::LanePull& in) {
  if (in.reader() == 0 || in.owner() == 0 || in.pull() == 0)
    return fail(errc::invalid_argument, "lane pull: reader, owner or pull is 0");
  if (in.lease_epoch() % 2 == 0)
    return fail(errc::invalid_argument, "lane pull: lease_epoch {} is even", in.lease_epoch());
  for (const auto& range : in.ranges())
    if (range.group().size() > layout_limits::name_bytes || range.begin() > range.end() ||
        range.end() > wire_limits::tokens ||
        std::cmp_greater_equal(range.tails_size(), wire_limits::beams) ||
        std::any_of(range.tails().begin(), range.tails().end(),
                    [](auto token) { return token > wire_limits::tokens; }) ||
        read_layers(range).empty())
      return fail(errc::invalid_argument, "lane pull: range [{}, {}) of a group is not valid",
                  range.begin(), range.end());
  return {};
}

} // namespace

std::string encode(const plane_manifest& manifest) {
  wire::Manifest out;
  out.set_life(manifest.life.value);
  out.set_boot_id(manifest.boot_id);
  out.set_socket(manifest.socket);
  out.set_token(manifest.token);
  out.set_user(manifest.user);
  out.set_network(manifest.network);
  out.set_ucx_version(manifest.ucx_version);
  out.set_ucx_address(manifest.ucx_address);
  out.set_chunk_bytes(manifest.chunk_bytes);
  for (const auto& share : manifest.pools)
    write(share, *out.add_pools());
  return out.SerializeAsString();
}

expected<plane_manifest> decode_manifest(std::string_view bytes) {
  const auto parsed =
      parse<wire::Manifest>(bytes, wire_limits::manifest_bytes, "manifest", manifest_fields);
  if (!parsed)
    return fail(parsed.error());
  const auto& in = *parsed;
  if (auto valid = check(in); !valid)
    return fail(std::move(valid.error()));
  plane_manifest out;
  out.life = incarnation{in.life()};
  out.boot_id = in.boot_id();
  out.socket = in.socket();
  out.token = in.token();
  out.user = in.user();
  out.network = in.network();
  out.ucx_version = in.ucx_version();
  out.ucx_address = in.ucx_address();
  out.chunk_bytes = in.chunk_bytes();
  for (const auto& share : in.pools())
    out.pools.push_back(read(share));
  return out;
}

expected<> fits(std::span<const pool_share> shares, std::span<const pool_layout> pools) {
  if (shares.size() != pools.size())
    return fail(errc::invalid_argument, "the manifest has {} pools, the layout {}", shares.size(),
                pools.size());
  for (std::size_t i = 0; i < pools.size(); ++i) {
    const auto& share = shares[i];
    if (share.kind == share_kind::none)
      continue;
    const bool host = share.kind == share_kind::memory_file;
    if (host != (pools[i].kind == memory_kind::host))
      return fail(errc::invalid_argument, "pools[{}] is {} memory, and its manifest offers {}", i,
                  to_string(pools[i].kind), host ? "a memory file" : "GPU memory");
    if (!host && share.bytes < pools[i].bytes())
      return fail(errc::invalid_argument, "pools[{}] has {} bytes, its manifest {}", i,
                  pools[i].bytes(), share.bytes);
  }
  return {};
}

std::string encode(const lane_pull& call) {
  wire::LanePull out;
  out.set_reader(call.reader.value);
  out.set_owner(call.right.owner.value);
  out.set_pull(call.number);
  out.set_lease_slot(call.right.slot);
  out.set_lease_epoch(call.right.epoch);
  for (const auto& range : call.ranges) {
    auto* added = out.add_ranges();
    added->set_group(range.group);
    added->set_begin(range.tokens.begin);
    added->set_end(range.tokens.end);
    added->mutable_tails()->Add(range.tails.begin(), range.tails.end());
    write_layers(range.layers, *added);
  }
  out.set_bytes(call.bytes);
  out.set_credits(call.credits);
  out.set_link(call.link);
  return out.SerializeAsString();
}

expected<lane_pull> decode_lane_pull(std::string_view bytes) {
  const auto parsed =
      parse<wire::LanePull>(bytes, manifest_limits::lane_pull_bytes, "lane pull", lane_pull_fields);
  if (!parsed)
    return fail(parsed.error());
  const auto& in = *parsed;
  if (auto valid = check(in); !valid)
    return fail(std::move(valid.error()));
  lane_pull out;
  out.reader = incarnation{in.reader()};
  out.number = in.pull();
  out.right = {incarnation{in.owner()}, in.lease_slot(), in.lease_epoch()};
  for (const auto& range : in.ranges())
    out.ranges.push_back({range.group(),
                          {range.begin(), range.end()},
                          {range.tails().begin(), range.tails().end()},
                          read_layers(range)});
  out.bytes = in.bytes();
  out.credits = in.credits();
  out.link = in.link();
  return out;
}

} // namespace baton
