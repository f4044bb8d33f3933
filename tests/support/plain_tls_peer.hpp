// A TLS peer without any policy of ours, in memory: it offers and does whatever a test wants to be wrong.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tests/support/test_pki.hpp"

namespace support {

struct PlainSettings {
    bool server = false;
    int oldest = 0; // wire versions (0x0303); 0 = whatever OpenSSL has
    int newest = 0;
    std::string ciphers = "ALL:@SECLEVEL=0"; // of TLS 1.2 and older
    std::string suites;                      // of TLS 1.3; empty = default
    std::string groups;
    std::string signatures;
    std::vector<std::string> protocols; // ALPN: offered by a client, accepted by a server, which else ignores the offer
    const Identity* identity = nullptr;
    std::vector<const Identity*> chain;
    bool master_secret_extended = true; // RFC 7627: offered, and agreed to
    bool asks_certificate = false;      // server: and takes any
};

class PlainTlsPeer {
public:
    explicit PlainTlsPeer(const PlainSettings& settings);
    ~PlainTlsPeer();
    PlainTlsPeer(const PlainTlsPeer&) = delete;
    PlainTlsPeer& operator=(const PlainTlsPeer&) = delete;

    void feed(std::span<const std::byte> wire);
    /// Shakes hands as far as it goes, then reads what is there.
    void run();
    [[nodiscard]] std::vector<std::byte> take_output();
    [[nodiscard]] bool established() const;
    [[nodiscard]] int alert() const; // the fatal alert received, 0 = none
    [[nodiscard]] const std::string& received() const;
    [[nodiscard]] bool saw_certificate() const; // of the other end
    [[nodiscard]] int chain_length() const;     // client: certificates that the server sent
    [[nodiscard]] bool was_given_ticket() const;
    [[nodiscard]] std::string server_name() const; // server: what the client sent as SNI
    void write(const std::string& text);
    void close();       // close_notify
    void renegotiate(); // TLS 1.2
    void update_keys(); // TLS 1.3, asking for ours in return

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace support
