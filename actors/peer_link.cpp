#include "actors/peer_link.hpp"

#include "actors/connect.hpp"
#include "actors/log.hpp"

namespace baton {
namespace {

constexpr std::chrono::milliseconds probe_interval{100};

link_actor::behavior_type behavior(link_actor::stateful_pointer<link_state> self) {
  return {
      [self](atom::deliver, const std::string& bytes) { self->state.deliver(bytes); },
      [self](atom::ready) {
        self->state.confirmed = true;
        self->state.read_if_ready();
      },
      [self](atom::pull) {
        if (self->current_sender() !=
            caf::actor_cast<caf::strong_actor_ptr>(self->state.config.owner))
          return;
        self->state.wanted = true;
        self->state.read_if_ready();
      },
      [self](atom::ready, expected<lane_choice>& lane) {
        if (const auto ready = std::exchange(self->state.on_ready, nullptr))
          ready(std::move(lane));
      },
      [self](atom::start) { return self->state.accept(); },
      [self](atom::retry) { self->state.probe(); },
  };
}

} // namespace

std::string link_config::introduction(bool with_instance) const {
  auto intro = own->introduce(rank->plane->manifest(), rank->plane->version());
  if (with_instance)
    intro.instance = own->encoded();
  intro.for_blocks = peer.rank.layout.role == own->layout().role;
  return encode(intro);
}

expected<introduction> read_introduction(const std::string& bytes) {
  auto intro = decode_introduction(bytes);
  if (intro && intro->version != protocol_version)
    return fail(errc::version_mismatch,
                "the peer speaks protocol {}, this rank {}; run one version", intro->version,
                protocol_version);
  return intro;
}

link_actor::behavior_type link_initiator(link_actor::stateful_pointer<link_state> self,
                                         link_config config) {
  auto& state = self->state;
  state.config = std::move(config);
  state.patience_ends = self->clock().now() + state.config.rank->options.peer_grace;
  self->set_down_handler([self](const caf::down_msg& message) { self->state.down(message); });
  state.connect();
  return behavior(self);
}

link_actor::behavior_type link_acceptor(link_actor::stateful_pointer<link_state> self,
                                        link_config config, acquaintance met, link_actor remote) {
  auto& state = self->state;
  state.config = std::move(config);
  state.known = std::move(met);
  if (state.alike())
    state.known->card.pull = nullptr; // its pools are mapped only if they are read
  state.remote = std::move(remote);
  state.initiator = false;
  self->set_down_handler([self](const caf::down_msg& message) { self->state.down(message); });
  return behavior(self);
}

caf::result<std::string, caf::strong_actor_ptr> link_state::accept() {
  if (initiator || is_up || on_ready)
    return to_caf({errc::invalid_argument, "this link does not wait for a peer"});
  auto promise = self->make_response_promise<std::string, caf::strong_actor_ptr>();
  make_ready([this, promise](expected<lane_choice> lane) mutable {
    if (!lane) {
      promise.deliver(to_caf(lane.error()));
      refused(lane.error());
      return;
    }
    up(remote, *lane);
    promise.deliver(config.introduction(), caf::actor_cast<caf::strong_actor_ptr>(self));
  });
  return promise;
}

link_state::~link_state() {
  if (is_up)
    config.rank->peers->remove(peer().life, remote);
}

std::string link_state::endpoint() const {
  return fmt::format("{}:{}", config.peer.rank.host, config.peer.rank.port);
}

void link_state::connect() {
  connect_door(self, *config.rank, endpoint(), [this](expected<door_actor> door) {
    if (door)
      introduce(*door);
    else if (door.error().code == errc::timed_out && self->clock().now() < patience_ends)
      connect();
    else
      refused(as_lost(door.error()));
  });
}

void link_state::introduce(const door_actor& door, bool with_instance) {
  // CAF answers nothing when the peer's process ends meanwhile.
  let_go();
  asked = door;
  self->monitor(asked);
  self->request(door, introduction_timeout, atom::introduce_v, config.introduction(with_instance),
                caf::actor_cast<caf::strong_actor_ptr>(self))
      .then(
          [this, with_instance](const std::string& intro, const caf::strong_actor_ptr& other) {
            answered(intro, other, with_instance);
          },
          [this](caf::error& err) {
            refused(from_caf(err, fmt::format("introduction to rank {} of '{}' at {}", peer().rank,
                                              peer().instance, endpoint())));
          });
}

void link_state::answered(const std::string& bytes, const caf::strong_actor_ptr& other,
                          bool with_instance) {
  auto intro = read_introduction(bytes);
  if (intro && intro->wants_instance && !with_instance && asked) {
    introduce(door_actor{asked}, true);
    return;
  }
  if (intro && !other)
    intro = fail(errc::invalid_argument, "the peer answered without its end of the link");
  if (!intro) {
    refused(intro.error());
    return;
  }
  auto met = acquaint(*config.own, config.peer, *intro);
  if (!met) {
    refused(met.error());
    return;
  }
  known = std::move(*met);
  make_ready([this, other = caf::actor_cast<link_actor>(other)](expected<lane_choice> lane) {
    if (lane)
      up(other, *lane);
    else
      refused(lane.error());
  });
}

void link_state::make_ready(std::function<void(expected<lane_choice>)> done) {
  on_ready = std::move(done);
  config.rank->plane->introduce(std::move(known->card),
                                [me = link_actor{self}](expected<lane_choice> lane) {
                                  caf::anon_send(me, atom::ready_v, std::move(lane));
                                });
}

void link_state::let_go() {
  if (asked)
    self->demonitor(asked.address());
  asked = nullptr;
}

void link_state::up(const link_actor& other, const lane_choice& lane) {
  let_go();
  remote = other;
  is_up = true;
  self->monitor(remote);
  config.rank->peers->add(peer().life, remote);
  log().debug("link to rank {} of '{}' is up, lane {}: {}", peer().rank, peer().instance,
              to_string(lane.lane), lane.reason);
  if (alike() && !initiator)
    return read_if_ready();
  if (alike())
    caf::anon_send(remote, atom::ready_v);
  report(
      link_up{peer().life, lane,
              known ? peer_place{peer().instance, peer().rank, known->receivers} : peer_place{}});
}

void link_state::read_if_ready() {
  if (initiator || !is_up || !confirmed || !wanted || on_ready)
    return;
  wanted = false;
  auto met = acquaint_alike(*config.own, config.peer.rank);
  if (!met)
    return refused(met.error());
  known = *std::move(met);
  make_ready([this](expected<lane_choice> lane) {
    if (!lane)
      refused(lane.error());
    else if (is_up)
      report(link_up{peer().life, *lane, {}});
  });
}

void link_state::deliver(const std::string& bytes) {
  auto message = decode_message(bytes);
  if (auto ok = message ? check(*message) : expected<>{fail(message.error())}; !ok) {
    log().warn("message of rank {} of '{}' dropped: {}", peer().rank, peer().instance,
               ok.error().text);
    if (const auto* call = message ? std::get_if<pull_request>(&*message) : nullptr)
      config.rank->peers->send(peer().life, cancel_notice{call->request, call->pull, ok.error()});
    return;
  }
  self->send(config.owner, peer_message{peer().life, std::move(*message)});
}

expected<> link_state::check(const wire_message& message) const {
  const auto rank = peer().rank;
  if (alike())
    return fail(errc::invalid_argument,
                "rank {} speaks of a request, but was introduced for blocks only", rank);
  const auto receivers = known && known->receivers ? known->receivers->size() : 0;
  if (const auto* call = std::get_if<pull_request>(&message)) {
    if (call->receiver_rank != rank)
      return fail(errc::invalid_argument, "rank {} asks as rank {}", rank, call->receiver_rank);
    if (!known || call->layout_digest != known->digest || call->receivers != receivers)
      return fail(errc::incompatible_layout,
                  "layout digest {:x} and {} receivers, introduced were {:x} and {}",
                  call->layout_digest, call->receivers, known ? known->digest : 0, receivers);
    for (const auto& want : call->wants)
      if (!config.rank->layout.find_group(want.group))
        return fail(errc::invalid_argument, "rank {} asks for group '{}', which this rank has not",
                    rank, want.group.substr(0, 64));
  } else if (const auto* nothing = std::get_if<nothing_to_pull>(&message)) {
    if (nothing->receiver_rank != rank || receivers != 0)
      return fail(errc::invalid_argument, "rank {} says as rank {} that none of {} receivers pulls",
                  rank, nothing->receiver_rank, receivers);
  }
  return {};
}

void link_state::down(const caf::down_msg& message) {
  if (asked && message.source == asked.address()) {
    gone("it ended during the introduction");
    return;
  }
  if (!is_up || message.source != caf::actor_cast<caf::actor_addr>(remote))
    return;
  is_up = false;
  config.rank->peers->remove(peer().life, remote);
  if (!message.reason) {
    gone("its transceiver ended");
    return;
  }
  report(link_loss{peer().life, false});
  patience_ends = self->clock().now() + config.rank->options.peer_grace;
  probe();
}

void link_state::probe() {
  if (is_up)
    return;
  if (self->clock().now() >= patience_ends) {
    gone("it did not come back in time");
    return;
  }
  connect_door(self, *config.rank, endpoint(), [this](expected<door_actor> door) {
    if (!door && door.error().code == errc::timed_out) {
      probe_later();
      return;
    }
    if (!door) {
      gone(door.error().text);
      return;
    }
    // CAF may still hand out the old connection: a short wait, so that the next probe gets a new
    // one.
    self->request(*door, config.rank->options.peer_grace / 4, atom::who_v)
        .then(
            [this, door = *door](std::uint64_t life) {
              if (life != peer().life.value)
                gone("another process answers at its endpoint");
              else if (initiator)
                introduce(door);
              else
                probe_later();
            },
            [this](caf::error&) { probe_later(); });
  });
}

void link_state::probe_later() {
  self->delayed_send(self, probe_interval, atom::retry_v);
}

void link_state::gone(const std::string& why) {
  log().info("rank {} of '{}' at {} is lost: {}", peer().rank, peer().instance, endpoint(), why);
  report(link_loss{peer().life, true});
  self->quit();
}

void link_state::refused(error reason) {
  log().warn("no link to rank {} of '{}' at {}: {}", peer().rank, peer().instance, endpoint(),
             to_string(reason));
  report(link_refused{peer().life, std::move(reason)});
  // The other end may be up by now. It would take an orderly end for that of our transceiver, which
  // is about to introduce itself again if this was about an earlier life of the peer.
  self->quit(caf::exit_reason::user_shutdown);
}

void link_state::report(link_event event) {
  self->send(config.owner, std::move(event));
}

} // namespace baton
