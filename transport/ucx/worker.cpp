#include "transport/ucx/worker.hpp"

#include <memory>
#include <utility>

namespace baton {

void ucx_worker::operation::complete(ucs_status_t status) noexcept {
  const std::unique_ptr<operation> self{this};
  --worker.outstanding_;
  if (done)
    done(status);
}

expected<> ucx_worker::open(unsigned ids) {
  ucp_worker_params_t params{};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  params.thread_mode = UCS_THREAD_MODE_SERIALIZED;
  ucp_worker_h worker = nullptr;
  if (const auto status = ucp_worker_create(parent_.get(), &params, &worker); status != UCS_OK)
    return ucx_failed(errc::transport_failed, "ucp_worker_create", status);
  handle_ = unique_handle<ucp_worker_h, ucp_worker_destroy>{worker};
  if (const auto status = ucp_worker_get_efd(worker, &descriptor_); status != UCS_OK)
    return ucx_failed(errc::transport_failed, "ucp_worker_get_efd", status);
  routes_.resize(ids);
  for (unsigned id = 0; id < ids; ++id) {
    routes_[id] = {this, id};
    ucp_am_handler_param_t handler{};
    handler.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS |
                         UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG;
    handler.id = id;
    handler.flags = UCP_AM_FLAG_WHOLE_MSG;
    handler.cb = on_message;
    handler.arg = &routes_[id];
    if (const auto status = ucp_worker_set_am_recv_handler(worker, &handler); status != UCS_OK)
      return ucx_failed(errc::transport_failed, "ucp_worker_set_am_recv_handler", status);
  }
  return {};
}

expected<std::string> ucx_worker::address() const {
  ucp_address_t* address = nullptr;
  std::size_t bytes = 0;
  if (const auto status = ucp_worker_get_address(get(), &address, &bytes); status != UCS_OK)
    return ucx_failed(errc::transport_failed, "ucp_worker_get_address", status);
  std::string copy{reinterpret_cast<const char*>(address), bytes};
  ucp_worker_release_address(get(), address);
  return copy;
}

bool ucx_worker::arm() noexcept {
  return ucp_worker_arm(get()) == UCS_OK;
}

ucs_status_t ucx_worker::on_message(void* arg, const void* header, size_t header_bytes, void* body,
                                    size_t body_bytes, const ucp_am_recv_param_t* param) {
  const auto& to = *static_cast<const route*>(arg);
  to.worker->sink_.received({to.id,
                             {static_cast<const std::byte*>(header), header_bytes},
                             body,
                             body_bytes,
                             (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0});
  return UCS_OK;
}

void ucx_worker::receive(const ucx_message& message, std::byte* to, ucx_completion done) noexcept {
  auto* begun = new operation{*this, std::move(done), {}, {}};
  ucp_request_param_t param{};
  param.op_attr_mask =
      UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_MEMORY_TYPE;
  param.memory_type = chunks_;
  param.user_data = begun;
  param.cb.recv_am = [](void* request, ucs_status_t status, size_t, void* user_data) {
    static_cast<operation*>(user_data)->complete(status);
    ucp_request_free(request);
  };
  started(begun, ucp_am_recv_data_nbx(get(), message.body, to, message.body_bytes, &param));
}

void ucx_worker::started(operation* begun, ucs_status_ptr_t result) noexcept {
  ++outstanding_;
  if (!UCS_PTR_IS_PTR(result))
    begun->complete(UCS_PTR_RAW_STATUS(result));
}

} // namespace baton
