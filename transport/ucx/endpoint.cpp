#include "transport/ucx/endpoint.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

namespace baton {

namespace {

/// Names of the transports that lead to the peer; none if UCX does not tell.
std::vector<std::string_view> transports_of(ucp_ep_h endpoint) {
  std::array<ucp_transport_entry_t, 16> ways{};
  ucp_ep_attr_t found{};
  found.field_mask = UCP_EP_ATTR_FIELD_TRANSPORTS;
  found.transports = {ways.data(), ways.size(), sizeof ways.front()};
  if (ucp_ep_query(endpoint, &found) != UCS_OK)
    return {};
  std::vector<std::string_view> names;
  for (unsigned i = 0; i < found.transports.num_entries; ++i)
    names.emplace_back(ways.at(i).transport_name);
  return names;
}

/// How large messages go out of a kind of memory.
std::uint32_t flags_of_large(ucp_ep_h endpoint, ucs_memory_type_t memory) {
  const auto names = transports_of(endpoint);
  // From GPU to GPU only rendezvous stays there. Where there is no such way, the plain one through
  // the host is sure to work.
  if (memory != UCS_MEMORY_TYPE_HOST)
    return std::ranges::find(names, "cuda_ipc") != names.end() ? UCP_AM_SEND_FLAG_RNDV
                                                               : UCP_AM_SEND_FLAG_EAGER;
  // Over a stream of bytes rendezvous gains nothing but a round trip, and costs a copy.
  const bool all_tcp =
      !names.empty() && std::ranges::all_of(names, [](auto name) { return name == "tcp"; });
  return all_tcp ? UCP_AM_SEND_FLAG_EAGER : 0;
}

} // namespace

expected<std::unique_ptr<ucx_endpoint>>
ucx_endpoint::connect(ucx_worker& worker, const std::string& address,
                      std::function<void(ucs_status_t)> broken) {
  std::unique_ptr<ucx_endpoint> endpoint{new ucx_endpoint{worker, std::move(broken)}};
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                      UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.address = reinterpret_cast<const ucp_address_t*>(address.data());
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler.arg = endpoint.get();
  params.err_handler.cb = [](void* arg, ucp_ep_h, ucs_status_t status) {
    static_cast<ucx_endpoint*>(arg)->broken_(status);
  };
  const auto status = ucp_ep_create(worker.get(), &params, &endpoint->handle_);
  if (status != UCS_OK)
    return ucx_failed(errc::peer_lost, "ucp_ep_create", status);
  endpoint->large_flags_ = flags_of_large(endpoint->handle_, worker.chunk_memory());
  return endpoint;
}

ucx_endpoint::~ucx_endpoint() {
  if (handle_ == nullptr)
    return;
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = UCP_EP_CLOSE_FLAG_FORCE;
  const auto closing = ucp_ep_close_nbx(handle_, &param);
  if (UCS_PTR_IS_PTR(closing))
    ucp_request_free(closing);
}

void ucx_endpoint::send(unsigned id, std::string_view header, std::string body,
                        ucx_completion done) noexcept {
  auto* begun =
      new ucx_worker::operation{worker_, std::move(done), std::string{header}, std::move(body)};
  start(id, begun, std::as_bytes(std::span{begun->body}), UCS_MEMORY_TYPE_HOST,
        UCP_AM_SEND_FLAG_EAGER);
}

void ucx_endpoint::send_large(unsigned id, std::string_view header, std::span<const std::byte> body,
                              ucx_completion done) noexcept {
  start(id, new ucx_worker::operation{worker_, std::move(done), std::string{header}, {}}, body,
        worker_.chunk_memory(), large_flags_);
}

void ucx_endpoint::flush(ucx_completion done) noexcept {
  auto* begun = new ucx_worker::operation{worker_, std::move(done), {}, {}};
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.user_data = begun;
  param.cb.send = completed;
  worker_.started(begun, ucp_ep_flush_nbx(handle_, &param));
}

void ucx_endpoint::completed(void* request, ucs_status_t status, void* operation) noexcept {
  static_cast<ucx_worker::operation*>(operation)->complete(status);
  ucp_request_free(request);
}

void ucx_endpoint::start(unsigned id, ucx_worker::operation* begun, std::span<const std::byte> body,
                         ucs_memory_type_t memory, std::uint32_t flags) noexcept {
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA |
                       UCP_OP_ATTR_FIELD_FLAGS | UCP_OP_ATTR_FIELD_MEMORY_TYPE;
  param.flags = flags;
  param.memory_type = memory;
  param.user_data = begun;
  param.cb.send = completed;
  worker_.started(begun, ucp_am_send_nbx(handle_, id, begun->header.data(), begun->header.size(),
                                         body.data(), body.size(), &param));
}

} // namespace baton
