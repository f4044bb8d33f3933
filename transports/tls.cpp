#include "transports/tls.hpp"

#include <unordered_map>
#include <utility>

#include <unistd.h>

#include "transports/tcp.hpp"
#include "transports/tls_session.hpp"

namespace transports {

namespace {

class TlsAttempt final : public Attempt, public SessionOwner {
public:
    struct Setting {
        TlsSupply supply;
        StreamOptions options;
        std::string reference;
    };
    TlsAttempt(Loop& loop, const Target& target, const Setting& setting, ChannelHandler& handler)
        : loop_{loop}, setting_{setting}, handler_{handler}, dial_{std::make_unique<TcpDial>(
                                                                 loop, target, setting.options.connect,
                                                                 [this](auto result) { connected(std::move(result)); })}
    {}

private:
    void connected(std::variant<Dialled, Failed> result)
    {
        if (const auto* failed = std::get_if<Failed>(&result)) {
            handler_.on_failed(*failed); // which may destroy this attempt
            return;
        }
        const Dialled dialled = std::get<Dialled>(result);
        TlsSession::Parts parts{dialled.descriptor,
                                address_text(dialled.peer),
                                TlsEngine::create(setting_.supply.current(), setting_.reference),
                                setting_.supply,
                                setting_.options,
                                {}};
        session_ = std::make_unique<TlsSession>(loop_, std::move(parts), *this);
    }

    ChannelHandler& on_verified(TlsSession&) override
    {
        ChannelHandler& handler = handler_; // handing over may destroy this attempt
        handler.on_open(std::move(session_));
        return handler;
    }

    void on_refused(TlsSession&, const Failed& why) override { handler_.on_failed(why); }

    Loop& loop_;
    Setting setting_;
    ChannelHandler& handler_;
    std::unique_ptr<TlsSession> session_;
    std::unique_ptr<TcpDial> dial_;
};

class TlsConnector final : public Connector {
public:
    TlsConnector(Loop& loop, TlsAttempt::Setting setting) : loop_{loop}, setting_{std::move(setting)} {}
    std::unique_ptr<Attempt> connect(const Target& target, ChannelHandler& handler) override
    {
        TlsAttempt::Setting setting = setting_;
        if (setting.reference.empty()) {
            setting.reference = target.host;
        }
        return std::make_unique<TlsAttempt>(loop_, target, setting, handler);
    }

private:
    Loop& loop_;
    TlsAttempt::Setting setting_;
};

class TlsListener final : public Listener, public SessionOwner {
public:
    TlsListener(Loop& loop, TlsSupply supply, const StreamOptions& options, Admission& admission,
                ChannelHandler& handler)
        : loop_{loop}, supply_{std::move(supply)}, options_{options}, admission_{admission}, handler_{handler}
    {}

    std::optional<std::string> listen(const sockaddr_storage& local)
    {
        auto result = TcpAcceptor::listen(
            loop_, local, [this](int descriptor, const sockaddr_storage& peer) { accepted(descriptor, peer); });
        if (auto* error = std::get_if<std::string>(&result)) {
            return std::move(*error);
        }
        acceptor_ = std::move(std::get<std::unique_ptr<TcpAcceptor>>(result));
        address_ = address_text(acceptor_->local());
        return std::nullopt;
    }

    [[nodiscard]] const std::string& address() const noexcept override { return address_; }
    [[nodiscard]] const ListenerCounters& counters() const noexcept override { return counters_; }
    void stop() override { acceptor_.reset(); }

private:
    void accepted(int descriptor, const sockaddr_storage& peer)
    {
        ++counters_.accepted;
        if (const auto limit = admission_.admit(mapped(peer), read_boot())) {
            close(descriptor);
            ++counters_.refused[static_cast<std::size_t>(*limit)];
            Failed failed{CloseReason::limit_reached, std::string{name(*limit)}, {}};
            failed.peer.address = address_text(peer);
            handler_.on_failed(failed);
            return;
        }
        ++counters_.pending;
        auto engine = TlsEngine::create(supply_.current(), {});
        engine->staple(supply_.staple());
        TlsSession::Parts parts{descriptor, address_text(peer), std::move(engine),
                                supply_,    options_,           Admission::Place{admission_}};
        auto session = std::make_unique<TlsSession>(loop_, std::move(parts), *this);
        pending_.emplace(session->number(), std::move(session));
    }

    ChannelHandler& on_verified(TlsSession& session) override
    {
        auto found = pending_.extract(session.number());
        --counters_.pending;
        ++counters_.opened;
        handler_.on_open(std::move(found.mapped()));
        return handler_;
    }

    void on_refused(TlsSession& session, const Failed& why) override
    {
        const auto found = pending_.extract(session.number()); // destroyed at the end of this call
        --counters_.pending;
        ++counters_.failed[static_cast<std::size_t>(why.reason)];
        handler_.on_failed(why);
    }

    Loop& loop_;
    TlsSupply supply_;
    StreamOptions options_;
    Admission& admission_;
    ChannelHandler& handler_;
    std::string address_;
    ListenerCounters counters_;
    std::unordered_map<std::uint64_t, std::unique_ptr<TlsSession>> pending_;
    std::unique_ptr<TcpAcceptor> acceptor_;
};

} // namespace

std::unique_ptr<Connector> make_tls_connector(Loop& loop, TlsSupply supply, const StreamOptions& options,
                                              const std::string& reference)
{
    return std::make_unique<TlsConnector>(loop, TlsAttempt::Setting{std::move(supply), options, reference});
}

std::variant<std::unique_ptr<Listener>, std::string> make_tls_listener(Loop& loop, const sockaddr_storage& local,
                                                                       TlsSupply supply, const StreamOptions& options,
                                                                       Admission& admission, ChannelHandler& handler)
{
    auto listener = std::make_unique<TlsListener>(loop, std::move(supply), options, admission, handler);
    if (auto error = listener->listen(local)) {
        return std::move(*error);
    }
    return std::unique_ptr<Listener>{std::move(listener)};
}

std::string_view name(Limit limit) noexcept
{
    switch (limit) {
    case Limit::channels:
        return "channels";
    case Limit::half_open:
        return "half-open";
    case Limit::handshakes_per_second_per_source:
        return "handshakes-per-second-per-source";
    case Limit::handshakes_per_second:
        return "handshakes-per-second";
    }
    return "?";
}

} // namespace transports
