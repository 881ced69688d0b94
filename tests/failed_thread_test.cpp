#include <atomic>
#include <future>
#include <stdexcept>
#include <thread>

#include <boost/test/unit_test.hpp>

#include "tests/support/planes.hpp"
#include "transport/base/copy_pool.hpp"
#include "transport/base/data_thread.hpp"
#include "transport/base/guarded_calls.hpp"
#include "transport/lease/grant_book.hpp"
#include "transport/pool/pool.hpp"
#include "transport/ucx/lane.hpp"

/// Something throws on a thread of a data plane, though nothing should: the thread goes on, what
/// was under way ends, and whoever asks is told.
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
  // A task is run before the source is looked at.
  for (int i = 0; i < 2; ++i)
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

namespace {

/// A copy of some chunks, of which one may throw, as may its end.
struct throwing_job final : copy_job {
  void copy(std::size_t chunk) override {
    opened.wait();
    if (chunk == bad_chunk)
      throw std::runtime_error{"a copy that throws"};
  }
  void ended(expected<> copied) override {
    finished.callback()(std::move(copied));
    if (bad_end)
      throw 7;
  }

  std::size_t bad_chunk = none;
  bool bad_end = false;
  std::promise<void> gate;
  std::shared_future<void> opened = gate.get_future().share();
  eventually<expected<>> finished;
  static constexpr std::size_t none = 1'000'000;
};

} // namespace

BOOST_AUTO_TEST_CASE(a_copy_that_throws_ends_all_copies_and_no_thread) {
  copy_pool pool{2};
  std::vector<std::shared_ptr<throwing_job>> jobs;
  for (int i = 0; i < 6; ++i) {
    jobs.push_back(std::make_shared<throwing_job>());
    BOOST_REQUIRE(pool.submit(jobs.back(), 50));
  }
  jobs[0]->bad_chunk = 20;
  for (const auto& job : jobs)
    job->gate.set_value();
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const auto copied = jobs[i]->finished.get(5s);
    BOOST_REQUIRE(copied);
    if (!*copied)
      BOOST_TEST((copied->error().code == errc::transport_failed));
    BOOST_TEST((i != 0 || !*copied));
  }
  const auto why = pool.failure();
  BOOST_REQUIRE(why.has_value());
  BOOST_TEST(why->text.find("a copy that throws") != std::string::npos, why->text);
  const auto refused = pool.submit(jobs[1], 1);
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error() == *why));
  pool.stop();
}

BOOST_AUTO_TEST_CASE(a_last_chunk_that_throws_does_not_pass_for_copied) {
  copy_pool pool{1};
  const auto job = std::make_shared<throwing_job>();
  job->bad_chunk = 2;
  job->gate.set_value();
  BOOST_REQUIRE(pool.submit(job, 3));
  const auto copied = job->finished.get(5s);
  BOOST_REQUIRE(copied);
  BOOST_TEST(!copied->has_value());
}

BOOST_AUTO_TEST_CASE(an_end_of_a_copy_that_throws_is_told_as_well) {
  copy_pool pool{1};
  const auto job = std::make_shared<throwing_job>();
  job->bad_end = true;
  job->gate.set_value();
  BOOST_REQUIRE(pool.submit(job, 3));
  BOOST_REQUIRE(job->finished.get(5s));
  const auto next = std::make_shared<throwing_job>();
  next->gate.set_value();
  // Either it is refused, or it ends.
  if (pool.submit(next, 3))
    BOOST_TEST(next->finished.get(5s).has_value());
  pool.stop();
  BOOST_TEST(pool.failure().has_value());
}

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

namespace {

plane_options mapped_only() {
  plane_options options;
  options.lanes = lane_policy::mapped;
  options.leases = 256;
  return options;
}

void throw_at_the_end(const expected<pull_stats>&) {
  throw std::runtime_error{"a callback that throws"};
}

/// The rank says why it is broken, and takes nothing more.
void check_broken(introduced_ranks& ranks, const introduced_ranks::offer_made& job) {
  auto& plane = *ranks.generation.plane;
  const auto why = plane.broken();
  BOOST_REQUIRE(why.has_value());
  BOOST_TEST((why->code == errc::transport_failed));
  BOOST_TEST(why->text.find("that throws") != std::string::npos, why->text);
  const auto refused = ranks.pull(job, session_key{200});
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error() == *why));
  const auto right = plane.grant(session_key{201}, job.granted);
  BOOST_REQUIRE(!right);
  BOOST_TEST((right.error() == *why));
  eventually<expected<>> waited;
  plane.when(session_key{202}, {}, waited.callback());
  const auto told = waited.get();
  BOOST_REQUIRE((told && !*told));
  BOOST_TEST((told->error() == *why));
}

