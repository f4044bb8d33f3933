#include <chrono>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/engine_pair.hpp"
#include "tests/support/test_ocsp.hpp"
#include "tests/support/wall_clock.hpp"
#include "transports/address.hpp"
#include "transports/tls_ocsp.hpp"

using namespace std::chrono_literals;
using support::Identity;
using support::ocsp_response;
using support::ResponseWish;
using support::Said;
using transports::CloseReason;
using transports::judge_response;
using transports::OcspStatus;

namespace {

struct Authorities {
    Identity root{support::authority_wish("root"), nullptr};
    Identity other{support::authority_wish("other"), nullptr};
    Identity leaf{support::server_wish(), &root};
    transports::OcspQuestion question = support::ocsp_question(leaf, root);

    [[nodiscard]] OcspStatus judge(const ResponseWish& wish) const
    {
        return judge_response(ocsp_response(leaf, root, wish), question).status;
    }
    [[nodiscard]] Identity delegate(const char* usage, const Identity& issuer) const
    {
        support::Wish wish = support::server_wish();
        wish.common_name = "delegate";
        wish.usage = usage;
        return {wish, &issuer};
    }
};

} // namespace

TEST_SUITE_BEGIN("tls_ocsp");

TEST_CASE("a response of the issuer is believed, whichever digest names the certificate")
{
    const Authorities pki;
    CHECK(pki.judge({}) == OcspStatus::good);
    CHECK(pki.judge({.sha256_id = true}) == OcspStatus::good);
    CHECK(pki.judge({.with_signer = false}) == OcspStatus::good);
    CHECK(pki.judge({.said = Said::revoked}) == OcspStatus::revoked);
    CHECK(pki.judge({.said = Said::unknown}) == OcspStatus::unknown);
}

TEST_CASE("only whom the issuer has named for it may answer in its place")
{
    const Authorities pki;
    const Identity right = pki.delegate("OCSPSigning", pki.root);
    const Identity wrong = pki.delegate("serverAuth", pki.root);
    const Identity foreign = pki.delegate("OCSPSigning", pki.other);
    CHECK(pki.judge({.signer = &right}) == OcspStatus::good);
    for (const Identity* const signer : {&wrong, &foreign, &pki.other, &pki.leaf}) {
        CHECK(pki.judge({.signer = signer}) == OcspStatus::bad_signature);
        CHECK(pki.judge({.said = Said::revoked, .signer = signer}) == OcspStatus::bad_signature);
    }
    CHECK(pki.judge({.signer = &right, .with_signer = false}) == OcspStatus::bad_signature);
}

TEST_CASE("a delegate whose own time is over, and a weak digest, are not believed")
{
    const Authorities pki;
    support::Wish wish = support::server_wish();
    wish.usage = "OCSPSigning";
    wish.starts = -48h;
    wish.ends = -1h;
    const Identity old{wish, &pki.root};
    CHECK(pki.judge({.signer = &old}) == OcspStatus::bad_signature);
    CHECK(pki.judge({.sha1 = true}) == OcspStatus::bad_signature);
    transports::OcspQuestion without_time = pki.question;
    without_time.limits.check_time = false;
    CHECK(judge_response(ocsp_response(pki.leaf, pki.root, {.signer = &old}), without_time).status == OcspStatus::good);
}

TEST_CASE("its time counts, with a minute for the difference of two clocks")
{
    const Authorities pki;
    CHECK(pki.judge({.starts = -2h, .ends = -30s}) == OcspStatus::good);
    CHECK(pki.judge({.starts = -2h, .ends = -90s}) == OcspStatus::stale);
    CHECK(pki.judge({.starts = 30s, .ends = 2h}) == OcspStatus::good);
    CHECK(pki.judge({.starts = 90s, .ends = 2h}) == OcspStatus::stale);
    CHECK(pki.judge({.starts = -50min, .ends = std::nullopt}) == OcspStatus::good);
    CHECK(pki.judge({.starts = -70min, .ends = std::nullopt}) == OcspStatus::stale);
    CHECK(pki.judge({.said = Said::revoked, .starts = -2h, .ends = -90s}) == OcspStatus::stale);
    transports::OcspQuestion without_time = pki.question;
    without_time.limits.check_time = false;
    CHECK(judge_response(ocsp_response(pki.leaf, pki.root, {.starts = -2h, .ends = -90s}), without_time).status ==
          OcspStatus::good);
}

