#include <doctest/doctest.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/engine_pair.hpp"
#include "tests/support/test_ocsp.hpp"
#include "transports/tls_engine.hpp"

using namespace std::chrono_literals;
using namespace transports;
using support::Identity;
using support::ocsp_response;
using support::Scene;

namespace {

OcspBytes bytes(std::vector<unsigned char> octets)
{
    return std::make_shared<const std::vector<unsigned char>>(std::move(octets));
}

OcspFinding unreachable()
{
    return {OcspStatus::unreachable, "nobody", {}};
}
OcspFinding good(Nanoseconds left)
{
    return {OcspStatus::good, {}, read_wall() + left};
}

/// A client that wants to know whether a server below an intermediate authority is revoked.
struct Asking : Scene {
    explicit Asking(Ocsp ocsp, Revocation revocation, const std::vector<std::string>& versions = {"TLS1.3"},
                    bool must_staple = false)
        : between{support::authority_wish("between"), &authority}, leaf{leaf_wish(must_staple), &between}
    {
        show(server_settings, leaf, {&between});
        server_settings.policy.versions = versions;
        client_settings.policy.versions = versions;
        client_settings.ocsp = ocsp;
        client_settings.revocation = revocation;
    }
    static support::Wish leaf_wish(bool must_staple)
    {
        support::Wish wish = support::server_wish();
        wish.must_staple = must_staple;
        return wish;
    }
    void begin(OcspBytes staple = nullptr)
    {
        client = support::make_engine(client_settings);
        server = support::make_engine(server_settings, "");
        server->staple(std::move(staple));
        support::converse(*client, *server);
    }
    /// The same answer to all that is asked now; how much that was.
    std::size_t answer(const OcspFinding& finding)
    {
        const auto questions = client->take_questions();
        std::vector<OcspAnswer> answers;
        for (const auto& question : questions) {
            answers.push_back({question.key, finding});
        }
        client->answer(answers);
        support::converse(*client, *server);
        return questions.size();
    }
    Identity between;
    Identity leaf;
    std::unique_ptr<TlsEngine> client;
    std::unique_ptr<TlsEngine> server;
};

} // namespace

TEST_SUITE("tls_evidence")
{
    TEST_CASE("nothing is established before the answers are there, and then by what they say")
    {
        for (const auto& version : {"TLS1.2", "TLS1.3"}) {
            CAPTURE(version);
            Asking asking{Ocsp::fetch, Revocation::require, {version}};
            asking.begin();
            CHECK(asking.client->state() == EngineState::handshaking);
            CHECK(asking.client->awaits_answers());
            CHECK(asking.answer(good(1h)) == 2);
            CHECK(asking.client->state() == EngineState::established);
            CHECK_FALSE(asking.client->awaits_answers());
            asking.begin();
            CHECK(asking.answer(unreachable()) == 2);
            REQUIRE(asking.client->state() == EngineState::failed);
            CHECK(asking.client->failure().reason == CloseReason::ocsp_unreachable);
        }
    }

    TEST_CASE("an answer that is over by the time it is used is asked for again, and establishes nothing")
    {
        Asking asking{Ocsp::fetch, Revocation::require};
        asking.begin();
        CHECK(asking.answer(good(-1s)) == 2);
        CHECK(asking.client->state() == EngineState::handshaking);
        CHECK(asking.client->awaits_answers());
    }

    TEST_CASE("a staple that says something is worth more than a responder that says nothing")
    {
        for (const auto& version : {"TLS1.2", "TLS1.3"}) {
            CAPTURE(version);
            Asking asking{Ocsp::fetch, Revocation::soft, {version}};
            asking.begin(bytes(ocsp_response(asking.leaf, asking.between, {.said = support::Said::revoked})));
            (void)asking.answer(unreachable());
            REQUIRE(asking.client->state() == EngineState::failed);
            CHECK(asking.client->failure().reason == CloseReason::certificate_revoked);
        }
    }

    TEST_CASE("a responder that falls silent takes nothing back that a staple has said")
    {
        Asking asking{Ocsp::fetch, Revocation::require};
        asking.client_settings.revocation = Revocation::soft;
        asking.begin(bytes(ocsp_response(asking.leaf, asking.between, {})));
        (void)asking.answer(unreachable()); // about the intermediate alone
        REQUIRE(asking.client->state() == EngineState::established);
        const auto peer = asking.client->peer();
        CHECK(peer.undetermined == "ocsp_unreachable");
        asking.client->answer({{support::ocsp_question(asking.leaf, asking.between).key, unreachable()}});
        CHECK_FALSE(asking.client->judge_again(asking.client->context()).has_value());
        CHECK(asking.client->take_questions().empty());
    }

    TEST_CASE("what could not be learnt is asked about again")
    {
        Asking asking{Ocsp::fetch, Revocation::soft};
        asking.begin();
        (void)asking.answer(unreachable());
        REQUIRE(asking.client->state() == EngineState::established);
        const Nanoseconds until = asking.client->status_until();
        CHECK(until > read_wall() + 30s);
        CHECK(until <= read_wall() + 1min);
    }

    TEST_CASE("who promises a staple must show one that is good: soft settles for no less, fetched or not")
    {
        for (const Ocsp ocsp : {Ocsp::staple, Ocsp::fetch}) {
            const auto judge = [](OcspBytes staple, Asking& asking) {
                asking.begin(std::move(staple));
                (void)asking.answer(unreachable());
                return asking.client->state() == EngineState::established
                           ? std::nullopt
                           : std::optional{asking.client->failure().reason};
            };
            Asking asking{ocsp, Revocation::soft, {"TLS1.3"}, true};
            CHECK(judge(bytes(ocsp_response(asking.leaf, asking.between, {})), asking) == std::nullopt);
            CHECK(judge(nullptr, asking) ==
                  (ocsp == Ocsp::staple ? CloseReason::ocsp_missing : CloseReason::ocsp_unreachable));
            CHECK(judge(bytes({0x30, 0x00}), asking) ==
                  (ocsp == Ocsp::staple ? CloseReason::ocsp_invalid : CloseReason::ocsp_unreachable));
            CHECK(judge(bytes(ocsp_response(asking.leaf, asking.between, {.starts = -2h, .ends = -1h})), asking) ==
                  (ocsp == Ocsp::staple ? CloseReason::ocsp_stale : CloseReason::ocsp_unreachable));
        }
    }

    TEST_CASE("without certificate times no answer ends")
    {
        Asking asking{Ocsp::fetch, Revocation::soft};
        asking.client_settings.check_time = false;
        asking.begin();
        (void)asking.answer(good(1s));
        REQUIRE(asking.client->state() == EngineState::established);
        CHECK(asking.client->status_until() == Nanoseconds::zero());
    }
}
