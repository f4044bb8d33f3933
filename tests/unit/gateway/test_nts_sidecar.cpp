#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "gateway/channel_events.hpp"
#include "gateway/nts_establishment.hpp"
#include "gateway/nts_sealing.hpp"
#include "gateway/secret_file.hpp"
#include "ntp-shim/nts_state.hpp"
#include "tests/support/test_pki.hpp"
#include "tests/unit/gateway/audit_folder.hpp"

using namespace std::chrono_literals;
using namespace gateway;
using transports::CloseReason;
using transports::Failed;

namespace {

constexpr const char* kKeyEstablishment = "192.0.2.2";

std::chrono::seconds wall_now()
{
    return std::chrono::duration_cast<std::chrono::seconds>(transports::read_wall());
}

/// A sidecar, whose key establishment server nobody is.
struct Rig {
    support::Folder folder;
    support::Identity authority{support::authority_wish("Test CA"), nullptr};
    std::unique_ptr<Audit> audit = open_audit(audit_file());
    transports::Loop loop;
    Log log{LogLevel::error, LogFormat::text};
    Random random;
    transports::Admission admission{{0, 0, 0, 0}, nullptr};
    ExchangeBudget budget;
    OwnListeners own;
    Tunnel tunnel;
    std::unique_ptr<ClientSealing> sealing;

    Rig()
    {
        tunnel.name = "sidecar";
        tunnel.channel = ChannelKind::nts;
        tunnel.connect = {{"127.0.0.1", 1}};
        tunnel.nts.emplace();
        tunnel.nts->aeads = {ntp_shim::AeadId::siv_cmac_256};
        tunnel.nts->state = folder.path();
        tunnel.tls.policy.versions = {"TLS1.3"};
        tunnel.tls.policy.suites = {"TLS_AES_128_GCM_SHA256"};
        tunnel.tls.policy.groups = {"secp256r1"};
        tunnel.tls.policy.signatures = {"ecdsa_secp256r1_sha256"};
        tunnel.tls.ca = folder.write("ca.pem", authority.certificate());
        tunnel.tls.alpn = "ntske/1";
        tunnel.tls.clock = std::make_shared<transports::CertificateClock>(0s);
        set_time(0s);
    }

    /// What certificates are judged by.
    void set_time(std::chrono::seconds from_now) const
    {
        REQUIRE(tunnel.tls.clock->learn(transports::read_wall() + from_now, transports::read_boot()));
    }
    void trust(const support::Identity& other) const { (void)folder.write("ca.pem", other.certificate()); }
    [[nodiscard]] std::string trusted() const
    {
        auto made = transports::TlsContext::create(tunnel.tls);
        REQUIRE(std::holds_alternative<std::shared_ptr<const transports::TlsContext>>(made));
        return trust_digest(*std::get<std::shared_ptr<const transports::TlsContext>>(made), tunnel.server_name);
    }

    [[nodiscard]] std::filesystem::path state_file() const { return folder.path() / "sidecar.0.nts"; }

    [[nodiscard]] std::filesystem::path audit_file() const { return folder.path() / "audit.jsonl"; }
    [[nodiscard]] Services services() { return {loop, log, *audit, random, admission, budget, &own}; }

    /// A process begins that finds `state` in the file of an earlier one.
    void begin(const ntp_shim::NtsClientState& state)
    {
        sealing.reset();
        REQUIRE_FALSE(replace_secret(state_file(), ntp_shim::write_state(state)).has_value());
        auto made = make_nts_client_sealing(services(), tunnel);
        REQUIRE(std::holds_alternative<std::unique_ptr<ClientSealing>>(made));
        sealing = std::move(std::get<std::unique_ptr<ClientSealing>>(made));
    }

    std::variant<std::vector<Route>, Failed> find()
    {
        std::optional<std::variant<std::vector<Route>, Failed>> result;
        sealing->find(tunnel.connect.front(), [&](auto found) {
            result = std::move(found);
            loop.stop();
        });
        transports::Timer deadline{loop, [this] { loop.stop(); }};
        deadline.start(10s);
        loop.run();
        REQUIRE(result.has_value());
        return *std::move(result);
    }

