#pragma once

#include <future>
#include <memory>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "transport/rank_plane.hpp"
#include "transport/seam/data_plane.hpp"

namespace baton::bench {

/// JSON texts cannot carry any bytes, but arrays can.
[[nodiscard]] nlohmann::json to_array(const std::string& bytes);
[[nodiscard]] std::string from_array(const nlohmann::json& array);

/// What one rank tells another of its data plane, as a process of the bench passes it on.
[[nodiscard]] nlohmann::json describe(const rank_layout& layout, const rank_plane& plane);
/// Reads it; the planners are left to the caller.
[[nodiscard]] peer_card card_of(const nlohmann::json& description);

/// The options of a plane, for a rank in another process.
[[nodiscard]] nlohmann::json to_json_value(const plane_options& options);
[[nodiscard]] plane_options options_of(const nlohmann::json& value);

/// Starts something and waits for the value that its callback gets.
template <class T, class Start>
T result_of(Start start) {
  // The callback keeps its end, since it may still be at work when the value is there.
  auto ended = std::make_shared<std::promise<T>>();
  auto value = ended->get_future();
  start([ended](T result) { ended->set_value(std::move(result)); });
  return value.get();
}

/// Makes a peer known. @returns `lane` and `reason`.
[[nodiscard]] nlohmann::json introduce(rank_plane& plane, peer_card peer);

} // namespace baton::bench
