#include "actors/transceiver_actor.hpp"

#include <utility>

#include "actors/caf_error.hpp"
#include "actors/log.hpp"
#include "actors/peer_link.hpp"

namespace baton {
namespace {

// Peers that wait for this rank to know its own instance.
constexpr std::size_t most_visitors = 4'096;

} // namespace

caf::result<std::string, caf::strong_actor_ptr>
transceiver_state::introduce(const std::string& intro, const caf::strong_actor_ptr& remote) {
  if (!remote)
    return to_caf(
        {errc::invalid_argument, "an introduction came without the other end of the link"});
  auto promise = self_->make_response_promise<std::string, caf::strong_actor_ptr>();
  knock visitor{intro, caf::actor_cast<link_actor>(remote), promise};
  if (own_) {
    accept(std::move(visitor));
  } else if (outcast_) {
    promise.deliver(to_caf(*outcast_));
  } else {
    visitors_.push_back(std::move(visitor));
    if (visitors_.size() > most_visitors) {
      visitors_.front().promise.deliver(
          to_caf({errc::out_of_resources, "too many peers wait for this rank's instance"}));
      visitors_.pop_front();
    }
  }
  return promise;
}

void transceiver_state::accept(knock visitor) {
  const auto intro = read_introduction(visitor.intro);
  if (!intro)
    return refuse(visitor, intro.error());
  if (intro->for_blocks && intro->self.layout.role == rank_->layout.role)
    return let_in(visitor, *intro, acquaint_alike(*own_, intro->self));
  const auto digest = intro->digest;
  if (guests_->knows(digest))
    return let_in(visitor, *intro, guests_->meet(*intro));
  if (intro->instance.empty()) {
    if (const auto asked = strangers_.wait(self_->clock().now(), digest, std::move(visitor)))
      ask_for_instance(*asked);
    return;
  }
  if (auto ok = guests_->add(digest, intro->instance); !ok)
    return refuse(visitor, ok.error());
  let_in(visitor, *intro, guests_->meet(*intro));
  for (auto& other : strangers_.release(digest))
    accept(std::move(other));
}

void transceiver_state::refuse(const knock& visitor, const error& reason) {
  log().warn("an introduction was refused: {}", to_string(reason));
  auto promise = visitor.promise;
  promise.deliver(to_caf(reason));
}

void transceiver_state::ask_for_instance(const knock& visitor) {
  auto intro = own_->introduce(rank_->plane->manifest(), rank_->plane->version());
  intro.wants_instance = true;
  auto promise = visitor.promise;
  promise.deliver(encode(intro), caf::strong_actor_ptr{});
}

void transceiver_state::let_in(const knock& visitor, const introduction& intro,
                               expected<acquaintance> met) {
  if (!met)
    return refuse(visitor, met.error());
  const auto life = met->card.life;
  if (keep_waiting(visitor, life))
    return;
  if (const auto old = links_.find(life); old != links_.end())
    caf::anon_send_exit(old->second.end, caf::exit_reason::kill);
  const auto link = self_->spawn<caf::monitored>(
      link_acceptor, link_config{rank_, self_, own_, {intro.self, nullptr}}, std::move(*met),
      visitor.remote);
  links_[life] = {link, false, std::nullopt};
  if (exchange_->waits_for(life))
    self_->send(link, atom::pull_v);
  self_->request(link, introduction_timeout, atom::start_v)
      .then([promise = visitor.promise](
                const std::string& answer,
                const caf::strong_actor_ptr& end) mutable { promise.deliver(answer, end); },
            [promise = visitor.promise](caf::error& err) mutable {
              promise.deliver(std::move(err));
            });
}

bool transceiver_state::keep_waiting(const knock& visitor, incarnation life) {
  const auto known = links_.find(life);
  if (known == links_.end() || !known->second.ours || life < rank_->layout.life)
    return false;
  end_waiting(life, true);
  waiting_.insert_or_assign(life, waiting_knock{visitor, self_->clock().now()});
  return true;
}

void transceiver_state::end_waiting(incarnation life, bool is_up) {
  auto node = waiting_.extract(life);
  if (node.empty())
    return;
  auto& visitor = node.mapped().visitor;
  if (is_up)
    visitor.promise.deliver(
        to_caf({errc::duplicate_request, "there is a link already, or a newer introduction"}));
  else
    accept(std::move(visitor));
}

} // namespace baton
