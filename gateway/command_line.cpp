#include "gateway/command_line.hpp"

#include <array>
#include <filesystem>
#include <iostream>
#include <string>
#include <variant>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "gateway/audit.hpp"
#include "gateway/audit_verify.hpp"
#include "gateway/check.hpp"
#include "gateway/config.hpp"
#include "gateway/config_values.hpp"
#include "gateway/keygen_mac.hpp"
#include "gateway/keygen_nts.hpp"
#include "gateway/profile_show.hpp"
#include "gateway/program.hpp"
#include "gateway/query.hpp"
#include "gateway/stdio.hpp"
#include "gateway/url.hpp"
#include "gateway/version.hpp"
#include "transports/ssh_keygen.hpp"
#include "transports/tls_pki.hpp"

namespace gateway {

namespace {

struct Arguments {
    std::string file;
    std::string tunnel;
    std::string url;
    bool json = false;
    bool debug = false;
    unsigned samples = 4;
    std::string timeout;
    UrlOptions options;
    transports::TrialPki pki;
    std::vector<std::string> pki_names;
    MacKeyRequest mac_key;
    transports::TrialSshKeys ssh_keys;
    std::vector<std::string> ssh_names;
    NtsKeyRequest nts_keys;
    AuditFiles audit;
    std::string profile;
};

struct UrlOption {
    const char* name;
    const char* help;
};

constexpr std::array kTlsOptions = {
    UrlOption{"ca", "trust anchors: PEM file or directory"},
    UrlOption{"certificate", "own certificate chain, leaf first"},
    UrlOption{"key", "own private key"},
    UrlOption{"crl", "certificate revocation list; may be repeated"},
    UrlOption{"profile", "profile name or file (modern)"},
    UrlOption{"framing", "v1 or raw"},
    UrlOption{"mac-keys", "key file of a mac channel, or of an inner seal"},
    UrlOption{"mac-format", "of the key file: auto, ntp or chrony"},
    UrlOption{"mac-key", "key id to seal with, or to accept; may be repeated"},
};
constexpr std::array kTargetOptions = {UrlOption{"server-name", "name the server's certificate must carry"}};
constexpr std::array kSshOptions = {
    UrlOption{"user", "user of an ssh channel (ntpgate)"},
    UrlOption{"identity", "private key of an ssh channel; of a server: host key, may be repeated"},
    UrlOption{"known-hosts", "host keys that an ssh channel trusts"},
    UrlOption{"authorized-keys", "user keys that may log in (server)"}};
constexpr std::array kClientOptions = {UrlOption{"listen", "local UDP address for NTP clients; may be repeated"},
                                       UrlOption{"clients", "who may ask: address blocks; may be repeated"}};
constexpr std::array kServerOptions = {
    UrlOption{"upstream", "the NTP daemon's address, or clock"},
    UrlOption{"upstream-unprotected", "true: let a daemon on another host be asked in the clear"},
    UrlOption{"client-certificate", "required, optional or none"},
    UrlOption{"allow", "a client that may connect (DNS:, IP:, URI:, EMAIL:, SPKI-SHA256:); may be repeated"}};

template <std::size_t Size>
void add_options(CLI::App& command, Arguments& arguments, const std::array<UrlOption, Size>& options)
{
    for (const UrlOption& option : options) {
        const std::string key = option.name;
        command.add_option_function<std::vector<std::string>>(
            "--" + key, [&arguments, key](const std::vector<std::string>& values) { arguments.options[key] = values; },
            option.help);
    }
}

void print_problems(const std::vector<Problem>& problems, const char* kind)
{
    for (const Problem& problem : problems) {
        std::cerr << kind << problem.text() << '\n';
    }
}

/// Why there is nothing to run: all that a file has is for sshd to start.
std::vector<Problem> why_idle(const Config& config)
{
    std::vector<Problem> problems;
    for (const Tunnel& tunnel : config.tunnels) {
        if (!tunnel.stdio) {
            return {};
        }
        problems.push_back({config.file, tunnel.stdio_line, tunnel.stdio_column,
                            fmt::format("tunnels[{}].listen", problems.size()),
                            fmt::format("stdio is not for run, which has no other tunnel here (expected ADDRESS:PORT, "
                                        "or that sshd starts ntpgate stdio --tunnel {})",
                                        tunnel.name)});
    }
    return problems;
}

int reject(const std::vector<Problem>& errors)
{
    print_problems(errors, "");
    // Where records go is part of what could not be read: this one goes to stderr.
    auto audit = Audit::open(AuditSettings{});
    if (const auto* records = std::get_if<std::unique_ptr<Audit>>(&audit)) {
        AuditRecord record;
        record.event = AuditEvent::config_rejected;
        record.success = false;
        record.reason = fmt::format("{} errors", errors.size());
        (*records)->record(record);
    }
    return kUsage;
}

int run_loaded(Loaded loaded, bool debug)
{
    print_problems(loaded.warnings, "warning: ");
    if (!loaded.config) {
        return reject(loaded.errors);
    }
    loaded.config->log_level = debug ? LogLevel::debug : loaded.config->log_level;
    const auto idle = why_idle(*loaded.config);
    return idle.empty() ? run_tunnels(*loaded.config) : reject(idle);
}

Loaded load_yaml(const std::variant<std::string, Problem>& yaml)
{
    if (const auto* problem = std::get_if<Problem>(&yaml)) {
        Loaded loaded;
        loaded.errors.push_back(*problem);
        return loaded;
    }
    return load_config_text(std::get<std::string>(yaml), std::string{kCommandLine}, std::filesystem::current_path());
}

int usage_error(const std::string& text)
{
    std::cerr << "ntpgate: " << text << '\n';
    return kUsage;
}

int query_url(const Arguments& arguments, const QueryOptions& options)
{
    const auto url = parse_url(arguments.url, UrlUse::target);
    if (const auto* problem = std::get_if<Problem>(&url)) {
        return usage_error(problem->text());
    }
    const auto& parsed = std::get<ParsedUrl>(url);
    if (parsed.scheme == "ntp") {
        return query_plain({parsed.host, parsed.port}, options, std::cout);
    }
    const Loaded loaded = load_yaml(query_yaml({arguments.url, arguments.options}));
    if (!loaded.config) {
        print_problems(loaded.errors, "");
        return kUsage;
    }
    return query_tunnel(*loaded.config, loaded.config->tunnels.front(), options, std::cout);
}

int query_file(const Arguments& arguments, const QueryOptions& options)
{
    const Loaded loaded = load_config(arguments.file);
    if (!loaded.config) {
        print_problems(loaded.errors, "");
        return kUsage;
    }
    for (const Tunnel& tunnel : loaded.config->tunnels) {
        if (tunnel.name == arguments.tunnel) {
            if (tunnel.role != Role::client) {
                return usage_error(
                    fmt::format("tunnel {} has the server role: only a client role can ask the time", tunnel.name));
            }
            return query_tunnel(*loaded.config, tunnel, options, std::cout);
        }
    }
    return usage_error(fmt::format("{} has no tunnel named {}", arguments.file, arguments.tunnel));
}

int run_query(const Arguments& arguments)
{
    QueryOptions options;
    options.samples = arguments.samples;
    options.json = arguments.json;
    options.debug = arguments.debug;
    if (!arguments.timeout.empty()) {
        const auto timeout = parse_duration(arguments.timeout);
        if (const auto* refused = std::get_if<Refused>(&timeout)) {
            return usage_error("--timeout: " + refused->why);
        }
        options.timeout = std::get<std::chrono::milliseconds>(timeout);
    }
    const bool by_file = !arguments.file.empty();
    if (by_file == !arguments.url.empty()) {
        return usage_error("query takes a URL, or -c FILE with --tunnel NAME");
    }
    if (by_file && arguments.tunnel.empty()) {
        return usage_error("query -c FILE needs --tunnel NAME");
    }
    return by_file ? query_file(arguments, options) : query_url(arguments, options);
}

int run_keygen_pki(Arguments& arguments)
{
    if (!arguments.pki_names.empty()) {
        arguments.pki.server_names = arguments.pki_names;
    }
    if (const auto error = transports::write_trial_pki(arguments.pki)) {
        std::cerr << "ntpgate: " << *error << '\n';
        return kFailure;
    }
    std::cout << fmt::format("trial certificates for {} hours in {}: ca.pem server.pem server.key client.pem "
                             "client.key\n",
                             arguments.pki.lifetime.count(), arguments.pki.directory.string());
    return kSuccess;
}

int run_keygen_ssh(Arguments& arguments)
{
    if (!arguments.ssh_names.empty()) {
        arguments.ssh_keys.server_names = arguments.ssh_names;
    }
    if (const auto error = transports::write_trial_ssh_keys(arguments.ssh_keys)) {
        std::cerr << "ntpgate: " << *error << '\n';
        return kFailure;
    }
    std::cout << fmt::format("keys in {}: host_ed25519 host_rsa authorized_keys for the server, id_ed25519 known_hosts "
                             "for the client\n",
                             arguments.ssh_keys.directory.string());
    return kSuccess;
}

/// Every command with its options; what was given ends up in `arguments`.
struct CommandLine {
    CLI::App app{"ntpgate: carries NTP through a trusted channel"};
    Arguments arguments;
    CLI::App* run = nullptr;
    CLI::App* check = nullptr;
    CLI::App* query = nullptr;
    CLI::App* client = nullptr;
    CLI::App* server = nullptr;
    CLI::App* keygen_pki = nullptr;
    CLI::App* keygen_mac = nullptr;
    CLI::App* keygen_ssh = nullptr;
    CLI::App* stdio = nullptr;
    CLI::App* keygen_nts = nullptr;
    CLI::App* audit = nullptr;
    CLI::App* profile_list = nullptr;
    CLI::App* profile_show = nullptr;
    CLI::App* version = nullptr;

