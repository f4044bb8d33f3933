// Octets that are nobody's business: wiped when they go, moved and never copied, printed nowhere.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "ntp-shim/bytes.hpp"

namespace ntp_shim {

/// Overwrites what a compiler might think is not read again.
void wipe(std::span<std::byte> octets) noexcept;

class Secret {
public:
    Secret() = default;
    explicit Secret(std::size_t size); // zeros, to be filled in
    explicit Secret(Bytes octets);     // a copy; the original is the caller's to wipe
    ~Secret() { wipe(octets()); }
    Secret(Secret&& other) noexcept;
    Secret& operator=(Secret&& other) noexcept;
    Secret(const Secret&) = delete;
    Secret& operator=(const Secret&) = delete;

    [[nodiscard]] std::span<std::byte> octets() noexcept { return {octets_.get(), size_}; }
    [[nodiscard]] Bytes octets() const noexcept { return {octets_.get(), size_}; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
    std::unique_ptr<std::byte[]> octets_;
    std::size_t size_ = 0;
};

/// Whether two digests are the same, in a time that depends on their length only.
[[nodiscard]] bool equal_in_constant_time(Bytes one, Bytes other) noexcept;

} // namespace ntp_shim
