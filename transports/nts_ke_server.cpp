#include "transports/nts_ke.hpp"

#include <utility>

namespace transports {

KeServer::KeServer(Loop& loop, const KeServerOptions& options, Admission& admission, KeServerOwner& owner)
    : loop_{loop}, options_{options}, admission_{admission}, owner_{owner}, timer_{loop, [this] { expire(); }}
{}

KeServer::~KeServer() = default;

std::optional<std::string> KeServer::listen(const sockaddr_storage& local, TlsSupply supply)
{
    StreamOptions stream;
    stream.framing = StreamFraming::records;
    stream.handshake = options_.handshake;
    stream.idle = options_.handshake * 2; // the question's own deadline comes first
    auto made = make_tls_listener(loop_, local, std::move(supply), stream, admission_, *this);
    if (auto* error = std::get_if<std::string>(&made)) {
        return std::move(*error);
    }
    listeners_.push_back(std::move(std::get<std::unique_ptr<Listener>>(made)));
    return std::nullopt;
}

std::vector<std::string> KeServer::addresses() const
{
    std::vector<std::string> out;
    for (const auto& listener : listeners_) {
        out.push_back(listener->address());
    }
    return out;
}

ListenerCounters KeServer::counters() const
{
    ListenerCounters sum;
    for (const auto& listener : listeners_) {
        const auto& one = listener->counters();
        sum.accepted += one.accepted;
        sum.opened += one.opened;
        sum.pending += one.pending;
        for (std::size_t i = 0; i < sum.failed.size(); ++i) {
            sum.failed.at(i) += one.failed.at(i);
        }
        for (std::size_t i = 0; i < sum.refused.size(); ++i) {
            sum.refused.at(i) += one.refused.at(i);
        }
    }
    return sum;
}

void KeServer::stop()
{
    for (const auto& listener : listeners_) {
        listener->stop();
    }
}

void KeServer::on_open(std::unique_ptr<Channel> channel)
{
    const std::uint64_t number = channel->number();
    deadlines_.push_back({number, read_boot() + options_.handshake});
    if (deadlines_.size() == 1) {
        timer_.start_at(deadlines_.front().at);
    }
    Peer peer;
    peer.conversation = owner_.converse(channel->peer());
    peer.channel = std::move(channel);
    peers_.emplace(number, std::move(peer));
}

void KeServer::on_message(Channel& from, std::span<const std::byte> message, Instant /*arrival*/)
{
    const auto found = peers_.find(from.number());
    if (found == peers_.end() || found->second.conversation == nullptr) {
        return; // what follows the question is nobody's business
    }
    auto& received = found->second.received;
    const bool fits = message.size() <= options_.max_question - received.size();
    if (fits) {
        received.insert(received.end(), message.begin(), message.end());
    }
    hear(found->second, !fits);
}

void KeServer::on_end(Channel& from)
{
    const auto found = peers_.find(from.number());
    if (found == peers_.end()) {
        return;
    }
    if (found->second.conversation != nullptr) {
        hear(found->second, true);
    } else {
        from.close(CloseReason::peer_closed);
    }
}

void KeServer::hear(Peer& peer, bool over)
{
    const auto answer = peer.conversation->hear(*peer.channel, peer.received, over);
    if (!answer && !over) {
        return;
    }
    peer.conversation.reset();
    if (answer) {
        (void)peer.channel->send(*answer); // a peer that does not take one record gets none
    }
    peer.channel->close(CloseReason::local_request);
}

void KeServer::on_closed(Channel& channel, const Closed& /*why*/)
{
    const auto gone = peers_.extract(channel.number()); // the channel goes at the end of this call, its last act
}

void KeServer::on_failed(const Failed& why)
{
    owner_.on_failed(why);
}

void KeServer::expire()
{
    const Nanoseconds now = read_boot();
    while (!deadlines_.empty() && deadlines_.front().at <= now) {
        const auto found = peers_.find(deadlines_.front().number);
        deadlines_.pop_front();
        if (found != peers_.end() && found->second.conversation != nullptr) {
            hear(found->second, true);
        }
    }
    // Those answered long ago would keep the queue as long as the rate is high.
    while (!deadlines_.empty() && peers_.count(deadlines_.front().number) == 0) {
        deadlines_.pop_front();
    }
    if (!deadlines_.empty()) {
        timer_.start_at(deadlines_.front().at);
    }
}

} // namespace transports
