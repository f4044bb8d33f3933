#include "transports/ssh_authorized_keys.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

namespace transports {

namespace {

// What a line may take away and nobody here ever has.
constexpr std::array<std::string_view, 8> kNothingToTake = {
    "restrict",   "no-agent-forwarding", "no-port-forwarding", "no-pty",
    "no-user-rc", "no-x11-forwarding",   "permitopen",         "permitlisten",
};
struct RefusedOption {
    std::string_view name;
    std::string_view why;
};
constexpr std::array kRefused = {
    RefusedOption{"command", "names a command: this server runs none, and serves the subsystem alone (leave it out; "
                             "under sshd it belongs to sshd's own file)"},
    RefusedOption{"cert-authority", "trusts an authority: user certificates are not in this version"},
    RefusedOption{"principals", "belongs to user certificates, which are not in this version"},
    RefusedOption{"environment", "sets a variable: there is no environment to set"},
    RefusedOption{"tunnel", "names a network device: there is no forwarding"},
    RefusedOption{"pty", "gives a terminal: there is none to give"},
    RefusedOption{"agent-forwarding", "gives agent forwarding: there is none to give"},
    RefusedOption{"port-forwarding", "gives port forwarding: there is none to give"},
    RefusedOption{"x11-forwarding", "gives X11 forwarding: there is none to give"},
    RefusedOption{"user-rc", "runs the user's file: this server runs none"},
    RefusedOption{"no-touch-required", "belongs to security keys, which are not in this version"},
    RefusedOption{"verify-required", "belongs to security keys, which are not in this version"},
};

std::string lower_text(std::string_view text)
{
    std::string out;
    for (const char c : text) {
        out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return out;
}

/// A type of key that OpenSSH has and this version has not.
bool is_foreign_type(std::string_view word) noexcept
{
    return word == "ssh-dss" || word.starts_with("sk-") || word.find("-cert-v01@openssh.com") != std::string_view::npos;
}

/// The number that `digits` spell; nothing when one of them is none.
std::optional<int> number(std::string_view digits)
{
    int value = 0;
    for (const char c : digits) {
        if (c < '0' || c > '9') {
            return std::nullopt;
        }
        value = value * 10 + (c - '0');
    }
    return value;
}

} // namespace

std::optional<Nanoseconds> parse_expiry(std::string_view text)
{
    if (!text.ends_with('Z')) {
        return std::nullopt;
    }
    text.remove_suffix(1);
    if (text.size() != 8 && text.size() != 12 && text.size() != 14) {
        return std::nullopt;
    }
    std::array<int, 6> parts{};
    constexpr std::array<std::size_t, 6> kWidths = {4, 2, 2, 2, 2, 2};
    for (std::size_t i = 0; i < parts.size() && !text.empty(); ++i) {
        const auto value = number(text.substr(0, kWidths.at(i)));
        if (!value) {
            return std::nullopt;
        }
        parts.at(i) = *value;
        text.remove_prefix(kWidths.at(i));
    }
    using namespace std::chrono;
    const auto date = year{parts[0]} / month{static_cast<unsigned>(parts[1])} / day{static_cast<unsigned>(parts[2])};
    // What nanoseconds since 1970 can hold ends in 2262.
    if (!date.ok() || parts[0] < 1970 || parts[0] > 2261 || parts[3] > 23 || parts[4] > 59 || parts[5] > 59) {
        return std::nullopt;
    }
    return Nanoseconds{sys_days{date}.time_since_epoch()} + hours{parts[3]} + minutes{parts[4]} + seconds{parts[5]};
}

struct AuthorizedKeys::Parser {
    AuthorizedKeys result;
    std::vector<SshLineProblem> problems;
    std::size_t line = 0;

    void fail(std::size_t column, std::string text) { problems.push_back({line, column, std::move(text)}); }

    void read(std::string_view text)
    {
        const auto first = split_words(text, 2);
        if (first.empty() || first.front().text.starts_with('#')) {
            return;
        }
        if (text.size() > kMaxSshLine || text.find('\0') != std::string_view::npos) {
            fail(1, "is too long, or has a zero octet");
            return;
        }
        AuthorizedKey entry;
        std::size_t at = first.front().column - 1;
        if (!is_ssh_key_type(first.front().text) && !is_foreign_type(first.front().text)) {
            const auto end = read_options(text, at, entry);
            if (!end) {
                return;
            }
            at = *end;
        }
        read_key(text.substr(at), at, std::move(entry));
    }

