#include <sys/eventfd.h>
#include <sys/resource.h>

#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "tests/support/planes.hpp"
#include "transport/base/copy_pool.hpp"
#include "transport/base/data_thread.hpp"

namespace baton {

namespace {

using test::eventually;

/// A source whose work is handed in through an eventfd.
class counting_source final : public progress_source {
public:
  bool progress() noexcept override {
    eventfd_t count = 0;
    if (eventfd_read(event_.get(), &count) != 0)
      return false;
    handled += count;
    return true;
  }
  [[nodiscard]] int descriptor() const noexcept override { return event_.get(); }
  [[nodiscard]] bool arm() noexcept override {
    ++arms;
    return true;
  }
  void add(eventfd_t count) const { eventfd_write(event_.get(), count); }

  std::atomic<std::uint64_t> handled{0};
  std::atomic<std::uint64_t> arms{0};

private:
  unique_fd event_{eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
};

/// A source that nothing can wake, and that has something to do after a while.
class silent_source final : public progress_source {
public:
  bool progress() noexcept override {
    ++looks;
    return false;
  }
  [[nodiscard]] int descriptor() const noexcept override { return -1; }
  [[nodiscard]] bool arm() noexcept override { return true; }
  [[nodiscard]] std::optional<std::chrono::microseconds>
  nap(std::chrono::microseconds idle) const noexcept override {
    idle_enough = idle_enough && idle >= data_thread::alert;
    if (!open)
      return std::nullopt;
    return std::chrono::microseconds{1500};
  }

  std::atomic<std::uint64_t> looks{0};
  std::atomic<bool> open{false};
  mutable std::atomic<bool> idle_enough{true};
};

/// A source that calls without end, although there is nothing to do.
class crying_source final : public progress_source {
public:
  explicit crying_source(bool ready) : ready_{ready} { eventfd_write(event_.get(), 1); }
  bool progress() noexcept override {
    ++looks;
    return work.exchange(false);
  }
  [[nodiscard]] int descriptor() const noexcept override { return event_.get(); }
  [[nodiscard]] bool arm() noexcept override { return ready_; }

  std::atomic<std::uint64_t> looks{0};
  std::atomic<bool> work{false};

private:
  const bool ready_;
  unique_fd event_{eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
};

/// Waits until the thread has run everything posted before.
bool caught_up(data_thread& thread) {
  eventually<bool> ran;
  return thread.post([done = ran.callback()] { done(true); }) && ran.get().has_value();
}

/// A job that counts, and whose chunks can be held up.
struct counted_job final : copy_job {
  void copy(std::size_t) override {
    ++copied;
    started.count_down();
    gate.wait();
  }
  void ended(expected<> copied) override { finished.callback()(copied.has_value()); }

