#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "messages/error.hpp"
#include "messages/ids.hpp"
#include "messages/layout.hpp"

namespace baton {

/// Steps of a hand-over at which a `probe` is called, in the order in which they are passed.
///
/// C is what it means on a context rank, G on a generation rank.
enum class probe_point : std::uint8_t {
  /// C: the first message for the request arrived. G: all sources are introduced, none is asked.
  introduced,
  /// C: a pull request was taken up, nothing is granted. G: all pull requests were sent.
  requested,
  /// C: a lease was granted, its message not yet sent. G: the first grant arrived, nothing is
  /// pulled.
  granted,
  /// C: the first grant was sent, the peer may read. G: the first pull was handed to the lane.
  pulling,
  /// C: the first receipt arrived. G: the first slice was validated, its receipt not yet sent.
  done,
};

[[nodiscard]] std::string_view to_string(probe_point point) noexcept;

/// Called from within a session when it passes a point; the session goes on when it returns. For
/// fault tests: it may block the calling pool thread. Must not throw.
using probe = std::function<void(probe_point, request_id)>;

/// When and how often a failed session is started again.
struct restart_policy {
  std::uint32_t budget = 3; ///< restarts of one request within `window`
  std::chrono::milliseconds window{30'000};
  std::chrono::milliseconds first_backoff{10}; ///< doubles with every attempt
  std::chrono::milliseconds last_backoff{1'000};
};

/// How the ranks of an instance (of its dp group, with attention data parallelism) agree on what
/// their status calls return. All of them must have the same setting.
///
/// Off unless asked for: then no call waits for another rank, and each reports what it knows
/// itself. Turn it on when the ranks step together and must take the same decisions, and have no
/// collective of their own for that.
struct agreement_options {
  bool on = false;
  /// How long a call waits for ranks that have not made theirs. A rank that is later than that is
  /// not waited for again until it makes its next call.
  std::chrono::milliseconds patience{500};
  /// How long the answer of the directory's rank may take on top of that. Then the call is answered
  /// with what this rank knows.
  std::chrono::milliseconds directory{1'000};
};

/// How a rank's transceiver behaves. All limits are per rank.
struct transceiver_options {
  restart_policy restarts;
  /// How often deadlines are looked at. A request ends at most this long after its deadline, plus
  /// clean-up.
  std::chrono::milliseconds sweep{20};
  /// How long a peer whose link broke may take to come back before it counts as lost for good.
  std::chrono::milliseconds peer_grace{2'000};
  /// What a blocking call grants on top of its deadline for the clean-up.
  std::chrono::milliseconds clean_up{2'000};
  /// Ended requests that are remembered, to answer late questions; likewise cancels that came ahead
  /// of what they cancel. So many outcomes, or `live_requests` if that is more, are kept until they
  /// are fetched; older ones are lost and counted.
  std::size_t tombstones = 16'384;
  /// Pull requests for requests that are not known yet.
  std::size_t early_requests = 65'536;
  /// Requests in flight, and likewise pulls of blocks; one more is refused with
  /// `out_of_resources`.
  std::size_t live_requests = 65'536;
  agreement_options agreement;
  baton::probe probe;
};

/// How long after its deadline on one rank a request may go on until the others count it as failed
/// there.
[[nodiscard]] inline std::chrono::milliseconds
agreement_margin(const transceiver_options& options) noexcept {
  return options.clean_up + options.agreement.patience + options.agreement.directory;
}

/// Checks all options. Every count must be at least 1, every span positive and at most a week.
/// @returns `invalid_argument` with the field and its value.
[[nodiscard]] expected<> validate(const transceiver_options& options);

/// Where a rank meets the others of its instance and of the other side.
struct rank_endpoint {
  std::string host = "127.0.0.1"; ///< address to bind and to be reached at
  std::uint16_t port = 0;         ///< 0: any free one
  std::string directory{};        ///< host:port of the instance's rank 0; empty on rank 0 itself
  /// Says that only trusted hosts can reach `host`: whoever can, can stop actors. Without it, and
  /// without mutual TLS (`configure_tls`), only loopback addresses are bound.
  bool trusted_network = false;
};

/// Checks what can be checked before anything is bound.
/// @param authenticated  whether whoever connects must show a certificate.
/// @returns `invalid_argument` with the field, its value and the remedy.
[[nodiscard]] expected<> validate(const rank_endpoint& endpoint, bool authenticated = false);

} // namespace baton
