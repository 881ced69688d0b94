#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace baton::bench {

/// A rank in a process of its own, as its process serves it: it does what it is asked, one thing
/// after the other.
class rank {
public:
  virtual ~rank() = default;
  /// @throws std::exception when it cannot.
  [[nodiscard]] virtual nlohmann::json answer(const std::string& verb,
                                              const nlohmann::json& arguments) = 0;
};

/// Serves a rank over an inherited socket until told to end; see `remote_rank`, its other side.
///
/// @returns the process's exit status.
[[nodiscard]] int serve_rank(int socket);

} // namespace baton::bench
