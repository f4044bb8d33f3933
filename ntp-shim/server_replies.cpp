#include <algorithm>

#include "ntp-shim/filter.hpp"
#include "ntp-shim/hold.hpp"
#include "ntp-shim/server_state.hpp"

namespace ntp_shim {

namespace {

// Framed, the client role decides what its clients may see. A raw peer is a legacy pipe: its clients see all we send.
constexpr ReplyRules kFramedRules{.pass_kisses = true, .pass_unsynchronised = true};
constexpr ReplyRules kRawRules{.pass_kisses = false, .pass_unsynchronised = true};

} // namespace

ServerShim::State::FromUpstream ServerShim::State::on_answer(const DaemonAnswer& answer)
{
    if (answer.packet.mode != kModeServer) {
        return DropReason::bad_mode;
    }
    const auto slot = exchanges.answered_by(answer.packet);
    if (!slot) {
        return exchanges.was_answered(answer.packet.origin) ? DropReason::second_reply : DropReason::no_exchange;
    }
    const auto& exchange = exchanges[*slot];
    if (answer.now.boot - exchange.arrival.boot > policy.max_round_trip) {
        exchanges.end(*slot, ServerExchanges::End::lost);
        return DropReason::too_late;
    }
    const auto rules = policy.framing == Framing::v1 ? kFramedRules : kRawRules;
    const auto fault = check_reply(exchange.request, answer.packet, rules);
    if (fault && !ends_exchange(*fault)) {
        return *fault; // the right reply may still come
    }
    auto outcome = FromUpstream{fault.value_or(DropReason::too_old)};
    if (!fault && answer.now.boot - answer.arrival.boot <= policy.max_age) {
        outcome = reply(exchange, answer);
    }
    exchanges.end(*slot, ServerExchanges::End::answered);
    return outcome;
}

ServerShim::State::FromUpstream ServerShim::State::reply(const ServerExchange& exchange, const DaemonAnswer& answer)
{
    copy_reply(exchange, answer);
    auto length = answer.octets.size();
    if (policy.framing != Framing::v1 || exchange.seal != nullptr) {
        if (const auto reason = correct_reply(exchange, answer)) {
            return *reason;
        }
    }
    if (exchange.seal != nullptr) {
        const auto sealed = seal->seal(packet, *exchange.seal);
        if (const auto* reason = std::get_if<DropReason>(&sealed)) {
            return *reason;
        }
        length = std::get<std::size_t>(sealed);
    }
    if (policy.framing == Framing::datagram) {
        return Deliver{.client = exchange.client, .packet = Bytes{packet}.first(length)};
    }
    if (policy.framing == Framing::raw) {
        return ToChannel{.channel = exchange.channel->number, .message = Bytes{packet}.first(length)};
    }
    return frame_reply(exchange, answer, length);
}

ServerShim::State::FromUpstream ServerShim::State::frame_reply(const ServerExchange& exchange,
                                                               const DaemonAnswer& answer, std::size_t length)
{
    auto forward = hold_field(exchange.handed_over.raw - exchange.arrival.raw);
    auto backward = hold_field(answer.now.raw - answer.arrival.raw);
    if (!forward || !backward) {
        return DropReason::hold_overflow;
    }
    if (exchange.seal != nullptr && policy.correct_hold && exchange.request.is_correctable(answer.packet)) {
        forward = backward = 0; // in the sealed stamps already, where the digest protects it
    }
    const Frame frame{.type = FrameType::reply,
                      .id = exchange.id,
                      .sent = stamp_of(answer.now.raw) + exchange.channel->stamp_offset,
                      .arrived = stamp_of(exchange.arrival.raw) + exchange.channel->stamp_offset,
                      .forward_hold = *forward,
                      .backward_hold = *backward,
                      .packet = Bytes{packet}.first(length)};
    return ToChannel{.channel = exchange.channel->number, .message = encode_frame(frame, message)};
}

/// Shifts the reply in `packet` by our own holds; it leaves as the client shall see it.
std::optional<DropReason> ServerShim::State::correct_reply(const ServerExchange& exchange, const DaemonAnswer& answer)
{
    const Holds holds{.forward = to_ticks(exchange.handed_over.raw - exchange.arrival.raw),
                      .backward = to_ticks(answer.now.raw - answer.arrival.raw)};
    if (!exchange.request.is_correctable(answer.packet)) {
        const bool too_long = holds.total() > to_ticks(policy.max_uncorrected);
        return too_long ? std::optional{DropReason::held_too_long} : std::nullopt;
    }
    if (!policy.correct_hold) {
        return std::nullopt;
    }
    const auto shifted = correct({.receive = answer.packet.receive, .transmit = answer.packet.transmit}, holds);
    if (!shifted) {
        return DropReason::implausible_hold;
    }
    write_stamp(packet, StampField::receive, shifted->receive);
    write_stamp(packet, StampField::transmit, shifted->transmit);
    return std::nullopt;
}

/// The client's own stamp returns to the origin field; an interleaved reply's origin is the client's already.
void ServerShim::State::copy_reply(const ServerExchange& exchange, const DaemonAnswer& answer)
{
    std::ranges::copy(answer.octets, packet.begin());
    if (exchange.request.is_basic_reply(answer.packet)) {
        write_stamp(packet, StampField::origin, exchange.client_transmit);
    }
}

} // namespace ntp_shim
