#include <boost/test/unit_test.hpp>

#include "transport/fake_plane.hpp"

namespace baton {

namespace {

constexpr session_key session{1};

/// Two planes of a simulation, of which one has granted a block to the other.
struct couple {
  fake_world world{7};
  fake_fabric fabric{world, {}, {}};
  fake_plane source{fabric, incarnation{1}};
  fake_plane reader{fabric, incarnation{2}};

  pull_job offer() {
    const grant_spec spec{incarnation{2}, {{"full", {0, 1}}}, {{"full", 0, {4}}}};
    source.write("full", 4, 99);
    return {incarnation{1},
            source.grant(session, spec).value(),
            spec.ranges,
            spec.blocks,
            {{"full", 0, {5}}}};
  }

  void run_for(std::chrono::milliseconds time) { world.run(world.now() + time); }
};

} // namespace

BOOST_AUTO_TEST_SUITE(fake_planes)

BOOST_AUTO_TEST_CASE(an_empty_event_is_complete_at_once) {
  couple two;
  bool ended = false;
  two.reader.when(session, {}, [&](const expected<>& result) { ended = result.has_value(); });
  BOOST_TEST(ended);
}

BOOST_AUTO_TEST_CASE(a_wait_ends_with_its_event_or_its_session) {
  couple two;
  fake_event event;
  std::string first;
  std::string second;
  const auto note = [](std::string& where) {
    return [&where](const expected<>& result) {
      where = result ? "complete" : to_string(result.error().code);
    };
  };
  two.reader.when(session, {&event}, note(first));
  two.reader.when(session_key{2}, {&event}, note(second));
  two.run_for(std::chrono::milliseconds{50});
  BOOST_TEST(first.empty());
  two.reader.retire(session_key{2}, [] {});
  BOOST_TEST(second == "cancelled");
  event.complete = true;
  two.run_for(std::chrono::milliseconds{50});
  BOOST_TEST(first == "complete");
  two.reader.when(session_key{2}, {&event}, note(first));
  two.run_for(std::chrono::milliseconds{50});
  BOOST_TEST(first == "cancelled");
  event.failed = true;
  two.reader.when(session, {&event}, note(first));
  BOOST_TEST(first == "gpu_failed");
}

BOOST_AUTO_TEST_CASE(a_pull_writes_nothing_before_its_event) {
  couple two;
  fake_event event;
  auto job = two.offer();
  job.after = {&event};
  bool ended = false;
  two.reader.pull(session, job, [&](const expected<pull_stats>& r) { ended = r.has_value(); });
  two.run_for(std::chrono::milliseconds{100});
  BOOST_TEST(!ended);
  BOOST_TEST(two.reader.block("full", 5) == 0u);
  event.complete = true;
  two.run_for(std::chrono::milliseconds{100});
  BOOST_TEST(ended);
  BOOST_TEST(two.reader.block("full", 5) == 99u);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
