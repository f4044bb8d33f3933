#include "gateway/keygen_nts.hpp"

#include <algorithm>
#include <array>
#include <ostream>
#include <span>
#include <string_view>
#include <system_error>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "gateway/config_values.hpp"
#include "gateway/random.hpp"
#include "gateway/secret_file.hpp"
#include "ntp-shim/nts_ratchet.hpp"
#include "transports/clock.hpp"

namespace gateway {

namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kUsageError = 2;
constexpr std::chrono::seconds kShortest{60};
constexpr std::chrono::seconds kLongest{366 * 24 * 3600};

struct Form {
    std::string_view name;
    std::string_view file;
};
constexpr std::array kForms = {Form{"keys", "nts.keys"}, Form{"chrony", "ntskeys"}, Form{"ratchet", "nts.seed"}};

ntp_shim::FreshKey fresh_key(Random& random)
{
    ntp_shim::FreshKey fresh;
    fresh.id = static_cast<std::uint32_t>(random.bits());
    random.fill(fresh.key.resize(ntp_shim::key_size(ntp_shim::AeadId::siv_cmac_256)));
    return fresh;
}

std::string text_of_ring(ntp_shim::CookieLayout layout, Random& random, std::chrono::seconds wall)
{
    const bool chrony = layout == ntp_shim::CookieLayout::chrony;
    std::vector<ntp_shim::FreshKey> keys;
    for (std::size_t made = 0; made < (chrony ? ntp_shim::KeyRing::kChronyKeys : 2); ++made) {
        keys.push_back(fresh_key(random));
    }
    const auto ring = ntp_shim::KeyRing::create(layout, keys);
    return chrony ? ring.write_chrony(std::chrono::seconds{0}) : ring.write_own(wall);
}

} // namespace

int write_nts_keys(const NtsKeyRequest& request, std::ostream& out, std::ostream& errors)
{
    const auto* const form =
        std::find_if(kForms.begin(), kForms.end(), [&](const Form& known) { return known.name == request.form; });
    if (form == kForms.end()) {
        errors << "ntpgate: --form: expected keys, chrony or ratchet\n";
        return kUsageError;
    }
    const auto parsed = parse_duration(request.period);
    const auto* const duration = std::get_if<std::chrono::milliseconds>(&parsed);
    const auto period = std::chrono::duration_cast<std::chrono::seconds>(
        duration == nullptr ? std::chrono::milliseconds{0} : *duration);
    if (period < kShortest || period > kLongest) {
        errors << "ntpgate: --period: expected 60s to 8784h\n";
        return kUsageError;
    }
    std::error_code failed;
    std::filesystem::create_directories(request.directory, failed);
    const auto path = request.directory / form->file;
    if (std::filesystem::exists(path, failed)) {
        errors << fmt::format("ntpgate: {} is there already\n", path.string());
        return kFailed;
    }
    Random random;
    const auto wall = std::chrono::duration_cast<std::chrono::seconds>(transports::read_wall());
    std::string text;
    if (form->name == "ratchet") {
        text = ntp_shim::Ratchet::create(period, fresh_key(random).key, wall).write();
    } else {
        const auto layout = form->name == "chrony" ? ntp_shim::CookieLayout::chrony : ntp_shim::CookieLayout::own;
        text = text_of_ring(layout, random, wall);
    }
    const auto error = replace_secret(path, text);
    ntp_shim::wipe(std::as_writable_bytes(std::span{text}));
    if (error) {
        errors << "ntpgate: " << *error << '\n';
        return kFailed;
    }
    out << fmt::format("{} in {}\n", form->name == "ratchet" ? "seed" : "keys", path.string());
    return kDone;
}

} // namespace gateway
