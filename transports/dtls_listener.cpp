#include <array>
#include <cstring>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "transports/dtls_association.hpp"
#include "transports/dtls_cookies.hpp"
#include "transports/dtls_path.hpp"
#include "transports/dtls_record.hpp"

namespace transports {

namespace {

struct Endpoint {
    MappedAddress address{};
    std::uint16_t port{};
    bool operator==(const Endpoint&) const noexcept = default;
};

Endpoint endpoint_of(const sockaddr_storage& address) noexcept
{
    return {mapped(address), port_of(address)};
}

struct HashEndpoint {
    std::size_t operator()(const Endpoint& endpoint) const noexcept
    {
        std::array<char, sizeof(MappedAddress) + sizeof endpoint.port> octets{};
        std::memcpy(octets.data(), endpoint.address.data(), endpoint.address.size());
        std::memcpy(&octets[endpoint.address.size()], &endpoint.port, sizeof endpoint.port);
        return std::hash<std::string_view>{}({octets.data(), octets.size()});
    }
};

/// Both may be there at once: a peer that began anew has its old channel until the new handshake is over
/// (RFC 6347 section 4.2.8). Beside each stands the random of the ClientHello that it came of.
struct Route {
    DtlsAssociation* open = nullptr;
    DtlsAssociation* pending = nullptr;
    ClientRandom open_random{};
    ClientRandom pending_random{};
};

class DtlsListener;

/// The one socket, and who is at the other end of what it brings. Kept by the listener and by every path.
class Exchange final : public UdpHandler {
public:
    explicit Exchange(DtlsListener& listener) : listener_{&listener} {}
    ~Exchange()
    {
        if (socket_) {
            socket_->flush();
        }
    }
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;

    [[nodiscard]] std::optional<std::string> bind(Loop& loop, const sockaddr_storage& local)
    {
        constexpr std::size_t kServerBatch = 64;
        auto made = UdpSocket::bind(loop, local, *this, path_socket(kServerBatch));
        if (auto* const error = std::get_if<std::string>(&made)) {
            return std::move(*error);
        }
        socket_ = std::move(std::get<std::unique_ptr<UdpSocket>>(made));
        return std::nullopt;
    }
    [[nodiscard]] UdpSocket& socket() noexcept { return *socket_; }
    void listener_is_gone() noexcept { listener_ = nullptr; }

    [[nodiscard]] Route& route(const Endpoint& endpoint) { return routes_[endpoint]; }
    void opened(const Endpoint& endpoint, DtlsAssociation& association);
    void forget(const Endpoint& endpoint, const DtlsAssociation& association) noexcept;

    void on_datagram(const Datagram& datagram) override;
    void on_refused(int /*error*/) override {}             // one socket for many: it cannot say whose
    void on_send_failed(std::size_t /*count*/) override {} // as good as lost on the way

private:
    void take_hello(const Datagram& datagram, const Endpoint& endpoint, const ClientRandom& random);

    DtlsListener* listener_;
    std::unique_ptr<UdpSocket> socket_;
    std::unordered_map<Endpoint, Route, HashEndpoint> routes_; // bounded by the admission's places
};

/// One peer's share of the socket.
class SharedPath final : public DatagramPath {
public:
    SharedPath(std::shared_ptr<Exchange> exchange, const Datagram& first, const DtlsAssociation& association)
        : exchange_{std::move(exchange)}, to_{first.from}, local_{first.local}, association_{association}
    {}
    ~SharedPath() override { exchange_->forget(endpoint_of(to_), association_); }
    SharedPath(const SharedPath&) = delete;
    SharedPath& operator=(const SharedPath&) = delete;

