// The server role's exchanges and channels: every beginning and end passes here, and is counted here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include "ntp-shim/filter.hpp"
#include "ntp-shim/packet.hpp"
#include "ntp-shim/rate_limit.hpp"
#include "ntp-shim/recent.hpp"
#include "ntp-shim/server_shim.hpp"
#include "ntp-shim/slot_index.hpp"
#include "ntp-shim/slot_table.hpp"

namespace ntp_shim {

struct ServerChannel;

struct ServerExchange {
    SentRequest request;             // as the daemon saw it
    std::uint64_t client_transmit{}; // what the client wrote; equal to request.transmit when it went unchanged
    SealMemoryPointer seal;          // nothing when the reply goes unsealed
    ClientEndpoint client;           // framing datagram
    ClientAccounts::Number account{};
    Instant arrival;
    Instant handed_over;
    std::uint32_t id{};
    ServerChannel* channel = nullptr;
    SlotLink by_age;
    SlotLink on_channel;
};

struct ServerChannel {
    ChannelNumber number{};
    std::uint64_t stamp_offset{};
    TokenBucket pings;
    SlotList<ServerExchange, &ServerExchange::on_channel> open;
};

class ServerExchanges {
public:
    enum class End : std::uint8_t { answered, lost, abandoned };

    ServerExchanges(const ServerPolicy& policy, Counters& counters);

    void open_channel(ChannelNumber number, const ChannelSeed& seed);
    void close_channel(ChannelNumber number);
    [[nodiscard]] ServerChannel* channel(ChannelNumber number) noexcept;
    [[nodiscard]] const ServerChannel* channel(ChannelNumber number) const noexcept;

    /// channel_limit or exchange_limit.
    [[nodiscard]] std::optional<DropReason> check_limits(const ServerChannel& channel) const noexcept;
    /// Framing datagram: the clients' limits are this role's.
    [[nodiscard]] ClientAccounts& accounts() noexcept { return accounts_; }
    [[nodiscard]] bool is_open(const ServerChannel& channel, std::uint32_t id) const;
    [[nodiscard]] bool is_open(std::uint64_t transmit) const;
    /// `exchange` names its channel; the table is not full.
    [[nodiscard]] ExchangeHandle open(const ServerExchange& exchange);
    void end(std::uint32_t slot, End how);
    /// As if it had never been opened.
    void take_back(std::uint32_t slot);

    /// The exchange that a packet with this origin answers: in basic mode, else interleaved.
    [[nodiscard]] std::optional<std::uint32_t> answered_by(const Packet& reply) const;
    [[nodiscard]] bool was_answered(std::uint64_t origin) const noexcept { return answered_.contains(origin); }

    [[nodiscard]] std::optional<std::uint32_t> find(ExchangeHandle handle) const noexcept;
    [[nodiscard]] const ServerExchange& operator[](std::uint32_t slot) const noexcept { return table_[slot]; }
    [[nodiscard]] std::uint32_t oldest() const noexcept { return by_age_.front(); } // or kNoSlot
    [[nodiscard]] std::size_t size() const noexcept { return table_.size(); }

private:
    void remove(std::uint32_t slot);

    const ServerPolicy policy_;
    Counters& counters_;
    ClientAccounts accounts_;
    SlotTable<ServerExchange> table_;
    SlotIndex by_id_;                                          // (channel, id), framing v1
    SlotIndex by_transmit_;                                    // the stamp the daemon saw
    SlotIndex by_receive_;                                     // only requests whose reply may be interleaved
    SlotList<ServerExchange, &ServerExchange::by_age> by_age_; // by arrival
    std::unordered_map<ChannelNumber, ServerChannel> channels_;
    Recent answered_; // transmit stamps the daemon saw
};

} // namespace ntp_shim
