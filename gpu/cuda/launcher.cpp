#include "gpu/cuda/launcher.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "gpu/cuda/copy_kernel.hpp"
#include "gpu/cuda/error.hpp"
#include "gpu/cuda/launch_args.hpp"
#include "gpu/cuda/tuning.hpp"

namespace baton {
namespace {

// A line each, since the host writes one while kernels read another.
constexpr std::size_t abort_stride = 64;
constexpr std::size_t ring_offset = abort_stride * tuning::launches_per_stream;
constexpr std::uint64_t most_items = std::uint64_t{1} << 28; // of a stretch

} // namespace

expected<launcher> launcher::create(const copy_engine_options& options) {
  launcher made;
  made.options_ = options;
  auto stream = gpu_stream::create(options.device);
  if (!stream)
    return fail(stream.error());
  made.stream_ = std::move(*stream);
  auto counter = device_buffer::create(options.device, sizeof(copy_counter));
  if (!counter)
    return fail(counter.error());
  made.counter_ = std::move(*counter);
  if (auto done =
          fill_async(made.counter_.data(), std::byte{0}, sizeof(copy_counter), made.stream_.ref());
      !done)
    return fail(done.error());
  auto host = pinned_buffer::create(options.device, ring_offset + std::size_t{options.ring_pairs} *
                                                                      sizeof(copy_pair));
  if (!host)
    return fail(host.error());
  made.host_ = std::move(*host);
  for (std::uint32_t i = 0; i < tuning::launches_per_stream; ++i) {
    auto event = gpu_event::create(options.device);
    if (!event)
      return fail(event.error());
    made.events_.push_back(std::move(*event));
  }
  return made;
}

std::uint32_t& launcher::abort_word(std::uint32_t place) const noexcept {
  return *reinterpret_cast<std::uint32_t*>(host_.data() + place * abort_stride);
}

expected<std::uint64_t> launcher::launch(const copy_order& order, std::uint64_t from,
                                         std::uint64_t tag) {
  if (flights_.size() == tuning::launches_per_stream)
    return from;
  const auto stretches = gather(order, from);
  if (stretches.empty())
    return from;
  const std::uint32_t place = next_place_;
  next_place_ = (next_place_ + 1) % tuning::launches_per_stream;
  std::atomic_ref{abort_word(place)}.store(0);
  // The event is recorded even if a kernel did not start: another one of this piece may have. To
  // record it fails only with the whole context, in which nothing runs any more.
  const auto started = start(stretches, order, place);
  if (auto recorded = events_[place].record(stream_.ref()); !recorded)
    return fail(recorded.error());
  flights_.push_back({tag, taken_, place});
  if (!started)
    return fail(started.error());
  return stretches.back().end;
}

std::vector<launcher::stretch> launcher::gather(const copy_order& order, std::uint64_t from) {
  std::vector<stretch> found;
  // Half of the ring, so that the next piece can be written while this one runs.
  std::uint64_t left = std::max(options_.ring_pairs / 2, 1u);
  while (from < order.end && found.size() < copy_args::most_segments) {
    const auto next = next_stretch(order, from, left);
    if (!next)
      break;
    from = next->end;
    left -= next->count;
    found.push_back(*next);
  }
  return found;
}

std::optional<launcher::stretch> launcher::next_stretch(const copy_order& order, std::uint64_t from,
                                                        std::uint64_t most_pairs) {
  const auto starts = order.plan->starts();
  const auto after = std::ranges::upper_bound(starts, from) - starts.begin();
  const auto part = static_cast<std::size_t>(after - 1);
  const copy_part& of = order.plan->parts()[part];
  const std::uint64_t pair_bytes = of.shape->bytes();
  const std::uint64_t first = (from - starts[part]) / pair_bytes;
  const std::uint64_t end = std::min(order.end, starts[part + 1]);
  const std::uint64_t wanted = (end - starts[part] + pair_bytes - 1) / pair_bytes - first;

  const std::uint64_t at = taken_ % options_.ring_pairs;
  const std::uint64_t room =
      std::min(options_.ring_pairs - (taken_ - freed_), options_.ring_pairs - at);
  const std::uint64_t fits = std::max<std::uint64_t>(most_items / of.shape->inner().all.size(), 1);
  const std::uint64_t count = std::min({wanted, room, most_pairs, fits});
  if (count == 0)
    return std::nullopt;
  const std::size_t offset = ring_offset + at * sizeof(copy_pair);
  std::memcpy(host_.data() + offset, &of.pairs[first], count * sizeof(copy_pair));
  taken_ += count;
  const std::uint64_t stream = starts[part] + first * pair_bytes;
  return stretch{of.shape.get(), reinterpret_cast<const copy_pair*>(host_.device_data() + offset),
                 count,          stream,
                 from,           std::min(end, stream + count * pair_bytes)};
}

expected<> launcher::start(const std::vector<stretch>& stretches, const copy_order& order,
                           std::uint32_t place) {
  const bool whole = order.begin == 0 && order.end == order.plan->bytes();
  if (order.plan->parts().front().shape->way() != copy_way::pool_to_pool || !whole)
    return start_kernel(stretches, order, place, &copy_shape::storage::all, false);
  if (auto done = start_kernel(stretches, order, place, &copy_shape::storage::bulk, true); !done)
    return done;
  return start_kernel(stretches, order, place, &copy_shape::storage::rest, false);
}

expected<> launcher::start_kernel(const std::vector<stretch>& stretches, const copy_order& order,
                                  std::uint32_t place, list_member list, bool bulk) {
  copy_args args;
  std::uint32_t used = 0;
  std::uint32_t longest = 0;
  std::uint64_t bytes = 0;
  for (const stretch& from : stretches) {
    const tile_list& tiles = from.shape->inner().*list;
    if (tiles.size() == 0)
      continue;
    copy_segment& to = args.segments[used++];
    to = cut_segment(tiles, from.count, from.stream, from.shape->bytes(), from.begin, from.end);
    to.tiles = tiles.tiles;
    to.pairs = from.pairs;
    args.items += to.end;
    to.end = args.items;
    longest = std::max(longest, tiles.longest);
    bytes += tiles.bytes * from.count;
  }
  if (args.items == 0)
    return {};
  const std::uint32_t threads = bulk ? bulk_threads : load_store_threads;
  const launch_size size =
      size_launch(args.items, bytes, longest, options_.thread_blocks, threads / 32);
  args.begin = order.begin;
  args.end = order.end;
  args.buffer = order.buffer;
  args.counter = reinterpret_cast<copy_counter*>(counter_.data());
  args.abort = reinterpret_cast<const std::uint32_t*>(host_.device_data() + place * abort_stride);
  args.batch = size.batch;
  args.poll_mask = size.poll_mask;
  args.way = order.plan->parts().front().shape->way();
  const auto stream = static_cast<cudaStream_t>(stream_.ref().handle);
  if (bulk)
    return check(launch_bulk(args, size.blocks, stream), "launch of the bulk copy kernel");
  return check(launch_load_store(args, size.blocks, stream),
               "launch of the load/store copy kernel");
}

expected<std::optional<std::uint64_t>> launcher::take_ended() {
  if (flights_.empty())
    return std::nullopt;
  const flight first = flights_.front();
  const auto done = is_complete(events_[first.place].ref());
  if (!done)
    return fail(done.error());
  if (!*done)
    return std::nullopt;
  freed_ = first.ring_end;
  flights_.pop_front();
  return first.tag;
}

void launcher::abort(std::uint64_t tag) noexcept {
  for (const flight& one : flights_)
    if (one.tag == tag)
      std::atomic_ref{abort_word(one.place)}.store(1);
}

void launcher::leak() noexcept {
  counter_.leak();
  host_.leak();
}

} // namespace baton
