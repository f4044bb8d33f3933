// What a profile offers and demands: data from configs/profiles/*.yaml, compiled in, or from a file in their place.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/config.hpp"

namespace gateway {

enum class CertificateTime : std::uint8_t { strict, bootstrap, unchecked };

/// Which channels may carry the claim that the time is protected. Each channel stands in exactly one of the lists.
struct ClaimRules {
    std::string requirement; // "FCS_NTP_EXT.1.2"; empty when no document demands it
    std::string rule;        // a clause that follows "under profile NAME: "
    std::vector<ChannelKind> claimable;
    std::vector<ChannelKind> supplementary; // only together with a claimable one
    std::vector<ChannelKind> forbidden;
};

struct SshOffer {
    std::vector<std::string> kex;
    std::vector<std::string> public_keys; // of hosts and of users
    std::vector<std::string> ciphers;
    std::vector<std::string> macs;                                // empty: every cipher authenticates by itself
    std::chrono::milliseconds rekey_time = std::chrono::hours{1}; // at the latest
    std::uint64_t rekey_bytes = 1ULL << 30U;
};

/// Which requirement is behind what a tunnel may not have; each is empty where no document is.
struct Demands {
    std::string tls;
    std::string dtls;
    std::string ssh;
    std::string mac;
    std::string certificates;
    std::string client_certificate;
    std::string upstream;
    std::string keys;
};

/// Items that the profile's requirement allows and that are not offered all the same.
struct LeftOut {
    std::vector<std::string> items;
    std::string reason;
};

struct Profile {
    std::string name;
    std::string title;
    Requirements requirements = Requirements::v4_0; // whose names the audit records use
    bool lab = false;
    Demands demands;
    std::vector<ChannelKind> order; // which channel a tunnel without `channel` gets
    ClaimRules claim;
    transports::TlsPolicy tls;
    transports::TlsPolicy dtls; // groups, signatures and extended master secret are those of tls
    SshOffer ssh;
    std::vector<std::string> digests;                                 // of symmetric keys
    std::vector<std::uint16_t> aeads;                                 // of NTS, IANA numbers
    transports::Revocation revocation = transports::Revocation::soft; // what a tunnel gets that names none
    std::vector<transports::Revocation> revocation_choices;           // what a tunnel may choose; empty = any
    std::vector<CertificateTime> certificate_time;                    // what a tunnel may choose
    std::vector<transports::ClientCertificate> client_certificate;    // what a tunnel may choose
    bool group_readable_keys = false;                                 // a warning; otherwise an error
    bool upstream_unprotected = false;                                // whether a tunnel may write it
    std::vector<LeftOut> left_out;
};

struct LoadedProfile {
    std::optional<Profile> profile; // present only without errors
    std::optional<ReadFile> file;   // absent = built in
    std::vector<Problem> errors;
};

struct BuiltInProfile {
    std::string_view name;
    std::string_view text; // the YAML file, as `profile show` prints it
};
[[nodiscard]] std::span<const BuiltInProfile> built_in_profiles() noexcept;

/// `name` is what the configuration says: a built-in profile, or a path (with a slash, or ending in .yaml) relative to
/// `base`. Absent when neither exists: the caller knows where that was asked for. A file may not have the name of a
/// built-in profile: what is claimed under that name is what is compiled in.
[[nodiscard]] std::optional<LoadedProfile> load_profile(const std::string& name, const std::filesystem::path& base);
[[nodiscard]] LoadedProfile load_profile_text(const std::string& text, const std::string& file);

/// The words of `channel:`, `certificate-time:` and `client-certificate:`.
[[nodiscard]] std::string_view name(CertificateTime time) noexcept;
[[nodiscard]] std::string_view name(transports::ClientCertificate demand) noexcept;
[[nodiscard]] std::string_view name(transports::Revocation revocation) noexcept;
[[nodiscard]] std::string_view name(transports::Ocsp ocsp) noexcept;

} // namespace gateway