/// Destroys the rank's plane. @returns whether that took less than a few seconds.
bool ends_soon(plane_rank& rank) {
  std::promise<void> gone;
  auto done = gone.get_future();
  std::thread{[plane = std::move(rank.plane), gone = std::move(gone)]() mutable {
    plane.reset();
    gone.set_value();
  }}.detach();
  return done.wait_for(5s) == std::future_status::ready;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_mapped_lane_whose_copy_thread_throws_ends_its_pulls_and_takes_no_more) {
  introduced_ranks ranks{{.layers = 8, .slots = 512}, mapped_only()};
  constexpr std::uint32_t count = 16;
  BOOST_TEST(!ranks.generation.plane->broken());
  // Two chunks, so that it ends long before the others.
  const auto first = ranks.offer_part(0, 8 * count);
  std::vector<introduced_ranks::offer_made> jobs;
  std::vector<eventually<expected<pull_stats>>> ended(count);
  ranks.begin(first, session_key{99}, throw_at_the_end);
  for (std::uint32_t i = 1; i < count; ++i) {
    jobs.push_back(ranks.offer_part(i, count));
    ranks.begin(jobs.back(), session_key{100 + i}, ended[i].callback());
  }
  std::uint32_t failed = 0;
  for (std::uint32_t i = 1; i < count; ++i) {
    const auto result = ended[i].get(5s);
    BOOST_REQUIRE(result);
    if (*result) {
      BOOST_TEST(ranks.arrived(jobs[i - 1]));
      continue;
    }
    ++failed;
    BOOST_TEST((result->error().code == errc::transport_failed));
  }
  BOOST_TEST(failed > 0u);
  check_broken(ranks, first);
  for (std::uint32_t i = 99; i < 100 + count; ++i)
    BOOST_TEST(retired(*ranks.generation.plane, session_key{i}, 5s));
  BOOST_TEST(!ranks.context.plane->broken());
  BOOST_TEST(retired(*ranks.context.plane, sender, 5s));
  BOOST_TEST(ranks.context.plane->granted() == 0u);
  BOOST_TEST(ends_soon(ranks.generation));
}

BOOST_AUTO_TEST_CASE(a_callback_that_throws_within_the_call_breaks_the_plane_as_well) {
  introduced_ranks ranks{{.layers = 1, .slots = 8, .fragment_bytes = 4096}, mapped_only()};
  const auto job = ranks.offer(1, 1);
  ranks.begin(job, session_key{99}, throw_at_the_end);
  check_broken(ranks, job);
  BOOST_TEST(retired(*ranks.generation.plane, session_key{99}, 5s));
  BOOST_TEST(ends_soon(ranks.generation));
}

BOOST_AUTO_TEST_CASE(a_session_whose_end_throws_keeps_nobody_from_ending) {
  introduced_ranks ranks{{.layers = 8, .slots = 256}, mapped_only()};
  const auto job = ranks.offer(256, 1);
  eventually<expected<pull_stats>> ended;
  eventually<bool> second;
  ranks.begin(job, session_key{99}, ended.callback());
  auto& plane = *ranks.generation.plane;
  // Should the pull have ended already, it throws here.
  static_cast<void>(thrown_by([&] {
    plane.retire(session_key{99}, [] { throw std::runtime_error{"an end that throws"}; });
  }));
  plane.retire(session_key{99}, [done = second.callback()] { done(true); });
  BOOST_TEST(ended.get(5s).has_value());
  BOOST_TEST(second.get(5s).has_value());
  BOOST_TEST(ends_soon(ranks.generation));
}

BOOST_AUTO_TEST_CASE(an_introduction_whose_callback_throws_breaks_the_plane_and_ends_no_thread) {
  const cache_shape shape{.layers = 1, .slots = 8};
  const plane_rank context{shape, instance_role::context, mapped_only()};
  plane_rank generation{shape, instance_role::generation, mapped_only()};
  const auto card = card_of(generation.layout, context.layout, context.plane->manifest());
  eventually<expected<lane_choice>> second;
  // Both wait for the same mapping.
  generation.plane->introduce(card, [](const expected<lane_choice>&) {
    throw std::runtime_error{"an introduction that throws"};
  });
  generation.plane->introduce(card, second.callback());
  const auto told = second.get(5s);
  BOOST_REQUIRE(told);
  BOOST_TEST(told->has_value());
  const auto until = std::chrono::steady_clock::now() + 5s;
  while (!generation.plane->broken() && std::chrono::steady_clock::now() < until)
    std::this_thread::yield();
  BOOST_TEST(generation.plane->broken().has_value());
  BOOST_TEST(ends_soon(generation));
}

