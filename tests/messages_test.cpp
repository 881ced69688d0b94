#include <functional>
#include <random>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "messages/conversion.hpp"
#include "messages/error.hpp"
#include "messages/ids.hpp"
#include "messages/state.hpp"
#include "messages/wire.hpp"
#include "tests/sample_layout.hpp"

using namespace baton;
using namespace baton::test;
using std::chrono::milliseconds;

namespace {

pull_request sample_pull() {
  return {.request = request_id{1},
          .pull = pull_id{~0ull},
          .receiver_rank = 3,
          .layout_digest = 0xfeedfacecafebeef,
          .receivers = 2,
          .wants = {{"full", {16, 80}, {64, 80}}, {"state", {0, 0}}},
          .have = {0, 2, 300},
          .have_offer = offer_id{9},
          .wants_aux = true,
          .remaining = milliseconds{59'999},
          .ticket = lease{incarnation{7}, 70'000, 3}};
}

slice_grant sample_grant() {
  return {.request = request_id{2},
          .pull = pull_id{77},
          .offer = offer_id{88},
          .slice = 4,
          .last = true,
          .ranges = {{"full", {16, 30}, {24, 16}, {8, 16}}, {"state", state_slot}},
          .blocks = {{"full", 16, {9, 1, 70'000}, {{24, {5, 8}}, {32, {}}}}, {"state", 0, {3}}},
          .right = {incarnation{99}, 5, 1235},
          .aux = aux_data{{1, 2}, {-1}, std::string("a\0b\xff", 4)}};
}

slice_failed sample_failure() {
  return {request_id{3}, pull_id{4}, offer_id{5}, 6, {errc::lease_revoked, "taken back \xff"},
          true};
}

std::vector<wire_message> sample_messages() {
  auto bare = sample_grant();
  bare.last = false;
  bare.aux.reset();
  bare.ranges.clear();
  bare.blocks.clear();
  return {sample_pull(),
          nothing_to_pull{request_id{5}, pull_id{6}, 7, milliseconds{8}},
          sample_grant(),
          bare,
          slice_done{request_id{3}, pull_id{4}, offer_id{5}, 6},
          sample_failure(),
          cancel_notice{request_id{3}, pull_id{0}, {errc::cancelled, ""}, true}};
}

introduction sample_introduction() {
  const auto instance = sample_info({2, 2});
  return {protocol_version,           "1.22.0",         instance.ranks[1],
          digest(instance.layouts()), encode(instance), true};
}

/// An encoded value of which no prefix is a value, and its decoder, which tells whether it
/// accepted.
struct decoder {
  std::string name;
  std::string bytes;
  std::function<bool(std::string_view)> accepts;
};

std::vector<decoder> decoders() {
  std::vector<decoder> out;
  for (const auto& message : sample_messages())
    out.push_back({fmt::format("message {}", message.index()), encode(message),
                   [](std::string_view b) { return decode_message(b).has_value(); }});
  auto info = sample_info({1, 2}).ranks[0];
  info.manifest.clear();
  out.push_back({"layout", encode(info.layout),
                 [](std::string_view b) { return decode_layout(b).has_value(); }});
  out.push_back({"rank info", encode(info),
                 [](std::string_view b) { return decode_rank_info(b).has_value(); }});
  out.push_back({"instance", encode(sample_info({2, 1})),
                 [](std::string_view b) { return decode_instance_info(b).has_value(); }});
  auto intro = sample_introduction();
  intro.instance.clear();
  intro.wants_instance = false;
  out.push_back({"introduction", encode(intro),
                 [](std::string_view b) { return decode_introduction(b).has_value(); }});
  return out;
}

/// Encodes a changed copy of a message and checks that the decoder refuses it and names `field`.
template <class Message>
void check_refused(std::string_view field, Message message,
                   const std::type_identity_t<std::function<void(Message&)>>& change) {
  change(message);
  const auto result = decode_message(encode(wire_message{message}));
  BOOST_TEST_CONTEXT(field) {
    BOOST_TEST_REQUIRE(!result.has_value());
    BOOST_TEST((result.error().code == errc::invalid_argument));
    BOOST_TEST(result.error().text.substr(0, field.size()) == field);
  }
}

/// Encodes a changed copy of a message and checks that it arrives as it is.
template <class Message>
void check_good(Message message,
                const std::type_identity_t<std::function<void(Message&)>>& change) {
  change(message);
  const auto result = decode_message(encode(wire_message{message}));
  BOOST_TEST_REQUIRE(result.has_value(), (result ? std::string{} : to_string(result.error())));
  BOOST_TEST((*result == wire_message{message}));
}

template <class Result>
void check_error(const Result& result, std::string_view field) {
  BOOST_TEST_CONTEXT(field) {
    BOOST_TEST_REQUIRE(!result.has_value());
    BOOST_TEST((result.error().code == errc::invalid_argument));
    BOOST_TEST((result.error().text.find(field) != std::string::npos), result.error().text);
  }
}

std::string varint(std::uint64_t number) {
  std::string out;
  for (; number >= 0x80; number >>= 7)
    out.push_back(static_cast<char>(number | 0x80));
  out.push_back(static_cast<char>(number));
  return out;
}

/// One Protobuf field, written by hand.
std::string number_field(unsigned field, std::uint64_t number) {
  return varint(field << 3) + varint(number);
}

std::string bytes_field(unsigned field, std::string_view bytes) {
  return varint(field << 3 | 2) + varint(bytes.size()) + std::string{bytes};
}

} // namespace

BOOST_AUTO_TEST_SUITE(words)

BOOST_AUTO_TEST_CASE(every_error_code_has_its_own_name) {
  std::set<std::string_view> names;
  for (auto code = 1; code <= static_cast<int>(last_errc); ++code)
    names.insert(to_string(static_cast<errc>(code)));
  BOOST_TEST(names.size() == static_cast<std::size_t>(last_errc));
  BOOST_TEST(!names.contains("unknown"));
  BOOST_TEST(to_string(errc{0}) == "unknown");
  BOOST_TEST(to_string(errc::peer_lost) == "peer_lost");
  BOOST_TEST(to_string(error{errc::timed_out, "request 7"}) == "timed_out: request 7");
}

BOOST_AUTO_TEST_CASE(only_failures_of_the_peer_or_the_transport_are_retryable) {
  std::set<errc> codes;
  for (auto code = 1; code <= static_cast<int>(last_errc); ++code)
    if (retryable(static_cast<errc>(code)))
      codes.insert(static_cast<errc>(code));
  BOOST_TEST((codes == std::set{errc::peer_lost, errc::lease_revoked, errc::transport_failed}));
}

BOOST_AUTO_TEST_CASE(request_states_are_spelled_and_parsed_alike) {
  std::set<std::string_view> names;
  for (auto i = 0; i <= static_cast<int>(request_state::trans_error); ++i) {
    const auto state = static_cast<request_state>(i);
    names.insert(to_string(state));
    BOOST_TEST((parse_request_state(to_string(state)) == state));
  }
  BOOST_TEST(names.size() == 7u);
  BOOST_TEST(to_string(request_state::generation_trans_complete) == "GENERATION_TRANS_COMPLETE");
  BOOST_TEST(!parse_request_state("generation_trans_complete").has_value());
  BOOST_TEST(!parse_request_state("").has_value());
  BOOST_TEST(to_string(request_state{99}) == "unknown");
}

BOOST_AUTO_TEST_CASE(session_states_have_names_of_their_own) {
  std::set<std::string_view> names;
  for (auto i = 0; i <= static_cast<int>(session_state::cancelled); ++i)
    names.insert(to_string(static_cast<session_state>(i)));
  BOOST_TEST(names.size() == 7u);
  BOOST_TEST(to_string(session_state::kv_transferred) == "KV_TRANSFERRED");
  BOOST_TEST(to_string(session_state{99}) == "unknown");
}

BOOST_AUTO_TEST_CASE(three_request_states_are_terminal) {
  int ended = 0;
  for (auto i = 0; i <= static_cast<int>(request_state::trans_error); ++i)
    ended += terminal(static_cast<request_state>(i));
  BOOST_TEST(ended == 3);
  BOOST_TEST(terminal(request_state::context_complete));
  BOOST_TEST(terminal(request_state::generation_trans_complete));
  BOOST_TEST(terminal(request_state::trans_error));
}

BOOST_AUTO_TEST_CASE(ids_of_different_kinds_do_not_mix_and_print_as_numbers) {
  static_assert(!std::is_convertible_v<request_id, pull_id>);
  static_assert(!std::is_convertible_v<std::uint64_t, request_id>);
  BOOST_TEST(fmt::format("{}", request_id{42}) == "42");
  BOOST_TEST((random_id<pull_id>() != random_id<pull_id>()));
  BOOST_TEST(random_number() != 0u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(messages)

BOOST_AUTO_TEST_CASE(every_message_survives_the_wire) {
  std::set<std::size_t> kinds;
  for (const auto& message : sample_messages()) {
    const auto back = decode_message(encode(message));
    BOOST_TEST_CONTEXT("message " << message.index()) {
      BOOST_TEST_REQUIRE(back.has_value(), (back ? std::string{} : to_string(back.error())));
      BOOST_TEST((*back == message));
      BOOST_TEST(encode(*back) == encode(message));
    }
    kinds.insert(message.index());
  }
  BOOST_TEST(kinds.size() == std::variant_size_v<wire_message>);
}

BOOST_AUTO_TEST_CASE(every_message_names_its_request) {
  BOOST_TEST((request_of(sample_pull()) == request_id{1}));
  BOOST_TEST((request_of(nothing_to_pull{request_id{5}, {}, 0, {}}) == request_id{5}));
  BOOST_TEST((request_of(sample_grant()) == request_id{2}));
  BOOST_TEST((request_of(slice_done{request_id{6}, {}, {}, 0}) == request_id{6}));
  BOOST_TEST((request_of(sample_failure()) == request_id{3}));
  BOOST_TEST((request_of(cancel_notice{request_id{7}, {}, {}}) == request_id{7}));
}

BOOST_AUTO_TEST_CASE(every_error_code_survives_the_wire) {
  for (auto code = 1; code <= static_cast<int>(last_errc); ++code)
    check_good(sample_failure(), [&](slice_failed& m) { m.reason.code = static_cast<errc>(code); });
}

BOOST_AUTO_TEST_CASE(a_value_one_past_its_limit_is_refused_and_named) {
  const std::string long_name(layout_limits::name_bytes + 1, 'x');
  const auto pull = sample_pull();
  check_refused("receiver_rank", pull, [](auto& m) { m.receiver_rank = layout_limits::ranks; });
  check_refused("ticket.epoch", pull, [](auto& m) { m.ticket->epoch = 4; });
  check_refused("receivers", pull, [](auto& m) { m.receivers = 0; });
  check_refused("receivers", pull, [](auto& m) { m.receivers = layout_limits::ranks + 1; });
  check_refused("wants[0].group", pull, [](auto& m) { m.wants[0].group.clear(); });
  check_refused("wants[1].group", pull, [&](auto& m) { m.wants[1].group = long_name; });
  check_refused("wants[1].group", pull, [](auto& m) { m.wants[1].group = "full"; });
  check_refused("wants[0].begin", pull, [](auto& m) { m.wants[0].tokens = {81, 80}; });
  check_refused("wants[0].end", pull,
                [](auto& m) { m.wants[0].tokens.end = wire_limits::tokens + 1; });
  check_refused("wants[0].tails", pull,
                [](auto& m) { m.wants[0].tails.resize(wire_limits::beams); });
  check_refused("wants[0].tails", pull,
                [](auto& m) { m.wants[0].tails[1] = wire_limits::tokens + 1; });
  check_refused("have", pull, [](auto& m) { m.have = {wire_limits::slices}; });
  check_refused("have", pull, [](auto& m) { m.have.resize(wire_limits::slices + 1); });
  check_refused("wants", pull, [](auto& m) {
    m.wants.clear();
    for (std::size_t i = 0; i <= layout_limits::groups; ++i)
      m.wants.push_back({fmt::format("g{}", i), {}});
  });
  check_refused("receiver_rank", nothing_to_pull{},
                [](auto& m) { m.receiver_rank = layout_limits::ranks; });
  check_refused("slice", slice_done{}, [](auto& m) { m.slice = wire_limits::slices; });
  check_refused("slice", sample_failure(), [](auto& m) { m.slice = wire_limits::slices; });
}

BOOST_AUTO_TEST_CASE(a_grant_that_makes_no_sense_is_refused_and_named) {
  const auto grant = sample_grant();
  check_refused("slice", grant, [](auto& m) { m.slice = wire_limits::slices; });
  check_refused("ranges[0].begin", grant, [](auto& m) { m.ranges[0].tokens = {1, 0}; });
  check_refused("ranges[0].first_layer", grant, [](auto& m) { m.ranges[0].layers = {8, 8}; });
  check_refused("ranges[0].first_layer", grant, [](auto& m) { m.ranges[0].layers = {0, 0}; });
  check_refused("ranges[1].first_layer", grant, [](auto& m) { m.ranges[1].layers = {9, 8}; });
  check_refused("ranges[1].group", grant, [](auto& m) { m.ranges[1].group = "full"; });
  check_refused("blocks", grant, [](auto& m) { m.blocks.pop_back(); });
  check_refused("blocks[0].group", grant, [](auto& m) { std::swap(m.blocks[0], m.blocks[1]); });
  check_refused("blocks[0].first_block_token", grant,
                [](auto& m) { m.blocks[0].first_block_token = wire_limits::tokens + 1; });
  check_refused("blocks[0].blocks", grant,
                [](auto& m) { m.blocks[0].blocks.resize(wire_limits::blocks + 1); });
  check_refused("blocks[0].blocks[2]", grant,
                [](auto& m) { m.blocks[0].blocks[2] = layout_limits::slots; });
  check_refused("blocks[0].tails", grant, [](auto& m) { m.blocks[0].tails.pop_back(); });
  check_refused("blocks[1].tails", grant, [](auto& m) { m.blocks[1].tails.resize(1); });
  check_refused("ranges[0].tails", grant, [](auto& m) {
    m.ranges[0].tails.resize(wire_limits::beams);
    m.blocks[0].tails.resize(wire_limits::beams);
  });
  check_refused("blocks[0].tails[1].first_block_token", grant,
                [](auto& m) { m.blocks[0].tails[1].first_block_token = wire_limits::tokens + 1; });
  check_refused("blocks[0].tails[0].blocks[1]", grant,
                [](auto& m) { m.blocks[0].tails[0].blocks[1] = layout_limits::slots; });
  // The limit is that of all beams together.
  check_refused("blocks[0].tails[1].blocks", grant, [](auto& m) {
    m.blocks[0].tails[0].blocks.resize(wire_limits::blocks - 3);
    m.blocks[0].tails[1].blocks.resize(1);
  });
  check_refused("right.epoch", grant, [](auto& m) { m.right.epoch = 1234; });
  check_refused("right.epoch", grant, [](auto& m) { m.right.epoch = 0; });
  check_refused("aux", grant, [](auto& m) { m.last = false; });
  check_refused("aux", grant, [](auto& m) {
    m.aux->opaque.resize(wire_limits::aux_bytes - 11);
    BOOST_TEST(m.aux->bytes() == wire_limits::aux_bytes + 1);
  });
}

BOOST_AUTO_TEST_CASE(a_range_without_layers_is_of_all_layers) {
  // "full", up to token 4, as it was written before there were layers.
  const std::string range{"\x0a\x04"
                          "full"
                          "\x18\x04"};
  pull_request call;
  call.receivers = 1;
  call.wants = {{"full", {0, 4}}};
  const auto bytes = encode(call);
  BOOST_TEST((bytes.find(range) != std::string::npos));
  const auto read = std::get<pull_request>(decode_message(bytes).value());
  BOOST_TEST((read.wants.at(0).layers == layer_range{}));
  BOOST_TEST(read.wants.at(0).layers.contains(layer_range::no_end));
  call.wants[0].layers = {3, layer_range::no_end};
  BOOST_TEST((std::get<pull_request>(decode_message(encode(call)).value()) == call));
}

BOOST_AUTO_TEST_CASE(a_value_exactly_at_its_limit_is_accepted) {
  check_good(sample_pull(), [](pull_request& m) {
    m.receiver_rank = layout_limits::ranks - 1;
    m.receivers = layout_limits::ranks;
    m.have.assign(wire_limits::slices, wire_limits::slices - 1);
    m.remaining = wire_limits::remaining;
    m.wants.clear();
    for (std::size_t i = 0; i < layout_limits::groups; ++i)
      m.wants.push_back({fmt::format("{:0{}}", i, std::size_t{layout_limits::name_bytes}),
                         {wire_limits::tokens, wire_limits::tokens}});
  });
  check_good(sample_grant(), [](slice_grant& m) {
    m.slice = wire_limits::slices - 1;
    m.blocks[0].first_block_token = wire_limits::tokens;
    m.blocks[0].blocks.assign(wire_limits::blocks - 2, layout_limits::slots - 1);
    m.blocks[0].tails.assign(wire_limits::beams - 1, {wire_limits::tokens, {}});
    m.blocks[0].tails[0].blocks = {0, layout_limits::slots - 1};
    m.ranges[0].tails.assign(wire_limits::beams - 1, wire_limits::tokens);
    m.ranges[0].layers = {layer_range::no_end - 2, layer_range::no_end - 1};
    m.ranges[1].layers = {layer_range::no_end, layer_range::no_end};
    m.right.epoch = ~0ull;
    m.aux->opaque.resize(wire_limits::aux_bytes - 12);
    BOOST_TEST(m.aux->bytes() == wire_limits::aux_bytes);
  });
  check_good(sample_failure(), [](slice_failed& m) {
    m.slice = wire_limits::slices - 1;
    m.reason.text.assign(wire_limits::text_bytes, 'x');
  });
}

BOOST_AUTO_TEST_CASE(long_error_texts_are_cut_when_encoded) {
  auto message = sample_failure();
  message.reason.text.assign(wire_limits::text_bytes + 100, 'x');
  const auto back = decode_message(encode(wire_message{message}));
  BOOST_TEST_REQUIRE(back.has_value());
  BOOST_TEST(std::get<slice_failed>(*back).reason.text.size() == wire_limits::text_bytes);
}

BOOST_AUTO_TEST_CASE(remaining_times_are_kept_within_their_limits_when_encoded) {
  const auto sent = [](milliseconds remaining) {
    auto message = sample_pull();
    message.remaining = remaining;
    const auto back = decode_message(encode(wire_message{message}));
    BOOST_TEST_REQUIRE(back.has_value());
    return std::get<pull_request>(*back).remaining;
  };
  BOOST_TEST(sent(milliseconds{-1}).count() == 0);
  BOOST_TEST((sent(milliseconds::max()) == wire_limits::remaining));
}

BOOST_AUTO_TEST_CASE(numbers_that_no_encoder_writes_are_refused) {
  const auto weeks = static_cast<std::uint64_t>(milliseconds{wire_limits::remaining}.count());
  const auto nothing = [](std::uint64_t remaining) {
    return decode_message(bytes_field(2, number_field(4, remaining)));
  };
  BOOST_TEST(nothing(weeks).has_value());
  check_error(nothing(weeks + 1), "remaining_ms");
  check_error(nothing(~0ull), "remaining_ms");
  const auto failed = [](std::uint64_t code, std::string_view text) {
    return decode_message(
        bytes_field(5, bytes_field(5, number_field(1, code) + bytes_field(2, text))));
  };
  const auto last = static_cast<std::uint64_t>(last_errc);
  BOOST_TEST(failed(last, "text").has_value());
  for (const std::uint64_t code : {std::uint64_t{0}, last + 1, std::uint64_t{255},
                                   std::uint64_t{257}, std::uint64_t{1} << 31, ~std::uint64_t{0}})
    check_error(failed(code, "text"), "reason.code");
  check_error(failed(1, std::string(wire_limits::text_bytes + 1, 'x')), "reason.text");
  check_error(decode_message(bytes_field(6, "")), "reason.code");
}

BOOST_AUTO_TEST_CASE(messages_of_unknown_kind_are_refused) {
  check_error(decode_message(""), "kind");
  check_error(decode_message(bytes_field(7, "")), "kind");
}

BOOST_AUTO_TEST_CASE(messages_past_the_byte_limit_are_not_even_parsed) {
  const auto base = encode(wire_message{sample_pull()});
  const auto padded = [&](std::size_t total) {
    const std::size_t header = 5;
    auto out = base + bytes_field(15, std::string(total - base.size() - header, 'x'));
    BOOST_TEST(out.size() == total);
    return out;
  };
  BOOST_TEST(decode_message(padded(wire_limits::message_bytes)).has_value());
  check_error(decode_message(padded(wire_limits::message_bytes + 1)), "exceed");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(instances)

BOOST_AUTO_TEST_CASE(layouts_and_instances_survive_the_wire) {
  for (const auto& shape : {sample_shape{}, sample_shape{2, 2}, sample_shape{2, 1, true},
                            sample_shape{4, 1, false, 8, instance_role::generation}}) {
    const auto info = sample_info(shape);
    const auto back = decode_instance_info(encode(info));
    BOOST_TEST_REQUIRE(back.has_value(), (back ? std::string{} : to_string(back.error())));
    BOOST_TEST((*back == info));
    BOOST_TEST((info.layouts() == sample_instance(shape)));
    for (const auto& rank : info.ranks) {
      BOOST_TEST((decode_layout(encode(rank.layout)) == rank.layout));
      BOOST_TEST((decode_rank_info(encode(rank)) == rank));
    }
  }
}

BOOST_AUTO_TEST_CASE(every_field_of_a_layout_survives_the_wire) {
  auto layout = sample_rank({}, 0);
  layout.life = incarnation{~0ull};
  layout.model = "name \xff that is no UTF-8";
  layout.groups[0].window = 64;
  layout.pools[0].kind = memory_kind::cuda;
  layout.pools[0].device = 3;
  layout.pools[0].device_uuid = std::string("\0\1\2", 3);
  layout.groups[0].buffers[1].type = element_type::fp8_e4m3;
  layout.groups[0].buffers[1].scales = {0.1f, 3, least_scale, most_scale};
  layout.groups[0].buffers[1].role = cache_role::indexer_key;
  layout.groups[1].buffers[0].role = cache_role::conv;
  layout.groups[1].buffers[0].section = layout_limits::sections - 1;
  BOOST_TEST((decode_layout(encode(layout)) == layout));
}

BOOST_AUTO_TEST_CASE(an_introduction_survives_the_wire) {
  auto intro = sample_introduction();
  intro.for_blocks = true;
  const auto back = decode_introduction(encode(intro));
  BOOST_TEST_REQUIRE(back.has_value(), (back ? std::string{} : to_string(back.error())));
  BOOST_TEST((*back == intro));
}

BOOST_AUTO_TEST_CASE(an_introduction_of_another_version_is_read_up_to_its_version) {
  const auto head = number_field(1, protocol_version + 1);
  for (const auto& rest : {std::string{}, bytes_field(4, "\xff\xff none of ours"),
                           number_field(4, 12), bytes_field(3, "x")}) {
    const auto intro = decode_introduction(head + bytes_field(2, "9.9") + rest);
    BOOST_TEST_REQUIRE(intro.has_value());
    BOOST_TEST(intro->version == protocol_version + 1);
    BOOST_TEST(intro->ucx_version == "9.9");
    BOOST_TEST(intro->self.layout.groups.empty());
  }
  BOOST_TEST(decode_introduction(head).has_value());
  check_error(decode_introduction(bytes_field(2, "9.9")), "version");
  check_error(
      decode_introduction(head + bytes_field(2, std::string(layout_limits::name_bytes + 1, '9'))),
      "ucx_version");
}

BOOST_AUTO_TEST_CASE(what_an_introduction_claims_is_checked) {
  const auto refused = [](std::string_view field,
                          const std::function<void(introduction&)>& change) {
    auto intro = sample_introduction();
    change(intro);
    check_error(decode_introduction(encode(intro)), field);
  };
  refused("self.layout.rank: 4", [](auto& i) { i.self.layout.rank = 4; });
  refused("digest", [](auto& i) { i.digest = 0; });
  refused("self.host", [](auto& i) { i.self.host.clear(); });
  refused("self.host", [](auto& i) { i.self.host.assign(layout_limits::name_bytes + 1, 'x'); });
  refused("self.port", [](auto& i) { i.self.port = 0; });
  refused("self.manifest",
          [](auto& i) { i.self.manifest.assign(wire_limits::manifest_bytes + 1, 'x'); });
  refused("self.layout.groups[0].buffers[1].offset",
          [](auto& i) { i.self.layout.groups[0].buffers[1].offset = ~0ull; });
}

BOOST_AUTO_TEST_CASE(what_an_instance_claims_is_checked) {
  const auto refused = [](std::string_view field,
                          const std::function<void(instance_info&)>& change) {
    auto info = sample_info({2, 2});
    change(info);
    check_error(decode_instance_info(encode(info)), field);
  };
  refused("ranks", [](auto& i) { i.ranks.clear(); });
  refused("ranks: 3 given", [](auto& i) { i.ranks.pop_back(); });
  refused("rank:", [](auto& i) { i.ranks[1].layout.rank = 0; });
  refused("ranks[2].host", [](auto& i) { i.ranks[2].host.clear(); });
  refused("ranks[2].port", [](auto& i) { i.ranks[2].port = 0; });
  refused("ranks[2].manifest",
          [](auto& i) { i.ranks[2].manifest.assign(wire_limits::manifest_bytes + 1, 'x'); });
  refused("ranks[2].layout.pools", [](auto& i) { i.ranks[2].layout.pools.clear(); });
  refused("ranks[2].layout.groups[0].buffers[1].offset",
          [](auto& i) { i.ranks[2].layout.groups[0].buffers[1].offset = ~0ull; });
}

/// What an encoded instance says besides, as only a hand could have written it.
BOOST_AUTO_TEST_CASE(an_instance_that_repeats_too_much_is_refused) {
  const auto good = encode(sample_info({}));
  const auto rank = [](const std::string& fields) {
    return bytes_field(2, number_field(5, 1) + bytes_field(4, "h") + fields);
  };
  const auto pool = bytes_field(7, number_field(1, 1) + number_field(4, 8) + number_field(5, 8));
  const auto error_of = [&](const std::string& fields) {
    const auto back = decode_instance_info(good + rank(fields));
    return back ? std::string{} : back.error().text;
  };
  BOOST_TEST(error_of(number_field(1, 1)).starts_with("ranks[1].shape: 1 given"));
  BOOST_TEST(error_of(number_field(8, 1)).starts_with("ranks[1].pool_count: 1 for 0"));
  BOOST_TEST(error_of(pool).starts_with("ranks[1].pools: 1 given for 0"));
  BOOST_TEST(error_of(pool + number_field(8, layout_limits::pools + 1))
                 .starts_with("ranks[1].pool_count: 4097"));
  BOOST_TEST(error_of(pool + number_field(8, layout_limits::instance_parts))
                 .starts_with("ranks[1].layout: its instance has more than"));
  BOOST_TEST(error_of(pool + number_field(8, 1)).starts_with("ranks[1].groups: 0 given"));
  const auto heads = bytes_field(9, bytes_field(1, std::string(9, '\1')));
  BOOST_TEST(error_of(pool + number_field(8, 1) + heads + bytes_field(9, ""))
                 .starts_with("ranks[1].groups[0].heads: 9 given for 8"));
}

BOOST_AUTO_TEST_CASE(unlike_ranks_survive_the_wire) {
  auto info = sample_info({2, 2});
  auto& ranks = info.ranks;
  ranks[1].layout.pools[0].slots += 5;
  ranks[2].layout.pools.push_back(ranks[2].layout.pools[0]);
  ranks[2].layout.pools.push_back(ranks[2].layout.pools[0]);
  // One layer's keys lie the other way round.
  std::swap(ranks[0].layout.groups[0].buffers[2].first_head,
            ranks[1].layout.groups[0].buffers[2].first_head);
  const auto back = decode_instance_info(encode(info));
  BOOST_TEST_REQUIRE(back.has_value(), (back ? std::string{} : to_string(back.error())));
  BOOST_TEST((*back == info));
}

BOOST_AUTO_TEST_CASE(what_ranks_have_in_common_is_written_once) {
  sample_shape shape{2, 1, true};
  shape.tp = 256;
  auto info = sample_info(shape);
  for (auto& rank : info.ranks)
    rank.manifest.clear();
  BOOST_TEST(encode(info).size() < encode(info.ranks[0].layout).size() + 256u * 80u);
  BOOST_TEST((decode_instance_info(encode(info)) == info));
}

BOOST_AUTO_TEST_CASE(rank_infos_are_accepted_at_their_limits_and_not_past_them) {
  auto info = sample_info({}).ranks[0];
  info.host.assign(layout_limits::name_bytes, 'x');
  info.manifest.assign(wire_limits::manifest_bytes, 'x');
  info.port = 65535;
  BOOST_TEST((decode_rank_info(encode(info)) == info));
  check_error(decode_rank_info(encode(info) + number_field(3, 65536)), "port");
  check_error(decode_rank_info(encode(info) + number_field(3, 65536 + 80)), "port");
}

BOOST_AUTO_TEST_CASE(enumerators_of_a_layout_that_do_not_exist_are_refused) {
  const auto good = encode(sample_rank({}, 0));
  BOOST_TEST(decode_layout(good).has_value());
  for (const std::uint64_t number :
       {std::uint64_t{0}, std::uint64_t{3}, std::uint64_t{257}, ~std::uint64_t{0}})
    check_error(decode_layout(good + number_field(3, number)), "role");
  const auto pool = number_field(1, 257) + number_field(4, 8) + number_field(5, 8);
  check_error(decode_layout(good + bytes_field(9, pool)), "pools[2].kind");
  const auto sizes = number_field(7, 1) + number_field(8, 1) + number_field(11, 1);
  for (const unsigned role : {8u, 256u}) {
    const auto group = bytes_field(1, "g") + bytes_field(4, number_field(2, role) + sizes);
    check_error(decode_layout(good + bytes_field(10, group)), "groups[2].buffers[0].role");
  }
  for (const unsigned type : {0u, 7u, 258u}) {
    const auto group = bytes_field(1, "g") + bytes_field(4, number_field(12, type) + sizes);
    check_error(decode_layout(good + bytes_field(10, group)), "groups[2].buffers[0].type");
  }
}

BOOST_AUTO_TEST_CASE(layouts_past_the_byte_limit_are_not_even_parsed) {
  const auto base = encode(sample_rank({}, 0));
  const auto padding = layout_limits::encoded_bytes - base.size() - 5;
  BOOST_TEST(decode_layout(base + bytes_field(15, std::string(padding, 'x'))).has_value());
  check_error(decode_layout(base + bytes_field(15, std::string(padding + 1, 'x'))), "exceed");
}

BOOST_AUTO_TEST_CASE(the_digest_depends_on_every_rank_and_on_nothing_else) {
  const auto ranks = sample_instance({2, 2});
  const auto whole = digest(ranks);
  BOOST_TEST(digest(sample_instance({2, 2})) == whole);
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    auto changed = ranks;
    changed[i].model += "2";
    BOOST_TEST(digest(changed) != whole);
    // A restarted rank has another incarnation, and the same layout.
    changed = ranks;
    changed[i].life.value ^= 1;
    BOOST_TEST(digest(changed) == whole);
  }
  BOOST_TEST(digest({}) == 0xcbf29ce484222325u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(garbage)

BOOST_AUTO_TEST_CASE(a_truncated_message_never_passes_for_the_whole) {
  for (const auto& [name, bytes, accepts] : decoders())
    BOOST_TEST_CONTEXT(name) {
      BOOST_TEST(accepts(bytes));
      for (std::size_t size = 0; size < bytes.size(); ++size)
        if (accepts(std::string_view{bytes}.substr(0, size)))
          BOOST_FAIL(name << " cut to " << size << " of " << bytes.size() << " bytes is accepted");
    }
}

BOOST_AUTO_TEST_CASE(random_bytes_are_survived) {
  const std::uint64_t seed = 20260102;
  BOOST_TEST_MESSAGE("seed " << seed);
  std::mt19937_64 random{seed};
  const auto all = decoders();
  int refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes(1 + random() % 64, '\0');
    for (auto& byte : bytes)
      byte = static_cast<char>(random());
    refused += !all[random() % all.size()].accepts(bytes);
  }
  BOOST_TEST(refused > 19'000);
}

BOOST_AUTO_TEST_CASE(flipped_bytes_are_survived_and_what_is_accepted_encodes_again) {
  const std::uint64_t seed = 20260103;
  BOOST_TEST_MESSAGE("seed " << seed);
  std::mt19937_64 random{seed};
  const auto all = decoders();
  int accepted = 0;
  for (int i = 0; i < 20'000; ++i) {
    auto bytes = all[random() % all.size()].bytes;
    for (auto flips = 1 + random() % 3; flips > 0; --flips)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    const auto& [name, good, accepts] = all[random() % all.size()];
    accepts(bytes);
    if (const auto message = decode_message(bytes)) {
      ++accepted;
      BOOST_REQUIRE((decode_message(encode(*message)) == *message));
    }
    if (const auto layout = decode_layout(bytes))
      BOOST_REQUIRE((decode_layout(encode(*layout)) == *layout));
  }
  BOOST_TEST(accepted > 100);
}

BOOST_AUTO_TEST_SUITE_END()
