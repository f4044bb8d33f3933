#include "transports/ssh_context.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <utility>

#include <libssh/libssh.h>
#include <libssh/server.h>

#include "transports/ssh_state.hpp"
#include "transports/tls_digest.hpp"

namespace transports {

namespace {

constexpr std::size_t kMaxFile = 8UL * 1024 * 1024;

struct KeySlot { // libssh holds one host key of each
    static std::string_view of(std::string_view type) noexcept
    {
        return type.starts_with("ecdsa-") ? std::string_view{"ECDSA"} : type;
    }
};

class Loader {
public:
    explicit Loader(const SshSettings& settings) : state_{std::make_unique<SshContext::State>()}
    {
        state_->settings = settings;
    }

    void load()
    {
        std::string error;
        if (!make_session(state_->settings, state_->settings.policy.public_keys, error)) {
            fail("profile", error);
        }
        if (state_->settings.role == SshRole::client) {
            load_client();
        } else {
            load_server();
        }
    }
    std::vector<SshProblem> problems;
    std::unique_ptr<SshContext::State> take() { return std::move(state_); }

private:
    void fail(std::string setting, std::string text)
    {
        problems.push_back({std::move(setting), std::move(text), {}, 0, 0});
    }
    void warn(std::string setting, std::string text)
    {
        state_->warnings.push_back({std::move(setting), std::move(text), {}, 0, 0});
    }

    void load_client()
    {
        const auto& settings = state_->settings;
        if (settings.key) {
            state_->key = load_key("key", *settings.key);
        } else {
            fail("key", "is missing (expected a private key)");
        }
        if (!settings.known_hosts) {
            fail("known-hosts", "is missing (expected the file of host keys)");
        } else if (const auto text = read_trusted("known-hosts", *settings.known_hosts)) {
            auto parsed = KnownHosts::parse(*text);
            if (!take_problems("known-hosts", *settings.known_hosts, parsed)) {
                state_->known_hosts = std::move(std::get<KnownHosts>(parsed));
            }
        }
    }

    void load_server()
    {
        const auto& settings = state_->settings;
        state_->bind.reset(ssh_bind_new());
        const bool no_files = false;
        const int bits = settings.policy.min_rsa_bits;
        // A banner of our own: the library's version is nobody's business.
        if (!state_->bind ||
            ssh_bind_options_set(state_->bind.get(), SSH_BIND_OPTIONS_PROCESS_CONFIG, &no_files) != SSH_OK ||
            ssh_bind_options_set(state_->bind.get(), SSH_BIND_OPTIONS_RSA_MIN_SIZE, &bits) != SSH_OK ||
            ssh_bind_options_set(state_->bind.get(), SSH_BIND_OPTIONS_BANNER, "ntpgate") != SSH_OK) {
            fail("host-keys", "the SSH library refuses its options");
            return;
        }
        if (settings.host_keys.empty()) {
            fail("host-keys", "is missing (expected at least one private key)");
        }
        std::set<std::string, std::less<>> kinds;
        for (const auto& path : settings.host_keys) {
            if (auto key = load_key("host-keys", path)) {
                add_host_key(path, std::move(key), kinds);
            }
        }
        load_authorized_keys();
    }

    void add_host_key(const std::filesystem::path& path, OwnedKey key, std::set<std::string, std::less<>>& kinds)
    {
        const std::string kind{KeySlot::of(ssh_key_type_to_char(ssh_key_type(key.get())))};
        if (!kinds.insert(kind).second) {
            fail("host-keys", path.string() + ": is the second key of its kind (expected one " + kind + " key)");
        } else if (ssh_bind_options_set(state_->bind.get(), SSH_BIND_OPTIONS_IMPORT_KEY, key.get()) != SSH_OK) {
            fail("host-keys", path.string() + ": " + ssh_get_error(state_->bind.get()));
        } else {
            (void)key.release(); // the bind object's now
        }
    }

    void load_authorized_keys()
    {
        const auto& path = state_->settings.authorized_keys;
        if (!path) {
            fail("authorized-keys", "is missing (expected the file of users' keys)");
            return;
        }
        const auto text = read_trusted("authorized-keys", *path);
        if (!text) {
            return;
        }
        auto parsed = AuthorizedKeys::parse(*text);
        if (take_problems("authorized-keys", *path, parsed)) {
            return;
        }
        state_->authorized_keys = std::move(std::get<AuthorizedKeys>(parsed));
        for (const auto& entry : state_->authorized_keys.keys()) {
            if (const auto why = why_refused(entry.key); !why.empty()) {
                warn("authorized-keys", path->string() + ": the key " + entry.comment + " can never log in: " + why);
            }
        }
        if (state_->authorized_keys.keys().empty()) {
            warn("authorized-keys", path->string() + ": names no key: nobody can log in");
        }
    }

