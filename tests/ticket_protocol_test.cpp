// Tickets between sessions: what a receiver does with one, and what the source does with its
// receiver. tests/protocol_test.cpp has the histories in which all goes wrong.
#include <boost/test/unit_test.hpp>

#include "tests/support/settled.hpp"

using namespace baton;
using namespace baton::test;
using std::chrono::milliseconds;

namespace {

constexpr request_id first{1};
constexpr incarnation source{3};
constexpr incarnation reader{4};
constexpr milliseconds deadline{200};

/// What a session did, in order.
template <class Backend>
struct recorder : Backend {
  void send(incarnation, wire_message message) override { sent.push_back(std::move(message)); }
  void report(session_report report) override { reports.push_back(std::move(report)); }
  void passed(probe_point) override {}

  template <class Message>
  [[nodiscard]] std::vector<Message> all() const {
    std::vector<Message> found;
    for (const auto& message : sent)
      if (const auto* one = std::get_if<Message>(&message))
        found.push_back(*one);
    return found;
  }
  [[nodiscard]] const session_end* end() const {
    return reports.empty() ? nullptr : std::get_if<session_end>(&reports.back());
  }

  std::vector<wire_message> sent;
  std::vector<session_report> reports;
};

struct receive_recorder : recorder<receive_backend> {
  void pull(std::uint32_t, std::uint32_t, pull_job job) override { jobs.push_back(job); }
  std::vector<pull_job> jobs;
};

struct send_recorder : recorder<send_backend> {
  void when(std::uint32_t, gpu_event_ref) override {}
  expected<lease> grant(grant_spec spec) override {
    if (granted.size() == most)
      return fail(errc::out_of_resources, "no more");
    const lease right{source, ++last, 1};
    granted.emplace(right.slot, std::move(spec));
    return right;
  }
  void revoke(const lease& right) override { granted.erase(right.slot); }

  std::map<std::uint32_t, grant_spec> granted; ///< by slot
  std::uint32_t last = 0;
  std::size_t most = 100;
};

/// Two slices of 4 tokens.
request_ticket ticket_of_two() {
  request_ticket ticket;
  ticket.request = first;
  ticket.tables = {{"full", 0, {10, 11, 12, 13}, {}}, {"full", 4, {14, 15, 16, 17}, {}}};
  ticket.aux = {{{7}, {}, {}}};
  ticket.ranks = {{0,
                   source,
                   offer_id{5},
                   {{{source, 1, 3}, {{0, {0, 4}}}}, {{source, 2, 3}, {{1, {4, 8}}}}},
                   0,
                   false}};
  return ticket;
}

receive_spec spec_of(const request_ticket& ticket) {
  receive_spec spec;
  spec.request.request = first;
  spec.request.context.ticket = std::make_shared<const request_ticket>(ticket);
  spec.wants = {{"full", {2, 8}}};
  spec.pull = pull_id{7};
  const std::vector<std::uint32_t> layers{0, 1};
  spec.route.sources = {{source,
                         0,
                         1,
                         {"full"},
                         true,
                         {lane_kind::mapped, ""},
                         {std::make_shared<const std::vector<std::uint32_t>>(layers)}}};
  return spec;
}

slice_grant granted_anew(std::uint32_t slice, offer_id offer = offer_id{5}) {
  slice_grant grant;
  grant.request = first;
  grant.pull = pull_id{7};
  grant.offer = offer;
  grant.slice = slice;
  grant.last = slice == 1;
  grant.ranges = {{"full", {slice == 0 ? 2u : 4u, slice == 0 ? 4u : 8u}}};
  grant.right = {source, 50 + slice, 1};
  return grant;
}

const error revoked{errc::lease_revoked, "the blocks were taken back"};

/// Whether a receiver of this ticket asks without it.
bool asks(const request_ticket& ticket) {
  receive_recorder seen;
  receive_protocol session{spec_of(ticket), seen};
  session.start({});
  return seen.jobs.empty() && !seen.all<pull_request>().at(0).ticket;
}

send_slice slice_of(token_range tokens, bool last) {
  send_slice slice;
  slice.request = first;
  slice.tokens = tokens;
  slice.last = last;
  slice.blocks = {{"full", tokens.begin, std::vector<std::uint32_t>(tokens.size(), 9)}};
  return slice;
}

send_spec offered() {
  send_spec spec;
  spec.request = first;
  spec.offer = offer_id{5};
  spec.slices = {slice_of({0, 4}, false), slice_of({4, 8}, true)};
  return spec;
}

pull_request question(std::optional<lease> ticket) {
  pull_request call;
  call.request = first;
  call.pull = pull_id{7};
  call.receivers = 1;
  call.wants = {{"full", {0, 8}}};
  call.ticket = ticket;
  return call;
}

} // namespace

