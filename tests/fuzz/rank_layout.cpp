#include "messages/layout.hpp"
#include "tests/fuzz/target.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace baton;
  fuzz::check_decoder(fuzz::text_of(data, size), fuzz::layout_bound,
                      [](std::string_view bytes) { return decode_layout(bytes); });
  return 0;
}
