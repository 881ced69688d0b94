#include <algorithm>
#include <utility>

#include "messages/codec.hpp"
#include "messages/layout_check.hpp"
#include "messages/ticket.hpp"
#include "messages/ticket.pb.h"

namespace baton {
namespace {

std::uint64_t check_of(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char byte : bytes)
    hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  return hash;
}

// -- runs of block ids ----

using packed_runs = google::protobuf::RepeatedField<std::uint32_t>;

void write_runs(const std::vector<std::uint32_t>& blocks, packed_runs& out) {
  std::uint32_t end = 0;
  for (std::size_t i = 0; i < blocks.size();) {
    auto next = i + 1;
    while (next < blocks.size() && blocks[next] == blocks[next - 1] + 1)
      ++next;
    const auto ahead = std::int64_t{blocks[i]} - end;
    out.Add(static_cast<std::uint32_t>(ahead < 0 ? -2 * ahead - 1 : 2 * ahead));
    out.Add(static_cast<std::uint32_t>(next - i));
    end = blocks[next - 1] + 1;
    i = next;
  }
}

/// Lowers `left` by the blocks that were read.
expected<std::vector<std::uint32_t>> read_runs(const std::string& field, const packed_runs& runs,
                                               std::size_t& left) {
  std::vector<std::uint32_t> blocks;
  if (runs.size() % 2 != 0)
    return refuse("{}.runs: {} numbers are no pairs", field, runs.size());
  std::int64_t end = 0;
  for (int i = 0; i < runs.size(); i += 2) {
    const auto ahead = std::int64_t{runs[i] >> 1} ^ -std::int64_t{runs[i] & 1};
    const auto begin = end + ahead;
    end = begin + runs[i + 1];
    if (begin < 0 || end > std::int64_t{layout_limits::slots})
      return refuse("{}.runs[{}]: blocks [{}, {}) are not within 0 and {}", field, i / 2, begin,
                    end, layout_limits::slots);
    if (runs[i + 1] == 0 || runs[i + 1] > left)
      return refuse("{}.runs[{}]: of {} blocks, where 1 to {} are possible", field, i / 2,
                    runs[i + 1], left);
    left -= runs[i + 1];
    for (auto block = begin; block < end; ++block)
      blocks.push_back(static_cast<std::uint32_t>(block));
  }
  return blocks;
}

// -- the other way ----

void write_table(const group_blocks& table, wire::TicketTable& out) {
  out.set_group(table.group);
  out.set_first_block_token(table.first_block_token);
  write_runs(table.blocks, *out.mutable_runs());
  for (const auto& tail : table.tails) {
    auto& one = *out.add_tails();
    one.set_first_block_token(tail.first_block_token);
    write_runs(tail.blocks, *one.mutable_runs());
  }
}

void write_slice(const ticket_slice& slice, wire::TicketSlice& out) {
  out.set_lease(slice.right.slot);
  out.set_epoch(slice.right.epoch);
  for (const auto& range : slice.ranges) {
    auto& one = *out.add_ranges();
    one.set_table(range.table);
    one.set_begin(range.tokens.begin);
    one.set_end(range.tokens.end);
    write_layers(range.layers, one);
  }
}

void write_rank(const rank_ticket& rank, wire::RankTicket& out) {
  out.set_rank(rank.rank);
  out.set_life(rank.life.value);
  out.set_offer(rank.offer.value);
  for (const auto& slice : rank.slices)
    write_slice(slice, *out.add_slices());
  out.set_aux(rank.aux ? *rank.aux + 1 : 0);
  out.set_aux_left_out(rank.aux_left_out);
}

void write_aux(const aux_data& aux, wire::Aux& out) {
  out.mutable_first_tokens()->Add(aux.first_tokens.begin(), aux.first_tokens.end());
  out.mutable_draft_tokens()->Add(aux.draft_tokens.begin(), aux.draft_tokens.end());
  out.set_opaque(aux.opaque);
}

// -- reading, with checks ----

expected<> check_first_token(const std::string& field, std::uint32_t token) {
  if (token > wire_limits::tokens)
    return refuse("{}.first_block_token: {} exceeds {}", field, token, wire_limits::tokens);
  return {};
}

expected<group_blocks> read_table(const std::string& field, const wire::TicketTable& in,
                                  std::size_t& left) {
  group_blocks table{in.group(), in.first_block_token(), {}, {}};
  if (auto ok = check_name(field + ".group", table.group); !ok)
    return fail(std::move(ok).error());
  if (auto ok = check_first_token(field, table.first_block_token); !ok)
    return fail(std::move(ok).error());
  auto blocks = read_runs(field, in.runs(), left);
  if (!blocks)
    return fail(std::move(blocks).error());
  table.blocks = *std::move(blocks);
  if (static_cast<std::size_t>(in.tails_size()) >= wire_limits::beams)
    return refuse("{}.tails: {} exceed {}", field, in.tails_size(), wire_limits::beams - 1);
  for (const auto& tail : in.tails()) {
    const auto item = fmt::format("{}.tails[{}]", field, table.tails.size());
    if (auto ok = check_first_token(item, tail.first_block_token()); !ok)
      return fail(std::move(ok).error());
    auto own = read_runs(item, tail.runs(), left);
    if (!own)
      return fail(std::move(own).error());
    table.tails.push_back({tail.first_block_token(), *std::move(own)});
  }
  return table;
}

expected<ticket_slice> read_slice(const std::string& field, const wire::TicketSlice& in,
                                  incarnation life, const std::vector<group_blocks>& tables) {
  ticket_slice slice{{life, in.lease(), in.epoch()}, {}};
  if (slice.right.epoch % 2 == 0)
    return refuse("{}.epoch: {} is even, so nothing is granted", field, slice.right.epoch);
  if (static_cast<std::size_t>(in.ranges_size()) > layout_limits::groups)
    return refuse("{}.ranges: {} exceed {}", field, in.ranges_size(), layout_limits::groups);
  for (const auto& one : in.ranges()) {
    const auto item = fmt::format("{}.ranges[{}]", field, slice.ranges.size());
    if (one.table() >= tables.size())
      return refuse("{}.table: {}, there are {}", item, one.table(), tables.size());
    if (one.begin() > one.end() || one.end() > wire_limits::tokens)
      return refuse("{}: tokens [{}, {}) are none", item, one.begin(), one.end());
    const auto layers = read_layers(one);
    if (layers.empty())
      return refuse("{}: layers {} are none", item, to_string(layers));
    const auto& group = tables[one.table()].group;
    if (std::ranges::any_of(slice.ranges,
                            [&](const auto& other) { return tables[other.table].group == group; }))
      return refuse("{}: group {} is given twice", item, group);
    slice.ranges.push_back({one.table(), {one.begin(), one.end()}, layers});
  }
  return slice;
}

expected<rank_ticket> read_rank(const std::string& field, const wire::RankTicket& in,
                                const request_ticket& so_far) {
  rank_ticket rank{in.rank(), incarnation{in.life()}, offer_id{in.offer()}, {}, {}, false};
  if (rank.rank >= layout_limits::ranks)
    return refuse("{}.rank: {} exceeds {}", field, rank.rank, layout_limits::ranks - 1);
  if (rank.life.value == 0)
    return refuse("{}.life: must not be 0", field);
  for (const auto& other : so_far.ranks)
    if (other.rank == rank.rank)
      return refuse("{}.rank: {} is given twice", field, rank.rank);
  if (in.slices_size() == 0 || static_cast<std::size_t>(in.slices_size()) > wire_limits::slices)
    return refuse("{}.slices: {}, where 1 to {} are possible", field, in.slices_size(),
                  wire_limits::slices);
  for (const auto& one : in.slices()) {
    auto slice = read_slice(fmt::format("{}.slices[{}]", field, rank.slices.size()), one, rank.life,
                            so_far.tables);
    if (!slice)
      return fail(std::move(slice).error());
    rank.slices.push_back(*std::move(slice));
  }
  if (in.aux() > so_far.aux.size())
    return refuse("{}.aux: {}, there are {}", field, in.aux() - 1, so_far.aux.size());
  if (in.aux() != 0)
    rank.aux = in.aux() - 1;
  rank.aux_left_out = in.aux_left_out();
  return rank;
}

expected<request_ticket> read_body(const wire::TicketBody& in) {
  request_ticket ticket;
  ticket.request = request_id{in.request()};
  std::size_t left = wire_limits::blocks;
  for (const auto& one : in.tables()) {
    auto table = read_table(fmt::format("ticket.tables[{}]", ticket.tables.size()), one, left);
    if (!table)
      return fail(std::move(table).error());
    ticket.tables.push_back(*std::move(table));
  }
  for (const auto& one : in.aux())
    ticket.aux.push_back({{one.first_tokens().begin(), one.first_tokens().end()},
                          {one.draft_tokens().begin(), one.draft_tokens().end()},
                          one.opaque()});
  for (const auto& one : in.ranks()) {
    auto rank = read_rank(fmt::format("ticket.ranks[{}]", ticket.ranks.size()), one, ticket);
    if (!rank)
      return fail(std::move(rank).error());
    ticket.ranks.push_back(*std::move(rank));
  }
  return ticket;
}

/// Returns the index of a value, which is added if it is not there.
template <class Value>
std::uint32_t index_of(std::vector<Value>& values, const Value& wanted) {
  auto found = std::ranges::find(values, wanted);
  if (found == values.end())
    found = values.insert(found, wanted);
  return static_cast<std::uint32_t>(found - values.begin());
}

} // namespace