BOOST_AUTO_TEST_CASE(a_plane_ends_though_all_that_it_cancels_throws) {
  for (const auto& options : {mapped_only(), ucx_only()}) {
    introduced_ranks ranks{{.layers = 8, .slots = 128}, options};
    constexpr std::uint32_t count = 8;
    // Those that are refused, or end at once, throw on this thread.
    for (std::uint32_t i = 0; i < count; ++i)
      static_cast<void>(thrown_by([&] {
        ranks.begin(ranks.offer_part(i, count), session_key{100 + i}, throw_at_the_end);
      }));
    for (std::uint32_t i = 0; i < count; ++i)
      static_cast<void>(thrown_by(
          [&] { ranks.generation.plane->retire(session_key{100 + i}, [] { throw 7; }); }));
    BOOST_TEST(ends_soon(ranks.generation));
    BOOST_TEST(ends_soon(ranks.context));
  }
}

namespace {

/// A ucx lane by itself, with all that it stands on, so that a test can break that.
struct lone_lane {
  explicit lone_lane(instance_role role)
      : layout{cache_layout(shape, role, random_id<incarnation>())},
        pool{host_pool::create(shape.pool_bytes()).value()},
        grants{lease_table::create(layout.life, 16).value(), layout} {
    ucx_settings settings;
    settings.transports = "posix,cma,self";
    settings.chunk_bytes = 16 * 1024;
    settings.ring_chunks = 4;
    settings.credits = 4;
    settings.stuck_after = 2s;
    lane = ucx_lane::create(settings, {layout.life, grants, ledger, copies, {pool.data()}}).value();
  }

  void meet(const lone_lane& peer, std::shared_ptr<const planner> serve) const {
    lane->introduce({peer.layout.life, peer.lane->address(), 16 * 1024, std::move(serve)});
  }

  /// A thread that copies throws.
  void break_copies() {
    const auto job = std::make_shared<throwing_job>();
    job->bad_chunk = 0;
    job->gate.set_value();
    BOOST_REQUIRE(copies.submit(job, 1));
    BOOST_REQUIRE(job->finished.get(5s));
    BOOST_REQUIRE(copies.failure());
  }

  static constexpr cache_shape shape{.layers = 4, .slots = 64};
  rank_layout layout;
  host_pool pool;
  grant_book grants;
  session_ledger ledger;
  copy_pool copies{1};
  std::unique_ptr<ucx_lane> lane;
};

/// Two of them.
struct lone_lanes {
  lone_lanes() {
    owner.meet(reader, plans);
    reader.meet(owner, nullptr);
  }

  eventually<expected<pull_stats>> pull(session_key session) {
    const auto blocks = shuffled(64, 64, 1);
    const auto granted = whole_blocks(owner.shape, reader.layout.life, blocks);
    pull_order order;
    order.session = session;
    order.right = owner.grants.grant(session, granted).value();
    order.ranges = granted.ranges;
    const group_blocks destination{"full", 0, blocks};
    order.what = plans
                     ->make(std::vector<plan_blocks>{
                         {"full", granted.ranges[0].tokens, nullptr, &destination}})
                     .value();
    order.started = std::chrono::steady_clock::now();
    eventually<expected<pull_stats>> ended;
    order.done = ended.callback();
    reader.lane->pull(std::move(order));
    return ended;
  }

  lone_lane owner{instance_role::context};
  lone_lane reader{instance_role::generation};
  std::shared_ptr<const planner> plans = plan_between(owner.layout, reader.layout);
};

/// It ended in time, with an error that tells what was thrown.
void check_told(eventually<expected<pull_stats>> ended, const std::string& by) {
  const auto result = ended.get(5s);
  BOOST_REQUIRE(result);
  BOOST_REQUIRE(!*result);
  BOOST_TEST((result->error().code == errc::transport_failed));
  const auto& text = result->error().text;
  for (const auto& part : {by, std::string{"a copy that throws"}})
    BOOST_TEST(text.find(part) != std::string::npos, text);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_reader_is_told_at_once_of_an_owner_that_can_move_nothing_more) {
  lone_lanes lanes;
  const auto whole = lanes.pull(session_key{1}).get(5s);
  BOOST_REQUIRE((whole && *whole));
  lanes.owner.break_copies();
  check_told(lanes.pull(session_key{2}), "the owner says");
  check_told(lanes.pull(session_key{3}), "the owner says");
}

BOOST_AUTO_TEST_CASE(a_reader_that_can_move_nothing_more_asks_for_nothing) {
  lone_lanes lanes;
  BOOST_REQUIRE(lanes.pull(session_key{1}).get(5s));
  lanes.reader.break_copies();
  check_told(lanes.pull(session_key{2}), "a thread that copies");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