    CommandLine()
    {
        app.require_subcommand(1);
        run = app.add_subcommand("run", "run the tunnels of a configuration in the foreground");
        run->add_option("-c,--config", arguments.file, "configuration file")->required();
        add_debug(*run);
        check = app.add_subcommand("check", "do everything run would do short of binding and connecting");
        check->add_option("-c,--config", arguments.file, "configuration file")->required();
        check->add_flag("--json", arguments.json, "one JSON document on standard output");
        add_query();
        add_short_forms();
        add_keygen();
        stdio = app.add_subcommand("stdio", "serve one channel on standard input and output: a subsystem of sshd");
        stdio->add_option("-c,--config", arguments.file, "configuration file")->required();
        stdio->add_option("--tunnel", arguments.tunnel, "a server tunnel with listen: stdio")->required();
        add_audit();
        add_profile();
        version = app.add_subcommand("version", "version, build, library versions, features");
    }

private:
    void add_audit()
    {
        audit = app.add_subcommand("audit", "look at audit files");
        audit->require_subcommand(1);
        CLI::App* const verify = audit->add_subcommand("verify", "check the hash chain; exit 1 names the line");
        verify->add_option("file", arguments.audit.files, "audit files, oldest first")->required();
        verify->add_option("--head", arguments.audit.head, "SEQ:HASH of a record known to have been written");
    }

