// Two shims joined: the input says what clients, carrier, daemon and clock do, step by step, honest or not. Whatever
// that is, every input is accounted for, and a client receives only the first right answer to its own open question,
// in time and unchanged but for the hold correction.
//
//   input: policy (1) | steps: operation (1) and its arguments; what is missing at the end reads as zero
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "ntp-shim/bytes.hpp"
#include "ntp-shim/client_shim.hpp"
#include "ntp-shim/packet.hpp"
#include "ntp-shim/server_shim.hpp"
#include "tests/fuzz/property.hpp"

namespace {

using fuzz::require;
using namespace std::chrono_literals;
using namespace ntp_shim;
using Octets = std::vector<std::byte>;

constexpr std::size_t kMaxInFlight = 32;
constexpr std::size_t kFrameHeader = 32;
constexpr ChannelNumber kChannels = 3;

Octets copy(Bytes octets)
{
    return {octets.begin(), octets.end()};
}

/// Equal in every octet outside [from, to).
bool same_outside(Bytes one, Bytes other, std::size_t from, std::size_t to)
{
    return one.size() == other.size() && std::ranges::equal(one.first(from), other.first(from)) &&
           std::ranges::equal(one.subspan(to), other.subspan(to));
}

std::int64_t difference(std::uint64_t later, std::uint64_t earlier)
{
    return static_cast<std::int64_t>(later - earlier);
}

struct Message {
    ChannelNumber channel{};
    Octets octets;
};

/// The last request of one client with one transmit stamp: newest wins.
struct Asked {
    Octets packet;
    Nanoseconds arrival{};
    bool delivered = false;
};

class World {
public:
    explicit World(Bytes input) : reader_(input)
    {
        const auto bits = reader_.u8();
        const auto framing = (bits & 1) != 0 ? Framing::raw : Framing::v1;
        client_policy_.framing = server_policy_.framing = framing;
        client_policy_.correct_hold = server_policy_.correct_hold = (bits & 2) == 0;
        client_policy_.forward_kod = (bits & 4) != 0;
        client_policy_.forward_unsynchronised = (bits & 8) != 0;
        if ((bits & 16) != 0) {
            client_policy_.limits = {
                .exchanges = 6, .per_channel = 3, .per_client = 4, .requests_per_second_per_client = 9};
            server_policy_.limits = {
                .exchanges = 4, .per_channel = 2, .per_client = 0, .requests_per_second_per_client = 0};
        }
        client_.emplace(client_policy_, client_counters_);
        server_.emplace(server_policy_, server_counters_);
        open_channel(1);
    }

    void run()
    {
        while (!reader_.rest().empty()) {
            step(reader_.u8());
            check_sums();
        }
    }

private:
    [[nodiscard]] bool is_raw() const { return client_policy_.framing == Framing::raw; }
    [[nodiscard]] Instant client_now() const { return {.raw = t_ + 1000s, .boot = t_ + 500000s}; }
    [[nodiscard]] Instant server_now() const { return {.raw = t_ + 77s, .boot = t_ + 9000s}; }
    static Instant before(Instant now, Nanoseconds hold) { return {.raw = now.raw - hold, .boot = now.boot - hold}; }
    Nanoseconds duration() { return reader_.u8() * 4ms; }
    ChannelNumber channel() { return 1 + reader_.u8() % kChannels; }

    void step(std::uint8_t operation)
    {
        using Step = void (World::*)();
        static constexpr std::array<Step, 14> kSteps{&World::ask,       &World::hand_over_waiting,
                                                     &World::to_server, &World::daemon_answers,
                                                     &World::to_client, &World::wait,
                                                     &World::open_one,  &World::close_one,
                                                     &World::expire,    &World::look_after_one,
                                                     &World::refuse,    &World::spoil,
                                                     &World::inject,    &World::wait_a_little};
        (this->*kSteps.at(operation % kSteps.size()))();
    }
    void wait() { t_ += duration(); }
    void wait_a_little() { t_ += std::chrono::microseconds{reader_.u16()}; }
    void open_one() { open_channel(channel()); }

