#include "actors/sessions.hpp"

#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "actors/caf_error.hpp"
#include "actors/inline_call.hpp"
#include "actors/receive_protocol.hpp"
#include "actors/send_protocol.hpp"

namespace baton {
namespace {

request_id id_of(const receive_spec& spec) {
  return spec.request.request;
}

request_id id_of(const send_spec& spec) {
  return spec.request;
}

/// What the shells of both protocols have in common.
template <class Backend, class Protocol, class Spec>
class session_shell : public Backend {
public:
  using spec = Spec;

  explicit session_shell(session_actor::pointer self) : self_{self} {}

  void init(rank_context_ptr rank, transceiver_actor owner, Spec given) {
    rank_ = std::move(rank);
    owner_ = std::move(owner);
    key_ = given.key;
    request_ = id_of(given);
    protocol_ = std::make_unique<Protocol>(std::move(given), *this);
  }

  void send(incarnation peer, wire_message message) override { rank_->peers->send(peer, message); }

  void report(session_report report) override {
    const bool last = std::holds_alternative<session_end>(report);
    self_->send(owner_, atom::report_v, key_, std::move(report));
    if (last)
      self_->quit();
  }

  void passed(probe_point point) override {
    if (rank_->options.probe)
      rank_->options.probe(point, request_);
  }

protected:
  session_actor::pointer self_;
  rank_context_ptr rank_;
  transceiver_actor owner_;
  session_key key_;
  request_id request_;
  std::unique_ptr<Protocol> protocol_;
};

class receive_shell : public session_shell<receive_backend, receive_protocol, receive_spec> {
public:
  using session_shell::session_shell;
  static inline const char* name = "baton.receive-session";

  void start() {
    protocol_->start(self_->clock().now());
    settle();
  }

  void handle(const session_input& input) {
    protocol_->handle(input);
    settle();
  }

  void pulled(std::uint32_t source, std::uint32_t slice, expected<pull_stats> result) {
    protocol_->pulled(source, slice, std::move(result));
    settle();
  }

  void pull(std::uint32_t source, std::uint32_t slice, pull_job job) override {
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

  /// A receive session offers nothing.
  void filled(std::uint32_t, const expected<>&) {}

private:
  struct finished_pull {
    std::uint32_t source;
    std::uint32_t slice;
    expected<pull_stats> result;
  };

  /// Hands pulls to the protocol that ended while it was calling.
  void settle() {
    while (!finished_.empty())
      for (auto& pull : std::exchange(finished_, {}))
        protocol_->pulled(pull.source, pull.slice, std::move(pull.result));
  }

  std::vector<finished_pull> finished_;
};

class send_shell : public session_shell<send_backend, send_protocol, send_spec> {
public:
  using session_shell::session_shell;
  static inline const char* name = "baton.send-session";

  void start() {
    protocol_->start();
    settle();
  }
  void handle(const session_input& input) {
    protocol_->handle(input);
    settle();
  }
  void filled(std::uint32_t slice, const expected<>& complete) {
    protocol_->filled(slice, complete);
  }
  /// A send session pulls nothing.
  void pulled(std::uint32_t, std::uint32_t, const expected<pull_stats>&) {}

  void when(std::uint32_t slice, gpu_event_ref event) override {
    inline_call call;
    rank_->plane->when(key_, event,
                       [this, call, me = session_actor{self_}, slice](expected<> complete) {
                         if (call.inside())
                           filled_.emplace_back(slice, std::move(complete));
                         else
                           caf::anon_send(me, atom::filled_v, slice, std::move(complete));
                       });
    call.leave();
  }
  [[nodiscard]] expected<lease> grant(grant_spec spec) override {
    return rank_->plane->grant(key_, std::move(spec));
  }
  void revoke(const lease& right) override { rank_->plane->revoke(right); }

private:
  /// Hands events to the protocol that were complete already.
  void settle() {
    for (const auto& [slice, complete] : std::exchange(filled_, {}))
      protocol_->filled(slice, complete);
  }

  std::vector<std::pair<std::uint32_t, expected<>>> filled_;
};

caf::error error_of(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& err) {
    return to_caf({errc::transport_failed, err.what()});
  } catch (...) {
    return to_caf({errc::transport_failed, "not a std::exception"});
  }
}

template <class Shell>
session_actor::behavior_type session(session_actor::stateful_pointer<Shell> self,
                                     rank_context_ptr rank, transceiver_actor owner,
                                     typename Shell::spec spec) {
  self->set_exception_handler([](std::exception_ptr& thrown) { return error_of(thrown); });
  self->state.init(std::move(rank), std::move(owner), std::move(spec));
  return {
      [self](atom::start) { self->state.start(); },
      [self](const session_input& input) { self->state.handle(input); },
      [self](atom::pulled, std::uint32_t source, std::uint32_t slice,
             expected<pull_stats>& result) {
        self->state.pulled(source, slice, std::move(result));
      },
      [self](atom::filled, std::uint32_t slice, const expected<>& complete) {
        self->state.filled(slice, complete);
      },
      [self](atom::stop) { self->quit(); },
  };
}

template <class Shell>
session_actor spawn(transceiver_actor::pointer owner, rank_context_ptr rank,
                    typename Shell::spec spec) {
  return owner->spawn<caf::monitored>(session<Shell>, std::move(rank), transceiver_actor{owner},
                                      std::move(spec));
}

} // namespace

session_actor spawn_session(transceiver_actor::pointer owner, rank_context_ptr rank,
                            receive_spec spec) {
  return spawn<receive_shell>(owner, std::move(rank), std::move(spec));
}

session_actor spawn_session(transceiver_actor::pointer owner, rank_context_ptr rank,
                            send_spec spec) {
  return spawn<send_shell>(owner, std::move(rank), std::move(spec));
}

} // namespace baton
