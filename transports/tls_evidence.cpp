#include "transports/tls_evidence.hpp"

#include <algorithm>
#include <utility>

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

namespace transports {

namespace {

constexpr Nanoseconds kAskAgain = std::chrono::minutes{1}; // about an open channel, when nothing was learnt

} // namespace

bool Evidence::is_wanted() const noexcept
{
    // The server role's staple is about itself; what clients have is looked up only when asked for.
    const bool of_peer = rules_.ocsp == Ocsp::fetch || (rules_.ocsp == Ocsp::staple && rules_.role == TlsRole::client);
    return of_peer && rules_.revocation != Revocation::none;
}

std::optional<OcspFinding> Evidence::stapled(x509_st& certificate, x509_st& issuer) const
{
    const unsigned char* response = nullptr;
    const long size = SSL_get_tlsext_status_ocsp_resp(const_cast<SSL*>(&session_), &response); // changes nothing
    if (rules_.role != TlsRole::client || response == nullptr || size <= 0) {
        return std::nullopt;
    }
    return judge_response({response, static_cast<std::size_t>(size)},
                          make_question(certificate, issuer, {rules_.check_time, rules_.min_rsa_bits}));
}

/// Of an open session a responder can be asked again; what a handshake was stapled is what it was.
bool Evidence::is_over(const OcspAnswer& answer) const
{
    const Nanoseconds until = answer.finding.believe_until;
    return rules_.ocsp == Ocsp::fetch && rules_.check_time && until != Nanoseconds::zero() && until <= read_wall() &&
           SSL_is_init_finished(&session_) != 0;
}

StatusSaid Evidence::status_of(x509_st& certificate, x509_st& issuer, bool leaf)
{
    const std::string key = question_key(certificate, issuer);
    looked_at_.push_back(key);
    auto known = std::ranges::find(notes_.answers, key, &OcspAnswer::key);
    if (known != notes_.answers.end() && is_over(*known)) {
        notes_.answers.erase(known);
        std::erase(notes_.asked, key);
        known = notes_.answers.end();
    }
    if (known != notes_.answers.end() && is_conclusive(known->finding.status)) {
        return {false, known->finding};
    }
    if (leaf && notes_.staple_came) {
        const auto found = stapled(certificate, issuer);
        if (found && (is_conclusive(found->status) || rules_.ocsp == Ocsp::staple)) {
            take_answers(notes_, {{key, *found}});
            return {false, found};
        }
    }
    if (known != notes_.answers.end()) {
        return {false, known->finding};
    }
    if (rules_.ocsp == Ocsp::fetch) {
        if (std::ranges::find(notes_.asked, key) == notes_.asked.end()) {
            notes_.asked.push_back(key);
            notes_.questions.push_back(make_question(certificate, issuer, {rules_.check_time, rules_.min_rsa_bits}));
        }
        return {true, std::nullopt};
    }
    if (!leaf) {
        return {}; // a staple speaks of the leaf alone
    }
    if (!notes_.staple_came) {
        return {true, std::nullopt}; // until TLS 1.2 it comes behind the certificate
    }
    return {false, OcspFinding{OcspStatus::missing, "no response was stapled", {}}};
}

void Evidence::forget_others()
{
    const auto is_other = [&](const std::string& key) {
        return std::ranges::find(looked_at_, key) == looked_at_.end();
    };
    std::erase_if(notes_.answers, [&](const OcspAnswer& answer) { return is_other(answer.key); });
    std::erase_if(notes_.asked, is_other);
    std::erase_if(notes_.questions, [&](const OcspQuestion& question) { return is_other(question.key); });
}

std::optional<Closed> judge_again(const ssl_st& session, EngineNotes& notes, const TlsContext::State& by)
{
    X509* const leaf = SSL_get0_peer_certificate(&session);
    if (leaf == nullptr) {
        return std::nullopt; // a peer that was admitted without one
    }
    struct Free {
        void operator()(X509_STORE_CTX* store) const noexcept { X509_STORE_CTX_free(store); }
    };
    const std::unique_ptr<X509_STORE_CTX, Free> store{X509_STORE_CTX_new()};
    if (!store || X509_STORE_CTX_init(store.get(), SSL_CTX_get_cert_store(by.library.get()), leaf,
                                      SSL_get_peer_cert_chain(&session)) != 1) {
        return Closed{CloseReason::io_error, take_library_errors().text};
    }
    // As libssl prepares it for a handshake.
    X509_VERIFY_PARAM* const parameters = X509_STORE_CTX_get0_param(store.get());
    X509_VERIFY_PARAM_set_auth_level(parameters, SSL_get_security_level(&session));
    X509_STORE_CTX_set_default(store.get(), by.rules.role == TlsRole::client ? "ssl_server" : "ssl_client");
    X509_VERIFY_PARAM_set1(parameters, SSL_CTX_get0_param(by.library.get()));
    Evidence evidence{session, notes, by.rules};
    Verdict verdict = verify_chain(*store, by.rules, notes.reference, evidence.is_wanted() ? &evidence : nullptr);
    if (!verdict.refusal) {
        evidence.forget_others();
        notes.peer.matched = std::move(verdict.matched);
        notes.peer.undetermined = std::move(verdict.undetermined);
    }
    return std::move(verdict.refusal);
}

bool awaits_answers(const EngineNotes& notes)
{
    return std::ranges::any_of(notes.asked, [&](const std::string& key) {
        return std::ranges::find(notes.answers, key, &OcspAnswer::key) == notes.answers.end();
    });
}

Nanoseconds status_until(const EngineNotes& notes)
{
    Nanoseconds until{};
    for (const OcspAnswer& answer : notes.answers) {
        const Nanoseconds one = answer.finding.believe_until;
        if (one != Nanoseconds::zero() && (until == Nanoseconds::zero() || one < until)) {
            until = one;
        }
    }
    const VerifyRules& rules = notes.context.rules;
    return rules.ocsp == Ocsp::fetch && rules.check_time ? until : Nanoseconds::zero();
}

void take_answers(EngineNotes& notes, const std::vector<OcspAnswer>& answers)
{
    for (OcspAnswer answer : answers) {
        const auto old = std::ranges::find(notes.answers, answer.key, &OcspAnswer::key);
        const bool conclusive = is_conclusive(answer.finding.status);
        if (!conclusive && old != notes.answers.end() && is_conclusive(old->finding.status)) {
            continue; // a staple has said it meanwhile
        }
        if (!conclusive && answer.finding.status != OcspStatus::no_responder &&
            answer.finding.believe_until == Nanoseconds::zero()) {
            answer.finding.believe_until = read_wall() + kAskAgain;
        }
        if (old != notes.answers.end()) {
            *old = std::move(answer);
        } else {
            notes.answers.push_back(std::move(answer));
        }
    }
}

} // namespace transports
