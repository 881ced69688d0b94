#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "messages/error.hpp"
#include "messages/ids.hpp"
#include "transport/base/unique_fd.hpp"

namespace baton {

/// The head of each packet that an export server sends; `count` descriptors come with it. Part of
/// the format between processes.
struct export_packet {
  static constexpr std::uint64_t packet_magic = 0x7374'726f'7078'6562; // "bexports"
  static constexpr std::uint32_t most_descriptors = 250;               ///< the kernel takes 253

  std::uint64_t magic = packet_magic;
  std::uint64_t life = 0;
  char token[16] = {};
  std::uint32_t first = 0; ///< number of the first descriptor: 0 is the lease table, then the pools
  std::uint32_t count = 0;
  std::uint32_t total = 0;
  std::uint32_t reserved = 0;
};

/// Hands the descriptors of the lease table and the pools to processes of the same user, over an
/// abstract Unix socket with a random name. Not thread-safe.
class export_server {
public:
  /// @param descriptors borrowed; must stay open as long as the server.
  /// @returns `out_of_resources` with the kernel's text.
  [[nodiscard]] static expected<export_server> open(incarnation life, std::vector<int> descriptors);

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// 16 random bytes that prove who serves.
  [[nodiscard]] const std::string& token() const noexcept { return token_; }
  /// Readable when somebody asks.
  [[nodiscard]] int descriptor() const noexcept { return listener_.get(); }

  /// Answers all who ask now. Never waits: an answer fits the socket's buffer or is dropped.
  ///
  /// @returns false if some could not be let in, mostly because the process has no descriptor left.
  /// They stay in line and keep `descriptor` readable, so leave that alone for a while.
  [[nodiscard]] bool serve() noexcept;

private:
  export_server() = default;
  void answer(const unique_fd& client) const noexcept;

  incarnation life_;
  std::vector<int> descriptors_;
  std::string name_;
  std::string token_;
  unique_fd listener_;
};

} // namespace baton
