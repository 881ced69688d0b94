#include "actors/own_instance.hpp"

#include <utility>

namespace baton {

own_instance::own_instance(const instance_info& instance, std::uint32_t rank)
    : self_{instance.ranks.at(rank)},
      digest_{baton::digest(instance.layouts())},
      encoded_{encode(instance)} {
}

std::vector<rank_layout> own_instance::layouts() const {
  return layouts_of(read_ranks(encoded_));
}

std::vector<rank_layout> own_instance::group_layouts() const {
  return layouts_of(read_ranks(encoded_, layout().dp_rank()));
}

std::vector<rank_layout> layouts_of(std::vector<rank_info> ranks) {
  std::vector<rank_layout> layouts;
  layouts.reserve(ranks.size());
  for (auto& rank : ranks)
    layouts.push_back(std::move(rank.layout));
  return layouts;
}

introduction own_instance::introduce(const std::string& manifest, std::string version) const {
  introduction intro;
  intro.ucx_version = std::move(version);
  intro.self = self_;
  intro.self.manifest = manifest;
  intro.digest = digest_;
  return intro;
}

} // namespace baton
