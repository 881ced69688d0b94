#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "messages/conversion.hpp"
#include "messages/layout.hpp"
#include "messages/layout_check.hpp"
#include "tests/sample_layout.hpp"

using namespace baton;
using namespace baton::test;

namespace {

/// Checks that a result is an error of the given code whose text holds all of `words`.
template <class Result>
void check_refused(const Result& result, errc code, const std::vector<std::string_view>& words) {
  BOOST_TEST_REQUIRE(!result.has_value());
  BOOST_TEST_CONTEXT(to_string(result.error())) {
    BOOST_TEST((result.error().code == code));
    for (const auto word : words)
      BOOST_TEST_CONTEXT(word) {
        BOOST_TEST((result.error().text.find(word) != std::string::npos));
      }
  }
}

template <class Result>
void check_good(const Result& result) {
  BOOST_TEST(result.has_value(), (result ? std::string{} : to_string(result.error())));
}

/// One change that makes the sample layout invalid, and the field that must be named.
struct spoiled {
  std::string_view field;
  std::function<void(rank_layout&)> change;
};

/// A layout of one pool and one group for overlap tests; buffers are added by the test.
rank_layout bare_layout(std::uint64_t slot_bytes, std::uint64_t slots, std::uint32_t tokens) {
  rank_layout out;
  out.instance = "ctx";
  out.model = "sample";
  out.pools = {{memory_kind::host, 0, "", slot_bytes, slots}};
  out.groups = {{"full", tokens, 0, {}}};
  return out;
}

/// A buffer of bytes.
buffer_layout byte_buffer(std::uint32_t layer, std::uint64_t offset, std::uint64_t slot_stride,
                          std::uint32_t heads, std::uint64_t head_stride,
                          std::uint64_t token_stride, std::uint32_t dim) {
  return {.layer = layer,
          .role = cache_role::key,
          .pool = 0,
          .offset = offset,
          .slot_stride = slot_stride,
          .first_head = 0,
          .head_count = heads,
          .total_heads = heads,
          .head_stride = head_stride,
          .token_stride = token_stride,
          .head_dim = dim,
          .type = element_type::byte};
}

/// The same buffer with elements of fp8_e4m3.
buffer_layout fp8(buffer_layout buffer, std::vector<float> scales) {
  buffer.type = element_type::fp8_e4m3;
  buffer.scales = std::move(scales);
  return buffer;
}

/// Gives a buffer of all ranks that hold it the elements of fp8_e4m3, of which head h has
/// scales[h].
void to_fp8(std::vector<rank_layout>& ranks, std::uint32_t layer,
            const std::vector<float>& scales) {
  for (auto& rank : ranks)
    for (auto& buffer : rank.groups[0].buffers)
      if (buffer.layer == layer && buffer.role == cache_role::key)
        buffer = fp8(buffer, {scales.begin() + buffer.first_head,
                              scales.begin() + buffer.first_head + buffer.head_count});
}

/// What `validate` must say, found out by marking bytes.
bool fits_and_is_disjoint(const rank_layout& layout) {
  const auto& pool = layout.pools.front();
  std::vector<bool> taken(pool.bytes());
  for (const auto& group : layout.groups)
    for (const auto& b : group.buffers)
      for (std::uint64_t slot = 0; slot < pool.slots; ++slot)
        for (std::uint64_t head = 0; head < b.head_count; ++head)
          for (std::uint64_t token = 0; token < group.tokens_per_block; ++token)
            for (std::uint64_t dim = 0; dim < b.row_bytes(); ++dim) {
              const auto at = b.offset + slot * b.slot_stride + head * b.head_stride +
                              token * b.token_stride + dim;
              if (at >= taken.size() || taken[at])
                return false;
              taken[at] = true;
            }
  return true;
}

/// Draws small layouts of which a fair share is valid: strides are products of the sizes more often
/// than not.
class layout_source {
public:
  explicit layout_source(std::uint64_t seed) : random_{seed} {}

