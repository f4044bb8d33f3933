// A front's cookie keys: read from their file, rotated and written where that is ours to do, read again when somebody
// else has written.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "gateway/config.hpp"
#include "gateway/services.hpp"
#include "ntp-shim/nts_key_ring.hpp"
#include "ntp-shim/nts_ratchet.hpp"
#include "transports/loop.hpp"

namespace gateway {

/// What a key file held; no ring while a ratchet is unsure.
struct NtsKeyFile {
    std::shared_ptr<const ntp_shim::KeyRing> ring;
    std::optional<ntp_shim::Ratchet> ratchet;
};
/// Reads the file of `tunnel` as its source says, or says why it cannot. An own or chrony's file that is ours to write
/// and is not there is made.
[[nodiscard]] std::variant<NtsKeyFile, std::string> load_nts_keys(const Tunnel& tunnel);

class NtsKeys {
public:
    using Ring = std::shared_ptr<const ntp_shim::KeyRing>;
    /// `tunnel` outlives it. `use` is given each ring that replaces the one before; null while the keys are unsure.
    NtsKeys(Services services, const Tunnel& tunnel, NtsKeyFile file, std::function<void(Ring)> use);
    ~NtsKeys();
    NtsKeys(const NtsKeys&) = delete;
    NtsKeys& operator=(const NtsKeys&) = delete;

    [[nodiscard]] const Ring& ring() const noexcept { return ring_; }
    /// Reads the file now. One that cannot be used leaves the keys as they are, and the log says why.
    void reload();

private:
    struct Look {
        std::chrono::nanoseconds changed{};
        std::uintmax_t size{};
        std::uint64_t inode{};
        bool operator==(const Look&) const = default;
    };
    [[nodiscard]] Look look() const;
    [[nodiscard]] std::chrono::seconds age() const;
    void tick();
    void rotate();
    void turn_ratchet();
    void write(std::string text);
    void replace(Ring ring);
    void record(const std::string& subject, bool success, const std::string& reason);

    Services services_;
    const Tunnel& tunnel_;
    std::function<void(Ring)> use_;
    Ring ring_;
    std::optional<ntp_shim::Ratchet> ratchet_;
    transports::Nanoseconds rotated_{}; // boot clock
    Look loaded_;
    Look seen_;
    bool unsure_ = false;
    bool write_failed_ = false;
    transports::Timer timer_;
};

} // namespace gateway
