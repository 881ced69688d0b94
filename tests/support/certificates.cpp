#include "tests/support/certificates.hpp"

#include <cstdlib>
#include <stdexcept>

#include <fmt/format.h>

namespace baton::test {
namespace {

constexpr auto new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

} // namespace

authority::authority(const std::string& name) {
  auto pattern = (std::filesystem::temp_directory_path() / "baton-tls-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr)
    throw std::runtime_error{"no folder for certificates"};
  folder_ = pattern;
  run(fmt::format("req -x509 {} -keyout {} -out {} -subj /CN={} -days 2", new_key,
                  file("authority.key"), file("authority.pem"), name));
}

authority::~authority() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

tls_files authority::issue(const std::string& name) const {
  const tls_files files{file(name + ".pem"), file(name + ".key"), file("authority.pem")};
  run(fmt::format("req {} -keyout {} -out {} -subj /CN={}", new_key, files.key, file("request"),
                  name));
  run(fmt::format("x509 -req -in {} -CA {} -CAkey {} -CAcreateserial -out {} -days 2",
                  file("request"), files.authority, file("authority.key"), files.certificate));
  return files;
}

void authority::run(const std::string& words) const {
  const auto log = file("log");
  if (std::system(fmt::format("openssl {} >> {} 2>&1", words, log).c_str()) != 0)
    throw std::runtime_error{"openssl " + words + " failed, see " + log};
}

} // namespace baton::test
