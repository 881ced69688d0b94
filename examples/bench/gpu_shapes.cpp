#include <array>
#include <optional>

#include <fmt/format.h>

#include "examples/bench/cases.hpp"
#include "examples/bench/gpu_pair.hpp"
#include "examples/bench/plot.hpp"

namespace baton::bench {

namespace {

constexpr std::uint64_t kibi = 1u << 10;
constexpr std::uint64_t gibi = 1u << 30;

/// A hand-over between two unlike caches.
struct reshape {
  const char* name;
  gpu_setup setup;
  std::optional<target> against_copy;    ///< rate, as a share of the contiguous copy's
  std::optional<target> against_matched; ///< time, in times that of the matched hand-over
};

plane_options mapped_options(const settings& how) {
  auto options = how.plane;
  options.lanes = lane_policy::mapped;
  return options;
}

/// Measures one after the other; the first is the matched one.
findings measure_reshapes(std::span<const reshape> all, const settings& how) {
  findings found;
  gpu_parts parts{found, all.front().setup.bytes()};
  double matched = 0; ///< GB/s
  for (const auto& one : all)
    parts.run(one.name, [&](gpu_pair& ranks) {
      const auto rates = measure_turns(ranks, one.setup, mapped_options(how), how);
      const auto median = summarize(rates.pull).median;
      const auto gigabytes = static_cast<double>(one.setup.bytes()) / 1e9;
      const std::string name = one.name;
      std::vector<double> ms;
      std::vector<double> times;
      if (matched == 0)
        matched = median;
      for (const auto rate : rates.pull) {
        ms.push_back(gigabytes / rate * 1e3);
        times.push_back(matched / rate);
      }
      found.figures.push_back({name, "ms", summarize(ms), {}});
      found.figures.push_back({name, "GB/s", summarize(rates.pull), {}});
      found.figures.push_back({name + " / contiguous copy", "x",
                               summarize(ratios(rates.pull, rates.contiguous)), one.against_copy});
      if (&one != &all.front())
        found.figures.push_back(
            {name + ", time / matched", "x", summarize(times), one.against_matched});
      found.notes.push_back(fmt::format("{}: {} fragments, {:.0f} bytes each on average", name,
                                        ranks.fragments(),
                                        gigabytes * 1e9 / static_cast<double>(ranks.fragments())));
    });
  parts.end();
  return found;
}

/// 1 GiB for the generation rank: key and value of `kv_heads` heads of 256 bytes a token.
gpu_setup attention(std::uint32_t kv_heads, gpu_side context, gpu_side generation,
                    const settings& how) {
  gpu_setup setup;
  setup.kv_heads = kv_heads;
  setup.layers = 256 / kv_heads;
  setup.context = context;
  setup.generation = generation;
  setup.tokens = how.sized(32u, 1u) * 1024;
  return setup;
}

} // namespace

findings measure_gpu_reshape(const settings& how) {
  constexpr gpu_side four{4, 32, false};
  constexpr gpu_side two{2, 32, false};
  constexpr gpu_side four_nhd{4, 32, true};
  constexpr gpu_side two_nhd{2, 32, true};
  constexpr gpu_side large_blocks{4, 64, false};
  const std::array all{
      reshape{"TP4 -> TP4, HND", attention(4, four, four, how), {}, {}},
      reshape{"TP2 -> TP4, HND", attention(4, two, four, how), {}, at_most(1.15)},
      reshape{"TP2 -> TP4, NHD", attention(4, two_nhd, four_nhd, how), at_least(0.5), {}},
      reshape{"HND -> NHD, 2 heads", attention(8, four, four_nhd, how), at_least(0.5), {}},
      reshape{"32 -> 64 tokens a block", attention(4, four, large_blocks, how), at_least(0.9), {}},
  };
  return measure_reshapes(all, how);
}

findings measure_gpu_llama(const settings& how) {
  constexpr gpu_side four{4, 32, false};
  constexpr gpu_side two{2, 32, false};
  gpu_setup matched;
  matched.layers = 80;
  matched.kv_heads = 8;
  matched.context = matched.generation = four;
  matched.tokens = how.sized(8192u, 256u);
  auto other = matched;
  other.context = two;
  const std::array all{reshape{"Llama 3 70B, TP4 -> TP4", matched, {}, {}},
                       reshape{"Llama 3 70B, TP2 -> TP4", other, {}, at_most(1.15)}};
  auto found = measure_reshapes(all, how);
  found.notes.push_back(fmt::format("one request of {} tokens, 80 layers, 8 kv heads of 128 bf16, "
                                    "32 tokens a block, HND, a piece of the pool per layer; seen "
                                    "from one pair of ranks",
                                    matched.tokens));
  return found;
}

findings measure_gpu_convert(const settings& how) {
  const auto pull = [&](element_type from, element_type to) {
    auto setup = attention(4, {4, 32, false, from}, {4, 32, false, to}, how);
    setup.tokens = setup.tokens * size_of(element_type::bf16) / size_of(from);
    return setup;
  };
  constexpr auto bf16 = element_type::bf16;
  constexpr auto fp32 = element_type::fp32;
  const std::array from_bf16{
      reshape{"bf16 -> bf16", pull(bf16, bf16), {}, {}},
      reshape{"bf16 -> fp8_e4m3", pull(bf16, element_type::fp8_e4m3), {}, at_most(1.10)},
      reshape{"bf16 -> fp16", pull(bf16, element_type::fp16), {}, at_most(1.10)},
      reshape{"bf16 -> fp32", pull(bf16, fp32), {}, {}},
  };
  const std::array from_fp32{
      reshape{"fp32 -> fp32", pull(fp32, fp32), {}, {}},
      reshape{"fp32 -> bf16", pull(fp32, bf16), {}, at_most(1.10)},
      reshape{"fp32 -> fp8_e4m3", pull(fp32, element_type::fp8_e4m3), {}, at_most(1.10)},
  };
  auto found = measure_reshapes(from_bf16, how);
  const auto more = measure_reshapes(from_fp32, how);
  found.figures.insert(found.figures.end(), more.figures.begin(), more.figures.end());
  found.notes.insert(found.notes.end(), more.notes.begin() + 1, more.notes.end());
  found.problems.insert(found.problems.end(), more.problems.begin(), more.problems.end());
  found.notes.emplace_back("bytes are those read; the matched case is a plain pull of as many");
  return found;
}

findings measure_gpu_blocks(const settings& how) {
  findings found;
  const auto job = how.sized<std::uint64_t>(gibi, gibi / 32);
  gpu_parts parts{found, job};
  for (const auto fragment : {std::uint64_t{512}, kibi, 4 * kibi, 16 * kibi})
    for (const std::uint32_t blocks : {4u, 8u, 16u, 32u, 64u}) {
      const auto name = fmt::format("{}, {} thread blocks", size_text(fragment), blocks);
      parts.run(name, [&](gpu_pair& ranks) {
        auto options = mapped_options(how);
        options.gpu_blocks = blocks;
        const auto rates = measure_turns(ranks, fragments_of(fragment, job), options, how);
        const bool judged = blocks == (fragment < kibi ? 32u : 16u);
        found.figures.push_back({name, "GB/s", summarize(rates.pull), {}});
        found.figures.push_back({name + " / contiguous", "x",
                                 summarize(ratios(rates.pull, rates.contiguous)),
                                 judged ? std::optional{at_least(0.90)} : std::nullopt});
      });
    }
  parts.end();
  found.notes.push_back(fmt::format("jobs of {}", size_text(job)));
  return found;
}

} // namespace baton::bench