    void add_profile()
    {
        CLI::App* const profile = app.add_subcommand("profile", "the profiles, and what each allows");
        profile->require_subcommand(1);
        profile_list = profile->add_subcommand("list", "the names of the built-in profiles");
        profile_list->add_flag("--json", arguments.json, "one JSON document on standard output");
        profile_show = profile->add_subcommand("show", "what a profile offers, demands and leaves out");
        profile_show->add_option("name", arguments.profile, "a built-in profile, or the path of a profile file")
            ->required();
        profile_show->add_flag("--json", arguments.json, "one JSON document on standard output");
    }

    void add_query()
    {
        query = app.add_subcommand("query", "ask the time through a channel, and print offset and delay");
        query->add_option("url", arguments.url,
                          "tls:// dtls:// ssh:// mac:// nts:// or ntp://HOST[:PORT]; ssh://USER@HOST, too");
        query->add_option("-c,--config", arguments.file, "configuration file");
        query->add_option("--tunnel", arguments.tunnel, "a client tunnel of that file");
        query->add_option("-n", arguments.samples, "samples (4)")->check(CLI::Range(1U, 1000U));
        query->add_option("--timeout", arguments.timeout, "for all of it (10s)");
        query->add_flag("--json", arguments.json, "one JSON document on standard output");
        add_debug(*query);
        add_options(*query, arguments, kTlsOptions);
        add_options(*query, arguments, kTargetOptions);
        add_options(*query, arguments, kSshOptions);
    }

    void add_debug(CLI::App& command)
    {
        command.add_flag("--debug", arguments.debug,
                         "log: {level: debug}; shows the records of NTS key establishments, no keys");
    }

