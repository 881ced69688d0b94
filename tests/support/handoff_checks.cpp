#include "tests/support/handoff_checks.hpp"

#include <algorithm>

#include <boost/test/unit_test.hpp>

namespace baton::test {

using nlohmann::json;

json line_of(const handoff_run& run, int request, const std::string& rank) {
  for (auto& line : run.lines())
    if (line.value("request", 0) == request &&
        rank == line["side"].get<std::string>() + ":" + line["rank"].dump())
      return line;
  return nullptr;
}

std::string ending_of(const json& line) {
  if (line.is_null() || line["state"].is_null())
    return "gone";
  if (line["error"].is_null())
    return "complete";
  const auto error = line["error"].get<std::string>();
  return error.substr(0, error.find(':'));
}

void check_ending(const handoff_run& run, int request, const std::string& rank,
                  std::initializer_list<std::string> accepted, std::int64_t limit_us) {
  const auto line = line_of(run, request, rank);
  const auto ending = ending_of(line);
  BOOST_TEST_INFO("request " << request << " on " << rank << ": " << line.dump());
  BOOST_TEST(std::ranges::count(accepted, ending) == 1);
  if (!line.is_null()) {
    BOOST_TEST_INFO("request " << request << " on " << rank << ": " << line.dump());
    BOOST_TEST(line["total_us"].get<std::int64_t>() < limit_us);
  }
}

void require_good(const handoff_run& run) {
  BOOST_TEST_INFO(run.output());
  BOOST_REQUIRE(run.exit_status() == 0);
  BOOST_TEST(run.check_dump() == "");
}

bool mentions(const handoff_run& run, const std::string& text) {
  return run.output().find(text) != std::string::npos;
}

} // namespace baton::test
