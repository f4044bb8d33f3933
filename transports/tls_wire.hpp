// The wire of one engine: octets in and out between the caller and OpenSSL, and where the records of the input end.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "transports/tls_openssl.hpp"

namespace transports {

/// Follows the record headers of RFC 8446 section 5.1: five octets, of which the last two are the length.
class RecordCounter {
public:
    void follow(std::span<const std::byte> data) noexcept;
    [[nodiscard]] bool inside() const noexcept { return header_ > 0 || body_ > 0; }

private:
    static constexpr std::uint8_t kHeader = 5;
    std::uint8_t header_ = 0; // octets of the header seen, 0 between records
    std::uint16_t length_ = 0;
    std::uint32_t body_ = 0; // octets of the body still to come
};

/// Both directions; gives its memory back whenever it is empty. Outlives the BIO made of it.
class Wire {
public:
    Wire() = default;
    ~Wire() = default;
    Wire(const Wire&) = delete;
    Wire& operator=(const Wire&) = delete;

    void feed(std::span<const std::byte> data);
    [[nodiscard]] std::size_t unread() const noexcept { return in_.size() - read_; }
    [[nodiscard]] bool inside_record() const noexcept { return counter_.inside(); }
    /// Forgets the record that is partly there, too.
    void drop_input() noexcept;

    [[nodiscard]] std::span<const std::byte> output() const noexcept;
    void consume_output(std::size_t count) noexcept;

    /// What OpenSSL calls: reads move out of the input, writes append to the output.
    [[nodiscard]] std::size_t read(std::span<std::byte> into) noexcept;
    void write(std::span<const std::byte> from);

    /// A BIO on this wire that never blocks and never ends.
    [[nodiscard]] Owned<bio_st> make_bio();

private:
    void release_input() noexcept;

    std::vector<std::byte> in_;
    std::size_t read_ = 0;
    std::vector<std::byte> out_;
    std::size_t sent_ = 0;
    RecordCounter counter_;
};

} // namespace transports
