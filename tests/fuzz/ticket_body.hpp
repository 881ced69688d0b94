#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// A `baton.wire.Ticket`, taken apart by hand: field 1 is the check of the body, field 2 the body.
namespace baton::fuzz {

/// Returns the ticket with this body and the right check.
[[nodiscard]] inline std::string ticket_of(std::string_view body) {
  std::uint64_t check = 0xcbf29ce484222325; // FNV-1a
  for (const char byte : body)
    check = (check ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  std::string ticket{'\x09'};
  for (int shift = 0; shift < 64; shift += 8)
    ticket.push_back(static_cast<char>(check >> shift));
  ticket.push_back('\x12');
  auto size = body.size();
  for (; size >= 0x80; size >>= 7)
    ticket.push_back(static_cast<char>(size | 0x80));
  ticket.push_back(static_cast<char>(size));
  return ticket.append(body);
}

/// Returns the body of an encoded ticket.
[[nodiscard]] inline std::string body_of(std::string_view ticket) {
  auto at = ticket.find('\x12', 9) + 1;
  while (static_cast<unsigned char>(ticket[at]) >= 0x80)
    ++at;
  return std::string{ticket.substr(at + 1)};
}

} // namespace baton::fuzz
