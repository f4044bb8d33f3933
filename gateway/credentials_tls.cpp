#include "gateway/credentials.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "gateway/config_files.hpp"
#include "gateway/file_reload.hpp"
#include "gateway/key_ledger.hpp"
#include "gateway/printable.hpp"
#include "transports/tls_files.hpp"

namespace gateway {

namespace {

using nlohmann::ordered_json;
using transports::HeldCertificate;
using transports::TlsInventory;

constexpr auto kWarnEvery = std::chrono::hours{24};
constexpr std::size_t kMostAnchors = 64; // records of one change

std::vector<std::filesystem::path> files_of(const transports::TlsSettings& settings)
{
    std::vector<std::filesystem::path> files = settings.crl;
    for (const auto& path : {settings.certificate, settings.key}) {
        if (path) {
            files.push_back(*path);
        }
    }
    if (settings.ca) {
        files.push_back(*settings.ca);
    } else if (settings.role == transports::TlsRole::client) {
        files.push_back(transports::system_trust_directory());
    }
    return files;
}

ordered_json fields_of(const HeldCertificate& certificate)
{
    return {{"issuer", printable(certificate.issuer)},
            {"serial", certificate.serial},
            {"fingerprint", certificate.fingerprint}};
}

template <class Held>
bool holds(const std::vector<Held>& all, const Held& one)
{
    return std::any_of(all.begin(), all.end(), [&](const Held& other) { return other.fingerprint == one.fingerprint; });
}

template <class Held>
bool same(const std::vector<Held>& before, const std::vector<Held>& after)
{
    return before.size() == after.size() &&
           std::all_of(after.begin(), after.end(), [&](const Held& one) { return holds(before, one); });
}

std::string own_fingerprint(const TlsInventory& held)
{
    return held.own ? held.own->fingerprint : std::string{};
}

/// The configuration keys whose files hold something else.
std::vector<std::string> changes(const TlsInventory& before, const TlsInventory& after)
{
    std::vector<std::string> keys;
    if (own_fingerprint(before) != own_fingerprint(after) || !same(before.chain, after.chain)) {
        keys.emplace_back("certificate");
    }
    if (before.key != after.key) {
        keys.emplace_back("key");
    }
    if (!same(before.anchors, after.anchors)) {
        keys.emplace_back("ca");
    }
    if (!same(before.lists, after.lists)) {
        keys.emplace_back("crl");
    }
    return keys;
}

using Context = std::shared_ptr<const transports::TlsContext>;

std::vector<HeldKey> keys_of(const Tunnel& tunnel, const TlsInventory& held)
{
    if (!held.own) {
        return {};
    }
    return {{held.key, held.own->subject, {{"spki-sha256", held.key}, {"file", printable(tunnel.tls.key->string())}}}};
}

struct Outcome {
    std::string wrong; // empty = the context was made
    Context context;
};

Outcome load(const Tunnel& tunnel)
{
    if (tunnel.tls.key) {
        const auto verdict = judge_secret({*tunnel.tls.key, tunnel.secret_owners});
        if (verdict.error) {
            return {"key: " + *verdict.error, nullptr};
        }
        if (verdict.group_readable && !tunnel.group_readable_keys) {
            return {fmt::format("key: {} can be read by its group", tunnel.tls.key->string()), nullptr};
        }
    }
    auto made = transports::TlsContext::create(tunnel.tls);
    if (const auto* problems = std::get_if<std::vector<transports::TlsProblem>>(&made)) {
        std::string text;
        for (const auto& problem : *problems) {
            text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", problem.setting, problem.text);
        }
        return {text, nullptr};
    }
    return {{}, std::get<Context>(std::move(made))};
}

/// Certificate, key, trust anchors and revocation lists.
class TlsCredentials final : public Credentials {
public:
    TlsCredentials(Services services, const Tunnel& tunnel, transports::TlsSupply supply,
                   std::function<void()> replaced)
        : services_{services}, tunnel_{tunnel}, supply_{std::make_unique<transports::TlsSupply>(std::move(supply))},
          replaced_{std::move(replaced)}, held_{inventory_of(*supply_->current())}, ledger_{services, tunnel.name},
          files_{services.loop, files_of(tunnel.tls), reading()}
    {
        ledger_.hold(supply_->current(), keys_of(tunnel_, held_));
    }
    ~TlsCredentials() override
    {
        supply_.reset();
        ledger_.look();
    }
    TlsCredentials(const TlsCredentials&) = delete;
    TlsCredentials& operator=(const TlsCredentials&) = delete;

    void reload() override { files_.reload(); }

private:
    void every_look();
    [[nodiscard]] FileReload::Work reading();
    void use(Context context);
    void record_anchors(const TlsInventory& before, const TlsInventory& after);
    void warn_of_expiry();
    void tell_staple(const transports::OcspFinding& finding);

