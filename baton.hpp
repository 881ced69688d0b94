#pragma once

/// Everything that an engine needs to hand a request's KV cache over: the facade, the real data
/// plane, the layout. Engines that are made of actors include "actors/actors.hpp" as well.

#include "actors/block_offer.hpp"
#include "actors/config.hpp"
#include "actors/options.hpp"
#include "actors/request.hpp"
#include "actors/transceiver.hpp"
#include "gpu/record_event.hpp"
#include "messages/error.hpp"
#include "messages/ids.hpp"
#include "messages/layout.hpp"
#include "messages/params.hpp"
#include "messages/state.hpp"
#include "messages/wire.hpp"
#include "transport/pool/pool.hpp"
#include "transport/rank_plane.hpp"
#include "transport/seam/data_plane.hpp"
#include "transport/ucx/version.hpp"
