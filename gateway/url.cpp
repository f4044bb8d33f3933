#include "gateway/url.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "gateway/address.hpp"
#include "gateway/config_absent.hpp"
#include "gateway/config_values.hpp"

namespace gateway {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint16_t kNtpPort = 123;

struct Scheme {
    std::string_view name;
    std::uint16_t port{};
};
constexpr std::array kSchemes = {Scheme{"tls", 4461}, Scheme{"dtls", 4461}, Scheme{"ssh", 22},
                                 Scheme{"mac", 123},  Scheme{"nts", 4460},  Scheme{"ntp", kNtpPort}};

enum class Form : std::uint8_t { single, flag, list, numbers };
enum class For : std::uint8_t { both, client, server };

struct Option {
    std::string_view name;
    std::string_view block; // "" = the tunnel itself, "top" = beside tunnels
    std::string_view key;
    Form form = Form::single;
    For role = For::both;
};
constexpr std::array kOptions = {
    Option{"profile", "top", "profile"},
    Option{"framing", "", "framing"},
    Option{"listen", "", "listen", Form::list, For::client},
    Option{"clients", "", "clients", Form::list, For::client},
    Option{"upstream", "", "upstream", Form::single, For::server},
    Option{"upstream-unprotected", "", "upstream-unprotected", Form::flag, For::server},
    Option{"timeout", "timing", "handshake"},
    Option{"timeout", "timing", "connect", Form::single, For::client},
    Option{"ca", "tls", "ca"},
    Option{"certificate", "tls", "certificate"},
    Option{"key", "tls", "key"},
    Option{"server-name", "tls", "server-name", Form::single, For::client},
    Option{"crl", "tls", "crl", Form::list},
    Option{"allow", "tls", "allow", Form::list, For::server},
    Option{"client-certificate", "tls", "client-certificate", Form::single, For::server},
    Option{"mac-keys", "mac", "keys"},
    Option{"mac-format", "mac", "format"},
    Option{"mac-key", "mac", "key", Form::numbers, For::client},
    Option{"mac-key", "mac", "trusted", Form::numbers, For::server},
    Option{"user", "ssh", "user"},
    Option{"identity", "ssh", "key", Form::single, For::client},
    Option{"identity", "ssh", "host-keys", Form::list, For::server},
    Option{"known-hosts", "ssh", "known-hosts", Form::single, For::client},
    Option{"authorized-keys", "ssh", "authorized-keys", Form::single, For::server},
};

Problem problem(std::string key, std::string message)
{
    return {std::string{kCommandLine}, 0, 0, std::move(key), std::move(message)};
}

Problem url_problem(std::string message)
{
    return problem("URL", std::move(message));
}

const Scheme* scheme_named(std::string_view name)
{
    const auto found =
        std::find_if(kSchemes.begin(), kSchemes.end(), [&](const Scheme& scheme) { return scheme.name == name; });
    return found == kSchemes.end() ? nullptr : &*found;
}

// The text after the user part: HOST[:PORT], read by the same parsers as the configuration's addresses.
std::optional<Problem> read_authority(std::string_view authority, UrlUse use, ParsedUrl& url)
{
    if (use == UrlUse::target) {
        auto target = parse_target(authority, url.port);
        if (const auto* refused = std::get_if<Refused>(&target)) {
            return url_problem(shown(authority) + " " + refused->why);
        }
        url.host = std::move(std::get<Target>(target).host);
        url.port = std::get<Target>(target).port;
        return std::nullopt;
    }
    std::string text{authority};
    if (text.starts_with('*')) {
        text.erase(0, 1);
    }
    if (text.empty() || text.starts_with(':')) {
        text.insert(0, "0.0.0.0");
    }
    const auto address = parse_socket_address(text, url.port);
    if (const auto* refused = std::get_if<Refused>(&address)) {
        return url_problem(shown(authority) + " " + refused->why);
    }
    const auto& socket = std::get<SocketAddress>(address);
    const auto whole = socket.text();
    url.host = whole.substr(0, whole.rfind(':'));
    if (url.host.starts_with('[')) {
        url.host = url.host.substr(1, url.host.size() - 2);
    }
    url.port = socket.port();
    return std::nullopt;
}

class TunnelText {
public:
    TunnelText(const UrlRequest& request, Role role) : request_(request), role_(role) {}

