// A GPU that fails in the middle of traffic: a kernel of the engine ruins the CUDA context of one
// rank, each rank being a process of its own. What both ranks do then is seen from outside.
#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <ostream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <fmt/format.h>

#include "messages/layout.hpp"
#include "tests/support/line_process.hpp"
#include "tests/support/needs_gpu.hpp"
#include "transport/seam/data_plane.hpp"

namespace baton {

static std::ostream& operator<<(std::ostream& out, lane_policy lane) {
  return out << (lane == lane_policy::mapped ? "mapped" : "ucx");
}
static std::ostream& operator<<(std::ostream& out, instance_role role) {
  return out << to_string(role);
}

namespace {

using namespace test;
using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
namespace data = boost::unit_test::data;

/// Of a request, and what it may end later.
constexpr auto deadline = 5s;
constexpr auto grace = 1s;
/// How long the GPU works before it fails, and how long a rank may take to notice.
constexpr auto delay = 400ms;
constexpr auto notice = 10s;
/// For an answer that a rank gives "at once"; it is asked through pipes, on a busy machine.
constexpr auto at_once = 1s;

constexpr std::uint32_t request_blocks = 64;
constexpr std::uint32_t gated = 4;  ///< requests that wait for the work that fails
constexpr std::uint32_t places = 8; ///< for requests at a time that wait for nothing

/// Requests of the traffic are numbered from here on.
constexpr std::uint64_t first_busy = 100;

std::uint32_t block_of(std::uint32_t place) {
  return (gated + place) * request_blocks;
}

unsigned byte_of(std::uint32_t place) {
  return 0x11 * (place + 1);
}

/// Not twice the same for one place of the destination in a row.
std::uint32_t source_of(std::uint64_t id) {
  return static_cast<std::uint32_t>((id + id / places) % places);
}

/// What a rank was heard to say of one request.
struct account {
  clock::time_point taken{};
  clock::time_point ended{}; ///< seen, not later than it was so
  std::string how{};         ///< "complete", or the error; "" while it goes on
};

bool names_cuda_error(const std::string& text) {
  return text.find("CUDA_ERROR_") != std::string::npos ||
         text.find("cudaError") != std::string::npos;
}

std::string brief(const std::string& text) {
  return text.substr(0, 300);
}

/// One rank, in a process of its own.
class rank_process {
public:
  rank_process(instance_role role, const std::string& instance, lane_policy lane)
      : role_{role},
        lines_{DOOMED_PEER,
               {std::string{to_string(role)}, instance,
                std::to_string(role == instance_role::context ? 0 : gpu_count() - 1),
                std::to_string(static_cast<int>(lane))}},
        endpoint_{lines_.read_line()} {
    BOOST_REQUIRE_MESSAGE(endpoint_.find(':') != std::string::npos && !failed(endpoint_),
                          "the " << role << " rank did not start: " << brief(endpoint_));
  }

  static bool failed(const std::string& answer) { return answer.starts_with("error: "); }

  /// The rank must have an answer, be it an error: its process lives.
  std::string ask(const std::string& line) {
    auto answer = lines_.ask(line);
    BOOST_REQUIRE_MESSAGE(!answer.empty(), "the " << role_ << " rank died or hangs at \"" << line
                                                  << "\", its standard error tells more");
    return answer;
  }

  /// Hands it a request. @returns its refusal, "" if it took it.
  std::string start(std::uint64_t id, const std::string& line) {
    const auto answer = ask(line);
    if (answer != "ok")
      return answer;
    requests[id].taken = clock::now();
    return "";
  }

  /// Hears what has ended.
  void listen() {
    const auto now = clock::now();
    auto answer = ask("ended");
    BOOST_REQUIRE_MESSAGE(!failed(answer), answer);
    if (answer == "none")
      return;
    constexpr std::string_view between = " | ";
    for (std::size_t at = 0; at < answer.size();) {
      const auto end = std::min(answer.find(between, at), answer.size());
      const auto one = answer.substr(at, end - at);
      const auto space = std::min(one.find(' '), one.size() - 1);
      auto& kept = requests[std::stoull(one)];
      BOOST_TEST(kept.how == "", "request " << one << " ended twice, first as " << kept.how);
      kept.how = one.substr(space + 1);
      kept.ended = now;
      at = end + between.size();
    }
  }

