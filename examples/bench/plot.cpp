#include "examples/bench/plot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace baton::bench {

namespace {

constexpr double width = 900;
constexpr double height = 480;
constexpr double left = 70;
constexpr double right = 620; ///< the legend stands beyond
constexpr double top = 40;
constexpr double bottom = 420;
constexpr double legend_step = 24;
constexpr double tick_step = 50; ///< GB/s

constexpr std::array colors{"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b"};

struct curve {
  std::string name;
  bool reference = false;
  std::vector<std::pair<std::uint64_t, double>> points; ///< by fragment size
};

std::vector<curve> curves_of(std::span<const plot_point> points) {
  std::vector<curve> curves;
  for (const auto& point : points) {
    auto found = std::ranges::find(curves, point.curve, &curve::name);
    if (found == curves.end())
      found = curves.insert(curves.end(), {point.curve, point.reference, {}});
    found->points.emplace_back(point.fragment, point.gigabytes);
  }
  for (auto& one : curves)
    std::ranges::sort(one.points);
  return curves;
}

/// Places values on the page.
class axes {
public:
  explicit axes(std::span<const plot_point> points) {
    const auto [least, most] = std::ranges::minmax(points, {}, &plot_point::fragment);
    first_ = std::log2(static_cast<double>(least.fragment));
    last_ = std::max(std::log2(static_cast<double>(most.fragment)), first_ + 1);
    const auto highest = std::ranges::max(points, {}, &plot_point::gigabytes).gigabytes;
    most_ = (std::floor(highest / tick_step) + 1) * tick_step;
  }

  [[nodiscard]] double x(std::uint64_t fragment) const {
    return x_of(std::log2(static_cast<double>(fragment)));
  }
  [[nodiscard]] double y(double gigabytes) const {
    return bottom - gigabytes / most_ * (bottom - top);
  }

  [[nodiscard]] std::string draw() const {
    std::string out;
    for (auto power = std::ceil(first_); power <= last_; ++power) {
      const auto at = x_of(power);
      out += line(at, top, at, bottom, "#e4e4e4") +
             text(at, bottom + 18, "middle", size_text(std::uint64_t{1} << std::lround(power)));
    }
    for (double value = 0; value <= most_; value += tick_step)
      out += line(left, y(value), right, y(value), "#e4e4e4") +
             text(left - 8, y(value) + 4, "end", fmt::format("{:g}", value));
    return out + line(left, bottom, right, bottom, "#333") + line(left, top, left, bottom, "#333") +
           text((left + right) / 2, bottom + 42, "middle", "fragment size") +
           text(left, top - 14, "middle", "GB/s");
  }

  static std::string text(double x, double y, const char* anchor, const std::string& what) {
    return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y,
                       anchor, what);
  }

  static std::string line(double x1, double y1, double x2, double y2, const char* color) {
    return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" "
                       "stroke=\"{}\"/>\n",
                       x1, y1, x2, y2, color);
  }

private:
  [[nodiscard]] double x_of(double power) const {
    return left + (power - first_) / (last_ - first_) * (right - left);
  }

  double first_ = 0;
  double last_ = 1;
  double most_ = 1;
};

std::string draw_curve(const curve& one, const axes& page, const char* color) {
  std::string path;
  std::string dots;
  for (const auto& [fragment, gigabytes] : one.points) {
    path += fmt::format("{:.1f},{:.1f} ", page.x(fragment), page.y(gigabytes));
    dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>\n",
                        page.x(fragment), page.y(gigabytes), color);
  }
  return fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"{}/>\n",
                     path, color, one.reference ? " stroke-dasharray=\"6 4\"" : "") +
         dots;
}

std::string draw_legend(const curve& one, std::size_t place, const char* color) {
  const auto y = top + 10 + legend_step * static_cast<double>(place);
  return fmt::format("<line x1=\"{0:.1f}\" y1=\"{2:.1f}\" x2=\"{1:.1f}\" y2=\"{2:.1f}\" "
                     "stroke=\"{3}\" stroke-width=\"2\"{4}/>\n",
                     right + 16, right + 46, y, color,
                     one.reference ? " stroke-dasharray=\"6 4\"" : "") +
         axes::text(right + 54, y + 4, "start", one.name);
}

} // namespace

std::string draw_plot(std::span<const plot_point> points) {
  auto out = fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:g} {1:g}\" "
                         "width=\"{0:g}\" height=\"{1:g}\" font-family=\"sans-serif\" "
                         "font-size=\"13\" fill=\"#333\">\n<rect width=\"{0:g}\" height=\"{1:g}\" "
                         "fill=\"white\"/>\n",
                         width, height);
  const axes page{points};
  out += page.draw();
  const auto curves = curves_of(points);
  for (std::size_t i = 0; i < curves.size(); ++i) {
    const auto* const color = colors[i % colors.size()];
    out += draw_curve(curves[i], page, color) + draw_legend(curves[i], i, color);
  }
  return out + "</svg>\n";
}

std::string size_text(std::uint64_t bytes) {
  static constexpr std::array units{"B", "KiB", "MiB", "GiB"};
  std::size_t unit = 0;
  while (unit + 1 < units.size() && bytes % 1024 == 0 && bytes > 0) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{} {}", bytes, units[unit]);
}

} // namespace baton::bench
