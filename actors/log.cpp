#include "actors/log.hpp"

#include <memory>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace baton {

spdlog::logger& log() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    if (auto hosts = spdlog::get("baton"))
      return hosts;
    auto own = spdlog::stderr_color_mt("baton");
    own->set_level(spdlog::level::warn);
    return own;
  }();
  return *logger;
}

} // namespace baton
