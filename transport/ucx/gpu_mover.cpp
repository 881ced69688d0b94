#include "transport/ucx/gpu_mover.hpp"

#include <algorithm>
#include <utility>

namespace baton {

using std::chrono::microseconds;

gpu_mover::gpu_mover(copy_engine engine, const std::vector<std::byte*>& pools, gpu_watch& watch)
    : gathers_{copy_way::pool_to_stream, {pools.begin(), pools.end()}, {}},
      scatters_{copy_way::stream_to_pool, {}, pools},
      engine_{std::move(engine)},
      watch_{watch} {
  watch_.begin(engine_.options().device);
}

gpu_mover::~gpu_mover() = default;

void gpu_mover::gather(chunk_move what, completion done) {
  launch(gathers_, std::move(what), std::move(done));
}

void gpu_mover::scatter(chunk_move what, completion done) {
  launch(scatters_, std::move(what), std::move(done));
}

bool gpu_mover::scatter_now(const chunk_move& /*what*/, const std::byte* /*from*/) {
  return false;
}

void gpu_mover::launch(shape_cache& shapes, chunk_move what, completion done) {
  auto plan = shapes.plan_for(engine_, what.stream->what(), what.stream);
  if (!plan)
    return done(fail(explain(std::move(plan.error()))));
  copy_order order;
  order.plan = std::move(*plan);
  order.begin = what.offset;
  order.end = what.offset + what.bytes;
  order.buffer = what.staged;
  const auto ticket = engine_.launch(std::move(order));
  if (!ticket)
    return done(fail(explain(ticket.error())));
  open_.emplace(*ticket, std::move(done));
}

bool gpu_mover::progress() {
  if (open_.empty())
    return false;
  for (const copy_report& report : engine_.poll())
    reports_.push_back(report);
  bool any = false;
  for (; !reports_.empty(); any = true) {
    const auto report = std::move(reports_.front());
    reports_.pop_front();
    end(report);
  }
  return any;
}

void gpu_mover::end(const copy_report& report) {
  const auto done = std::move(open_.extract(report.ticket).mapped());
  if (report.end == copy_end::whole)
    return done({});
  if (const auto why = engine_.broken())
    watch_.lost(*why);
  done(fail(explain(report.problem.value_or(error{errc::gpu_failed, "a kernel failed"}))));
}

void gpu_mover::abandon(const error& why) {
  while (!open_.empty())
    open_.extract(open_.begin()).mapped()(fail(why));
}

/// Nothing wakes a host thread when a kernel ends.
std::optional<microseconds> gpu_mover::nap(microseconds idle) const noexcept {
  if (open_.empty())
    return std::nullopt;
  return std::clamp(idle / 32, microseconds{10}, microseconds{50});
}

} // namespace baton