    Failed fails()
    {
        auto result = find();
        REQUIRE(std::holds_alternative<Failed>(result));
        return std::get<Failed>(std::move(result));
    }
    /// Where it is found without a new key establishment.
    std::string found()
    {
        auto result = find();
        REQUIRE(std::holds_alternative<std::vector<Route>>(result));
        return std::get<std::vector<Route>>(result).front().peer.address;
    }
    /// Whether a request can be sealed.
    bool seals()
    {
        ntp_shim::SealBuffer buffer{};
        ntp_shim::write_reissued(std::span{buffer}.first<ntp_shim::kHeaderSize>(), 4, 1);
        const auto made = sealing->seal().seal(buffer);
        const auto* const why = std::get_if<ntp_shim::DropReason>(&made);
        CHECK((why == nullptr || *why == ntp_shim::DropReason::no_cookie));
        return why == nullptr;
    }
    /// Has the files read again, and waits until `count` changes of the anchors have been put to use.
    void reload(std::size_t count)
    {
        sealing->reload();
        for (int tries = 0; tries < 500 && recorded("trust_anchor_changed") < count; ++tries) {
            transports::Timer pause{loop, [this] { loop.stop(); }};
            pause.start(20ms);
            loop.run();
        }
        REQUIRE(recorded("trust_anchor_changed") == count);
    }
    [[nodiscard]] std::size_t recorded(const std::string& event) const
    {
        std::size_t count = 0;
        for (const auto& line : lines_of(audit_file())) {
            count += line.find('"' + event + '"') != std::string::npos ? 1 : 0;
        }
        return count;
    }

    /// A session that an hour is left of.
    [[nodiscard]] ntp_shim::NtsClientState kept() const;
};

ntp_shim::NtsClientState attempted(std::uint32_t attempts, std::chrono::seconds not_before)
{
    ntp_shim::NtsClientState state;
    state.target = "127.0.0.1:1";
    state.attempts = attempts;
    state.not_before = not_before;
    return state;
}

ntp_shim::NtsClientState Rig::kept() const
{
    auto state = attempted(0, 0s);
    state.address = "192.0.2.1";
    state.port = 123;
    state.ke_address = kKeyEstablishment;
    state.established = wall_now() - 60s;
    state.valid_until = wall_now() + 1h;
    state.trust = trusted();
    state.session.emplace();
    state.session->keys.aead = ntp_shim::AeadId::siv_cmac_256;
    (void)state.session->keys.client_to_server.resize(32);
    (void)state.session->keys.server_to_client.resize(32);
    for (std::size_t count = 0; count < ntp_shim::NtsSession::kCookies; ++count) {
        state.session->put(std::vector<std::byte>(104, static_cast<std::byte>(count)));
    }
    return state;
}

} // namespace

