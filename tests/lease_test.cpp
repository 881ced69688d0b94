#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "transport/lease/lease_table.hpp"

namespace baton {

namespace {

const incarnation life{77};

} // namespace

BOOST_AUTO_TEST_SUITE(leases)

BOOST_AUTO_TEST_CASE(a_lease_is_granted_until_it_is_revoked) {
  auto table = lease_table::create(life, 4).value();
  const auto view = lease_view::map(table.descriptor(), life).value();
  const auto right = table.grant().value();
  BOOST_TEST(right.epoch % 2 == 1u);
  BOOST_TEST(view.granted(right));
  BOOST_TEST(table.granted() == 1u);
  BOOST_TEST(table.revoke(right));
  BOOST_TEST(!view.granted(right));
  BOOST_TEST(!table.granted(right));
  BOOST_TEST(table.granted() == 0u);
}

BOOST_AUTO_TEST_CASE(a_table_that_is_gone_grants_nothing_and_its_owner_counts_as_dead) {
  auto table = std::make_unique<lease_table>(lease_table::create(life, 4).value());
  const auto view = lease_view::map(table->descriptor(), life).value();
  const auto right = table->grant().value();
  const auto revoked = table->grant().value();
  table->revoke(revoked);
  BOOST_TEST(view.owner_alive());
  auto moved = std::make_unique<lease_table>(std::move(*table));
  table.reset();
  BOOST_TEST(view.owner_alive());
  BOOST_TEST(view.granted(right));
  moved.reset();
  BOOST_TEST(!view.owner_alive());
  BOOST_TEST(!view.granted(right));
  BOOST_TEST(!view.granted(revoked));
}

BOOST_AUTO_TEST_CASE(all_leases_are_taken_back_at_once) {
  auto table = lease_table::create(life, 3).value();
  const auto view = lease_view::map(table.descriptor(), life).value();
  const auto first = table.grant().value();
  const auto second = table.grant().value();
  table.revoke_all();
  BOOST_TEST(!view.granted(first));
  BOOST_TEST(!view.granted(second));
  BOOST_TEST(table.granted() == 0u);
  for (int i = 0; i < 3; ++i)
    BOOST_TEST(table.grant().has_value());
  BOOST_TEST(!table.grant().has_value());
}

BOOST_AUTO_TEST_CASE(a_second_revocation_touches_nobody_elses_lease) {
  auto table = lease_table::create(life, 1).value();
  const auto first = table.grant().value();
  BOOST_TEST(table.revoke(first));
  BOOST_TEST(!table.revoke(first));
  const auto second = table.grant().value();
  BOOST_TEST(second.slot == first.slot);
  BOOST_TEST(second.epoch == first.epoch + 2);
  BOOST_TEST(!table.revoke(first));
  BOOST_TEST(table.granted(second));
  BOOST_TEST(!table.granted(first));
  BOOST_TEST(!table.grant());
}

BOOST_AUTO_TEST_CASE(exactly_as_many_leases_as_there_are_slots_can_be_granted) {
  auto table = lease_table::create(life, 3).value();
  for (int i = 0; i < 3; ++i)
    BOOST_TEST(table.grant().has_value());
  const auto refused = table.grant();
  BOOST_REQUIRE(!refused);
  BOOST_TEST(to_string(refused.error().code) == "out_of_resources");
  BOOST_TEST(!lease_table::create(life, 0));
  BOOST_TEST(!lease_table::create(life, (1u << 24) + 1));
}

BOOST_AUTO_TEST_CASE(a_lease_of_another_life_slot_or_parity_is_never_granted) {
  auto table = lease_table::create(life, 2).value();
  const auto right = table.grant().value();
  const auto view = lease_view::map(table.descriptor(), life).value();
  for (const auto& wrong :
       {lease{incarnation{78}, right.slot, right.epoch}, lease{life, 2, right.epoch},
        lease{life, 0xffffffff, right.epoch}, lease{life, right.slot, right.epoch + 1},
        lease{life, right.slot ^ 1, 0}}) {
    BOOST_TEST(!view.granted(wrong));
    BOOST_TEST(!table.revoke(wrong));
  }
  BOOST_TEST(view.granted(right));
}

BOOST_AUTO_TEST_CASE(a_peer_cannot_write_the_table) {
  const auto table = lease_table::create(life, 2).value();
  void* written = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, table.descriptor(), 0);
  BOOST_TEST(written == MAP_FAILED);
  BOOST_TEST(ftruncate(table.descriptor(), 0) != 0);
  BOOST_TEST(ftruncate(table.descriptor(), 1 << 20) != 0);
}

