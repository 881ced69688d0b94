#include "examples/handoff/interruption.hpp"

#include <csignal>
#include <initializer_list>

namespace baton::handoff {

namespace {

volatile std::sig_atomic_t noted = 0;

void note(int) {
  noted = 1;
}

} // namespace

void watch_interruptions() {
  for (int signal : {SIGINT, SIGTERM}) {
    struct sigaction action {};
    action.sa_handler = note;
    ::sigaction(signal, &action, nullptr);
  }
}

bool interrupted() noexcept {
  return noted != 0;
}

} // namespace baton::handoff
