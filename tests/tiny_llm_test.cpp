#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <fmt/format.h>
#include <sys/wait.h>

namespace {

constexpr std::size_t row_bytes = 256 * sizeof(float); ///< the logits of one step

/// Runs baton-tiny-llm. All of its waits are bounded. Returns its exit status.
int run(const std::string& arguments) {
  const auto status = std::system(fmt::format("'{}' {}", TINY_LLM, arguments).c_str());
  BOOST_REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

/// A file that is gone after the test.
class scratch_file {
public:
  scratch_file() {
    std::string name = std::filesystem::temp_directory_path() / "tiny_llm_XXXXXX";
    const auto descriptor = ::mkstemp(name.data());
    BOOST_REQUIRE(descriptor >= 0);
    ::close(descriptor);
    path_ = name;
  }
  scratch_file(const scratch_file&) = delete;
  scratch_file& operator=(const scratch_file&) = delete;
  ~scratch_file() { std::filesystem::remove(path_); }

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

private:
  std::string path_;
};

/// Returns the bits of all logits of one run.
std::string logits_of(const std::string& arguments) {
  const scratch_file file;
  BOOST_REQUIRE_EQUAL(run(fmt::format("{} --logits '{}'", arguments, file.path())), 0);
  std::ifstream in{file.path(), std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

const auto modes = boost::unit_test::data::make({"tp2-tp2", "tp2-pp2"});
const auto lanes = boost::unit_test::data::make({"mapped", "ucx"});
/// Within one block; whole blocks on both sides; ragged on both.
const auto prompts = boost::unit_test::data::make({5, 24, 45});

} // namespace

BOOST_AUTO_TEST_SUITE(tiny_llm)

BOOST_DATA_TEST_CASE(a_cache_handed_over_gives_the_logits_of_one_process, modes* lanes, mode,
                     lane) {
  const auto expected = logits_of("--mode single");
  BOOST_TEST(expected.size() == 65 * row_bytes);
  BOOST_TEST((logits_of(fmt::format("--mode {} --lane {}", mode, lane)) == expected));
}

BOOST_DATA_TEST_CASE(the_length_of_the_prompt_does_not_matter, modes* prompts, mode, tokens) {
  const auto length = fmt::format("--prompt-tokens {} --tokens 8", tokens);
  const auto expected = logits_of("--mode single " + length);
  BOOST_TEST(expected.size() == 9 * row_bytes);
  BOOST_TEST((logits_of(fmt::format("--mode {} {}", mode, length)) == expected));
}

BOOST_DATA_TEST_CASE(one_flipped_bit_of_the_handed_over_cache_shows_in_the_logits, modes, mode) {
  const auto expected = logits_of("--mode single");
  const auto spoiled = logits_of(fmt::format("--mode {} --flip-bit", mode));
  BOOST_REQUIRE_EQUAL(spoiled.size(), expected.size());
  BOOST_TEST((spoiled.substr(0, row_bytes) == expected.substr(0, row_bytes)));
  BOOST_TEST((spoiled.substr(row_bytes) != expected.substr(row_bytes)));
}

BOOST_AUTO_TEST_CASE(the_program_itself_compares_all_three_ways) {
  BOOST_TEST(run("--mode all") == 0);
  BOOST_TEST(run("--mode all --flip-bit") == 1);
}

BOOST_AUTO_TEST_SUITE_END()
