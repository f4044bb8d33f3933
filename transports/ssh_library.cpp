#include "transports/ssh_library.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <libssh/libssh.h>
#include <libssh/server.h>

namespace transports {

void SshFree::operator()(ssh_session_struct* session) const noexcept
{
    ssh_free(session);
}
void SshFree::operator()(ssh_key_struct* key) const noexcept
{
    ssh_key_free(key);
}
void SshFree::operator()(ssh_bind_struct* bind) const noexcept
{
    ssh_bind_free(bind);
}
void SshFree::operator()(ssh_event_struct* event) const noexcept
{
    ssh_event_free(event);
}

std::string joined(const std::vector<std::string>& words)
{
    std::string out;
    for (const auto& word : words) {
        out += (out.empty() ? "" : ",") + word;
    }
    return out;
}

namespace {

/// Sets options until one is refused: libssh keeps its own defaults then, so that a refusal must end the attempt.
class Options {
public:
    explicit Options(ssh_session session) noexcept : session_{session} {}
    void text(ssh_options_e option, const std::string& value) { set(option, value.c_str(), value); }
    template <class Number>
    void number(ssh_options_e option, Number value)
    {
        set(option, &value, std::to_string(value));
    }
    [[nodiscard]] const std::string& error() const noexcept { return error_; }

private:
    void set(ssh_options_e option, const void* value, const std::string& shown)
    {
        if (error_.empty() && ssh_options_set(session_, option, value) != SSH_OK) {
            error_ = shown + ": " + ssh_get_error(session_);
        }
    }
    ssh_session session_;
    std::string error_;
};

std::string why_unusable(ssh_options_e option, const std::string& name)
{
    const OwnedSession scratch{ssh_new()};
    if (name.find_first_of(", \t") != std::string::npos) {
        return "is not one name";
    }
    const bool usable = scratch && ssh_options_set(scratch.get(), option, name.c_str()) == SSH_OK;
    return usable ? "" : "this build's SSH library has no such algorithm";
}

struct Mismatch {
    std::string_view method; // as libssh words it
    CloseReason reason{};
};
constexpr std::array kMismatches = {
    Mismatch{"kex algos", CloseReason::no_common_kex},
    Mismatch{"server host key algo", CloseReason::no_common_host_key},
    Mismatch{"encryption", CloseReason::no_common_cipher},
    Mismatch{"mac algo", CloseReason::no_common_mac},
};

} // namespace

std::string why_unusable_ssh_kex(const std::string& name)
{
    return why_unusable(SSH_OPTIONS_KEY_EXCHANGE, name);
}

std::string why_unusable_ssh_public_key(const std::string& name)
{
    return why_unusable(SSH_OPTIONS_HOSTKEYS, name);
}

std::string why_unusable_ssh_cipher(const std::string& name)
{
    return why_unusable(SSH_OPTIONS_CIPHERS_C_S, name);
}

bool is_ssh_aead(std::string_view cipher) noexcept
{
    return cipher.ends_with("-gcm@openssh.com") || cipher == "chacha20-poly1305@openssh.com";
}

std::string why_unusable_ssh_mac(const std::string& name)
{
    return why_unusable(SSH_OPTIONS_HMAC_C_S, name);
}

std::string ssh_library_version()
{
    return std::string{"libssh "} + ssh_version(0);
}

OwnedSession make_session(const SshSettings& settings, const std::vector<std::string>& host_key_order,
                          std::string& error)
{
    OwnedSession session{ssh_new()};
    if (!session) {
        error = "out of memory";
        return nullptr;
    }
    const auto& policy = settings.policy;
    Options options{session.get()};
    const bool no_files = false;
    if (ssh_options_set(session.get(), SSH_OPTIONS_PROCESS_CONFIG, &no_files) != SSH_OK) {
        error = ssh_get_error(session.get());
        return nullptr;
    }
    options.text(SSH_OPTIONS_SSH_DIR, "/nonexistent"); // not the user's home, which need not be there
    options.text(SSH_OPTIONS_KNOWNHOSTS, "/dev/null"); // judged by us; read by the library to order its offer
    options.text(SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null");
    options.text(SSH_OPTIONS_KEY_EXCHANGE, joined(policy.kex));
    options.text(SSH_OPTIONS_HOSTKEYS, joined(host_key_order));
    options.text(SSH_OPTIONS_PUBLICKEY_ACCEPTED_TYPES, joined(policy.public_keys));
    for (const auto option : {SSH_OPTIONS_CIPHERS_C_S, SSH_OPTIONS_CIPHERS_S_C}) {
        options.text(option, joined(policy.ciphers));
    }
    for (const auto option : {SSH_OPTIONS_HMAC_C_S, SSH_OPTIONS_HMAC_S_C}) {
        options.text(option, policy.macs.empty() ? std::string{kUnusedSshMac} : joined(policy.macs));
    }
    for (const auto option : {SSH_OPTIONS_COMPRESSION_C_S, SSH_OPTIONS_COMPRESSION_S_C}) {
        options.text(option, "none");
    }
    options.number<int>(SSH_OPTIONS_RSA_MIN_SIZE, policy.min_rsa_bits);
    options.number<std::uint64_t>(SSH_OPTIONS_REKEY_DATA, settings.rekey_data);
    options.number<std::uint32_t>(SSH_OPTIONS_REKEY_TIME, static_cast<std::uint32_t>(settings.rekey_time.count()));
    if (!options.error().empty()) {
        error = options.error();
        return nullptr;
    }
    ssh_set_blocking(session.get(), 0);
    return session;
}

std::optional<SshPublicKey> public_key_of(ssh_key_struct* key)
{
    char* base64 = nullptr;
    if (key == nullptr || ssh_pki_export_pubkey_base64(key, &base64) != SSH_OK) {
        return std::nullopt;
    }
    const std::unique_ptr<char, decltype(&ssh_string_free_char)> owned{base64, &ssh_string_free_char};
    auto blob = decode_base64(base64);
    if (!blob) {
        return std::nullopt;
    }
    auto read = read_ssh_key_blob(std::move(*blob));
    auto* found = std::get_if<SshPublicKey>(&read);
    return found == nullptr ? std::nullopt : std::optional{std::move(*found)};
}

std::string fingerprint_of(ssh_key_struct* key)
{
    unsigned char* hash = nullptr;
    std::size_t length = 0;
    if (key == nullptr || ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &length) != 0) {
        return {};
    }
    char* const text = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, length);
    ssh_clean_pubkey_hash(&hash);
    std::string out = text == nullptr ? "" : text;
    ssh_string_free_char(text);
    return out;
}

