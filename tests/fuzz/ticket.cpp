// The input is the body of a ticket; its check is made here, or no change would come further.
#include "messages/ticket.hpp"
#include "messages/params.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/fuzz/ticket_body.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace baton;
  // Runs of block ids take few bytes, and there are at most `wire_limits::blocks`.
  constexpr fuzz::memory_bound bound{16u << 20, 256};
  fuzz::check_decoder(fuzz::ticket_of(fuzz::text_of(data, size)), bound,
                      [](std::string_view bytes) { return decode_ticket(bytes); });
  return 0;
}