BOOST_AUTO_TEST_SUITE(ticket_protocol)

BOOST_AUTO_TEST_CASE(a_receiver_reads_by_its_ticket_before_anybody_answers) {
  receive_recorder seen;
  receive_protocol session{spec_of(ticket_of_two()), seen};
  session.start({});
  BOOST_REQUIRE(seen.jobs.size() == 2u);
  BOOST_TEST((seen.jobs[0].right == lease{source, 1, 3}));
  BOOST_TEST((seen.jobs[0].ranges == std::vector<group_range>{{"full", {2, 4}, {}}}));
  BOOST_TEST((seen.jobs[0].source_blocks[0].blocks == std::vector<std::uint32_t>{10, 11, 12, 13}));
  BOOST_TEST((seen.jobs[1].ranges == std::vector<group_range>{{"full", {4, 8}, {}}}));
  const auto call = seen.all<pull_request>().at(0);
  BOOST_TEST((call.ticket == lease{source, 1, 3}));
  session.pulled(0, 1, pull_stats{});
  session.pulled(0, 0, pull_stats{});
  BOOST_REQUIRE(seen.end() != nullptr);
  BOOST_TEST(!seen.end()->failure);
  const auto done = seen.all<slice_done>();
  BOOST_REQUIRE(done.size() == 2u);
  BOOST_TEST((done[0].offer == offer_id{5}));
  for (const auto& report : seen.reports)
    if (const auto* slice = std::get_if<slice_validated>(&report)) {
      BOOST_TEST((slice->ticket == ticket_use::used));
      BOOST_TEST(slice->aux.has_value() == slice->last);
    }
}

BOOST_AUTO_TEST_CASE(a_ticket_that_does_not_fit_is_not_used) {
  BOOST_TEST(!asks(ticket_of_two()));
  const auto changed = [](auto change) {
    auto ticket = ticket_of_two();
    change(ticket);
    return asks(ticket);
  };
  BOOST_TEST(changed([](auto& t) { t.request = request_id{2}; }));
  BOOST_TEST(changed([](auto& t) { t.ranks[0].life = incarnation{99}; }));
  BOOST_TEST(changed([](auto& t) { t.ranks[0].rank = 1; }));
  BOOST_TEST(changed([](auto& t) { t.ranks.clear(); }));
  BOOST_TEST(changed([](auto& t) { t.ranks[0].slices.pop_back(); }));
  BOOST_TEST(changed([](auto& t) { t.ranks[0].slices[1].ranges[0].tokens.begin = 5; }));
  BOOST_TEST(changed([](auto& t) { t.tables[0].tails.resize(1); }));
  BOOST_TEST(changed([](auto& t) { t.ranks[0].aux_left_out = true; }));
  BOOST_TEST(changed([](auto& t) { t.tables[1].group = "other"; }));
}

BOOST_AUTO_TEST_CASE(what_was_revoked_is_asked_for_in_the_same_attempt) {
  for (const bool early : {true, false}) {
    receive_recorder seen;
    receive_protocol session{spec_of(ticket_of_two()), seen};
    session.start({});
    if (early) {
      session.handle(peer_message{source, granted_anew(0)});
      session.handle(peer_message{source, granted_anew(1)});
    }
    BOOST_TEST(seen.jobs.size() == 2u);
    session.pulled(0, 0, tl::unexpected{revoked});
    const auto failed = seen.all<slice_failed>();
    BOOST_REQUIRE(failed.size() == 1u);
    BOOST_TEST(failed[0].by_ticket);
    // While the other slice is read by ticket, nothing new begins.
    BOOST_TEST(seen.jobs.size() == 2u);
    session.pulled(0, 1, tl::unexpected{revoked});
    if (!early) {
      session.handle(peer_message{source, granted_anew(0)});
      session.handle(peer_message{source, granted_anew(1)});
    }
    BOOST_REQUIRE(seen.jobs.size() == 4u);
    BOOST_TEST((seen.jobs[2].right == lease{source, 50, 1}));
    session.pulled(0, 0, pull_stats{});
    session.pulled(0, 1, pull_stats{});
    BOOST_REQUIRE(seen.end() != nullptr);
    BOOST_TEST(!seen.end()->failure);
    for (const auto& report : seen.reports)
      if (const auto* slice = std::get_if<slice_validated>(&report))
        BOOST_TEST((slice->ticket == ticket_use::refused));
  }
}