  [[nodiscard]] std::size_t open() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(requests, [](const auto& one) { return one.second.how.empty(); }));
  }

  /// "no", or why it is.
  std::string broken() { return ask("broken"); }
  void end() { lines_.await_end(); }
  [[nodiscard]] const std::string& endpoint() const noexcept { return endpoint_; }

  std::map<std::uint64_t, account> requests;

private:
  instance_role role_;
  line_process lines_;
  std::string endpoint_;
};

/// A context and a generation rank that hand requests over.
struct two_ranks {
  explicit two_ranks(lane_policy lane)
      : lanes{lane},
        context{std::make_unique<rank_process>(instance_role::context, "c1", lane)},
        generation{std::make_unique<rank_process>(instance_role::generation, "g1", lane)} {}

  rank_process& at(instance_role role) const {
    return role == instance_role::context ? *context : *generation;
  }

  /// Fills blocks of the context rank.
  void fill(std::uint32_t block, unsigned byte) const {
    const auto filled = context->ask(fmt::format("fill {} {} {}", block, request_blocks, byte));
    BOOST_REQUIRE_MESSAGE(filled == "ok", filled);
  }

  /// Gives a request to both. @returns the first refusal, "" if there was none.
  std::string hand_over(std::uint64_t id, std::uint32_t from, std::uint32_t to,
                        bool sends_after = false, bool receives_after = false) const {
    const auto limit = std::chrono::milliseconds{deadline}.count();
    if (auto refused = context->start(id, fmt::format("offer {} {} {} {} {}", id, from,
                                                      request_blocks, limit, sends_after ? 1 : 0));
        !refused.empty())
      return refused;
    return generation->start(id, fmt::format("receive {} {} {} {} {} {}", id, context->endpoint(),
                                             to, request_blocks, limit, receives_after ? 1 : 0));
  }

  void listen() const {
    context->listen();
    generation->listen();
  }

  /// Waits for the end of all that both have taken.
  void hear_out(std::chrono::milliseconds limit) const {
    const auto until = clock::now() + limit;
    for (listen(); context->open() + generation->open() > 0 && clock::now() < until; listen())
      std::this_thread::sleep_for(2ms);
  }

  /// "yes" or "no"; what a rank with a ruined context says tells nothing.
  std::string holds(std::uint32_t block, unsigned byte) const {
    return generation->ask(fmt::format("holds {} {} {}", block, request_blocks, byte));
  }

  lane_policy lanes;
  std::unique_ptr<rank_process> context;
  std::unique_ptr<rank_process> generation;
};

/// The case: which rank fails, and how.
struct failure_case {
  failure_case(lane_policy lane, instance_role hurt_side)
      : ranks{lane},
        hurt_role{hurt_side},
        hurt{ranks.at(hurt_side)},
        healthy{ranks.at(hurt_side == instance_role::context ? instance_role::generation
                                                             : instance_role::context)} {}

  void check_healthy_pair(std::uint64_t id) const {
    constexpr unsigned byte = 0x5a;
    ranks.fill(0, byte);
    const auto refused = ranks.hand_over(id, 0, 0);
    BOOST_REQUIRE_MESSAGE(refused.empty(), refused);
    ranks.hear_out(20s);
    for (const auto role : {instance_role::context, instance_role::generation})
      BOOST_REQUIRE_MESSAGE(ranks.at(role).requests[id].how == "complete",
                            "request " << id << " on the " << role
                                       << " rank: " << brief(ranks.at(role).requests[id].how));
    BOOST_TEST(ranks.holds(0, byte) == "yes");
  }

  /// Requests that cannot complete: they wait for the work that fails.
  void start_gated() const {
    const bool sends = hurt_role == instance_role::context;
    for (std::uint32_t i = 0; i < gated; ++i) {
      const auto block = i * request_blocks;
      const auto refused = ranks.hand_over(10 + i, block, block, sends, !sends);
      BOOST_REQUIRE_MESSAGE(refused.empty(), refused);
    }
  }

