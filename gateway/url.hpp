// The short forms of the command line: a URL and options become the text of a configuration, checked like any other.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "gateway/config.hpp"

namespace gateway {

/// "tls://gw.example.org:4461", taken apart.
struct ParsedUrl {
    std::string scheme; // ntp mac nts tls dtls ssh
    std::string user;   // ssh only; else empty
    std::string host;   // a name or address, without brackets
    std::uint16_t port{};
};

/// target: a host to connect to. listener: an address of this host; none or `*` stands for 0.0.0.0, and port 0 is
/// taken.
enum class UrlUse : std::uint8_t { target, listener };

/// A missing port is the scheme's: tls, dtls 4461; ssh 22; ntp, mac 123; nts 4460.
[[nodiscard]] std::variant<ParsedUrl, Problem> parse_url(std::string_view url, UrlUse use);

/// Options by name without dashes ("ca", "listen"), each with its values: ca certificate key server-name crl profile
/// framing timeout user identity known-hosts, and clients listen (client) or allow client-certificate upstream
/// upstream-unprotected authorized-keys (server).
using UrlOptions = std::map<std::string, std::vector<std::string>, std::less<>>;

struct UrlRequest {
    std::string url;
    UrlOptions options;
};

// Each makes one tunnel, named after its role; the text is for load_config_text with kCommandLine for a name and the
// working directory for a base. An option that is not known, or not in this version, is refused by name.
[[nodiscard]] std::variant<std::string, Problem> client_yaml(const UrlRequest& request);
[[nodiscard]] std::variant<std::string, Problem> server_yaml(const UrlRequest& request);
/// A client tunnel for `query`, which never binds its listen address. Not for ntp://, which needs no tunnel.
[[nodiscard]] std::variant<std::string, Problem> query_yaml(const UrlRequest& request);

} // namespace gateway
