#include "examples/tiny_llm/rank.hpp"

#include <bit>
#include <utility>

#include <fmt/format.h>

#include "examples/tiny_llm/handoff.hpp"
#include "examples/tiny_llm/model.hpp"

namespace tiny_llm {

namespace {

constexpr baton::request_id the_request{1};

baton::rank_layout layout_of(const rank_task& task) {
  const auto tokens = task.what.prompt_tokens + task.what.tokens;
  const auto slots = 2 * (tokens / task.shape.tokens_per_block + 1);
  return make_layout(task.what.model, task.role, task.self, task.shape, slots);
}

mesh mesh_of(const rank_task& task) {
  std::vector<channel> peers(task.self.ranks());
  for (std::uint32_t i = 0; i < peers.size(); ++i)
    if (i != task.self.rank)
      peers[i] = channel{task.peers.at(i), fmt::format("{} rank {}", to_string(task.role), i)};
  return {task.self, std::move(peers)};
}

/// A bit far down in the mantissa of one element; the very lowest ones may be rounded away.
void flip_one_bit(const rank_task& task, const baton::rank_layout& layout,
                  const paged_cache& cache) {
  const auto& first = layout.groups.front().buffers.front();
  auto& element = cache.value(first.layer, first.first_head, task.what.prompt_tokens / 2).front();
  element = std::bit_cast<float>(std::bit_cast<std::uint32_t>(element) ^ 1u << 8);
}

std::string describe(const baton::outcome& result) {
  auto text = fmt::format("took {} bytes in {} fragments from", result.bytes, result.fragments);
  for (const auto& source : result.sources)
    text += fmt::format(" context rank {} ({}: {})", source.rank, to_string(source.lane.lane),
                        source.lane.reason);
  return text;
}

} // namespace

void run_alone(const job& what, const logits_sink& sink) {
  const rank_task task{.what = what};
  const auto layout = layout_of(task);
  std::vector<std::byte> pool(layout.pools.front().bytes());
  const paged_cache cache{layout, pool, what.prompt_tokens + what.tokens};
  mesh nobody;
  engine computer{what.model, task.self, nobody, sink};
  const auto first = computer.prefill(make_prompt(what.model, what.prompt_tokens), cache);
  computer.decode(first, what.prompt_tokens, what.tokens, cache);
}

void run_rank(channel& parent) {
  const auto task = parent.receive_values<rank_task>(1).front();
  const auto& what = task.what;
  auto peers = mesh_of(task);
  const auto layout = layout_of(task);
  handoff hand{layout, what.lanes, task.self.rank == 0 ? "" : parent.receive_text()};
  if (task.self.rank == 0)
    parent.send_text(hand.endpoint());

  const paged_cache cache{layout, hand.memory(), what.prompt_tokens + what.tokens};
  const auto reporter = task.self.last_stage() && task.self.tp_rank() == 0;
  engine computer{what.model, task.self, peers, [&](std::span<const float> logits) {
                    if (reporter)
                      parent.send_values(logits);
                  }};

  if (task.role == baton::instance_role::context) {
    const auto first = computer.prefill(make_prompt(what.model, what.prompt_tokens), cache);
    hand.give(the_request, what.prompt_tokens, cache, first);
    parent.send_text("gave its part");
  } else {
    const auto taken = hand.take(the_request, what.prompt_tokens, cache, parent.receive_text());
    parent.send_text(describe(taken));
    if (what.flip_bit && task.self.rank == 0)
      flip_one_bit(task, layout, cache);
    computer.decode(taken.aux.value().first_tokens.at(0), what.prompt_tokens, what.tokens, cache);
  }
  parent.wait_for_end();
}

} // namespace tiny_llm
