#include "messages/wire_shape.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "messages/layout_check.hpp"

namespace baton {
namespace {

constexpr std::size_t most_fields = 8; ///< of messages, in one message

/// Reads the wire format. Takes no more than Protobuf does, so that both see the same fields.
class wire_reader {
public:
  explicit wire_reader(std::string_view bytes) : left_{bytes} {}

  [[nodiscard]] bool done() const noexcept { return left_.empty(); }

  [[nodiscard]] std::optional<std::uint64_t> varint(std::size_t longest) noexcept {
    std::uint64_t number = 0;
    for (std::size_t i = 0; i < std::min(longest, left_.size()); ++i) {
      const auto byte = static_cast<unsigned char>(left_[i]);
      number |= std::uint64_t{byte & 0x7fu} << (7 * i);
      if (byte < 0x80) {
        left_.remove_prefix(i + 1);
        return number;
      }
    }
    return std::nullopt;
  }

  [[nodiscard]] std::optional<std::string_view> take(std::uint64_t count) noexcept {
    if (count > left_.size())
      return std::nullopt;
    const auto taken = left_.substr(0, count);
    left_.remove_prefix(count);
    return taken;
  }

private:
  std::string_view left_;
};

struct wire_field {
  std::uint32_t number = 0;
  std::optional<std::string_view> bytes; ///< of a field that has a length
};

/// Nothing: these bytes are no field. So are groups, which no message of ours has.
std::optional<wire_field> next_field(wire_reader& in) {
  constexpr std::size_t tag_bytes = 5;
  constexpr std::size_t varint_bytes = 10;
  const auto tag = in.varint(tag_bytes);
  if (!tag || *tag > std::numeric_limits<std::uint32_t>::max() || *tag >> 3 == 0)
    return std::nullopt;
  wire_field field{static_cast<std::uint32_t>(*tag >> 3), std::nullopt};
  switch (*tag & 7) {
  case 0:
    return in.varint(varint_bytes) ? std::optional{field} : std::nullopt;
  case 1:
    return in.take(8) ? std::optional{field} : std::nullopt;
  case 5:
    return in.take(4) ? std::optional{field} : std::nullopt;
  case 2:
    if (const auto length = in.varint(tag_bytes))
      field.bytes = in.take(*length);
    return field.bytes ? std::optional{field} : std::nullopt;
  default:
    return std::nullopt;
  }
}

constexpr field_shape group_fields[]{{4, "groups.buffers", layout_limits::buffers, 8, {}}};

constexpr field_shape layout_fields[]{{9, "pools", layout_limits::pools, 6, {}},
                                      {10, "groups", layout_limits::groups, 0, group_fields}};

} // namespace

std::span<const field_shape> layout_shape() noexcept {
  return layout_fields;
}

expected<> check_shape(std::string_view bytes, std::span<const field_shape> fields,
                       std::string_view what) {
  if (fields.empty())
    return {};
  std::array<std::size_t, most_fields> counts{};
  for (wire_reader in{bytes}; !in.done();) {
    const auto field = next_field(in);
    if (!field)
      return refuse("{}: {} bytes that are none", what, bytes.size());
    const auto shape = std::ranges::find(fields, field->number, &field_shape::field);
    if (shape == fields.end() || !field->bytes)
      continue;
    if (++counts[static_cast<std::size_t>(shape - fields.begin())] > shape->most)
      return refuse("{}: more than {} given", shape->name, shape->most);
    if (field->bytes->size() < shape->least_bytes)
      return refuse("{}: {} bytes are none", shape->name, field->bytes->size());
    if (auto ok = check_shape(*field->bytes, shape->fields, what); !ok)
      return ok;
  }
  return {};
}

} // namespace baton
