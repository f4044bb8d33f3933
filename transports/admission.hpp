// Who is let in: limits on channels and handshakes, checked before a peer costs any memory. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

#include "transports/address.hpp"
#include "transports/channel.hpp"

namespace transports {

struct AdmissionLimits { // 0 = no limit
    std::uint32_t channels = 4096;
    std::uint32_t half_open = 1024;
    std::uint32_t handshakes_per_second_per_source = 20;
    std::uint32_t handshakes_per_second = 0;
};

/// Counts what is open for one tunnel and, through `wider`, for the process. A source is an address /32 or /64.
class Admission {
public:
    /// `wider` outlives this object; null for the process's own.
    Admission(const AdmissionLimits& limits, Admission* wider);

    /// A place for one peer: half-open when given, a channel once promoted, free again when destroyed.
    class Place {
    public:
        Place() = default;
        explicit Place(Admission& admission) noexcept;
        ~Place();
        Place(Place&& other) noexcept;
        Place& operator=(Place&& other) noexcept;
        Place(const Place&) = delete;
        Place& operator=(const Place&) = delete;
        void promote() noexcept;

    private:
        void release() noexcept;
        Admission* admission_ = nullptr;
        bool promoted_ = false;
    };

    /// The limit that speaks against one more handshake from `peer` now; counts it as begun when nothing does.
    [[nodiscard]] std::optional<Limit> admit(const MappedAddress& peer, Nanoseconds boot_now);

private:
    [[nodiscard]] std::optional<Limit> check(const MappedAddress& source, Nanoseconds second);
    void count(const MappedAddress& source);

    AdmissionLimits limits_;
    Admission* wider_;
    std::uint32_t channels_ = 0;
    std::uint32_t half_open_ = 0;
    // Handshakes begun in the current second. The map is emptied every second, and never has more entries than
    // kMaxSources: beyond that only sources already in it go on.
    static constexpr std::size_t kMaxSources = 16384;
    Nanoseconds second_{};
    std::uint32_t begun_ = 0;
    std::map<MappedAddress, std::uint32_t> begun_by_source_;
};

} // namespace transports