  rank_layout next() {
    const auto slots = below(4) + 1;
    const auto tokens = static_cast<std::uint32_t>(below(3) + 1);
    auto layout = bare_layout(32 + below(64), slots, tokens);
    const auto common = below(60) + 1;
    const auto buffers = below(4) + 1;
    for (std::uint32_t i = 0; i < buffers; ++i) {
      const auto heads = static_cast<std::uint32_t>(below(3) + 1);
      const auto dim = static_cast<std::uint32_t>(below(4) + 1);
      layout.groups[0].buffers.push_back(byte_buffer(i, below(70),
                                                     below(4) == 0 ? below(60) : common, heads,
                                                     stride(dim, tokens), stride(dim, heads), dim));
    }
    return layout;
  }

private:
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  std::uint64_t stride(std::uint64_t row, std::uint64_t other) {
    const std::uint64_t choices[] = {row, row * other, row * other + 1, below(24)};
    return choices[below(4)];
  }

  std::mt19937_64 random_;
};

} // namespace

BOOST_AUTO_TEST_SUITE(layout_values)

BOOST_AUTO_TEST_CASE(every_enumerator_has_its_name) {
  const std::vector<std::string_view> roles{"key",       "value",       "latent", "indexer_key",
                                            "key_scale", "value_scale", "conv",   "ssm"};
  for (std::size_t i = 0; i < roles.size(); ++i)
    BOOST_TEST(to_string(static_cast<cache_role>(i)) == roles[i]);
  BOOST_TEST(roles.size() == static_cast<std::size_t>(last_cache_role) + 1);
  const std::vector<std::pair<std::string_view, std::uint32_t>> types{
      {"fp32", 4}, {"bf16", 2}, {"fp16", 2}, {"fp8_e4m3", 1}, {"int8", 1}, {"byte", 1}};
  for (std::size_t i = 0; i < types.size(); ++i) {
    BOOST_TEST(to_string(static_cast<element_type>(i + 1)) == types[i].first);
    BOOST_TEST(size_of(static_cast<element_type>(i + 1)) == types[i].second);
  }
  BOOST_TEST(types.size() == static_cast<std::size_t>(last_element_type));
  BOOST_TEST(to_string(memory_kind::host) == "host");
  BOOST_TEST(to_string(memory_kind::cuda) == "cuda");
  BOOST_TEST(to_string(instance_role::context) == "context");
  BOOST_TEST(to_string(instance_role::generation) == "generation");
}

BOOST_AUTO_TEST_CASE(numbers_that_are_no_enumerators_are_unknown) {
  BOOST_TEST(to_string(cache_role{200}) == "unknown");
  BOOST_TEST(to_string(element_type{0}) == "unknown");
  BOOST_TEST(to_string(memory_kind{0}) == "unknown");
  BOOST_TEST(to_string(instance_role{0}) == "unknown");
  BOOST_TEST(size_of(element_type{200}) == 0u);
}

BOOST_AUTO_TEST_CASE(layer_ranges_know_their_layers) {
  constexpr auto no_end = layer_range::no_end;
  BOOST_TEST(!layer_range{}.empty());
  BOOST_TEST((layer_range{4, 4}.empty() && layer_range{5, 4}.empty()));
  BOOST_TEST((!layer_range{no_end, no_end}.empty()));
  BOOST_TEST((layer_range{4, 6}.contains(5) && !layer_range{4, 6}.contains(6)));
  BOOST_TEST((!layer_range{4, 6}.contains(3) && layer_range{4, no_end}.contains(no_end)));
  BOOST_TEST((layer_range{}.contains(layer_range{4, no_end})));
  BOOST_TEST((layer_range{4, 6}.contains(layer_range{5, 6})));
  BOOST_TEST((!layer_range{4, 6}.contains(layer_range{3, 5})));
  BOOST_TEST((!layer_range{4, 6}.contains(layer_range{5, no_end})));
  BOOST_TEST((common_layers({}, {4, 6}) == layer_range{4, 6}));
  BOOST_TEST((common_layers({4, 6}, {5, no_end}) == layer_range{5, 6}));
  BOOST_TEST((common_layers({4, 6}, {6, no_end}).empty()));
  BOOST_TEST((to_string(layer_range{4, 6}) == "[4, 6)"));
  BOOST_TEST((to_string(layer_range{4, no_end}) == "[4, ...)"));
}

