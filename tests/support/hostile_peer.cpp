// An instance of one rank that speaks the protocol wrongly. Words:
//
//     <context|generation> <instance>
//
// It says its endpoint first, and answers each line with one:
//
//     introduce <endpoint> <how>   knocks at a rank's door; "ok", or the refusal. How: fine,
//     version,
//                                  garbage, bomb, role, rank, model, manifest, life, nobody
//     pull <id> <how>              asks for a request; the answer. How: fine, digest, rank,
//                                  receivers, tails, bomb, garbage
//     done <id> <times>            acknowledges its last grant so often
//     undo <id> <times>            says so often that it failed and is cancelled
//     meddle <id> <seed> <count>   sends messages about a request of others
//     noise <seed> <count>         sends bytes without sense
//     knock <endpoint> <count>     asks and votes at a directory, in ways that make no sense
//     cheat <how>                  context: from now on answers questions so. How: true, foreign,
//                                  fewer, range, group, lease, request, slices, nothing, ucx
//     connects <port> <count> <hex> opens so many connections, says this on each, and holds them
//     hang up                      closes them
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <condition_variable>
#include <deque>
#include <iostream>
#include <mutex>
#include <random>
#include <sstream>

#include <caf/all.hpp>
#include <caf/io/all.hpp>

#include "actors/actors.hpp"
#include "actors/caf_error.hpp"
#include "actors/connect.hpp"
#include "examples/support/value_of.hpp"
#include "messages/manifest.hpp"
#include "tests/support/fleet.hpp"
#include "tests/support/plane_process.hpp"

namespace {

using namespace baton;
using namespace baton::test;
using namespace std::chrono_literals;
using examples::value_of;

constexpr session_key granting{1};

class liar {
public:
  liar(instance_role role, const std::string& instance) : layout_{fleet_layout(role, instance)} {
    layout_.life = random_id<incarnation>();
    std::vector<host_pool> pools;
    pools.push_back(value_of(host_pool::create(layout_.pools[0].bytes())));
    plane_ = value_of(rank_plane::create(layout_.life, layout_, std::move(pools)));
    mouth_ = system_.spawn([this](link_actor::pointer) { return link(); });
    door_ = system_.spawn([this](door_actor::pointer) { return door(); });
    const auto port = system_.middleman().publish(door_, 0, "127.0.0.1");
    if (!port)
      throw std::runtime_error{"no port"};
    port_ = *port;
    manifest_ = plane_->manifest();
  }
  ~liar() {
    caf::anon_send_exit(door_, caf::exit_reason::kill);
    caf::anon_send_exit(mouth_, caf::exit_reason::kill);
  }

  void run() {
    std::cout << "127.0.0.1:" << port_ << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
      std::istringstream words{line};
      std::string verb;
      words >> verb;
      std::cout << answer(verb, words) << std::endl;
    }
  }

private:
  std::string answer(const std::string& verb, std::istringstream& words) {
    if (verb == "introduce")
      return introduce(words);
    if (verb == "pull")
      return pull(words);
    if (verb == "done")
      return done(words);
    if (verb == "undo")
      return undo(words);
    if (verb == "meddle")
      return meddle(words);
    if (verb == "noise")
      return noise(words);
    if (verb == "knock")
      return knock(words);
    if (verb == "cheat") {
      const std::lock_guard lock{mutex_};
      words >> how_;
      return "ok";
    }
    if (verb == "connects")
      return connects(words);
    if (verb == "hang") {
      connections_.clear();
      return "ok";
    }
    return "what?";
  }

  // -- what others hear

  [[nodiscard]] rank_info self() { return {layout_, "127.0.0.1", port_, manifest_of_mode()}; }
  [[nodiscard]] instance_info instance() { return {{self()}}; }

  [[nodiscard]] std::string manifest_of_mode() {
    const std::lock_guard lock{mutex_};
    if (how_ != "ucx")
      return manifest_;
    auto other = value_of(decode_manifest(manifest_));
    other.ucx_version = "9.9.9";
    return encode(other);
  }

