// Whether a process can tell that another one died, before anything of it is gone.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <functional>
#include <new>
#include <optional>
#include <thread>

#include <boost/test/unit_test.hpp>

#include "transport/base/life_lock.hpp"
#include "transport/base/unique_fd.hpp"

namespace baton {

namespace {

constexpr int patience_ms = 20'000;

/// A life word that this process and its children share.
struct shared_word {
  shared_word()
      : memory{mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)} {
    BOOST_REQUIRE(memory != MAP_FAILED);
    word = new (memory) life_word;
  }
  ~shared_word() { munmap(memory, 4096); }
  shared_word(const shared_word&) = delete;
  shared_word& operator=(const shared_word&) = delete;

  void* memory;
  life_word* word = nullptr;
};

/// A child process that runs `body`, and holds the only write end of a pipe until it ends.
class child_process {
public:
  explicit child_process(const std::function<void(int ready)>& body) {
    std::array<int, 2> ends{};
    BOOST_REQUIRE(pipe2(ends.data(), O_CLOEXEC) == 0);
    pid_ = fork();
    if (pid_ == 0) {
      close(ends[0]);
      body(ends[1]);
      for (;;)
        pause();
    }
    read_end_ = unique_fd{ends[0]};
    close(ends[1]);
  }
  ~child_process() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;

  /// Waits for a byte of it, or for its end.
  ///
  /// @returns how many bytes came; -1 if nothing happened.
  [[nodiscard]] int hear() const {
    pollfd watched{read_end_.get(), POLLIN, 0};
    if (poll(&watched, 1, patience_ms) != 1)
      return -1;
    char byte = 0;
    return static_cast<int>(read(read_end_.get(), &byte, 1));
  }
  void kill_it() const { kill(pid_, SIGKILL); }

private:
  pid_t pid_ = -1;
  unique_fd read_end_;
};

void tell(int ready) {
  if (write(ready, "x", 1) != 1)
    _exit(1);
}

/// Locks the word for as long as the process lives.
void live(life_word& word) {
  static auto lock = life_lock::take(word);
  if (!lock)
    _exit(1);
}

} // namespace

BOOST_AUTO_TEST_SUITE(life_locks)

BOOST_AUTO_TEST_CASE(a_word_is_alive_while_its_lock_is_held) {
  const shared_word shared;
  BOOST_TEST(!is_alive(*shared.word));
  {
    auto lock = life_lock::take(*shared.word).value();
    BOOST_TEST(is_alive(*shared.word));
    const auto moved = std::move(lock);
    BOOST_TEST(is_alive(*shared.word));
  }
  BOOST_TEST(!is_alive(*shared.word));
  const auto again = life_lock::take(*shared.word).value();
  BOOST_TEST(is_alive(*shared.word));
}

BOOST_AUTO_TEST_CASE(it_does_not_depend_on_the_thread_that_took_it) {
  const shared_word shared;
  std::optional<life_lock> lock;
  std::thread{[&] { lock = life_lock::take(*shared.word).value(); }}.join();
  BOOST_TEST(is_alive(*shared.word));
  lock.reset();
  BOOST_TEST(!is_alive(*shared.word));
}

/// The kernel must have marked the word by the time it closes the first descriptor of the process.
BOOST_AUTO_TEST_CASE(a_killed_process_is_dead_before_its_descriptors_are_closed) {
  for (int round = 0; round < 50; ++round) {
    const shared_word shared;
    const child_process child{[&](int ready) {
      live(*shared.word);
      // The more threads, the more ways for the last one to be another than the keeper.
      for (int i = 0; i < 8; ++i)
        std::thread{[] {
          for (;;)
            pause();
        }}.detach();
      tell(ready);
    }};
    BOOST_REQUIRE(child.hear() == 1);
    BOOST_REQUIRE(is_alive(*shared.word));
    child.kill_it();
    BOOST_REQUIRE(child.hear() == 0);
    BOOST_TEST(!is_alive(*shared.word));
  }
}

BOOST_AUTO_TEST_CASE(a_process_that_exits_or_crashes_is_dead_too) {
  for (const int how : {0, SIGABRT, SIGSEGV}) {
    const shared_word shared;
    const child_process child{[&](int ready) {
      live(*shared.word);
      tell(ready);
      signal(how, SIG_DFL);
      how == 0 ? _exit(0) : static_cast<void>(raise(how));
    }};
    BOOST_REQUIRE(child.hear() == 1);
    BOOST_REQUIRE(child.hear() == 0);
    BOOST_TEST(!is_alive(*shared.word));
  }
}

BOOST_AUTO_TEST_CASE(a_stopped_process_is_alive) {
  const shared_word shared;
  const child_process child{[&](int ready) {
    live(*shared.word);
    tell(ready);
    raise(SIGSTOP);
  }};
  BOOST_REQUIRE(child.hear() == 1);
  BOOST_TEST(is_alive(*shared.word));
}

/// A forked child has none of its parent's threads.
BOOST_AUTO_TEST_CASE(a_child_of_a_process_that_holds_locks_can_take_its_own) {
  const shared_word ours;
  const shared_word theirs;
  const auto lock = life_lock::take(*ours.word).value();
  {
    const child_process child{[&](int ready) {
      live(*theirs.word);
      tell(ready);
    }};
    BOOST_REQUIRE(child.hear() == 1);
    BOOST_TEST(is_alive(*theirs.word));
  }
  BOOST_TEST(!is_alive(*theirs.word));
  BOOST_TEST(is_alive(*ours.word));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