bool is_broken(ssh_session_struct* session) noexcept
{
    return (ssh_get_status(session) & (SSH_CLOSED | SSH_CLOSED_ERROR)) != 0 || ssh_is_connected(session) == 0;
}

Closed failure_of(ssh_session_struct* session)
{
    // The library's own question for a peer's last word puts an error of its own in the place of this one.
    constexpr std::string_view kLastWord = "Received SSH_MSG_DISCONNECT: ";
    const std::string text = ssh_get_error(session);
    if (text.starts_with(kLastWord)) {
        return {CloseReason::refused_by_peer, text.substr(std::min(text.find(':', kLastWord.size()) + 1, text.size()))};
    }
    const auto says = [&](std::string_view part) { return text.find(part) != std::string::npos; };
    if (says("no match for method")) {
        const auto* found = std::find_if(kMismatches.begin(), kMismatches.end(),
                                         [&](const Mismatch& mismatch) { return says(mismatch.method); });
        return {found == kMismatches.end() ? CloseReason::no_common_kex : found->reason, text};
    }
    if (says("Socket error") || says("error on socket")) {
        return {CloseReason::connection_lost, text};
    }
    if (says("No version of SSH protocol usable")) {
        return {CloseReason::protocol_version, text};
    }
    return {CloseReason::protocol_error, text};
}

std::string algorithms_of(ssh_session_struct* session)
{
    std::string out;
    for (const char* const name : {ssh_get_kex_algo(session), ssh_get_cipher_out(session), ssh_get_hmac_out(session)}) {
        out += (out.empty() ? "" : " ") + std::string{name == nullptr ? "?" : name};
    }
    return out;
}

} // namespace transports
