#pragma once

#include <span>
#include <string>

#include "examples/bench/report.hpp"

namespace baton::bench {

/// Draws GB/s over fragment size as an SVG document: a curve per name, the x axis in powers of two,
/// references dashed.
///
/// @pre there is a point.
[[nodiscard]] std::string draw_plot(std::span<const plot_point> points);

/// Returns e.g. "512 B", "4 KiB" or "1 GiB".
[[nodiscard]] std::string size_text(std::uint64_t bytes);

} // namespace baton::bench
