#include "messages/layout.hpp"

#include <algorithm>

namespace baton {

std::string_view to_string(cache_role role) noexcept {
  switch (role) {
  case cache_role::key:
    return "key";
  case cache_role::value:
    return "value";
  case cache_role::latent:
    return "latent";
  case cache_role::indexer_key:
    return "indexer_key";
  case cache_role::key_scale:
    return "key_scale";
  case cache_role::value_scale:
    return "value_scale";
  case cache_role::conv:
    return "conv";
  case cache_role::ssm:
    return "ssm";
  }
  return "unknown";
}

std::string_view to_string(element_type type) noexcept {
  switch (type) {
  case element_type::fp32:
    return "fp32";
  case element_type::bf16:
    return "bf16";
  case element_type::fp16:
    return "fp16";
  case element_type::fp8_e4m3:
    return "fp8_e4m3";
  case element_type::int8:
    return "int8";
  case element_type::byte:
    return "byte";
  }
  return "unknown";
}

std::string_view to_string(memory_kind kind) noexcept {
  switch (kind) {
  case memory_kind::host:
    return "host";
  case memory_kind::cuda:
    return "cuda";
  }
  return "unknown";
}

std::string_view to_string(instance_role role) noexcept {
  switch (role) {
  case instance_role::context:
    return "context";
  case instance_role::generation:
    return "generation";
  }
  return "unknown";
}

token_range intersect(token_range a, token_range b) noexcept {
  const token_range common{std::max(a.begin, b.begin), std::min(a.end, b.end)};
  return common.empty() ? token_range{} : common;
}

layer_range common_layers(layer_range a, layer_range b) noexcept {
  return {std::max(a.begin, b.begin), std::min(a.end, b.end)};
}

std::string to_string(layer_range layers) {
  return layers.end == layer_range::no_end ? fmt::format("[{}, ...)", layers.begin)
                                           : fmt::format("[{}, {})", layers.begin, layers.end);
}

bool group_layout::has_any(layer_range layers) const noexcept {
  return std::ranges::any_of(
      buffers, [&](const buffer_layout& buffer) { return layers.contains(buffer.layer); });
}

std::optional<std::size_t> rank_layout::find_group(std::string_view name) const noexcept {
  for (std::size_t i = 0; i < groups.size(); ++i)
    if (groups[i].name == name)
      return i;
  return std::nullopt;
}

} // namespace baton
