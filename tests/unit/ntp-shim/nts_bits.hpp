// Keys, rings and packets that the tests of NTS are made of.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "ntp-shim/nts_client_seal.hpp"
#include "ntp-shim/nts_key_ring.hpp"
#include "ntp-shim/nts_server_seal.hpp"
#include "ntp-shim/nts_text.hpp"
#include "tests/unit/ntp-shim/packets.hpp"

namespace nts {

using packets::Bytes;
using packets::Octets;

/// Octets that depend on `seed`; the ones the reference implementation of the vectors was given.
inline Octets mixed(std::size_t count, std::size_t seed)
{
    Octets octets(count);
    for (std::size_t at = 0; at < count; ++at) {
        octets[at] = static_cast<std::byte>((at * 131 + seed * 29 + (at >> 8) * 17) & 0xff);
    }
    return octets;
}

/// Also of a constant: no test is running then that could be told.
inline Octets from_hex(std::string_view hex)
{
    return ntp_shim::octets_of(hex).value();
}

inline ntp_shim::FreshKey fresh(std::uint32_t id)
{
    return {.id = id, .key = ntp_shim::AeadSecret{mixed(32, id % 251)}};
}

inline ntp_shim::KeyRing own_ring()
{
    return ntp_shim::KeyRing::create(ntp_shim::CookieLayout::own, {fresh(0x100), fresh(0x200)});
}

inline ntp_shim::SessionKeys session_keys(ntp_shim::AeadId aead = ntp_shim::AeadId::siv_cmac_256)
{
    const auto size = ntp_shim::key_size(aead);
    return {.aead = aead,
            .client_to_server = ntp_shim::AeadSecret{mixed(size, 7)},
            .server_to_client = ntp_shim::AeadSecret{mixed(size, 8)}};
}

/// A session as a key establishment leaves it.
inline ntp_shim::NtsSession session(const ntp_shim::KeyRing& ring, std::size_t cookies = 8,
                                    ntp_shim::AeadId aead = ntp_shim::AeadId::siv_cmac_256)
{
    ntp_shim::NtsSession made{.keys = session_keys(aead), .cookies = {}};
    for (std::size_t count = 0; count < cookies; ++count) {
        made.put(ring.seal_cookie(made.keys, mixed(16, 20 + count)));
    }
    return made;
}

/// Octets that are never the same twice, and the same in every run.
inline ntp_shim::RandomFill counting(std::size_t seed)
{
    return [seed](std::span<std::byte> octets) mutable {
        std::ranges::copy(mixed(octets.size(), ++seed), octets.begin());
    };
}

struct Request {
    Octets packet;
    ntp_shim::SealMemoryPointer memory;
};

inline Octets first(const ntp_shim::SealBuffer& buffer, std::size_t size)
{
    return {buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(size)};
}

/// A request as the shim re-issues it, sealed.
inline Request protect(ntp_shim::NtsClientSeal& client, std::uint64_t transmit = packets::kT1)
{
    ntp_shim::SealBuffer buffer{};
    ntp_shim::write_reissued(std::span{buffer}.first<48>(), client.version(), transmit);
    auto sealed = client.seal(buffer);
    REQUIRE(std::holds_alternative<ntp_shim::ClientSeal::Sealed>(sealed));
    auto& made = std::get<ntp_shim::ClientSeal::Sealed>(sealed);
    return {.packet = first(buffer, made.length), .memory = std::move(made.memory)};
}

inline std::shared_ptr<const ntp_shim::KeyRing> shared(ntp_shim::KeyRing ring)
{
    return std::make_shared<const ntp_shim::KeyRing>(std::move(ring));
}

using Opened = std::variant<ntp_shim::SealMemoryPointer, ntp_shim::DropReason>;

/// "accepted", "plain", "nak REASON" or "drop REASON".
inline std::string verdict(Bytes datagram, ntp_shim::NtsServerSeal& server)
{
    const auto opened = server.open(datagram, {});
    if (const auto* memory = std::get_if<ntp_shim::SealMemoryPointer>(&opened)) {
        return *memory == nullptr ? "plain" : "accepted";
    }
    const auto reason = std::get<ntp_shim::DropReason>(opened);
    ntp_shim::SealBuffer answer{};
    const auto size = server.refusal(datagram, reason, answer);
    CHECK(size <= datagram.size());
    return (size == 0 ? "drop " : "nak ") + std::string{name(reason)};
}

inline ntp_shim::NtsServerSeal server_of(ntp_shim::KeyRing ring,
                                         ntp_shim::PlainRequests plain = ntp_shim::PlainRequests::refuse)
{
    return {shared(std::move(ring)), plain, counting(60)};
}

/// The reply with `header` to an accepted request.
inline Octets reply_to(Bytes request, const Octets& header, ntp_shim::NtsServerSeal& server)
{
    const auto opened = server.open(request, {});
    REQUIRE(std::holds_alternative<ntp_shim::SealMemoryPointer>(opened));
    ntp_shim::SealBuffer buffer{};
    std::ranges::copy(header, buffer.begin());
    const auto sealed = server.seal(buffer, *std::get<ntp_shim::SealMemoryPointer>(opened));
    REQUIRE(std::holds_alternative<std::size_t>(sealed));
    return first(buffer, std::get<std::size_t>(sealed));
}

/// An extension field with any type, length and body, right or wrong.
inline Octets field(std::uint16_t type, const Octets& body, int longer = 0)
{
    Octets octets(4 + body.size());
    ntp_shim::ByteWriter writer(octets);
    writer.u16(type);
    writer.u16(static_cast<std::uint16_t>(static_cast<int>(octets.size()) + longer));
    writer.put(body);
    return octets;
}

inline Octets operator+(Octets left, const Octets& right)
{
    left.insert(left.end(), right.begin(), right.end());
    return left;
}

/// The authenticator's field over `packet`.
struct Sealed {
    ntp_shim::SessionKeys keys = session_keys();
    bool by_server = false;
    Octets plain = {};
    Octets nonce = mixed(16, 33);
    std::size_t padding = 0;
};
inline Octets seal(const Octets& packet, const Sealed& how = {})
{
    const auto& key = how.by_server ? how.keys.server_to_client : how.keys.client_to_server;
    const auto cipher = ntp_shim::Aead::make(how.keys.aead, key.view());
    REQUIRE(cipher.has_value());
    Octets sealed(how.plain.size() + ntp_shim::kAeadTag);
    REQUIRE(cipher->seal({.nonce = how.nonce, .associated = packet}, how.plain, sealed));
    Octets body(4);
    ntp_shim::ByteWriter writer(body);
    writer.u16(static_cast<std::uint16_t>(how.nonce.size()));
    writer.u16(static_cast<std::uint16_t>(sealed.size()));
    body = body + how.nonce + Octets(ntp_shim::padded(how.nonce.size()) - how.nonce.size()) + sealed +
           Octets(ntp_shim::padded(sealed.size()) - sealed.size() + how.padding);
    return packet + field(0x0404, body);
}

} // namespace nts
