#include "actors/middleman.hpp"

#include <unordered_map>

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <caf/io/basp_broker.hpp>

namespace baton {
namespace {

class careful_broker final : public caf::io::basp_broker {
public:
  using basp_broker::basp_broker;

  caf::behavior make_behavior() override {
    using namespace caf::io;
    auto inherited = basp_broker::make_behavior();
    const caf::message_handler first{
        [this, inherited](caf::connect_atom connect, const scribe_ptr& made,
                          std::uint16_t port) mutable {
          begin(made->hdl());
          pass(inherited, connect, made, port);
        },
        [this, inherited](const new_connection_msg& accepted) mutable {
          begin(accepted.handle);
          pass(inherited, accepted);
        },
        [this, inherited](const connection_closed_msg& closed) mutable {
          ++ends_[closed.handle].expected;
          pass(inherited, closed);
        },
        [this, inherited](caf::delete_atom end, caf::io::connection_handle handle) mutable {
          if (!was_early(handle))
            pass(inherited, end, handle);
        },
    };
    return first.or_else(inherited);
  }

  /// CAF's leaves the mailbox open: a heartbeat that comes later stays there, and is from
  /// ourselves.
  bool cleanup(caf::error&& reason, caf::execution_unit* host) override {
    close_all();
    return scheduled_actor::cleanup(std::move(reason), host);
  }

private:
  template <class... Parts>
  static void pass(caf::behavior& inherited, const Parts&... parts) {
    auto message = caf::make_message(parts...);
    inherited(message);
  }

  /// Ends whoever had the handle before.
  void begin(caf::io::connection_handle handle) {
    if (const auto found = ends_.find(handle); found != ends_.end()) {
      found->second.early = found->second.expected;
      connection_cleanup(handle, caf::sec::none);
    }
    set_context(handle);
  }

  /// Whether the end that comes now is of a connection that was ended early.
  bool was_early(caf::io::connection_handle handle) {
    const auto found = ends_.find(handle);
    if (found == ends_.end())
      return false;
    const bool early = found->second.early > 0;
    found->second.early -= early ? 1 : 0;
    if (--found->second.expected == 0)
      ends_.erase(found);
    return early;
  }

  struct ends {
    unsigned expected = 0;
    unsigned early = 0; ///< of these; they come first
  };
  std::unordered_map<caf::io::connection_handle, ends> ends_;
};

} // namespace

/// The first broker of a name stays.
void middleman::start() {
  static_cast<void>(named_broker<careful_broker>(caf::atom("BASP")));
  caf::io::middleman::start();
}

} // namespace baton
