#pragma once

#include "gpu/cuda/copy_items.cuh"

namespace baton::device {

/// How a bulk kernel uses its block. Several lanes of a warp issue copies, each through a ring of
/// its own; the other lanes only help to find the work.
struct bulk_shape {
  u32 warps;
  u32 issuers; ///< lanes of a warp, 1 to 32
  u32 slots;   ///< of one ring
  u32 chunk;   ///< bytes of a slot, a multiple of 128

  [[nodiscard]] __host__ __device__ constexpr u32 rings() const { return warps * issuers; }
  /// Loads that run ahead of the stores.
  [[nodiscard]] __host__ __device__ constexpr u32 ahead() const { return slots * 3 / 4; }
  [[nodiscard]] __host__ __device__ constexpr u32 control_bytes() const {
    return (rings() * slots * 24 + 127) / 128 * 128;
  }
  [[nodiscard]] __host__ __device__ constexpr u32 shared_bytes() const {
    return control_bytes() + rings() * slots * chunk;
  }
};

/// A ring of chunks in shared memory that one lane drives: bulk loads into it, bulk stores out of
/// it. No byte passes through a register.
template <bulk_shape shape>
class bulk_ring {
public:
  /// @param shared the block's dynamic shared memory, aligned to 128 bytes.
  __device__ bulk_ring(std::byte* shared, u32 number) {
    const u32 control = static_cast<u32>(__cvta_generic_to_shared(shared));
    barriers_ = control + number * shape.slots * 8;
    chunks_ = control + shape.control_bytes() + number * shape.slots * shape.chunk;
    targets_ =
        reinterpret_cast<target*>(shared + shape.rings() * shape.slots * 8) + number * shape.slots;
  }

  __device__ void open() {
    for (u32 slot = 0; slot < shape.slots; ++slot)
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(barriers_ + slot * 8) : "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }

  __device__ void push(u64 source, u64 destination, u32 bytes) {
    if (pending_ == shape.ahead())
      store();
    // The stores that came after this slot's last one may still be under way.
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(shape.slots - shape.ahead()) : "memory");
    const u32 barrier = barriers_ + head_ * 8;
    targets_[head_] = {destination, bytes};
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
                 : "memory");
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
            "r"(chunks_ + head_ * shape.chunk),
        "l"(source), "r"(bytes), "r"(barrier)
        : "memory");
    head_ = head_ + 1 == shape.slots ? 0 : head_ + 1;
    ++pending_;
  }

  /// Waits until every store is done.
  __device__ void finish() {
    while (pending_ != 0)
      store();
    asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
  }

private:
  struct target {
    u64 destination;
    u32 bytes;
  };
  static_assert(sizeof(target) == 16);
  static_assert(shape.rings() * shape.slots % 2 == 0 && shape.chunk % 128 == 0);

  __device__ void store() {
    const u32 barrier = barriers_ + tail_ * 8;
    u32 done = 0;
    while (done == 0)
      asm volatile("{\n.reg .pred loaded;\n"
                   "mbarrier.try_wait.parity.shared::cta.b64 loaded, [%1], %2;\n"
                   "selp.u32 %0, 1, 0, loaded;\n}"
                   : "=r"(done)
                   : "r"(barrier), "r"(phase_)
                   : "memory");
    const target to = targets_[tail_];
    asm volatile(
        "cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to.destination),
        "r"(chunks_ + tail_ * shape.chunk), "r"(to.bytes)
        : "memory");
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
    phase_ ^= tail_ + 1 == shape.slots ? 1 : 0;
    tail_ = tail_ + 1 == shape.slots ? 0 : tail_ + 1;
    --pending_;
  }

  u32 barriers_;
  u32 chunks_;
  target* targets_;
  u32 head_ = 0;
  u32 tail_ = 0;
  u32 phase_ = 0;
  u32 pending_ = 0; ///< loads without their stores
};

/// Copies items of which everything is a multiple of 16.
template <bulk_shape shape>
__device__ void copy_by_bulk(const copy_args& args, std::byte* shared) {
  const bool issues = lane_index() < shape.issuers;
  bulk_ring<shape> ring{shared,
                        threadIdx.x / warp_lanes * shape.issuers + lane_index() % shape.issuers};
  if (issues)
    ring.open();
  __syncwarp();
  item_feed<> feed{args};
  item mine;
  while (feed.next(mine)) {
    unit_line line{(mine.bytes + shape.chunk - 1) / shape.chunk};
    for (u32 base = 0; base < line.total(); base += shape.issuers) {
      const u32 owner = line.take(shape.issuers);
      const u32 chunk = base + lane_index();
      const u32 offset = (chunk - __shfl_sync(all_lanes, line.start(), owner)) * shape.chunk;
      const u64 source = __shfl_sync(all_lanes, mine.source, owner) + offset;
      const u64 destination = __shfl_sync(all_lanes, mine.destination, owner) + offset;
      const u32 left = __shfl_sync(all_lanes, mine.bytes, owner) - offset;
      if (issues && chunk < line.total())
        ring.push(source, destination, min(left, shape.chunk));
      __syncwarp();
    }
  }
  if (issues)
    ring.finish();
  leave(args.counter);
}

} // namespace baton::device