bool operator==(const disaggregated_params& a, const disaggregated_params& b) {
  const bool same_ticket = a.ticket && b.ticket ? *a.ticket == *b.ticket : a.ticket == b.ticket;
  return a.endpoint == b.endpoint && a.dp_rank == b.dp_rank && same_ticket;
}

expected<> add(request_ticket& to, const request_ticket& more) {
  if (to.request != more.request)
    return refuse("ticket.request: {} and {} cannot be joined", to.request, more.request);
  for (auto rank : more.ranks) {
    if (std::ranges::find(to.ranks, rank.rank, &rank_ticket::rank) != to.ranks.end())
      return refuse("ticket.ranks: rank {} is there already", rank.rank);
    for (auto& slice : rank.slices)
      for (auto& range : slice.ranges)
        range.table = index_of(to.tables, more.tables.at(range.table));
    if (rank.aux)
      rank.aux = index_of(to.aux, more.aux.at(*rank.aux));
    to.ranks.push_back(std::move(rank));
  }
  return {};
}

std::string encode(const request_ticket& ticket) {
  wire::TicketBody body;
  body.set_request(ticket.request.value);
  for (const auto& table : ticket.tables)
    write_table(table, *body.add_tables());
  for (const auto& aux : ticket.aux)
    write_aux(aux, *body.add_aux());
  for (const auto& rank : ticket.ranks)
    write_rank(rank, *body.add_ranks());
  wire::Ticket out;
  out.set_body(body.SerializeAsString());
  out.set_check(check_of(out.body()));
  return out.SerializeAsString();
}

expected<std::string> encode_within_limit(request_ticket ticket) {
  auto bytes = encode(ticket);
  if (bytes.size() <= ticket_bytes)
    return bytes;
  for (auto& rank : ticket.ranks)
    rank.aux_left_out = rank.aux_left_out || std::exchange(rank.aux, std::nullopt).has_value();
  ticket.aux.clear();
  bytes = encode(ticket);
  if (bytes.size() > ticket_bytes)
    return fail(errc::out_of_resources,
                "the ticket of request {} takes {} bytes of at most {}; its receivers have to ask",
                ticket.request, bytes.size(), ticket_bytes);
  return bytes;
}

expected<request_ticket> decode_ticket(std::string_view bytes) {
  const auto message = parse<wire::Ticket>(bytes, ticket_bytes, "ticket");
  if (!message)
    return fail(message.error());
  if (message->check() != check_of(message->body()))
    return refuse("ticket.check: does not fit the body; these bytes are damaged, or no ticket");
  const auto body = parse<wire::TicketBody>(message->body(), ticket_bytes, "ticket.body");
  if (!body)
    return fail(body.error());
  return read_body(*body);
}

} // namespace baton