BOOST_AUTO_TEST_CASE(a_view_refuses_what_is_no_table_of_that_life) {
  const auto table = lease_table::create(life, 2).value();
  BOOST_TEST(!lease_view::map(table.descriptor(), incarnation{78}));

  const unique_fd unsealed{memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  BOOST_REQUIRE(ftruncate(unsealed.get(), 4096) == 0);
  lease_header header;
  header.slots = 1'000'000;
  header.life = life.value;
  BOOST_REQUIRE(pwrite(unsealed.get(), &header, sizeof header, 0) == sizeof header);
  const auto loose = lease_view::map(unsealed.get(), life);
  BOOST_REQUIRE(!loose);
  BOOST_TEST(loose.error().text.find("not sealed") != std::string::npos);

  BOOST_REQUIRE(fcntl(unsealed.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
  const auto cut = lease_view::map(unsealed.get(), life);
  BOOST_REQUIRE(!cut);
  BOOST_TEST(cut.error().text.find("cut off") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(many_threads_never_share_a_lease) {
  constexpr std::size_t slots = 8;
  auto table = lease_table::create(life, slots).value();
  std::vector<std::atomic<int>> holders(slots);
  std::atomic<int> shared{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 5'000; ++i) {
        const auto right = table.grant();
        if (!right)
          continue;
        shared += holders[right->slot].fetch_add(1) == 0 ? 0 : 1;
        shared += table.granted(*right) ? 0 : 1;
        holders[right->slot].fetch_sub(1);
        shared += table.revoke(*right) ? 0 : 1;
        shared += table.revoke(*right) ? 1 : 0;
      }
    });
  for (auto& thread : threads)
    thread.join();
  BOOST_TEST(shared == 0);
  BOOST_TEST(table.granted() == 0u);
}

/// Order 1 of lease_table.hpp: the owner rewrites what it has revoked; a reader that read before
/// its look at the lease sees old bytes.
BOOST_AUTO_TEST_CASE(what_was_read_while_granted_is_what_was_there_at_the_grant) {
  auto table = lease_table::create(life, 1).value();
  const auto view = lease_view::map(table.descriptor(), life).value();
  std::vector<std::atomic<std::uint64_t>> block(512);
  std::atomic<std::uint64_t> epoch{0};
  std::atomic<std::uint64_t> validated{0}; // epoch
  std::atomic<bool> stop{false};
  std::thread owner{[&] {
    for (int round = 0; round < 20'000; ++round) {
      const auto right = table.grant().value();
      epoch.store(right.epoch);
      // Most rounds end while the reader reads once more.
      for (int patience = 0; patience < 1'000 && validated.load() != right.epoch; ++patience)
        ;
      table.revoke(right);
      // What is read last is written first.
      for (auto word = block.rbegin(); word != block.rend(); ++word)
        word->store(right.epoch + 2, std::memory_order_relaxed);
    }
    stop = true;
  }};
  std::uint64_t wrong = 0;
  std::uint64_t good = 0;
  while (!stop) {
    const lease right{life, 0, epoch.load() | 1};
    std::uint64_t differing = 0;
    for (auto& word : block)
      differing += word.load(std::memory_order_relaxed) != right.epoch ? 1 : 0;
    // Epoch 1 is granted before anything was written.
    if (!view.granted(right) || right.epoch == 1)
      continue;
    wrong += differing;
    ++good;
    validated.store(right.epoch);
  }
  owner.join();
  BOOST_TEST(wrong == 0u);
  BOOST_TEST(good > 0u);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
