// What a configuration means once it is valid: nothing downstream checks it again. Defaults stand here, with their
// units.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <netinet/in.h>
#include <sys/types.h>

#include "gateway/nts_settings.hpp"
#include "ntp-shim/key_file.hpp"
#include "ntp-shim/mac_seal.hpp"
#include "transports/ssh_context.hpp"
#include "transports/tls_context.hpp"

namespace gateway {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

enum class Role : std::uint8_t { client, server };
enum class ChannelKind : std::uint8_t { tls, dtls, ssh, mac, nts };
enum class Framing : std::uint8_t { v1, raw };
[[nodiscard]] std::string_view name(Role role) noexcept;
[[nodiscard]] std::string_view name(ChannelKind channel) noexcept;
[[nodiscard]] std::string_view name(Framing framing) noexcept;

/// A socket address with its port; IPv4 or IPv6.
struct SocketAddress {
    sockaddr_storage storage{};
    [[nodiscard]] std::string text() const; // "127.0.0.1:123", "[::1]:123"
    [[nodiscard]] std::uint16_t port() const noexcept;
    [[nodiscard]] bool is_loopback() const noexcept;
    [[nodiscard]] bool is_any() const noexcept; // 0.0.0.0 or ::
    bool operator==(const SocketAddress& other) const noexcept;
};

/// An address block of `clients`.
struct AddressBlock {
    std::array<std::byte, 16> address{}; // IPv4 as ::ffff:a.b.c.d
    std::uint8_t prefix{};               // of the 128-bit form
    [[nodiscard]] bool contains(const std::array<std::byte, 16>& candidate) const noexcept;
    [[nodiscard]] std::string text() const;
};

struct Target {
    std::string host; // name or address, without brackets
    std::uint16_t port{};
    [[nodiscard]] std::string text() const;
};

struct Limits { // 0 = no limit; client = address /32 or /64
    std::uint32_t channels = 4096;
    std::uint32_t half_open = 1024;
    std::uint32_t handshakes_per_second_per_source = 20;
    std::uint32_t handshakes_per_second = 0;
    std::uint32_t exchanges = 65536;
    std::uint32_t exchanges_per_channel = 4096;
    std::uint32_t exchanges_per_client = 16;
    std::uint32_t requests_per_second_per_client = 100;
};

struct Timing {
    milliseconds max_age{500};         // 10..900 ms
    milliseconds max_round_trip{1000}; // at most 4 s
    milliseconds max_uncorrected{5};
    bool correct_hold = true;
    bool correct_excess = false;
    milliseconds connect{5000};
    milliseconds handshake{5000};
    milliseconds keepalive{25000};
    milliseconds idle{90000};
    milliseconds max_channel_age{24 * 3600 * 1000};
};

struct DaemonUpstream {
    SocketAddress address;
};
struct ClockUpstream {
    std::uint8_t stratum = 10;
    bool free_running = false;
    milliseconds offset{}; // profile lab: how far what is told is ahead of the clock
    std::uint8_t leap = 0; // profile lab
    milliseconds root_dispersion{10};
};
/// The system clock, as long as the daemon that disciplines it agrees.
struct MirrorUpstream {
    SocketAddress address;
    milliseconds max_offset{1};
};
using Upstream = std::variant<DaemonUpstream, ClockUpstream, MirrorUpstream>;

/// `faults:` of a server tunnel, under profile lab only: what a device's NTP client is tested against.
struct LabFaults {
    milliseconds delay{};                                 // answers leave that much later, and no hold says so
    std::optional<ntp_shim::DigestKind> mac_digest;       // replies are sealed with it instead of the key's own
    bool wrong_origin = false;                            // replies do not say what they answer
    bool unsolicited = false;                             // beside each reply, another one that nobody asked for
    std::optional<SocketAddress> broadcast;               // where a packet of mode 5 is sent every second
    [[nodiscard]] std::vector<std::string> texts() const; // for `check` and the records: "delay 400ms"
};

/// What `check` and the log may show of a loaded key.
struct KeySummary {
    std::uint32_t id{};
    std::string digest;
    std::string check_value; // the same on both sides, when the keys are
};

/// The mac: block.
struct MacSettings {
    std::filesystem::path keys;
    ntp_shim::KeyFormat format = ntp_shim::KeyFormat::automatic;
    std::vector<std::uint32_t> ids; // client role: in order of preference; server role: trusted, empty = all
    std::uint8_t version = 4;       // client role
    ntp_shim::MacServerSeal::Rules rules;
    std::vector<std::string> digests; // of the profile
    std::string demand;               // the requirement behind them
    std::vector<uid_t> owners;        // who may own the file, beside root
    std::vector<KeySummary> loaded;   // when the configuration was read
};

struct Tunnel {
    std::string name;
    Role role{};
    ChannelKind channel{};
    bool channel_chosen = false; // by the profile, because the file names none
    Framing framing = Framing::v1;
    std::uint16_t mtu = 1200;          // channel dtls: octets of the largest IP packet
    std::vector<SocketAddress> listen; // client role: local UDP; server role: where peers connect
    std::vector<AddressBlock> clients; // client role; empty = loopback only
    std::vector<Target> connect;       // client role, in order
    std::optional<Upstream> upstream;  // server role
    bool upstream_unprotected = false;
    Timing timing;
    Limits limits; // the process's, lowered by the tunnel
    transports::TlsSettings tls;
    std::vector<uid_t> secret_owners; // who may own the private key's file, beside root
    bool group_readable_keys = false; // its group may read it
    transports::SshSettings ssh;
    bool stdio = false;       // server role under ssh: serves standard input and output, and listens nowhere
    std::size_t stdio_line{}; // where the file says so
    std::size_t stdio_column{};
    std::optional<std::filesystem::path> last_good_time; // client role, certificate-time: bootstrap
    std::string server_name;                             // client role; empty = each target's own host
    std::optional<MacSettings> mac;                      // channel mac, or the inner seal of another
    std::optional<NtsSettings> nts;                      // channel nts
    std::vector<SocketAddress> ke_listen; // channel nts, server role: where keys are established, over TCP
    std::uint16_t source_port = 0;        // channels mac and nts, client role; 0 = random for each request
    bool forward_kod = false;
    bool forward_unsynchronised = false;
    std::optional<LabFaults> faults; // server role, profile lab
    std::string claim;               // what carries the claim, as printed by `check`
};

enum class LogLevel : std::uint8_t { error, warn, info, debug };
enum class LogFormat : std::uint8_t { text, json };

struct AuditSettings {
    std::optional<std::filesystem::path> file;
    bool syslog = false;        // beside the file, or alone; neither = stderr
    bool stop_when_full = true; // on-full: stop | continue
};

/// `integrity:`; what is verified before anything else is done.
struct IntegritySettings {
    std::filesystem::path manifest; // lines as sha256sum writes them; its signature is in the file MANIFEST.sig
    std::filesystem::path key;      // PEM, the public key
};

/// Which protection profile's names and rows the audit records follow.
enum class Requirements : std::uint8_t { v2_2e, v3_0e, v4_0 };

/// A file, and the SHA-256 of what was read of it: 64 lower-case digits.
struct ReadFile {
    std::filesystem::path path;
    std::string sha256;
};

struct Config {
    std::string file;    // as given on the command line
    std::string profile; // its name
    Requirements requirements = Requirements::v4_0;
    bool lab = false; // deliberately wrong time may be served: every record says so
    std::string user; // empty = stay
    LogLevel log_level = LogLevel::info;
    LogFormat log_format = LogFormat::text;
    AuditSettings audit;
    bool fips = false; // the library's FIPS provider is in use
    std::optional<IntegritySettings> integrity;
    std::optional<ReadFile> source;       // absent = made from arguments
    std::optional<ReadFile> profile_file; // absent = built in
    Limits limits;
    std::vector<Tunnel> tunnels;
};

/// Stands for the file's name when the configuration was made from arguments: its problems name no lines.
inline constexpr std::string_view kCommandLine = "command line";

/// One thing wrong, or worth a warning; line and column are 1-based, 0 when the whole file is meant.
struct Problem {
    std::string file;
    std::size_t line{};
    std::size_t column{};
    std::string key; // "tunnels[0].timing.max-age"
    std::string message;
    [[nodiscard]] std::string text() const; // FILE:LINE:COLUMN: KEY: MESSAGE
};

struct Loaded {
    std::optional<Config> config; // present only without errors
    std::vector<Problem> errors;
    std::vector<Problem> warnings;
};

/// Reads, checks and opens for reading everything that the configuration names; binds and connects nothing.
[[nodiscard]] Loaded load_config(const std::filesystem::path& file);
/// The same from text; `name` stands where the file's path would, relative paths are relative to `base`.
[[nodiscard]] Loaded load_config_text(const std::string& text, const std::string& name,
                                      const std::filesystem::path& base);

} // namespace gateway
