#include "transport/ucx/reader.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "messages/manifest.hpp"

namespace baton {

namespace {

error read_error(std::uint64_t number, std::string_view text) {
  const bool known = number > 0 && number <= static_cast<std::uint64_t>(last_errc);
  return {known ? static_cast<errc>(number) : errc::transport_failed,
          fmt::format("the owner says: {}", text.substr(0, wire_limits::text_bytes))};
}

/// Keeps the task for as long as its stream is used.
std::shared_ptr<const plan_stream> stream_of(const std::shared_ptr<pull_task>& task) {
  return {task, &task->stream()};
}

} // namespace

ucx_reader::ucx_reader(incarnation life, ucx_worker& worker, ucx_peers& peers, staging_ring& ring,
                       chunk_mover& mover, limits allowed)
    : life_{life}, worker_{worker}, peers_{peers}, ring_{ring}, mover_{mover}, limits_{allowed} {
}

void ucx_reader::start(std::shared_ptr<pull_task> task) {
  if (auto asked = ask(task); !asked)
    ended_.push_back({std::move(task), std::move(asked)});
}

expected<> ucx_reader::ask(const std::shared_ptr<pull_task>& task) {
  if (task->aborted())
    return fail(errc::cancelled, "the pull was cancelled");
  const auto peer = peers_.find(task->right().owner);
  if (!peer)
    return fail(errc::peer_lost, "peer {} was given up", task->right().owner);
  if (auto connected = peers_.connect(peer); !connected)
    return connected;
  const auto kept = std::make_shared<incoming>(
      task, peer, std::min<std::uint64_t>(limits_.chunk_bytes, peer->card.chunk_bytes));
  auto& pull = *kept;
  pull.given = reserve(*peer, std::min(limits_.credits, pull.chunks.count()));
  ++peer->pulls;
  const lane_pull call{life_,
                       pull.number,
                       task->right(),
                       task->ranges(),
                       task->stream().bytes(),
                       static_cast<std::uint32_t>(pull.given),
                       peer->link};
  numbers_[task.get()] = pull.number;
  pulls_[pull.number] = kept;
  want_more(pull);
  peer->endpoint->send(static_cast<unsigned>(lane_message::pull), {}, encode(call),
                       [this, number = call.number](ucs_status_t status) {
                         if (status != UCS_OK && pulls_.contains(number))
                           finish(number, ucx_failed(errc::peer_lost, "asking the owner", status),
                                  false);
                       });
  return {};
}

std::size_t ucx_reader::reserve(ucx_peer& peer, std::size_t wanted) noexcept {
  const auto cap = ring_.most_for_one();
  const auto free = ring_.available() - std::min(ring_.available(), reserved_);
  const auto given = std::min({wanted, free, cap - std::min(cap, peer.expected)});
  reserved_ += given;
  peer.expected += given;
  return given;
}

bool ucx_reader::cancel(const pull_task& task) {
  const auto found = numbers_.find(&task);
  if (found == numbers_.end())
    return false;
  finish(found->second, fail(errc::cancelled, "the pull was cancelled"), true);
  return true;
}

void ucx_reader::lost(const std::shared_ptr<ucx_peer>& peer, const error& why) {
  std::vector<std::uint64_t> gone;
  for (const auto& [number, pull] : pulls_)
    if (pull->peer == peer)
      gone.push_back(number);
  for (const auto number : gone)
    finish(number, fail(why), false);
}

void ucx_reader::end_all(const error& why) {
  while (!pulls_.empty())
    finish(pulls_.begin()->first, fail(why), true);
}

ucx_reader::shared_incoming ucx_reader::find(std::uint64_t reader, std::uint64_t number) noexcept {
  const auto found = reader == life_.value ? pulls_.find(number) : pulls_.end();
  if (found != pulls_.end())
    return found->second;
  ++dropped_;
  return nullptr;
}

expected<> ucx_reader::accept(const incoming& pull, const chunk_head& head,
                              const ucx_message& message) const {
  if (head.index >= pull.chunks.count() || pull.seen[head.index] ||
      head.offset != pull.chunks.begin(head.index))
    return fail(errc::transport_failed, "the owner sent chunk {} of {} twice or out of place",
                head.index, pull.chunks.count());
  if (message.body_bytes != pull.chunks.bytes(head.index))
    return fail(errc::transport_failed, "the owner sent {} bytes as chunk {}, not {}",
                message.body_bytes, head.index, pull.chunks.bytes(head.index));
  if (pull.begun == pull.given)
    return fail(errc::transport_failed, "the owner sent more chunks than it had credits for");
  return {};
}

void ucx_reader::chunk(const ucx_message& message) noexcept {
  const auto head = read_head<chunk_head>(message.header);
  if (!head) {
    ++dropped_;
    return;
  }
  const auto pull = find(head->reader, head->number);
  if (pull == nullptr)
    return;
  if (auto good = accept(*pull, *head, message); !good)
    return finish(head->number, std::move(good), true);
  ++pull->peer->heard;
  pull->seen[head->index] = true;
  ++pull->begun;
  --reserved_;
  message.rendezvous ? receive(pull, *head, message) : take(pull, *head, message);
}

void ucx_reader::receive(const shared_incoming& pull, const chunk_head& head,
                         const ucx_message& message) {
  // The credit stood for this slot, so there is one.
  auto slot = std::make_shared<staging_ring::slot>(ring_.take());
  auto* const to = slot->data();
  worker_.receive(
      message, to,
      [this, pull, head, slot = std::move(slot), bytes = message.body_bytes](ucs_status_t status) {
        ++pull->peer->heard;
        if (status == UCS_OK)
          return scatter(pull, head, bytes, slot);
        --pull->peer->expected;
        if (!pull->ended)
          finish(head.number, ucx_failed(errc::transport_failed, "receiving a chunk", status),
                 true);
      });
}

/// The bytes came with the message.
void ucx_reader::take(const shared_incoming& pull, const chunk_head& head,
                      const ucx_message& message) {
  const auto bytes = message.bytes();
  if (!pull->task->aborted() &&
      mover_.scatter_now({stream_of(pull->task), head.offset, bytes.size(), nullptr},
                         bytes.data())) {
    --pull->peer->expected;
    return scattered(*pull, {});
  }
  auto slot = std::make_shared<staging_ring::slot>(ring_.take());
  if (auto filled = slot->fill(bytes); !filled) {
    --pull->peer->expected;
    return finish(head.number, std::move(filled), true);
  }
  scatter(pull, head, bytes.size(), std::move(slot));
}

void ucx_reader::scatter(const shared_incoming& pull, const chunk_head& head, std::size_t bytes,
                         landed_slot slot) {
  if (pull->ended || pull->task->aborted()) {
    --pull->peer->expected;
    if (!pull->ended)
      finish(head.number, fail(errc::cancelled, "the pull was cancelled"), true);
    return;
  }
  ++pull->scattering;
  chunk_move move{stream_of(pull->task), head.offset, bytes, slot->data()};
  mover_.scatter(std::move(move), [this, pull, slot = std::move(slot)](expected<> result) mutable {
    slot.reset();
    --pull->peer->expected;
    --pull->scattering;
    if (!pull->ended)
      scattered(*pull, std::move(result));
    else if (pull->scattering == 0)
      ended_.push_back({pull->task, std::move(*pull->ended)});
  });
}

void ucx_reader::scattered(incoming& pull, expected<> result) {
  if (!result)
    return finish(pull.number, std::move(result), true);
  if (++pull.landed < pull.chunks.count())
    return want_more(pull);
  if (pull.complete)
    return finish(pull.number, {}, false);
  pull.unconfirmed = true;
  ++pull.peer->unconfirmed;
}

void ucx_reader::end(const ucx_message& message) noexcept {
  const auto head = read_head<pull_head>(message.header);
  const auto pull = head ? find(head->reader, head->number) : nullptr;
  if (pull == nullptr)
    return;
  if (head->value != 0) {
    const std::string_view text{reinterpret_cast<const char*>(message.body),
                                message.rendezvous ? 0 : message.body_bytes};
    return finish(head->number, fail(read_error(head->value, text)), false);
  }
  ++pull->peer->heard;
  pull->complete = true;
  if (pull->landed == pull->chunks.count())
    finish(head->number, {}, false);
}

/// Credits are topped up when half of them are used, so that few messages carry them.
void ucx_reader::want_more(incoming& pull) {
  if (pull.hungry || pull.given == pull.chunks.count() ||
      pull.given - pull.landed > limits_.credits / 2)
    return;
  pull.hungry = true;
  hungry_.push_back(pull.number);
}

bool ucx_reader::feed() {
  bool any = false;
  for (auto left = hungry_.size(); left > 0; --left) {
    const auto number = hungry_.front();
    hungry_.pop_front();
    const auto found = pulls_.find(number);
    if (found == pulls_.end())
      continue;
    auto& pull = *found->second;
    const auto window = limits_.credits - std::min(limits_.credits, pull.given - pull.landed);
    const auto given = reserve(*pull.peer, std::min(window, pull.chunks.count() - pull.given));
    if (given == 0) {
      hungry_.push_back(number);
      continue;
    }
    pull.given += given;
    pull.hungry = false;
    pull.peer->send(lane_message::credit, {life_.value, number, given});
    any = true;
  }
  return any;
}

void ucx_reader::finish(std::uint64_t number, expected<> result, bool tell_owner) {
  const auto found = pulls_.find(number);
  const auto pull = std::move(found->second);
  pulls_.erase(found);
  numbers_.erase(pull->task.get());
  const auto unused = pull->given - pull->begun;
  reserved_ -= unused;
  pull->peer->expected -= unused;
  pull->peer->unconfirmed -= pull->unconfirmed ? 1 : 0;
  if (tell_owner)
    pull->peer->send(lane_message::abort, {life_.value, number, 0});
  --pull->peer->pulls;
  pull->ended = std::move(result);
  if (pull->scattering == 0)
    ended_.push_back({pull->task, std::move(*pull->ended)});
}

bool ucx_reader::deliver() {
  const bool any = !ended_.empty();
  while (!ended_.empty()) {
    auto [task, result] = std::move(ended_.front());
    ended_.pop_front();
    task->finish(std::move(result));
  }
  return any;
}

} // namespace baton
