// A seal that spoils what it seals, for testing somebody else's client: replies that answer nothing, and replies that
// nobody asked for. Around another seal, or around none.
#pragma once

#include "ntp-shim/seal.hpp"

namespace ntp_shim {

class FaultySeal final : public ServerSeal {
public:
    struct Faults {
        bool wrong_origin = false; // the origin stamp is nobody's
        bool unsolicited = false;  // see unsolicited()
    };
    /// `genuine` outlives it; null where packets have no seal of their own.
    FaultySeal(ServerSeal* genuine, const Faults& faults) noexcept : genuine_{genuine}, faults_{faults} {}

    [[nodiscard]] std::variant<SealMemoryPointer, DropReason> open(Bytes request, const SealPeer& from) override;
    [[nodiscard]] std::variant<std::size_t, DropReason> seal(SealBuffer& packet, const SealMemory& memory) override;
    [[nodiscard]] std::size_t refusal(Bytes request, DropReason why, SealBuffer& answer) override;

    /// Beside the reply sealed last: another of the same form that answers no request and tells a time that is an hour
    /// ahead. Lives until the next call; empty when the fault is not asked for.
    [[nodiscard]] Bytes unsolicited() const noexcept { return Bytes{extra_}.first(extra_length_); }

private:
    ServerSeal* genuine_;
    Faults faults_;
    SealBuffer extra_{};
    std::size_t extra_length_ = 0;
};

} // namespace ntp_shim
