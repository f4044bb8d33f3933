#include <algorithm>
#include <utility>

#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h>
#include <unistd.h>

#include "transports/address.hpp"
#include "transports/ssh_login.hpp"
#include "transports/ssh_state.hpp"

namespace transports {

namespace {

constexpr unsigned kMaxAttempts = 6; // as OpenSSH allows: an agent may offer a key or two before the right one
constexpr std::size_t kMaxShown = 256;

class SshServerLogin final : public SshLogin {
public:
    SshServerLogin(std::shared_ptr<const SshContext> context, const sockaddr_storage& peer)
        : context_{std::move(context)}, address_{mapped(peer)}
    {
        peer_.protocol = "SSH2";
        ssh_callbacks_init(&callbacks_);
        callbacks_.userdata = this;
        callbacks_.auth_pubkey_function = [](ssh_session, const char* user, ssh_key key, char state,
                                             void* self) -> int {
            return static_cast<SshServerLogin*>(self)->judge_key(user, key, state) ? SSH_AUTH_SUCCESS : SSH_AUTH_DENIED;
        };
        // Without this hook the library itself would ask Kerberos, and wait for it.
        callbacks_.gssapi_select_oid_function = [](ssh_session, const char* user, int, ssh_string*,
                                                   void* self) -> ssh_string {
            auto& login = *static_cast<SshServerLogin*>(self);
            login.take_user(user);
            (void)login.deny(CloseReason::auth_method_refused, "only a public key is taken");
            return nullptr;
        };
    }

    [[nodiscard]] ssh_server_callbacks callbacks() noexcept { return &callbacks_; }

    /// Everything else a peer asks; true when it was answered here.
    bool take(SshLink& link, ssh_message message)
    {
        switch (ssh_message_type(message)) {
        case SSH_REQUEST_AUTH:
            return authenticate(message);
        case SSH_REQUEST_CHANNEL_OPEN:
            return open(link, message);
        case SSH_REQUEST_CHANNEL:
            return request(link, message);
        case SSH_REQUEST_GLOBAL:
            refuse(CloseReason::forwarding_refused, "there is no port forwarding");
            return false;
        default:
            return false;
        }
    }

    Progress advance(SshLink& link) override
    {
        if (refused_) {
            return Progress::refused;
        }
        if (!granted_ && ssh_get_error_code(link.session()) == SSH_FATAL) {
            // The library drops such a request without an answer.
            refused_ = Closed{CloseReason::user_signature_invalid, ssh_get_error(link.session())};
            return Progress::refused;
        }
        if (granted_) {
            peer_.suite = algorithms_of(link.session());
            return Progress::granted;
        }
        return Progress::waiting;
    }
    [[nodiscard]] const Closed* refusal() const noexcept override { return refused_ ? &*refused_ : nullptr; }
    [[nodiscard]] const PeerIdentity& peer() const noexcept override { return peer_; }
    [[nodiscard]] Closed explain(const Closed& end) const override
    {
        if (refused_) {
            return *refused_;
        }
        // A peer that was turned down leaves by itself: that it left is not the news.
        const bool left = end.reason == CloseReason::refused_by_peer || end.reason == CloseReason::peer_closed ||
                          end.reason == CloseReason::connection_lost;
        return left && denied_ ? *denied_ : end;
    }

    [[nodiscard]] std::optional<Closed> judge_by(const SshContext& context) const override
    {
        return judge(context, read_wall());
    }

private:
    [[nodiscard]] const SshSettings& settings() const noexcept { return context_->settings(); }

    void refuse(CloseReason reason, std::string text)
    {
        if (!refused_) {
            refused_ = Closed{reason, std::move(text)};
        }
    }

    bool deny(CloseReason reason, std::string text) // always false: a denial
    {
        denied_ = Closed{reason, std::move(text)};
        if (++attempts_ >= kMaxAttempts) {
            refuse(reason, denied_->text + "; attempt " + std::to_string(attempts_));
        }
        return false;
    }

    bool authenticate(ssh_message message)
    {
        take_user(ssh_message_auth_user(message));
        switch (ssh_message_subtype(message)) {
        case SSH_AUTH_METHOD_NONE: // how a client asks what there is
            (void)ssh_message_auth_set_methods(message, SSH_AUTH_METHOD_PUBLICKEY);
            return false;
        case SSH_AUTH_METHOD_PASSWORD:
            return deny(CloseReason::password_refused, "no password is ever taken");
        default:
            return deny(CloseReason::auth_method_refused, "only a public key is taken");
        }
    }

    void take_user(const char* user)
    {
        if (!authenticated_) { // who is in stays who it is, whatever it sends
            peer_.subject = std::string{user == nullptr ? "" : user}.substr(0, kMaxShown);
        }
    }

    /// Asked twice: whether the key would do, and once the peer has signed with it.
    bool judge_key(const char* user, ssh_key key, char state)
    {
        if (authenticated_) {
            return deny(CloseReason::auth_method_refused, "a second login on one connection");
        }
        take_user(user);
        const auto half = public_key_of(key);
        peer_.fingerprint = fingerprint_of(key);
        if (state != SSH_PUBLICKEY_STATE_NONE && state != SSH_PUBLICKEY_STATE_VALID) {
            return deny(CloseReason::user_signature_invalid, "the key's signature does not verify");
        }
        if (!half) {
            return deny(CloseReason::user_key_unknown, "a key of a kind that is not in this version");
        }
        key_ = *half;
        const auto now = read_wall();
        if (auto why = judge(*context_, now)) {
            return deny(why->reason, std::move(why->text));
        }
        if (state == SSH_PUBLICKEY_STATE_VALID) {
            const auto& entry = *context_->state().authorized_keys.judge(key_, {address_, now}).key;
            authenticated_ = true;
            peer_.matched = entry.comment.empty() ? peer_.fingerprint : entry.comment;
            peer_.valid_until = entry.expires.value_or(Nanoseconds::zero());
        }
        return true;
    }