BOOST_AUTO_TEST_CASE(token_ranges_intersect) {
  BOOST_TEST((intersect({0, 10}, {5, 20}) == token_range{5, 10}));
  BOOST_TEST((intersect({5, 20}, {0, 10}) == token_range{5, 10}));
  BOOST_TEST((intersect({0, 5}, {5, 9}) == token_range{0, 0}));
  BOOST_TEST((intersect({0, 5}, {7, 9}) == token_range{0, 0}));
}

BOOST_AUTO_TEST_CASE(groups_are_found_by_name) {
  const auto rank = sample_rank({}, 0);
  BOOST_TEST((rank.find_group("full") == std::optional<std::size_t>{0}));
  BOOST_TEST((rank.find_group("state") == std::optional<std::size_t>{1}));
  BOOST_TEST(!rank.find_group("swa").has_value());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(layout_validation)

BOOST_AUTO_TEST_CASE(the_sample_layouts_are_valid) {
  for (const auto& shape :
       {sample_shape{}, sample_shape{2, 2}, sample_shape{4, 1}, sample_shape{2, 1, true}}) {
    for (const auto& rank : sample_instance(shape))
      check_good(validate(rank));
    check_good(validate_instance(sample_instance(shape)));
  }
}

BOOST_AUTO_TEST_CASE(every_refusal_names_its_field) {
  const std::string long_name(layout_limits::name_bytes + 1, 'x');
  const auto at = [](rank_layout& l, std::size_t i) -> buffer_layout& {
    return l.groups[0].buffers[i];
  };
  const std::vector<spoiled> cases{
      {"instance:", [](auto& l) { l.instance.clear(); }},
      {"instance:", [&](auto& l) { l.instance = long_name; }},
      {"model:", [](auto& l) { l.model.clear(); }},
      {"role:", [](auto& l) { l.role = instance_role{3}; }},
      {"tp_size:", [](auto& l) { l.tp_size = 0; }},
      {"pp_size:", [](auto& l) { l.pp_size = 0; }},
      {"tp_size * pp_size:", [](auto& l) { l.tp_size = layout_limits::ranks + 1; }},
      {"tp_size * pp_size:", [](auto& l) { l.tp_size = l.pp_size = 1u << 16; }},
      {"rank:", [](auto& l) { l.rank = l.ranks(); }},
      {"pools:", [](auto& l) { l.pools.clear(); }},
      {"pools:", [](auto& l) { l.pools.resize(layout_limits::pools + 1, l.pools[0]); }},
      {"groups:", [](auto& l) { l.groups.clear(); }},
      {"groups:", [](auto& l) { l.groups.resize(layout_limits::groups + 1, l.groups[0]); }},
      {"groups:",
       [&](auto& l) { l.groups[0].buffers.resize(layout_limits::buffers + 1, at(l, 0)); }},
      {"pools[0].kind:", [](auto& l) { l.pools[0].kind = memory_kind{0}; }},
      {"pools[0].device:", [](auto& l) { l.pools[0].device = 1; }},
      {"pools[0].device_uuid:", [](auto& l) { l.pools[0].device_uuid = "GPU-1"; }},
      {"pools[0].device_uuid:", [](auto& l) { l.pools[0].kind = memory_kind::cuda; }},
      {"pools[0].slot_bytes:", [](auto& l) { l.pools[0].slot_bytes = 0; }},
      {"pools[0].slot_bytes:", [](auto& l) { l.pools[0].slot_bytes = layout_limits::pool_bytes; }},
      {"pools[0].slot_bytes:", [](auto& l) { l.pools[0].slot_bytes = ~0ull; }},
      {"pools[0].slots:", [](auto& l) { l.pools[0].slots = 0; }},
      {"pools[0].slots:", [](auto& l) { l.pools[0].slots = layout_limits::slots + 1; }},
      {"groups[0].name:", [](auto& l) { l.groups[0].name.clear(); }},
      {"groups[1].name:", [](auto& l) { l.groups[1].name = "full"; }},
      {"groups[0].buffers:", [](auto& l) { l.groups[0].buffers.clear(); }},
      {"groups[0].buffers[3].role:", [&](auto& l) { at(l, 3).role = cache_role{8}; }},
      {"groups[0].buffers[3].type:", [&](auto& l) { at(l, 3).type = element_type{0}; }},
      {"groups[0].buffers[3].type:", [&](auto& l) { at(l, 3).type = element_type{7}; }},
      {"groups[0].buffers[3].pool:", [&](auto& l) { at(l, 3).pool = 2; }},
      {"groups[0].buffers[3].section:", [&](auto& l) { at(l, 3).section = 1; }},
      {"groups[1].buffers[0].section:",
       [](auto& l) {
         l.groups[1].buffers[0].role = cache_role::conv;
         l.groups[1].buffers[0].section = layout_limits::sections;
       }},
      {"groups[1].window:", [](auto& l) { l.groups[1].window = 4; }},
      {"groups[0].buffers[3].total_heads:", [&](auto& l) { at(l, 3).total_heads = 0; }},
      {"groups[0].buffers[3].head_count:", [&](auto& l) { at(l, 3).head_count = 0; }},
      {"groups[0].buffers[3].head_count:", [&](auto& l) { at(l, 3).first_head = 1; }},
      {"groups[0].buffers[3].head_count:", [&](auto& l) { at(l, 3).first_head = ~0u; }},
      {"groups[0].buffers[3].head_dim:", [&](auto& l) { at(l, 3).head_dim = 0; }},
      {"groups[0].buffers[3].offset:", [&](auto& l) { at(l, 3).offset = l.pools[0].bytes(); }},
      {"groups[0].buffers[3].offset:", [&](auto& l) { at(l, 3).offset = ~0ull; }},
      {"groups[0].buffers[3].offset:", [&](auto& l) { at(l, 3).head_dim = ~0u; }},
      {"groups[0].buffers[3].token_stride:", [&](auto& l) { at(l, 3).token_stride = 15; }},
      {"groups[0].buffers[3].token_stride:", [&](auto& l) { at(l, 3).token_stride = ~0ull; }},
      {"groups[0].buffers[3].head_stride:", [&](auto& l) { at(l, 3).head_stride = 0; }},
      {"groups[0].buffers[3].head_stride:", [&](auto& l) { at(l, 3).head_stride = 1ull << 63; }},
      {"groups[0].buffers[3].slot_stride:", [&](auto& l) { at(l, 3).slot_stride = 15; }},
      {"groups[0].buffers[3].slot_stride:", [&](auto& l) { at(l, 3).slot_stride += 100; }},
      {"groups[0].buffers[3].slot_stride:", [&](auto& l) { at(l, 3).slot_stride = ~0ull; }},
      {"groups[0].buffers[3].scales: only fp8_e4m3", [&](auto& l) { at(l, 3).scales = {1}; }},
      {"groups[0].buffers[3].scales: 2 given",
       [&](auto& l) {
         at(l, 3) = fp8(at(l, 3), {1, 1});
       }},
      {"groups[0].buffers[3].scales[0]:", [&](auto& l) { at(l, 3) = fp8(at(l, 3), {0}); }},
      {"groups[0].buffers[3].scales[0]:", [&](auto& l) { at(l, 3) = fp8(at(l, 3), {NAN}); }},
      {"groups[0].buffers[3].scales[0]:", [&](auto& l) { at(l, 3) = fp8(at(l, 3), {INFINITY}); }},
      {"groups[0].buffers[3].scales[3]:",
       [&](auto& l) {
         at(l, 3) = fp8(at(l, 3), {1, 1, 1, most_scale * 2});
       }},
      {"groups[0].buffers[3].scales[3]:",
       [&](auto& l) {
         at(l, 3) = fp8(at(l, 3), {1, 1, 1, least_scale / 2});
       }},
      {"groups[0].buffers[3].layer:", [&](auto& l) { at(l, 3).layer = 0; }},
      {"groups[0].buffers[3].layer:", [&](auto& l) { at(l, 3).role = cache_role::key; }},
      {"groups[1].buffers[0].layer:",
       [](auto& l) { l.groups[1].buffers[0].role = cache_role::value; }},
  };
  for (const auto& [field, change] : cases) {
    auto layout = sample_rank({.tp = 1, .pp = 1}, 0);
    change(layout);
    BOOST_TEST_CONTEXT(field) {
      check_refused(validate(layout), errc::invalid_argument, {field});
    }
  }
}

BOOST_AUTO_TEST_CASE(a_layout_at_its_limits_is_valid) {
  auto layout = sample_rank({}, 0);
  layout.instance = layout.model = std::string(layout_limits::name_bytes, 'x');
  layout.tp_size = 64;
  layout.pp_size = layout_limits::ranks / 64;
  layout.rank = layout_limits::ranks - 1;
  layout.pools[0].slots = layout_limits::slots;
  layout.pools[0].slot_bytes = layout_limits::pool_bytes / layout_limits::slots;
  check_good(validate(layout));
}

BOOST_AUTO_TEST_CASE(a_buffer_may_end_with_its_pool_but_not_one_byte_later) {
  auto layout = bare_layout(8, 2, 2);
  layout.groups[0].buffers = {byte_buffer(0, 0, 8, 2, 4, 2, 2)};
  check_good(validate(layout));
  layout.groups[0].buffers[0].offset = 1;
  check_refused(validate(layout), errc::invalid_argument, {"groups[0].buffers[0].slot_stride"});
}

BOOST_AUTO_TEST_CASE(strides_of_axes_of_length_one_do_not_matter) {
  auto layout = bare_layout(8, 1, 1);
  layout.groups[0].buffers = {byte_buffer(0, 0, ~0ull, 1, ~0ull, 0, 8)};
  check_good(validate(layout));
}

BOOST_AUTO_TEST_CASE(overlapping_buffers_are_both_named) {
  auto layout = sample_rank({}, 0);
  layout.groups[0].buffers[5].offset -= 1;
  check_refused(validate(layout), errc::invalid_argument,
                {"groups[0].buffers[4]", "groups[0].buffers[5]", "pools[0]"});
}

BOOST_AUTO_TEST_CASE(buffers_of_two_groups_must_not_share_memory) {
  auto layout = sample_rank({}, 0);
  layout.groups[1].buffers[0].pool = 0;
  layout.groups[1].buffers[0].slot_stride = layout.groups[0].buffers[0].slot_stride;
  check_refused(validate(layout), errc::invalid_argument,
                {"groups[0].buffers[0]", "groups[1].buffers[0]"});
}

BOOST_AUTO_TEST_CASE(a_buffer_that_overlaps_itself_is_named) {
  auto layout = bare_layout(64, 2, 2);
  layout.groups[0].buffers = {byte_buffer(0, 0, 64, 3, 4, 8, 4)};
  check_refused(validate(layout), errc::invalid_argument,
                {"groups[0].buffers[0]", "overlap each other", "head_stride"});
}

BOOST_AUTO_TEST_CASE(overlap_agrees_with_a_map_of_bytes) {
  const std::uint64_t seed = 20260101;
  BOOST_TEST_MESSAGE("seed " << seed);
  layout_source source{seed};
  int valid = 0;
  constexpr int cases = 60'000;
  for (int i = 0; i < cases; ++i) {
    const auto layout = source.next();
    const bool expected_valid = fits_and_is_disjoint(layout);
    const auto result = validate(layout);
    valid += expected_valid;
    if (result.has_value() != expected_valid)
      BOOST_FAIL("seed " << seed << ", case " << i << ": expected "
                         << (expected_valid ? "valid" : "refusal") << ", got "
                         << (result ? "valid" : to_string(result.error())));
  }
  BOOST_TEST_MESSAGE(valid << " of " << cases << " are valid");
  BOOST_TEST(valid > cases / 50);
}

BOOST_AUTO_TEST_CASE(the_largest_packed_layout_is_decided_without_looking_at_slots) {
  auto layout = bare_layout(layout_limits::buffers * 8, 1u << 24, 4);
  for (std::uint32_t i = 0; i < layout_limits::buffers; ++i)
    layout.groups[0].buffers.push_back(
        byte_buffer(i, i * 8, layout_limits::buffers * 8, 2, 4, 1, 1));
  std::size_t work = layout_limits::buffers;
  check_good(check_overlaps(layout, work));
  BOOST_TEST(work == 0u);
  layout.groups[0].buffers[77].offset += 1;
  check_refused(validate(layout), errc::invalid_argument, {"buffers[77]", "buffers[78]"});
}

BOOST_AUTO_TEST_CASE(a_layout_is_refused_one_piece_past_the_work_allowed) {
  auto layout = bare_layout(64, 1000, 4);
  layout.groups[0].buffers = {byte_buffer(0, 0, 64, 1, 0, 16, 4),
                              byte_buffer(1, 4, 64, 1, 0, 16, 4)};
  std::size_t work = 8;
  check_good(check_overlaps(layout, work));
  BOOST_TEST(work == 0u);
  work = 7;
  check_refused(check_overlaps(layout, work), errc::invalid_argument, {"buffers[1]", "intricate"});
}

BOOST_AUTO_TEST_CASE(interleaved_strides_that_take_too_long_to_verify_are_refused) {
  auto layout = bare_layout(1024, layout_limits::slots, 1);
  layout.groups[0].buffers = {byte_buffer(0, 0, 16, 1, 0, 0, 8), byte_buffer(1, 8, 32, 1, 0, 0, 8)};
  check_refused(validate(layout), errc::invalid_argument, {"intricate"});
  layout.pools[0].slots = 1;
  check_good(validate(layout));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(layout_compatibility)

BOOST_AUTO_TEST_CASE(what_may_differ_does_not_matter) {
  const sample_shape generation{4, 1, false, 8, instance_role::generation};
  const auto context = sample_instance({2, 2});
  for (const auto& a : context)
    for (const auto& b : sample_instance(generation)) {
      check_good(compatible(a, b));
      check_good(compatible(b, a));
    }
  check_good(compatible_instances(context, sample_instance(generation)));
  check_good(
      compatible_instances(context, sample_instance({2, 1, true, 2, instance_role::generation})));
}

BOOST_AUTO_TEST_CASE(what_must_agree_is_named_with_both_values) {
  struct difference {
    std::vector<std::string_view> words;
    std::function<void(rank_layout&)> change;
  };
  const auto at = [](rank_layout& l) -> buffer_layout& { return l.groups[0].buffers[1]; };
  const std::vector<difference> cases{
      {{"model", "sample", "other"}, [](auto& l) { l.model = "other"; }},
      {{"layer 0 key", "group name", "full", "swa"}, [](auto& l) { l.groups[0].name = "swa"; }},
      {{"layer 0 key", "window", "0", "64"}, [](auto& l) { l.groups[0].window = 64; }},
      {{"layer 0 key", "tokens_per_block", "state", "blocks"},
       [](auto& l) { l.groups[0].tokens_per_block = 0; }},
      {{"layer 0 value", "total_heads", "4", "8"}, [&](auto& l) { at(l).total_heads = 8; }},
      {{"layer 0 value", "head_dim", "8", "16"}, [&](auto& l) { at(l).head_dim = 16; }},
      {{"layer 0 value", "type", "bf16", "int8", "bf16 converts to fp32, fp16 or fp8_e4m3"},
       [&](auto& l) { at(l).type = element_type::int8; }},
  };
  const auto a = sample_rank({}, 0);
  for (const auto& [words, change] : cases) {
    auto b = sample_rank({.role = instance_role::generation}, 0);
    change(b);
    check_refused(compatible(a, b), errc::incompatible_layout, words);
    check_refused(compatible(b, a), errc::incompatible_layout, words);
    check_refused(compatible_instances({&a, 1}, {&b, 1}), errc::incompatible_layout, words);
    check_refused(compatible_instances({&b, 1}, {&a, 1}), errc::incompatible_layout, words);
  }
}

BOOST_AUTO_TEST_CASE(the_context_may_keep_what_can_be_converted_and_not_the_other_way_round) {
  const auto context = sample_instance({2, 1});
  auto generation = sample_instance({4, 1, false, 8, instance_role::generation});
  to_fp8(generation, 1, {1, 2, 3, 4});
  check_good(validate_instance(generation));
  check_good(compatible_instances(context, generation));
  for (const auto& a : context)
    for (const auto& b : generation) {
      check_good(compatible(a, b));
      check_good(compatible(b, a));
    }
  auto backwards = sample_instance({2, 1});
  to_fp8(backwards, 1, {1, 2, 3, 4});
  check_refused(
      compatible_instances(backwards, sample_instance({.role = instance_role::generation})),
      errc::incompatible_layout,
      {"layer 1 key: type: fp8_e4m3 in context ctx rank 0, but bf16 in generation gen "
       "rank 0; fp8_e4m3 cannot be converted"});
}

BOOST_AUTO_TEST_CASE(scales_agree_between_fp8_caches_head_by_head) {
  auto context = sample_instance({2, 1});
  auto generation = sample_instance({.role = instance_role::generation});
  to_fp8(context, 1, {1, 2, 3, 3});
  to_fp8(generation, 1, {1, 2, 3, 3});
  context[1].groups[0].buffers[2].scales = {3}; // for both of its heads
  check_good(compatible_instances(context, generation));
  check_good(compatible(generation[0], context[1]));
  generation[0].groups[0].buffers[2].scales[3] = 4;
  const std::vector<std::string_view> words{
      "layer 1 key: scale of head 3", "3 in context ctx rank 1", "4 in generation gen rank 0"};
  check_refused(compatible_instances(context, generation), errc::incompatible_layout, words);
  check_refused(compatible(context[1], generation[0]), errc::incompatible_layout, words);
  check_good(compatible(context[0], generation[0]));
  generation[0].groups[0].buffers[2].scales.clear();
  check_refused(compatible_instances(context, generation), errc::incompatible_layout,
                {"2 in context ctx rank 0", "1 in generation gen rank 0"});
}

BOOST_AUTO_TEST_CASE(a_head_has_one_scale_on_all_ranks_of_an_instance) {
  auto ranks = sample_instance({2, 1, true});
  to_fp8(ranks, 2, {1, 2, 3, 4});
  check_good(validate_instance(ranks));
  ranks[1].groups[0].buffers[4].scales[1] = 5;
  check_refused(
      validate_instance(ranks), errc::invalid_argument,
      {"layer 2 key: scale of head 1", "2 in context ctx rank 0", "5 in context ctx rank 1"});
  ranks = sample_instance({2, 1, true});
  ranks[1].groups[0].buffers[4] = fp8(ranks[1].groups[0].buffers[4], {});
  check_refused(validate_instance(ranks), errc::invalid_argument,
                {"layer 2 key: type", "bf16", "fp8_e4m3", "rank 1"});
}

BOOST_AUTO_TEST_CASE(ranks_are_compatible_although_they_hold_different_layers) {
  const auto ranks = sample_instance({1, 2});
  check_good(compatible(ranks[0], ranks[1]));
}

BOOST_AUTO_TEST_CASE(a_layer_that_one_instance_lacks_is_named) {
  const auto whole = sample_instance({});
  auto part = sample_instance({.role = instance_role::generation});
  part[0].groups[0].buffers.pop_back();
  check_refused(compatible_instances(whole, part), errc::incompatible_layout,
                {"layer 3 value", "no rank of generation gen"});
  check_refused(compatible_instances(part, whole), errc::incompatible_layout,
                {"layer 3 value", "no rank of generation gen"});
  check_refused(compatible_instances(whole, {}), errc::incompatible_layout, {"generation"});
}

/// The sample's rank 0 with its state turned into sections of a convolution, packed.
rank_layout with_sections(instance_role role, std::vector<std::uint32_t> sections) {
  auto layout = sample_rank({.role = role}, 0);
  auto& buffers = layout.groups[1].buffers;
  const auto first = buffers[0];
  buffers.clear();
  for (const auto section : sections) {
    auto part = first;
    part.role = cache_role::conv;
    part.section = section;
    part.offset = first.slot_stride * buffers.size();
    part.slot_stride = first.slot_stride * sections.size();
    buffers.push_back(part);
  }
  layout.pools[1].slot_bytes = first.slot_stride * sections.size();
  return layout;
}

BOOST_AUTO_TEST_CASE(sections_are_parts_of_their_own) {
  const auto whole = with_sections(instance_role::context, {0, 1, 255});
  check_good(validate(whole));
  check_refused(validate(with_sections(instance_role::context, {1, 0})), errc::invalid_argument,
                {"groups[1].buffers[1].layer", "sorted", "section"});
  check_refused(validate(with_sections(instance_role::context, {0, 1, 1})), errc::invalid_argument,
                {"groups[1].buffers[2].layer", "layer 3 conv section 1"});
}

BOOST_AUTO_TEST_CASE(both_sides_must_have_the_same_sections) {
  const auto context = with_sections(instance_role::context, {0, 1, 2});
  const auto fewer = with_sections(instance_role::generation, {0, 1});
  check_refused(compatible_instances({&context, 1}, {&fewer, 1}), errc::incompatible_layout,
                {"layer 3 conv section 2", "no rank of generation"});
  auto other = with_sections(instance_role::generation, {0, 1, 2});
  check_good(compatible_instances({&context, 1}, {&other, 1}));
  other.groups[1].buffers[1].total_heads = 5;
  check_refused(compatible_instances({&context, 1}, {&other, 1}), errc::incompatible_layout,
                {"layer 3 conv section 1", "total_heads", "4", "5"});
}

BOOST_AUTO_TEST_CASE(ranks_of_one_instance_must_agree) {
  struct difference {
    std::string_view field;
    std::function<void(rank_layout&)> change;
  };
  const std::vector<difference> cases{
      {"instance:", [](auto& l) { l.instance = "other"; }},
      {"role:", [](auto& l) { l.role = instance_role::generation; }},
      {"model:", [](auto& l) { l.model = "other"; }},
      {"tp_size:", [](auto& l) { l.tp_size = 4; }},
      {"pp_size:", [](auto& l) { l.pp_size = 4; }},
      {"attention_dp:", [](auto& l) { l.attention_dp = true; }},
      {"rank:", [](auto& l) { l.rank = 0; }},
      {"head_dim:", [](auto& l) { l.groups[0].buffers[0].head_dim = 4; }},
      {"total_heads:", [](auto& l) { l.groups[0].buffers[0].total_heads = 5; }},
  };
  for (const auto& [field, change] : cases) {
    auto ranks = sample_instance({2, 2});
    change(ranks[1]);
    check_refused(validate_instance(ranks), errc::invalid_argument, {field, "rank 1"});
  }
}

BOOST_AUTO_TEST_CASE(an_instance_must_be_complete) {
  auto ranks = sample_instance({2, 2});
  check_refused(validate_instance({}), errc::invalid_argument, {"ranks"});
  ranks.pop_back();
  check_refused(validate_instance(ranks), errc::invalid_argument, {"3", "4"});
}

BOOST_AUTO_TEST_CASE(each_dp_group_must_hold_every_head) {
  auto ranks = sample_instance({2, 1});
  ranks[1].groups[0].buffers[2].first_head = 1;
  check_refused(validate_instance(ranks), errc::invalid_argument,
                {"layer 1 key", "head 3", "dp group 0"});
  ranks[1].groups[0].buffers[2].first_head = 2;
  ranks[0].groups[0].buffers[2].first_head = 1;
  check_refused(validate_instance(ranks), errc::invalid_argument, {"layer 1 key", "head 0"});
  ranks = sample_instance({2, 1, true});
  ranks[1].groups[0].buffers.erase(ranks[1].groups[0].buffers.begin());
  check_refused(validate_instance(ranks), errc::invalid_argument, {"layer 0 key", "dp group 1"});
}

BOOST_AUTO_TEST_CASE(heads_may_be_replicated_within_a_dp_group) {
  auto ranks = sample_instance({2, 1});
  ranks[1].groups[0].buffers[0].first_head = 0;
  ranks[0].groups[0].buffers[0].head_count = 4;
  check_good(validate_instance(ranks));
}

BOOST_AUTO_TEST_CASE(large_instances_are_compared_without_comparing_all_pairs) {
  const auto grown = [](instance_role role, std::uint32_t count) {
    std::vector<rank_layout> out(count, sample_rank({.role = role}, 0));
    for (std::uint32_t rank = 0; rank < count; ++rank) {
      out[rank].rank = rank;
      out[rank].tp_size = count;
    }
    return out;
  };
  const auto context = grown(instance_role::context, 4096);
  auto generation = grown(instance_role::generation, 4096);
  check_good(validate_instance(context));
  check_good(compatible_instances(context, generation));
  for (auto& rank : generation)
    rank.groups[0].buffers[6].type = element_type::int8;
  check_refused(compatible_instances(context, generation), errc::incompatible_layout,
                {"layer 3 key", "type"});
}

BOOST_AUTO_TEST_SUITE_END()
