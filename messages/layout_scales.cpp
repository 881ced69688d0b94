#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "messages/conversion.hpp"
#include "messages/layout.hpp"
#include "messages/layout_check.hpp"

namespace baton {
namespace {

/// Heads `[begin, end)` of one (layer, role) that have one scale.
struct scale_span {
  std::uint64_t key = 0;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  float scale = 1;
  const rank_layout* rank = nullptr;
  const buffer_layout* buffer = nullptr;
};

void add_spans(std::vector<scale_span>& out, const rank_layout& rank, const buffer_layout& buffer) {
  const auto count = std::max<std::uint64_t>(buffer.scales.size(), 1);
  const auto heads = buffer.head_count / count;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto begin = buffer.first_head + i * heads;
    out.push_back({layer_key(buffer), begin, begin + heads,
                   buffer.scale_of(static_cast<std::uint32_t>(begin)), &rank, &buffer});
  }
}

std::string name(const scale_span& span) {
  return fmt::format("{} in {} {} rank {}", span.scale, to_string(span.rank->role),
                     span.rank->instance, span.rank->rank);
}

} // namespace

expected<> check_scales(buffer_field field, const buffer_layout& buffer) {
  const auto count = buffer.scales.size();
  if (count == 0)
    return {};
  if (buffer.type != element_type::fp8_e4m3)
    return refuse("{}.scales: only fp8_e4m3 has scales, the type is {}; give none", field,
                  to_string(buffer.type));
  if (count != 1 && count != buffer.head_count)
    return refuse("{}.scales: {} given, must be none, 1 or head_count = {}", field, count,
                  buffer.head_count);
  for (std::size_t i = 0; i < count; ++i)
    if (!(buffer.scales[i] >= least_scale && buffer.scales[i] <= most_scale))
      return refuse("{}.scales[{}]: {} is not within {} and {}", field, i, buffer.scales[i],
                    least_scale, most_scale);
  return {};
}

expected<> check_same_scales(errc code, std::span<const std::span<const rank_layout>> instances) {
  std::vector<scale_span> spans;
  for (const auto& ranks : instances)
    for (const auto& rank : ranks)
      for (const auto& group : rank.groups)
        for (const auto& buffer : group.buffers)
          if (buffer.type == element_type::fp8_e4m3)
            add_spans(spans, rank, buffer);
  std::ranges::stable_sort(spans, [](const scale_span& a, const scale_span& b) {
    return std::tie(a.key, a.begin) < std::tie(b.key, b.begin);
  });
  // All that hold the head at which one begins were found to agree, so one of them stands for all.
  const scale_span* longest = nullptr;
  for (const auto& span : spans) {
    const bool met = longest != nullptr && longest->key == span.key && span.begin < longest->end;
    if (met && longest->scale != span.scale)
      return fail(code, "layer {} {}: scale of head {}: {}, but {}; give both the same",
                  span.buffer->layer, to_string(span.buffer->role), span.begin, name(*longest),
                  name(span));
    if (!met || span.end > longest->end)
      longest = &span;
  }
  return {};
}

} // namespace baton
