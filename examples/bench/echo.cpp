#include "examples/bench/echo.hpp"

#include <chrono>
#include <future>
#include <memory>
#include <stdexcept>

#include <caf/all.hpp>

#include "examples/bench/statistics.hpp"

namespace baton::bench {

namespace {

constexpr std::chrono::seconds patience{5};

[[noreturn]] void give_up() {
  throw std::runtime_error{"an echo did not come back"};
}

/// What an actor measures, and to whom it tells.
struct pinger {
  caf::actor echo;
  std::string text;
  std::size_t left = 0;
  std::vector<double> us;
  std::promise<std::vector<double>> done;
};

void ping_on(caf::event_based_actor* self, const std::shared_ptr<pinger>& state) {
  if (state->left-- == 0) {
    state->done.set_value(std::move(state->us));
    self->quit();
    return;
  }
  self->request(state->echo, patience, state->text)
      .then(
          [self, state, watch = stopwatch{}](const std::string&) {
            state->us.push_back(watch.microseconds());
            ping_on(self, state);
          },
          [self, state](const caf::error&) {
            state->done.set_value({});
            self->quit();
          });
}

} // namespace

caf::actor spawn_echo(caf::actor_system& system) {
  return system.spawn(
      []() -> caf::behavior { return {[](std::string& text) { return std::move(text); }}; });
}

std::vector<double> ping_blocking(caf::actor_system& system, const caf::actor& echo,
                                  std::size_t count, std::size_t bytes) {
  const std::string text(bytes, 'x');
  std::vector<double> us;
  caf::scoped_actor self{system};
  while (us.size() < count) {
    const stopwatch watch;
    self->request(echo, patience, text)
        .receive([&](const std::string&) { us.push_back(watch.microseconds()); },
                 [](const caf::error&) { give_up(); });
  }
  return us;
}

std::vector<double> ping_with_events(caf::actor_system& system, const caf::actor& echo,
                                     std::size_t count, std::size_t bytes) {
  auto state = std::make_shared<pinger>();
  state->echo = echo;
  state->text.assign(bytes, 'x');
  state->left = count;
  auto done = state->done.get_future();
  system.spawn([state](caf::event_based_actor* self) { ping_on(self, state); });
  auto us = done.get();
  if (us.empty())
    give_up();
  return us;
}

} // namespace baton::bench
