#include "examples/handoff/json_document.hpp"

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "examples/handoff/object_reader.hpp"

namespace baton::handoff {

namespace {

using nlohmann::json;

/// A scenario has five; what is deeper is not looked at.
constexpr std::size_t most_levels = 32;

/// Follows the parser through objects and lists.
class key_watch {
public:
  /// The parser's callback; keeps everything.
  bool see(json::parse_event_t event, const json& parsed) {
    using enum json::parse_event_t;
    switch (event) {
    case key:
      see_key(parsed.get<std::string>());
      break;
    case object_start:
    case array_start:
      count_element();
      if (open_.size() == most_levels)
        refuse("{}: lies deeper than {} levels; a scenario needs no more than five", cut(path()),
               most_levels);
      open_.push_back({event == array_start, {}, {}, 0});
      break;
    case object_end:
    case array_end:
      open_.pop_back();
      break;
    case value:
      count_element();
      break;
    }
    return true;
  }

private:
  /// An object or a list that has begun and not ended.
  struct level {
    bool list = false;
    std::set<std::string> keys;
    std::string key;       ///< of the value that is being parsed
    std::size_t count = 0; ///< of a list's elements so far
  };

  void count_element() {
    if (!open_.empty() && open_.back().list)
      ++open_.back().count;
  }

  void see_key(const std::string& key) {
    open_.back().key = key;
    if (!open_.back().keys.insert(key).second)
      refuse("{}: is given twice; keep one", cut(path()));
  }

  [[nodiscard]] std::string path() const {
    std::string path;
    for (const auto& at : open_)
      if (at.list)
        path += fmt::format("[{}]", at.count - 1);
      else
        path += (path.empty() ? "" : ".") + at.key;
    return path;
  }

  std::vector<level> open_;
};

} // namespace

json parse_document(std::string_view text) {
  if (text.size() > most_document_bytes)
    refuse("the scenario: has {} bytes, at most {} are read", text.size(), most_document_bytes);
  key_watch watch;
  return json::parse(
      text, [&](int, json::parse_event_t event, json& parsed) { return watch.see(event, parsed); });
}

} // namespace baton::handoff