  /// Each place of the source has bytes of its own.
  void fill_places() const {
    for (std::uint32_t place = 0; place < places; ++place)
      ranks.fill(block_of(place), byte_of(place));
  }

  /// Requests one after the other in each place of the destination, until the rank notices.
  void keep_busy() {
    const auto until = clock::now() + delay + notice;
    while (why == "no" && clock::now() < until) {
      for (std::uint32_t place = 0; place < places && turn(place); ++place) {
      }
      ranks.listen();
      why = hurt.broken();
    }
    noticed = clock::now();
    fmt::print("  {} requests in traffic; the hurt rank says: {}\n", next - first_busy, brief(why));
  }

  /// Begins anew in a place where all has ended.
  ///
  /// @returns whether that was not refused.
  bool turn(std::uint32_t place) {
    if (const auto last = busy.find(place); last != busy.end()) {
      if (ranks.context->requests[last->second].how.empty() ||
          ranks.generation->requests[last->second].how.empty())
        return true;
      // To look takes much longer than to pull, and the GPU is to be busy.
      if (last->second % 8 == 0)
        look(last->second, place);
      busy.erase(last);
    }
    const auto id = next++;
    if (!ranks.hand_over(id, block_of(source_of(id)), block_of(place)).empty())
      return false;
    busy[place] = id;
    return true;
  }

  /// Looks at the bytes of a request, if it has completed, before its place is used again.
  void look(std::uint64_t id, std::uint32_t place) {
    if (ranks.generation->requests[id].how != "complete")
      return;
    const auto seen = ranks.holds(block_of(place), byte_of(source_of(id)));
    // A receiver whose context is ruined cannot look any more.
    const bool blind = hurt_role == instance_role::generation && rank_process::failed(seen);
    BOOST_TEST((seen == "yes" || blind), "request " << id << " completed, and its bytes: " << seen);
    checked += seen == "yes" ? 1 : 0;
  }

  void look_at_last() {
    for (const auto& [place, id] : busy)
      look(id, place);
    fmt::print("  the bytes of {} of them were looked at\n", checked);
  }

  void check_report() const {
    BOOST_REQUIRE_MESSAGE(why != "no",
                          "the hurt rank has noticed nothing for " << notice.count() << " s");
    for (const auto* part : {"gpu_failed", "works no more", "start the rank again"})
      BOOST_TEST(why.find(part) != std::string::npos, why);
    BOOST_TEST(names_cuda_error(why), why);
  }

  /// All that was taken has ended, on both sides and in time.
  void check_ends() const {
    ranks.hear_out(deadline + 3 * grace);
    check_ends(hurt, "hurt");
    check_ends(healthy, "healthy");
    for (std::uint32_t i = 0; i < gated; ++i)
      check_gated(10 + i);
  }

  static void check_ends(const rank_process& rank, const char* name) {
    std::map<std::string, std::pair<int, std::string>> kinds; // how many, and one of them
    for (const auto& [id, one] : rank.requests) {
      BOOST_TEST(!one.how.empty(), "request " << id << " has not ended on the " << name << " rank");
      if (one.how.empty())
        continue;
      const std::chrono::duration<double> took = one.ended - one.taken;
      BOOST_TEST((took <= deadline + grace),
                 "request " << id << " took " << took.count() << " s on the " << name << " rank");
      auto& [count, example] = kinds[one.how.substr(0, one.how.find(':'))];
      ++count;
      example = one.how;
    }
    for (const auto& [kind, seen] : kinds)
      fmt::print("  {}: {} times {}\n", name, seen.first, brief(seen.second));
  }

  void check_gated(std::uint64_t id) const {
    const auto& here = hurt.requests[id].how;
    const auto& there = healthy.requests[id].how;
    BOOST_TEST(here.starts_with("gpu_failed"), "request " << id << " on the hurt rank: " << here);
    BOOST_TEST(here.find("start") != std::string::npos, here);
    BOOST_TEST(names_cuda_error(here), here);
    BOOST_TEST((!there.empty() && there != "complete"),
               "request " << id << " on the healthy rank: " << there);
    // The hurt rank's own do not wait for their deadline once it knows.
    BOOST_TEST(
        (hurt.requests[id].ended <= noticed + grace),
        "request " << id << " outlived the report by "
                   << std::chrono::duration<double>{hurt.requests[id].ended - noticed}.count()
                   << " s");
  }

