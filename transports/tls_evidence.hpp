// What one session has learnt about the revocation of its peer's chain: stapled, or asked of responders.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "transports/tls_state.hpp"
#include "transports/tls_verify.hpp"

namespace transports {

/// Looks into what the session's notes have; leaves its questions there when `rules` want them asked.
class Evidence final : public StatusSource {
public:
    Evidence(const ssl_st& session, EngineNotes& notes, const VerifyRules& rules)
        : session_{session}, notes_{notes}, rules_{rules}
    {}
    [[nodiscard]] bool is_wanted() const noexcept;
    StatusSaid status_of(x509_st& certificate, x509_st& issuer, bool leaf) override;
    /// Drops answers and questions about certificates that the chain does not have any more.
    void forget_others();

private:
    [[nodiscard]] bool is_over(const OcspAnswer& answer) const;
    [[nodiscard]] std::optional<OcspFinding> stapled(x509_st& certificate, x509_st& issuer) const;

    const ssl_st& session_;
    EngineNotes& notes_;
    const VerifyRules& rules_;
    std::vector<std::string> looked_at_; // keys
};

/// Judges the peer of `session` by the trust and the rules of `by`, as its handshake did; what it was found to be goes
/// into the notes. Nothing = admitted, but for questions that the notes then hold.
[[nodiscard]] std::optional<Closed> judge_again(const ssl_st& session, EngineNotes& notes, const TlsContext::State& by);

/// A responder was asked, or is to be, and its answer has not come.
[[nodiscard]] bool awaits_answers(const EngineNotes& notes);
/// Wall clock: until when what responders said of the peer holds; 0 = nothing ends.
[[nodiscard]] Nanoseconds status_until(const EngineNotes& notes);
/// What responders said.
void take_answers(EngineNotes& notes, const std::vector<OcspAnswer>& answers);

} // namespace transports
