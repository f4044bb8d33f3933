#include "transports/ssh_known_hosts.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "transports/ssh_patterns.hpp"

namespace transports {

namespace {

constexpr std::uint16_t kSshPort = 22;
constexpr std::string_view kHashed = "|1|";
constexpr std::size_t kDigest = 20;

std::string name_in_file(const SshHost& host)
{
    std::string name;
    for (const char c : host.name) {
        name += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return host.port == kSshPort ? name : "[" + name + "]:" + std::to_string(host.port);
}

} // namespace

struct KnownHosts::Parser {
    KnownHosts hosts;
    std::vector<SshLineProblem> problems;
    std::size_t number = 0;

    void fail(std::size_t column, std::string text) { problems.push_back({number, column, std::move(text)}); }

    [[nodiscard]] std::optional<Marker> read_marker(const SshWord& word)
    {
        if (word.text == "@revoked") {
            return Marker::revoked;
        }
        if (word.text == "@cert-authority") {
            return Marker::cert_authority;
        }
        fail(word.column, "has an unknown marker (expected @revoked or @cert-authority)");
        return std::nullopt;
    }

    // "|1|SALT|DIGEST", both in base64.
    [[nodiscard]] bool read_names(const SshWord& word, Line& line)
    {
        if (!word.text.starts_with('|')) {
            line.patterns = word.text;
            return true;
        }
        const auto rest = word.text.substr(std::min(kHashed.size(), word.text.size()));
        const auto bar = rest.find('|');
        const auto salt = decode_base64(rest.substr(0, bar));
        const auto digest = bar == std::string_view::npos ? std::nullopt : decode_base64(rest.substr(bar + 1));
        if (!word.text.starts_with(kHashed) || !salt || !digest || digest->size() != kDigest) {
            fail(word.column, "has a hashed host that can not be read (expected |1|SALT|HASH)");
            return false;
        }
        line.salt = *salt;
        line.digest = *digest;
        return true;
    }

    void read(std::string_view text)
    {
        if (text.size() > kMaxSshLine) {
            fail(1, "is too long");
            return;
        }
        if (text.find('\0') != std::string_view::npos) {
            fail(1, "has a zero octet");
            return;
        }
        auto words = split_words(text, 5); // marker, hosts, type, key, comment
        if (words.empty() || words.front().text.starts_with('#')) {
            return;
        }
        Line line;
        if (words.front().text.starts_with('@')) {
            const auto marker = read_marker(words.front());
            if (!marker) {
                return;
            }
            line.marker = *marker;
            words.erase(words.begin());
        }
        if (words.size() < 3) {
            fail(1, "is no entry (expected hosts, key type and key)");
            return;
        }
        if (read_names(words[0], line)) {
            take_key(words[1], words[2], std::move(line));
        }
    }

    void take_key(const SshWord& type, const SshWord& base64, Line line)
    {
        if (!is_ssh_key_type(type.text)) {
            return;
        }
        auto key = read_ssh_key(type.text, base64.text);
        if (auto* why = std::get_if<std::string>(&key)) {
            fail(base64.column, "has a key that " + *why);
            return;
        }
        line.key = std::move(std::get<SshPublicKey>(key));
        hosts.lines_.push_back(std::move(line));
    }
};

std::variant<KnownHosts, std::vector<SshLineProblem>> KnownHosts::parse(std::string_view text)
{
    Parser parser;
    for (const auto line : split_lines(text)) {
        if (++parser.number > kMaxSshLines) {
            parser.fail(1, "is one line too many (expected at most " + std::to_string(kMaxSshLines) + ")");
            break;
        }
        parser.read(line);
    }
    if (!parser.problems.empty()) {
        return std::move(parser.problems);
    }
    return std::move(parser.hosts);
}

bool KnownHosts::matches(const Line& line, std::string_view name, HostHash hash)
{
    if (!line.patterns.empty()) {
        return matches_host_list(line.patterns, name);
    }
    const auto digest = hash(line.salt, name);
    return std::equal(digest.begin(), digest.end(), line.digest.begin(), line.digest.end(),
                      [](std::byte one, char other) { return one == static_cast<std::byte>(other); });
}

HostKeyVerdict KnownHosts::judge(const SshHost& host, const SshPublicKey& key, HostHash hash) const
{
    const std::string name = name_in_file(host);
    bool known = false;
    bool other = false;
    for (const Line& line : lines_) {
        // An authority's own key is no key of a host.
        if (line.marker == Marker::cert_authority || !matches(line, name, hash)) {
            continue;
        }
        const bool same = line.key == key;
        if (line.marker == Marker::revoked) {
            if (same) {
                return HostKeyVerdict::revoked;
            }
            continue;
        }
        known = known || same;
        other = other || !same;
    }
    return known ? HostKeyVerdict::known : other ? HostKeyVerdict::changed : HostKeyVerdict::unknown;
}

std::vector<std::string> KnownHosts::key_types(const SshHost& host, HostHash hash) const
{
    const std::string name = name_in_file(host);
    std::vector<std::string> types;
    for (const Line& line : lines_) {
        const bool fresh = std::find(types.begin(), types.end(), line.key.type) == types.end();
        if (line.marker == Marker::none && fresh && matches(line, name, hash)) {
            types.push_back(line.key.type);
        }
    }
    return types;
}

bool KnownHosts::names_authority(const SshHost& host, HostHash hash) const
{
    const std::string name = name_in_file(host);
    return std::any_of(lines_.begin(), lines_.end(), [&](const Line& line) {
        return line.marker == Marker::cert_authority && matches(line, name, hash);
    });
}

} // namespace transports
