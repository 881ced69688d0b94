#include "tests/support/troubled_ranks.hpp"

#include <utility>
#include <vector>

#include "actors/caf_error.hpp"

namespace baton::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t first_received = 32;

} // namespace

troubled_ranks::troubled_ranks(std::uint64_t seed) : scheduled_ranks{seed} {
}

void troubled_ranks::offer(std::uint64_t id, token_range tokens, bool last, fake_event* after,
                           std::chrono::milliseconds timeout) {
  send_slice slice;
  slice.request = request_id{id};
  slice.tokens = tokens;
  slice.last = last;
  slice.blocks = {table(0, tokens.end)};
  slice.timeout = timeout;
  slice.after = {after};
  for (auto block = tokens.begin; block < tokens.end; ++block)
    context.plane->fake().write("full", block, id);
  caf::anon_send(context.actor, atom::offer_v, std::move(slice));
}

void troubled_ranks::receive(std::uint64_t id, std::uint32_t tokens,
                             std::shared_ptr<const request_ticket> ticket, fake_event* after,
                             std::chrono::milliseconds timeout) {
  receive_request wish;
  wish.request = request_id{id};
  wish.context = {endpoint_of(instance_role::context), 0};
  wish.context.ticket = std::move(ticket);
  wish.tokens = tokens;
  wish.blocks = {table(first_received, tokens)};
  wish.timeout = timeout;
  wish.after = {after};
  for (std::uint32_t token = 0; token < tokens; ++token)
    generation.plane->fake().write("full", first_received + token, 0);
  caf::anon_send(generation.actor, atom::begin_v, std::move(wish));
}

template <class Result, class... Args>
expected<Result> troubled_ranks::ask(std::chrono::milliseconds span, const transceiver_actor& actor,
                                     Args&&... args) {
  expected<Result> result = fail(errc::timed_out, "no answer");
  auto handle = self->request(actor, caf::infinite, std::forward<Args>(args)...);
  run(span);
  handle.receive([&](Result& answer) { result = std::move(answer); },
                 [&](caf::error& err) { result = fail(from_caf(err, "ask")); });
  return result;
}

std::shared_ptr<const request_ticket> troubled_ranks::ticket(std::uint64_t id) {
  return ask<disaggregated_params>(300ms, context.actor, atom::params_v, request_id{id},
                                   std::int64_t{100})
      .value()
      .ticket;
}

const std::map<std::uint64_t, outcome>& troubled_ranks::ended(instance_role side) {
  auto fresh = ask<std::vector<outcome>>(1ms, at(side).actor, atom::fetch_v,
                                         static_cast<std::uint8_t>(side), std::int64_t{0});
  for (auto& one : fresh.value())
    ended_[side].insert_or_assign(one.request.value, std::move(one));
  return ended_[side];
}

bool troubled_ranks::arrived(std::uint64_t id, std::uint32_t tokens) const {
  for (std::uint32_t token = 0; token < tokens; ++token)
    if (generation.plane->fake().block("full", first_received + token) != id)
      return false;
  return true;
}

std::string troubled_ranks::left(instance_role side) {
  const auto counts = ask<transceiver::statistics>(1ms, at(side).actor, atom::stats_v).value();
  const auto& fake = at(side).plane->fake();
  if (counts.live_sends + counts.live_receives + counts.sessions + counts.early_requests +
          counts.leases_granted + fake.jobs() + fake.waits() ==
      0)
    return "";
  return fmt::format("{} sends, {} receives, {} sessions, {} early, {} leases, {} jobs, {} waits",
                     counts.live_sends, counts.live_receives, counts.sessions,
                     counts.early_requests, counts.leases_granted, fake.jobs(), fake.waits());
}

std::optional<error> troubled_ranks::refusal(instance_role side, std::uint64_t id) {
  std::optional<error> refused;
  const auto note = [&](auto call) {
    run(1ms);
    call.receive([] {}, [&](caf::error& err) { refused = from_caf(err, "refusal"); });
  };
  if (side == instance_role::context) {
    send_slice slice;
    slice.request = request_id{id};
    slice.tokens = {0, 1};
    slice.blocks = {table(0, 1)};
    note(self->request(context.actor, caf::infinite, atom::offer_v, std::move(slice)));
  } else {
    receive_request wish;
    wish.request = request_id{id};
    wish.context = {endpoint_of(instance_role::context), 0};
    wish.tokens = 1;
    wish.blocks = {table(first_received, 1)};
    note(self->request(generation.actor, caf::infinite, atom::begin_v, std::move(wish)));
  }
  return refused;
}

void troubled_ranks::leave(instance_role side) {
  doors.erase(endpoint_of(side));
  caf::anon_send_exit(at(side).door, caf::exit_reason::kill);
  caf::anon_send(at(side).actor, atom::stop_v);
}

} // namespace baton::test
