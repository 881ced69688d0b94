#include <fstream>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <caf/io/all.hpp>
#include <caf/openssl/all.hpp>

#include "actors/actors.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/fleet.hpp"
#include "tests/support/sockets.hpp"

using namespace baton;
using namespace baton::test;
using namespace std::chrono_literals;

namespace {

/// A deployment with certificates of one authority, and others.
struct two_authorities {
  authority ours{"ours"};
  authority theirs{"theirs"};
  tls_files context_files = ours.issue("context");
  tls_files generation_files = ours.issue("generation");
  std::uint64_t last_id = 0;

  [[nodiscard]] static std::unique_ptr<node> start(instance_role role, const tls_files& files) {
    return std::make_unique<node>(fleet_layout(role, role == instance_role::context ? "c" : "g"),
                                  "", transceiver_options{}, plane_options{}, -1, std::uint16_t{0},
                                  files);
  }

  std::string hand_over(node& context, node& generation, std::chrono::milliseconds limit = 5s) {
    return test::hand_over(context, generation, ++last_id, limit);
  }
};

std::uint16_t port_of(node& rank) {
  const auto endpoint = rank.door().endpoint();
  return static_cast<std::uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1)));
}

} // namespace

BOOST_AUTO_TEST_SUITE(tls)

BOOST_FIXTURE_TEST_CASE(ranks_with_certificates_of_one_authority_work_together, two_authorities) {
  const auto context = start(instance_role::context, context_files);
  const auto generation = start(instance_role::generation, generation_files);
  for (int i = 0; i < 5; ++i)
    BOOST_TEST(hand_over(*context, *generation) == "complete");
  const auto until = std::chrono::steady_clock::now() + 5s;
  while (left_in(*context) != "nothing" && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(1ms);
  BOOST_TEST(left_in(*context) == "nothing");
}

BOOST_FIXTURE_TEST_CASE(plain_and_rogue_ranks_are_refused_and_harm_nobody, two_authorities) {
  const auto context = start(instance_role::context, context_files);
  const auto good = start(instance_role::generation, generation_files);
  BOOST_TEST(hand_over(*context, *good) == "complete");
  // One without TLS, one with a certificate of another authority, and one with such a certificate
  // that trusts ours.
  auto rogue_files = theirs.issue("rogue");
  auto trusting_files = rogue_files;
  trusting_files.authority = context_files.authority;
  for (const auto& files : {tls_files{}, rogue_files, trusting_files}) {
    const auto bad = start(instance_role::generation, files);
    const auto ending = hand_over(*context, *bad, 1s);
    BOOST_TEST_MESSAGE(ending);
    BOOST_TEST((ending.starts_with("peer_lost: ") || ending.starts_with("timed_out: ")));
    BOOST_TEST((ending.find("TLS") != std::string::npos ||
                ending.find("certificate") != std::string::npos ||
                ending.find("directory") != std::string::npos));
    BOOST_TEST(hand_over(*context, *good) == "complete");
    BOOST_TEST(context->door().stats().links == 1u);
  }
}

BOOST_FIXTURE_TEST_CASE(a_rank_with_tls_does_not_speak_without, two_authorities) {
  const auto plain = start(instance_role::context, {});
  const auto rogue = start(instance_role::context, theirs.issue("rogue"));
  const auto generation = start(instance_role::generation, generation_files);
  for (auto* context : {plain.get(), rogue.get()}) {
    BOOST_TEST(hand_over(*context, *generation, 1s) != "complete");
    BOOST_TEST(context->door().stats().links == 0u);
  }
}

BOOST_FIXTURE_TEST_CASE(an_exit_message_of_a_plain_client_does_not_arrive, two_authorities) {
  const auto context = start(instance_role::context, context_files);
  actor_config config;
  caf::actor_system outside{config};
  const auto reached = outside.middleman().remote_actor<door_actor>("127.0.0.1", port_of(*context));
  BOOST_TEST(!reached);
  // And of one whose TLS shows no certificate.
  actor_config anonymous_config;
  anonymous_config.load<caf::openssl::manager>();
  caf::actor_system anonymous{anonymous_config};
  BOOST_TEST(!caf::openssl::remote_actor<door_actor>(anonymous, "127.0.0.1", port_of(*context)));
}

BOOST_FIXTURE_TEST_CASE(whoever_connects_and_says_nothing_or_half_holds_nobody_up,
                        two_authorities) {
  const auto context = start(instance_role::context, context_files);
  const auto good = start(instance_role::generation, generation_files);
  BOOST_TEST(hand_over(*context, *good) == "complete");
  std::vector<unique_fd> silent;
  for (int i = 0; i < 50; ++i)
    silent.push_back(connect_to(port_of(*context)));
  const std::string half{"\x16\x03\x01\x02\x00\x01\x00", 7}; // of a client's hello
  for (std::size_t i = 0; i < silent.size(); i += 2)
    BOOST_TEST(::send(silent[i].get(), half.data(), half.size(), MSG_NOSIGNAL) ==
               static_cast<ssize_t>(half.size()));
  const auto another = start(instance_role::generation, generation_files);
  BOOST_TEST(hand_over(*context, *good) == "complete");
  BOOST_TEST(hand_over(*context, *another) == "complete");
}

BOOST_FIXTURE_TEST_CASE(failed_connections_do_not_cut_others, two_authorities) {
  const auto context = start(instance_role::context, context_files);
  const auto good = start(instance_role::generation, generation_files);
  BOOST_TEST(hand_over(*context, *good) == "complete");
  BOOST_REQUIRE(context->door().stats().links == 1u);
  const auto before = measure_peers().descriptors;
  constexpr std::size_t strangers = 200;
  const std::string nonsense(64, 'x');
  for (std::size_t i = 0; i < strangers; ++i) {
    const auto stranger = connect_to(port_of(*context));
    BOOST_TEST(::send(stranger.get(), nonsense.data(), nonsense.size(), MSG_NOSIGNAL) ==
               static_cast<ssize_t>(nonsense.size()));
    if (i % 20 == 0)
      BOOST_TEST(hand_over(*context, *good) == "complete");
    BOOST_TEST(context->door().stats().links == 1u);
  }
  // The network and UCX make some timers late; a leak would be of one for each stranger.
  const auto most = before + strangers / 10;
  const auto until = std::chrono::steady_clock::now() + 30s;
  while (measure_peers().descriptors > most && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(5ms);
  BOOST_TEST(measure_peers().descriptors <= most);
  // Also the end of a good connection leaves errors behind.
  for (int i = 0; i < 5; ++i) {
    const auto other = start(instance_role::generation, generation_files);
    BOOST_TEST(hand_over(*context, *other) == "complete");
  }
  BOOST_TEST(hand_over(*context, *good) == "complete");
}

BOOST_FIXTURE_TEST_CASE(files_that_cannot_be_used_are_refused_by_name, two_authorities) {
  const auto refusal = [](const tls_files& files) {
    actor_config config;
    const auto ok = configure_tls(config, files);
    return ok ? "" : ok.error().text;
  };
  BOOST_TEST(refusal(context_files) == "");
  const auto garbage = (ours.folder() / "garbage").string();
  std::ofstream{garbage} << "not in PEM";
  for (const auto& bad : {std::string{}, std::string{"/nowhere"}, garbage}) {
    auto files = context_files;
    files.certificate = bad;
    BOOST_TEST(refusal(files).starts_with("tls.certificate: "));
    files = context_files;
    files.key = bad;
    BOOST_TEST(refusal(files).starts_with("tls.key: "));
    files = context_files;
    files.authority = bad;
    BOOST_TEST(refusal(files).starts_with("tls.authority: "));
  }
  auto mixed = context_files;
  mixed.key = generation_files.key;
  BOOST_TEST(refusal(mixed).starts_with("tls.key: "));
}

BOOST_FIXTURE_TEST_CASE(tls_allows_other_addresses_and_half_of_it_allows_nothing, two_authorities) {
  const auto context = start(instance_role::context, context_files);
  // An address that no machine has: it comes as far as being bound.
  const auto bound = transceiver::start(context->system(), context->layout(), context->plane_ptr(),
                                        rank_endpoint{"192.0.2.1"});
  BOOST_REQUIRE(!bound);
  BOOST_TEST((bound.error().text.find("cannot be bound") != std::string::npos));

  const auto plain = start(instance_role::context, {});
  actor_config config;
  config.load<caf::openssl::manager>();
  caf::actor_system anonymous{config};
  const auto refused = transceiver::start(anonymous, plain->layout(), plain->plane_ptr(), {});
  BOOST_REQUIRE(!refused);
  BOOST_TEST(refused.error().text.starts_with("the actor system has TLS, but not certificate"));
}

BOOST_AUTO_TEST_SUITE_END()
