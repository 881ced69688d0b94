#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <ucp/api/ucp.h>

#include "messages/error.hpp"
#include "transport/base/unique_handle.hpp"
#include "transport/ucx/context.hpp"

namespace baton {

/// Called once when UCX is done with an operation and its buffers. Must not throw or make progress.
using ucx_completion = std::function<void(ucs_status_t)>;

/// An active message that has arrived.
struct ucx_message {
  unsigned id = 0;
  std::span<const std::byte> header;
  /// The bytes; for a rendezvous a descriptor to be passed to `ucx_worker::receive`.
  void* body = nullptr;
  std::size_t body_bytes = 0;
  bool rendezvous = false;

  /// The bytes of a message that is no rendezvous.
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
    return {static_cast<const std::byte*>(body), body_bytes};
  }
};

/// Takes messages, from within `ucx_worker::progress`. A rendezvous that it does not receive is
/// dropped.
class ucx_sink {
public:
  virtual ~ucx_sink() = default;
  virtual void received(const ucx_message& message) noexcept = 0;
};

/// Owns a UCX worker. Belongs to one thread at a time; not movable, since UCX keeps pointers to it.
class ucx_worker {
public:
  /// @param sink gets the messages with ids below `ids`.
  /// @param parent, sink must outlive the worker.
  /// @param chunks where the bodies of large messages lie, sent or received.
  ucx_worker(const ucx_context& parent, ucx_sink& sink,
             ucs_memory_type_t chunks = UCS_MEMORY_TYPE_HOST) noexcept
      : parent_{parent}, sink_{sink}, chunks_{chunks} {}
  ucx_worker(const ucx_worker&) = delete;
  ucx_worker& operator=(const ucx_worker&) = delete;

  /// Creates the handle. Call once, first.
  [[nodiscard]] expected<> open(unsigned ids);

  [[nodiscard]] expected<std::string> address() const;
  /// Readable when there is something to progress; see `arm`.
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  /// Call before sleeping on the descriptor. Do not sleep if it returns false.
  [[nodiscard]] bool arm() noexcept;
  /// Returns whether anything happened.
  bool progress() noexcept { return handle_.get() && ucp_worker_progress(handle_.get()) != 0; }

  /// Destroys the worker now: completions that UCX still owes are called from within.
  void close() noexcept { handle_ = {}; }

  /// Receives a rendezvous, from within the sink, into a buffer that stays valid until `done`.
  void receive(const ucx_message& message, std::byte* to, ucx_completion done) noexcept;

  /// Operations that have not completed.
  [[nodiscard]] std::size_t outstanding() const noexcept { return outstanding_; }
  [[nodiscard]] ucp_worker_h get() const noexcept { return handle_.get(); }
  [[nodiscard]] ucs_memory_type_t chunk_memory() const noexcept { return chunks_; }

private:
  friend class ucx_endpoint;
  struct operation;
  struct route {
    ucx_worker* worker = nullptr;
    unsigned id = 0;
  };

  static ucs_status_t on_message(void* arg, const void* header, size_t header_bytes, void* body,
                                 size_t body_bytes, const ucp_am_recv_param_t* param);
  void started(operation* begun, ucs_status_ptr_t result) noexcept;

  const ucx_context& parent_;
  ucx_sink& sink_;
  const ucs_memory_type_t chunks_;
  std::vector<route> routes_;
  unique_handle<ucp_worker_h, ucp_worker_destroy> handle_;
  int descriptor_ = -1;
  std::size_t outstanding_ = 0;
};

/// What UCX must find until an operation has completed.
struct ucx_worker::operation {
  ucx_worker& worker;
  ucx_completion done;
  std::string header;
  std::string body;

  void complete(ucs_status_t status) noexcept;
};

} // namespace baton