    void transmit(std::span<const std::byte> datagram) override { exchange_->socket().send(datagram, to_, local_); }
    void flush() override { exchange_->socket().flush(); }

private:
    std::shared_ptr<Exchange> exchange_;
    sockaddr_storage to_;
    MappedAddress local_;
    const DtlsAssociation& association_;
};

class DtlsListener final : public Listener, public AssociationOwner {
public:
    DtlsListener(Loop& loop, TlsSupply supply, const DatagramOptions& options, Admission& admission,
                 ChannelHandler& handler)
        : loop_{loop}, supply_{std::move(supply)}, options_{options},
          admission_{admission}, handler_{handler}, jar_{read_boot()}, exchange_{std::make_shared<Exchange>(*this)}
    {}
    ~DtlsListener() override
    {
        pending_.clear();
        exchange_->listener_is_gone();
    }
    DtlsListener(const DtlsListener&) = delete;
    DtlsListener& operator=(const DtlsListener&) = delete;

    std::optional<std::string> listen(const sockaddr_storage& local)
    {
        auto error = exchange_->bind(loop_, local);
        if (!error) {
            address_ = address_text(exchange_->socket().local());
        }
        return error;
    }

    [[nodiscard]] const std::string& address() const noexcept override { return address_; }
    [[nodiscard]] const ListenerCounters& counters() const noexcept override { return counters_; }
    void stop() override { stopped_ = true; }

    void consider(const Datagram& hello, const Endpoint& endpoint, const ClientRandom& random);
    void discarded(Discard why) { handler_.on_discarded({why, true, 1, nullptr}); }

private:
    [[nodiscard]] bool admit(const sockaddr_storage& peer);
    ChannelHandler& on_verified(DtlsAssociation& association) override;
    void on_refused(DtlsAssociation& association, const Failed& why) override;

