// The one SSH policy: algorithms, keys, who is trusted and who may log in; read and checked once, before the loop.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace transports {

enum class SshRole : std::uint8_t { client, server };

/// What is offered: from the profile. SSH names, in order of preference.
struct SshPolicy {
    std::vector<std::string> kex;         // "curve25519-sha256", ...
    std::vector<std::string> public_keys; // signature algorithms of hosts and users: "ssh-ed25519", "rsa-sha2-512", ...
    std::vector<std::string> ciphers;
    std::vector<std::string> macs; // offered beside AEAD ciphers too, which use none
    std::uint16_t min_rsa_bits = 2048;
};

struct SshSettings {
    SshRole role = SshRole::client;
    SshPolicy policy;
    std::string user = "ntpgate";                         // client: log in as; server: the only user there is
    std::string subsystem = "ntpgate";                    // the only one there is
    std::optional<std::filesystem::path> key;             // client: private key
    std::optional<std::filesystem::path> known_hosts;     // client
    std::vector<std::filesystem::path> host_keys;         // server: private keys, one of a kind
    std::optional<std::filesystem::path> authorized_keys; // server
    std::chrono::seconds rekey_time{3600};                // keys are renewed before this time and before this much
    std::uint64_t rekey_data = std::uint64_t{1} << 30U;   // data in either direction
    std::uint32_t max_packet = 35000;                     // octets of an incoming SSH packet's payload
    std::chrono::milliseconds login_grace{10000};         // server: from accepted to the subsystem running
};

/// Something in the settings that cannot work; `setting` is the configuration key it came from ("key", "known-hosts",
/// "host-keys", "authorized-keys"). `file` is set when a line of that file is at fault.
struct SshProblem {
    std::string setting;
    std::string text;
    std::string file;
    std::size_t line{};
    std::size_t column{};
};

/// Immutable once made. Loading reads files and may block: before the loop, or off it.
class SshContext {
public:
    [[nodiscard]] static std::variant<std::shared_ptr<const SshContext>, std::vector<SshProblem>>
    create(const SshSettings& settings);
    ~SshContext();
    SshContext(const SshContext&) = delete;
    SshContext& operator=(const SshContext&) = delete;

    [[nodiscard]] const SshSettings& settings() const noexcept;
    /// What works and deserves a word: keys that no offered algorithm can use, authorities that are passed over.
    [[nodiscard]] const std::vector<SshProblem>& warnings() const noexcept;

    /// What it holds, for records: types and fingerprints of our own private keys, and a digest of the file that says
    /// who is trusted.
    struct HeldKey {
        std::string file;
        std::string type;
        std::string fingerprint; // "SHA256:..."
    };
    struct Inventory {
        std::vector<HeldKey> own;
        std::string trusted; // SHA-256, hex
    };
    [[nodiscard]] const Inventory& inventory() const noexcept;

    struct State;
    [[nodiscard]] const State& state() const noexcept { return *state_; }

private:
    explicit SshContext(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

/// Whether both show the same keys of ours, whatever they trust.
[[nodiscard]] bool same_own_keys(const SshContext& one, const SshContext& other) noexcept;

/// Whether this build's library can do what a profile names; empty = usable.
[[nodiscard]] std::string why_unusable_ssh_kex(const std::string& name);
[[nodiscard]] std::string why_unusable_ssh_public_key(const std::string& name);
[[nodiscard]] std::string why_unusable_ssh_cipher(const std::string& name);
[[nodiscard]] std::string why_unusable_ssh_mac(const std::string& name);
/// Whether it authenticates by itself, so that no MAC is used with it (RFC 5647).
[[nodiscard]] bool is_ssh_aead(std::string_view cipher) noexcept;
/// Offered where a policy has no MAC, since the library takes no empty list; never used, as all its ciphers are AEADs.
inline constexpr std::string_view kUnusedSshMac = "hmac-sha2-512";

[[nodiscard]] std::string ssh_library_version();

} // namespace transports
