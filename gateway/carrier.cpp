#include "gateway/carrier.hpp"

#include <utility>

#include "gateway/carrier_ssh.hpp"
#include "gateway/credentials.hpp"
#include "gateway/policies.hpp"
#include "transports/dtls.hpp"
#include "transports/tls.hpp"
#include "transports/tls_context.hpp"

namespace gateway {

namespace {

std::vector<CarrierProblem> credential_warnings(const Tunnel& tunnel, const transports::TlsContext& context)
{
    auto warnings = expiry_warnings(tunnel, inventory_of(context));
    if (tunnel.role == Role::server && tunnel.tls.ocsp != transports::Ocsp::none && !own_question(context)) {
        warnings.push_back({"tls", "ocsp",
                            "nothing can be stapled: our certificate names no responder that speaks http, or its "
                            "issuer is neither behind it in its file nor in ca"});
    }
    return warnings;
}

class TlsCarrier final : public Carrier {
public:
    TlsCarrier(const Tunnel& tunnel, std::shared_ptr<const transports::TlsContext> context)
        : tunnel_{tunnel}, options_{stream_options(tunnel)}, supply_{std::move(context)}
    {}

    [[nodiscard]] std::vector<CarrierProblem> warnings() const override
    {
        return credential_warnings(tunnel_, *supply_.current());
    }
    [[nodiscard]] std::unique_ptr<Credentials> credentials(Services services,
                                                           std::function<void()> replaced) const override
    {
        return make_credentials(services, tunnel_, supply_, std::move(replaced));
    }
    [[nodiscard]] std::unique_ptr<transports::Connector> connector(transports::Loop& loop) const override
    {
        return transports::make_tls_connector(loop, supply_, options_, tunnel_.server_name);
    }
    [[nodiscard]] Bound listen(transports::Loop& loop, const SocketAddress& address, transports::Admission& admission,
                               transports::ChannelHandler& handler) const override
    {
        return transports::make_tls_listener(loop, address.storage, supply_, options_, admission, handler);
    }

private:
    const Tunnel& tunnel_;
    transports::StreamOptions options_;
    transports::TlsSupply supply_;
};

class DtlsCarrier final : public Carrier {
public:
    DtlsCarrier(const Tunnel& tunnel, std::shared_ptr<const transports::TlsContext> context)
        : tunnel_{tunnel}, options_{datagram_options(tunnel)}, supply_{std::move(context)}
    {}

    [[nodiscard]] std::vector<CarrierProblem> warnings() const override
    {
        return credential_warnings(tunnel_, *supply_.current());
    }
    [[nodiscard]] std::unique_ptr<Credentials> credentials(Services services,
                                                           std::function<void()> replaced) const override
    {
        return make_credentials(services, tunnel_, supply_, std::move(replaced));
    }
    [[nodiscard]] std::unique_ptr<transports::Connector> connector(transports::Loop& loop) const override
    {
        return transports::make_dtls_connector(loop, supply_, options_, tunnel_.server_name);
    }
    [[nodiscard]] Bound listen(transports::Loop& loop, const SocketAddress& address, transports::Admission& admission,
                               transports::ChannelHandler& handler) const override
    {
        return transports::make_dtls_listener(loop, address.storage, supply_, options_, admission, handler);
    }

private:
    const Tunnel& tunnel_;
    transports::DatagramOptions options_;
    transports::TlsSupply supply_;
};

template <class Made>
Carrier::Made make_with_context(const Tunnel& tunnel)
{
    auto context = transports::TlsContext::create(tunnel.tls);
    if (const auto* problems = std::get_if<std::vector<transports::TlsProblem>>(&context)) {
        std::vector<CarrierProblem> out;
        for (const auto& problem : *problems) {
            out.push_back({"tls", problem.setting, problem.text});
        }
        return out;
    }
    return std::make_unique<Made>(tunnel, std::get<std::shared_ptr<const transports::TlsContext>>(std::move(context)));
}

} // namespace

std::unique_ptr<Credentials> Carrier::credentials(Services /*services*/, std::function<void()> /*replaced*/) const
{
    return nullptr;
}

Carrier::Made Carrier::make(const Tunnel& tunnel)
{
    switch (tunnel.channel) {
    case ChannelKind::tls:
        return make_with_context<TlsCarrier>(tunnel);
    case ChannelKind::dtls:
        return make_with_context<DtlsCarrier>(tunnel);
    case ChannelKind::ssh:
        return make_ssh_carrier(tunnel);
    case ChannelKind::mac:
        break;
    case ChannelKind::nts:
        return make_with_context<TlsCarrier>(tunnel); // of its key establishment
    }
    // The loader refuses these by name before anybody gets here.
    return std::vector<CarrierProblem>{{"channel", "", std::string{name(tunnel.channel)} + " is not in this version"}};
}

} // namespace gateway
