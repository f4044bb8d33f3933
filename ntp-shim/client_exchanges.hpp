// The client role's exchanges and channels: every beginning, hand-over and end passes here, and is counted here.
//
//   add -> waiting --hand_over--> open --end(answered | lost | replaced | abandoned)--> gone
//             |                     |
//             +--- drop(reason) ----+--- take_back(reason) ---> gone
//
// waiting: a request without a channel; ends at max-age. open: sent as a frame; ends at max-round-trip.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <variant>
#include <vector>

#include "ntp-shim/client_shim.hpp"
#include "ntp-shim/filter.hpp"
#include "ntp-shim/hold.hpp"
#include "ntp-shim/liveness.hpp"
#include "ntp-shim/packet.hpp"
#include "ntp-shim/rate_limit.hpp"
#include "ntp-shim/recent.hpp"
#include "ntp-shim/seal.hpp"
#include "ntp-shim/slot_index.hpp"
#include "ntp-shim/slot_table.hpp"

namespace ntp_shim {

struct ClientChannel;

struct ClientExchange {
    ClientEndpoint client;
    SentRequest request; // as the client wrote it
    SentRequest sent;    // as it went out: the same, unless a seal had it re-issued
    ClientFields fields;
    SealMemoryPointer seal; // nothing without one
    std::array<std::byte, kHeaderSize> header{};
    std::vector<std::byte> spilled; // the whole datagram, when it is longer than a header and another came after it
    Instant arrival;
    Instant handed_over;
    Ticks forward_hold{};
    ClientAccounts::Number account{};
    std::uint64_t client_key{};
    std::uint64_t id{};               // v1: the frame's; datagram: the stamp it went out with
    ClientChannel* channel = nullptr; // nothing while it waits
    SlotLink by_age;                  // among the waiting, or among the open
    SlotLink on_channel;
};

struct ClientChannel {
    ChannelNumber number{};
    std::uint32_t next_id{};
    std::uint64_t stamp_offset{};
    Liveness liveness;
    SlotList<ClientExchange, &ClientExchange::on_channel> open; // in order of hand-over
    Recent answered;                                            // ids (v1) or transmit stamps
    unsigned unanswered = 0;                                    // lost in a row
};

enum class ExchangeEnd : std::uint8_t { answered, lost, replaced, abandoned };

class ClientExchanges {
public:
    ClientExchanges(const ClientPolicy& policy, Counters& counters);

    struct Arrived {
        const ClientEndpoint& from;
        Bytes datagram;
        const Packet& packet;
        Instant at;
    };
    /// The slot of a new waiting exchange, or why there is none. Newest wins: the same (endpoint, transmit stamp)
    /// ends the exchange it repeats.
    [[nodiscard]] std::variant<std::uint32_t, DropReason> add(const Arrived& request, ClientAccounts::Number account);
    /// The waiting request's octets; they live until the next add.
    [[nodiscard]] Bytes datagram(std::uint32_t slot) const noexcept;
    /// What goes out in a waiting request's place, and what its reply will be opened with.
    void seal(std::uint32_t slot, const SentRequest& sent, SealMemoryPointer memory);
    void hand_over(std::uint32_t slot, ClientChannel& channel, Instant now);
    void leave(std::uint32_t slot, Instant now); // of an open exchange: its forward hold ends only now
    /// A waiting exchange is dropped, an open one taken back as if it had never been handed over.
    void refuse(std::uint32_t slot, DropReason reason);
    void end(std::uint32_t slot, ExchangeEnd how);

    void open_channel(ChannelNumber number, const ChannelSeed& seed, Instant now);
    void close_channel(ChannelNumber number);
    [[nodiscard]] ClientChannel* channel(ChannelNumber number) noexcept;
    [[nodiscard]] const ClientChannel* channel(ChannelNumber number) const noexcept;
    [[nodiscard]] const std::unordered_map<ChannelNumber, ClientChannel>& channels() const noexcept
    {
        return channels_;
    }

    [[nodiscard]] std::optional<std::uint32_t> by_id(const ClientChannel& channel, std::uint64_t id) const;
    [[nodiscard]] std::optional<std::uint32_t> find(ExchangeHandle handle) const noexcept;
    [[nodiscard]] ExchangeHandle handle(std::uint32_t slot) const noexcept;
    [[nodiscard]] const ClientExchange& operator[](std::uint32_t slot) const noexcept { return table_[slot]; }
    [[nodiscard]] std::uint32_t oldest_waiting() const noexcept { return waiting_.front(); } // or kNoSlot
    [[nodiscard]] std::uint32_t oldest_open() const noexcept { return open_.front(); }       // or kNoSlot
    [[nodiscard]] std::size_t waiting() const noexcept { return waiting_.size(); }
    [[nodiscard]] std::size_t size() const noexcept { return table_.size(); }
    [[nodiscard]] ClientAccounts& accounts() noexcept { return accounts_; }

private:
    using ByAge = SlotList<ClientExchange, &ClientExchange::by_age>;
    [[nodiscard]] std::optional<DropReason> check_limits(ClientAccounts::Number account) const noexcept;
    [[nodiscard]] std::uint64_t client_key(const ClientEndpoint& client, std::uint64_t transmit) const noexcept;
    void replace(std::uint64_t key, const ClientEndpoint& client, std::uint64_t transmit);
    void keep_datagram(std::uint32_t slot, Bytes datagram);
    void remove(std::uint32_t slot);

    const ClientPolicy policy_;
    Counters& counters_;
    ClientAccounts accounts_;
    SlotTable<ClientExchange> table_;
    SlotIndex by_client_; // (endpoint, transmit stamp)
    SlotIndex by_id_;     // (channel, id), not under raw framing
    ByAge waiting_;       // by arrival
    ByAge open_;          // by arrival
    std::unordered_map<ChannelNumber, ClientChannel> channels_;
    // The last request longer than a header: handed over at once, as nearly all are, it never reaches the heap.
    std::array<std::byte, kMaxPacket> long_datagram_{};
    ExchangeHandle long_owner_;
};

} // namespace ntp_shim