  [[nodiscard]] introduction intro_of(const rank_info& rank) const {
    return {protocol_version,
            plane_->version(),
            rank,
            digest({&rank.layout, 1}),
            encode(instance_info{{rank}}),
            false};
  }
  [[nodiscard]] introduction intro() { return intro_of(self()); }

  link_actor::behavior_type link() {
    return {
        [this](atom::deliver, const std::string& bytes) { deliver(bytes); },
        [this](atom::start) -> caf::result<std::string, caf::strong_actor_ptr> {
          return {encode(intro()), caf::actor_cast<caf::strong_actor_ptr>(mouth_)};
        },
        [](atom::ready) {},
        [](atom::pull) {},
        [](atom::ready, expected<lane_choice>&) {},
        [](atom::retry) {},
    };
  }

  door_actor::behavior_type door() {
    return {
        [this](atom::who) { return layout_.life.value; },
        [this](atom::introduce, const std::string& bytes, const caf::strong_actor_ptr& remote)
            -> caf::result<std::string, caf::strong_actor_ptr> {
          if (const auto theirs = decode_introduction(bytes))
            reader_ = theirs->self.layout.life;
          remote_ = caf::actor_cast<link_actor>(remote);
          return {encode(intro()), caf::actor_cast<caf::strong_actor_ptr>(mouth_)};
        },
        [](atom::enlist, const std::string&) {},
        [this](atom::describe) { return encode(instance()); },
        [](atom::agree, const std::string&) {},
        [](atom::collect, std::uint32_t, std::uint64_t, std::uint64_t) { return std::string{}; },
    };
  }

  void deliver(const std::string& bytes) {
    auto message = decode_message(bytes);
    if (!message)
      return;
    const std::lock_guard lock{mutex_};
    if (const auto* call = std::get_if<pull_request>(&*message))
      cheat_on(*call);
    inbox_.push_back(std::move(*message));
    arrived_.notify_all();
  }

  std::optional<wire_message> next(request_id about) {
    std::unique_lock lock{mutex_};
    const auto until = std::chrono::steady_clock::now() + 2s;
    for (;;) {
      while (!inbox_.empty()) {
        auto message = std::move(inbox_.front());
        inbox_.pop_front();
        if (request_of(message) == about)
          return message;
      }
      if (arrived_.wait_until(lock, until) == std::cv_status::timeout && inbox_.empty())
        return std::nullopt;
    }
  }

  void say(const wire_message& message) const { say(encode(message)); }
  void say(std::string bytes) const { caf::anon_send(remote_, atom::deliver_v, std::move(bytes)); }

  // -- as a generation rank

  caf::expected<door_actor> reach(const std::string& endpoint) {
    const auto where = value_of(split_endpoint(endpoint));
    return system_.middleman().remote_actor<door_actor>(where.first, where.second);
  }

  std::string introduce(std::istringstream& words) {
    std::string endpoint;
    std::string how;
    words >> endpoint >> how;
    const auto there = reach(endpoint);
    if (!there)
      return "nobody there";
    caf::scoped_actor self{system_};
    std::string result = "silence";
    auto mouth = caf::actor_cast<caf::strong_actor_ptr>(mouth_);
    if (how == "nobody")
      mouth = nullptr;
    self->request(*there, 10s, atom::introduce_v, bent(how), mouth)
        .receive(
            [&](const std::string& bytes, const caf::strong_actor_ptr& end) {
              remote_ = caf::actor_cast<link_actor>(end);
              const auto theirs = decode_introduction(bytes);
              result = theirs ? "ok" : to_string(theirs.error());
            },
            [&](caf::error& err) { result = to_string(from_caf(err, "refused")); });
    return result;
  }

