#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "gateway/channel_events.hpp"
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
    }

    [[nodiscard]] std::filesystem::path audit_file() const { return folder.path() / "audit.jsonl"; }
    [[nodiscard]] Services services() { return {loop, log, *audit, random, admission, budget, &own}; }

    /// A process begins that finds `state` in the file of an earlier one.
    void begin(const ntp_shim::NtsClientState& state)
    {
        sealing.reset();
        REQUIRE_FALSE(replace_secret(folder.path() / "sidecar.0.nts", ntp_shim::write_state(state)).has_value());
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
};

ntp_shim::NtsClientState attempted(std::uint32_t attempts, std::chrono::seconds not_before)
{
    ntp_shim::NtsClientState state;
    state.target = "127.0.0.1:1";
    state.attempts = attempts;
    state.not_before = not_before;
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
        std::size_t records = 0;
        for (const auto& line : lines_of(rig.audit_file())) {
            records += line.find("\"limit_reached\"") != std::string::npos ? 1 : 0;
        }
        CHECK(records == AuditFolds::kRefusalsAtFirst);
    }
}