    Services services_;
    const Tunnel& tunnel_;
    std::unique_ptr<transports::TlsSupply> supply_;
    std::function<void()> replaced_;
    TlsInventory held_;
    KeyLedger ledger_;
    bool begun_ = false;
    transports::Nanoseconds warned_{}; // boot clock
    std::string staple_told_ = "nothing yet";
    FileReload files_;
};

void TlsCredentials::every_look()
{
    if (!std::exchange(begun_, true)) {
        warned_ = transports::read_boot(); // the configuration's own warnings say it at start
        supply_->keep_staple(services_.loop, [this](const auto& finding) { tell_staple(finding); });
        warn_of_reach(services_, tunnel_, files_of(tunnel_.tls));
    }
    ledger_.look();
    warn_of_expiry();
}

FileReload::Work TlsCredentials::reading()
{
    // The tunnel outlives the thread's work: the loop waits for that, and the configuration for the loop.
    const auto read = [this, &tunnel = tunnel_]() -> FileReload::Then {
        return [this, outcome = load(tunnel)] {
            if (outcome.context == nullptr) {
                tell_unusable(services_, tunnel_, files_of(tunnel_.tls), outcome.wrong);
            } else {
                use(outcome.context);
            }
        };
    };
    return {read, [this] { every_look(); }};
}

void TlsCredentials::use(Context context)
{
    TlsInventory held = inventory_of(*context);
    const auto changed = changes(held_, held);
    if (changed.empty()) {
        services_.log.info(fmt::format("tunnel {}: the files hold the same credentials as before", tunnel_.name));
        return;
    }
    const TlsInventory before = std::exchange(held_, std::move(held));
    ledger_.hold(context, keys_of(tunnel_, held_));
    supply_->replace(std::move(context));
    AuditRecord record;
    record.event = AuditEvent::credentials_reloaded;
    record.tunnel = tunnel_.name;
    ordered_json fields = {{"changed", changed}};
    if (held_.own) {
        record.subject = held_.own->subject;
        fields.update(fields_of(*held_.own));
        fields["valid-until"] = transports::calendar(held_.own->valid_until);
    }
    services_.audit.record(record, fields);
    services_.log.info(fmt::format("tunnel {}: credentials read again, other than before: {}", tunnel_.name,
                                   fmt::join(changed, ", ")));
    record_anchors(before, held_);
    warned_ = {};
    warn_of_expiry();
    replaced_();
}

void TlsCredentials::record_anchors(const TlsInventory& before, const TlsInventory& after)
{
    std::size_t written = 0;
    std::size_t more = 0;
    AuditRecord record;
    record.event = AuditEvent::trust_anchor_changed;
    record.tunnel = tunnel_.name;
    const auto compare = [&](const auto& all, const auto& others, const char* change) {
        for (const auto& anchor : all) {
            if (holds(others, anchor)) {
                continue;
            }
            if (written++ >= kMostAnchors) {
                ++more;
                continue;
            }
            record.subject = anchor.subject;
            record.reason = change;
            services_.audit.record(record, fields_of(anchor));
            services_.log.info(fmt::format("tunnel {}: trust anchor {}: {}", tunnel_.name, change, anchor.subject));
        }
    };
    compare(after.anchors, before.anchors, "added");
    compare(before.anchors, after.anchors, "removed");
    if (more != 0) {
        record.subject = "others";
        record.reason = "changed";
        services_.audit.record(record, {{"count", more}});
    }
}

void TlsCredentials::warn_of_expiry()
{
    const auto now = transports::read_boot();
    if (warned_ != transports::Nanoseconds::zero() && now - warned_ < kWarnEvery) {
        return;
    }
    warned_ = now;
    for (const auto& warning : expiry_warnings(tunnel_, held_)) {
        services_.log.warn(
            fmt::format("tunnel {}: tls.{}: {}", tunnel_.name, warning.setting, printable(warning.text)));
    }
}

/// Each success is what is expected; only a change is worth a line.
void TlsCredentials::tell_staple(const transports::OcspFinding& finding)
{
    if (finding.text == staple_told_) {
        return;
    }
    staple_told_ = finding.text;
    if (finding.status == transports::OcspStatus::good) {
        services_.log.info(fmt::format("tunnel {}: stapling a response about our certificate", tunnel_.name));
    } else {
        services_.log.warn(
            fmt::format("tunnel {}: the response about our certificate: {}", tunnel_.name, printable(finding.text)));
    }
}

} // namespace

std::unique_ptr<Credentials> make_credentials(Services services, const Tunnel& tunnel, transports::TlsSupply supply,
                                              std::function<void()> replaced)
{
    return std::make_unique<TlsCredentials>(services, tunnel, std::move(supply), std::move(replaced));
}

std::unique_ptr<Credentials> credentials_of(Services services, const Tunnel& tunnel,
                                            const std::optional<transports::TlsSupply>& supply,
                                            std::function<void()> replaced)
{
    return supply ? make_credentials(services, tunnel, *supply, std::move(replaced)) : nullptr;
}

} // namespace gateway
