// Whatever the file: a key that a line revokes for the host is never known, and a key that no line has never is either.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tests/fuzz/property.hpp"
#include "transports/ssh_known_hosts.hpp"
#include "transports/tls_digest.hpp"

namespace {

using namespace transports;

const SshHost kHost{"host.test", 2222};

std::array<std::byte, 20> hash(std::string_view salt, std::string_view text)
{
    return hmac_sha1(salt, text);
}

SshPublicKey key(char last)
{
    std::string blob{"\0\0\0\x0bssh-ed25519\0\0\0\x20", 19};
    blob += std::string(31, 'k') + last;
    auto read = read_ssh_key_blob(blob);
    fuzz::require(std::holds_alternative<SshPublicKey>(read), "the test's own key can be read");
    return std::get<SshPublicKey>(read);
}

std::string line_of(const SshPublicKey& public_key)
{
    static constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out = public_key.type + " ";
    for (std::size_t i = 0; i < public_key.blob.size(); i += 3) {
        unsigned group = 0;
        for (std::size_t at = i; at < i + 3; ++at) {
            group = group << 8U | (at < public_key.blob.size() ? static_cast<unsigned char>(public_key.blob[at]) : 0U);
        }
        for (unsigned at = 0; at < 4; ++at) {
            out += i + at > public_key.blob.size() ? '=' : kAlphabet[group >> (18U - 6U * at) & 63U];
        }
    }
    return out;
}

HostKeyVerdict judge(const std::string& text, const SshPublicKey& shown, bool& sound)
{
    auto parsed = KnownHosts::parse(text);
    const auto* hosts = std::get_if<KnownHosts>(&parsed);
    sound = hosts != nullptr;
    return sound ? hosts->judge(kHost, shown, &hash) : HostKeyVerdict::unknown;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    std::string text{reinterpret_cast<const char*>(data), size};
    static const SshPublicKey kMine = key('1');
    static const SshPublicKey kNobodys = key('2'); // in no corpus, and out of a fuzzer's reach
    bool sound = false;
    const auto before = judge(text, kMine, sound);
    bool same = false;
    fuzz::require(judge(text, kMine, same) == before && same == sound, "the same file gives the same verdict");
    if (!sound) {
        return 0;
    }
    fuzz::require(judge(text, kNobodys, same) != HostKeyVerdict::known, "a key that is in no line is not known");
    text += "\n[HOST.test]:2222 " + line_of(kMine) + "\n";
    const auto added = judge(text, kMine, same);
    fuzz::require(same, "a good line spoils no file");
    fuzz::require(added == (before == HostKeyVerdict::revoked ? before : HostKeyVerdict::known),
                  "a line with the host's key makes it known, unless it is revoked");
    text += (fuzz::kPlantedBug ? "@revoked host.test " : "@revoked * ") + line_of(kMine);
    fuzz::require(judge(text, kMine, same) == HostKeyVerdict::revoked, "a revoked key is revoked");
    return 0;
}
