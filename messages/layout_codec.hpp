#pragma once

// Internal to messages/: layouts inside of other messages.

#include "messages/layout.hpp"
#include "messages/layout.pb.h"

namespace baton {

void write(const pool_layout& pool, wire::PoolLayout& out);
[[nodiscard]] pool_layout read(const wire::PoolLayout& in);
void write(const rank_layout& layout, wire::RankLayout& out);
[[nodiscard]] rank_layout read(const wire::RankLayout& in);

} // namespace baton
