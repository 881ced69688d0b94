#include "actors/caf_error.hpp"

#include <string>

#include "actors/type_ids.hpp"

namespace baton {

caf::error to_caf(const error& err) {
  return caf::make_error(err.code, err.text);
}

error from_caf(const caf::error& err, std::string_view what) {
  if (err.category() == caf::atom("baton") && err.code() >= 1 &&
      err.code() <= static_cast<std::uint8_t>(last_errc)) {
    std::string text;
    if (err.context().match_elements<std::string>())
      text = err.context().get_as<std::string>(0);
    return {static_cast<errc>(err.code()), std::move(text)};
  }
  if (err == caf::sec::request_timeout)
    return {errc::timed_out, fmt::format("{}: no answer in time", what)};
  return {errc::peer_lost, fmt::format("{}: {}", what, caf::to_string(err))};
}

} // namespace baton
