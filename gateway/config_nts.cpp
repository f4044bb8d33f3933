#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "gateway/address.hpp"
#include "gateway/config_files.hpp"
#include "gateway/config_tunnel.hpp"
#include "gateway/config_values.hpp"
#include "gateway/nts_keys.hpp"
#include "ntp-shim/nts_host.hpp"

namespace gateway {

namespace {

using ntp_shim::AeadId;
using ntp_shim::PlainRequests;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::array<Choice<PlainRequests>, 2> kPlainWords{
    {{"refuse", PlainRequests::refuse}, {"serve", PlainRequests::serve}}};
constexpr DurationRange kRotate{milliseconds{1000}, milliseconds{366LL * 24 * 3600 * 1000}};
constexpr seconds kDefaultRotate{24 * 3600};
constexpr std::string_view kListenForm = "ADDRESS:PORT, such as 0.0.0.0:4460";

struct SourceKey {
    std::string_view key;
    NtsKeySource source;
};
constexpr std::array kSources = {SourceKey{"keys", NtsKeySource::own}, SourceKey{"chrony-keys", NtsKeySource::chrony},
                                 SourceKey{"ratchet", NtsKeySource::ratchet}};

class NtsReader {
public:
    NtsReader(const Value& block, const LoadContext& context, TunnelDraft& draft)
        : context_(context), report_(context.report), draft_(draft), block_(block), section_(block, context.report)
    {}

    void read()
    {
        if (block_ && !section_.usable()) {
            return;
        }
        const auto errors_before = report_.errors();
        settings_.owners = context_.owners;
        settings_.aeads = ntp_shim::built_in_aeads();
        draft_.tunnel.role == Role::client ? read_client() : read_server();
        section_.finish();
        draft_.tunnel.nts = std::move(settings_);
        if (draft_.has_role && draft_.tunnel.role == Role::server && report_.errors() == errors_before) {
            try_keys();
        }
    }

private:
    void read_client()
    {
        for (const auto* key :
             {"ke-listen", "ntp-server", "ntp-port", "keys", "chrony-keys", "ratchet", "rotate", "plain"}) {
            refuse_other_role(section_, key, Role::server, report_);
        }
        read_aeads();
        if (const auto state = section_.find("state"); const auto text = read_text(state, report_, "a folder")) {
            settings_.state = (context_.base / *text).lexically_normal();
            std::error_code none;
            if (!std::filesystem::is_directory(*settings_.state, none)) {
                report_.error(state.place(), fmt::format("{} is not a folder (expected one that ntpgate may write to)",
                                                         shown(settings_.state->string())));
            }
        } else if (!section_.has("state") && report_.file() != kCommandLine) {
            report_.warning(draft_.place, "without nts.state no cookie outlives a restart: each start asks the "
                                          "key-establishment server again");
        }
    }

    void read_server()
    {
        refuse_other_role(section_, "state", Role::client, report_);
        read_aeads();
        read_ke_listen();
        read_servers();
        section_.choice("plain", std::span<const Choice<PlainRequests>>{kPlainWords}, settings_.plain);
        if (settings_.plain == PlainRequests::serve) {
            report_.warning(section_.place("plain"), "serve: requests without NTS are answered without it");
        }
        read_keys();
        if (draft_.has_role && draft_.tunnel.listen.empty() && draft_.tunnel.ke_listen.empty()) {
            report_.error(draft_.place, "listens nowhere (expected listen: for NTP, nts.ke-listen: for key "
                                        "establishment, or both)");
        }
        if (draft_.tunnel.listen.empty() && settings_.servers.empty() && !draft_.tunnel.ke_listen.empty()) {
            report_.warning(draft_.place, "without listen and nts.ntp-server clients ask the NTP server at the address "
                                          "of the key establishment");
        }
    }

    void read_aeads()
    {
        const auto list = section_.find("aeads");
        if (!list) {
            return;
        }
        std::vector<AeadId> chosen;
        for (const auto& entry : read_list(list, report_, ListForm::list_or_one)) {
            const auto number = read_number(entry, report_, {1, 0xffff});
            const auto aead = number ? ntp_shim::find_aead(static_cast<std::uint16_t>(*number)) : std::nullopt;
            if (number && !aead) {
                report_.error(entry.place(),
                              fmt::format("{} is not an AEAD of this build (expected {})", *number, aead_numbers()));
            } else if (aead && std::ranges::count(chosen, *aead) > 0) {
                report_.error(entry.place(), fmt::format("{} is listed twice", *number));
            } else if (aead) {
                chosen.push_back(*aead);
            }
        }
        if (draft_.tunnel.role == Role::server && !chosen.empty() &&
            std::ranges::count(chosen, AeadId::siv_cmac_256) == 0) {
            report_.error(list.place(), "15 is missing, which every server must have (RFC 8915 section 4.1.5)");
        }
        settings_.aeads = std::move(chosen);
    }

    static std::string aead_numbers()
    {
        std::string text;
        for (const auto aead : ntp_shim::built_in_aeads()) {
            text += fmt::format("{}{}", text.empty() ? "" : ", ", static_cast<unsigned>(aead));
        }
        return text;
    }