BOOST_AUTO_TEST_CASE(what_was_read_of_an_offer_that_is_over_is_read_again) {
  receive_recorder seen;
  receive_protocol session{spec_of(ticket_of_two()), seen};
  session.start({});
  session.pulled(0, 0, pull_stats{});
  session.handle(peer_message{source, granted_anew(0, offer_id{6})});
  session.handle(peer_message{source, granted_anew(1, offer_id{6})});
  session.pulled(0, 1, tl::unexpected{revoked});
  BOOST_REQUIRE(seen.jobs.size() == 4u);
  session.pulled(0, 0, pull_stats{});
  BOOST_TEST(seen.end() == nullptr);
  session.pulled(0, 1, pull_stats{});
  BOOST_REQUIRE(seen.end() != nullptr);
  BOOST_TEST(!seen.end()->failure);
}

BOOST_AUTO_TEST_CASE(a_lost_source_whose_ticket_is_stale_ends_the_attempt) {
  for (const bool gone : {true, false}) {
    receive_recorder seen;
    receive_protocol session{spec_of(ticket_of_two()), seen};
    session.start({});
    session.handle(link_loss{source, gone});
    BOOST_TEST(seen.end() == nullptr);
    session.pulled(0, 0, tl::unexpected{revoked});
    BOOST_REQUIRE(seen.end() != nullptr);
    BOOST_TEST((seen.end()->failure->reason.code == errc::peer_lost));
    BOOST_TEST(seen.end()->failure->may_retry == !gone);
  }
}

BOOST_AUTO_TEST_CASE(a_failure_of_the_lane_is_no_stale_ticket) {
  receive_recorder seen;
  receive_protocol session{spec_of(ticket_of_two()), seen};
  session.start({});
  session.pulled(0, 0, fail(errc::transport_failed, "broken"));
  BOOST_REQUIRE(seen.end() != nullptr);
  BOOST_TEST((seen.end()->failure->reason.code == errc::transport_failed));
}

BOOST_AUTO_TEST_CASE(a_source_grants_nothing_more_to_who_holds_its_ticket) {
  send_recorder seen;
  send_protocol session{offered(), seen};
  session.start();
  session.handle(ticket_wanted{});
  session.handle(ticket_wanted{}); // somebody else, before the first was answered
  const auto* made = std::get_if<ticket_made>(&seen.reports.back());
  BOOST_REQUIRE(made != nullptr && made->ticket);
  BOOST_TEST(seen.granted.size() == 2u);
  const auto first_lease = made->ticket->ranks.at(0).slices.at(0).right;
  session.handle(peer_message{reader, question(first_lease)});
  BOOST_TEST(seen.all<slice_grant>().empty());
  BOOST_TEST(seen.granted.size() == 2u);
  session.handle(peer_message{reader, slice_done{first, pull_id{7}, offer_id{5}, 0}});
  BOOST_TEST(seen.end() == nullptr);
  BOOST_TEST(seen.granted.size() == 2u);
  session.handle(peer_message{reader, slice_done{first, pull_id{7}, offer_id{5}, 1}});
  BOOST_REQUIRE(seen.end() != nullptr);
  BOOST_TEST(!seen.end()->failure);
  BOOST_TEST(seen.end()->dropped == 0u);
  BOOST_TEST(seen.granted.empty());
}

BOOST_AUTO_TEST_CASE(a_source_grants_what_is_asked_for_to_who_holds_another_ticket) {
  send_recorder seen;
  send_protocol session{offered(), seen};
  session.start();
  session.handle(ticket_wanted{});
  session.handle(peer_message{reader, question(lease{source, 77, 1})});
  BOOST_TEST(seen.all<slice_grant>().size() == 2u);
  // That the other ticket failed takes nothing back.
  session.handle(peer_message{reader, slice_failed{first, pull_id{7}, {}, 0, revoked, true}});
  BOOST_TEST(seen.granted.size() == 4u);
  for (const auto slice : {0u, 1u})
    session.handle(peer_message{reader, slice_done{first, pull_id{7}, offer_id{5}, slice}});
  BOOST_REQUIRE(seen.end() != nullptr);
  BOOST_TEST(seen.granted.empty());
}

BOOST_AUTO_TEST_CASE(a_source_grants_to_whom_its_ticket_did_not_serve) {
  send_recorder seen;
  send_protocol session{offered(), seen};
  session.start();
  session.handle(ticket_wanted{});
  session.handle(peer_message{reader, question(lease{source, 1, 1})});
  session.handle(peer_message{reader, slice_done{first, pull_id{7}, offer_id{5}, 0}});
  session.handle(peer_message{
      reader, slice_failed{first, pull_id{7}, offer_id{5}, 1, {errc::invalid_argument, ""}, true}});
  const auto grants = seen.all<slice_grant>();
  BOOST_REQUIRE(grants.size() == 1u);
  BOOST_TEST(grants[0].slice == 1u);
}