TEST_CASE("a response about another certificate says nothing about this one")
{
    const Authorities pki;
    const Identity second{support::server_wish(), &pki.root};
    CHECK(judge_response(ocsp_response(second, pki.root, {}), pki.question).status == OcspStatus::invalid);
    const Identity namesake{support::server_wish(), &pki.other};
    CHECK(judge_response(ocsp_response(namesake, pki.other, {}), pki.question).status == OcspStatus::bad_signature);
}

TEST_CASE("whatever octet is changed or missing, it is neither good nor revoked")
{
    const Authorities pki;
    const auto whole = ocsp_response(pki.leaf, pki.root, {.with_signer = false});
    for (std::size_t at = 0; at < whole.size(); ++at) {
        auto changed = whole;
        changed[at] ^= 0x04U;
        CHECK_MESSAGE(!is_conclusive(judge_response(changed, pki.question).status), at);
        CHECK_MESSAGE(!is_conclusive(judge_response(std::span{whole}.first(at), pki.question).status), at);
    }
    auto longer = whole;
    longer.push_back(0);
    CHECK(judge_response(longer, pki.question).status == OcspStatus::invalid);
    CHECK(judge_response(std::vector<unsigned char>(70000), pki.question).status == OcspStatus::invalid);
}

TEST_CASE("each status has a reason of its own")
{
    using transports::reason_of;
    CHECK(reason_of(OcspStatus::revoked, true) == CloseReason::certificate_revoked);
    CHECK(reason_of(OcspStatus::revoked, false) == CloseReason::issuer_revoked);
    CHECK(reason_of(OcspStatus::unknown, true) == CloseReason::ocsp_unknown);
    CHECK(reason_of(OcspStatus::missing, true) == CloseReason::ocsp_missing);
    CHECK(reason_of(OcspStatus::unreachable, true) == CloseReason::ocsp_unreachable);
    CHECK(reason_of(OcspStatus::stale, true) == CloseReason::ocsp_stale);
    CHECK(reason_of(OcspStatus::bad_signature, true) == CloseReason::ocsp_bad_signature);
    CHECK(reason_of(OcspStatus::invalid, true) == CloseReason::ocsp_invalid);
    CHECK(reason_of(OcspStatus::no_responder, true) == CloseReason::revocation_undetermined);
}

TEST_CASE("a question names its responder only when it can be asked in the clear")
{
    const Authorities pki;
    CHECK(pki.question.url.empty());
    CHECK(transports::fetch_response(pki.question, 1s).finding.status == OcspStatus::no_responder);
    transports::OcspQuestion elsewhere = pki.question;
    for (const char* const url : {"https://127.0.0.1:1/", "ftp://127.0.0.1/", "http://", "nonsense"}) {
        elsewhere.url = url;
        CHECK(transports::fetch_response(elsewhere, 1s).finding.status == OcspStatus::unreachable);
    }
}

TEST_CASE("a responder that falls silent in its answer is left in time, wherever the wall clock is put")
{
    const Authorities pki;
    const int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_storage address = *transports::numeric_address("127.0.0.1", 0);
    socklen_t length = sizeof address;
    REQUIRE(bind(listening, transports::as_sockaddr(address), transports::address_length(address)) == 0);
    REQUIRE(listen(listening, 1) == 0);
    REQUIRE(getsockname(listening, transports::as_sockaddr(address), &length) == 0);
    for (const auto step : {-1h, 0h}) {
        CAPTURE(step.count());
        support::SteppedTime clock;
        std::thread responder{[&] {
            const int peer = accept(listening, nullptr, nullptr);
            char octet{};
            (void)recv(peer, &octet, 1, 0);
            clock.step(step);
            (void)send(peer, "H", 1, MSG_NOSIGNAL); // of an answer: from here on the client waits anew
            while (recv(peer, &octet, 1, 0) > 0) {  // until the client has had enough
            }
            close(peer);
        }};
        transports::OcspQuestion question = pki.question;
        question.url = "http://" + transports::address_text(address) + "/";
        const auto fetched = transports::fetch_response(question, 300ms);
        CHECK(fetched.finding.status == OcspStatus::unreachable);
        responder.join();
    }
    close(listening);
}

TEST_SUITE_END();
