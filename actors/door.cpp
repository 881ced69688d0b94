#include "actors/door.hpp"

#include "actors/caf_error.hpp"

namespace baton {

door_actor::behavior_type door(door_actor::stateful_pointer<door_state> self, rank_context_ptr rank,
                               transceiver_actor owner, directory_actor listing) {
  const auto no_directory = [rank] {
    return to_caf({errc::invalid_argument, fmt::format("rank {} hosts no directory; ask rank 0 of "
                                                       "'{}'",
                                                       rank->layout.rank, rank->layout.instance)});
  };
  return {
      [rank](atom::who) { return rank->layout.life.value; },
      [self, owner](atom::introduce, std::string& intro, caf::strong_actor_ptr& remote)
          -> caf::result<std::string, caf::strong_actor_ptr> {
        return self->delegate(owner, atom::introduce_v, std::move(intro), std::move(remote));
      },
      [self, listing, no_directory](atom::enlist, std::string& info) -> caf::result<void> {
        if (!listing)
          return no_directory();
        return self->delegate(listing, atom::enlist_v, std::move(info));
      },
      [self, listing, no_directory](atom::describe) -> caf::result<std::string> {
        if (!listing)
          return no_directory();
        return self->delegate(listing, atom::describe_v);
      },
      [self, listing, no_directory](atom::agree, std::string& vote) -> caf::result<void> {
        if (!listing)
          return no_directory();
        return self->delegate(listing, atom::agree_v, std::move(vote));
      },
      [self, listing, no_directory](atom::collect, std::uint32_t asker, std::uint64_t request,
                                    std::uint64_t patience_ms) -> caf::result<std::string> {
        if (!listing)
          return no_directory();
        return self->delegate(listing, atom::collect_v, asker, request, patience_ms);
      },
  };
}

} // namespace baton
