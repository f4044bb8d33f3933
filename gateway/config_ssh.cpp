#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "gateway/claim_rules.hpp"
#include "gateway/config_files.hpp"
#include "gateway/config_tunnel.hpp"
#include "gateway/config_values.hpp"

namespace gateway {

namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr DurationRange kRekeyTime{seconds{2}, minutes{60}};
constexpr DurationRange kLoginGrace{milliseconds{100}, minutes{10}};
constexpr NumberRange kRekeyData{std::uint64_t{64} << 10U, std::uint64_t{1} << 30U};
constexpr NumberRange kMaxPacket{4096, 262'144}; // a key exchange must fit; the library takes no more

struct SizeUnit {
    std::string_view name;
    unsigned shift{};
};
constexpr std::array kSizeUnits = {SizeUnit{"KiB", 10}, SizeUnit{"MiB", 20}, SizeUnit{"GiB", 30}};

/// "64KiB", "1GiB".
std::optional<std::uint64_t> parse_size(std::string_view text)
{
    for (const auto& unit : kSizeUnits) {
        if (text.ends_with(unit.name)) {
            const auto count = parse_number(text.substr(0, text.size() - unit.name.size()));
            const auto* value = std::get_if<std::uint64_t>(&count);
            return value == nullptr || *value > kRekeyData.highest ? std::nullopt : std::optional{*value << unit.shift};
        }
    }
    return std::nullopt;
}

bool is_ssh_name(std::string_view text) noexcept
{
    return !text.empty() && text.size() <= 64 &&
           std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

class SshReader {
public:
    SshReader(const Value& block, const LoadContext& context, TunnelDraft& draft)
        : context_(context), report_(context.report), draft_(draft), settings_(draft.tunnel.ssh), block_(block),
          section_(block, context.report)
    {}

    void read()
    {
        if (block_ && !section_.usable()) {
            return;
        }
        const auto& offer = context_.profile.ssh;
        settings_.role = is(Role::server) ? transports::SshRole::server : transports::SshRole::client;
        settings_.policy = {offer.kex, offer.public_keys, offer.ciphers, offer.macs, context_.profile.tls.min_rsa_bits};
        if (draft_.tunnel.stdio) {
            if (block_) {
                report_.warning(block_.place(), "has no effect with listen: stdio, where sshd is the SSH server");
            }
            return;
        }
        draft_.tunnel.secret_owners = context_.owners;
        draft_.tunnel.group_readable_keys = context_.profile.group_readable_keys;
        read_name("user", settings_.user);
        read_name("subsystem", settings_.subsystem);
        read_client();
        read_server();
        read_limits();
        for (const auto* key : {"user", "key", "known-hosts", "host-keys", "authorized-keys"}) {
            draft_.tls_places.emplace(key, place(key));
        }
        section_.finish();
    }

private:
    [[nodiscard]] bool is(Role role) const noexcept { return draft_.has_role && draft_.tunnel.role == role; }

    [[nodiscard]] Place place(std::string_view key) const
    {
        return block_ ? section_.place(key) : Place{draft_.place.at, fmt::format("{}.ssh.{}", draft_.place.key, key)};
    }

    void missing(std::string_view key, std::string_view expected)
    {
        report_.error(place(key), fmt::format("is missing (expected {})", expected));
    }

    void read_name(std::string_view key, std::string& target)
    {
        const auto value = section_.find(key);
        auto text = read_text(value, report_, "a name without blanks");
        if (text && !is_ssh_name(*text)) {
            report_.error(value.place(), shown(*text) + " is no name (expected at most 64 characters without blanks)");
        } else if (text) {
            target = std::move(*text);
        }
    }

    std::optional<std::filesystem::path> file(const Value& value, std::string_view expected)
    {
        const auto text = read_text(value, report_, expected);
        return text ? std::optional{(context_.base / *text).lexically_normal()} : std::nullopt;
    }

    std::optional<std::filesystem::path> trusted(const Value& value, std::string_view expected)
    {
        auto found = file(value, expected);
        if (found) {
            auto why = why_unreadable(*found, FileKind::file);
            why = why ? why : why_untrustworthy(*found, context_.owners);
            if (why) {
                report_.error(value.place(), std::move(*why));
            }
        }
        return found;
    }

    std::optional<std::filesystem::path> secret(const Value& value)
    {
        auto found = file(value, "the path of a private key");
        if (!found) {
            return found;
        }
        auto verdict = judge_secret({*found, context_.owners});
        if (verdict.error) {
            report_.error(value.place(), std::move(*verdict.error));
        } else if (verdict.group_readable && context_.profile.group_readable_keys) {
            report_.warning(value.place(), fmt::format("{} can be read by its group", shown(found->string())));
        } else if (verdict.group_readable) {
            report_.error(value.place(),
                          fmt::format("{}{} can be read by its group, which profile {} refuses (expected "
                                      "mode 0600)",
                                      demanded_by(context_.profile.demands.keys), shown(found->string()),
                                      context_.profile.name));
        }
        return found;
    }

    void read_client()
    {
        if (is(Role::server)) {
            refuse_other_role(section_, "key", Role::client, report_);
            refuse_other_role(section_, "known-hosts", Role::client, report_);
            return;
        }
        settings_.key = secret(section_.find("key"));
        settings_.known_hosts = trusted(section_.find("known-hosts"), "the file of host keys");
        if (is(Role::client) && !section_.has("key")) {
            missing("key", "the private key to log in with");
        }
        if (is(Role::client) && !section_.has("known-hosts")) {
            missing("known-hosts", "the file with the server's host keys");
        }
    }

    void read_server()
    {
        if (is(Role::client)) {
            for (const auto* key : {"host-keys", "authorized-keys", "login-grace"}) {
                refuse_other_role(section_, key, Role::server, report_);
            }
            return;
        }
        for (const auto& entry : read_list(section_.find("host-keys"), report_, ListForm::list_or_one)) {
            if (auto found = secret(entry)) {
                settings_.host_keys.push_back(std::move(*found));
            }
        }
        settings_.authorized_keys = trusted(section_.find("authorized-keys"), "the file of users' keys");
        section_.duration("login-grace", kLoginGrace, settings_.login_grace);
        if (is(Role::server) && !section_.has("host-keys")) {
            missing("host-keys", "a list of private keys, one of a kind");
        }
        if (is(Role::server) && !section_.has("authorized-keys")) {
            missing("authorized-keys", "the file of the keys that may log in");
        }
    }

    void read_limits()
    {
        const auto& offer = context_.profile.ssh;
        const auto demand = demanded_by(context_.profile.demands.ssh);
        milliseconds time = std::min(milliseconds{settings_.rekey_time}, offer.rekey_time);
        section_.duration("rekey-time", kRekeyTime, time);
        settings_.rekey_time = std::chrono::duration_cast<seconds>(time);
        if (time % seconds{1} != milliseconds::zero()) {
            report_.error(section_.place("rekey-time"),
                          fmt::format("{} is not a whole number of seconds", duration_text(time)));
        }
        if (time > offer.rekey_time) {
            report_.error(section_.place("rekey-time"),
                          fmt::format("{}{} is longer than profile {} allows (expected at most {})", demand,
                                      duration_text(time), context_.profile.name, duration_text(offer.rekey_time)));
        }
        settings_.rekey_data = std::min(settings_.rekey_data, offer.rekey_bytes);
        const auto data = section_.find("rekey-data");
        if (const auto text = read_text(data, report_, "a size, such as 1GiB")) {
            const auto size = parse_size(*text);
            if (!size || *size < kRekeyData.lowest || *size > kRekeyData.highest) {
                report_.error(data.place(), shown(*text) + " is not a size in range (expected 64KiB to 1GiB)");
            } else if (*size > offer.rekey_bytes) {
                report_.error(data.place(),
                              fmt::format("{}{} is more than profile {} allows (expected at most {} "
                                          "octets)",
                                          demand, shown(*text), context_.profile.name, offer.rekey_bytes));
            } else {
                settings_.rekey_data = *size;
            }
        }
        section_.number("max-packet", kMaxPacket, settings_.max_packet);
    }

    const LoadContext& context_;
    Report& report_;
    TunnelDraft& draft_;
    transports::SshSettings& settings_;
    Value block_;
    Section section_;
};

} // namespace

void read_ssh(const Value& block, const LoadContext& context, TunnelDraft& draft)
{
    SshReader{block, context, draft}.read();
}

} // namespace gateway
