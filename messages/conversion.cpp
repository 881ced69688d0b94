#include "messages/conversion.hpp"

#include <vector>

#include <fmt/format.h>

namespace baton {

std::string describe_conversions(element_type from) {
  std::vector<std::string_view> targets;
  for (const auto& pair : conversions)
    if (pair.from == from)
      targets.push_back(to_string(pair.to));
  if (targets.empty())
    return fmt::format("{} cannot be converted", to_string(from));
  std::string text = fmt::format("{} converts to {}", to_string(from), targets.front());
  for (std::size_t i = 1; i < targets.size(); ++i)
    text += fmt::format("{} {}", i + 1 == targets.size() ? " or" : ",", targets[i]);
  return text;
}

} // namespace baton
