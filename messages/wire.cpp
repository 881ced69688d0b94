#include "messages/wire.hpp"

namespace baton {

request_id request_of(const wire_message& message) noexcept {
  return std::visit([](const auto& body) { return body.request; }, message);
}

std::vector<rank_layout> instance_info::layouts() const {
  std::vector<rank_layout> out;
  out.reserve(ranks.size());
  for (const auto& rank : ranks)
    out.push_back(rank.layout);
  return out;
}

} // namespace baton
