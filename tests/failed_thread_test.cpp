#include <atomic>
#include <future>
#include <stdexcept>
#include <thread>

#include <boost/test/unit_test.hpp>

#include "tests/support/planes.hpp"
#include "transport/base/data_thread.hpp"

/// Something throws on a data thread, though nothing should: the thread goes on, what was under way
/// ends, and whoever asks is told.
namespace baton {

namespace {

using namespace test;
using namespace std::chrono_literals;

/// Throws in `progress` as often as it is told to.
class throwing_source final : public progress_source {
public:
  bool progress() override {
    ++looks;
    if (throws > 0) {
      --throws;
      throw std::runtime_error{"a source that throws"};
    }
    return false;
  }
  void failed(const std::string& what) noexcept override {
    ++failures;
    last_was_ours = what == "a source that throws" || what == "a task that throws";
  }
  [[nodiscard]] int descriptor() const noexcept override { return -1; }
  [[nodiscard]] bool arm() noexcept override { return true; }

  std::atomic<std::uint64_t> looks{0};
  std::atomic<int> throws{0};
  std::atomic<int> failures{0};
  std::atomic<bool> last_was_ours{false};
};

bool caught_up(data_thread& thread) {
  eventually<bool> ran;
  return thread.post([done = ran.callback()] { done(true); }) && ran.get().has_value();
}

} // namespace

BOOST_AUTO_TEST_SUITE(failed_threads)

BOOST_AUTO_TEST_CASE(a_task_that_throws_is_told_and_holds_up_no_other) {
  throwing_source source;
  const auto thread = data_thread::start(source).value();
  std::promise<void> gate;
  thread->post([opened = gate.get_future().share()] { opened.wait(); });
  std::atomic<int> ran{0};
  for (int i = 0; i < 10; ++i)
    thread->post([&ran, i] {
      if (i % 3 == 0)
        throw std::runtime_error{"a task that throws"};
      ++ran;
    });
  gate.set_value();
  BOOST_REQUIRE(caught_up(*thread));
  BOOST_TEST(source.failures == 4);
  BOOST_TEST(source.last_was_ours);
  BOOST_TEST(ran == 6);
}

BOOST_AUTO_TEST_CASE(a_source_that_throws_is_told_and_driven_on) {
  throwing_source source;
  const auto thread = data_thread::start(source).value();
  source.throws = 3;
  for (int i = 0; i < 5; ++i)
    BOOST_REQUIRE(caught_up(*thread));
  BOOST_TEST(source.failures == 3);
  const auto looks = source.looks.load();
  BOOST_REQUIRE(caught_up(*thread));
  BOOST_TEST(source.looks > looks);
}

BOOST_AUTO_TEST_CASE(what_throws_while_a_thread_stops_is_told_as_well) {
  throwing_source source;
  const auto thread = data_thread::start(source).value();
  std::promise<void> gate;
  thread->post([opened = gate.get_future().share()] { opened.wait(); });
  for (int i = 0; i < 5; ++i)
    thread->post([] { throw 7; });
  std::jthread opener{[&] { gate.set_value(); }};
  thread->stop();
  BOOST_TEST(source.failures == 5);
  BOOST_TEST(!thread->post([] {}));
}

namespace {

plane_options ucx_only() {
  plane_options options;
  options.lanes = lane_policy::ucx;
  options.leases = 256;
  options.ucx_transports = "posix,cma,self";
  options.chunk_bytes = 16 * 1024;
  options.ring_chunks = 4;
  return options;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_ucx_lane_whose_thread_throws_ends_its_pulls_and_takes_no_more) {
  introduced_ranks ranks{{.layers = 8, .slots = 512}, ucx_only()};
  const auto& reader = *ranks.generation.plane;
  BOOST_TEST(!reader.broken());
  const auto small = ranks.offer(1, 1);
  BOOST_REQUIRE(ranks.pull(small));

  constexpr std::uint32_t count = 16;
  std::vector<eventually<expected<pull_stats>>> ended(count);
  ranks.begin(small, session_key{99}, [](const expected<pull_stats>&) {
    throw std::runtime_error{"a callback that throws"};
  });
  for (std::uint32_t i = 0; i < count; ++i)
    ranks.begin(ranks.offer_part(i, count), session_key{100 + i}, ended[i].callback());
  std::uint32_t failed = 0;
  for (auto& one : ended) {
    const auto result = one.get(5s);
    BOOST_REQUIRE(result);
    if (*result)
      continue;
    ++failed;
    BOOST_TEST((result->error().code == errc::transport_failed));
  }
  BOOST_TEST(failed > 0u);
  const auto why = reader.broken();
  BOOST_REQUIRE(why.has_value());
  BOOST_TEST((why->code == errc::transport_failed));
  BOOST_TEST(why->text.find("a callback that throws") != std::string::npos, why->text);

  const auto refused = ranks.pull(small, session_key{200});
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error() == *why));
  // Its sessions end in bounded time, the one whose callback threw among them; so do the owner's,
  // who is well.
  for (std::uint32_t i = 99; i < 100 + count; ++i)
    BOOST_TEST(retired(*ranks.generation.plane, session_key{i}, 5s));
  BOOST_TEST(!ranks.context.plane->broken());
  BOOST_TEST(retired(*ranks.context.plane, sender, 5s));
  BOOST_TEST(ranks.context.plane->granted() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
