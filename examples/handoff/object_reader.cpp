#include "examples/handoff/object_reader.hpp"

namespace baton::handoff {

using nlohmann::json;

std::string cut(std::string text, std::size_t longest) {
  if (text.size() > longest)
    text.replace(longest, std::string::npos, "...");
  return text;
}

std::string shown(const json& value) {
  if (value.is_structured() && !value.empty())
    return value.is_array() ? "a list" : "an object";
  return cut(value.dump());
}

std::uint64_t read_number(const json& value, const std::string& path, bounds limits) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() < limits.least ||
      value.get<std::uint64_t>() > limits.most)
    refuse("{}: {} must be a whole number from {} to {}", path, shown(value), limits.least,
           limits.most);
  return value.get<std::uint64_t>();
}

std::vector<std::uint32_t> read_numbers(const json& value, const std::string& path, bounds limits) {
  std::vector<std::uint32_t> numbers;
  for (const auto& element : read_list(value, path))
    numbers.push_back(static_cast<std::uint32_t>(
        read_number(element, fmt::format("{}[{}]", path, numbers.size()), limits)));
  return numbers;
}

std::string read_text(const json& value, const std::string& path) {
  if (!value.is_string())
    refuse("{}: {} must be a string", path, shown(value));
  return value.get<std::string>();
}

bool read_flag(const json& value, const std::string& path) {
  if (!value.is_boolean())
    refuse("{}: {} must be true or false", path, shown(value));
  return value.get<bool>();
}

const json::array_t& read_list(const json& value, const std::string& path) {
  if (!value.is_array())
    refuse("{}: {} must be a list", path, shown(value));
  return value.get_ref<const json::array_t&>();
}

object_reader::object_reader(const json& object, std::string path)
    : object_{object}, path_{std::move(path)} {
  if (!object.is_object())
    refuse("{}: must be an object", path_.empty() ? "the scenario" : path_);
}

std::string object_reader::path_of(std::string_view field) const {
  return path_.empty() ? std::string{field} : fmt::format("{}.{}", path_, field);
}

const json& object_reader::required(std::string_view field) {
  if (const auto* value = optional(field))
    return *value;
  refuse("{}: is missing; add it", path_of(field));
}

const json* object_reader::optional(std::string_view field) {
  known_.emplace(field);
  const auto found = object_.find(field);
  return found == object_.end() ? nullptr : &*found;
}

void object_reader::close() const {
  for (const auto& [field, value] : object_.items())
    if (!known_.contains(field))
      refuse("{}: is not a known field; remove it (known here: {})", path_of(cut(field)),
             fmt::join(known_, ", "));
}

} // namespace baton::handoff
