// How a handshake came out, and why a session failed: the same for a stream and for datagrams.
#pragma once

#include <cstdint>
#include <optional>

#include "transports/channel.hpp"
#include "transports/tls_state.hpp"

namespace transports {

/// After a handshake that OpenSSL calls complete: fills in what the peer turned out to be, or refuses it.
[[nodiscard]] std::optional<Closed> conclude(ssl_st& session, EngineNotes& notes);

/// Why a call on the session gave `result`; empties the error queue.
[[nodiscard]] Closed why_failed(const ssl_st& session, const EngineNotes& notes, int result, bool handshaking);

/// What no peer of ours does after a handshake, though OpenSSL lets it pass.
[[nodiscard]] std::optional<Closed> misbehaviour(const EngineNotes& notes);

} // namespace transports
