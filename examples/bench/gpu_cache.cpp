#include "examples/bench/gpu_cache.hpp"

#include <chrono>
#include <stdexcept>

#include <fmt/format.h>

#include "examples/bench/gpu_call.hpp"
#include "examples/bench/gpu_kernels.hpp"
#include "examples/support/value_of.hpp"
#include "gpu/device.hpp"
#include "gpu/memory.hpp"
#include "gpu/stream.hpp"
#include "transport/pool/device_pool.hpp"

namespace baton::bench {

namespace {

using examples::value_of;

constexpr std::byte untouched{0xee};
constexpr std::size_t word_bytes = 16;

rank_layout layout_on(const gpu_setup& setup, instance_role role, int device) {
  auto layout = layouts_of(setup, role).front();
  layout.life = random_id<incarnation>();
  for (auto& pool : layout.pools) {
    pool.kind = memory_kind::cuda;
    pool.device = static_cast<std::uint32_t>(device);
    pool.device_uuid = value_of(describe_gpu(device)).uuid;
  }
  return layout;
}

template <class T>
device_buffer upload(int device, const std::vector<T>& values) {
  auto buffer = value_of(device_buffer::create(device, values.size() * sizeof(T)));
  value_of(copy_now(buffer.data(), values.data(), buffer.size()));
  return buffer;
}

template <class T>
const T* start_of(const device_buffer& buffer) {
  return reinterpret_cast<const T*>(buffer.data());
}

std::vector<kernels::buffer_view> views_of(const rank_layout& layout) {
  std::vector<kernels::buffer_view> views;
  for (const auto& buffer : layout.groups.front().buffers)
    views.push_back({buffer.offset, buffer.slot_stride, buffer.head_stride, buffer.token_stride,
                     buffer.layer, static_cast<std::uint32_t>(buffer.role), buffer.first_head,
                     buffer.head_count});
  return views;
}

std::vector<std::uint32_t> all_blocks(const std::vector<std::vector<group_blocks>>& tables) {
  std::vector<std::uint32_t> all;
  for (const auto& table : tables)
    all.insert(all.end(), table.front().blocks.begin(), table.front().blocks.end());
  return all;
}

/// What a cache must hold, for the kernels. One request's tokens come after the other's.
class known_content {
public:
  known_content(const rank_layout& layout, const std::vector<std::vector<group_blocks>>& tables,
                const gpu_setup& setup, int device, std::byte* pool)
      : views_{upload(device, views_of(layout))}, blocks_{upload(device, all_blocks(tables))} {
    const auto& group = layout.groups.front();
    const auto& first = group.buffers.front();
    const auto read = setup.context.type;
    const auto row_bytes = std::size_t{first.head_dim} * size_of(read);
    if (row_bytes % word_bytes != 0)
      throw std::runtime_error{
          fmt::format("rows of {} bytes are no multiple of {}", row_bytes, word_bytes)};
    if (first.type != read)
      what_.as = {read, first.type, 1};
    what_.pool = pool;
    what_.views = start_of<kernels::buffer_view>(views_);
    what_.blocks = start_of<std::uint32_t>(blocks_);
    what_.view_count = static_cast<std::uint32_t>(views_.size() / sizeof(kernels::buffer_view));
    what_.block_count = static_cast<std::uint32_t>(blocks_.size() / sizeof(std::uint32_t));
    what_.tokens_per_block = group.tokens_per_block;
    what_.total_heads = first.total_heads;
    what_.row_words = static_cast<std::uint32_t>(row_bytes / word_bytes);
    what_.seed = setup.seed * 0x9e3779b97f4a7c15; // so that neighbours have nothing in common
  }

  [[nodiscard]] const kernels::content& get() const noexcept { return what_; }

private:
  device_buffer views_;
  device_buffer blocks_;
  kernels::content what_;
};

} // namespace

std::shared_ptr<const vmm_allocation> gpu_arena::take(std::size_t bytes) {
  if (!memory_ || memory_->size() < bytes) {
    memory_.reset();
    memory_ =
        std::make_shared<const vmm_allocation>(value_of(vmm_allocation::create(device_, bytes)));
  }
  return memory_;
}

gpu_cache::gpu_cache(const gpu_setup& setup, instance_role role, gpu_arena& memory)
    : setup_{setup},
      device_{memory.device()},
      layout_{layout_on(setup, role, memory.device())},
      tables_{draw_tables(setup, role)},
      memory_{memory.take(layout_.pools.front().bytes())} {
}

std::vector<memory_pool> gpu_cache::make_pools() const {
  std::vector<memory_pool> pools;
  pools.emplace_back(value_of(device_pool::adopt(memory_->data(), layout_.pools.front().bytes())));
  return pools;
}

void gpu_cache::prepare(const rank_plane& plane) const {
  const gpu_scope scope{device_};
  const auto stream = value_of(gpu_stream::create(device_));
  const auto pool = plane.pool(0).memory();
  value_of(fill_async(pool.data(), untouched, pool.size(), stream.ref()));
  const known_content content{layout_, tables_, setup_, device_, pool.data()};
  if (layout_.role == instance_role::context)
    require(kernels::write_content(content.get(), stream.ref().handle));
  value_of(finish(stream.ref(), gpu_limit));
}

std::uint64_t gpu_cache::wrong_bytes(const rank_plane& plane) const {
  const gpu_scope scope{device_};
  const auto stream = value_of(gpu_stream::create(device_));
  const auto pool = plane.pool(0).memory();
  const known_content content{layout_, tables_, setup_, device_, pool.data()};
  const auto count = upload(device_, std::vector<std::uint64_t>{0});
  auto* const wrong = reinterpret_cast<std::uint64_t*>(count.data());
  // What is right is cleared, so that only what nobody had any business to write is left.
  const bool clear = layout_.role == instance_role::generation;
  auto* const handle = stream.ref().handle;
  require(kernels::check_content(content.get(), clear, untouched, wrong, handle));
  if (clear)
    require(kernels::count_touched(pool.data(), pool.size(), untouched, wrong, handle));
  value_of(finish(stream.ref(), gpu_limit));
  std::uint64_t result = 0;
  value_of(copy_now(&result, wrong, sizeof result));
  return result;
}

} // namespace baton::bench
