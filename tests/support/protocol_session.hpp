#pragma once

#include <memory>
#include <utility>

#include "actors/receive_protocol.hpp"
#include "actors/send_protocol.hpp"

namespace baton::test {

/// A session as a plain object; whoever derives from it is what its protocol needs of the world.
class protocol_session : public receive_backend, public send_backend {
public:
  [[nodiscard]] session_key key() const noexcept { return key_; }
  [[nodiscard]] request_id request() const noexcept { return request_; }

  void start(time_point now) {
    if (receiver_)
      receiver_->start(now);
    else
      sender_->start();
  }
  void handle(const session_input& input) {
    if (receiver_)
      receiver_->handle(input);
    else
      sender_->handle(input);
  }
  void pulled(std::uint32_t source, std::uint32_t slice, expected<pull_stats> result) {
    receiver_->pulled(source, slice, std::move(result));
  }
  void filled(std::uint32_t slice, const expected<>& complete) { sender_->filled(slice, complete); }

  void passed(probe_point) override {}

protected:
  explicit protocol_session(receive_spec spec) : key_{spec.key}, request_{spec.request.request} {
    receiver_ = std::make_unique<receive_protocol>(std::move(spec), *this);
  }
  explicit protocol_session(send_spec spec) : key_{spec.key}, request_{spec.request} {
    sender_ = std::make_unique<send_protocol>(std::move(spec), *this);
  }

private:
  session_key key_;
  request_id request_;
  std::unique_ptr<receive_protocol> receiver_;
  std::unique_ptr<send_protocol> sender_;
};

} // namespace baton::test
