// One tunnel's symmetric keys: read from their file, read again when it changes, and gone without a trace after that.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gateway/config.hpp"
#include "gateway/services.hpp"
#include "ntp-shim/mac.hpp"
#include "transports/loop.hpp"

namespace gateway {

/// A line of the key file (0: the file itself) and what is to be said of it; never a key.
struct KeyRemark {
    std::size_t line{};
    std::string text;
};

struct LoadedKeys {
    std::shared_ptr<const ntp_shim::MacKeyRing> ring; // nothing when there are errors
    std::vector<KeyRemark> errors;
    std::vector<KeyRemark> remarks; // keys that nobody asked for, and ids that the file has not
};

/// The keys that `tunnel` may use, in its order of preference. The file must be kept like a secret; every line of it
/// must be a key, and every key that is asked for must be strong, and of a digest the profile offers.
[[nodiscard]] LoadedKeys load_mac_keys(const Tunnel& tunnel);

/// "key 7, SHA256, check value 1a2b3c4d": all that is ever shown of a key.
[[nodiscard]] std::string key_text(const ntp_shim::MacKey& key);

class MacKeys {
public:
    using Ring = std::shared_ptr<const ntp_shim::MacKeyRing>;
    /// `tunnel` outlives it. `use` is given each ring that replaces `ring`; at the end an empty one.
    MacKeys(Services services, const Tunnel& tunnel, Ring ring, std::function<void(Ring)> use);
    ~MacKeys();
    MacKeys(const MacKeys&) = delete;
    MacKeys& operator=(const MacKeys&) = delete;

    /// Reads the file now. A file that cannot be used leaves the keys as they are, and the log says why.
    void reload();

private:
    struct Look {
        std::chrono::nanoseconds changed{};
        std::uintmax_t size{};
        std::uint64_t inode{};
        bool operator==(const Look&) const = default;
    };
    struct Retired {
        std::weak_ptr<const ntp_shim::MacKey> key;
        std::string text;
    };
    [[nodiscard]] Look look() const;
    void tick();
    void replace(Ring ring);
    void record_loaded(const ntp_shim::MacKey& key, const std::string& change);
    void record_destroyed();

    Services services_;
    const Tunnel& tunnel_;
    Ring ring_;
    std::function<void(Ring)> use_;
    std::vector<Retired> retired_; // in use by open exchanges until these end
    Look loaded_;
    Look seen_;
    transports::Timer timer_;
};

} // namespace gateway