    template <class Parsed>
    bool take_problems(const std::string& setting, const std::filesystem::path& path, Parsed& parsed)
    {
        auto* found = std::get_if<std::vector<SshLineProblem>>(&parsed);
        if (found == nullptr) {
            return false;
        }
        for (auto& problem : *found) {
            problems.push_back({setting, std::move(problem.text), path.string(), problem.line, problem.column});
        }
        return true;
    }

    std::optional<std::string> read_trusted(const std::string& setting, const std::filesystem::path& path)
    {
        auto text = read_file(setting, path);
        state_->inventory.trusted = text ? sha256_hex(*text) : std::string{};
        return text;
    }

    std::optional<std::string> read_file(const std::string& setting, const std::filesystem::path& path)
    {
        std::error_code error;
        const auto size = std::filesystem::file_size(path, error);
        std::ifstream file{path, std::ios::binary};
        if (error || !file) {
            fail(setting, path.string() + ": can not be read");
            return std::nullopt;
        }
        if (size > kMaxFile) {
            fail(setting, path.string() + ": is too large");
            return std::nullopt;
        }
        return std::string{std::istreambuf_iterator<char>{file}, {}};
    }

    /// Why a public key cannot be used under the policy; empty when it can.
    [[nodiscard]] std::string why_refused(const SshPublicKey& key) const
    {
        const auto& policy = state_->settings.policy;
        const bool offered = std::any_of(policy.public_keys.begin(), policy.public_keys.end(),
                                         [&](const std::string& name) { return key_type_of(name) == key.type; });
        if (!offered) {
            return "the profile has no algorithm for " + key.type + " (expected a key for " +
                   joined(policy.public_keys) + ")";
        }
        if (key.type == "ssh-rsa" && key.bits < policy.min_rsa_bits) {
            return "RSA of " + std::to_string(key.bits) + " bits is too weak (expected at least " +
                   std::to_string(policy.min_rsa_bits) + ")";
        }
        return {};
    }

    OwnedKey load_key(const std::string& setting, const std::filesystem::path& path)
    {
        ssh_key raw = nullptr;
        // No passphrase and nobody to ask for one: an encrypted key fails here.
        const int result = ssh_pki_import_privkey_file(path.c_str(), "", nullptr, nullptr, &raw);
        OwnedKey key{raw};
        if (result != SSH_OK || !key) {
            fail(setting, path.string() +
                              ": is no private key that can be used (expected one of OpenSSH or PEM, without "
                              "a passphrase)");
            return nullptr;
        }
        const auto half = public_key_of(key.get());
        const auto why = half ? why_refused(*half) : "is of a type that is not in this version";
        if (!why.empty()) {
            fail(setting, path.string() + ": " + why);
            return nullptr;
        }
        state_->inventory.own.push_back({path.string(), half->type, fingerprint_of(key.get())});
        return key;
    }

    std::unique_ptr<SshContext::State> state_;
};

} // namespace

SshContext::SshContext(std::unique_ptr<State> state) : state_{std::move(state)}
{}

SshContext::~SshContext() = default;

const SshSettings& SshContext::settings() const noexcept
{
    return state_->settings;
}

const SshContext::Inventory& SshContext::inventory() const noexcept
{
    return state_->inventory;
}

bool same_own_keys(const SshContext& one, const SshContext& other) noexcept
{
    return std::ranges::equal(one.inventory().own, other.inventory().own, {}, &SshContext::HeldKey::fingerprint,
                              &SshContext::HeldKey::fingerprint);
}

const std::vector<SshProblem>& SshContext::warnings() const noexcept
{
    return state_->warnings;
}

std::variant<std::shared_ptr<const SshContext>, std::vector<SshProblem>> SshContext::create(const SshSettings& settings)
{
    Loader loader{settings};
    loader.load();
    if (!loader.problems.empty()) {
        return std::move(loader.problems);
    }
    return std::shared_ptr<const SshContext>{new SshContext{loader.take()}};
}

} // namespace transports