    std::variant<std::string, Problem> make(UrlUse use)
    {
        auto parsed = parse_url(request_.url, use);
        if (auto* wrong = std::get_if<Problem>(&parsed)) {
            return std::move(*wrong);
        }
        url_ = std::move(std::get<ParsedUrl>(parsed));
        if (url_.scheme == "ntp") {
            return url_problem(fmt::format("ntp:// is for query only (expected {})", schemes()));
        }
        if (url_.scheme == "nts" && role_ == Role::server) {
            return url_problem(
                fmt::format("a front for NTS needs a file, which says where its keys are (expected {}, or "
                            "run -c FILE with nts: {{keys: ...}})",
                            schemes()));
        }
        if (auto why = why_absent("tunnels.channel", url_.scheme)) {
            return url_problem(std::move(*why));
        }
        if (!url_.user.empty() && request_.options.contains("user")) {
            return problem("--user", "is given beside a user in the URL (expected one of them)");
        }
        if (auto wrong = check_options()) {
            return std::move(*wrong);
        }
        return emit();
    }

private:
    [[nodiscard]] bool applies(const Option& option) const noexcept
    {
        return option.role == For::both || (option.role == For::client) == (role_ == Role::client);
    }

    [[nodiscard]] std::optional<Problem> check_options() const
    {
        for (const auto& [name, values] : request_.options) {
            if (auto why = why_refused(name, values)) {
                return problem("--" + name, std::move(*why));
            }
        }
        const auto* needed = role_ == Role::client ? "listen" : "upstream";
        if (request_.options.find(needed) == request_.options.end()) {
            return problem(std::string{"--"} + needed, role_ == Role::client
                                                           ? "is missing (expected ADDRESS:PORT, such as 127.0.0.2:123)"
                                                           : "is missing (expected the NTP daemon's ADDRESS:PORT, or "
                                                             "clock)");
        }
        return std::nullopt;
    }

    [[nodiscard]] std::optional<std::string> why_refused(std::string_view name,
                                                         const std::vector<std::string>& values) const
    {
        // An option may stand in two rows, one for each role: the one that applies is looked at.
        const auto named = [&](const Option& option) { return option.name == name; };
        auto known = std::find_if(kOptions.begin(), kOptions.end(),
                                  [&](const Option& option) { return named(option) && applies(option); });
        if (known == kOptions.end()) {
            known = std::find_if(kOptions.begin(), kOptions.end(), named);
        }
        if (known == kOptions.end()) {
            return "is not a known option";
        }
        if ((known->block == "ssh") != (url_.scheme == "ssh") && (known->block == "ssh" || known->block == "tls")) {
            return fmt::format("has no effect under {}:// (it belongs to {})", url_.scheme,
                               known->block == "ssh" ? "ssh://" : "tls:// and dtls://");
        }
        if (!applies(*known)) {
            return fmt::format("belongs to role {} (this tunnel's role is {})",
                               known->role == For::client ? "client" : "server", gateway::name(role_));
        }
        const bool many = known->form == Form::list || known->form == Form::numbers;
        if (values.empty() || (!many && values.size() != 1)) {
            return "has not one value (expected to be given once)";
        }
        if (!std::all_of(values.begin(), values.end(), [](const auto& value) { return is_utf8(value); })) {
            return "is not UTF-8";
        }
        return std::nullopt;
    }

    void add_options(std::string_view block, Json& to) const
    {
        for (const auto& option : kOptions) {
            const auto given = request_.options.find(option.name);
            if (option.block != block || given == request_.options.end() || !applies(option)) {
                continue;
            }
            const auto texts = with_default_port(option.key, given->second);
            auto& value = to[std::string{option.key}];
            if (option.form == Form::list) {
                value = texts;
            } else if (option.form == Form::numbers) {
                value = numbers(texts);
            } else if (option.form == Form::flag && (texts.front() == "true" || texts.front() == "false")) {
                value = texts.front() == "true";
            } else {
                value = texts.front();
            }
        }
    }

