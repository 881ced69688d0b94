#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <caf/all.hpp>

#include "baton.hpp"
#include "examples/handoff/layouts.hpp"

namespace baton::test {

/// One real rank in this process: actor system, data plane and transceiver of its own.
class node {
public:
  /// @param gpu  ordinal of the GPU that the pools lie on; -1: host memory.
  /// @param port of the control endpoint; 0: any free one.
  /// @param tls  empty: none.
  node(rank_layout layout, std::string directory, transceiver_options options = {},
       plane_options lanes = {}, int gpu = -1, std::uint16_t port = 0, const tls_files& tls = {});

  [[nodiscard]] transceiver& door() noexcept { return *transceiver_; }
  [[nodiscard]] rank_plane& plane() noexcept { return *plane_; }
  [[nodiscard]] std::shared_ptr<rank_plane> plane_ptr() const noexcept { return plane_; }
  [[nodiscard]] const rank_layout& layout() const noexcept { return layout_; }
  [[nodiscard]] caf::actor_system& system() noexcept { return system_; }

  /// Fills a block with a byte; tells whether it is full of that.
  void fill(std::uint32_t block, std::uint8_t byte);
  [[nodiscard]] bool holds(std::uint32_t block, std::uint8_t byte) const;

private:
  struct node_config : actor_config {
    explicit node_config(const tls_files& tls);
  };

  rank_layout layout_;
  node_config config_;
  caf::actor_system system_{config_};
  std::shared_ptr<rank_plane> plane_;
  std::unique_ptr<transceiver> transceiver_;
};

/// A context and a generation instance of one small model, all ranks in this process.
struct deployment {
  struct shape {
    shape();
    handoff::model_spec model;
    handoff::side_spec context;
    handoff::side_spec generation;
    transceiver_options context_options;
    transceiver_options generation_options;
    plane_options lanes;
    std::optional<element_type> generation_type; ///< if it is not the model's
    std::function<void(rank_layout&)> change_generation;
    int context_gpu = -1; ///< see `node`
    int generation_gpu = -1;
  };

  deployment();
  explicit deployment(shape form);

  [[nodiscard]] node& context(std::size_t rank = 0) { return *contexts.at(rank); }
  [[nodiscard]] node& generation(std::size_t rank = 0) { return *generations.at(rank); }

  /// A slice of whole blocks from `first_block` on.
  [[nodiscard]] send_slice slice(std::uint64_t id, std::uint32_t first_block, std::uint32_t tokens,
                                 std::chrono::milliseconds timeout = std::chrono::seconds{
                                     10}) const;
  [[nodiscard]] receive_request wish(std::uint64_t id, std::uint32_t first_block,
                                     std::uint32_t tokens,
                                     std::chrono::milliseconds timeout = std::chrono::seconds{10},
                                     std::uint32_t cached = 0);

  /// Waits until no rank has anything left of any request: maps, sessions, leases, callers. Returns
  /// what is left after 5 s; empty if nothing.
  [[nodiscard]] std::string leftovers();

  std::vector<std::unique_ptr<node>> contexts;
  std::vector<std::unique_ptr<node>> generations;
};

/// Threads and open descriptors of this process.
struct footprint {
  std::size_t threads = 0;
  std::size_t descriptors = 0;
  friend bool operator==(const footprint&, const footprint&) = default;
};
[[nodiscard]] footprint measure();

} // namespace baton::test
