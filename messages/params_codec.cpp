#include <algorithm>
#include <charconv>

#include "messages/codec.hpp"
#include "messages/layout_check.hpp"
#include "messages/params.hpp"
#include "messages/params.pb.h"
#include "messages/ticket.hpp"

namespace baton {
namespace {

expected<> check(const disaggregated_params& params) {
  if (auto ok = check_name("params.endpoint", params.endpoint); !ok)
    return ok;
  const auto colon = params.endpoint.rfind(':');
  unsigned port = 0;
  const auto* end = params.endpoint.data() + params.endpoint.size();
  if (colon != std::string::npos && colon != 0)
    if (const auto read = std::from_chars(end - (params.endpoint.size() - colon - 1), end, port);
        read.ec != std::errc{} || read.ptr != end || port > 65'535)
      port = 0;
  if (port == 0)
    return refuse("params.endpoint: '{}' is not host:port", params.endpoint);
  if (params.dp_rank >= layout_limits::ranks)
    return refuse("params.dp_rank: {} exceeds {}", params.dp_rank, layout_limits::ranks - 1);
  return {};
}

} // namespace

std::string encode(const disaggregated_params& params) {
  wire::DisaggregatedParamsBody body;
  body.set_endpoint(params.endpoint);
  body.set_dp_rank(params.dp_rank);
  if (params.ticket)
    body.set_ticket(encode(*params.ticket));
  wire::DisaggregatedParams out;
  out.set_version(params_version);
  out.set_body(body.SerializeAsString());
  return out.SerializeAsString();
}

expected<disaggregated_params> decode_params(std::string_view bytes) {
  const auto message = parse<wire::DisaggregatedParams>(bytes, params_bytes, "params");
  if (!message)
    return fail(message.error());
  if (message->version() == 0)
    return refuse("params.version: is missing; these bytes are no parameters of baton's");
  if (message->version() != params_version)
    return fail(errc::version_mismatch,
                "params.version: {} given, this version reads {}; run one version on both sides",
                message->version(), params_version);
  const auto body =
      parse<wire::DisaggregatedParamsBody>(message->body(), params_bytes, "params.body");
  if (!body)
    return fail(body.error());
  disaggregated_params params{body->endpoint(), body->dp_rank()};
  if (auto ok = check(params); !ok)
    return fail(std::move(ok).error());
  if (!body->ticket().empty())
    if (auto ticket = decode_ticket(body->ticket()))
      params.ticket = std::make_shared<const request_ticket>(*std::move(ticket));
  return params;
}

} // namespace baton
