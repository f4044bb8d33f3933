#include "gateway/credentials.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "gateway/config_files.hpp"
#include "gateway/printable.hpp"
#include "transports/tls_files.hpp"

namespace gateway {

namespace {

using nlohmann::ordered_json;
using transports::HeldCertificate;
using transports::TlsInventory;

constexpr auto kLookEvery = std::chrono::milliseconds{500};
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

/// A file that is there but may not be opened by what is left of our rights; nothing when all can be.
std::optional<std::string> out_of_reach(const transports::TlsSettings& settings)
{
    for (const auto& path : files_of(settings)) {
        const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        const int error = errno;
        if (descriptor >= 0) {
            ::close(descriptor);
        } else if (error == EACCES || error == EPERM) {
            return path.string();
        }
    }
    return std::nullopt;
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

} // namespace

Credentials::Credentials(Services services, const Tunnel& tunnel, transports::TlsSupply supply,
                         std::function<void()> replaced)
    : services_{services}, tunnel_{tunnel}, supply_{std::make_unique<transports::TlsSupply>(std::move(supply))},
      replaced_{std::move(replaced)}, watch_{files_of(tunnel.tls)}, held_{inventory_of(*supply_->current())},
      timer_{services.loop, [this] { tick(); }}
{
    record_key(true, held_);
    timer_.start({}); // what takes a thread waits until the loop runs, and with it the confinement
}

Credentials::~Credentials()
{
    loading_.reset();
    const std::weak_ptr<const transports::TlsContext> last = supply_->current();
    supply_.reset();
    retired_.push_back({last, std::move(held_)});
    record_destroyed();
}

void Credentials::begin()
{
    begun_ = true;
    warned_ = transports::read_boot(); // the configuration's own warnings say it at start
    supply_->keep_staple(services_.loop, [this](const auto& finding) { tell_staple(finding); });
    if (const auto path = out_of_reach(tunnel_.tls)) {
        services_.log.warn(fmt::format("tunnel {}: needs_restart: {} cannot be read any more after privileges were "
                                       "dropped: when it is replaced, ntpgate must be restarted",
                                       tunnel_.name, *path));
    }
}

void Credentials::tick()
{
    if (!begun_) {
        begin();
    }
    if (watch_.changed()) {
        reload();
    }
    record_destroyed();
    warn_of_expiry();
    timer_.start(kLookEvery);
}

Credentials::Outcome Credentials::load(const Tunnel& tunnel)
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

void Credentials::reload()
{
    if (loading_) {
        load_again_ = true;
        return;
    }
    watch_.mark();
    auto outcome = std::make_shared<Outcome>();
    // The tunnel outlives the thread's work as well: the loop waits for that, and the configuration for the loop.
    loading_ = std::make_unique<transports::OffLoop>(
        services_.loop, [outcome, &tunnel = tunnel_] { *outcome = load(tunnel); },
        [this, outcome] {
            loading_.reset();
            loaded(*outcome);
            if (std::exchange(load_again_, false)) {
                reload();
            }
        });
}

void Credentials::loaded(const Outcome& outcome)
{
    if (outcome.context == nullptr) {
        keep_old(outcome.wrong);
    } else {
        use(outcome.context);
    }
}

void Credentials::keep_old(const std::string& wrong)
{
    const auto unreachable = out_of_reach(tunnel_.tls);
    AuditRecord record;
    record.event = AuditEvent::credentials_reloaded;
    record.success = false;
    record.tunnel = tunnel_.name;
    record.reason = unreachable ? "needs_restart" : "unusable_file";
    services_.audit.record(record, {{"text", printable(wrong)}});
    const auto why = unreachable ? fmt::format("needs_restart: {} cannot be read after privileges were dropped ({})",
                                               *unreachable, wrong)
                                 : wrong;
    services_.log.error(
        fmt::format("tunnel {}: {}; the credentials loaded before stay in use", tunnel_.name, printable(why)));
}

void Credentials::use(Context context)
{
    TlsInventory held = inventory_of(*context);
    const auto changed = changes(held_, held);
    if (changed.empty()) {
        services_.log.info(fmt::format("tunnel {}: the files hold the same credentials as before", tunnel_.name));
        return;
    }
    const TlsInventory before = std::exchange(held_, std::move(held));
    retired_.push_back({supply_->current(), before});
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
    if (before.key != held_.key) {
        record_key(true, held_);
    }
    warned_ = {};
    warn_of_expiry();
    replaced_();
}

void Credentials::record_anchors(const TlsInventory& before, const TlsInventory& after)
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

void Credentials::record_key(bool loaded, const TlsInventory& held)
{
    if (!held.own) {
        return;
    }
    AuditRecord record;
    record.event = loaded ? AuditEvent::key_loaded : AuditEvent::key_destroyed;
    record.tunnel = tunnel_.name;
    record.subject = held.own->subject;
    services_.audit.record(record, {{"spki-sha256", held.key}, {"file", printable(tunnel_.tls.key->string())}});
}

/// Several contexts may have had the same key, one after the other.
void Credentials::record_destroyed()
{
    std::vector<TlsInventory> gone;
    std::erase_if(retired_, [&gone](Retired& retired) {
        const bool expired = retired.context.expired();
        if (expired) {
            gone.push_back(std::move(retired.held));
        }
        return expired;
    });
    std::vector<std::string> recorded;
    for (const TlsInventory& held : gone) {
        const bool in_use = (supply_ != nullptr && held.key == held_.key) ||
                            std::any_of(retired_.begin(), retired_.end(),
                                        [&](const Retired& retired) { return retired.held.key == held.key; });
        if (!in_use && std::find(recorded.begin(), recorded.end(), held.key) == recorded.end()) {
            record_key(false, held);
            recorded.push_back(held.key);
        }
    }
}

void Credentials::warn_of_expiry()
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
void Credentials::tell_staple(const transports::OcspFinding& finding)
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

std::unique_ptr<Credentials> credentials_of(Services services, const Tunnel& tunnel,
                                            const std::optional<transports::TlsSupply>& supply,
                                            std::function<void()> replaced)
{
    return supply ? std::make_unique<Credentials>(services, tunnel, *supply, std::move(replaced)) : nullptr;
}

} // namespace gateway