    // "--listen 127.0.0.2" means NTP's own port, as in every NTP program's arguments.
    static std::vector<std::string> with_default_port(std::string_view key, std::vector<std::string> texts)
    {
        for (auto& text : texts) {
            const auto address = parse_socket_address(text, kNtpPort);
            if ((key == "listen" || key == "upstream") && std::holds_alternative<SocketAddress>(address)) {
                text = std::get<SocketAddress>(address).text();
            }
        }
        return texts;
    }

    [[nodiscard]] std::string_view schemes() const noexcept
    {
        return role_ == Role::client ? "tls://, dtls://, ssh://, mac:// or nts://"
                                     : "tls://, dtls://, ssh:// or mac://";
    }

    [[nodiscard]] bool needs(std::string_view block) const noexcept
    {
        return block == (url_.scheme == "mac" ? "mac" : url_.scheme == "ssh" ? "ssh" : "tls");
    }

    /// A number that is none stays a text, for the loader to refuse in its words.
    static Json numbers(const std::vector<std::string>& texts)
    {
        auto list = Json::array();
        for (const auto& text : texts) {
            const auto number = parse_number(text);
            const auto* value = std::get_if<std::uint64_t>(&number);
            list.push_back(value == nullptr ? Json(text) : Json(*value));
        }
        return list;
    }

    // JSON is YAML whose every text is quoted: what the shell handed over can not become YAML of its own.
    [[nodiscard]] std::string emit() const
    {
        Json tunnel = {{"name", gateway::name(role_)}, {"role", gateway::name(role_)}, {"channel", url_.scheme}};
        const auto address = Target{url_.host, url_.port}.text();
        tunnel[role_ == Role::client ? "connect" : "listen"] = Json::array({address});
        add_options("", tunnel);
        for (const auto* block : {"timing", "tls", "ssh", "mac"}) {
            Json keys = Json::object();
            add_options(block, keys);
            if (block == std::string_view{"ssh"} && !url_.user.empty()) {
                keys["user"] = url_.user;
            }
            // What channels on TLS and SSH need is asked for even when no option names any of it.
            const bool own = block == std::string_view{"timing"} || needs(block);
            if (own || !keys.empty()) {
                tunnel[block] = std::move(keys);
            }
        }
        Json document = Json::object();
        add_options("top", document);
        document["tunnels"] = Json::array({tunnel});
        return document.dump(2) + "\n";
    }

    const UrlRequest& request_;
    Role role_;
    ParsedUrl url_;
};

} // namespace

std::variant<ParsedUrl, Problem> parse_url(std::string_view url, UrlUse use)
{
    constexpr std::string_view kForm = "expected SCHEME://HOST[:PORT] with tls, dtls, ssh, mac, nts or ntp";
    const auto colon = url.find("://");
    const auto* scheme = colon == std::string_view::npos ? nullptr : scheme_named(url.substr(0, colon));
    if (scheme == nullptr) {
        return url_problem(fmt::format("has no known scheme ({})", kForm));
    }
    ParsedUrl parsed{std::string{scheme->name}, "", "", scheme->port};
    auto authority = url.substr(colon + 3);
    if (authority.ends_with('/')) {
        authority.remove_suffix(1);
    }
    if (const auto at = authority.rfind('@'); at != std::string_view::npos) {
        // Not shown: it may hold a password.
        parsed.user = authority.substr(0, at);
        authority.remove_prefix(at + 1);
        if (parsed.scheme != "ssh" || parsed.user.empty() || parsed.user.find(':') != std::string::npos) {
            return url_problem("has a user part (expected one under ssh only, and no password)");
        }
    }
    if (authority.find_first_of("/?#") != std::string_view::npos) {
        return url_problem(fmt::format("has a path ({})", kForm));
    }
    if (auto wrong = read_authority(authority, use, parsed)) {
        return std::move(*wrong);
    }
    return parsed;
}

std::variant<std::string, Problem> client_yaml(const UrlRequest& request)
{
    return TunnelText{request, Role::client}.make(UrlUse::target);
}

std::variant<std::string, Problem> server_yaml(const UrlRequest& request)
{
    return TunnelText{request, Role::server}.make(UrlUse::listener);
}

std::variant<std::string, Problem> query_yaml(const UrlRequest& request)
{
    auto complete = request;
    complete.options.insert_or_assign("listen", std::vector<std::string>{"127.0.0.2:0"});
    return client_yaml(complete);
}

} // namespace gateway
