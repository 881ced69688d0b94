#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "examples/tiny_llm/config.hpp"
#include "transport/base/unique_fd.hpp"

namespace tiny_llm {

/// One end of a socket that carries whole messages between two processes. Move-only.
///
/// Everything here throws `std::runtime_error` that names the peer, when it is gone or silent for
/// 10 s.
class channel {
public:
  /// Makes both ends. Neither stays open over an exec, unless `keep_over_exec` says so.
  /// @param peer who will hold the second one.
  [[nodiscard]] static std::pair<channel, channel> make_pair(const std::string& peer);

  channel() = default;
  /// Takes over a descriptor. @param peer who is at the other end, for error texts.
  channel(int descriptor, std::string peer);

  void send(std::span<const std::byte> message);
  /// Receives a message of exactly this size.
  void receive(std::span<std::byte> message);

  template <class T>
  requires std::is_trivially_copyable_v<T>
  void send_values(std::span<const T> values) { send(std::as_bytes(values)); }

  template <class T>
  requires std::is_trivially_copyable_v<T>
  [[nodiscard]] std::vector<T> receive_values(std::size_t count) {
    std::vector<T> values(count);
    receive(std::as_writable_bytes(std::span{values}));
    return values;
  }

  /// Sends a text, at most 4096 bytes of it.
  void send_text(std::string_view text);
  [[nodiscard]] std::string receive_text();

  /// Says that nothing more will be sent.
  void end_sending();
  /// Waits until the peer has ended, or said that it will send nothing more.
  void wait_for_end();

  /// Leaves the descriptor open for the program that this process executes next.
  void keep_over_exec() const;
  [[nodiscard]] int descriptor() const noexcept { return descriptor_.get(); }

private:
  [[nodiscard]] std::size_t receive_some(std::span<std::byte> message);

  baton::unique_fd descriptor_;
  std::string peer_;
};

/// What a rank needs to compute together with the other ranks of its instance: a channel to each of
/// them.
class mesh {
public:
  /// Of a process alone.
  mesh() = default;
  /// @param peers by rank; the own one is not used.
  mesh(const place& self, std::vector<channel> peers);

  /// Brings the parts of the tp ranks of this stage together, in rank order.
  void all_gather(std::span<const float> mine, std::span<float> all);

  /// Sends to the rank with the same part of the heads in another stage.
  void send_to_stage(std::uint32_t stage, std::span<const std::byte> message);
  void receive_from_stage(std::uint32_t stage, std::span<std::byte> message);

private:
  place self_;
  std::vector<channel> peers_;
};

} // namespace tiny_llm
