#include "examples/handoff/dump.hpp"

#include <fstream>
#include <string>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/handoff/conv_view.hpp"

namespace baton::handoff {

namespace {

using nlohmann::ordered_json;

ordered_json describe(const buffer_layout& held, const std::string& group) {
  const auto buffer = with_bytes_as_dims(held);
  ordered_json entry{{"group", group},
                     {"layer", buffer.layer},
                     {"role", to_string(buffer.role)},
                     {"pool", buffer.pool},
                     {"offset", buffer.offset},
                     {"slot_stride", buffer.slot_stride},
                     {"first_head", buffer.first_head},
                     {"head_count", buffer.head_count},
                     {"total_heads", buffer.total_heads},
                     {"head_stride", buffer.head_stride},
                     {"token_stride", buffer.token_stride},
                     {"head_dim", buffer.head_dim},
                     {"element_bytes", size_of(buffer.type)}};
  if (held.role == cache_role::conv)
    entry["first_dim"] = first_dim_of(held);
  return entry;
}

ordered_json describe(const request_spec& request, const group_blocks& table, request_state state) {
  return {{"id", request.id.value},
          {"group", table.group},
          {"blocks", table.blocks},
          {"first_block_token", table.first_block_token},
          {"cached_tokens", request.cached_tokens},
          {"tokens", request.tokens},
          {"state", to_string(state)}};
}

std::string stem_of(instance_role side, std::uint32_t rank) {
  return fmt::format("{}-{}", to_string(side), rank);
}

expected<> write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream file{path, std::ios::binary | std::ios::trunc};
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file)
    return fail(errc::out_of_resources, "{} cannot be written; is there space left?",
                path.string());
  return {};
}

} // namespace

expected<> dump_rank(const std::filesystem::path& directory, const rank_cache& cache,
                     const std::vector<request_state>& states) {
  const auto& layout = cache.layout;
  const auto stem = stem_of(layout.role, layout.rank);
  ordered_json document{{"side", to_string(layout.role)},
                        {"rank", layout.rank},
                        {"incarnation", fmt::format("{}", layout.life)},
                        {"pools", ordered_json::array()},
                        {"groups", ordered_json::array()},
                        {"buffers", ordered_json::array()},
                        {"requests", ordered_json::array()}};
  for (std::size_t i = 0; i < cache.pools.size(); ++i) {
    const auto name = fmt::format("{}.pool{}.bin", stem, i);
    const auto bytes = cache.pools[i];
    if (auto written = write_file(directory / name,
                                  {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
        !written)
      return written;
    document["pools"].push_back({{"file", name},
                                 {"slot_bytes", layout.pools[i].slot_bytes},
                                 {"slots", layout.pools[i].slots}});
  }
  for (const auto& group : layout.groups) {
    document["groups"].push_back({{"name", group.name},
                                  {"tokens_per_block", group.tokens_per_block},
                                  {"window", group.window}});
    for (const auto& buffer : group.buffers)
      document["buffers"].push_back(describe(buffer, group.name));
  }
  for (std::size_t i = 0; i < cache.tables.size(); ++i)
    for (const auto& table : cache.tables[i])
      document["requests"].push_back(describe(cache.run.requests[i], table, states[i]));
  return write_file(directory / (stem + ".json"), document.dump(1) + "\n");
}

void clear_dump(const std::filesystem::path& directory, const scenario& run) {
  std::error_code ignored;
  for (auto side : both_sides)
    for (std::uint32_t rank = 0; rank < run.sides[side].tp * run.sides[side].pp; ++rank)
      std::filesystem::remove(directory / (stem_of(side, rank) + ".json"), ignored);
}

} // namespace baton::handoff
