#pragma once

#include <memory>

#include "baton.hpp"

namespace embed {

/// One layer, 2 heads of 64 bf16 elements, 16 tokens a block: [slot][key, value][head][token][dim].
[[nodiscard]] baton::rank_layout one_layer(baton::instance_role role);

/// A data plane over a pool of baton's own.
[[nodiscard]] std::shared_ptr<baton::rank_plane> plane(const baton::rank_layout& layout);

} // namespace embed