    /// A local datagram: nearly always a request of one of four clients with one of eight stamps.
    void ask()
    {
        const auto kind = reader_.u8();
        ClientEndpoint from{
            .local = {}, .scope = 0, .port = static_cast<std::uint16_t>(1000 + (kind & 3)), .listener = 0};
        ByteWriter address(from.address);
        address.u64(0);
        address.u64(0xffff7f000001);
        Octets packet(48 + ((kind & 4) != 0 ? reader_.u8() : 0), std::byte{0x11});
        ByteWriter header(packet);
        header.u32((kind & 8) != 0 ? reader_.u32() : 0x23000600);
        const std::uint64_t interleaved = (kind & 16) != 0 ? 1 : 0;
        write_stamp(packet, StampField::origin, interleaved * 0xa000);
        write_stamp(packet, StampField::receive,
                    interleaved * ++last_receive_stamp_); // tells interleaved replies apart
        write_stamp(packet, StampField::transmit, reader_.u8() % 8);
        const bool channel_open = (kind & 32) == 0 && !client_channels_.empty();
        const auto arrival = before(client_now(), (kind & 64) != 0 ? duration() : 0ms);
        const auto verdict = client_->on_client_datagram(from, packet, arrival, client_now(), channel_open);
        if (const auto* exchange = std::get_if<ExchangeHandle>(&verdict)) {
            last_ = *exchange;
            asked_[{from.port, Packet::parse(packet)->transmit}] = {.packet = packet, .arrival = arrival.boot};
            if (channel_open) {
                hand_over(*exchange, *client_channels_.begin());
            }
        }
    }

    void hand_over_waiting()
    {
        if (const auto exchange = client_->next_waiting(client_now())) {
            hand_over(*exchange, channel());
        }
    }

    void hand_over(ExchangeHandle exchange, ChannelNumber on)
    {
        const auto verdict = client_->hand_over(exchange, on, client_now());
        if (const auto* message = std::get_if<Bytes>(&verdict)) {
            const auto packet = message->subspan(is_raw() ? 0 : kFrameHeader);
            const bool is_one_of_theirs = std::ranges::any_of(
                asked_, [&](const auto& entry) { return std::ranges::equal(entry.second.packet, packet); });
            require(is_one_of_theirs, "a request travels unchanged");
            send(requests_, {.channel = on, .octets = copy(*message)});
        }
    }

    static void send(std::deque<Message>& way, Message message)
    {
        if (way.size() < kMaxInFlight) {
            way.push_back(std::move(message));
        }
    }

    /// Takes a message from the way, or with the argument's high bit leaves it there to come again.
    std::optional<Message> arrive(std::deque<Message>& way)
    {
        const auto choice = reader_.u8();
        if (way.empty()) {
            return std::nullopt;
        }
        const auto chosen = way.begin() + static_cast<std::ptrdiff_t>((choice & 0x7f) % way.size());
        auto message = *chosen;
        if ((choice & 0x80) == 0) {
            way.erase(chosen);
        }
        return message;
    }

    void to_server()
    {
        const auto message = arrive(requests_);
        if (!message) {
            return;
        }
        const auto arrival = before(server_now(), duration());
        const auto verdict =
            server_->on_message(message->channel, message->octets, arrival, server_now(), reader_.u8() % 16);
        if (const auto* forward = std::get_if<ToUpstream>(&verdict)) {
            const auto packet = Bytes{message->octets}.subspan(is_raw() ? 0 : kFrameHeader);
            const auto parsed = Packet::parse(packet);
            const bool plain = packet.size() == 48 && parsed->origin == 0;
            require(same_outside(forward->packet, packet, 40, plain ? 48 : 40), "the daemon sees the client's request");
            require(parsed->mode == 3, "the daemon sees requests only");
            last_upstream_ = forward->exchange;
            clients_stamp_[Packet::parse(forward->packet)->transmit] = parsed->transmit;
            send(daemon_, {.channel = 0, .octets = copy(forward->packet)});
        } else if (const auto* pong = std::get_if<ToChannel>(&verdict)) {
            send(replies_, {.channel = pong->channel, .octets = copy(pong->message)});
        }
    }

    /// An honest answer, then changed as the input says.
    void daemon_answers()
    {
        const auto question = arrive(daemon_);
        if (!question) {
            return;
        }
        const auto lie = reader_.u8();
        const auto request = *Packet::parse(question->octets);
        auto answer = question->octets;
        if ((lie & 1) != 0) {
            answer.resize(std::min<std::size_t>(48 + reader_.u8(), answer.size() + 8));
        }
        ByteWriter header(answer);
        header.u8(static_cast<std::uint8_t>(request.version << 3 | 4));
        header.u8(2); // stratum
        write_stamp(answer, StampField::origin, (lie & 2) != 0 ? request.receive : request.transmit);
        const auto stamp = (lie & 4) != 0 ? reader_.u64() : 0xfffffffff0000000;
        write_stamp(answer, StampField::receive, stamp);
        write_stamp(answer, StampField::transmit, stamp + ((lie & 8) != 0 ? reader_.u32() : 0x10000));
        if ((lie & 16) != 0) {
            answer[reader_.u8() % 48] = static_cast<std::byte>(reader_.u8());
        }
        if ((lie & 32) != 0) {
            answer.resize(52);
            std::fill(answer.begin() + 48, answer.end(), std::byte{0});
        }
        from_daemon(answer);
        if ((lie & 64) != 0) {
            from_daemon(answer);
        }
    }

