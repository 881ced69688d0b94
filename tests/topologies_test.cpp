#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <ostream>
#include <string>
#include <vector>

#include "tests/support/topologies.hpp"

using namespace baton::test;

namespace {

struct matrix_case {
  topology shape;
  std::string workflow;
  std::string lane;

  friend std::ostream& operator<<(std::ostream& out, const matrix_case& one) {
    return out << one.shape << ' ' << one.workflow << ' ' << one.lane;
  }
};

/// Under ASan, which makes runs slow, each shape and workflow takes one lane, in turn.
#ifdef __SANITIZE_ADDRESS__
constexpr bool both_lanes = false;
#else
constexpr bool both_lanes = true;
#endif

std::vector<matrix_case> matrix() {
  std::vector<matrix_case> all;
  bool turn_of_ucx = false;
  for (const auto& shape : topologies()) {
    for (const char* workflow : {"ctx_first", "ctx_first_sync", "gen_first1", "gen_first2"}) {
      if (both_lanes || !turn_of_ucx)
        all.push_back({shape, workflow, "mapped"});
      if (both_lanes || turn_of_ucx)
        all.push_back({shape, workflow, "ucx"});
      turn_of_ucx = !turn_of_ucx;
    }
    turn_of_ucx = !turn_of_ucx; // the next shape has the other lanes
  }
  return all;
}

} // namespace

BOOST_AUTO_TEST_SUITE(topologies_test)

BOOST_DATA_TEST_CASE(every_byte_arrives, boost::unit_test::data::make(matrix()), one) {
  check_all_arrived(handoff_run{scenario_of(one.shape, one.workflow, one.lane), "--quiet"});
}

BOOST_DATA_TEST_CASE(every_byte_arrives_over_tcp,
                     boost::unit_test::data::make({topologies()[4], topologies()[12]}), shape) {
  check_all_arrived(handoff_run{scenario_of(shape, "ctx_first_sync", "ucx"),
                                "--quiet --tcp lo --ucx-tls tcp,self"});
}

BOOST_AUTO_TEST_SUITE_END()