    [[nodiscard]] std::optional<Closed> judge(const SshContext& by, Nanoseconds now) const
    {
        if (peer_.subject != by.settings().user) {
            return Closed{CloseReason::user_unknown, "the only user is " + by.settings().user};
        }
        if (!offered(key_)) {
            return Closed{CloseReason::user_key_unknown, "a key of a kind that the profile does not offer"};
        }
        switch (by.state().authorized_keys.judge(key_, {address_, now}).verdict) {
        case UserKeyVerdict::unknown:
            return Closed{CloseReason::user_key_unknown, "authorized-keys does not have " + peer_.fingerprint};
        case UserKeyVerdict::wrong_address:
            return Closed{CloseReason::user_key_wrong_address, "its from= does not have this address"};
        case UserKeyVerdict::expired:
            return Closed{CloseReason::user_key_expired, "its expiry-time has passed"};
        case UserKeyVerdict::admitted:
            break;
        }
        return std::nullopt;
    }

    [[nodiscard]] bool offered(const SshPublicKey& key) const
    {
        const auto& policy = settings().policy;
        const bool known = std::any_of(policy.public_keys.begin(), policy.public_keys.end(),
                                       [&](const std::string& name) { return key_type_of(name) == key.type; });
        return known && (key.type != "ssh-rsa" || key.bits >= policy.min_rsa_bits);
    }

    bool open(SshLink& link, ssh_message message)
    {
        if (!authenticated_ || ssh_message_subtype(message) != SSH_CHANNEL_SESSION) {
            refuse(CloseReason::forwarding_refused, "only a session can be opened");
            return false;
        }
        if (link.has_channel()) {
            refuse(CloseReason::channel_refused, "a second session on one connection");
            return false;
        }
        ssh_channel const channel = ssh_message_channel_request_open_reply_accept(message);
        if (channel != nullptr) {
            link.attach(channel);
        }
        return true;
    }

    bool request(SshLink& link, ssh_message message)
    {
        switch (ssh_message_subtype(message)) {
        case SSH_CHANNEL_REQUEST_SUBSYSTEM:
            return request_subsystem(link, message);
        case SSH_CHANNEL_REQUEST_SHELL:
            refuse(CloseReason::shell_refused, "there is no shell");
            return false;
        case SSH_CHANNEL_REQUEST_EXEC:
            refuse(CloseReason::exec_refused, "no command is ever run");
            return false;
        case SSH_CHANNEL_REQUEST_PTY:
            refuse(CloseReason::pty_refused, "there is no terminal");
            return false;
        case SSH_CHANNEL_REQUEST_X11:
            refuse(CloseReason::x11_refused, "there is no X11 forwarding");
            return false;
        default: // variables, which stock clients send unasked, window sizes, signals: not granted, and no harm
            return false;
        }
    }

    bool request_subsystem(SshLink& link, ssh_message message)
    {
        const char* const name = ssh_message_channel_request_subsystem(message);
        if (granted_ || name == nullptr || settings().subsystem != name) {
            refuse(CloseReason::subsystem_refused, "the only subsystem is " + settings().subsystem + ", asked for " +
                                                       std::string{name == nullptr ? "" : name}.substr(0, kMaxShown));
            return false;
        }
        (void)ssh_message_channel_request_reply_success(message); // an error shows as a broken session
        granted_ = true;
        link.open_data();
        return true;
    }

    std::shared_ptr<const SshContext> context_;
    MappedAddress address_;
    ssh_server_callbacks_struct callbacks_{};
    PeerIdentity peer_;
    SshPublicKey key_; // the one shown last
    bool authenticated_ = false;
    bool granted_ = false;
    unsigned attempts_ = 0;
    std::optional<Closed> denied_;  // the last attempt to log in, which may be followed by a better one
    std::optional<Closed> refused_; // the end
};

} // namespace

SshBegun begin_ssh_server(Loop& loop, int descriptor, std::shared_ptr<const SshContext> context,
                          const sockaddr_storage& peer, std::function<void()> ready)
{
    SshBegun begun;
    auto session = make_session(context->settings(), context->settings().policy.public_keys, begun.error);
    const auto copy = session ? SshLink::duplicate(descriptor) : std::nullopt;
    if (!copy || ssh_bind_accept_fd(context->state().bind.get(), session.get(), *copy) != SSH_OK) {
        begun.error = begun.error.empty() ? "no descriptor or memory left" : begun.error;
        if (copy && ssh_get_fd(session.get()) < 0) {
            close(*copy); // the library did not get as far as taking it
        }
        close(descriptor);
        return begun;
    }
    ssh_set_blocking(session.get(), 0);
    ssh_set_auth_methods(session.get(), SSH_AUTH_METHOD_PUBLICKEY);
    begun.link = std::make_unique<SshLink>(loop, descriptor, std::move(session), context->settings(), std::move(ready));
    auto login = std::make_unique<SshServerLogin>(std::move(context), peer);
    begun.link->set_request([link = begun.link.get(), login = login.get()](ssh_message_struct* message) {
        return login->take(*link, message);
    });
    (void)ssh_set_server_callbacks(begun.link->session(), login->callbacks()); // fails on null pointers only
    begun.login = std::move(login);
    // Only begun here: turn() goes on with it. The library's own loop for the key exchange never ends for a client
    // that authenticates at once.
    (void)ssh_handle_key_exchange(begun.link->session());
    begun.link->drive();
    return begun;
}

} // namespace transports
