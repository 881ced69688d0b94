#pragma once

namespace baton::soak {

/// Has this process say on `fd`, as a JSON line `{"event":"crashed","ucx":...,"where":[...]}`, in
/// which functions it is when it dies of SIGSEGV, SIGBUS or SIGABRT. It then dies of that signal.
/// UCX's own handlers must be off (UCX_HANDLE_ERRORS=none).
void note_crashes_on(int fd);

} // namespace baton::soak
