#include "examples/handoff/control.hpp"

#include <array>
#include <cerrno>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

namespace baton::handoff {

using nlohmann::json;

namespace {

void poll_one(int fd, short events, std::chrono::milliseconds limit) {
  pollfd entry{fd, events, 0};
  ::poll(&entry, 1, static_cast<int>(limit.count()));
}

/// Error texts may carry bytes that are no UTF-8.
std::string line_of(const json& message) {
  return message.dump(-1, ' ', false, json::error_handler_t::replace) + '\n';
}

} // namespace

control_channel::control_channel(unique_fd socket) : socket_{std::move(socket)} {
  ::fcntl(socket_.get(), F_SETFL, ::fcntl(socket_.get(), F_GETFL) | O_NONBLOCK);
}

void control_channel::post(const json& message) {
  const std::lock_guard guard{mutex_};
  out_ += line_of(message);
  write_some();
}

bool control_channel::pending() const {
  const std::lock_guard guard{mutex_};
  return !out_.empty();
}

void control_channel::flush() {
  const std::lock_guard guard{mutex_};
  write_some();
}

void control_channel::send(const json& message, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  post(message);
  while (pending() && std::chrono::steady_clock::now() < deadline) {
    poll_one(socket_.get(), POLLOUT, std::chrono::milliseconds{100});
    flush();
  }
}

void control_channel::write_some() {
  while (!out_.empty()) {
    const auto count = ::send(socket_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0 && errno != EAGAIN)
      out_.clear(); // the peer is gone, and reading will show it
    if (count < 0)
      return;
    out_.erase(0, static_cast<std::size_t>(count));
  }
}

std::vector<json> control_channel::receive() {
  std::array<char, 65'536> buffer;
  for (;;) {
    const auto count = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EINTR)
      continue;
    if (count == 0 || (count < 0 && errno != EAGAIN))
      closed_ = true;
    if (count <= 0)
      break;
    in_.append(buffer.data(), static_cast<std::size_t>(count));
  }
  std::vector<json> messages;
  std::size_t begin = 0;
  for (auto end = in_.find('\n'); end != std::string::npos; end = in_.find('\n', begin)) {
    messages.push_back(json::parse(in_.begin() + static_cast<std::ptrdiff_t>(begin),
                                   in_.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false));
    begin = end + 1;
  }
  in_.erase(0, begin);
  return messages;
}

void control_channel::wait(std::chrono::milliseconds limit) const {
  poll_one(socket_.get(), POLLIN, limit);
}

} // namespace baton::handoff