    void from_daemon(Bytes datagram)
    {
        const auto arrival = before(server_now(), (reader_.u8() % 8) * 1ms);
        const auto verdict = server_->on_upstream_datagram(datagram, arrival, server_now());
        if (const auto* reply = std::get_if<ToChannel>(&verdict)) {
            const auto packet = reply->message.subspan(is_raw() ? 0 : kFrameHeader);
            require(same_outside(packet, datagram, 24, is_raw() ? 48 : 32), "the reply is the daemon's");
            if (const auto stamp = clients_stamp_.find(Packet::parse(datagram)->origin);
                stamp != clients_stamp_.end()) {
                require(Packet::parse(packet)->origin == stamp->second, "the client finds its own stamp in the reply");
            }
            send(replies_, {.channel = reply->channel, .octets = copy(reply->message)});
        }
    }

    void to_client()
    {
        const auto message = arrive(replies_);
        if (!message) {
            return;
        }
        const auto arrival = before(client_now(), (reader_.u8() % 16) * 1ms);
        const auto verdict = client_->on_message(message->channel, message->octets, arrival, client_now());
        if (const auto* delivery = std::get_if<Deliver>(&verdict)) {
            auto packet = copy(delivery->packet);
            if constexpr (fuzz::kPlantedBug) {
                packet[2] ^= std::byte{1}; // a relay that writes into what it carries
            }
            check_delivery(delivery->client, packet, Bytes{message->octets}.subspan(is_raw() ? 0 : kFrameHeader));
        }
    }

    /// The question that a packet delivered to `client` answers.
    Asked* question_of(const ClientEndpoint& client, const Packet& reply)
    {
        const auto answers = [&](const auto& entry) {
            const auto& [key, asked] = entry;
            const auto request = *Packet::parse(asked.packet);
            return key.first == client.port && (request.transmit == reply.origin ||
                                                (request.may_be_interleaved() && request.receive == reply.origin));
        };
        const auto found = std::ranges::find_if(asked_, answers);
        return found == asked_.end() ? nullptr : &found->second;
    }

    void check_delivery(const ClientEndpoint& client, Bytes packet, Bytes carried)
    {
        const auto reply = *Packet::parse(packet);
        auto* const asked = question_of(client, reply);
        require(asked != nullptr, "a reply answers a question of that client");
        require(!asked->delivered, "a question is answered once");
        asked->delivered = true;
        require(client_now().boot - asked->arrival <= client_policy_.max_round_trip, "a reply is not late");
        const auto request = *Packet::parse(asked->packet);
        require(reply.mode == 4 && reply.version == request.version, "a reply is one of a server, in the same version");
        require(packet.size() <= asked->packet.size() || asked->packet.size() > 48,
                "no question brings more than it is");
        require(!reply.is_crypto_nak(), "no crypto-NAK is delivered");
        require(client_policy_.forward_kod || !reply.is_kiss(), "no kiss is delivered");
        require(client_policy_.forward_unsynchronised || reply.is_kiss() || !reply.is_unsynchronised(),
                "what is delivered is synchronised");
        const bool may_change = asked->packet.size() == 48 && packet.size() == 48 && client_policy_.correct_hold;
        require(same_outside(packet, carried, 32, may_change ? 48 : 32), "a reply is unchanged but for T2 and T3");
        const auto before_correction = *Packet::parse(carried);
        require(difference(before_correction.receive, reply.receive) >= 0, "T2 only becomes earlier");
        require(difference(reply.transmit, before_correction.transmit) >= 0, "T3 only becomes later");
        ++deliveries_;
        require(client_counters_.replies.forwarded == deliveries_, "every delivery is counted");
    }

