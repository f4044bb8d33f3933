#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "gateway/config_files.hpp"
#include "gateway/credentials.hpp"
#include "gateway/file_reload.hpp"
#include "gateway/key_ledger.hpp"
#include "gateway/printable.hpp"

namespace gateway {

namespace {

using nlohmann::ordered_json;
using Context = std::shared_ptr<const transports::SshContext>;
using Inventory = transports::SshContext::Inventory;

std::vector<std::filesystem::path> secrets_of(const transports::SshSettings& settings)
{
    auto files = settings.host_keys;
    if (settings.key) {
        files.push_back(*settings.key);
    }
    return files;
}

std::vector<std::filesystem::path> files_of(const transports::SshSettings& settings)
{
    auto files = secrets_of(settings);
    for (const auto& path : {settings.known_hosts, settings.authorized_keys}) {
        if (path) {
            files.push_back(*path);
        }
    }
    return files;
}

std::vector<HeldKey> keys_of(const Inventory& held)
{
    std::vector<HeldKey> keys;
    for (const auto& key : held.own) {
        keys.push_back(
            {key.fingerprint, "key " + key.type, {{"fingerprint", key.fingerprint}, {"file", printable(key.file)}}});
    }
    return keys;
}

struct Outcome {
    std::string wrong; // empty = the context was made
    Context context;
};

/// What the configuration demanded of these files at start.
std::optional<std::string> why_unfit(const Tunnel& tunnel)
{
    for (const auto& path : secrets_of(tunnel.ssh)) {
        auto verdict = judge_secret({path, tunnel.secret_owners});
        if (verdict.error) {
            return verdict.error;
        }
        if (verdict.group_readable && !tunnel.group_readable_keys) {
            return fmt::format("{} can be read by its group", path.string());
        }
    }
    for (const auto& path : {tunnel.ssh.known_hosts, tunnel.ssh.authorized_keys}) {
        if (auto why = path ? why_untrustworthy(*path, tunnel.secret_owners) : std::nullopt) {
            return why;
        }
    }
    return std::nullopt;
}

Outcome load(const Tunnel& tunnel)
{
    if (auto why = why_unfit(tunnel)) {
        return {*why, nullptr};
    }
    auto made = transports::SshContext::create(tunnel.ssh);
    if (const auto* problems = std::get_if<std::vector<transports::SshProblem>>(&made)) {
        std::string text;
        for (const auto& problem : *problems) {
            text += fmt::format("{}{}: ", text.empty() ? "" : "; ", problem.setting);
            text += problem.file.empty()
                        ? problem.text
                        : fmt::format("{}:{}:{}: {}", problem.file, problem.line, problem.column, problem.text);
        }
        return {text, nullptr};
    }
    return {{}, std::get<Context>(std::move(made))};
}

/// Host keys and authorized-keys, or a private key and known-hosts.
class SshCredentials final : public Credentials {
public:
    SshCredentials(Services services, const Tunnel& tunnel, transports::SshSupply supply,
                   std::function<void()> replaced)
        : services_{services}, tunnel_{tunnel}, supply_{std::make_unique<transports::SshSupply>(std::move(supply))},
          replaced_{std::move(replaced)}, ledger_{services, tunnel.name}, files_{services.loop, files_of(tunnel.ssh),
                                                                                 reading()}
    {
        ledger_.hold(supply_->current(), keys_of(supply_->current()->inventory()));
    }
    ~SshCredentials() override
    {
        supply_.reset();
        ledger_.look();
    }
    SshCredentials(const SshCredentials&) = delete;
    SshCredentials& operator=(const SshCredentials&) = delete;

    void reload() override { files_.reload(); }

private:
    [[nodiscard]] FileReload::Work reading();
    void every_look();
    void use(Context context);
    [[nodiscard]] std::vector<std::string> changes(const transports::SshContext& after) const;

    Services services_;
    const Tunnel& tunnel_;
    std::unique_ptr<transports::SshSupply> supply_;
    std::function<void()> replaced_;
    KeyLedger ledger_;
    bool begun_ = false;
    FileReload files_;
};

FileReload::Work SshCredentials::reading()
{
    // The tunnel outlives the thread's work: the loop waits for that, and the configuration for the loop.
    const auto read = [this, &tunnel = tunnel_]() -> FileReload::Then {
        return [this, outcome = load(tunnel)] {
            if (outcome.context == nullptr) {
                tell_unusable(services_, tunnel_, files_of(tunnel_.ssh), outcome.wrong);
            } else {
                use(outcome.context);
            }
        };
    };
    return {read, [this] { every_look(); }};
}

void SshCredentials::every_look()
{
    if (!std::exchange(begun_, true)) {
        warn_of_reach(services_, tunnel_, files_of(tunnel_.ssh));
    }
    ledger_.look();
}

/// The configuration keys whose files hold something else.
std::vector<std::string> SshCredentials::changes(const transports::SshContext& after) const
{
    const bool server = tunnel_.role == Role::server;
    std::vector<std::string> keys;
    if (!transports::same_own_keys(*supply_->current(), after)) {
        keys.emplace_back(server ? "host-keys" : "key");
    }
    if (supply_->current()->inventory().trusted != after.inventory().trusted) {
        keys.emplace_back(server ? "authorized-keys" : "known-hosts");
    }
    return keys;
}

void SshCredentials::use(Context context)
{
    const auto changed = changes(*context);
    if (changed.empty()) {
        services_.log.info(fmt::format("tunnel {}: the files hold the same credentials as before", tunnel_.name));
        return;
    }
    ledger_.hold(context, keys_of(context->inventory()));
    supply_->replace(std::move(context));
    AuditRecord record;
    record.event = AuditEvent::credentials_reloaded;
    record.tunnel = tunnel_.name;
    services_.audit.record(record, {{"changed", changed}, {"sha256", supply_->current()->inventory().trusted}});
    services_.log.info(fmt::format("tunnel {}: credentials read again, other than before: {}", tunnel_.name,
                                   fmt::join(changed, ", ")));
    for (const auto& warning : supply_->current()->warnings()) {
        services_.log.warn(
            fmt::format("tunnel {}: ssh.{}: {}", tunnel_.name, warning.setting, printable(warning.text)));
    }
    replaced_();
}

} // namespace

std::unique_ptr<Credentials> make_credentials(Services services, const Tunnel& tunnel, transports::SshSupply supply,
                                              std::function<void()> replaced)
{
    return std::make_unique<SshCredentials>(services, tunnel, std::move(supply), std::move(replaced));
}

} // namespace gateway
