// NTP with a symmetric key (RFC 5905 section 7.3, RFC 8573) as a seal of both roles.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "ntp-shim/mac.hpp"
#include "ntp-shim/seal.hpp"

namespace ntp_shim {

/// Requests are sealed with the first key of the ring that may be used with the peer. A reply must have that key's id,
/// the digest's length as it was sent, and verify.
class MacClientSeal final : public ClientSeal {
public:
    /// `version`: 4, or 3, under which digests go uncut.
    MacClientSeal(std::shared_ptr<const MacKeyRing> ring, std::uint8_t version) noexcept;
    /// Exchanges that are open keep the key they were sealed with.
    void use(std::shared_ptr<const MacKeyRing> ring) noexcept { ring_ = std::move(ring); }
    /// Who is asked from now on: keys with an address list that does not have it are passed over. Nobody in
    /// particular inside a channel, where such keys are not used.
    void ask(const SealPeer& peer) noexcept { peer_ = peer; }
    /// What the next request to `peer` is sealed with; nothing when no key may be used with it.
    [[nodiscard]] std::shared_ptr<const MacKey> key_for(const SealPeer& peer) const noexcept;

    [[nodiscard]] std::uint8_t version() const noexcept override { return version_; }
    [[nodiscard]] std::variant<Sealed, DropReason> seal(SealBuffer& packet) override;
    [[nodiscard]] std::optional<DropReason> open(Bytes reply, const SealMemory& memory) override;

private:
    std::shared_ptr<const MacKeyRing> ring_;
    SealPeer peer_{};
    std::uint8_t version_;
};

enum class Unauthenticated : std::uint8_t { refuse, serve };
enum class OnBadMac : std::uint8_t { silence, nak };

/// A request may have any key of the ring; its reply is sealed with the same one, in the form the request had.
class MacServerSeal final : public ServerSeal {
public:
    struct Rules {
        Unauthenticated unauthenticated = Unauthenticated::refuse;
        OnBadMac on_bad_mac = OnBadMac::silence;
        /// For testing clients: replies keep the key's id and octets, and are made with this digest instead.
        std::optional<DigestKind> seal_with = std::nullopt;
    };
    MacServerSeal(std::shared_ptr<const MacKeyRing> ring, const Rules& rules) noexcept;
    void use(std::shared_ptr<const MacKeyRing> ring) noexcept { ring_ = std::move(ring); }

    [[nodiscard]] std::variant<SealMemoryPointer, DropReason> open(Bytes request, const SealPeer& from) override;
    [[nodiscard]] std::variant<std::size_t, DropReason> seal(SealBuffer& packet, const SealMemory& memory) override;
    [[nodiscard]] std::size_t refusal(Bytes request, DropReason why, SealBuffer& answer) override;

private:
    std::shared_ptr<const MacKeyRing> ring_;
    Rules rules_;
};

} // namespace ntp_shim
