#pragma once

#include <boost/test/unit_test.hpp>
#include <fmt/format.h>

#include "gpu/device.hpp"

namespace baton::test {

/// Precondition of tests that need a GPU. Says so on standard output where there is none: by that
/// CTest and tests/gpu-run tell skipped from passed.
inline boost::test_tools::assertion_result a_gpu(boost::unit_test::test_unit_id /*id*/) {
  if (gpu_count() == 0)
    fmt::print("skipped: no GPU\n");
  return gpu_count() > 0;
}

} // namespace baton::test
