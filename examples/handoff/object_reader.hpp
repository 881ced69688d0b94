#pragma once

#include <cstdint>
#include <limits>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace baton::handoff {

/// Thrown by readers of a scenario; the text names the field.
struct bad_field : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
  throw bad_field{fmt::format(format, std::forward<Args>(args)...)};
}

/// A text from a scenario, for use in ours: so many bytes of it at most.
[[nodiscard]] std::string cut(std::string text, std::size_t longest = 100);
/// A value, for use in texts.
[[nodiscard]] std::string shown(const nlohmann::json& value);

/// Inclusive bounds of a number.
struct bounds {
  std::uint64_t least = 0;
  std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
};

/// Returns a whole number within `limits`, or throws `bad_field`.
[[nodiscard]] std::uint64_t read_number(const nlohmann::json& value, const std::string& path,
                                        bounds limits);
/// Returns a list of 32-bit numbers within `limits`, or throws `bad_field`.
[[nodiscard]] std::vector<std::uint32_t> read_numbers(const nlohmann::json& value,
                                                      const std::string& path, bounds limits);
[[nodiscard]] std::string read_text(const nlohmann::json& value, const std::string& path);
[[nodiscard]] bool read_flag(const nlohmann::json& value, const std::string& path);
/// Returns the elements of a list, or throws `bad_field`.
[[nodiscard]] const nlohmann::json::array_t& read_list(const nlohmann::json& value,
                                                       const std::string& path);

/// A spelling and what it stands for.
template <class T>
using choice = std::pair<std::string_view, T>;

template <class T>
[[nodiscard]] T read_choice(const nlohmann::json& value, const std::string& path,
                            std::span<const choice<T>> choices) {
  const auto text = read_text(value, path);
  std::vector<std::string_view> names;
  for (const auto& [name, meaning] : choices) {
    if (name == text)
      return meaning;
    names.push_back(name);
  }
  refuse("{}: \"{}\" is not known; use one of: {}", path, cut(text), fmt::join(names, ", "));
}

/// Takes the fields out of one JSON object, each at most once, and refuses what is left over. All
/// methods throw `bad_field`.
class object_reader {
public:
  /// @param object must outlive the reader.
  object_reader(const nlohmann::json& object, std::string path);

  [[nodiscard]] std::string path_of(std::string_view field) const;
  [[nodiscard]] const nlohmann::json& required(std::string_view field);
  [[nodiscard]] const nlohmann::json* optional(std::string_view field);

  template <class T = std::uint32_t>
  [[nodiscard]] T number(std::string_view field, bounds limits) {
    return static_cast<T>(read_number(required(field), path_of(field), limits));
  }
  template <class T = std::uint32_t>
  [[nodiscard]] T number_or(std::string_view field, T fallback, bounds limits) {
    const auto* value = optional(field);
    return value ? static_cast<T>(read_number(*value, path_of(field), limits)) : fallback;
  }
  template <class T, std::size_t N>
  [[nodiscard]] T one_of(std::string_view field, const choice<T> (&choices)[N]) {
    return read_choice(required(field), path_of(field), std::span<const choice<T>>{choices});
  }
  template <class T, std::size_t N>
  [[nodiscard]] T one_of_or(std::string_view field, T fallback, const choice<T> (&choices)[N]) {
    const auto* value = optional(field);
    return value ? read_choice(*value, path_of(field), std::span<const choice<T>>{choices})
                 : fallback;
  }

  /// Refuses fields that nobody asked for.
  void close() const;

private:
  const nlohmann::json& object_;
  std::string path_;
  std::set<std::string, std::less<>> known_;
};

} // namespace baton::handoff
