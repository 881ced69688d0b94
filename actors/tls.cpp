#include "actors/tls.hpp"

#include <array>
#include <memory>
#include <mutex>
#include <set>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <caf/io/all.hpp>
#include <caf/openssl/all.hpp>

#include "actors/config.hpp"

namespace baton {
namespace {

using ssl_context = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;

tl::unexpected<error> unusable(const char* what, const std::string& file) {
  const char* const reason = ERR_reason_error_string(ERR_get_error());
  return fail(errc::invalid_argument, "tls.{}: '{}' cannot be used: {}", what, file,
              reason != nullptr ? reason : "it holds none in PEM");
}

/// CAF throws for files that it cannot use, on a thread of its own and at the first connection.
expected<> check_files(const tls_files& files) {
  for (const auto& [what, file] : {std::pair{"certificate", files.certificate},
                                   {"key", files.key},
                                   {"authority", files.authority}})
    if (file.empty())
      return fail(errc::invalid_argument, "tls.{}: is empty; all three files are needed", what);
  const ssl_context context{SSL_CTX_new(TLS_method()), SSL_CTX_free};
  if (!context)
    return fail(errc::out_of_resources, "OpenSSL gives no context");
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(context.get(), files.certificate.c_str()) != 1)
    return unusable("certificate", files.certificate);
  if (SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1)
    return unusable("key", files.key);
  if (SSL_CTX_load_verify_locations(context.get(), files.authority.c_str(), nullptr) != 1)
    return unusable("authority", files.authority);
  return {};
}

// CAF asks OpenSSL what went wrong with a connection, but leaves the answer in the queue of errors
// of its thread. There the next connection finds it that has nothing to read, and is cut for it: so
// every refused stranger and every dead peer would cut good links. Hence the queue is emptied
// before OpenSSL reads or writes for CAF, whose connections are known by their certificate.

/// Digests of the certificates that CAF was given in this process.
class known_certificates {
public:
  void add(const X509* certificate) {
    const std::lock_guard lock{mutex_};
    digests_.insert(digest_of(certificate));
  }
  [[nodiscard]] bool contains(const X509* certificate) {
    const std::lock_guard lock{mutex_};
    return certificate != nullptr && digests_.contains(digest_of(certificate));
  }

private:
  static std::string digest_of(const X509* certificate) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
    unsigned size = 0;
    X509_digest(certificate, EVP_sha256(), bytes.data(), &size);
    return {bytes.begin(), bytes.begin() + size};
  }

  std::mutex mutex_;
  std::set<std::string> digests_;
};

known_certificates& certificates() {
  static known_certificates all;
  return all;
}

long forget_errors(BIO*, int operation, const char*, std::size_t, int, long, int result,
                   std::size_t*) {
  if (operation == BIO_CB_READ || operation == BIO_CB_WRITE)
    ERR_clear_error();
  return result;
}

void on_state(const SSL* connection, int where, int) {
  if ((where & SSL_CB_HANDSHAKE_START) == 0)
    return;
  if (auto* const socket = SSL_get_rbio(connection))
    BIO_set_callback_ex(socket, forget_errors);
}

void on_connection(void* connection, void*, CRYPTO_EX_DATA*, int, long, void*) {
  auto* const made = static_cast<SSL*>(connection);
  if (made != nullptr && certificates().contains(SSL_get_certificate(made)))
    SSL_set_info_callback(made, on_state);
}

/// Watches the connections that CAF makes with the certificate in this file.
bool watch_connections(const std::string& file) {
  static const bool watching =
      SSL_get_ex_new_index(0, nullptr, on_connection, nullptr, nullptr) >= 0;
  const ssl_context context{SSL_CTX_new(TLS_method()), SSL_CTX_free};
  if (!watching || !context || SSL_CTX_use_certificate_chain_file(context.get(), file.c_str()) != 1)
    return false;
  certificates().add(SSL_CTX_get0_certificate(context.get()));
  return true;
}

} // namespace

expected<> configure_tls(caf::actor_system_config& config, const tls_files& files) {
  if (auto ok = check_files(files); !ok)
    return ok;
  config.load<caf::openssl::manager>();
  config.openssl_certificate = files.certificate;
  config.openssl_key = files.key;
  config.openssl_cafile = files.authority;
  return {};
}

bool has_tls(const caf::actor_system& system) {
  return system.has_openssl_manager();
}

expected<> check_tls(const caf::actor_system& system) {
  if (!has_tls(system))
    return {};
  const auto& config = system.config();
  const bool authority = !config.openssl_cafile.empty() || !config.openssl_capath.empty();
  const bool complete =
      !config.openssl_certificate.empty() && !config.openssl_key.empty() && authority;
  if (complete && watch_connections(config.openssl_certificate))
    return {};
  return fail(errc::invalid_argument,
              "the actor system has TLS, but not certificate, key and authority: it would let "
              "anybody in; make its config with baton::configure_tls");
}

caf::io::middleman_actor connector_of(caf::actor_system& system) {
  return has_tls(system) ? system.openssl_manager().actor_handle()
                         : system.middleman().actor_handle();
}

caf::expected<std::uint16_t> publish_door(const door_actor& door, const std::string& host,
                                          std::uint16_t port) {
  // For a next life at the same port: connections of this one, of which nobody is there any more,
  // do not keep it.
  constexpr bool reuse = true;
  auto& system = door.home_system();
  return has_tls(system) ? caf::openssl::publish(door, port, host.c_str(), reuse)
                         : system.middleman().publish(door, port, host.c_str(), reuse);
}

} // namespace baton
