// The heads of active messages. The first byte says which; the lane itself knows by the message's
// number. What follows them is met in tests/hostile_lane_test.cpp.
#include "messages/error.hpp"
#include "tests/fuzz/target.hpp"
#include "transport/ucx/messages.hpp"

namespace {

template <class Head>
void check_head(std::string_view bytes) {
  const auto head = baton::read_head<Head>(std::as_bytes(std::span{bytes}));
  if (head.has_value() != (bytes.size() == sizeof(Head)))
    baton::fuzz::found("a head is read from the wrong number of bytes");
  if (head && baton::head_bytes(*head) != bytes)
    baton::fuzz::found("a head is not the same after it was read and written");
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0)
    return 0;
  const auto rest = baton::fuzz::text_of(data + 1, size - 1);
  switch (data[0] % 3) {
  case 0:
    check_head<baton::pull_head>(rest);
    break;
  case 1:
    check_head<baton::chunk_head>(rest);
    break;
  default:
    check_head<baton::bye_head>(rest);
  }
  return 0;
}
