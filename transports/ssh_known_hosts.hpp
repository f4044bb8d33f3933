// known_hosts, by ourselves: libssh 0.10 passes over `@revoked` and `@cert-authority`. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "transports/ssh_key_text.hpp"

namespace transports {

struct SshHost {
    std::string name; // as the configuration names it, without brackets
    std::uint16_t port{};
};

/// HMAC-SHA1 of a text: how the file hides host names.
using HostHash = std::array<std::byte, 20> (*)(std::string_view salt, std::string_view text);

enum class HostKeyVerdict : std::uint8_t {
    known,
    unknown, // no line is about this host
    changed, // the host has other keys, of whatever type
    revoked, // whatever else the file says
};

class KnownHosts {
public:
    /// Everything wrong in the file, or all of it. Keys of types not known here are passed over: the file is shared
    /// with other programs. A line that can not be read is an error, since it may be the one that revokes.
    [[nodiscard]] static std::variant<KnownHosts, std::vector<SshLineProblem>> parse(std::string_view text);

    /// A port other than 22 is part of the name: "[gw.example.org]:2222".
    [[nodiscard]] HostKeyVerdict judge(const SshHost& host, const SshPublicKey& key, HostHash hash) const;
    /// Types of the host's keys, in the order of the file.
    [[nodiscard]] std::vector<std::string> key_types(const SshHost& host, HostHash hash) const;
    /// Whether an authority is trusted for the host: host certificates are not in this version.
    [[nodiscard]] bool names_authority(const SshHost& host, HostHash hash) const;
    [[nodiscard]] std::size_t size() const noexcept { return lines_.size(); }

private:
    enum class Marker : std::uint8_t { none, revoked, cert_authority };
    struct Line {
        Marker marker{};
        std::string patterns; // empty: `salt` and `digest` count
        std::string salt;
        std::string digest;
        SshPublicKey key;
    };
    struct Parser;
    [[nodiscard]] static bool matches(const Line& line, std::string_view name, HostHash hash);
    std::vector<Line> lines_;
};

} // namespace transports
