#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <fstream>
#include <iterator>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "examples/tiny_llm/launch.hpp"

using namespace tiny_llm;

namespace {

/// One of the ways to run a job; without a context instance, all happens in one process.
struct run_mode {
  std::string name;
  bool apart = false;
  instance_shape context;
  instance_shape generation;
};

std::vector<run_mode> all_modes() {
  const cache_shape small{8, inner_order::head_first};
  const cache_shape large{12, inner_order::token_first};
  return {{"single", false, {}, {}},
          {"tp2-tp2", true, {2, 1, small}, {2, 1, small}},
          {"tp2-pp2", true, {2, 1, small}, {1, 2, large}}};
}

/// A letter for each token: no tokenizer has been trained for random weights.
char letter(std::int32_t token) {
  return "abcdefghijklmnopqrstuvwxyz "[token % 27];
}

/// FNV-1a over the bits.
std::uint64_t digest(const std::vector<float>& values) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const auto byte : std::as_bytes(std::span{values}))
    hash = (hash ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3;
  return hash;
}

bool bitwise_equal(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void write(const std::string& path, const std::vector<float>& values) {
  std::ofstream file{path, std::ios::binary};
  const auto bytes = static_cast<std::streamsize>(values.size() * sizeof(float));
  if (!file.write(reinterpret_cast<const char*>(values.data()), bytes))
    throw std::runtime_error{fmt::format("cannot write {}", path)};
}

/// Runs a job in one mode and prints what came out. Returns the logits of all steps.
std::vector<float> run(const run_mode& mode, const job& what) {
  std::vector<float> logits;
  std::vector<std::int32_t> tokens;
  const auto sink = [&](std::span<const float> row) {
    logits.insert(logits.end(), row.begin(), row.end());
    tokens.push_back(best_token(row));
  };
  fmt::print("{}\n", mode.name);
  if (mode.apart)
    run_apart(what, mode.context, mode.generation, sink,
              [](const std::string& line) { fmt::print("  {}\n", line); });
  else
    run_alone(what, sink);

  std::string text;
  std::ranges::transform(tokens, std::back_inserter(text), letter);
  fmt::print("  tokens {}\n  text   {}\n  logits {:016x}\n", fmt::join(tokens, " "), text,
             digest(logits));
  return logits;
}

/// Runs the modes. Returns whether all logits are bitwise equal.
bool run_and_compare(const std::vector<run_mode>& modes, const job& what,
                     const std::string& logits_file) {
  std::vector<std::vector<float>> results;
  for (const auto& mode : modes) {
    results.push_back(run(mode, what));
    if (!logits_file.empty())
      write(modes.size() == 1 ? logits_file : logits_file + "." + mode.name, results.back());
  }
  if (modes.size() == 1)
    return true;
  const auto equal = std::ranges::all_of(
      results, [&](const auto& one) { return bitwise_equal(one, results.front()); });
  fmt::print("{}\n", equal ? "All logits are bitwise equal." : "The logits DIFFER.");
  return equal;
}

} // namespace

int main(int argc, char** argv) {
  auto modes = all_modes();
  job what;
  std::string wanted = "all";
  std::string logits_file;
  int control = -1;

  CLI::App app{"A tiny language model whose prefill and decode run in different processes."};
  app.add_option("--mode", wanted, "single, tp2-tp2, tp2-pp2, or all and compare their logits")
      ->check(CLI::IsMember({"single", "tp2-tp2", "tp2-pp2", "all"}))
      ->capture_default_str();
  app.add_option("--prompt-tokens", what.prompt_tokens, "length of the prompt")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--tokens", what.tokens, "tokens to decode")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--lane", what.lanes, "auto, mapped or ucx")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, baton::lane_policy>{{"auto", baton::lane_policy::automatic},
                                                    {"mapped", baton::lane_policy::mapped},
                                                    {"ucx", baton::lane_policy::ucx}}));
  app.add_option("--logits", logits_file, "file for the logits of all steps, raw fp32");
  app.add_flag("--flip-bit", what.flip_bit)->group("");
  auto* rank = app.add_subcommand("rank")->group("");
  rank->add_option("control", control)->required();
  CLI11_PARSE(app, argc, argv);

  try {
    if (*rank) {
      channel parent{control, "the parent"};
      run_rank(parent);
      return 0;
    }
    if (wanted != "all")
      std::erase_if(modes, [&](const run_mode& mode) { return mode.name != wanted; });
    return run_and_compare(modes, what, logits_file) ? 0 : 1;
  } catch (const std::exception& failure) {
    fmt::print(stderr, "baton-tiny-llm: {}\n", failure.what());
    return 1;
  }
}
