#include "transport/plan/plan_stream.hpp"

#include <utility>

#include "transport/base/convert.hpp"

namespace baton {

namespace {

void move_elements(std::byte* to, const std::byte* from, std::uint64_t bytes,
                   const element_conversion& as, copy_mode mode) noexcept {
  if (as.needed())
    return racing_convert(to, from, bytes, as, mode);
  racing_copy(to, from, bytes, mode);
}

} // namespace

plan_stream::plan_stream(plan what) : plan_{std::move(what)} {
  std::erase_if(plan_.parts,
                [](const plan_part& part) { return part.pairs.empty() || part.shape->bytes == 0; });
  starts_.reserve(plan_.parts.size() + 1);
  std::uint64_t end = 0;
  for (const auto& part : plan_.parts) {
    starts_.push_back(end);
    end += part.shape->bytes * part.pairs.size();
    grain_ = std::max(grain_, part.shape->grain);
  }
  starts_.push_back(end);
}

std::uint64_t plan_stream::whole(std::uint64_t offset) const noexcept {
  if (grain_ == 1 || offset >= bytes())
    return offset;
  const auto part = part_at(offset);
  const run_template& shape = *plan_.parts[part].shape;
  const auto within = (offset - starts_[part]) % shape.bytes;
  const auto index = run_at(shape, within);
  const auto& as = shape.lanes[shape.runs[index].lane].as;
  return as.needed() ? offset - (within - shape.prefix[index]) % size_of(as.from) : offset;
}

void copy_range(const plan_stream& stream, std::uint64_t offset, std::uint64_t bytes,
                source_pools from, destination_pools to, copy_mode mode) noexcept {
  stream.visit(offset, bytes,
               [&](const run_lane& lane, std::uint64_t source, std::uint64_t destination,
                   std::uint64_t count) {
                 move_elements(to[lane.destination_pool] + destination,
                               from[lane.source_pool] + source, count, lane.as, mode);
               });
  if (mode == copy_mode::streaming)
    end_streaming();
}

void gather_range(const plan_stream& stream, std::uint64_t offset, std::uint64_t bytes,
                  source_pools from, std::byte* to) noexcept {
  stream.visit(offset, bytes,
               [&](const run_lane& lane, std::uint64_t source, std::uint64_t, std::uint64_t count) {
                 racing_copy(to, from[lane.source_pool] + source, count, copy_mode::cached);
                 to += count;
               });
}

void scatter_range(const plan_stream& stream, std::uint64_t offset, std::uint64_t bytes,
                   const std::byte* from, destination_pools to, copy_mode mode) noexcept {
  stream.visit(
      offset, bytes,
      [&](const run_lane& lane, std::uint64_t, std::uint64_t destination, std::uint64_t count) {
        move_elements(to[lane.destination_pool] + destination, from, count, lane.as, mode);
        from += count;
      });
  if (mode == copy_mode::streaming)
    end_streaming();
}

} // namespace baton