    void open_channel(ChannelNumber number)
    {
        const ChannelSeed seed{.first_id = 0xfffffffe, .stamp_offset = 0xfffffff000000000};
        client_->open_channel(number, seed, client_now());
        server_->open_channel(number, seed);
        std::erase(client_channels_, number);
        client_channels_.push_back(number);
        // What was under way belonged to the channel before: a carrier loses it.
        const auto belongs = [&](const Message& message) { return message.channel == number; };
        std::erase_if(requests_, belongs);
        std::erase_if(replies_, belongs);
    }

    void close_one()
    {
        const auto choice = reader_.u8();
        const ChannelNumber number = 1 + choice % kChannels;
        if ((choice & 0x40) == 0) {
            client_->close_channel(number);
            std::erase(client_channels_, number);
        }
        if ((choice & 0x80) == 0) {
            server_->close_channel(number);
        }
    }

    void expire()
    {
        client_->expire(client_now());
        server_->expire(server_now());
        const auto next = server_->next_deadline();
        require(!next || *next > server_now().boot, "what has expired is gone");
        (void)client_->next_deadline(25s); // a ping may be overdue: only that it can be asked is looked at
    }

    void look_after_one()
    {
        const auto number = channel();
        if (client_->health(number, 2s, client_now()) == Health::ping_due) {
            if (const auto ping = client_->make_ping(number, client_now()); !ping.empty()) {
                send(requests_, {.channel = number, .octets = copy(ping)});
            }
        }
        if (const auto goodbye = server_->make_goodbye(number, server_now()); !goodbye.empty() && reader_.u8() == 7) {
            send(replies_, {.channel = number, .octets = copy(goodbye)});
        }
        (void)client_->unanswered(number);
    }

    void refuse()
    {
        if ((reader_.u8() & 1) != 0) {
            client_->refuse(last_, DropReason::congested);
        } else {
            server_->refuse(last_upstream_, DropReason::upstream_unreachable);
        }
    }

    /// Alters a message under way. Peers are authenticated, but may be liars.
    void spoil()
    {
        auto& way = (reader_.u8() & 1) != 0 ? requests_ : replies_;
        const auto position = reader_.u16();
        const auto value = static_cast<std::byte>(reader_.u8());
        if (!way.empty() && !way.back().octets.empty()) {
            way.back().octets[position % way.back().octets.size()] ^= value;
        }
    }

    void inject()
    {
        const auto where = reader_.u8();
        const auto octets = reader_.take(std::min<std::size_t>(reader_.u8(), reader_.rest().size()));
        switch (where % 3) {
        case 0:
            return send(requests_, {.channel = 1, .octets = copy(octets)});
        case 1:
            return send(replies_, {.channel = 1, .octets = copy(octets)});
        case 2:
            return from_daemon(octets);
        }
    }

    void check_sums() const
    {
        for (const auto* counters : {&client_counters_, &server_counters_}) {
            require(counters->requests.balanced(), "requests are accounted for");
            require(counters->replies.balanced(), "replies are accounted for");
            require(counters->exchanges.balanced(), "exchanges are accounted for");
        }
        require(client_counters_.requests.waiting == client_->waiting(), "what waits is counted");
        require(client_counters_.exchanges.open + client_->waiting() == client_->open(), "what is open is counted");
        require(server_counters_.exchanges.open == server_->open(), "what the daemon was asked is counted");
        std::size_t on_channels = 0;
        for (ChannelNumber number = 1; number <= kChannels; ++number) {
            on_channels += client_->outstanding(number);
        }
        require(on_channels == client_counters_.exchanges.open, "an open exchange is on one channel");
    }

    ByteReader reader_;
    Nanoseconds t_ = 10s;
    ClientPolicy client_policy_;
    ServerPolicy server_policy_;
    Counters client_counters_;
    Counters server_counters_;
    std::optional<ClientShim> client_;
    std::optional<ServerShim> server_;
    std::vector<ChannelNumber> client_channels_;
    std::deque<Message> requests_; // under way to the server role
    std::deque<Message> daemon_;   // at the daemon
    std::deque<Message> replies_;  // under way to the client role
    std::map<std::pair<std::uint16_t, std::uint64_t>, Asked> asked_;
    std::map<std::uint64_t, std::uint64_t> clients_stamp_; // by the one that the daemon saw last
    std::uint64_t last_receive_stamp_ = 0xb000;
    ExchangeHandle last_;
    ExchangeHandle last_upstream_;
    std::uint64_t deliveries_ = 0;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    World(std::as_bytes(std::span{data, size})).run();
    return 0;
}
