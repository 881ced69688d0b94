// A rank of the ucx lane that speaks the protocol wrongly. It takes the words of `plane_peer`, says
// its incarnation and manifest first, and answers each line with one:
//
//     peer <life> <manifest>     connects to the other rank
//     ask <owner> <slot> <epoch> <group> <begin> <end> <bytes> <credits> <number>
//                                asks as a reader; answers "end <code> <text>", or with what came
//                                until nothing more did: "<chunks> chunks, <bytes> bytes"
//     flood <owner> <slot> <epoch> <end> <bytes> <count>
//                                asks so often, without a credit; answers how many were refused
//     noise <seed> <count>       sends messages of all kinds without sense
//     serve <how>                from now on cheats on whoever asks it: twice, long, displaced,
//                                unasked, done, code
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <sstream>

#include "examples/support/value_of.hpp"
#include "messages/manifest.hpp"
#include "tests/support/plane_process.hpp"
#include "transport/lane_selection.hpp"
#include "transport/ucx/endpoint.hpp"
#include "transport/ucx/messages.hpp"
#include "transport/ucx/version.hpp"

namespace {

using namespace baton;
using namespace baton::test;
using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;
using examples::value_of;

constexpr auto silence = 300ms;

class cheat final : public ucx_sink {
public:
  explicit cheat(const process_options& options)
      : context_{value_of(ucx_context::create(ucx_settings_of(options.plane)))},
        worker_{context_, *this} {
    if (auto opened = worker_.open(lane_messages); !opened)
      throw std::runtime_error{to_string(opened.error())};
    plane_manifest card;
    card.life = life_;
    card.boot_id = read_boot_id();
    card.socket = "baton-nobody";
    card.token.assign(manifest_limits::token_bytes, 't');
    card.ucx_version = ucx_version();
    card.ucx_address = value_of(worker_.address());
    card.chunk_bytes = options.plane.chunk_bytes;
    card.pools.resize(1);
    std::cout << life_.value << ' ' << to_hex(encode(card)) << std::endl;
  }

  void run() {
    // Reads lines on another thread's time: commands are short, and between them nothing is owed
    // but what `serve` asks for.
    std::string line;
    while (next_line(line)) {
      std::istringstream words{line};
      std::string verb;
      words >> verb;
      std::cout << answer(verb, words) << std::endl;
    }
  }

  void received(const ucx_message& message) noexcept override {
    last_ = clock_type::now();
    switch (static_cast<lane_message>(message.id)) {
    case lane_message::chunk:
      return take(message);
    case lane_message::end:
      return ended(message);
    case lane_message::pull:
      return asked(message);
    default:
      return;
    }
  }

private:
  /// Makes progress until there is a line to read.
  bool next_line(std::string& line) {
    pollfd input{STDIN_FILENO, POLLIN, 0};
    while (std::cin.rdbuf()->in_avail() <= 0 && poll(&input, 1, 1) == 0)
      while (worker_.progress()) {
      }
    return static_cast<bool>(std::getline(std::cin, line));
  }

  std::string answer(const std::string& verb, std::istringstream& words) {
    if (verb == "peer")
      return meet(words);
    if (verb == "ask")
      return ask(words);
    if (verb == "flood")
      return flood(words);
    if (verb == "noise")
      return noise(words);
    if (verb == "serve") {
      words >> how_;
      return "ok";
    }
    return "what?";
  }

  std::string meet(std::istringstream& words) {
    std::string manifest;
    words >> owner_ >> manifest;
    auto card = value_of(decode_manifest(from_hex(manifest)));
    endpoint_ = value_of(ucx_endpoint::connect(worker_, card.ucx_address, [](ucs_status_t) {}));
    return "ok";
  }

  void send(lane_message id, std::string_view head, std::string body) {
    endpoint_->send(static_cast<unsigned>(id), head, std::move(body));
  }

  /// Until the other side says an end, or nothing for a while.
  void listen() {
    last_ = clock_type::now();
    while (end_.empty() && clock_type::now() < last_ + silence)
      worker_.progress();
  }

  std::string ask(std::istringstream& words) {
    lane_pull call;
    group_range range;
    words >> call.right.owner.value >> call.right.slot >> call.right.epoch >> range.group >>
        range.tokens.begin >> range.tokens.end >> call.bytes >> call.credits >> call.number;
    call.reader = life_;
    call.ranges = {range};
    call.link = 1;
    end_.clear();
    chunks_ = bytes_ = 0;
    send(lane_message::pull, {}, encode(call));
    listen();
    return end_.empty() || bytes_ > 0 ? fmt::format("{} chunks, {} bytes", chunks_, bytes_) : end_;
  }