  std::string bent(const std::string& how) {
    auto rank = self();
    if (how == "garbage")
      return std::string(1000, '\xff');
    if (how == "role" || how == "blocks" || how == "blocks_model")
      rank.layout.role = instance_role::context;
    if (how == "blocks_model")
      rank.layout.model += "?";
    else if (how == "rank")
      rank.layout.rank = 7;
    else if (how == "model")
      rank.layout.model += "?";
    else if (how == "manifest")
      rank.manifest = "none";
    else if (how == "life")
      rank.layout.life = random_id<incarnation>();
    auto words = intro_of(rank);
    words.for_blocks = how == "blocks" || how == "blocks_model";
    if (how == "version")
      words.version = protocol_version + 1;
    else if (how == "bomb") {
      words.digest += 1; // of no known instance
      words.instance = bomb();
    }
    return encode(words);
  }

  /// An instance of millions of ranks, two bytes each.
  static std::string bomb() {
    std::string out;
    for (std::size_t i = 0; i < (8u << 20); ++i)
      out += std::string_view{"\x12\x00", 2};
    return out;
  }

  pull_request question(request_id id) {
    pull_request call;
    call.request = id;
    call.pull = random_id<pull_id>();
    const std::vector<rank_layout> layouts{layout_};
    call.layout_digest = digest(layouts);
    call.receivers = 1;
    call.wants = {{"full", {0, 32}}};
    call.remaining = 5s;
    return call;
  }

  std::string pull(std::istringstream& words) {
    std::uint64_t id = 0;
    std::string how;
    words >> id >> how;
    auto call = question(request_id{id});
    if (how == "digest")
      call.layout_digest ^= 1;
    else if (how == "rank")
      call.receiver_rank = 3;
    else if (how == "receivers")
      call.receivers = 4000;
    else if (how == "tails")
      call.wants[0].tails = {8, 16};
    if (how == "garbage")
      say(std::string(100, '\xee'));
    else if (how == "bomb")
      say(std::string(1u << 20, '\x32'));
    else
      say(call);
    const auto answer = next(request_id{id});
    if (!answer)
      return "silence";
    if (const auto* refusal = std::get_if<cancel_notice>(&*answer))
      return to_string(refusal->reason);
    if (const auto* grant = std::get_if<slice_grant>(&*answer)) {
      last_ = *grant;
      return fmt::format("granted {} blocks", grant->blocks.at(0).blocks.size());
    }
    return "something else";
  }

  std::string done(std::istringstream& words) {
    std::uint64_t id = 0;
    std::size_t times = 0;
    words >> id >> times;
    for (std::size_t i = 0; i < times; ++i)
      say(slice_done{request_id{id}, last_.pull, last_.offer, last_.slice});
    return "ok";
  }

  std::string undo(std::istringstream& words) {
    std::uint64_t id = 0;
    std::size_t times = 0;
    words >> id >> times;
    for (std::size_t i = 0; i < times; ++i) {
      say(slice_failed{
          request_id{id}, last_.pull, last_.offer, last_.slice, {errc::lease_revoked, "again"}});
      say(cancel_notice{request_id{id}, last_.pull, {errc::cancelled, "again"}});
    }
    return "ok";
  }

  /// All that can be said of a request without the numbers that only its own ranks know.
  std::string meddle(std::istringstream& words) {
    std::uint64_t id = 0;
    std::uint64_t seed = 0;
    std::size_t count = 0;
    words >> id >> seed >> count;
    std::mt19937_64 random{seed};
    const request_id request{id};
    for (std::size_t i = 0; i < count; ++i) {
      const pull_id guess{random()};
      const offer_id offer{random()};
      const auto slice = static_cast<std::uint32_t>(random() % 3);
      say(slice_done{request, guess, offer, slice});
      say(slice_failed{request, guess, offer, slice, {errc::transport_failed, "meddling"}});
      say(cancel_notice{request, guess, {errc::cancelled, "meddling"}});
      slice_grant grant;
      grant.request = request;
      grant.pull = guess;
      grant.right = {layout_.life, slice, 1};
      say(grant);
    }
    return "ok";
  }

