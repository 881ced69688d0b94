// Drives a target where there is no libFuzzer: replays a corpus, then mutates it for a while
// without knowing what is in it.
//
//     fuzz_TARGET CORPUS_FOLDER [SECONDS]
//
// SECONDS is 1, or 60 with BATON_LONG in the environment. BATON_SEED repeats a run.
#include <csignal>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/fuzz/target.hpp"

namespace {

using clock_type = std::chrono::steady_clock;

constexpr std::size_t longest_input = 64u << 10;
constexpr std::size_t most_kept = 512; ///< mutants that are mutated again
constexpr unsigned longest_run = 20;   ///< seconds, of one input

std::uint64_t seed = 0;
std::uint64_t runs = 0;
std::string input; ///< of the present run

void tell_input(const char* why) {
  std::fprintf(stderr, "fuzz: %s: seed %llu, run %llu, %zu bytes:\n", why,
               static_cast<unsigned long long>(seed), static_cast<unsigned long long>(runs),
               input.size());
  constexpr std::size_t shown = 4096;
  for (std::size_t i = 0; i < std::min(input.size(), shown); ++i)
    std::fprintf(stderr, "%02x", static_cast<unsigned>(static_cast<unsigned char>(input[i])));
  std::fprintf(stderr, "\n");
}

void on_signal(int number) {
  tell_input(number == SIGALRM ? "it takes too long" : "it crashed");
  std::_Exit(1);
}

void run(std::string bytes) {
  input = std::move(bytes);
  ++runs;
  alarm(longest_run);
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

std::vector<std::string> read_corpus(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator{folder})
    files.push_back(entry.path());
  std::ranges::sort(files); // folders come in any order, runs must not
  std::vector<std::string> corpus;
  for (const auto& file : files) {
    std::ifstream in{file, std::ios::binary};
    corpus.emplace_back(std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{});
  }
  return corpus;
}

class mutator {
public:
  mutator(std::uint64_t start, std::vector<std::string> corpus)
      : random_{start}, corpus_{std::move(corpus)} {}

  std::string next() {
    auto bytes = any();
    for (auto changes = 1 + below(4); changes > 0; --changes)
      change(bytes);
    bytes.resize(std::min(bytes.size(), longest_input));
    if (below(8) == 0)
      keep(bytes);
    return bytes;
  }

private:
  std::size_t below(std::size_t end) { return end == 0 ? 0 : random_() % end; }

  const std::string& any() {
    const auto i = below(corpus_.size() + kept_.size());
    return i < corpus_.size() ? corpus_[i] : kept_[i - corpus_.size()];
  }

  void keep(const std::string& bytes) {
    if (kept_.size() < most_kept)
      kept_.push_back(bytes);
    else
      kept_[below(most_kept)] = bytes;
  }

  std::string varint(std::uint64_t number) {
    std::string bytes;
    for (; number >= 0x80; number >>= 7)
      bytes.push_back(static_cast<char>(number | 0x80));
    bytes.push_back(static_cast<char>(number));
    if (below(8) == 0) { // longer than it need be
      bytes.back() = static_cast<char>(bytes.back() | 0x80);
      bytes.push_back('\0');
    }
    return bytes;
  }

  /// Next to a power of two, or to a limit.
  std::uint64_t edge() {
    static constexpr std::uint64_t limits[]{0,
                                            4096,
                                            16'384,
                                            1u << 20,
                                            1u << 30,
                                            604'800'000,
                                            std::numeric_limits<std::uint64_t>::max()};
    const auto number =
        below(2) == 0 ? std::uint64_t{1} << below(64) : limits[below(std::size(limits))];
    return number + below(3) - 1;
  }

  std::string_view slice(const std::string& of) {
    const auto begin = below(of.size() + 1);
    return std::string_view{of}.substr(begin, below(of.size() - begin + 1));
  }

  std::string material() {
    switch (below(4)) {
    case 0:
      return varint(edge());
    case 1:
      return std::to_string(edge());
    case 2:
      return std::string{slice(any())};
    default:
      return std::string(1 + below(4), static_cast<char>(random_()));
    }
  }

  void change(std::string& bytes) {
    const auto at = below(bytes.size() + 1);
    switch (below(7)) {
    case 0: // flip a bit
      if (at < bytes.size())
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
      break;
    case 1: // set a byte
      if (at < bytes.size())
        bytes[at] = static_cast<char>(random_());
      break;
    case 2: // cut the end off
      bytes.resize(at);
      break;
    case 3: // take out
      bytes.erase(at, below(16));
      break;
    case 4: // put in
      bytes.insert(at, material());
      break;
    case 5: // put over
      bytes.replace(at, below(10), material());
      break;
    default: // say it again and again
      const std::string again{slice(bytes).substr(0, 64)};
      for (auto times = std::size_t{1} << below(12); times > 0 && bytes.size() < longest_input;
           --times)
        bytes.insert(std::min(at, bytes.size()), again);
    }
  }

  std::mt19937_64 random_;
  std::vector<std::string> corpus_;
  std::vector<std::string> kept_;
};

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

} // namespace

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "usage: %s CORPUS_FOLDER [SECONDS]\n", arguments[0]);
    return 2;
  }
  const std::chrono::duration<double> limit{count > 2 ? std::atof(arguments[2])
                                            : std::getenv("BATON_LONG") != nullptr ? 60.0
                                                                                   : 1.0};
  for (const int number : {SIGABRT, SIGALRM})
    std::signal(number, on_signal);
  seed = number_from("BATON_SEED", std::random_device{}());
  const auto corpus = read_corpus(arguments[1]);
  if (corpus.empty()) {
    std::fprintf(stderr, "fuzz: %s is empty; fuzz_corpus fills it\n", arguments[1]);
    return 1;
  }
  for (const auto& bytes : corpus)
    run(bytes);
  mutator mutants{seed, corpus};
  clock_type::duration slowest{};
  const auto end = clock_type::now() + limit;
  for (auto before = clock_type::now(); before < end;) {
    run(mutants.next());
    const auto now = clock_type::now();
    slowest = std::max(slowest, now - before);
    before = now;
  }
  std::printf("seed %llu: %zu inputs of the corpus, %llu runs, slowest %.1f ms\n",
              static_cast<unsigned long long>(seed), corpus.size(),
              static_cast<unsigned long long>(runs),
              std::chrono::duration<double, std::milli>{slowest}.count());
  return 0;
}