    void add_keygen()
    {
        CLI::App* const keygen = app.add_subcommand("keygen", "make keys and certificates; never overwrites");
        keygen->require_subcommand(1);
        keygen_pki = keygen->add_subcommand("pki", "trial certificates: ca, server and client");
        keygen_pki->add_option("--out", arguments.pki.directory, "directory, made when missing")->required();
        keygen_pki->add_option("--server-name", arguments.pki_names,
                               "names and addresses of the server; may be repeated");
        keygen_pki->add_option("--client-name", arguments.pki.client_name, "name of the client");
        keygen_ssh = keygen->add_subcommand("ssh", "SSH keys: a server's host keys and a client's key");
        keygen_ssh->add_option("--out", arguments.ssh_keys.directory, "directory, made when missing")->required();
        keygen_ssh->add_option("--server-name", arguments.ssh_names,
                               "names and addresses of the server; may be repeated");
        keygen_ssh->add_option("--client-name", arguments.ssh_keys.client_name, "comment of the client's key");
        keygen_mac = keygen->add_subcommand("mac", "a symmetric key, and the check value that both sides must see");
        keygen_mac->add_option("--out", arguments.mac_key.directory, "directory, made when missing")->required();
        keygen_mac->add_option("--id", arguments.mac_key.id, "key id (1)");
        keygen_mac->add_option("--digest", arguments.mac_key.digest,
                               "AES128 (the default), AES256, SHA256, SHA384, SHA512 or SHA1");
        keygen_mac->add_option("--format", arguments.mac_key.format,
                               "chrony (the default) or ntp, for ntpd and NTPsec");
        keygen_nts = keygen->add_subcommand("nts", "cookie keys of an NTS front, or the seed of a ratchet");
        keygen_nts->add_option("--out", arguments.nts_keys.directory, "directory, made when missing")->required();
        keygen_nts->add_option("--form", arguments.nts_keys.form,
                               "keys (the default: nts.keys), chrony (ntskeys) or ratchet (nts.seed)");
        keygen_nts->add_option("--period", arguments.nts_keys.period, "of a ratchet (24h)");
    }

    void add_short_forms()
    {
        client = app.add_subcommand("client", "one client tunnel from the command line");
        client->add_option("url", arguments.url, "tls:// dtls:// ssh:// mac:// or nts://HOST[:PORT] of the server")
            ->required();
        add_options(*client, arguments, kTlsOptions);
        add_options(*client, arguments, kTargetOptions);
        add_options(*client, arguments, kClientOptions);
        add_options(*client, arguments, kSshOptions);
        add_debug(*client);
        server = app.add_subcommand("server", "one server tunnel from the command line");
        server->add_option("url", arguments.url, "tls:// dtls:// ssh:// or mac://[ADDRESS][:PORT] to listen on")
            ->required();
        add_options(*server, arguments, kTlsOptions);
        add_options(*server, arguments, kServerOptions);
        add_options(*server, arguments, kSshOptions);
        add_debug(*server);
    }
};

int dispatch(CommandLine& line)
{
    Arguments& arguments = line.arguments;
    if (line.run->parsed()) {
        return run_loaded(load_config(arguments.file), arguments.debug);
    }
    if (line.check->parsed()) {
        return run_check(load_config(arguments.file), arguments.json, std::cout);
    }
    if (line.query->parsed()) {
        return run_query(arguments);
    }
    if (line.client->parsed()) {
        return run_loaded(load_yaml(client_yaml({arguments.url, arguments.options})), arguments.debug);
    }
    if (line.server->parsed()) {
        return run_loaded(load_yaml(server_yaml({arguments.url, arguments.options})), arguments.debug);
    }
    if (line.keygen_ssh->parsed()) {
        return run_keygen_ssh(arguments);
    }
    if (line.stdio->parsed()) {
        return run_stdio(load_config(arguments.file), arguments.tunnel);
    }
    if (line.keygen_pki->parsed()) {
        return run_keygen_pki(arguments);
    }
    if (line.keygen_nts->parsed()) {
        return write_nts_keys(arguments.nts_keys, std::cout, std::cerr);
    }
    if (line.keygen_mac->parsed()) {
        return write_mac_key(arguments.mac_key, std::cout, std::cerr);
    }
    if (line.audit->parsed()) {
        return verify_audit(arguments.audit, std::cout, std::cerr);
    }
    if (line.profile_list->parsed()) {
        return list_profiles(arguments.json, std::cout);
    }
    if (line.profile_show->parsed()) {
        return show_profile(arguments.profile, arguments.json, std::cout);
    }
    std::cout << version_text();
    return kSuccess;
}

} // namespace

int run_command_line(int argc, const char* const* argv)
{
    CommandLine line;
    try {
        line.app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return line.app.exit(error) == 0 ? kSuccess : kUsage;
    }
    return dispatch(line);
}

} // namespace gateway
