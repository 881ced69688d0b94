// Stands in for everything in gpu/ that needs CUDA, in builds that have none.
#include "gpu/copy_engine.hpp"
#include "gpu/device.hpp"
#include "gpu/inspect.hpp"
#include "gpu/ipc.hpp"
#include "gpu/memory.hpp"
#include "gpu/vmm.hpp"

namespace baton {
namespace {

tl::unexpected<error> absent() {
  return fail(errc::gpu_failed,
              "built without CUDA: GPU memory cannot be used; run cmake/setup --cuda, "
              "and configure with -DBATON_CUDA=ON");
}

} // namespace

// -- devices
// ----------------------------------------------------------------------------------------

bool gpu_support() noexcept {
  return false;
}

int gpu_count() noexcept {
  return 0;
}

expected<gpu_device> describe_gpu(int /*ordinal*/) {
  return absent();
}

expected<gpu_device> find_gpu(std::string_view /*uuid*/) {
  return absent();
}

expected<bool> can_read_peer(int /*reader*/, int /*owner*/) {
  return absent();
}

expected<> enable_peer_reads(int /*reader*/, int /*owner*/) {
  return absent();
}

expected<> look_at_gpu(int /*ordinal*/) {
  return absent();
}

capture_scope::capture_scope() noexcept = default;
capture_scope::~capture_scope() = default;

gpu_scope::gpu_scope(int /*ordinal*/) noexcept {
}
gpu_scope::~gpu_scope() = default;

// -- streams and events
// -----------------------------------------------------------------------------

expected<gpu_stream> gpu_stream::create(int /*device*/, gpu_priority /*priority*/) {
  return absent();
}

gpu_stream::~gpu_stream() = default;

expected<> wait_for(gpu_stream_ref /*stream*/, gpu_event_ref /*event*/) {
  return absent();
}

expected<> finish(gpu_stream_ref /*stream*/, std::chrono::milliseconds /*limit*/) {
  return absent();
}

expected<> copy_async(void* /*to*/, const void* /*from*/, std::size_t /*bytes*/,
                      gpu_stream_ref /*stream*/) {
  return absent();
}

expected<> fill_async(void* /*to*/, std::byte /*value*/, std::size_t /*bytes*/,
                      gpu_stream_ref /*stream*/) {
  return absent();
}

expected<> copy_now(void* /*to*/, const void* /*from*/, std::size_t /*bytes*/) {
  return absent();
}

// An event of somebody's CUDA, handed to a library without it, must not be taken for complete.
expected<bool> is_complete(gpu_event_ref event) {
  if (!event)
    return true;
  return absent();
}

expected<gpu_event> gpu_event::create(int /*device*/, bool /*timed*/) {
  return absent();
}

gpu_event::~gpu_event() = default;

expected<> gpu_event::record(gpu_stream_ref /*stream*/) {
  return absent();
}

expected<std::chrono::nanoseconds> gpu_event::since(const gpu_event& /*start*/) const {
  return absent();
}

// -- memory
// -----------------------------------------------------------------------------------------

expected<device_buffer> device_buffer::create(int /*device*/, std::size_t /*bytes*/) {
  return absent();
}

device_buffer::~device_buffer() = default;

expected<pinned_buffer> pinned_buffer::create(int /*device*/, std::size_t /*bytes*/) {
  return absent();
}

pinned_buffer::~pinned_buffer() = default;

expected<host_registration> host_registration::create(int /*device*/,
                                                      std::span<const std::byte> /*memory*/,
                                                      gpu_access /*access*/) {
  return absent();
}

host_registration::~host_registration() = default;

expected<vmm_allocation> vmm_allocation::create(int /*device*/, std::size_t /*bytes*/) {
  return absent();
}

vmm_allocation::~vmm_allocation() = default;

expected<vmm_mapping> vmm_mapping::map(int /*device*/, std::span<const vmm_piece> /*pieces*/,
                                       gpu_access /*access*/) {
  return absent();
}

vmm_mapping::~vmm_mapping() = default;

expected<vmm_export> vmm_export::create(const void* /*data*/, std::size_t /*bytes*/) {
  return absent();
}

vmm_export::~vmm_export() = default;

expected<ipc_range> export_ipc(const void* /*data*/, std::size_t /*bytes*/) {
  return absent();
}

expected<ipc_mapping> ipc_mapping::open(int /*device*/, const ipc_range& /*range*/) {
  return absent();
}

ipc_mapping::~ipc_mapping() = default;

expected<memory_facts> inspect_memory(const void* data, std::size_t bytes) {
  if (data == nullptr || bytes == 0)
    return fail(errc::invalid_argument, "{} bytes at {} are no memory", bytes, data);
  return memory_facts{.unshareable_reason = "host memory of the engine; let baton allocate it"};
}

// -- copies
// -----------------------------------------------------------------------------------------

class copy_engine::impl {};

copy_engine::copy_engine(std::unique_ptr<impl> inner) noexcept : impl_{std::move(inner)} {
}
copy_engine::copy_engine(copy_engine&&) noexcept = default;
copy_engine& copy_engine::operator=(copy_engine&&) noexcept = default;
copy_engine::~copy_engine() = default;

expected<copy_engine> copy_engine::create(const copy_engine_options& /*options*/) {
  return absent();
}

expected<std::shared_ptr<const copy_shape>>
copy_engine::make_shape(copy_way /*way*/, std::span<const copy_run> /*runs*/,
                        std::span<const copy_lane> /*lanes*/) {
  return absent();
}

expected<copy_ticket> copy_engine::launch(copy_order /*order*/) {
  return absent();
}

void copy_engine::abort(copy_ticket /*ticket*/) noexcept {
}

std::span<const copy_report> copy_engine::poll() {
  return {};
}

std::optional<error> copy_engine::broken() const {
  return std::nullopt;
}

std::size_t copy_engine::open() const noexcept {
  return 0;
}

const copy_engine_options& copy_engine::options() const noexcept {
  static const copy_engine_options none;
  return none;
}

} // namespace baton
