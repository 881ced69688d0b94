#include <boost/test/unit_test.hpp>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include "examples/handoff/blocks.hpp"
#include "examples/handoff/content.hpp"
#include "examples/handoff/dump.hpp"
#include "examples/handoff/pattern.hpp"

using namespace baton;
using namespace baton::handoff;

namespace {

/// One rank of a small scenario, with its pools in plain memory.
struct rank_fixture {
  explicit rank_fixture(instance_role side, const char* pool = "block_first",
                        const char* inner = "HND")
      : run{make(pool, inner)},
        layout{build_instance(run.model, run.sides[side], side, "test").value().at(0)},
        tables{draw_blocks(run, layout)} {
    for (const auto& pool_layout : layout.pools)
      memory.emplace_back(pool_layout.bytes());
    clear_pools(cache());
  }

  static scenario make(const std::string& pool, const std::string& inner) {
    const auto side = R"({"tp": 1, "pp": 1, "tokens_per_block": 4, "blocks": 40, "pool": ")" +
                      pool + R"(", "inner": ")" + inner + R"("})";
    return parse_scenario(R"({"seed": 11, "workflow": "ctx_first", "model": {"layers": 3,
      "kv_heads": 2, "head_dim": 5, "dtype": "fp16", "groups": [{"name": "full", "layers": [0, 2]},
      {"name": "swa", "layers": [1], "window": 6}]}, "requests": [{"id": 9, "tokens": 30},
      {"id": 4, "tokens": 13, "cached_tokens": 8}, {"id": 5, "tokens": 7, "cached_tokens": 7}],
      "context": )" + side +
                          R"(, "generation": )" + side + "}")
        .value();
  }

  rank_cache cache() {
    rank_cache result{run, layout, tables, {}};
    for (auto& pool : memory)
      result.pools.push_back(pool);
    return result;
  }

  std::byte& at(const buffer_layout& buffer, std::uint64_t block) {
    return memory[buffer.pool][buffer.offset + block * buffer.slot_stride];
  }

  scenario run;
  rank_layout layout;
  std::vector<request_tables> tables;
  std::vector<std::vector<std::byte>> memory;
};

void flip(std::byte& byte) {
  byte ^= std::byte{0xFF};
}

const std::vector<bool> all_completed{true, true, true};

} // namespace

BOOST_AUTO_TEST_SUITE(cache_content)