  void check_refusal() const {
    const auto begin = clock::now();
    const auto refused =
        hurt_role == instance_role::context
            ? hurt.start(900, fmt::format("offer 900 0 {} 3000 0", request_blocks))
            : hurt.start(900, fmt::format("receive 900 {} 0 {} 3000 0", ranks.context->endpoint(),
                                          request_blocks));
    BOOST_TEST((clock::now() - begin < at_once));
    for (const auto* part : {"gpu_failed", "has failed, start it again", "works no more"})
      BOOST_TEST(refused.find(part) != std::string::npos, "it says: " << refused);
  }

  /// A request of the healthy rank that needs the hurt one ends as well.
  void check_late_peer() const {
    const auto refused =
        hurt_role == instance_role::context
            ? healthy.start(901, fmt::format("receive 901 {} 0 {} 3000 0",
                                             ranks.context->endpoint(), request_blocks))
            : healthy.start(901, fmt::format("offer 901 0 {} 3000 0", request_blocks));
    BOOST_TEST(refused.empty(), refused);
    ranks.hear_out(3s + 2 * grace);
    const auto& one = healthy.requests[901];
    BOOST_TEST((!one.how.empty() && one.how != "complete"), "it ended as: " << one.how);
    BOOST_TEST((one.ended - one.taken <= 3s + grace));
    fmt::print("  a later request of the healthy rank: {}\n", brief(one.how));
  }

  static void check_nothing_left(rank_process& rank, const char* name) {
    const auto until = clock::now() + 5s;
    std::string left;
    do {
      left = rank.ask("counts");
    } while (left != "nothing" && clock::now() < until);
    BOOST_TEST(left == "nothing", "the " << name << " rank has left: " << left);
  }

  /// What the error tells to do helps: the rank is started again, in place of the hurt one.
  void check_restart() {
    auto fresh = std::make_unique<rank_process>(
        hurt_role, hurt_role == instance_role::context ? "c2" : "g2", ranks.lanes);
    (hurt_role == instance_role::context ? ranks.context : ranks.generation) = std::move(fresh);
    check_healthy_pair(2000);
  }

  two_ranks ranks;
  instance_role hurt_role;
  rank_process& hurt; ///< until it is replaced
  rank_process& healthy;
  std::string why = "no";
  clock::time_point noticed{};
  std::map<std::uint32_t, std::uint64_t> busy; ///< the last request of each place
  std::uint64_t next = first_busy;
  int checked = 0;
};

const std::vector<lane_policy> lanes{lane_policy::mapped, lane_policy::ucx};
const std::vector<instance_role> roles{instance_role::generation, instance_role::context};
const std::vector<std::string> kernels{"trap", "illegal"};

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_failures, *boost::unit_test::precondition(a_gpu))

BOOST_DATA_TEST_CASE(a_rank_whose_gpu_fails_reports_ends_all_it_has_and_takes_no_more,
                     data::make(lanes) * data::make(roles) * data::make(kernels), lane, role,
                     kernel) {
  std::ostringstream name;
  name << lane << " lane, the " << role << " rank, " << kernel;
  fmt::print("{}\n", name.str());
  failure_case one{lane, role};
  one.check_healthy_pair(1);
  one.fill_places();
  const auto poisoned =
      one.hurt.ask(fmt::format("poison {} {}", kernel, std::chrono::milliseconds{delay}.count()));
  BOOST_REQUIRE_MESSAGE(poisoned == "ok", poisoned);
  one.start_gated();
  one.keep_busy();
  one.check_report();
  one.check_ends();
  one.look_at_last();
  one.check_refusal();
  one.check_late_peer();
  one.check_nothing_left(one.hurt, "hurt");
  one.check_nothing_left(one.healthy, "healthy");

  const auto begin = clock::now();
  const auto left = one.hurt.ask("leave");
  BOOST_TEST(left == "ok", left);
  BOOST_TEST((clock::now() - begin < 15s));
  one.hurt.end();
  one.check_restart();
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