  std::atomic<std::size_t> copied{0};
  eventually<bool> finished;
  std::promise<void> open;
  std::shared_future<void> gate = open.get_future().share();
  struct latch {
    std::promise<void> first;
    std::atomic<bool> told{false};
    void count_down() {
      if (!told.exchange(true))
        first.set_value();
    }
  } started;
};

} // namespace

BOOST_AUTO_TEST_SUITE(data_threads)

BOOST_AUTO_TEST_CASE(a_source_that_nothing_wakes_is_looked_at_now_and_then) {
  silent_source source;
  const auto thread = data_thread::start(source).value();
  BOOST_REQUIRE(caught_up(*thread));
  source.open = true;
  BOOST_REQUIRE(caught_up(*thread));
  const auto before = source.looks.load();
  const auto end = std::chrono::steady_clock::now() + test::patience;
  while (source.looks < before + 20 && std::chrono::steady_clock::now() < end)
    std::this_thread::yield();
  BOOST_TEST(source.looks >= before + 20);
  BOOST_TEST(source.idle_enough);
}

BOOST_AUTO_TEST_CASE(tasks_run_in_order_whoever_posts_them) {
  counting_source source;
  const auto thread = data_thread::start(source).value();
  std::vector<int> order;
  for (int i = 0; i < 1'000; ++i)
    BOOST_REQUIRE(thread->post([&order, i] { order.push_back(i); }));
  BOOST_REQUIRE(caught_up(*thread));
  BOOST_REQUIRE(order.size() == 1'000u);
  BOOST_TEST(std::ranges::is_sorted(order));
}

BOOST_AUTO_TEST_CASE(it_sleeps_when_idle_and_wakes_for_the_source_and_for_tasks) {
  counting_source source;
  const auto thread = data_thread::start(source).value();
  for (std::uint64_t round = 1; round <= 50; ++round) {
    std::this_thread::sleep_for(2 * data_thread::alert);
    source.add(1);
    BOOST_REQUIRE(caught_up(*thread));
    const auto end = std::chrono::steady_clock::now() + test::patience;
    while (source.handled < round && std::chrono::steady_clock::now() < end)
      std::this_thread::yield();
    BOOST_REQUIRE(source.handled == round);
  }
  BOOST_TEST(source.arms > 0u);
}

BOOST_AUTO_TEST_CASE(an_idle_thread_uses_less_than_a_hundredth_of_a_core) {
  counting_source source;
  const auto thread = data_thread::start(source).value();
  eventually<clockid_t> clock;
  thread->post([done = clock.callback()]() mutable {
    clockid_t own = 0;
    pthread_getcpuclockid(pthread_self(), &own);
    done(own);
  });
  const auto own = clock.get().value();
  const auto used = [&] {
    timespec time{};
    clock_gettime(own, &time);
    return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
  };
  const auto before = used();
  std::this_thread::sleep_for(std::chrono::milliseconds{500});
  BOOST_TEST((used() - before < std::chrono::milliseconds{5}));
}

BOOST_AUTO_TEST_CASE(a_source_that_calls_for_nothing_is_listened_to_less_and_less) {
  for (const bool armed : {true, false}) {
    crying_source source{armed};
    const auto thread = data_thread::start(source).value();
    std::this_thread::sleep_for(std::chrono::milliseconds{200});
    const auto before = source.looks.load();
    std::this_thread::sleep_for(std::chrono::milliseconds{200});
    // Two looks for each time of deafness.
    BOOST_TEST(source.looks - before < 200u);
    BOOST_REQUIRE(caught_up(*thread));
    source.work = true;
    const auto end = std::chrono::steady_clock::now() + test::patience;
    while (source.work && std::chrono::steady_clock::now() < end)
      std::this_thread::yield();
    BOOST_TEST(!source.work);
  }
}

BOOST_AUTO_TEST_CASE(what_was_posted_runs_even_when_it_stops_and_nothing_after) {
  counting_source source;
  const auto thread = data_thread::start(source).value();
  std::atomic<int> ran{0};
  for (int i = 0; i < 100; ++i)
    BOOST_REQUIRE(thread->post([&] { ++ran; }));
  thread->stop();
  BOOST_TEST(ran == 100);
  BOOST_TEST(!thread->post([&] { ++ran; }));
  BOOST_TEST(ran == 100);
}

BOOST_AUTO_TEST_CASE(posting_from_many_threads_loses_nothing) {
  counting_source source;
  const auto thread = data_thread::start(source).value();
  std::uint64_t ran = 0;
  std::vector<std::thread> posters;
  for (int t = 0; t < 4; ++t)
    posters.emplace_back([&] {
      for (int i = 0; i < 5'000; ++i)
        thread->post([&ran] { ++ran; });
    });
  for (auto& poster : posters)
    poster.join();
  BOOST_REQUIRE(caught_up(*thread));
  BOOST_TEST(ran == 20'000u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(copy_pools)

BOOST_AUTO_TEST_CASE(every_chunk_of_every_job_is_copied_once) {
  copy_pool pool{3};
  std::vector<std::shared_ptr<counted_job>> jobs;
  for (std::size_t i = 1; i <= 20; ++i) {
    jobs.push_back(std::make_shared<counted_job>());
    jobs.back()->open.set_value();
    BOOST_REQUIRE(pool.submit(jobs.back(), i));
  }
  for (std::size_t i = 1; i <= 20; ++i) {
    BOOST_TEST(jobs[i - 1]->finished.get().value());
    BOOST_TEST(jobs[i - 1]->copied == i);
  }
}

BOOST_AUTO_TEST_CASE(an_aborted_job_ends_after_its_running_chunk_ahead_of_others) {
  copy_pool pool{1};
  const auto job = std::make_shared<counted_job>();
  BOOST_REQUIRE(pool.submit(job, 1'000));
  job->started.first.get_future().wait();
  pool.abort(*job);
  BOOST_TEST(!job->finished.ready());
  job->open.set_value();
  BOOST_TEST(job->finished.get().value() == false);
  BOOST_TEST(job->copied == 1u);
  pool.abort(*job);
}

BOOST_AUTO_TEST_CASE(jobs_take_turns) {
  copy_pool pool{1};
  const auto large = std::make_shared<counted_job>();
  const auto small = std::make_shared<counted_job>();
  small->open.set_value();
  BOOST_REQUIRE(pool.submit(large, 1'000'000));
  large->started.first.get_future().wait();
  BOOST_REQUIRE(pool.submit(small, 3));
  large->open.set_value();
  BOOST_TEST(small->finished.get().value());
  BOOST_TEST(large->copied < 1'000'000u);
  pool.abort(*large);
  BOOST_TEST(large->finished.get().has_value());
}

BOOST_AUTO_TEST_CASE(a_stopped_pool_ends_its_jobs_and_takes_no_more) {
  copy_pool pool{2};
  const auto job = std::make_shared<counted_job>();
  job->open.set_value();
  BOOST_REQUIRE(pool.submit(job, 10'000'000));
  pool.stop();
  BOOST_TEST(job->finished.get().value() == false);
  BOOST_TEST(!pool.submit(job, 1));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
