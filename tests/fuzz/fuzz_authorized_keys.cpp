// Whatever the file: only a key that stands in it is admitted, and a restriction added to a line admits nobody more.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tests/fuzz/property.hpp"
#include "transports/address.hpp"
#include "transports/ssh_authorized_keys.hpp"

namespace {

using namespace transports;

const std::string kMine = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICVa1lU3Fv2amPnTsTYubObOcT+m6p5VMAcGt85RG0tk";
const std::string kNobodys = "AAAAC3NzaC1lZDI1NTE5AAAAICVa1lU3Fv2amPnTsTYubObOcT+m6p5VMAcGt85RG0tl";

SshPublicKey key(std::string_view base64)
{
    auto read = read_ssh_key("ssh-ed25519", base64);
    fuzz::require(std::holds_alternative<SshPublicKey>(read), "the test's own key can be read");
    return std::get<SshPublicKey>(read);
}

SshCaller caller(const char* address)
{
    return {mapped(*numeric_address(address, 0)), std::chrono::hours{24 * 365 * 50}};
}

UserKeyVerdict judge(const std::string& text, const SshPublicKey& shown, const SshCaller& from, bool& sound)
{
    auto parsed = AuthorizedKeys::parse(text);
    const auto* file = std::get_if<AuthorizedKeys>(&parsed);
    sound = file != nullptr;
    return sound ? file->judge(shown, from).verdict : UserKeyVerdict::unknown;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    // Options of one line, and a file before it.
    const std::string_view input{reinterpret_cast<const char*>(data), size};
    const auto split = input.find('\0');
    const std::string options{input.substr(0, split)};
    const std::string before{split == std::string_view::npos ? std::string_view{} : input.substr(split + 1)};
    static const SshPublicKey kKey = key(std::string_view{kMine}.substr(12));
    static const SshPublicKey kStranger = key(kNobodys);
    bool sound = false;
    if (before.find(kNobodys) == std::string::npos) {
        fuzz::require(judge(before, kStranger, caller("192.0.2.1"), sound) == UserKeyVerdict::unknown,
                      "a key that is in no line is unknown");
    }
    if (options.find('\n') != std::string::npos) {
        return 0;
    }
    const std::string line = options + " " + kMine + " me\n";
    const auto plain = judge(line, kKey, caller("192.0.2.1"), sound);
    if (!sound || plain == UserKeyVerdict::unknown) {
        return 0; // refused, a comment, or another key's line
    }
    bool narrower = false;
    const bool bare = options.find_first_not_of(" \t") == std::string::npos;
    const std::string more = fuzz::kPlantedBug ? "restrict" : "expiry-time=\"19710101Z\"";
    const auto narrowed =
        judge(more + (bare ? "" : "," + options.substr(options.find_first_not_of(" \t"))) + " " + kMine + " me\n", kKey,
              caller("192.0.2.1"), narrower);
    fuzz::require(!narrower || narrowed != UserKeyVerdict::admitted, "a key that has expired is not admitted");
    return 0;
}
