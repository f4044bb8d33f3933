// How one NTP packet is itself protected (design 2): the seam that MAC and NTS implement, and that the shims call.
//
//   client role:  local request -> re-issued header -> ClientSeal::seal -> carrier
//                 carrier -> ClientSeal::open -> checks, hold correction -> the client's own fields -> local client
//   server role:  carrier -> ServerSeal::open -> header alone -> daemon
//                 daemon -> checks, hold correction -> ServerSeal::seal -> carrier
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <variant>

#include "ntp-shim/bytes.hpp"
#include "ntp-shim/drop_reason.hpp"
#include "ntp-shim/packet.hpp"

namespace ntp_shim {

inline constexpr std::size_t kMaxSealed = 1280; // the longest sealed packet on UDP (NTS, design 7)
using SealBuffer = std::array<std::byte, kMaxSealed>;

/// What a seal remembers of one exchange between its two packets: a key, a unique id. The exchange owns it, so that a
/// key replaced meanwhile still closes what it opened. Given back to the seal that made it and to no other.
class SealMemory {
public:
    virtual ~SealMemory() = default;
    SealMemory(const SealMemory&) = delete;
    SealMemory& operator=(const SealMemory&) = delete;

protected:
    SealMemory() = default;
};
using SealMemoryPointer = std::shared_ptr<const SealMemory>;

class ClientSeal {
public:
    ClientSeal() = default;
    virtual ~ClientSeal() = default;
    ClientSeal(const ClientSeal&) = delete;
    ClientSeal& operator=(const ClientSeal&) = delete;

    /// The version that requests are re-issued in.
    [[nodiscard]] virtual std::uint8_t version() const noexcept = 0;

    struct Sealed {
        std::size_t length{}; // of the whole packet
        SealMemoryPointer memory;
    };
    /// `packet` begins with the finished header of a request; what the seal adds goes behind it. An inner seal keeps
    /// within kMaxPacket. no_key (or the seal's own word for it) when it has nothing to seal with now.
    [[nodiscard]] virtual std::variant<Sealed, DropReason> seal(SealBuffer& packet) = 0;

    /// Nothing when `reply`, of at least 48 octets, is sealed as the answer to the request that `memory` is of: its
    /// header may then be believed. Whether it answers that request (origin, mode, version) is the shim's question.
    /// A refused reply does not end the exchange: the right one may still come.
    [[nodiscard]] virtual std::optional<DropReason> open(Bytes reply, const SealMemory& memory) = 0;
};

/// Where a sealed request came from: IPv4 as ::ffff:a.b.c.d; all zero when a channel brought it.
using SealPeer = std::array<std::byte, 16>;

class ServerSeal {
public:
    ServerSeal() = default;
    virtual ~ServerSeal() = default;
    ServerSeal(const ServerSeal&) = delete;
    ServerSeal& operator=(const ServerSeal&) = delete;

    /// The memory of a genuine request of at least 48 octets; nothing in it when the request is unprotected and may be
    /// answered in the clear. What followed its header is the seal's own business and does not reach the daemon.
    [[nodiscard]] virtual std::variant<SealMemoryPointer, DropReason> open(Bytes request, const SealPeer& from) = 0;

    /// `packet` begins with the finished header of the reply. Its whole length when sealed; never longer than the
    /// request was.
    [[nodiscard]] virtual std::variant<std::size_t, DropReason> seal(SealBuffer& packet, const SealMemory& memory) = 0;

    /// What a refused request is told (crypto-NAK, NTS NAK), written into `answer`; 0 = nothing. Never longer than
    /// the request.
    [[nodiscard]] virtual std::size_t refusal(Bytes request, DropReason why, SealBuffer& answer) = 0;
};

/// What a client wrote and gets back in its reply, whatever the re-issued request said.
struct ClientFields {
    std::uint8_t version{};
    std::uint8_t poll{};
    std::uint64_t transmit{};

    [[nodiscard]] static ClientFields of(const Packet& request) noexcept
    {
        return {.version = request.version, .poll = request.poll, .transmit = request.transmit};
    }
};

/// A client's request with nothing in it but a version and a transmit stamp (design 7): what the local client wrote is
/// nobody's business, and a stamp that nobody can guess is what its reply is known by.
void write_reissued(std::span<std::byte, kHeaderSize> header, std::uint8_t version, std::uint64_t transmit) noexcept;

/// Gives a reply the fields that its client expects to find. `header` holds at least 48 octets.
void restore(std::span<std::byte> header, const ClientFields& client) noexcept;

} // namespace ntp_shim
