#pragma once

#include <stdexcept>
#include <type_traits>
#include <utility>

#include "messages/error.hpp"

namespace baton::examples {

/// Returns the value, for programs that cannot go on without it.
///
/// @throws std::runtime_error with the error's text.
template <class T>
T value_of(expected<T> result) {
  if (!result)
    throw std::runtime_error{to_string(result.error())};
  if constexpr (!std::is_void_v<T>)
    return std::move(*result);
}

} // namespace baton::examples
