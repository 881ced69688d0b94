#include "gpu/copy_engine.hpp"

namespace baton {

copy_plan::copy_plan(std::vector<copy_part> parts, std::shared_ptr<const void> pairs_owner)
    : parts_{std::move(parts)}, starts_{0}, owner_{std::move(pairs_owner)} {
  starts_.reserve(parts_.size() + 1);
  for (const copy_part& part : parts_)
    starts_.push_back(starts_.back() + part.shape->bytes() * part.pairs.size());
}

} // namespace baton