TEST_SUITE("nts_sidecar")
{
    TEST_CASE("RFC 8915 section 4.2: between two attempts there is one reason, and so a bounded number of records")
    {
        Rig rig;
        ChannelEvents events{rig.services(), "sidecar"};
        for (int minutes = 1; minutes <= 50; ++minutes) {
            rig.begin(attempted(20, wall_now() + minutes * 60s));
            const auto why = rig.fails();
            CHECK(why.reason == CloseReason::limit_reached);
            CHECK(why.text == "nts_retry_interval");
            events.failed(why);
        }
        CHECK(rig.recorded("limit_reached") == AuditFolds::kRefusalsAtFirst);
    }

    TEST_CASE("cookies of an earlier process are used, and kept with all that bounds them")
    {
        Rig rig;
        const auto state = rig.kept();
        rig.begin(state);
        CHECK(rig.found() == "192.0.2.1:123");
        CHECK(rig.seals());
        CHECK(rig.recorded("ke_failed") == 0);
        rig.sealing.reset();
        const auto text = read_secret(rig.state_file());
        REQUIRE(std::holds_alternative<ntp_shim::Secret>(text));
        const auto parsed = ntp_shim::parse_state(text_of(std::get<ntp_shim::Secret>(text)));
        REQUIRE(std::holds_alternative<ntp_shim::NtsClientState>(parsed));
        const auto& left = std::get<ntp_shim::NtsClientState>(parsed);
        CHECK(left.valid_until == state.valid_until);
        CHECK(left.trust == state.trust);
        REQUIRE(left.session.has_value());
        CHECK(left.session->cookies.size() == 7);
    }

    TEST_CASE("cookies of an earlier process are not used beyond what vouched for them")
    {
        const support::Identity other{support::authority_wish("Other CA"), nullptr};
        const auto refused = [](const std::function<void(Rig&, ntp_shim::NtsClientState&)>& change) {
            Rig rig;
            auto state = rig.kept();
            change(rig, state);
            rig.begin(state);
            CHECK(rig.fails().reason == CloseReason::unreachable); // of a new key establishment
            CHECK_FALSE(rig.seals());
        };
        refused([](Rig&, auto& state) { state.valid_until = wall_now(); });
        refused([](Rig& rig, auto&) { rig.set_time(2h); });
        refused([&](Rig& rig, auto&) { rig.trust(other); });
        refused([](Rig& rig, auto&) { rig.tunnel.server_name = "another.test"; });
    }

    TEST_CASE("an NTP server of an earlier process is judged as one that was named now")
    {
        const auto refused = [](const std::string& address, bool ours) {
            CAPTURE(address);
            Rig rig;
            Tunnel serving;
            serving.role = Role::server;
            serving.channel = ChannelKind::nts;
            serving.listen.emplace_back();
            if (ours) {
                rig.own.add(serving, {"192.0.2.1:123"});
            }
            auto state = rig.kept();
            state.address = address;
            rig.begin(state);
            CHECK(rig.fails().reason == CloseReason::unreachable);
        };
        refused("192.0.2.1", true);
        refused("::ffff:192.0.2.1", true);
        for (const std::string address : {"127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "224.0.1.1", "nobody"}) {
            refused(address, false);
        }
    }

    TEST_CASE("section 5.7: while key establishments fail, polling goes on with what there is")
    {
        Rig rig;
        auto state = rig.kept();
        state.established = wall_now() - 30h; // older than max-channel-age
        rig.begin(state);
        CHECK(rig.found() == "192.0.2.1:123");
        CHECK(rig.recorded("ke_failed") == 1);
        CHECK(rig.seals());
    }

    TEST_CASE("once the certificate behind it has ended, a session is over, whether or not keys can be established")
    {
        Rig rig;
        rig.begin(rig.kept());
        CHECK(rig.found() == "192.0.2.1:123");
        rig.set_time(2h);
        CHECK(rig.fails().reason == CloseReason::unreachable);
        CHECK_FALSE(rig.seals());

        Rig between;
        auto state = between.kept();
        state.established = wall_now() - 30h;
        between.begin(state);
        CHECK(between.found() == "192.0.2.1:123"); // after an attempt: there is none for ten seconds
        CHECK(between.seals());
        between.set_time(2h);
        CHECK_FALSE(between.seals());
        CHECK(between.fails().reason == CloseReason::limit_reached);
    }

    TEST_CASE("certificates that are not judged by their time bound no session")
    {
        Rig rig;
        rig.tunnel.tls.clock.reset();
        rig.tunnel.tls.check_time = false;
        auto state = rig.kept();
        state.valid_until = wall_now() - 1h;
        rig.begin(state);
        CHECK(rig.found() == "192.0.2.1:123");
        CHECK(rig.seals());
    }

    TEST_CASE("under another trust a session is renewed at once, and goes on for a while when it cannot be")
    {
        const support::Identity other{support::authority_wish("Other CA"), nullptr};
        Rig rig;
        rig.begin(rig.kept());
        const auto before = rig.trusted();
        CHECK(rig.found() == "192.0.2.1:123");
        rig.trust(other);
        rig.reload(2);
        CHECK(rig.found() == "192.0.2.1:123");
        CHECK(rig.recorded("ke_failed") == 1);
        CHECK(rig.seals());
        rig.sealing.reset();
        const auto text = read_secret(rig.state_file());
        REQUIRE(std::holds_alternative<ntp_shim::Secret>(text));
        CHECK(text_of(std::get<ntp_shim::Secret>(text)).find(before) != std::string_view::npos);
    }

    TEST_CASE("a session that could not be renewed under another trust for max-channel-age is over")
    {
        const support::Identity other{support::authority_wish("Other CA"), nullptr};
        Rig rig;
        rig.begin(rig.kept());
        CHECK(rig.found() == "192.0.2.1:123");
        rig.tunnel.timing.max_channel_age = 1ms;
        rig.trust(other);
        rig.reload(2);
        transports::Timer pause{rig.loop, [&] { rig.loop.stop(); }};
        pause.start(2ms);
        rig.loop.run();
        CHECK_FALSE(rig.seals());
        CHECK(rig.fails().reason == CloseReason::unreachable);
    }

    TEST_CASE("a trust that is again what it was casts no doubt")
    {
        const support::Identity other{support::authority_wish("Other CA"), nullptr};
        Rig rig;
        rig.begin(rig.kept());
        CHECK(rig.found() == "192.0.2.1:123");
        rig.trust(other);
        rig.reload(2);
        rig.trust(rig.authority);
        rig.reload(4);
        CHECK(rig.found() == "192.0.2.1:123");
        CHECK(rig.recorded("ke_failed") == 0);
    }
}
