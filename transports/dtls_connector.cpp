#include <utility>

#include "transports/dtls_association.hpp"
#include "transports/dtls_path.hpp"
#include "transports/look_up.hpp"

namespace transports {

namespace {

/// A socket connected to one peer, which hears of its refusals.
class ConnectedPath final : public DatagramPath, private UdpHandler {
public:
    explicit ConnectedPath(DtlsAssociation& association) : association_{association} {}

    [[nodiscard]] std::optional<std::string> open(Loop& loop, const sockaddr_storage& peer)
    {
        auto made = UdpSocket::connect(loop, peer, *this, path_socket(kClientBatch));
        if (auto* const error = std::get_if<std::string>(&made)) {
            return std::move(*error);
        }
        socket_ = std::move(std::get<std::unique_ptr<UdpSocket>>(made));
        return std::nullopt;
    }

    void transmit(std::span<const std::byte> datagram) override { socket_->send(datagram); }
    void flush() override { socket_->flush(); }

private:
    static constexpr std::size_t kClientBatch = 16;

    void on_datagram(const Datagram& datagram) override { association_.receive(datagram.bytes, datagram.arrival); }
    void on_refused(int error) override { association_.refused(error); }
    void on_send_failed(std::size_t /*count*/) override {} // as good as lost on the way

    DtlsAssociation& association_;
    std::unique_ptr<UdpSocket> socket_;
};

class DtlsAttempt final : public Attempt, public AssociationOwner {
public:
    struct Setting {
        TlsSupply supply;
        DatagramOptions options;
        std::string reference;
    };
    DtlsAttempt(Loop& loop, const Target& target, Setting setting, ChannelHandler& handler)
        : loop_{loop}, setting_{std::move(setting)}, handler_{handler}, deadline_{read_boot() +
                                                                                  setting_.options.connect},
          look_up_timer_{loop, [this] { look_up_took_too_long(); }}, look_up_{std::in_place, loop, target,
                                                                              [this](auto result) {
                                                                                  resolved(std::move(result));
                                                                              }}
    {
        look_up_timer_.start_at(deadline_);
    }

private:
    void resolved(std::variant<Addresses, Failed> result)
    {
        look_up_timer_.stop();
        if (const auto* const failed = std::get_if<Failed>(&result)) {
            handler_.on_failed(*failed); // which may destroy this attempt
            return;
        }
        addresses_ = std::move(std::get<Addresses>(result));
        try_next();
    }

    void look_up_took_too_long()
    {
        look_up_.reset();
        handler_.on_failed({CloseReason::connect_timeout, "name look-up took too long", {}});
    }

    void try_next()
    {
        while (next_ < addresses_.size()) {
            const sockaddr_storage& address = addresses_[next_++];
            // What the remaining addresses need is kept back from this one.
            const auto share = (deadline_ - read_boot()) / static_cast<int>(addresses_.size() - next_ + 1);
            DtlsAssociation::Parts parts{address_text(address),
                                         DtlsEngine::create(setting_.supply.current(), setting_.reference,
                                                            wire_setting(setting_.options, address)),
                                         setting_.supply,
                                         setting_.options,
                                         std::max(share, Nanoseconds::zero()),
                                         {}};
            association_ = std::make_unique<DtlsAssociation>(loop_, std::move(parts), *this);
            auto path = std::make_unique<ConnectedPath>(*association_);
            if (auto error = path->open(loop_, address)) {
                last_ = {CloseReason::unreachable, std::move(*error), {}};
                last_.peer.address = address_text(address);
                association_.reset();
                continue;
            }
            association_->start(std::move(path));
            return;
        }
        const Failed last = std::move(last_); // handing over may destroy this attempt
        handler_.on_failed(last);
    }

    ChannelHandler& on_verified(DtlsAssociation&) override
    {
        ChannelHandler& handler = handler_; // handing over may destroy this attempt
        handler.on_open(std::move(association_));
        return handler;
    }

    void on_refused(DtlsAssociation&, const Failed& why) override
    {
        const bool nobody = why.reason == CloseReason::unreachable || why.reason == CloseReason::connect_timeout;
        if (!nobody || next_ == addresses_.size()) {
            handler_.on_failed(why); // which may destroy this attempt
            return;
        }
        association_.reset();
        try_next();
    }

    Loop& loop_;
    Setting setting_;
    ChannelHandler& handler_;
    Nanoseconds deadline_;
    Addresses addresses_;
    std::size_t next_ = 0;
    Failed last_{CloseReason::unreachable, {}, {}};
    std::unique_ptr<DtlsAssociation> association_;
    Timer look_up_timer_;
    std::optional<LookUp> look_up_;
};

class DtlsConnector final : public Connector {
public:
    DtlsConnector(Loop& loop, DtlsAttempt::Setting setting) : loop_{loop}, setting_{std::move(setting)} {}
    std::unique_ptr<Attempt> connect(const Target& target, ChannelHandler& handler) override
    {
        DtlsAttempt::Setting setting = setting_;
        if (setting.reference.empty()) {
            setting.reference = target.host;
        }
        return std::make_unique<DtlsAttempt>(loop_, target, std::move(setting), handler);
    }

private:
    Loop& loop_;
    DtlsAttempt::Setting setting_;
};

} // namespace

std::unique_ptr<Connector> make_dtls_connector(Loop& loop, TlsSupply supply, const DatagramOptions& options,
                                               const std::string& reference)
{
    return std::make_unique<DtlsConnector>(loop, DtlsAttempt::Setting{std::move(supply), options, reference});
}

} // namespace transports
