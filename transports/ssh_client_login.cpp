#include <algorithm>
#include <utility>

#include <libssh/libssh.h>
#include <unistd.h>

#include "transports/ssh_login.hpp"
#include "transports/ssh_state.hpp"
#include "transports/tls_digest.hpp"

namespace transports {

namespace {

std::array<std::byte, 20> host_hash(std::string_view salt, std::string_view text)
{
    return hmac_sha1(salt, text);
}

/// The policy's algorithms, those first for which the host's keys are known: another of its keys would be no use.
std::vector<std::string> host_key_order(const SshContext::State& state, const SshHost& host)
{
    const auto types = state.known_hosts.key_types(host, &host_hash);
    auto order = state.settings.policy.public_keys;
    std::stable_partition(order.begin(), order.end(), [&](const std::string& algorithm) {
        return std::find(types.begin(), types.end(), key_type_of(algorithm)) != types.end();
    });
    return order;
}

class SshClientLogin final : public SshLogin {
public:
    SshClientLogin(std::shared_ptr<const SshContext> context, SshHost host)
        : context_{std::move(context)}, host_{std::move(host)}
    {}

    Progress advance(SshLink& link) override
    {
        Progress progress = Progress::waiting;
        do {
            const Step before = step_;
            progress = step(link);
            link.forbid_blocking();
            if (progress != Progress::waiting || step_ == before) {
                break;
            }
        } while (true);
        return progress;
    }

    [[nodiscard]] const Closed* refusal() const noexcept override { return refused_ ? &*refused_ : nullptr; }
    [[nodiscard]] const PeerIdentity& peer() const noexcept override { return peer_; }
    [[nodiscard]] Closed explain(const Closed& end) const override { return refused_ ? *refused_ : end; }
    [[nodiscard]] std::optional<Closed> judge_by(const SshContext& context) const override
    {
        const std::string shown = key_.type + " " + peer_.fingerprint;
        const auto& known = context.state().known_hosts;
        switch (known.judge(host_, key_, &host_hash)) {
        case HostKeyVerdict::known:
            return std::nullopt;
        case HostKeyVerdict::changed:
            return Closed{CloseReason::host_key_changed, "known-hosts has other keys for this host than " + shown};
        case HostKeyVerdict::revoked:
            return Closed{CloseReason::host_key_revoked, "known-hosts revokes " + shown};
        case HostKeyVerdict::unknown:
            break;
        }
        return Closed{CloseReason::host_key_unknown,
                      known.names_authority(host_, &host_hash)
                          ? "known-hosts trusts an authority for this host, and host certificates are not in this "
                            "version: " +
                                shown
                          : "known-hosts has no key of this host: " + shown};
    }

private:
    enum class Step : std::uint8_t { connect, authenticate, open, subsystem };

    [[nodiscard]] const SshSettings& settings() const noexcept { return context_->settings(); }

    Progress step(SshLink& link)
    {
        switch (step_) {
        case Step::connect:
            return connect(link);
        case Step::authenticate:
            return authenticate(link);
        case Step::open:
            return open(link);
        case Step::subsystem:
            return request_subsystem(link);
        }
        return Progress::refused;
    }

    Progress refuse(CloseReason reason, std::string text)
    {
        refused_ = Closed{reason, std::move(text)};
        return Progress::refused;
    }

    Progress fail(SshLink& link)
    {
        refused_ = failure_of(link.session());
        return Progress::refused;
    }

    Progress connect(SshLink& link)
    {
        const int result = ssh_connect(link.session());
        if (result == SSH_AGAIN) {
            return Progress::waiting;
        }
        if (result != SSH_OK) {
            return fail(link);
        }
        step_ = Step::authenticate;
        return judge_host(link);
    }

    Progress judge_host(SshLink& link)
    {
        ssh_key raw = nullptr;
        if (ssh_get_server_publickey(link.session(), &raw) != SSH_OK) {
            return fail(link);
        }
        const OwnedKey key{raw};
        const auto half = public_key_of(key.get());
        peer_.fingerprint = fingerprint_of(key.get());
        peer_.protocol = "SSH2";
        peer_.suite = algorithms_of(link.session());
        if (!half) {
            return refuse(CloseReason::host_key_unknown, "the host's key can not be read");
        }
        peer_.subject = "host key " + half->type;
        key_ = *half;
        if (auto why = judge_by(*context_)) {
            refused_ = std::move(why);
            return Progress::refused;
        }
        peer_.matched = host_.name;
        return Progress::waiting;
    }

    Progress authenticate(SshLink& link)
    {
        switch (ssh_userauth_publickey(link.session(), nullptr, context_->state().key.get())) {
        case SSH_AUTH_SUCCESS:
            step_ = Step::open;
            return Progress::waiting;
        case SSH_AUTH_AGAIN:
            return Progress::waiting;
        case SSH_AUTH_DENIED:
        case SSH_AUTH_PARTIAL:
        case SSH_AUTH_INFO:
            return refuse(CloseReason::refused_by_peer,
                          "the server does not let " + settings().user + " in with this key alone");
        default:
            return fail(link);
        }
    }

    Progress open(SshLink& link)
    {
        if (!link.has_channel()) {
            ssh_channel const channel = ssh_channel_new(link.session());
            if (channel == nullptr) {
                return fail(link);
            }
            link.attach(channel);
        }
        const int result = ssh_channel_open_session(link.channel());
        if (result == SSH_OK) {
            step_ = Step::subsystem;
        }
        return result == SSH_ERROR ? refuse(CloseReason::refused_by_peer, ssh_get_error(link.session()))
                                   : Progress::waiting;
    }

    Progress request_subsystem(SshLink& link)
    {
        const int result = ssh_channel_request_subsystem(link.channel(), settings().subsystem.c_str());
        if (result == SSH_ERROR) {
            return refuse(CloseReason::refused_by_peer,
                          "the server does not run the subsystem " + settings().subsystem);
        }
        return result == SSH_OK ? Progress::granted : Progress::waiting;
    }

    std::shared_ptr<const SshContext> context_;
    SshHost host_;
    SshPublicKey key_; // the host's
    Step step_ = Step::connect;
    PeerIdentity peer_;
    std::optional<Closed> refused_;
};

} // namespace

SshBegun begin_ssh_client(Loop& loop, int descriptor, std::shared_ptr<const SshContext> context, const Target& target,
                          std::function<void()> ready)
{
    SshBegun begun;
    const SshHost host{target.host, target.port};
    auto session = make_session(context->settings(), host_key_order(context->state(), host), begun.error);
    const auto copy = session ? SshLink::duplicate(descriptor) : std::nullopt;
    if (!copy) {
        begun.error = begun.error.empty() ? "no descriptor left" : begun.error;
        close(descriptor);
        return begun;
    }
    // The library looks nothing up: it is given a connected descriptor, and the name for its messages.
    if (ssh_options_set(session.get(), SSH_OPTIONS_FD, &*copy) != SSH_OK ||
        ssh_options_set(session.get(), SSH_OPTIONS_HOST, target.host.c_str()) != SSH_OK ||
        ssh_options_set(session.get(), SSH_OPTIONS_USER, context->settings().user.c_str()) != SSH_OK) {
        begun.error = ssh_get_error(session.get());
        close(*copy);
        close(descriptor);
        return begun;
    }
    begun.link = std::make_unique<SshLink>(loop, descriptor, std::move(session), context->settings(), std::move(ready));
    begun.login = std::make_unique<SshClientLogin>(std::move(context), host);
    (void)begun.login->advance(*begun.link); // the first step only begins: its end shows in a later one
    begun.link->drive();
    return begun;
}

} // namespace transports
