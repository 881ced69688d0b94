// Makes the corpus of the fuzz targets: valid messages, and some that are odd on purpose.
//
//     fuzz_corpus FOLDER            writes FOLDER/<target>/<name>
//     fuzz_corpus --check FOLDER    tells whether all of them are there as they would be written
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "messages/agreement.hpp"
#include "messages/manifest.hpp"
#include "messages/params.hpp"
#include "messages/ticket.hpp"
#include "messages/wire.hpp"
#include "tests/fuzz/ticket_body.hpp"
#include "tests/sample_layout.hpp"
#include "transport/peer/export_server.hpp"
#include "transport/ucx/messages.hpp"

namespace {

using namespace baton;
using namespace baton::test;
using std::chrono::milliseconds;

/// By "target/name".
using corpus = std::map<std::string, std::string>;

std::string varint(std::uint64_t number) {
  std::string out;
  for (; number >= 0x80; number >>= 7)
    out.push_back(static_cast<char>(number | 0x80));
  out.push_back(static_cast<char>(number));
  return out;
}

std::string number_field(unsigned field, std::uint64_t number) {
  return varint(field << 3) + varint(number);
}

std::string bytes_field(unsigned field, std::string_view bytes) {
  return varint(field << 3 | 2) + varint(bytes.size()) + std::string{bytes};
}

std::string repeated(std::string_view bytes, std::size_t times) {
  std::string out;
  for (; times > 0; --times)
    out += bytes;
  return out;
}

/// A layout with a value other than its default in every field.
rank_layout rich_layout() {
  auto layout = sample_rank({2, 1}, 1);
  layout.groups[0].window = 64;
  layout.groups[0].buffers[1].type = element_type::fp8_e4m3;
  layout.groups[0].buffers[1].scales = {0.5f, 3};
  layout.groups[1].buffers[0].role = cache_role::conv;
  layout.groups[1].buffers[0].section = 3;
  auto& pool = layout.pools[1];
  pool = {memory_kind::cuda, 1, "GPU-0", pool.slot_bytes, pool.slots};
  return layout;
}

/// Few bytes, and more pieces of memory than are looked at.
rank_layout intricate_layout() {
  auto layout = sample_rank({}, 0);
  layout.groups.resize(1);
  layout.pools.resize(1);
  auto& buffers = layout.groups[0].buffers;
  buffers.resize(2);
  for (auto& buffer : buffers) {
    buffer.head_dim = 1;
    buffer.total_heads = buffer.head_count = 1024;
    buffer.token_stride = 4096;
    buffer.head_stride = 4;
    buffer.slot_stride = 4u << 20;
  }
  buffers[1].offset = 2;
  layout.groups[0].tokens_per_block = 1000;
  layout.pools[0] = {memory_kind::host, 0, "", 4u << 20, 4};
  return layout;
}

void add_layouts(corpus& all) {
  all["rank_layout/plain"] = encode(sample_rank({}, 0));
  all["rank_layout/rich"] = encode(rich_layout());
  all["rank_layout/intricate"] = encode(intricate_layout());
  // Two bytes each, of which Protobuf would make objects.
  all["rank_layout/odd_empty_pools"] = repeated(bytes_field(9, ""), 2000);
  all["rank_layout/odd_empty_buffers"] = bytes_field(10, repeated(bytes_field(4, ""), 2000));
  all["rank_layout/odd_group_tags"] = encode(sample_rank({}, 0)) + repeated("\x9b", 1000);
  all["rank_layout/odd_huge_strides"] = [] {
    auto layout = sample_rank({}, 0);
    for (auto& buffer : layout.groups[0].buffers)
      buffer.head_stride = buffer.token_stride = buffer.slot_stride = ~0ull;
    return encode(layout);
  }();
  auto info = sample_info({1, 2}).ranks[1];
  all["rank_info/plain"] = encode(info);
  all["rank_info/odd_port"] = encode(info) + number_field(3, 65'536 + 80);
  all["rank_info/odd_layout_twice"] = encode(info) + bytes_field(1, encode(info.layout));
  all["instance_info/plain"] = encode(sample_info({2, 2}));
  all["instance_info/odd_empty_shapes"] = repeated(bytes_field(1, ""), 5000);
  all["instance_info/odd_empty_ranks"] = repeated(bytes_field(2, ""), 5000);
  const auto both = sample_info({2, 1});
  introduction intro{protocol_version,       "1.22.0",     both.ranks[1],
                     digest(both.layouts()), encode(both), false};
  all["introduction/plain"] = encode(intro);
  all["introduction/odd_version"] = number_field(1, 7) + bytes_field(2, "9") + "\xff\xff";
  all["introduction/odd_self"] = encode(intro) + number_field(3, ~0ull);
  intro.for_blocks = true;
  all["introduction/for_blocks"] = encode(intro);
}

void add_messages(corpus& all) {
  const pull_request pull{.request = request_id{1},
                          .pull = pull_id{~0ull},
                          .receiver_rank = 3,
                          .layout_digest = 0xfeedfacecafebeef,
                          .receivers = 2,
                          .wants = {{"full", {16, 80}, {64, 80}}, {"state", {0, 0}}},
                          .have = {0, 2, 300},
                          .have_offer = offer_id{9},
                          .wants_aux = true,
                          .remaining = milliseconds{59'999}};
  const slice_grant grant{
      .request = request_id{2},
      .pull = pull_id{77},
      .offer = offer_id{88},
      .slice = 4,
      .last = true,
      .ranges = {{"full", {16, 30}, {24, 16}}, {"state", state_slot}},
      .blocks = {{"full", 16, {9, 1, 70'000}, {{24, {5, 8}}, {32, {}}}}, {"state", 0, {3}}},
      .right = {incarnation{99}, 5, 1235},
      .aux = aux_data{{1, 2}, {-1}, std::string("a\0b\xff", 4)}};
  all["message/pull_request"] = encode(wire_message{pull});
  all["message/nothing_to_pull"] =
      encode(wire_message{nothing_to_pull{request_id{5}, pull_id{6}, 7, milliseconds{8}}});
  all["message/slice_grant"] = encode(wire_message{grant});
  all["message/slice_done"] =
      encode(wire_message{slice_done{request_id{3}, pull_id{4}, offer_id{5}, 6}});
  all["message/slice_failed"] = encode(wire_message{slice_failed{
      request_id{3}, pull_id{4}, offer_id{5}, 6, {errc::lease_revoked, "taken back \xff"}}});
  all["message/cancel_notice"] =
      encode(wire_message{cancel_notice{request_id{3}, pull_id{0}, {errc::cancelled, ""}, true}});
  all["message/odd_empty_wants"] = bytes_field(1, repeated(bytes_field(6, ""), 5000));
  all["message/odd_many_bodies"] = repeated(bytes_field(4, ""), 5000);
  all["message/odd_remaining"] = bytes_field(2, number_field(4, ~0ull));
  all["message/odd_code"] = bytes_field(6, bytes_field(3, number_field(1, 1ull << 31)));
  all["message/odd_length"] = "\x0a" + varint(~0ull) + "x";
}

void add_agreement(corpus& all) {
  agreement_vote vote;
  vote.life = incarnation{7};
  vote.rank = 3;
  vote.round = 12;
  vote.seen = 11;
  vote.attempt = 30;
  vote.items = {{request_id{1}, std::nullopt, milliseconds{500}},
                {request_id{2}, error{errc::peer_lost, "gone"}, milliseconds{0}}};
  vote.at_least = agreement_vote::all;
  vote.open = true;
  vote.remaining = milliseconds{250};
  agreement_verdict verdict;
  verdict.topic = agreement_topic::ready;
  verdict.round = 4;
  verdict.seen = 9;
  verdict.items = {{request_id{8}, std::nullopt, milliseconds{0}}};
  const auto empty_items = repeated(bytes_field(7, ""), 5000);
  all["agreement_vote/plain"] = encode(vote);
  all["agreement_vote/odd_empty_items"] = bytes_field(1, empty_items);
  all["agreement_vote/odd_verdict"] = encode(verdict);
  all["agreement_verdict/plain"] = encode(verdict);
  all["agreement_verdict/odd_failure"] =
      bytes_field(2, number_field(1, 2) + number_field(2, 1) + number_field(4, 1) +
                         bytes_field(5, bytes_field(2, number_field(1, 1))));
}

void add_plane(corpus& all) {
  plane_manifest manifest;
  manifest.life = incarnation{42};
  manifest.boot_id = "b0071d";
  manifest.socket = "baton-0123";
  manifest.token.assign(manifest_limits::token_bytes, '\xfe');
  manifest.user = 1000;
  manifest.network = 4026531840;
  manifest.ucx_version = "1.22.0";
  manifest.ucx_address.assign(60, '\0');
  manifest.chunk_bytes = 256 * 1024;
  manifest.pools.resize(4);
  manifest.pools[1].kind = share_kind::none;
  manifest.pools[1].reason = "made of something else";
  manifest.pools[2].kind = share_kind::vmm;
  manifest.pools[2].pieces = {2u << 20, 20u << 20};
  manifest.pools[2].offset = 4096;
  manifest.pools[2].bytes = (22u << 20) - 4096;
  manifest.pools[3].kind = share_kind::ipc;
  manifest.pools[3].handle.fill(std::byte{0xa5});
  manifest.pools[3].bytes = 1'000'000;
  all["manifest/plain"] = encode(manifest);
  all["manifest/odd_empty_pools"] = encode(manifest) + repeated(bytes_field(10, ""), 5000);
  manifest.pools[2].bytes = ~0ull;
  all["manifest/odd_huge_pool"] = encode(manifest);
  all["lane_pull/plain"] = encode(lane_pull{
      incarnation{1}, 2, {incarnation{3}, 4, 5}, {{"full", {0, 64}, {32, 48}}}, 1 << 20, 8, 9});
  all["lane_pull/odd_empty_ranges"] = repeated(bytes_field(6, ""), 5000);
  all["lane_heads/pull"] = '\0' + std::string{head_bytes(pull_head{1, 2, 3})};
  all["lane_heads/chunk"] = '\1' + std::string{head_bytes(chunk_head{1, 2, 3, 4})};
  all["lane_heads/bye"] = '\2' + std::string{head_bytes(bye_head{1, 2, 3})};
}

/// See tests/fuzz/exports.cpp.
std::string packet(const export_packet& head, std::string_view descriptors) {
  return std::string{static_cast<char>(descriptors.size())} + std::string{descriptors} +
         std::string{static_cast<char>(sizeof head)} + std::string{head_bytes(head)};
}

void add_exports(corpus& all) {
  export_packet head;
  head.life = 0x1122334455667788;
  std::fill(std::begin(head.token), std::end(head.token), 't');
  head.count = 2;
  head.total = 2;
  all["exports/plain"] = packet(head, std::string_view{"\0\1", 2});
  all["exports/odd_foreign_table"] = packet(head, "\2\1");
  all["exports/odd_small_pool"] = packet(head, std::string_view{"\0\3", 2});
  all["exports/odd_no_memory"] = packet(head, "\4\4");
  all["exports/odd_empty_packet"] = std::string{"\2\0\1\0", 4};
  all["exports/odd_too_many"] = packet(head, std::string_view{"\0\1\1", 3});
  auto part = head;
  part.count = 1;
  auto rest = part;
  rest.first = 1;
  all["exports/two_packets"] = packet(part, std::string_view{"\0", 1}) + packet(rest, "\1");
  rest.first = ~0u;
  all["exports/odd_order"] = packet(part, std::string_view{"\0", 1}) + packet(rest, "\1");
}

void add_params(corpus& all) {
  const disaggregated_params params{"10.0.0.1:4000", 3};
  all["params/plain"] = encode(params);
  all["params/odd_version"] = number_field(1, 2) + bytes_field(2, "later");
  all["params/odd_port"] = encode(disaggregated_params{"host:65536", 0});
}

void add_tickets(corpus& all) {
  request_ticket ticket;
  ticket.request = request_id{7};
  ticket.tables = {{"full", 0, {5, 9, 10, 11, 2}, {}}, {"swa", 16, {3, 1}, {{24, {8}}}}};
  ticket.aux = {{{1, 2}, {3}, "opaque"}};
  const incarnation life{0x1122334455667788};
  const incarnation other{0x8877665544332211};
  ticket.ranks = {{0, life, offer_id{11}, {{{life, 4, 7}, {{0, {0, 40}, {}}}}}, 0, false},
                  {1,
                   other,
                   offer_id{12},
                   {{{other, 1, 1}, {{0, {0, 20}, {0, 4}}, {1, {16, 20}, {0, 4}}}},
                    {{other, 2, 3}, {{0, {0, 20}, {4, layer_range::no_end}}}}},
                   std::nullopt,
                   true}};
  all["ticket/plain"] = fuzz::body_of(encode(ticket));
  all["ticket/empty"] = "";
  const auto runs = varint(0) + varint(wire_limits::blocks);
  all["ticket/odd_long_runs"] =
      repeated(bytes_field(2, bytes_field(1, "full") + bytes_field(3, runs)), 8);
  all["ticket/odd_tails"] =
      bytes_field(2, bytes_field(1, "full") + repeated(bytes_field(4, ""), 4096));
  all["ticket/odd_ranks"] = repeated(bytes_field(4, ""), 4096);
  disaggregated_params params{"10.0.0.1:4000", 3};
  params.ticket = std::make_shared<const request_ticket>(std::move(ticket));
  all["params/ticket"] = encode(params);
}

void add_scenarios(corpus& all) {
  const std::string model =
      R"("model":{"layers":4,"kv_heads":4,"head_dim":8,"dtype":"bf16","attention":"gqa"})";
  const std::string sides =
      R"("context":{"tp":2,"pp":1,"tokens_per_block":8,"blocks":64},)"
      R"("generation":{"tp":1,"pp":2,"tokens_per_block":4,"inner":"NHD","pool":"tensor","blocks":64})";
  const std::string rest = R"("workflow":"ctx_first_sync","timeout_ms":500)";
  const auto scenario = [&](std::string_view requests, std::string_view more = "") {
    return fmt::format("{{{},{},{},\"requests\":{}{}}}", model, sides, rest, requests, more);
  };
  all["scenario/plain"] = scenario(
      R"([{"id":1,"tokens":30},{"id":2,"tokens":60,"cached_tokens":16,"chunks":[25,35]}])");
  all["scenario/series"] = scenario(R"({"count":16,"tokens":[30,10]})");
  all["scenario/faults"] = scenario(
      R"([{"id":1,"tokens":30,"expect":{"context":["TRANS_ERROR"]}}])",
      R"(,"lane":"ucx","faults":[{"at":"granted","do":"kill","who":"context:1","request":1}])");
  all["scenario/groups"] =
      R"({"model":{"layers":4,"kv_heads":4,"head_dim":8,"dtype":"fp8",)"
      R"("groups":[{"name":"a","layers":[0,2]},{"name":"b","layers":[1],"window":8}],)"
      R"("state":{"layers":[3],"conv_bytes":64,"ssm_heads":4,"ssm_head_bytes":16}},)" +
      sides + "," + rest + R"(,"requests":[{"id":1,"tokens":9}]})";
  all["scenario/odd_count"] = scenario(R"({"count":10000000,"tokens":[1]})");
  all["scenario/odd_depth"] = scenario(repeated("[", 5000) + repeated("]", 5000));
  all["scenario/odd_long_value"] = scenario('"' + repeated("abcd", 2000) + '"');
  all["scenario/odd_long_name"] = scenario("1", ",\"" + repeated("name", 2000) + "\":1");
  all["scenario/odd_many_layers"] =
      R"({"model":{"layers":8192,"kv_heads":65536,"head_dim":1,"dtype":"int8"},)"
      R"("context":{"tp":4096,"pp":1,"tokens_per_block":1,"blocks":1},)"
      R"("generation":{"tp":4096,"pp":1,"tokens_per_block":1,"blocks":1},)" +
      rest + R"(,"requests":[{"id":1,"tokens":1}]})";
}

corpus make_all() {
  corpus all;
  add_layouts(all);
  add_messages(all);
  add_agreement(all);
  add_plane(all);
  add_exports(all);
  add_params(all);
  add_tickets(all);
  add_scenarios(all);
  return all;
}

void write_all(const corpus& all, const std::filesystem::path& folder) {
  for (const auto& [name, bytes] : all) {
    std::filesystem::create_directories((folder / name).parent_path());
    std::ofstream{folder / name, std::ios::binary}.write(
        bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
}

int check_all(const corpus& all, const std::filesystem::path& folder) {
  int stale = 0;
  for (const auto& [name, bytes] : all) {
    std::ifstream in{folder / name, std::ios::binary};
    const std::string there{std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{}};
    if (in && there == bytes)
      continue;
    std::fprintf(stderr, "%s is not what it would be today; run fuzz_corpus %s\n", name.c_str(),
                 folder.c_str());
    ++stale;
  }
  return stale == 0 ? 0 : 1;
}

} // namespace

int main(int count, char** arguments) {
  const std::string first = count > 1 ? arguments[1] : "";
  if (count == 3 && first == "--check")
    return check_all(make_all(), arguments[2]);
  if (count != 2) {
    std::fprintf(stderr, "usage: %s [--check] FOLDER\n", arguments[0]);
    return 2;
  }
  write_all(make_all(), first);
  return 0;
}
