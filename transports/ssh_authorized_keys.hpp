// authorized_keys: who may log in, and what each line's options say. Every option is honoured or refused. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "transports/clock.hpp"
#include "transports/ssh_key_text.hpp"
#include "transports/ssh_patterns.hpp"

namespace transports {

struct AuthorizedKey {
    SshPublicKey key;
    std::string comment;
    std::optional<AddressList> from;
    std::optional<Nanoseconds> expires; // wall clock
};

enum class UserKeyVerdict : std::uint8_t { admitted, unknown, wrong_address, expired };

struct SshCaller {
    MappedAddress address{};
    Nanoseconds now{}; // wall clock
};

class AuthorizedKeys {
public:
    /// Everything wrong in the file, or all of it. A line that can not be honoured as it stands is an error: half a
    /// restriction is none.
    [[nodiscard]] static std::variant<AuthorizedKeys, std::vector<SshLineProblem>> parse(std::string_view text);

    struct Judgement {
        UserKeyVerdict verdict{};
        const AuthorizedKey* key = nullptr; // when admitted; lives as long as this object
    };
    /// A key that stands on several lines is admitted by any of them.
    [[nodiscard]] Judgement judge(const SshPublicKey& key, const SshCaller& caller) const;
    [[nodiscard]] const std::vector<AuthorizedKey>& keys() const noexcept { return keys_; }

private:
    struct Parser;
    std::vector<AuthorizedKey> keys_;
};

/// "YYYYMMDDZ", "YYYYMMDDHHMMZ", "YYYYMMDDHHMMSSZ": UTC only, since a service's local time is nobody's.
[[nodiscard]] std::optional<Nanoseconds> parse_expiry(std::string_view text);

} // namespace transports
