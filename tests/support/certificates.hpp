#pragma once

#include <filesystem>
#include <string>

#include "actors/config.hpp"

namespace baton::test {

/// An authority that signs certificates, made by the program `openssl` in a folder of its own that
/// goes with it. Throws if that fails.
class authority {
public:
  explicit authority(const std::string& name);
  ~authority();
  authority(const authority&) = delete;
  authority& operator=(const authority&) = delete;

  /// Signs a certificate for a node that trusts this authority.
  [[nodiscard]] tls_files issue(const std::string& name) const;
  [[nodiscard]] const std::filesystem::path& folder() const noexcept { return folder_; }

private:
  void run(const std::string& words) const;
  [[nodiscard]] std::string file(const std::string& name) const { return folder_ / name; }

  std::filesystem::path folder_;
};

} // namespace baton::test
