#include "transports/ssh.hpp"

#include <unordered_map>
#include <utility>

#include <unistd.h>

#include "transports/ssh_session.hpp"
#include "transports/tcp.hpp"

namespace transports {

namespace {

class SshAttempt final : public Attempt, public SshSessionOwner {
public:
    struct Setting {
        SshSupply supply;
        SshOptions options;
    };
    SshAttempt(Loop& loop, const Target& target, const Setting& setting, ChannelHandler& handler)
        : loop_{loop}, target_{target}, setting_{setting}, handler_{handler}, dial_{std::make_unique<TcpDial>(
                                                                                  loop, target, setting.options.connect,
                                                                                  [this](auto result) {
                                                                                      connected(std::move(result));
                                                                                  })}
    {}

private:
    void connected(std::variant<Dialled, Failed> result)
    {
        if (const auto* failed = std::get_if<Failed>(&result)) {
            handler_.on_failed(*failed); // which may destroy this attempt
            return;
        }
        const Dialled dialled = std::get<Dialled>(result);
        SshSession::Parts parts{
            address_text(dialled.peer), setting_.options, setting_.options.handshake, {}, setting_.supply};
        const auto begin = [&](std::function<void()> ready) {
            return begin_ssh_client(loop_, dialled.descriptor, setting_.supply.current(), target_, std::move(ready));
        };
        session_ = std::make_unique<SshSession>(loop_, std::move(parts), begin, *this);
    }

    ChannelHandler& on_verified(SshSession&) override
    {
        ChannelHandler& handler = handler_; // handing over may destroy this attempt
        handler.on_open(std::move(session_));
        return handler;
    }

    void on_refused(SshSession&, const Failed& why) override { handler_.on_failed(why); }

    Loop& loop_;
    Target target_;
    Setting setting_;
    ChannelHandler& handler_;
    std::unique_ptr<SshSession> session_;
    std::unique_ptr<TcpDial> dial_;
};

class SshConnector final : public Connector {
public:
    SshConnector(Loop& loop, SshAttempt::Setting setting) : loop_{loop}, setting_{std::move(setting)} {}
    std::unique_ptr<Attempt> connect(const Target& target, ChannelHandler& handler) override
    {
        return std::make_unique<SshAttempt>(loop_, target, setting_, handler);
    }

private:
    Loop& loop_;
    SshAttempt::Setting setting_;
};

class SshListener final : public Listener, public SshSessionOwner {
public:
    SshListener(Loop& loop, SshSupply supply, const SshOptions& options, Admission& admission, ChannelHandler& handler)
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
        SshSession::Parts parts{address_text(peer), options_, supply_.current()->settings().login_grace,
                                Admission::Place{admission_}, supply_};
        const auto begin = [&](std::function<void()> ready) {
            return begin_ssh_server(loop_, descriptor, supply_.current(), peer, std::move(ready));
        };
        auto session = std::make_unique<SshSession>(loop_, std::move(parts), begin, *this);
        pending_.emplace(session->number(), std::move(session));
    }

    ChannelHandler& on_verified(SshSession& session) override
    {
        auto found = pending_.extract(session.number());
        --counters_.pending;
        ++counters_.opened;
        handler_.on_open(std::move(found.mapped()));
        return handler_;
    }

    void on_refused(SshSession& session, const Failed& why) override
    {
        const auto found = pending_.extract(session.number()); // destroyed at the end of this call
        --counters_.pending;
        ++counters_.failed[static_cast<std::size_t>(why.reason)];
        handler_.on_failed(why);
    }

    Loop& loop_;
    SshSupply supply_;
    SshOptions options_;
    Admission& admission_;
    ChannelHandler& handler_;
    std::string address_;
    ListenerCounters counters_;
    std::unordered_map<std::uint64_t, std::unique_ptr<SshSession>> pending_;
    std::unique_ptr<TcpAcceptor> acceptor_;
};

} // namespace

std::unique_ptr<Connector> make_ssh_connector(Loop& loop, SshSupply supply, const SshOptions& options)
{
    return std::make_unique<SshConnector>(loop, SshAttempt::Setting{std::move(supply), options});
}

std::variant<std::unique_ptr<Listener>, std::string> make_ssh_listener(Loop& loop, const sockaddr_storage& local,
                                                                       SshSupply supply, const SshOptions& options,
                                                                       Admission& admission, ChannelHandler& handler)
{
    auto listener = std::make_unique<SshListener>(loop, std::move(supply), options, admission, handler);
    if (auto error = listener->listen(local)) {
        return std::move(*error);
    }
    return std::unique_ptr<Listener>{std::move(listener)};
}

} // namespace transports
