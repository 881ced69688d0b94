#include "messages/manifest.hpp"

#include "messages/codec.hpp"
#include "messages/layout.hpp"
#include "messages/manifest.pb.h"

namespace baton {

namespace {

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
  if (static_cast<std::size_t>(in.shareable_size()) > layout_limits::pools)
    return fail(errc::invalid_argument, "manifest.shareable names {} pools", in.shareable_size());
  return {};
}

expected<> check(const wire::LanePull& in) {
  if (in.reader() == 0 || in.owner() == 0 || in.pull() == 0)
    return fail(errc::invalid_argument, "lane pull: reader, owner or pull is 0");
  if (in.lease_epoch() % 2 == 0)
    return fail(errc::invalid_argument, "lane pull: lease_epoch {} is even", in.lease_epoch());
  if (static_cast<std::size_t>(in.ranges_size()) > layout_limits::groups)
    return fail(errc::invalid_argument, "lane pull: {} ranges", in.ranges_size());
  for (const auto& range : in.ranges())
    if (range.group().size() > layout_limits::name_bytes || range.begin() > range.end() ||
        range.end() > wire_limits::tokens)
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
  out.set_ucx_version(manifest.ucx_version);
  out.set_ucx_address(manifest.ucx_address);
  out.set_chunk_bytes(manifest.chunk_bytes);
  for (const bool shareable : manifest.shareable)
    out.add_shareable(shareable);
  return out.SerializeAsString();
}

expected<plane_manifest> decode_manifest(std::string_view bytes) {
  const auto parsed = parse<wire::Manifest>(bytes, wire_limits::manifest_bytes, "manifest");
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
  out.ucx_version = in.ucx_version();
  out.ucx_address = in.ucx_address();
  out.chunk_bytes = in.chunk_bytes();
  out.shareable.assign(in.shareable().begin(), in.shareable().end());
  return out;
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
  }
  out.set_bytes(call.bytes);
  out.set_credits(call.credits);
  out.set_link(call.link);
  return out.SerializeAsString();
}

expected<lane_pull> decode_lane_pull(std::string_view bytes) {
  const auto parsed = parse<wire::LanePull>(bytes, manifest_limits::lane_pull_bytes, "lane pull");
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
    out.ranges.push_back({range.group(), {range.begin(), range.end()}});
  out.bytes = in.bytes();
  out.credits = in.credits();
  out.link = in.link();
  return out;
}

} // namespace baton
