#include "transport/lease/lease_table.hpp"

#include <new>
#include <utility>

namespace baton {

namespace {

constexpr std::size_t most_slots = 1u << 24;
constexpr std::size_t table_head = sizeof(lease_header) + sizeof(life_word);

bool holds(const lease_word* words, std::size_t slots, incarnation life, const lease& right) {
  if (right.owner != life || right.slot >= slots || right.epoch % 2 == 0)
    return false;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return words[right.slot].word.load(std::memory_order_seq_cst) == right.epoch;
}

} // namespace

expected<lease_table> lease_table::create(incarnation life, std::size_t slots) {
  if (slots == 0 || slots > most_slots)
    return fail(errc::invalid_argument, "leases: {} is not within 1 and {}", slots, most_slots);
  auto file = create_memory_file("baton-leases", table_head + slots * sizeof(lease_word), false);
  if (!file)
    return fail(std::move(file.error()));
  auto alive = life_lock::take(*new (file->memory.data() + sizeof(lease_header)) life_word);
  if (!alive)
    return fail(std::move(alive.error()));
  return lease_table{std::move(*file), std::move(*alive), life, slots};
}

lease_table::lease_table(memory_file file, life_lock alive, incarnation life, std::size_t slots)
    : file_{std::move(file)}, alive_{std::move(alive)}, life_{life}, slots_{slots} {
  auto* header = new (file_.memory.data()) lease_header{};
  header->slots = slots;
  header->life = life.value;
  words_ = new (file_.memory.data() + table_head) lease_word[slots];
  free_.reserve(slots);
  for (std::size_t slot = slots; slot-- > 0;)
    free_.push_back(static_cast<std::uint32_t>(slot));
}

lease_table::lease_table(lease_table&& other) noexcept
    : file_{std::move(other.file_)},
      alive_{std::move(other.alive_)},
      life_{other.life_},
      free_{std::move(other.free_)},
      slots_{std::exchange(other.slots_, 0)},
      words_{std::exchange(other.words_, nullptr)} {
}

lease_table::~lease_table() {
  revoke_all();
}

void lease_table::revoke_all() noexcept {
  for (std::uint32_t slot = 0; slot < slots_; ++slot)
    revoke({life_, slot, words_[slot].word.load(std::memory_order_relaxed)});
}

expected<lease> lease_table::grant() {
  const std::lock_guard lock{mutex_};
  if (free_.empty())
    return fail(errc::out_of_resources, "all {} leases are granted; raise plane_options::leases",
                slots_);
  const auto slot = free_.back();
  free_.pop_back();
  auto& word = words_[slot].word;
  const auto epoch = word.load(std::memory_order_relaxed) + 1;
  word.store(epoch, std::memory_order_seq_cst);
  return lease{life_, slot, epoch};
}

bool lease_table::revoke(const lease& right) noexcept {
  if (right.owner != life_ || right.slot >= slots_ || right.epoch % 2 == 0)
    return false;
  auto epoch = right.epoch;
  const bool ours =
      words_[right.slot].word.compare_exchange_strong(epoch, epoch + 1, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (ours) {
    const std::lock_guard lock{mutex_};
    free_.push_back(right.slot);
  }
  return ours;
}

bool lease_table::granted(const lease& right) const noexcept {
  return holds(words_, slots_, life_, right);
}

std::size_t lease_table::granted() const noexcept {
  const std::lock_guard lock{mutex_};
  return slots_ - free_.size();
}

expected<lease_view> lease_view::map(int descriptor, incarnation life) {
  auto memory = map_sealed(descriptor, table_head, "the lease table");
  if (!memory)
    return fail(std::move(memory.error()));
  const auto& header = *reinterpret_cast<const lease_header*>(memory->data());
  if (header.magic != lease_header::table_magic || header.version != lease_header::table_version)
    return fail(errc::transport_failed, "the lease table of the peer has another format");
  if (header.life != life.value)
    return fail(errc::transport_failed, "the lease table of the peer belongs to another life");
  const auto slots = header.slots;
  if (slots > (memory->size() - table_head) / sizeof(lease_word))
    return fail(errc::transport_failed, "the lease table of the peer is cut off");
  return lease_view{std::move(*memory), life, slots};
}

bool lease_view::granted(const lease& right) const noexcept {
  const auto* words = reinterpret_cast<const lease_word*>(memory_.data() + table_head);
  return holds(words, slots_, life_, right);
}

bool lease_view::owner_alive() const noexcept {
  return is_alive(*reinterpret_cast<const life_word*>(memory_.data() + sizeof(lease_header)));
}

} // namespace baton
