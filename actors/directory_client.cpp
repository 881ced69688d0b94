#include "actors/directory_client.hpp"

#include <algorithm>

#include "actors/connect.hpp"
#include "actors/log.hpp"

namespace baton {
namespace {

constexpr std::chrono::milliseconds longest_backoff{500};

} // namespace

directory_client_actor::behavior_type
directory_client(directory_client_actor::stateful_pointer<directory_client_state> self,
                 rank_context_ptr rank, transceiver_actor owner, directory_errand errand) {
  auto& state = self->state;
  state.rank = std::move(rank);
  state.owner = std::move(owner);
  state.errand = std::move(errand);
  state.begin = self->clock().now();
  self->set_down_handler([self](const caf::down_msg&) {
    auto& state = self->state;
    state.watched = nullptr;
    self->send(state.owner, atom::agreed_v,
               expected<agreement_verdict>{
                   fail(errc::peer_lost, "the directory at {} was lost", state.errand.endpoint)});
    state.retry_later();
  });
  self->send(self, atom::retry_v, state.round);
  return {
      [self](atom::retry, std::uint64_t round) {
        if (round == self->state.round)
          self->state.knock();
      },
      [self](atom::agree, std::string& bytes) { self->state.vote(std::move(bytes)); },
      [self](atom::agreed, const std::string& bytes) { self->state.agreed(bytes); },
      [self](atom::collect, std::uint64_t request, std::uint64_t patience_ms) {
        return self->state.collect(request, patience_ms);
      },
      [self](atom::ticket, std::uint64_t request,
             std::uint64_t patience_ms) -> caf::result<std::string> {
        return self->delegate(self->state.owner, atom::ticket_v, request, patience_ms);
      },
  };
}

void directory_client_state::knock() {
  connect_door(self, *rank, errand.endpoint, [this](expected<door_actor> door) {
    if (!door)
      failed(as_lost(door.error()));
    else if (errand.enlist)
      enlist(*door);
    else
      describe(*door);
  });
}

void directory_client_state::enlist(const door_actor& door) {
  self->request(door, door_timeout, atom::enlist_v, encode(*errand.enlist))
      .then(
          [this, door] {
            enlisted = true;
            if (watched != door) {
              if (watched)
                self->demonitor(watched.address());
              watched = door;
              self->monitor(door);
            }
            describe(door);
          },
          [this](caf::error& err) { failed(from_caf(err, "enlisting with " + errand.endpoint)); });
}

void directory_client_state::describe(const door_actor& door) {
  self->request(door, door_timeout, atom::describe_v)
      .then([this](const std::string& bytes) { described(bytes); },
            [this](caf::error& err) { failed(from_caf(err, "asking " + errand.endpoint)); });
}

void directory_client_state::described(const std::string& bytes) {
  auto instance = decode_instance_info(bytes);
  if (!instance) {
    failed(instance.error());
    return;
  }
  tell(std::move(instance));
  backoff = std::chrono::milliseconds{20};
  if (!errand.enlist)
    self->quit();
}

void directory_client_state::failed(const error& reason) {
  const auto waited = self->clock().now() - begin;
  const bool replaced = reason.code == errc::duplicate_request;
  const bool final = replaced || (!enlisted && (reason.code == errc::invalid_argument ||
                                                reason.code == errc::incompatible_layout ||
                                                reason.code == errc::version_mismatch));
  if (!final && (errand.enlist || waited < errand.patience)) {
    retry_later();
    return;
  }
  log().warn("directory {}: {}", errand.endpoint, to_string(reason));
  tell(fail(reason));
  self->quit();
}

void directory_client_state::tell(expected<instance_info> instance) {
  if (errand.for_blocks)
    self->send(owner, atom::describe_v, atom::pull_v, errand.endpoint, std::move(instance));
  else
    self->send(owner, atom::describe_v, errand.endpoint, std::move(instance));
}

void directory_client_state::vote(std::string bytes) {
  // Whoever votes has its own deadline for the answer.
  if (watched)
    self->send(watched, atom::agree_v, std::move(bytes));
}

void directory_client_state::agreed(const std::string& bytes) {
  auto verdict = decode_verdict(bytes);
  if (!verdict)
    return log().warn("a verdict was dropped: {}", verdict.error().text);
  self->send(owner, atom::agreed_v, std::move(verdict));
}

caf::result<std::string> directory_client_state::collect(std::uint64_t request,
                                                         std::uint64_t patience_ms) {
  if (!watched)
    return to_caf(
        {errc::peer_lost, fmt::format("the directory at {} cannot be reached", errand.endpoint)});
  return self->delegate(watched, atom::collect_v, rank->layout.rank, request, patience_ms);
}

void directory_client_state::retry_later() {
  self->delayed_send(self, backoff, atom::retry_v, ++round);
  backoff = std::min(backoff * 2, longest_backoff);
}

} // namespace baton
