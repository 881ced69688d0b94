#include "actors/sessions.hpp"

#include <exception>
#include <utility>

#include "actors/caf_error.hpp"
#include "actors/inline_call.hpp"

namespace baton {
namespace {

/// A session that throws ends with the exception's text; the supervisor decides what becomes of the
/// request.
template <class Self>
void end_on_exception(Self* self) {
  self->set_exception_handler([](std::exception_ptr& thrown) -> caf::error {
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& err) {
      return to_caf({errc::transport_failed, err.what()});
    } catch (...) {
      return to_caf({errc::transport_failed, "not a std::exception"});
    }
  });
}

} // namespace

void receive_session_state::init(rank_context_ptr rank, transceiver_actor owner,
                                 receive_spec spec) {
  rank_ = std::move(rank);
  owner_ = std::move(owner);
  key_ = spec.key;
  request_ = spec.request.request;
  protocol_ = std::make_unique<receive_protocol>(std::move(spec), *this);
}

void receive_session_state::send(incarnation peer, wire_message message) {
  rank_->peers->send(peer, message);
}

void receive_session_state::start() {
  protocol_->start(self_->clock().now());
  settle();
}

void receive_session_state::handle(const session_input& input) {
  protocol_->handle(input);
  settle();
}

void receive_session_state::pulled(std::uint32_t source, std::uint32_t slice,
                                   expected<pull_stats> result) {
  protocol_->pulled(source, slice, std::move(result));
  settle();
}

void receive_session_state::settle() {
  while (!finished_.empty())
    for (auto& pull : std::exchange(finished_, {}))
      protocol_->pulled(pull.source, pull.slice, std::move(pull.result));
}

void receive_session_state::pull(std::uint32_t source, std::uint32_t slice, pull_job job) {
  inline_call call;
  rank_->plane->pull(
      key_, std::move(job),
      [this, call, me = session_actor{self_}, source, slice](expected<pull_stats> result) {
        if (call.inside())
          finished_.push_back({source, slice, std::move(result)});
        else
          caf::anon_send(me, atom::pulled_v, source, slice, std::move(result));
      });
  call.leave();
}

void receive_session_state::report(session_report report) {
  const bool last = std::holds_alternative<session_end>(report);
  self_->send(owner_, atom::report_v, key_, std::move(report));
  if (last)
    self_->quit();
}

void receive_session_state::passed(probe_point point) {
  if (rank_->options.probe)
    rank_->options.probe(point, request_);
}

void send_session_state::init(rank_context_ptr rank, transceiver_actor owner, send_spec spec) {
  rank_ = std::move(rank);
  owner_ = std::move(owner);
  key_ = spec.key;
  request_ = spec.request;
  protocol_ = std::make_unique<send_protocol>(std::move(spec), *this);
}

void send_session_state::send(incarnation peer, wire_message message) {
  rank_->peers->send(peer, message);
}

expected<lease> send_session_state::grant(grant_spec spec) {
  return rank_->plane->grant(key_, std::move(spec));
}

void send_session_state::revoke(const lease& right) {
  rank_->plane->revoke(right);
}

void send_session_state::report(session_report report) {
  const bool last = std::holds_alternative<session_end>(report);
  self_->send(owner_, atom::report_v, key_, std::move(report));
  if (last)
    self_->quit();
}

void send_session_state::passed(probe_point point) {
  if (rank_->options.probe)
    rank_->options.probe(point, request_);
}

session_actor::behavior_type
receive_session(session_actor::stateful_pointer<receive_session_state> self, rank_context_ptr rank,
                transceiver_actor owner, receive_spec spec) {
  end_on_exception(self);
  self->state.init(std::move(rank), std::move(owner), std::move(spec));
  return {
      [self](atom::start) { self->state.start(); },
      [self](const session_input& input) { self->state.handle(input); },
      [self](atom::pulled, std::uint32_t source, std::uint32_t slice,
             expected<pull_stats>& result) {
        self->state.pulled(source, slice, std::move(result));
      },
      [self](atom::stop) { self->quit(); },
  };
}

session_actor::behavior_type send_session(session_actor::stateful_pointer<send_session_state> self,
                                          rank_context_ptr rank, transceiver_actor owner,
                                          send_spec spec) {
  end_on_exception(self);
  self->state.init(std::move(rank), std::move(owner), std::move(spec));
  return {
      [self](atom::start) { self->state.protocol().start(); },
      [self](const session_input& input) { self->state.protocol().handle(input); },
      [](atom::pulled, std::uint32_t, std::uint32_t, const expected<pull_stats>&) {
        // A send session pulls nothing.
      },
      [self](atom::stop) { self->quit(); },
  };
}

} // namespace baton
