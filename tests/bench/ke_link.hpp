// One key establishment with OpenSSL and nothing of ntpgate's transports: what the benches measure servers by.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "ntp-shim/nts_ke_client.hpp"
#include "ntp-shim/nts_session.hpp"

struct ssl_ctx_st;

namespace bench {

/// What is the same for every key establishment with 127.0.0.1; certificates are verified against `ca` for "localhost".
class KeClient {
public:
    /// `nagle`: as sockets come, so that what follows the handshake waits for the server's acknowledgement; else
    /// TCP_NODELAY. Ends the program with a message when `ca` cannot be read.
    KeClient(const std::string& ca, std::uint16_t port, bool nagle);
    ~KeClient();
    KeClient(const KeClient&) = delete;
    KeClient& operator=(const KeClient&) = delete;

    struct Established {
        ntp_shim::NtsSession session;
        std::uint16_t ntp_port{};
    };
    /// Connects, shakes hands, asks, reads the answer, says close_notify. Ends the program when any of it fails.
    [[nodiscard]] Established establish();

private:
    std::uint16_t port_;
    bool nagle_;
    ssl_ctx_st* context_;
    ntp_shim::KeOffer offer_;
    std::vector<std::byte> request_;
};

/// Says what failed and ends the program with 1.
[[noreturn]] void fail(const std::string& what);

} // namespace bench
