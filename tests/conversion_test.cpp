// The rules of conversion against an oracle that looks for the nearest of all numbers of a type.
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "messages/conversion.hpp"
#include "tests/support/conversions.hpp"
#include "tests/support/layouts.hpp"
#include "transport/base/convert.hpp"

namespace baton {

namespace {

using test::by_the_rules;

constexpr element_type fp32 = element_type::fp32;
constexpr element_type bf16 = element_type::bf16;
constexpr element_type fp16 = element_type::fp16;
constexpr element_type fp8 = element_type::fp8_e4m3;

/// A type as its definition has it.
struct format {
  int exponent_bits;
  int mantissa_bits;
  bool infinities;

  [[nodiscard]] int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  [[nodiscard]] std::uint32_t sign() const { return 1u << (exponent_bits + mantissa_bits); }
  /// The first encoding that is no finite number.
  [[nodiscard]] std::uint32_t finite_end() const {
    return infinities ? ((1u << exponent_bits) - 1) << mantissa_bits : sign() - 1;
  }
  /// Of an encoding without sign, below `finite_end`.
  [[nodiscard]] double value(std::uint32_t bits) const {
    const auto exponent = static_cast<int>(bits >> mantissa_bits);
    const auto mantissa = bits & ((1u << mantissa_bits) - 1);
    const int scale = std::max(exponent, 1) - bias() - mantissa_bits;
    return std::ldexp(mantissa + (exponent == 0 ? 0.0 : std::ldexp(1.0, mantissa_bits)), scale);
  }
};

format format_of(element_type type) {
  if (type == fp32)
    return {8, 23, true};
  if (type == bf16)
    return {8, 7, true};
  return type == fp16 ? format{5, 10, true} : format{4, 3, false};
}

/// The number that an encoding stands for; NaN and infinities included.
double value_of(element_type type, std::uint32_t bits) {
  const auto form = format_of(type);
  const auto magnitude = bits & (form.sign() - 1);
  double value = std::numeric_limits<double>::quiet_NaN();
  if (magnitude < form.finite_end())
    value = form.value(magnitude);
  else if (form.infinities && magnitude == form.finite_end())
    value = std::numeric_limits<double>::infinity();
  return (bits & form.sign()) != 0 ? -value : value;
}

/// Rounds by looking for the nearest of all numbers of a type with 16 bits or less.
class rounding {
public:
  explicit rounding(element_type type) : form_{format_of(type)} {
    for (std::uint32_t bits = 0; bits < form_.finite_end(); ++bits)
      values_.push_back(form_.value(bits));
  }

  [[nodiscard]] std::uint32_t operator()(double number) const {
    if (std::isnan(number))
      return form_.sign() - 1;
    const auto sign = std::signbit(number) ? form_.sign() : 0;
    return nearest(std::abs(number)) | sign;
  }

private:
  [[nodiscard]] std::uint32_t nearest(double number) const {
    const auto above = std::ranges::lower_bound(values_, number);
    const auto index = static_cast<std::uint32_t>(above - values_.begin());
    if (above == values_.end()) {
      const auto half = (values_.back() - values_[values_.size() - 2]) / 2;
      return form_.infinities && number >= values_.back() + half ? index : index - 1;
    }
    if (*above == number)
      return index;
    const auto to_above = *above - number;
    const auto to_below = number - values_[index - 1];
    if (to_above == to_below)
      return index % 2 == 0 ? index : index - 1;
    return to_above < to_below ? index : index - 1;
  }

  format form_;
  std::vector<double> values_;
};

std::uint32_t bits_of(float value) {
  return std::bit_cast<std::uint32_t>(value);
}

/// What a conversion must give.
class oracle {
public:
  explicit oracle(element_type to) : to_{to}, round_{to == fp32 ? bf16 : to} {}

