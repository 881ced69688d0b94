#include <limits>

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
constexpr std::size_t introduction_bytes = layout_limits::instance_bytes + 1024;

/// What may be in a rank info, an instance and an introduction.
struct shapes {
  field_shape rank[1]{{1, "layout", 1, 0, layout_shape()}};
  field_shape ranks[1]{{1, "ranks", layout_limits::ranks, 0, rank}};
  field_shape introduction[1]{{4, "instance", 1, 0, ranks}};
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

void write(const instance_info& info, wire::InstanceInfo& out) {
  for (const auto& rank : info.ranks)
    write(rank, *out.add_ranks());
}

/// The fields around the layout. Looks at the message, for a port may be too large for its type.
expected<> check_contact(const wire::RankInfo& in) {
  if (auto ok = check_name("host", in.host()); !ok)
    return ok;
  if (in.port() == 0 || in.port() > std::numeric_limits<std::uint16_t>::max())
    return fail(errc::invalid_argument, "port: {} given, must be 1 to 65535", in.port());
  if (in.manifest().size() > wire_limits::manifest_bytes)
    return fail(errc::invalid_argument, "manifest: {} bytes exceed {}", in.manifest().size(),
                wire_limits::manifest_bytes);
  if (in.layout().ByteSizeLong() > layout_limits::encoded_bytes)
    return fail(errc::invalid_argument, "layout: {} bytes exceed {}", in.layout().ByteSizeLong(),
                layout_limits::encoded_bytes);
  return {};
}

expected<rank_info> read_checked(const wire::RankInfo& in, std::size_t& work) {
  if (auto ok = check_contact(in); !ok)
    return fail(std::move(ok).error());
  rank_info info{baton::read(in.layout()), in.host(), static_cast<std::uint16_t>(in.port()),
                 in.manifest()};
  if (auto ok = validate(info.layout, work); !ok)
    return fail(errc::invalid_argument, "layout.{}", ok.error().text);
  return info;
}

expected<instance_info> read_checked(const wire::InstanceInfo& in) {
  const auto count = static_cast<std::size_t>(in.ranks_size());
  if (count > layout_limits::ranks)
    return fail(errc::invalid_argument, "ranks: {} exceed {}", count, layout_limits::ranks);
  instance_info info;
  std::size_t work = instance_work;
  for (const auto& rank : in.ranks()) {
    auto checked = read_checked(rank, work);
    if (!checked)
      return fail(errc::invalid_argument, "ranks[{}].{}", info.ranks.size(), checked.error().text);
    info.ranks.push_back(*std::move(checked));
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
                                                 "instance info", known_shapes().ranks);
  if (!message)
    return fail(message.error());
  return read_checked(*message);
}

std::string encode(const introduction& intro) {
  wire::Introduction out;
  out.set_version(intro.version);
  out.set_ucx_version(intro.ucx_version);
  out.set_rank(intro.rank);
  write(intro.instance, *out.mutable_instance());
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
  auto instance = read_checked(message->instance());
  if (!instance)
    return fail(errc::invalid_argument, "instance.{}", instance.error().text);
  if (message->rank() >= instance->ranks.size())
    return fail(errc::invalid_argument, "rank: {} given, but the instance has {}", message->rank(),
                instance->ranks.size());
  intro->rank = message->rank();
  intro->instance = *std::move(instance);
  return intro;
}

} // namespace baton
