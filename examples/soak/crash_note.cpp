#include "examples/soak/crash_note.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <string_view>

#include <dlfcn.h>
#include <execinfo.h>
#include <ucontext.h>
#include <unistd.h>

namespace baton::soak {

namespace {

constexpr int deepest = 24;
int crash_fd = -1;

bool is_one_of(std::string_view library, std::initializer_list<std::string_view> names) {
  return std::ranges::any_of(
      names, [&](auto name) { return library.find(name) != std::string_view::npos; });
}

const char* library_of(const Dl_info& found) {
  const auto* slash = found.dli_fname == nullptr ? nullptr : std::strrchr(found.dli_fname, '/');
  return slash == nullptr ? "?" : slash + 1;
}

/// A name without what JSON would have to escape.
const char* plain(const char* name) {
  return name == nullptr || std::strpbrk(name, "\"\\\n") != nullptr ? "?" : name;
}

/// Not everything in here is allowed in a handler: the process is dying, and at worst it says
/// nothing. `at` is where the signal was raised: what UCX has libc do is UCX's.
void say_where(const void* at) {
  std::array<void*, deepest> all{};
  const auto count = static_cast<std::size_t>(::backtrace(all.data(), deepest));
  const auto end = all.begin() + static_cast<std::ptrdiff_t>(count);
  auto frame = std::find(all.begin(), end, at);
  if (frame == end)
    frame = all.begin();
  std::array<char, 4096> text{};
  std::size_t used = 0;
  const auto add = [&](const char* format, auto... values) {
    const int written = std::snprintf(text.data() + used, text.size() - used, format, values...);
    if (written > 0)
      used = std::min(used + static_cast<std::size_t>(written), text.size() - 1);
  };
  // The line break ends what may have been sent in part.
  add("\n{\"event\":\"crashed\",\"where\":[");
  const char* culprit = nullptr;
  for (; frame != end && used + 512 < text.size(); ++frame) {
    Dl_info found{};
    if (::dladdr(*frame, &found) == 0)
      continue;
    if (culprit == nullptr && !is_one_of(library_of(found), {"libc.so", "libasan"}))
      culprit = library_of(found);
    add("\"%s %s\",", plain(library_of(found)), plain(found.dli_sname));
  }
  const bool ucx =
      culprit != nullptr && is_one_of(culprit, {"libucp", "libuct", "libucs", "libucm"});
  add("\"\"],\"ucx\":%s}\n", ucx ? "true" : "false");
  static_cast<void>(::write(crash_fd, text.data(), used) > 0);
}

void on_crash(int signal, siginfo_t*, void* context) {
  ::signal(signal, SIG_DFL);
  const auto& registers = static_cast<const ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  say_where(reinterpret_cast<const void*>(registers.gregs[REG_RIP]));
#elif defined(__aarch64__)
  say_where(reinterpret_cast<const void*>(registers.pc));
#endif
  ::raise(signal);
}

} // namespace

void note_crashes_on(int fd) {
  crash_fd = fd;
  // The first call loads a library, which a handler could not.
  std::array<void*, 1> frame{};
  ::backtrace(frame.data(), 1);
  for (int signal : {SIGSEGV, SIGBUS, SIGABRT}) {
    struct sigaction action {};
    action.sa_sigaction = on_crash;
    action.sa_flags = SA_SIGINFO;
    ::sigaction(signal, &action, nullptr);
  }
}

} // namespace baton::soak
