#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <vector>

#include "messages/layout_check.hpp"

// How overlap is decided without looking at every slot. Buffers whose extents do not interleave
// cannot overlap. Those that do and have one slot stride S in common are laid on a circle of S
// bytes: a piece at byte p of slot 0 lies at p mod S, in turn p / S. In slot s it lies in turn p /
// S + s, so two pieces that share a place on the circle share memory exactly if their turns differ
// by less than the number of slots. Interleaving buffers of different strides are enumerated slot
// by slot.

namespace baton {
namespace {

struct axis {
  std::uint64_t count = 1;
  std::uint64_t stride = 0;
};

/// One buffer as rows of `row` bytes, repeated along axes.
struct view {
  std::size_t group = 0;
  std::size_t buffer = 0;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t row = 0;
  axis slots;
  axis heads;
  axis tokens;
};

/// A contiguous range on the circle.
struct piece {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t turn = 0;
  std::uint32_t owner = 0; ///< index into the cluster
};

struct circle {
  std::uint64_t size = 0;
  std::uint64_t slots = 1;
};

/// Rows merged as far as they touch, and the axes that remain, innermost first.
struct folded {
  std::uint64_t row = 0;
  std::vector<axis> axes;
};

folded fold(std::uint64_t row, std::initializer_list<axis> all) {
  folded out{row, {}};
  std::copy_if(all.begin(), all.end(), std::back_inserter(out.axes),
               [](axis a) { return a.count > 1; });
  std::sort(out.axes.begin(), out.axes.end(), [](axis a, axis b) { return a.stride < b.stride; });
  while (!out.axes.empty() && out.axes.front().stride == out.row) {
    out.row *= out.axes.front().count;
    out.axes.erase(out.axes.begin());
  }
  return out;
}

/// Whether each axis steps over all that the inner ones span; then no two rows can meet.
bool nested(const folded& shape) {
  std::uint64_t span = shape.row;
  for (const auto& a : shape.axes) {
    if (a.stride < span)
      return false;
    span += (a.count - 1) * a.stride;
  }
  return true;
}

std::string name(const view& v) {
  return fmt::format("groups[{}].buffers[{}]", v.group, v.buffer);
}

class cluster_check {
public:
  cluster_check(std::span<const view> views, std::uint32_t pool, std::uint64_t pool_bytes,
                std::size_t& work)
      : views_{views}, pool_{pool}, pool_bytes_{pool_bytes}, work_{work} {}

  expected<> run() {
    const auto& first = views_.front();
    if (views_.size() == 1 && nested(fold(first.row, {first.slots, first.heads, first.tokens})))
      return {};
    const bool one_stride = std::all_of(views_.begin(), views_.end(), [&](const view& v) {
      return v.slots.stride == first.slots.stride;
    });
    const bool turning = one_stride && first.slots.count > 1;
    const circle around =
        turning ? circle{first.slots.stride, first.slots.count} : circle{pool_bytes_, 1};
    for (std::uint32_t i = 0; i < views_.size(); ++i) {
      const auto& v = views_[i];
      const auto shape =
          turning ? fold(v.row, {v.heads, v.tokens}) : fold(v.row, {v.slots, v.heads, v.tokens});
      if (shape.row > around.size)
        return self_overlap(v, v.begin + around.size);
      if (auto ok = add(shape, i, around); !ok)
        return ok;
    }
    return sweep(around);
  }

private:
  expected<> add(const folded& shape, std::uint32_t owner, circle around) {
    std::uint64_t count = 1;
    for (const auto& a : shape.axes) {
      count *= a.count;
      if (count > work_)
        return fail(errc::invalid_argument,
                    "{}: too intricate to rule out overlaps in pools[{}] (more than {} separate "
                    "pieces); pack heads and tokens, or give it a pool of its own",
                    name(views_[owner]), pool_, work_);
    }
    work_ -= count;
    std::array<axis, 3> axes{};
    std::copy(shape.axes.begin(), shape.axes.end(), axes.begin());
    for (std::uint64_t i = 0; i < axes[0].count; ++i)
      for (std::uint64_t j = 0; j < axes[1].count; ++j)
        for (std::uint64_t k = 0; k < axes[2].count; ++k)
          place(views_[owner].begin + i * axes[0].stride + j * axes[1].stride + k * axes[2].stride,
                shape.row, owner, around);
    return {};
  }