    void read_ke_listen()
    {
        for (const auto& entry : read_list(section_.find("ke-listen"), report_, ListForm::list_or_one)) {
            const auto text = read_text(entry, report_, kListenForm);
            if (!text) {
                continue;
            }
            const auto parsed = parse_socket_address(*text);
            if (const auto* refused = std::get_if<Refused>(&parsed)) {
                report_.error(entry.place(), shown(*text) + " " + refused->why);
                continue;
            }
            draft_.tunnel.ke_listen.push_back(std::get<SocketAddress>(parsed));
            draft_.ke_listen_places.push_back(entry.place());
        }
    }

    void read_servers()
    {
        std::uint16_t port = ntp_shim::NtpServerOffer{}.port;
        if (!draft_.tunnel.listen.empty()) {
            port = draft_.tunnel.listen.front().port();
        }
        section_.number("ntp-port", {1, 65535}, port);
        for (const auto& entry : read_list(section_.find("ntp-server"), report_, ListForm::list_or_one)) {
            const auto text = read_text(entry, report_, "a name or address, without port");
            if (text && !ntp_shim::host_form(*text)) {
                report_.error(entry.place(), shown(*text) + " is not what a record may say (expected a host name in "
                                                            "ASCII or an address without a zone; see ntp-port)");
            } else if (text) {
                settings_.servers.push_back({*text, port});
            }
        }
        if (settings_.servers.empty() && port != ntp_shim::NtpServerOffer{}.port) {
            settings_.servers.push_back({{}, port});
        }
    }

    void read_keys()
    {
        const SourceKey* chosen = nullptr;
        for (const auto& source : kSources) {
            const auto value = section_.find(source.key);
            if (!section_.has(source.key)) {
                continue;
            }
            if (chosen != nullptr) {
                report_.error(section_.place(source.key),
                              fmt::format("stands beside {} (expected one source of keys)", chosen->key));
            }
            chosen = &source;
            if (const auto text = read_text(value, report_, "the path of a file")) {
                settings_.source = source.source;
                settings_.keys = (context_.base / *text).lexically_normal();
                keys_place_ = value.place();
            }
        }
        if (chosen == nullptr) {
            report_.error(block_ ? section_.place("keys") : Place{draft_.place.at, draft_.place.key + ".nts.keys"},
                          "is missing (expected keys:, chrony-keys: or ratchet: with the path of a file)");
        }
        read_rotate();
    }

    void read_rotate()
    {
        const auto value = section_.find("rotate");
        const bool never = value && value.node->kind == YamlNode::Kind::scalar && value.node->text == "never";
        milliseconds rotate{0};
        if (settings_.source == NtsKeySource::own && !section_.has("rotate")) {
            rotate = kDefaultRotate;
        }
        if (value && !never) {
            if (const auto read = read_duration(value, report_, kRotate)) {
                rotate = *read;
            }
        }
        if (value && settings_.source == NtsKeySource::ratchet) {
            report_.error(value.place(), "a ratchet turns by the period in its seed file (expected no rotate)");
        }
        settings_.rotate = std::chrono::duration_cast<seconds>(rotate);
        if (settings_.source == NtsKeySource::chrony && settings_.rotate != seconds{0}) {
            report_.warning(value.place(), "ntpgate writes this file: chronyd must have ntsrotate 0, and be told by "
                                           "chronyc rekey");
        }
        if (settings_.source == NtsKeySource::chrony) { // chrony's cookies cannot tell it
            std::erase(settings_.aeads, AeadId::siv_cmac_512);
        }
    }

    /// Reads the keys as `run` will; a file that `run` would make is not missed.
    void try_keys()
    {
        std::error_code none;
        const auto& nts = *draft_.tunnel.nts;
        if (nts.rotate != seconds{0} && !std::filesystem::exists(nts.keys, none)) {
            const auto folder = nts.keys.has_parent_path() ? nts.keys.parent_path() : std::filesystem::path{"."};
            if (!std::filesystem::is_directory(folder, none)) {
                report_.error(keys_place_, fmt::format("{} is not a folder (expected one to make the key file in)",
                                                       shown(folder.string())));
            }
            return;
        }
        const auto loaded = load_nts_keys(draft_.tunnel);
        if (const auto* why = std::get_if<std::string>(&loaded)) {
            report_.error(keys_place_, fmt::format("{}: {}", shown(nts.keys.string()), *why));
        }
    }

    const LoadContext& context_;
    Report& report_;
    TunnelDraft& draft_;
    Value block_;
    Section section_;
    NtsSettings settings_;
    Place keys_place_;
};

} // namespace

void read_nts(const Value& block, const LoadContext& context, TunnelDraft& draft)
{
    NtsReader{block, context, draft}.read();
}

void read_nts_blocks(Section& tunnel, const LoadContext& context, TunnelDraft& draft)
{
    read_nts(tunnel.find("nts"), context, draft);
    const auto tls = tunnel.find("tls");
    draft.tls_place = tunnel.place("tls");
    // A server that only answers NTP needs no certificate: its keys come from the file that it shares.
    if (tls || draft.tunnel.role == Role::client || !draft.tunnel.ke_listen.empty()) {
        read_tls(tls, context, draft);
    }
    for (const auto* other : {"mac", "dtls", "ssh"}) {
        if (const auto block = tunnel.find(other)) {
            context.report.error(block.place(), fmt::format("has no use under channel nts (expected no {})", other));
        }
    }
}

} // namespace gateway