BOOST_AUTO_TEST_CASE(there_is_no_ticket_before_the_last_slice_nor_without_leases) {
  send_recorder seen;
  auto spec = offered();
  spec.slices.pop_back();
  send_protocol session{std::move(spec), seen};
  session.start();
  session.handle(ticket_wanted{});
  BOOST_TEST(seen.reports.empty());
  seen.most = 1;
  session.handle(slice_of({4, 8}, true));
  BOOST_REQUIRE(seen.reports.size() == 1u);
  BOOST_TEST(!std::get<ticket_made>(seen.reports[0]).ticket);
  BOOST_TEST(seen.granted.empty());
}

BOOST_AUTO_TEST_CASE(a_ticket_saves_the_wait_on_every_rank) {
  chaos faults;
  faults.tickets = 1;
  faults.in_order = true;
  simulation world{41, {2, 1, 2}, faults};
  world.hand_over(first, {{0, 3}, {3, 5}, {5, 9}}, 2, deadline);
  require_clean(world);
  for (std::size_t rank = 0; rank < 3; ++rank)
    BOOST_TEST(world.context(rank).outcomes().at(first).completed());
  for (std::size_t rank = 0; rank < 2; ++rank) {
    const auto& outcome = world.generation(rank).outcomes().at(first);
    BOOST_TEST(outcome.completed());
    BOOST_TEST(outcome.attempts == 1u);
    BOOST_REQUIRE(outcome.sources.size() == 2u);
    for (const auto& one : outcome.sources)
      BOOST_TEST((one.ticket == ticket_use::used));
    // Finding the route takes its time; nothing else does.
    BOOST_TEST((outcome.waited <= faults.longest_message));
  }
}

BOOST_AUTO_TEST_CASE(a_ticket_of_a_request_that_was_cancelled_brings_the_reason) {
  simulation world{42, {1, 0, 1}, {}};
  world.context(0).offer(first, {{0, 4}}, deadline);
  std::shared_ptr<const request_ticket> ticket;
  world.collect(first, [&](std::shared_ptr<const request_ticket> made) { ticket = made; });
  world.clock().run(world.clock().now() + milliseconds{5});
  BOOST_REQUIRE(ticket != nullptr);
  BOOST_TEST(world.context(0).plane().granted() == 1u);
  world.context(0).cancel(first);
  world.clock().run(world.clock().now() + milliseconds{20});
  BOOST_TEST(world.context(0).plane().granted() == 0u);
  world.generation(0).receive(first, 4, 0, deadline, ticket);
  require_clean(world);
  const auto& outcome = world.generation(0).outcomes().at(first);
  BOOST_REQUIRE(outcome.failure.has_value());
  BOOST_TEST((outcome.failure->code == errc::cancelled));
}

BOOST_AUTO_TEST_CASE(a_session_that_crashes_takes_its_ticket_back_and_grants_anew) {
  // Before anything is read by the ticket, and in the middle.
  for (const auto when : {0, 10, 20}) {
    simulation world{44, {1, 0, 1}, {}};
    world.context(0).offer(first, {{0, 40}}, milliseconds{60'000});
    std::shared_ptr<const request_ticket> ticket;
    world.collect(first, [&](std::shared_ptr<const request_ticket> made) { ticket = made; });
    world.clock().run(world.clock().now() + milliseconds{5});
    BOOST_REQUIRE(ticket != nullptr);
    world.generation(0).receive(first, 40, 0, milliseconds{60'000}, ticket);
    world.clock().run(world.clock().now() + milliseconds{when});
    world.context(0).crash(first);
    require_clean(world);
    BOOST_TEST(world.context(0).outcomes().at(first).completed());
    const auto& outcome = world.generation(0).outcomes().at(first);
    BOOST_TEST(outcome.completed());
    BOOST_TEST(outcome.attempts == 1u);
    BOOST_TEST((outcome.sources.at(0).ticket == ticket_use::refused));
  }
}

BOOST_AUTO_TEST_CASE(tickets_that_come_too_late_or_never_are_none) {
  simulation world{43, {2, 0, 1}, {}};
  int answers = 0;
  const auto none = [&](std::shared_ptr<const request_ticket> made) {
    ++answers;
    BOOST_TEST(made == nullptr);
  };
  world.collect(first, none);                        // nobody has offered it
  world.context(0).offer(first, {{0, 4}}, deadline); // and the other rank never does
  world.clock().run(world.clock().now() + milliseconds{50});
  BOOST_TEST(answers == 1);
  world.context(0).cancel(first);
  world.clock().run(world.clock().now() + milliseconds{20});
  world.context(0).ask_for_ticket(first, none);    // it has ended
  world.generation(0).ask_for_ticket(first, none); // it has nothing to grant
  require_clean(world);
  BOOST_TEST(answers == 3);
}

BOOST_AUTO_TEST_SUITE_END()
