// NTS on NTP packets (RFC 8915 section 5.7), client role: a request is given a cookie and protected, its reply
// verified.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>

#include "ntp-shim/nts_fields.hpp"
#include "ntp-shim/nts_session.hpp"
#include "ntp-shim/seal.hpp"

namespace ntp_shim {

/// Drops: no_cookie; of a reply too_short, bad_nts_field, no_exchange, unprotected, nts_nak, kiss_of_death (which
/// nobody vouches for), not_authentic.
class NtsClientSeal final : public ClientSeal {
public:
    explicit NtsClientSeal(RandomFill random);

    /// What was established last; all cookies from before are forgotten, exchanges under way go on.
    void adopt(NtsSession session);
    [[nodiscard]] const std::optional<NtsSession>& session() const noexcept { return session_; }
    /// Takes what is left, so that it is used by nobody twice.
    [[nodiscard]] std::optional<NtsSession> take_session() noexcept;

    // Since the last adoption:
    [[nodiscard]] bool was_answered() const noexcept { return answered_; }     // authentically, at least once
    [[nodiscard]] unsigned unanswered() const noexcept { return unanswered_; } // requests in a row
    [[nodiscard]] bool was_refused() const noexcept { return refused_; }       // by a NAK after the last answer

    [[nodiscard]] std::uint8_t version() const noexcept override { return 4; }
    [[nodiscard]] std::variant<Sealed, DropReason> seal(SealBuffer& packet) override;
    [[nodiscard]] std::optional<DropReason> open(Bytes reply, const SealMemory& memory) override;

private:
    RandomFill random_;
    std::optional<NtsSession> session_;
    std::uint64_t generation_ = 0; // of the session: a reply to an older one brings cookies of no use
    bool answered_ = false;
    bool refused_ = false;
    unsigned unanswered_ = 0;
};

inline constexpr std::uint32_t kKissNak = 0x4e54534e; // "NTSN"

} // namespace ntp_shim
