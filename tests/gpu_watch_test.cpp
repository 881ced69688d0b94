#include <ostream>
#include <vector>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "transport/base/gpu_watch.hpp"

/// Which errors are those of one job, and which are the end of a GPU.
namespace baton {

static std::ostream& operator<<(std::ostream& out, errc code) {
  return out << to_string(code);
}

namespace {

namespace data = boost::unit_test::data;

constexpr int device = 3;

/// A GPU that answers as the test says.
struct made_up_gpu {
  expected<> answer;
  int looks = 0;
  gpu_watch watch{[this](int asked) {
    BOOST_TEST(asked == device);
    ++looks;
    return answer;
  }};
};

const error illegal{errc::gpu_failed,
                    "a kernel: an illegal memory access was encountered (cudaErrorIllegalAddress)"};
const error lost{errc::gpu_failed, "cudaEventCreateWithFlags: ... (cudaErrorLaunchFailure)"};

const std::vector<errc> signs{errc::gpu_failed, errc::transport_failed, errc::peer_lost,
                              errc::timed_out, errc::cancelled};
const std::vector<errc> others{errc::out_of_resources, errc::invalid_argument, errc::lease_revoked};

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_watches)

BOOST_DATA_TEST_CASE(an_error_of_a_gpu_that_goes_on_is_that_of_one_job, data::make(signs)) {
  made_up_gpu gpu;
  gpu.watch.begin(device);
  const error why{sample, "cudaMemcpyAsync: invalid argument (cudaErrorInvalidValue)"};
  BOOST_TEST((gpu.watch.judge(why) == why));
  BOOST_TEST(gpu.looks == 1);
  BOOST_TEST(!gpu.watch.failure());
}

BOOST_DATA_TEST_CASE(whatever_a_dead_gpu_looks_like_its_own_error_is_told, data::make(signs)) {
  made_up_gpu gpu;
  gpu.watch.begin(device);
  gpu.answer = fail(lost);
  const auto told = gpu.watch.judge({sample, sample == errc::gpu_failed ? illegal.text : "a hint"});
  BOOST_TEST((told.code == errc::gpu_failed));
  const auto* name = sample == errc::gpu_failed ? "cudaErrorIllegalAddress" : "cudaErrorLaunchFail";
  for (const auto* part : {"GPU 3", "start the rank again", name})
    BOOST_TEST(told.text.find(part) != std::string::npos, told.text);
  BOOST_TEST((gpu.watch.failure() == std::optional{told}));
}

BOOST_DATA_TEST_CASE(what_a_gpu_cannot_cause_does_not_make_anybody_look, data::make(others)) {
  made_up_gpu gpu;
  gpu.watch.begin(device);
  gpu.answer = fail(lost);
  const error why{sample, "cudaMalloc: out of memory (cudaErrorMemoryAllocation)"};
  BOOST_TEST((gpu.watch.judge(why) == why));
  BOOST_TEST(gpu.looks == 0);
  BOOST_TEST(!gpu.watch.failure());
}

BOOST_AUTO_TEST_CASE(a_gpu_that_has_no_memory_left_is_not_dead) {
  made_up_gpu gpu;
  gpu.watch.begin(device);
  gpu.answer = fail(errc::out_of_resources, "cudaEventCreateWithFlags: out of memory");
  BOOST_TEST((gpu.watch.judge(illegal) == illegal));
  BOOST_TEST(!gpu.watch.failure());
}

BOOST_AUTO_TEST_CASE(a_gpu_that_nobody_has_used_is_not_asked) {
  made_up_gpu gpu;
  gpu.answer = fail(lost);
  BOOST_TEST((gpu.watch.judge(illegal) == illegal));
  BOOST_TEST(gpu.looks == 0);
  BOOST_TEST(!gpu.watch.failure());
}

BOOST_AUTO_TEST_CASE(the_first_sign_stays_and_nobody_looks_again) {
  made_up_gpu gpu;
  gpu.watch.begin(device);
  gpu.answer = fail(lost);
  const auto first = gpu.watch.judge(illegal);
  gpu.answer = {};
  BOOST_TEST((gpu.watch.judge(lost) == first));
  BOOST_TEST((gpu.watch.lost(lost) == first));
  BOOST_TEST(gpu.looks == 1);
}

BOOST_AUTO_TEST_CASE(what_is_beyond_doubt_needs_no_look) {
  made_up_gpu gpu;
  gpu.watch.begin(device);
  const auto told = gpu.watch.lost(illegal);
  BOOST_TEST(told.text.find("cudaErrorIllegalAddress") != std::string::npos, told.text);
  BOOST_TEST((gpu.watch.failure() == std::optional{told}));
  BOOST_TEST(gpu.looks == 0);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