  [[nodiscard]] std::uint32_t operator()(element_type from, std::uint32_t element,
                                         float factor) const {
    auto value = value_of(from, element);
    if (to_ == fp8) // exact in double, so rounded once
      value = static_cast<float>(value * static_cast<double>(factor));
    if (to_ != fp32)
      return round_(value);
    if (std::isnan(value))
      return from == bf16 ? element << 16 : 0x7fffffff;
    return bits_of(static_cast<float>(value));
  }

private:
  element_type to_;
  rounding round_;
};

/// Of all exponents and signs: random numbers, and what lies at and beside the ties of all types.
std::vector<std::uint32_t> many_fp32(std::mt19937_64& random) {
  std::vector<std::uint32_t> all;
  for (std::uint32_t high = 0; high < 512; ++high)
    for (std::uint32_t i = 0; i < 600; ++i) {
      const auto mantissa = static_cast<std::uint32_t>(random()) & 0x7fffff;
      all.push_back(high << 23 | mantissa);
      const auto point = 1u << tests::pick(random, 8, 22);
      const auto tie = (mantissa & ~(2 * point - 1)) | point;
      for (const std::uint32_t near : {tie - 1, tie, tie + 1})
        all.push_back(high << 23 | (near & 0x7fffff));
    }
  return all;
}

std::vector<std::uint32_t> inputs_of(element_type type, std::mt19937_64& random) {
  if (type == fp32)
    return many_fp32(random);
  std::vector<std::uint32_t> all(1u << 16);
  for (std::uint32_t i = 0; i < all.size(); ++i)
    all[i] = i;
  return all;
}

std::vector<float> factors_to(element_type type) {
  if (type != fp8)
    return {1.0f};
  return {1.0f, 1.0f / 0.0371f, 1.0f / 3.0f, 1.0f / least_scale, 1.0f / most_scale};
}

} // namespace

BOOST_AUTO_TEST_SUITE(element_conversions)

BOOST_AUTO_TEST_CASE(every_result_is_the_nearest_number_that_there_is) {
  std::mt19937_64 random{tests::seed()};
  for (const auto& [from, to] : conversions) {
    const oracle right{to};
    const auto inputs = inputs_of(from, random);
    for (const float factor : factors_to(to)) {
      const element_conversion as{from, to, factor};
      for (const auto element : inputs) {
        const auto wanted = right(from, element, factor);
        const auto got = by_the_rules(as, element);
        if (got != wanted)
          BOOST_TEST_REQUIRE(got == wanted, to_string(from)
                                                << " to " << to_string(to) << " of " << std::hex
                                                << element << " times " << factor << ": " << got
                                                << " is not " << wanted);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(the_special_numbers_are_as_documented) {
  struct example {
    element_type from;
    element_type to;
    std::uint32_t element;
    std::uint32_t result;
  };
  const std::vector<example> examples{
      {fp32, fp8, bits_of(448), 0x7e},
      {fp32, fp8, bits_of(464), 0x7e},
      {fp32, fp8, bits_of(465), 0x7e},
      {fp32, fp8, bits_of(-1e30f), 0xfe},
      {fp32, fp8, 0x7f800000, 0x7e},
      {fp32, fp8, 0xff800000, 0xfe},
      {fp32, fp8, 0xffc00000, 0x7f},
      {fp32, fp8, bits_of(-0.0f), 0x80},
      {fp32, fp8, bits_of(0x1p-9f), 0x01},
      {fp32, fp8, bits_of(0x1p-10f), 0x00},
      {fp32, fp8, bits_of(0x1.2p-10f), 0x01},
      {fp32, fp8, bits_of(0x3p-10f), 0x02},
      {fp32, fp8, bits_of(1), 0x38},
      {fp32, fp8, bits_of(1.0625), 0x38},
      {fp32, fp8, bits_of(1.1875), 0x3a},
      {fp32, bf16, 0x7f7fffff, 0x7f80},
      {fp32, bf16, 0x7f800001, 0x7fff},
      {fp32, bf16, 0xff800000, 0xff80},
      {fp32, bf16, 0x00000001, 0x0000},
      {fp32, bf16, 0x80018000, 0x8002},
      {fp32, fp16, bits_of(65519), 0x7bff},
      {fp32, fp16, bits_of(65520), 0x7c00},
      {fp32, fp16, 0xffc12345, 0x7fff},
      {fp32, fp16, bits_of(0x1p-24f), 0x0001},
      {fp32, fp16, bits_of(0x1p-25f), 0x0000},
      {bf16, fp32, 0xff81, 0xff810000},
      {fp16, fp32, 0xfc01, 0x7fffffff},
      {fp16, fp32, 0x8001, bits_of(-0x1p-24f)},
      {bf16, fp16, 0xffff, 0x7fff},
      {fp16, bf16, 0x7c01, 0x7fff},
  };
  for (const auto& [from, to, element, result] : examples)
    BOOST_TEST(by_the_rules({from, to, 1}, element) == result,
               to_string(from) << " to " << to_string(to) << " of " << std::hex << element);
}

BOOST_AUTO_TEST_CASE(what_can_be_converted_is_told) {
  BOOST_TEST(describe_conversions(bf16) == "bf16 converts to fp32, fp16 or fp8_e4m3");
  BOOST_TEST(describe_conversions(fp32) == "fp32 converts to bf16, fp16 or fp8_e4m3");
  BOOST_TEST(describe_conversions(fp8) == "fp8_e4m3 cannot be converted");
  BOOST_TEST(can_hand_over(element_type::int8, element_type::int8));
  BOOST_TEST(!can_hand_over(element_type::int8, bf16));
  BOOST_TEST(!can_hand_over(bf16, element_type::byte));
  BOOST_TEST(!can_hand_over(fp8, bf16));
}

BOOST_AUTO_TEST_CASE(rows_of_any_length_and_alignment_are_converted_and_nothing_beside_them) {
  std::mt19937_64 random{tests::seed()};
  constexpr std::size_t most = 5000;
  for (const auto& [from, to] : conversions)
    for (int round = 0; round < 60; ++round) {
      const element_conversion as{from, to, factors_to(to)[round % factors_to(to).size()]};
      const std::size_t count = tests::pick(random, 0, 3) == 0 ? tests::pick(random, 0, most)
                                                               : tests::pick(random, 0, 40);
      std::vector<std::byte> source(4 * most + 64);
      for (auto& byte : source)
        byte = static_cast<std::byte>(random());
      const auto* start = source.data() + tests::pick(random, 0, 63);
      std::vector<std::byte> got(4 * most + 128, std::byte{0xa5});
      auto wanted = got;
      const auto place = tests::pick(random, 0, 63);
      for (std::size_t i = 0; i < count; ++i)
        test::write_element(wanted.data() + place + i * size_of(to), to,
                            by_the_rules(as, test::read_element(start + i * size_of(from), from)));
      const auto mode = round % 2 == 0 ? copy_mode::cached : copy_mode::streaming;
      racing_convert(got.data() + place, start, count * size_of(from), as, mode);
      end_streaming();
      BOOST_TEST_REQUIRE((got == wanted), to_string(from) << " to " << to_string(to) << ", "
                                                          << count << " elements");
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
