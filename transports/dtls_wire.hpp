// The wire of one DTLS engine: whole datagrams between the caller and OpenSSL, and OpenSSL's timer taken from it.
//
// OpenSSL 3.0 times retransmission by the wall clock, which is what this program's users step. It shows each timeout to
// its BIO by reference before it looks at it again; here the wire writes "never" over it, and "long ago" when our own
// deadline has passed.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "transports/clock.hpp"
#include "transports/tls_openssl.hpp"

struct timeval;

namespace transports {

/// RFC 6347 section 4.2.4 proposes a second to begin with; a time signal is late by then.
inline constexpr Nanoseconds kFirstRetransmission = std::chrono::milliseconds{100};

/// Outlives the BIO made of it.
class DatagramWire {
public:
    struct Setting {
        std::size_t payload = 0; // octets of UDP payload that fit the path
        bool ipv6 = false;
        Nanoseconds longest_wait{}; // where doubling the retransmission interval ends
    };
    explicit DatagramWire(const Setting& setting) : setting_{setting} {}
    DatagramWire(const DatagramWire&) = delete;
    DatagramWire& operator=(const DatagramWire&) = delete;
    ~DatagramWire() = default;

    /// What OpenSSL reads next, all of it or none; must live until then.
    void offer(std::span<const std::byte> datagram) noexcept { in_ = datagram; }
    void withdraw() noexcept { in_ = {}; }
    /// The oldest datagram to send; valid until any other call on the wire or the engine.
    [[nodiscard]] std::optional<std::span<const std::byte>> next_output();
    [[nodiscard]] std::size_t outputs() const noexcept { return out_.size(); }

    void set_now(Nanoseconds boot_now) noexcept { now_ = boot_now; }
    [[nodiscard]] std::optional<Nanoseconds> deadline() const noexcept { return deadline_; }
    /// Makes OpenSSL believe that its timer has run out, and waits twice as long for the next.
    void expire() noexcept;

    /// A BIO on this wire that never blocks and never ends.
    [[nodiscard]] Owned<bio_st> make_bio();

    // What OpenSSL calls.
    [[nodiscard]] std::size_t read(std::span<std::byte> into) noexcept;
    void write(std::span<const std::byte> datagram); // cut between records when it is too long for the path
    void set_timeout(timeval& next) noexcept;
    [[nodiscard]] const Setting& setting() const noexcept { return setting_; }

private:
    Setting setting_;
    std::span<const std::byte> in_;
    std::deque<std::vector<std::byte>> out_;
    std::vector<std::byte> taken_;
    Nanoseconds now_{};
    Nanoseconds interval_ = kFirstRetransmission;
    std::optional<Nanoseconds> deadline_;
    timeval* timeout_ = nullptr; // OpenSSL's own, while it waits for one
};

} // namespace transports