    void read_key(std::string_view rest, std::size_t before, AuthorizedKey entry)
    {
        const auto words = split_words(rest, 3);
        if (words.empty()) {
            fail(before + 1, "has no key (expected a key type and a key)");
            return;
        }
        if (!is_ssh_key_type(words[0].text)) {
            fail(before + words[0].column, "is of a type that is not in this version (expected ssh-ed25519, ssh-rsa or "
                                           "ecdsa-sha2-nistp256, -nistp384, -nistp521)");
            return;
        }
        if (words.size() < 2) {
            fail(before + words[0].column, "has no key (expected the key in base64)");
            return;
        }
        auto key = read_ssh_key(words[0].text, words[1].text);
        if (auto* why = std::get_if<std::string>(&key)) {
            fail(before + words[1].column, "has a key that " + *why);
            return;
        }
        entry.key = std::move(std::get<SshPublicKey>(key));
        entry.comment = words.size() > 2 ? std::string{words[2].text} : std::string{};
        result.keys_.push_back(std::move(entry));
    }

    // NAME[="VALUE"], separated by commas, up to the first blank outside quotes; where they end.
    [[nodiscard]] std::optional<std::size_t> read_options(std::string_view text, std::size_t at, AuthorizedKey& entry)
    {
        for (;;) {
            const std::size_t begin = at;
            at = std::min(text.find_first_of("=, \t", at), text.size());
            const std::string name = lower_text(text.substr(begin, at - begin));
            std::optional<std::string> value;
            if (at < text.size() && text[at] == '=') {
                value = read_quoted(text, ++at);
                if (!value) {
                    fail(begin + 1, "has an option without a quoted value (expected " + name + "=\"...\")");
                    return std::nullopt;
                }
            }
            if (!take_option(name, value, begin + 1, entry)) {
                return std::nullopt;
            }
            if (at == text.size() || text[at] == ' ' || text[at] == '\t') {
                return at;
            }
            if (text[at] != ',') {
                fail(at + 1, "has something between an option's value and the next one (expected a comma)");
                return std::nullopt;
            }
            ++at;
        }
    }

    // "..." with \" for a quote inside; `at` moves behind it.
    [[nodiscard]] static std::optional<std::string> read_quoted(std::string_view text, std::size_t& at)
    {
        if (at >= text.size() || text[at] != '"') {
            return std::nullopt;
        }
        std::string value;
        for (++at; at < text.size(); ++at) {
            if (text[at] == '"') {
                ++at;
                return value;
            }
            if (text[at] == '\\' && at + 1 < text.size() && text[at + 1] == '"') {
                ++at;
            }
            value += text[at];
        }
        return std::nullopt;
    }

    [[nodiscard]] bool take_option(const std::string& name, const std::optional<std::string>& value, std::size_t column,
                                   AuthorizedKey& entry)
    {
        const bool twice = (name == "from" && entry.from) || (name == "expiry-time" && entry.expires);
        if (twice) {
            fail(column, "has the option " + name + " twice");
            return false;
        }
        if (name == "from") {
            entry.from = value ? AddressList::parse(*value) : std::nullopt;
            if (!entry.from) {
                fail(column, "has a from= that can not be honoured (expected addresses, ADDRESS/BITS, or patterns of "
                             "digits with * and ?; names are not looked up)");
            }
            return entry.from.has_value();
        }
        if (name == "expiry-time") {
            entry.expires = value ? parse_expiry(*value) : std::nullopt;
            if (!entry.expires) {
                fail(column, "has an expiry-time that can not be honoured (expected \"YYYYMMDD[HHMM[SS]]Z\", in UTC)");
            }
            return entry.expires.has_value();
        }
        if (std::find(kNothingToTake.begin(), kNothingToTake.end(), name) != kNothingToTake.end()) {
            return true;
        }
        const auto* refused =
            std::find_if(kRefused.begin(), kRefused.end(), [&](const RefusedOption& one) { return one.name == name; });
        fail(column, refused != kRefused.end() ? "has the option " + name + ", which " + std::string{refused->why}
                                               : std::string{"has neither a key type nor a known option here"});
        return false;
    }
};

std::variant<AuthorizedKeys, std::vector<SshLineProblem>> AuthorizedKeys::parse(std::string_view text)
{
    Parser parser;
    for (const auto line : split_lines(text)) {
        if (++parser.line > kMaxSshLines) {
            parser.fail(1, "is one line too many (expected at most " + std::to_string(kMaxSshLines) + ")");
            break;
        }
        parser.read(line);
    }
    if (!parser.problems.empty()) {
        return std::move(parser.problems);
    }
    return std::move(parser.result);
}

AuthorizedKeys::Judgement AuthorizedKeys::judge(const SshPublicKey& key, const SshCaller& caller) const
{
    Judgement judgement{UserKeyVerdict::unknown, nullptr};
    for (const AuthorizedKey& entry : keys_) {
        if (!(entry.key == key)) {
            continue;
        }
        if (entry.expires && caller.now >= *entry.expires) {
            judgement.verdict = UserKeyVerdict::expired;
        } else if (entry.from && !entry.from->matches(caller.address)) {
            judgement.verdict = UserKeyVerdict::wrong_address;
        } else {
            return {UserKeyVerdict::admitted, &entry};
        }
    }
    return judgement;
}

} // namespace transports
