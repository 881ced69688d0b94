#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <string>

#include "tests/support/topologies.hpp"

using namespace baton::test;

namespace {

const std::array<std::string, 4> workflows{"ctx_first", "ctx_first_sync", "gen_first1",
                                           "gen_first2"};
const std::array<std::string, 2> lanes{"mapped", "ucx"};

} // namespace

BOOST_AUTO_TEST_SUITE(topologies_test)

BOOST_DATA_TEST_CASE(every_byte_arrives,
                     boost::unit_test::data::make(topologies()) *
                         boost::unit_test::data::make(workflows) *
                         boost::unit_test::data::make(lanes),
                     shape, workflow, lane) {
  check_all_arrived(handoff_run{scenario_of(shape, workflow, lane), "--quiet"});
}

BOOST_DATA_TEST_CASE(every_byte_arrives_over_tcp,
                     boost::unit_test::data::make({topologies()[4], topologies()[12]}), shape) {
  check_all_arrived(handoff_run{scenario_of(shape, "ctx_first_sync", "ucx"),
                                "--quiet --tcp lo --ucx-tls tcp,self"});
}

BOOST_AUTO_TEST_SUITE_END()