BOOST_AUTO_TEST_CASE(the_pattern_has_the_values_of_the_contract) {
  BOOST_TEST(splitmix64(0) == 0xe220a8397b1dcdafu);
  std::array<std::uint32_t, 6> row{};
  head_pattern{7, request_id{3}, 2, cache_role::value, 3, 4}.fill(
      17, std::as_writable_bytes(std::span{row}));
  BOOST_TEST(row[5] == 0xf1b35ed9u);
  std::array<std::uint16_t, 1> half{};
  head_pattern{7, request_id{1}, 0, cache_role::key, 0, 2}.fill(
      0, std::as_writable_bytes(std::span{half}));
  BOOST_TEST(half[0] == 0x1c09u);
  std::array<std::uint8_t, 576> bytes{};
  head_pattern{~0ull, request_id{1ull << 40}, 31, cache_role::latent, 0, 1}.fill(
      100'000, std::as_writable_bytes(std::span{bytes}));
  BOOST_TEST(bytes[575] == 0x41);
}

BOOST_AUTO_TEST_CASE(every_wrong_byte_of_a_row_is_counted) {
  const head_pattern pattern{1, request_id{2}, 3, cache_role::key, 4, 2};
  std::vector<std::byte> row(5'000);
  pattern.fill(6, row);
  BOOST_TEST(pattern.mismatches(6, row) == 0u);
  for (std::size_t at : {0, 1'023, 1'024, 4'999})
    flip(row[at]);
  BOOST_TEST(pattern.mismatches(6, row) == 4u);
}

BOOST_AUTO_TEST_CASE(every_touched_byte_is_counted) {
  std::vector<std::byte> bytes(100, untouched);
  BOOST_TEST(touched_bytes(bytes) == 0u);
  flip(bytes.back());
  BOOST_TEST(touched_bytes(bytes) == 1u);
  flip(bytes.front());
  BOOST_TEST(touched_bytes(bytes) == 2u);
  BOOST_TEST(touched_bytes({}) == 0u);
}

BOOST_AUTO_TEST_CASE(no_block_is_drawn_twice_and_tables_reach_to_the_end) {
  rank_fixture rank{instance_role::generation};
  for (std::size_t g = 0; g < rank.layout.groups.size(); ++g) {
    std::set<std::uint32_t> seen;
    for (std::size_t i = 0; i < rank.tables.size(); ++i) {
      const auto& table = rank.tables[i][g];
      const auto tokens = rank.run.requests[i].tokens;
      BOOST_TEST(table.first_block_token % 4 == 0u);
      BOOST_TEST(table.first_block_token + table.blocks.size() * 4 >= tokens);
      BOOST_TEST(table.first_block_token + table.blocks.size() * 4 < tokens + 4);
      if (rank.layout.groups[g].window == 0 || tokens <= 6)
        BOOST_TEST(table.first_block_token == 0u);
      else
        BOOST_TEST(table.first_block_token <= tokens - 6);
      for (auto block : table.blocks) {
        BOOST_TEST(block < 40u);
        BOOST_TEST(seen.insert(block).second);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(blocks_can_be_drawn_to_the_last_one) {
  auto run = rank_fixture::make("tensor", "NHD");
  run.sides.context.blocks = 8 + 4 + 2;
  const auto layout =
      build_instance(run.model, run.sides.context, instance_role::context, "test").value().at(0);
  std::set<std::uint32_t> seen;
  for (const auto& tables : draw_blocks(run, layout))
    seen.insert(tables[0].blocks.begin(), tables[0].blocks.end());
  BOOST_TEST(seen.size() == 14u);
  BOOST_TEST(*seen.rbegin() == 13u);
}

BOOST_AUTO_TEST_CASE(a_slice_gets_the_blocks_that_hold_its_tokens) {
  const group_blocks table{"g", 8, {20, 21, 22, 23}};
  const auto is = [&](token_range tokens, std::uint32_t first, std::vector<std::uint32_t> blocks) {
    return part_of(table, 4, tokens) == group_blocks{"g", first, std::move(blocks)};
  };
  BOOST_TEST(is({0, 24}, 8, {20, 21, 22, 23}));
  BOOST_TEST(is({0, 8}, 8, {}));
  BOOST_TEST(is({0, 9}, 8, {20}));
  BOOST_TEST(is({10, 15}, 8, {20, 21}));
  BOOST_TEST(is({12, 16}, 12, {21}));
  BOOST_TEST(is({15, 23}, 12, {21, 22, 23}));
}

BOOST_AUTO_TEST_CASE(what_was_written_is_found_in_all_pool_orders) {
  for (const char* pool : {"block_first", "layer_first", "tensor"})
    for (const char* inner : {"HND", "NHD"}) {
      BOOST_TEST_CONTEXT(pool << " " << inner) {
        rank_fixture rank{instance_role::context, pool, inner};
        write_requests(rank.cache());
        BOOST_TEST(check_context(rank.cache()).stray == 0u);
        // As many bytes as the tables hold tokens, less those that happen to be 0xA5.
        std::uint64_t written = 0;
        for (const auto& bytes : rank.memory)
          written += touched_bytes(bytes);
        BOOST_TEST(written > 0u);
        flip(rank.memory[0][rank.memory[0].size() / 2]);
        BOOST_TEST(check_context(rank.cache()).stray == 1u);
      }
    }
}

BOOST_AUTO_TEST_CASE(any_flipped_byte_of_a_context_rank_is_seen) {
  rank_fixture rank{instance_role::context, "layer_first", "NHD"};
  write_requests(rank.cache());
  for (auto& pool : rank.memory)
    for (std::size_t at = 0; at < pool.size(); at += 37) {
      flip(pool[at]);
      BOOST_REQUIRE(check_context(rank.cache()).stray == 1u);
      flip(pool[at]);
    }
}

BOOST_AUTO_TEST_CASE(a_generation_rank_must_hold_what_completed_and_nothing_else) {
  rank_fixture rank{instance_role::generation};
  const auto missing = check_generation(rank.cache(), all_completed);
  BOOST_TEST(missing.mismatched > 0u);
  BOOST_TEST(missing.stray == 0u);
  BOOST_TEST(check_generation(rank.cache(), {false, false, false}).mismatched == 0u);

  write_requests(rank.cache());
  const auto cached_written = check_generation(rank.cache(), all_completed);
  BOOST_TEST(cached_written.mismatched == 0u);
  BOOST_TEST(cached_written.stray > 0u); // whole cached blocks were written too
}

BOOST_AUTO_TEST_CASE(only_wanted_tokens_and_blocks_of_nobody_are_checked) {
  rank_fixture rank{instance_role::generation};
  write_requests(rank.cache());
  const auto before = check_generation(rank.cache(), all_completed);
  const auto& full = rank.layout.groups[0];
  const auto& buffer = full.buffers[0];
  const auto& blocks = rank.tables[0][0].blocks;

  flip(rank.at(buffer, blocks[0]));
  BOOST_TEST(check_generation(rank.cache(), all_completed).mismatched == 1u);
  BOOST_TEST(check_generation(rank.cache(), {false, true, true}).mismatched == 0u);
  flip(rank.at(buffer, blocks[0]));

  // Token 31 of a request of 30 lies past its end.
  auto& past_end = (&rank.at(buffer, blocks[7]))[3 * buffer.token_stride];
  flip(past_end);
  BOOST_TEST(check_generation(rank.cache(), all_completed).mismatched == 0u);
  BOOST_TEST(check_generation(rank.cache(), all_completed).stray == before.stray);

  std::set<std::uint32_t> used;
  for (const auto& tables : rank.tables)
    used.insert(tables[0].blocks.begin(), tables[0].blocks.end());
  std::uint32_t nobodys = 0;
  while (used.contains(nobodys))
    ++nobodys;
  flip(rank.at(buffer, nobodys));
  BOOST_TEST(check_generation(rank.cache(), all_completed).stray == before.stray + 1);
}

/// A context rank of a model of state: the second of three.
struct state_fixture {
  state_fixture() {
    for (const auto& pool : layout.pools)
      memory.emplace_back(pool.bytes());
    clear_pools(cache());
  }

  rank_cache cache() {
    rank_cache result{run, layout, tables, {}};
    for (auto& pool : memory)
      result.pools.push_back(pool);
    return result;
  }

  scenario run = parse_scenario(R"({"seed": 11, "workflow": "ctx_first", "model": {"layers": 1,
    "kv_heads": 1, "head_dim": 1, "dtype": "fp16", "state": {"layers": [0], "conv_bytes": 100,
    "ssm_heads": 4, "ssm_head_bytes": 6}}, "requests": [{"id": 9, "tokens": 30},
    {"id": 4, "tokens": 8, "cached_tokens": 8}],
    "context": {"tp": 3, "pp": 1, "tokens_per_block": 4, "blocks": 5},
    "generation": {"tp": 1, "pp": 1, "tokens_per_block": 4, "blocks": 5}})")
                     .value();
  rank_layout layout =
      build_instance(run.model, run.sides.context, instance_role::context, "test").value().at(1);
  std::vector<request_tables> tables = draw_blocks(run, layout);
  std::vector<std::vector<std::byte>> memory;
};

BOOST_AUTO_TEST_CASE(state_is_numbered_over_the_whole_layer) {
  state_fixture rank;
  write_requests(rank.cache());
  BOOST_TEST(check_context(rank.cache()).stray == 0u);
  // Bytes [33, 66) of the convolution, then head 1 of the state.
  BOOST_REQUIRE(rank.memory[0].size() == 5u * (33 + 6));
  std::array<std::byte, 100> whole{};
  head_pattern{11, request_id{9}, 0, cache_role::conv, 0, 1}.fill(0, whole);
  const auto* slot = rank.memory[0].data() + rank.tables[0][0].blocks.at(0) * 39;
  BOOST_TEST(std::memcmp(slot, whole.data() + 33, 33) == 0);
  std::array<std::byte, 6> head{};
  head_pattern{11, request_id{9}, 0, cache_role::ssm, 1, 1}.fill(0, head);
  BOOST_TEST(std::memcmp(slot + 33, head.data(), 6) == 0);
}

BOOST_AUTO_TEST_CASE(state_is_wanted_unless_all_tokens_are_cached) {
  state_fixture rank;
  // Its layout serves for the other side as well.
  BOOST_TEST(check_generation(rank.cache(), {true, true}).mismatched > 30u);
  write_requests(rank.cache());
  const auto wrong = check_generation(rank.cache(), {true, true});
  BOOST_TEST(wrong.mismatched == 0u);
  BOOST_TEST(wrong.stray > 30u);
  BOOST_TEST(wrong.stray <= 39u);
}

BOOST_AUTO_TEST_CASE(a_dump_holds_the_pools_and_where_everything_lies) {
  rank_fixture rank{instance_role::context, "tensor"};
  write_requests(rank.cache());
  const auto directory =
      std::filesystem::temp_directory_path() / ("baton_dump_" + std::to_string(::getpid()));
  std::filesystem::create_directories(directory);
  const std::vector<request_state> states(3, request_state::context_complete);
  BOOST_REQUIRE(dump_rank(directory, rank.cache(), states));

  std::ifstream file{directory / "context-0.json"};
  const auto document = nlohmann::json::parse(file);
  BOOST_TEST(document["side"] == "context");
  BOOST_TEST(document["incarnation"].is_string());
  BOOST_TEST(document["pools"].size() == rank.layout.pools.size());
  BOOST_TEST(document["buffers"].size() == 6u);
  BOOST_TEST(document["requests"].size() == 6u);
  BOOST_TEST(document["requests"][0]["state"] == "CONTEXT_COMPLETE");
  std::ifstream pool{directory / document["pools"][1]["file"].get<std::string>(), std::ios::binary};
  const std::string bytes{std::istreambuf_iterator<char>{pool}, {}};
  BOOST_REQUIRE(bytes.size() == rank.memory[1].size());
  BOOST_TEST(std::memcmp(bytes.data(), rank.memory[1].data(), bytes.size()) == 0);

  clear_dump(directory, rank.run);
  BOOST_TEST(!std::filesystem::exists(directory / "context-0.json"));
  std::filesystem::remove_all(directory);
}

BOOST_AUTO_TEST_SUITE_END()
