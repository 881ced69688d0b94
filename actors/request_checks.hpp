#pragma once

#include <vector>

#include "actors/layer_cover.hpp"
#include "actors/request.hpp"
#include "messages/error.hpp"
#include "messages/layout.hpp"

/// What the engine may ask of a rank with a given layout.
namespace baton {

/// Checks an offered slice against the rank's layout: known groups, each once, tables aligned to
/// blocks and reaching the slice's end (whether leading blocks may be missing is up to the
/// receivers), tails likewise, as many of them in each group, ids within the pools, aux size.
///
/// @returns `invalid_argument`; the text names the request, the field and the value.
[[nodiscard]] expected<> check(const rank_layout& layout, const send_slice& slice);

/// Checks that a slice is the first of a request: that it starts at token 0 and layer 0.
[[nodiscard]] expected<> check_first(const send_slice& slice);

/// Checks that a slice continues the earlier ones of its request, in each of its layers, and that
/// all layers have the same tokens if it is the last one.
///
/// @param offered how far the earlier slices reach.
[[nodiscard]] expected<> check_next(const layer_cover& offered, const send_slice& slice);

/// Checks that a request can be prepared.
[[nodiscard]] expected<> check(const context_request& request);

/// Checks a receive likewise: every group of the rank has a table that covers what is wanted of it.
[[nodiscard]] expected<> check(const rank_layout& layout, const receive_request& request);

/// Returns the tokens that a receive wants, per group of the rank: from `cached_tokens` on, or from
/// the start of the group's window, whichever is later. State is wanted as a whole, or not at all
/// if all tokens are cached.
[[nodiscard]] std::vector<group_range> wants_of(const rank_layout& layout,
                                                const receive_request& request);

/// Drops the blocks that hold none of the slice's tokens, so that grants stay small, and the tables
/// of groups without a layer in the slice, and of state of all slices but the last. `slice` must
/// have been checked.
void trim(const rank_layout& layout, send_slice& slice);

} // namespace baton
