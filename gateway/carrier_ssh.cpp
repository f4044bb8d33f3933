#include "gateway/carrier_ssh.hpp"

#include <utility>

#include <fmt/format.h>

#include "gateway/credentials.hpp"
#include "gateway/policies.hpp"
#include "transports/ssh.hpp"

namespace gateway {

namespace {

CarrierProblem in_block(const transports::SshProblem& problem)
{
    const auto text = problem.file.empty()
                          ? problem.text
                          : fmt::format("{}:{}:{}: {}", problem.file, problem.line, problem.column, problem.text);
    return {"ssh", problem.setting, text};
}

std::vector<CarrierProblem> in_block(const std::vector<transports::SshProblem>& problems)
{
    std::vector<CarrierProblem> out;
    for (const auto& problem : problems) {
        out.push_back(in_block(problem));
    }
    return out;
}

class SshCarrier final : public Carrier {
public:
    SshCarrier(const Tunnel& tunnel, std::shared_ptr<const transports::SshContext> context)
        : tunnel_{tunnel}, options_{ssh_options(tunnel)}, supply_{std::move(context)}
    {}

    [[nodiscard]] std::vector<CarrierProblem> warnings() const override
    {
        return in_block(supply_.current()->warnings());
    }
    [[nodiscard]] std::unique_ptr<Credentials> credentials(Services services,
                                                           std::function<void()> replaced) const override
    {
        return make_credentials(services, tunnel_, supply_, std::move(replaced));
    }
    [[nodiscard]] std::unique_ptr<transports::Connector> connector(transports::Loop& loop) const override
    {
        return transports::make_ssh_connector(loop, supply_, options_);
    }
    [[nodiscard]] Bound listen(transports::Loop& loop, const SocketAddress& address, transports::Admission& admission,
                               transports::ChannelHandler& handler) const override
    {
        return transports::make_ssh_listener(loop, address.storage, supply_, options_, admission, handler);
    }

private:
    const Tunnel& tunnel_;
    transports::SshOptions options_;
    transports::SshSupply supply_;
};

} // namespace

Carrier::Made make_ssh_carrier(const Tunnel& tunnel)
{
    auto context = transports::SshContext::create(tunnel.ssh);
    if (const auto* problems = std::get_if<std::vector<transports::SshProblem>>(&context)) {
        return in_block(*problems);
    }
    return std::make_unique<SshCarrier>(tunnel,
                                        std::get<std::shared_ptr<const transports::SshContext>>(std::move(context)));
}

} // namespace gateway
