// NTS on NTP packets (RFC 8915 section 5.7), server role: a request is verified and stripped, its reply sealed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "ntp-shim/nts_fields.hpp"
#include "ntp-shim/nts_key_ring.hpp"
#include "ntp-shim/nts_session.hpp"
#include "ntp-shim/seal.hpp"

namespace ntp_shim {

enum class PlainRequests : std::uint8_t { refuse, serve };

/// Drops: unprotected, bad_nts_field, bad_cookie, not_authentic, keys_unsure, no_cookie.
class NtsServerSeal final : public ServerSeal {
public:
    /// `random` outlives every packet that is sealed.
    NtsServerSeal(std::shared_ptr<const KeyRing> ring, PlainRequests plain, RandomFill random);
    /// Null while the keys are unsure: nothing is opened then.
    void use(std::shared_ptr<const KeyRing> ring) noexcept { ring_ = std::move(ring); }

    [[nodiscard]] std::variant<SealMemoryPointer, DropReason> open(Bytes request, const SealPeer& from) override;
    /// As long as the request and never longer, with as many new cookies as were asked for and fit.
    [[nodiscard]] std::variant<std::size_t, DropReason> seal(SealBuffer& packet, const SealMemory& memory) override;
    /// NTS NAK exactly where section 5.7 wants one: a cookie that does not open, or a request that is not authentic
    /// under its keys.
    [[nodiscard]] std::size_t refusal(Bytes request, DropReason why, SealBuffer& answer) override;

private:
    std::shared_ptr<const KeyRing> ring_;
    PlainRequests plain_;
    RandomFill random_;
};

} // namespace ntp_shim