  void place(std::uint64_t at, std::uint64_t bytes, std::uint32_t owner, circle around) {
    const std::uint64_t turn = at / around.size;
    const std::uint64_t begin = at % around.size;
    const std::uint64_t end = begin + bytes;
    pieces_.push_back({begin, std::min(end, around.size), turn, owner});
    if (end > around.size)
      pieces_.push_back({0, end - around.size, turn + 1, owner});
  }

  expected<> sweep(circle around) {
    std::sort(pieces_.begin(), pieces_.end(),
              [](const piece& a, const piece& b) { return a.begin < b.begin; });
    std::map<std::uint64_t, const piece*> open; // by turn; pairwise at least `slots` turns apart
    for (const auto& next : pieces_) {
      auto near = open.lower_bound(next.turn - std::min(next.turn, around.slots - 1));
      while (near != open.end() && near->first < next.turn + around.slots) {
        if (near->second->end > next.begin)
          return overlap(near->second->owner, next.owner, next.begin + next.turn * around.size);
        near = open.erase(near);
      }
      open.emplace_hint(near, next.turn, &next);
    }
    return {};
  }

  expected<> overlap(std::uint32_t a, std::uint32_t b, std::uint64_t byte) const {
    if (a == b)
      return self_overlap(views_[a], byte);
    return fail(errc::invalid_argument, "{} and {} overlap near byte {} of pools[{}]",
                name(views_[std::min(a, b)]), name(views_[std::max(a, b)]), byte, pool_);
  }

  expected<> self_overlap(const view& v, std::uint64_t byte) const {
    return fail(errc::invalid_argument,
                "{}: its slots, heads or tokens overlap each other near byte {} of pools[{}]; "
                "check slot_stride, head_stride and token_stride",
                name(v), byte, pool_);
  }

  std::span<const view> views_;
  std::uint32_t pool_;
  std::uint64_t pool_bytes_;
  std::size_t& work_;
  std::vector<piece> pieces_;
};

std::vector<std::vector<view>> views_by_pool(const rank_layout& layout) {
  std::vector<std::vector<view>> out(layout.pools.size());
  for (std::size_t g = 0; g < layout.groups.size(); ++g) {
    const auto& group = layout.groups[g];
    for (std::size_t b = 0; b < group.buffers.size(); ++b) {
      const auto& buffer = group.buffers[b];
      view v{.group = g,
             .buffer = b,
             .begin = buffer.offset,
             .end = 0,
             .row = buffer.row_bytes(),
             .slots = {layout.pools[buffer.pool].slots, buffer.slot_stride},
             .heads = {buffer.head_count, buffer.head_stride},
             .tokens = {tokens_per_slot(group), buffer.token_stride}};
      v.end = v.begin + v.row;
      for (const auto& a : {v.slots, v.heads, v.tokens})
        v.end += (a.count - 1) * a.stride;
      out[buffer.pool].push_back(v);
    }
  }
  return out;
}

/// Returns how many views from `first` on have extents that interleave, directly or by way of
/// others.
std::size_t cluster_size(std::span<const view> views) {
  std::uint64_t end = views.front().end;
  std::size_t size = 1;
  while (size < views.size() && views[size].begin < end)
    end = std::max(end, views[size++].end);
  return size;
}

} // namespace

expected<> check_overlaps(const rank_layout& layout, std::size_t& work) {
  auto pools = views_by_pool(layout);
  for (std::uint32_t pool = 0; pool < pools.size(); ++pool) {
    std::stable_sort(pools[pool].begin(), pools[pool].end(),
                     [](const view& a, const view& b) { return a.begin < b.begin; });
    std::span<const view> rest = pools[pool];
    while (!rest.empty()) {
      const std::size_t size = cluster_size(rest);
      cluster_check check{rest.first(size), pool, layout.pools[pool].bytes(), work};
      if (auto ok = check.run(); !ok)
        return ok;
      rest = rest.subspan(size);
    }
  }
  return {};
}

} // namespace baton
