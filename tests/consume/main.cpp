#include <cstdio>

#include <caf/actor_system.hpp>

#include <baton.hpp>

int main() {
  baton::actor_config config;
  caf::actor_system system{config};
  baton::rank_layout nothing;
  // An empty layout is refused with the field that is missing; that this links and runs is the
  // test.
  auto started = baton::transceiver::start(system, nothing, nullptr, {});
  if (started || started.error().code != baton::errc::invalid_argument)
    return 1;
  std::printf("baton with UCX %s: %s\n", baton::ucx_version().c_str(),
              started.error().text.c_str());
  return 0;
}
