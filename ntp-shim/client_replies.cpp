#include <algorithm>

#include "ntp-shim/client_state.hpp"
#include "ntp-shim/filter.hpp"

namespace ntp_shim {

ClientShim::State::Judgement ClientShim::State::on_frame(ClientChannel& channel, Bytes octets, Instant arrival,
                                                         Instant now)
{
    const auto decoded = decode_frame(octets);
    if (const auto* reason = std::get_if<DropReason>(&decoded)) {
        return *reason;
    }
    const auto& frame = std::get<Frame>(decoded);
    if (frame.type == FrameType::request || frame.type == FrameType::ping) {
        return DropReason::unexpected_frame;
    }
    channel.liveness.heard(arrival.boot);
    if (frame.type == FrameType::goodbye) {
        return Control::goodbye;
    }
    if (frame.type == FrameType::pong) {
        return channel.liveness.pong_received(frame.id, arrival) ? Judgement{Control::pong}
                                                                 : Judgement{DropReason::no_exchange};
    }
    const auto slot = exchanges.by_id(channel, frame.id);
    if (!slot) {
        return channel.answered.contains(frame.id) ? DropReason::second_reply : DropReason::no_exchange;
    }
    const Holds peer{.forward = Ticks{frame.forward_hold}, .backward = Ticks{frame.backward_hold}};
    return answer(*slot, {.packet = frame.packet, .peer = peer, .arrival = arrival, .now = now});
}

ClientShim::State::Judgement ClientShim::State::on_packet(ClientChannel& channel, Bytes octets, Instant arrival,
                                                          Instant now)
{
    if (const auto reason = policy.framing == Framing::raw ? check_length(octets) : check_sealed_length(octets)) {
        return *reason;
    }
    const auto packet = Packet::parse(octets);
    if (!packet || packet->mode != kModeServer) {
        return DropReason::bad_mode;
    }
    // Under raw framing the only one (raw_busy). A datagram's is found by its origin; one without is judged by the
    // oldest, which says what is wrong with it.
    const auto known = policy.framing == Framing::datagram ? exchanges.by_id(channel, packet->origin) : std::nullopt;
    const auto slot = known.value_or(channel.open.front());
    const bool is_repeated = channel.answered.contains(packet->origin);
    if (slot == kNoSlot || (is_repeated && !exchanges[slot].sent.is_basic_reply(*packet))) {
        return is_repeated ? DropReason::second_reply : DropReason::no_exchange;
    }
    return answer(slot, {.packet = octets, .peer = {}, .arrival = arrival, .now = now});
}

/// The reply's header, when it may be believed: as it is, or out of its seal.
std::variant<Packet, DropReason> ClientShim::State::open(const ClientExchange& exchange, Bytes octets) const
{
    if (seal == nullptr) {
        const auto packet = Packet::parse(octets);
        return packet ? std::variant<Packet, DropReason>{*packet} : DropReason::too_short;
    }
    if (octets.size() < kHeaderSize || exchange.seal == nullptr) {
        return DropReason::too_short;
    }
    if (const auto reason = seal->open(octets, *exchange.seal)) {
        return *reason;
    }
    return Packet::parse(octets.first(kHeaderSize)).value_or(Packet{});
}

ClientShim::State::Judgement ClientShim::State::answer(Slot slot, const Incoming& incoming)
{
    const auto& exchange = exchanges[slot];
    auto& channel = *exchange.channel;
    if (incoming.now.boot - exchange.arrival.boot > policy.max_round_trip) {
        exchanges.end(slot, ExchangeEnd::lost);
        return DropReason::too_late;
    }
    const auto opened = open(exchange, incoming.packet);
    if (const auto* fault = std::get_if<DropReason>(&opened)) {
        return *fault; // the right reply may still come
    }
    const auto& packet = std::get<Packet>(opened);
    const ReplyRules rules{.pass_kisses = policy.forward_kod, .pass_unsynchronised = policy.forward_unsynchronised};
    auto reason = check_reply(exchange.sent, packet, rules);
    if (!reason) {
        reason = weigh(exchange, packet, incoming);
    }
    if (reason && !ends_exchange(*reason)) {
        return *reason; // the right reply may still come
    }
    if (reason == DropReason::kiss_of_death && seal != nullptr) {
        kiss = packet.reference_id;
    }
    const Deliver delivery{.client = exchange.client,
                           .packet = Bytes{reply}.first(kHeaderSize + packet.after_header.size())};
    if (seal != nullptr && !reason) {
        restore(reply, exchange.fields);
    }
    channel.liveness.answered(incoming.arrival.raw - exchange.handed_over.raw);
    exchanges.end(slot, ExchangeEnd::answered);
    if (reason) {
        return *reason;
    }
    channel.unanswered = 0;
    return delivery;
}

/// Writes the reply as the client shall see it into `reply`, or says why it must not see it.
std::optional<DropReason> ClientShim::State::weigh(const ClientExchange& exchange, const Packet& packet,
                                                   const Incoming& incoming)
{
    if (incoming.now.boot - incoming.arrival.boot > policy.max_age) {
        return DropReason::too_old;
    }
    std::ranges::copy(incoming.packet.first(kHeaderSize + packet.after_header.size()), reply.begin());
    if (packet.is_kiss()) {
        return std::nullopt; // it carries no time: there is nothing to correct, and nothing to distrust
    }
    const Holds holds{.forward = exchange.forward_hold + incoming.peer.forward,
                      .backward = incoming.peer.backward + to_ticks(incoming.now.raw - incoming.arrival.raw)};
    const ServerStamps stamps{.receive = packet.receive, .transmit = packet.transmit};
    const bool basic = exchange.sent.is_basic_reply(packet);
    // An interleaved reply's T3 belongs to the exchange before (RFC 9769 section 2): only its holds can be judged.
    if (!is_plausible(holds, basic ? stamps.processing() : Ticks::zero(), incoming.now.raw - exchange.arrival.raw)) {
        return DropReason::implausible_hold;
    }
    if (!exchange.sent.is_correctable(packet)) {
        const bool too_long = holds.total() > to_ticks(policy.max_uncorrected);
        return too_long ? std::optional{DropReason::held_too_long} : std::nullopt;
    }
    if (!policy.correct_hold) {
        return std::nullopt;
    }
    const auto shifted = correct(stamps, holds);
    if (!shifted) {
        return DropReason::implausible_hold;
    }
    write_stamp(reply, StampField::receive, shifted->receive);
    write_stamp(reply, StampField::transmit, shifted->transmit);
    return std::nullopt;
}

} // namespace ntp_shim
