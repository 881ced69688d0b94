#include "transport/plan/plan_stream.hpp"

#include <utility>

namespace baton {

plan_stream::plan_stream(plan what) : plan_{std::move(what)} {
  std::erase_if(plan_.parts,
                [](const plan_part& part) { return part.pairs.empty() || part.shape->bytes == 0; });
  starts_.reserve(plan_.parts.size() + 1);
  std::uint64_t end = 0;
  for (const auto& part : plan_.parts) {
    starts_.push_back(end);
    end += part.shape->bytes * part.pairs.size();
  }
  starts_.push_back(end);
}

void copy_range(const plan_stream& stream, std::uint64_t offset, std::uint64_t bytes,
                source_pools from, destination_pools to, copy_mode mode) noexcept {
  stream.visit(offset, bytes,
               [&](const run_lane& lane, std::uint64_t source, std::uint64_t destination,
                   std::uint64_t count) {
                 racing_copy(to[lane.destination_pool] + destination,
                             from[lane.source_pool] + source, count, mode);
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
        racing_copy(to[lane.destination_pool] + destination, from, count, mode);
        from += count;
      });
  if (mode == copy_mode::streaming)
    end_streaming();
}

} // namespace baton