  std::string noise(std::istringstream& words) {
    std::uint64_t seed = 0;
    std::size_t count = 0;
    words >> seed >> count;
    std::mt19937_64 random{seed};
    const auto valid = encode(wire_message{question(request_id{1})});
    for (std::size_t i = 0; i < count; ++i) {
      auto bytes = valid;
      for (auto flips = 1 + random() % 4; flips > 0; --flips)
        bytes[random() % bytes.size()] = static_cast<char>(random());
      bytes.resize(random() % 8 == 0 ? random() % bytes.size() : bytes.size());
      say(std::move(bytes));
    }
    return "ok";
  }

  std::string knock(std::istringstream& words) {
    std::string endpoint;
    std::size_t count = 0;
    words >> endpoint >> count;
    const auto there = reach(endpoint);
    if (!there)
      return "nobody there";
    caf::scoped_actor self{system_};
    std::string last;
    const auto ask = [&](std::string bytes) {
      self->request(*there, 10s, atom::enlist_v, std::move(bytes))
          .receive([&] { last = "enlisted"; },
                   [&](caf::error& err) { last = to_string(from_caf(err, "refused")); });
    };
    for (std::size_t i = 0; i < count; ++i) {
      ask(std::string(100, '\xff'));
      ask(encode(instance().ranks[0])); // of another instance
      self->send(*there, atom::agree_v, std::string(100, '\xff'));
      agreement_vote vote;
      vote.life = layout_.life;
      self->send(*there, atom::agree_v, encode(vote));
    }
    return last;
  }

  // -- as a context rank

  void cheat_on(const pull_request& call) {
    slice_grant grant;
    grant.request = call.request;
    grant.pull = call.pull;
    grant.offer = offer_id{7};
    grant.last = true;
    grant.ranges = call.wants;
    grant.blocks = {{"full", 0, {0, 1, 2, 3, 4, 5, 6, 7}}};
    const auto right = plane_->grant(granting, {reader_, grant.ranges, grant.blocks});
    if (right)
      grant.right = *right;
    int times = 1;
    if (how_ == "true")
      times = 5;
    else if (how_ == "foreign")
      grant.blocks[0].blocks.assign(8, 1u << 30);
    else if (how_ == "fewer")
      grant.blocks[0].blocks.resize(1);
    else if (how_ == "range")
      grant.ranges[0].tokens = {0, 4096};
    else if (how_ == "group")
      grant.ranges[0].group = grant.blocks[0].group = "other";
    else if (how_ == "lease")
      grant.right.owner = reader_;
    else if (how_ == "request")
      grant.request = request_id{call.request.value + 1'000'000};
    else if (how_ == "slices")
      return many_slices(grant);
    else
      return;
    for (; times > 0; --times)
      say(grant);
  }

  void many_slices(slice_grant grant) const {
    grant.last = false;
    grant.ranges[0].tokens = {0, 4};
    grant.blocks[0].blocks.resize(1);
    for (grant.slice = 0; grant.slice < 2000; ++grant.slice)
      say(grant);
  }

  // -- below all of it

  std::string connects(std::istringstream& words) {
    std::uint16_t port = 0;
    std::size_t count = 0;
    std::string hex;
    words >> port >> count >> hex;
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const auto bytes = from_hex(hex);
    for (std::size_t i = 0; i < count; ++i) {
      unique_fd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
      if (!socket)
        return fmt::format("{} connections", connections_.size());
      static_cast<void>(
          ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address));
      static_cast<void>(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
      connections_.push_back(std::move(socket));
    }
    return fmt::format("{} connections", connections_.size());
  }

  rank_layout layout_;
  std::shared_ptr<rank_plane> plane_;
  actor_config config_;
  caf::actor_system system_{config_};
  link_actor mouth_;
  door_actor door_;
  std::uint16_t port_ = 0;
  std::string manifest_;
  link_actor remote_;
  incarnation reader_;
  slice_grant last_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::string how_;
  std::deque<wire_message> inbox_;
  std::vector<unique_fd> connections_;
};

} // namespace

int main(int, char** arguments) {
  const auto role =
      arguments[1] == std::string{"context"} ? instance_role::context : instance_role::generation;
  liar{role, arguments[2]}.run();
}