    Loop& loop_;
    TlsSupply supply_;
    DatagramOptions options_;
    Admission& admission_;
    ChannelHandler& handler_;
    std::string address_;
    ListenerCounters counters_;
    CookieJar jar_;
    bool stopped_ = false;
    std::unique_ptr<DtlsEngine> listening_; // looks at ClientHellos, and becomes the engine of one that is let in
    struct Pending {
        std::unique_ptr<DtlsAssociation> association;
        Endpoint endpoint;
    };
    std::unordered_map<std::uint64_t, Pending> pending_;
    std::shared_ptr<Exchange> exchange_;
};

void Exchange::on_datagram(const Datagram& datagram)
{
    const Endpoint endpoint = endpoint_of(datagram.from);
    if (const auto random = client_random_of(datagram.bytes)) {
        take_hello(datagram, endpoint, *random);
        return;
    }
    auto first = datagram.bytes;
    const auto record = take_record(first);
    const auto found = routes_.find(endpoint);
    if (!record || datagram.truncated || found == routes_.end()) {
        if (listener_ != nullptr) {
            listener_->discarded(record && !datagram.truncated ? Discard::no_association : Discard::not_a_record);
        }
        return;
    }
    // What belongs to a handshake stands in epoch 0 or is the Finished right behind it; the rest is the old channel's.
    const Route& route = found->second;
    const bool of_handshake = record->epoch == 0 || record->type == ContentType::handshake;
    const bool to_pending = route.pending != nullptr && (of_handshake || route.open == nullptr);
    (to_pending ? route.pending : route.open)->receive(datagram.bytes, datagram.arrival);
}

void Exchange::take_hello(const Datagram& datagram, const Endpoint& endpoint, const ClientRandom& random)
{
    const auto found = routes_.find(endpoint);
    if (found != routes_.end() && found->second.pending != nullptr && found->second.pending_random == random) {
        found->second.pending->receive(datagram.bytes, datagram.arrival);
    } else if (found != routes_.end() && found->second.open != nullptr && found->second.open_random == random) {
        // The network, or somebody else, repeats what opened this channel. A peer that began anew drew anew.
        found->second.open->receive(datagram.bytes, datagram.arrival);
    } else if (listener_ != nullptr) {
        listener_->consider(datagram, endpoint, random);
    }
}

void Exchange::opened(const Endpoint& endpoint, DtlsAssociation& association)
{
    Route& route = routes_[endpoint];
    if (route.open != nullptr) {
        route.open->supersede();
    }
    route.open = &association;
    route.open_random = route.pending_random;
    route.pending = nullptr;
}

void Exchange::forget(const Endpoint& endpoint, const DtlsAssociation& association) noexcept
{
    const auto found = routes_.find(endpoint);
    if (found == routes_.end()) {
        return;
    }
    Route& route = found->second;
    route.open = route.open == &association ? nullptr : route.open;
    route.pending = route.pending == &association ? nullptr : route.pending;
    if (route.open == nullptr && route.pending == nullptr) {
        routes_.erase(found);
    }
}

bool DtlsListener::admit(const sockaddr_storage& peer)
{
    ++counters_.accepted;
    const auto limit = admission_.admit(mapped(peer), read_boot());
    if (!limit) {
        return true;
    }
    ++counters_.refused[static_cast<std::size_t>(*limit)];
    Failed failed{CloseReason::limit_reached, std::string{name(*limit)}, {}};
    failed.peer.address = address_text(peer);
    handler_.on_failed(failed);
    return false;
}

/// Everything up to the admission costs no memory that a peer could make grow.
void DtlsListener::consider(const Datagram& hello, const Endpoint& endpoint, const ClientRandom& random)
{
    if (stopped_) {
        discarded(Discard::no_association);
        return;
    }
    if (!listening_ || listening_->state() == EngineState::failed ||
        &listening_->context() != supply_.current().get()) {
        listening_ = DtlsEngine::create(supply_.current(), {}, wire_setting(options_, hello.from));
    }
    const bool proven = listening_->listen(hello.bytes, jar_.cookies_for(endpoint.address, endpoint.port, read_boot()));
    while (const auto answer = listening_->next_output()) {
        exchange_->socket().send(*answer, hello.from, hello.local);
    }
    if (!proven) {
        discarded(Discard::no_cookie);
        return;
    }
    if (!admit(hello.from)) {
        return;
    }
    ++counters_.pending;
    listening_->staple(supply_.staple());
    DtlsAssociation::Parts parts{address_text(hello.from),    std::move(listening_), supply_, options_, std::nullopt,
                                 Admission::Place{admission_}};
    auto association = std::make_unique<DtlsAssociation>(loop_, std::move(parts), *this);
    DtlsAssociation& made = *association;
    Route& route = exchange_->route(endpoint);
    if (route.pending != nullptr) {
        route.pending->supersede();
    }
    route.pending = &made;
    route.pending_random = random;
    pending_.emplace(made.number(), Pending{std::move(association), endpoint});
    made.start(std::make_unique<SharedPath>(exchange_, hello, made));
}

ChannelHandler& DtlsListener::on_verified(DtlsAssociation& association)
{
    auto found = pending_.extract(association.number());
    --counters_.pending;
    ++counters_.opened;
    exchange_->opened(found.mapped().endpoint, association);
    handler_.on_open(std::move(found.mapped().association));
    return handler_;
}

void DtlsListener::on_refused(DtlsAssociation& association, const Failed& why)
{
    const auto found = pending_.extract(association.number()); // destroyed at the end of this call
    --counters_.pending;
    ++counters_.failed[static_cast<std::size_t>(why.reason)];
    handler_.on_failed(why);
}

} // namespace

std::variant<std::unique_ptr<Listener>, std::string> make_dtls_listener(Loop& loop, const sockaddr_storage& local,
                                                                        TlsSupply supply,
                                                                        const DatagramOptions& options,
                                                                        Admission& admission, ChannelHandler& handler)
{
    auto listener = std::make_unique<DtlsListener>(loop, std::move(supply), options, admission, handler);
    if (auto error = listener->listen(local)) {
        return std::move(*error);
    }
    return std::unique_ptr<Listener>{std::move(listener)};
}

} // namespace transports