  std::string flood(std::istringstream& words) {
    lane_pull call;
    group_range range{"full", {}, {}};
    std::size_t count = 0;
    words >> call.right.owner.value >> call.right.slot >> call.right.epoch >> range.tokens.end >>
        call.bytes >> count;
    call.reader = life_;
    call.ranges = {range};
    call.link = 1;
    ends_ = 0;
    for (std::size_t i = 0; i < count; ++i) {
      call.number = random_number();
      send(lane_message::pull, {}, encode(call));
      worker_.progress();
    }
    for (last_ = clock_type::now(); clock_type::now() < last_ + silence;)
      worker_.progress();
    return fmt::format("{} refused: {}", ends_, end_);
  }

  std::string noise(std::istringstream& words) {
    std::uint64_t seed = 0;
    std::size_t count = 0;
    words >> seed >> count;
    std::mt19937_64 random{seed};
    for (std::size_t i = 0; i < count; ++i) {
      std::string head(random() % 3 == 0 ? random() % 64 : 8 * (random() % 5), '\0');
      for (auto& byte : head)
        byte = static_cast<char>(random());
      // So that it is about somebody, at times.
      const auto who = random() % 2 == 0 ? life_.value : owner_;
      if (head.size() >= sizeof who && random() % 2 == 0)
        std::memcpy(head.data(), &who, sizeof who);
      // Some are long enough for a rendezvous.
      std::string body(random() % 64 == 0 ? random() % (2u << 20) : random() % 300, '\0');
      for (std::size_t at = 0; at < std::min<std::size_t>(body.size(), 300); ++at)
        body[at] = static_cast<char>(random());
      send(
          static_cast<lane_message>(random() % 500 == 0 ? lane_messages : random() % lane_messages),
          head, std::move(body));
      worker_.progress();
    }
    for (last_ = clock_type::now(); clock_type::now() < last_ + silence;)
      worker_.progress();
    return "ok";
  }

  void take(const ucx_message& message) {
    ++chunks_;
    bytes_ += message.body_bytes;
    if (!message.rendezvous)
      return;
    auto room = std::make_shared<std::vector<std::byte>>(message.body_bytes);
    worker_.receive(message, room->data(),
                    [this, room](ucs_status_t) { last_ = clock_type::now(); });
  }

  void ended(const ucx_message& message) {
    const auto head = read_head<pull_head>(message.header);
    const std::string_view text{reinterpret_cast<const char*>(message.body),
                                message.rendezvous ? 0 : message.body_bytes};
    end_ = fmt::format("end {} {}", head ? head->value : 0, text);
    ++ends_;
  }

  /// Answers a pull as `how_` says, with chunks that do not belong there.
  void asked(const ucx_message& message) {
    const auto bytes = message.bytes();
    const auto call = decode_lane_pull({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    if (!call || message.rendezvous || how_.empty())
      return;
    const auto first = std::min<std::uint64_t>(call->bytes, 4096);
    chunk_head head{call->reader.value, call->number, 0, 0};
    const auto chunk = [&](std::size_t size) {
      send(lane_message::chunk, head_bytes(head), std::string(size, '!'));
    };
    if (how_ == "twice") {
      chunk(first);
      chunk(first);
    } else if (how_ == "long") {
      chunk(first + 1);
    } else if (how_ == "displaced") {
      head.offset = ~0ull;
      chunk(first);
    } else if (how_ == "unasked") {
      for (std::uint64_t at = 0; at < call->bytes; at += first) {
        chunk(first);
        ++head.index;
        head.offset += first;
      }
    } else {
      const pull_head end{call->reader.value, call->number, how_ == "code" ? ~0ull : 0};
      send(lane_message::end, head_bytes(end), std::string(100'000, 'z'));
    }
  }

  incarnation life_ = random_id<incarnation>();
  std::uint64_t owner_ = 0;
  ucx_context context_;
  ucx_worker worker_;
  std::unique_ptr<ucx_endpoint> endpoint_;
  std::string how_;
  clock_type::time_point last_;
  std::string end_;
  std::size_t ends_ = 0;
  std::size_t chunks_ = 0;
  std::size_t bytes_ = 0;
};

} // namespace

int main(int count, char** arguments) {
  cheat{parse_options({arguments + 1, arguments + count})}.run();
}
