#include "tests/bench/ke_link.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <span>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ntp-shim/nts_ke_server.hpp"

namespace bench {

namespace {

constexpr std::array<unsigned char, 8> kAlpn = {7, 'n', 't', 's', 'k', 'e', '/', '1'};

int connect_to(std::uint16_t port, bool nagle)
{
    const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in peer{};
    peer.sin_family = AF_INET;
    peer.sin_port = htons(port);
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int direct = nagle ? 0 : 1;
    const bool connected = descriptor >= 0 &&
                           ::connect(descriptor, reinterpret_cast<const sockaddr*>(&peer), sizeof peer) == 0 &&
                           ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &direct, sizeof direct) == 0;
    if (!connected) {
        fail("connect");
    }
    return descriptor;
}

std::vector<std::byte> read_answer(SSL* session)
{
    std::vector<std::byte> answer;
    ntp_shim::MessageScan scan;
    while (scan.follow(answer) == ntp_shim::MessageState::partial) {
        std::array<std::byte, 16384> part{};
        const int size = SSL_read(session, part.data(), static_cast<int>(part.size()));
        if (size <= 0) {
            fail("the answer was cut short");
        }
        answer.insert(answer.end(), part.begin(), part.begin() + size);
    }
    return answer;
}

ntp_shim::AeadSecret export_key(SSL* session, ntp_shim::AeadId aead, ntp_shim::Direction direction)
{
    ntp_shim::AeadSecret key;
    const auto out = key.resize(ntp_shim::key_size(aead));
    const auto context = ntp_shim::exporter_context(aead, true, direction);
    const std::string label{ntp_shim::kExporterLabel};
    if (SSL_export_keying_material(session, reinterpret_cast<unsigned char*>(out.data()), out.size(), label.data(),
                                   label.size(), reinterpret_cast<const unsigned char*>(context.data()), context.size(),
                                   1) != 1) {
        fail("export of keys");
    }
    return key;
}

} // namespace

void fail(const std::string& what)
{
    (void)std::fprintf(stderr, "failed: %s\n", what.c_str());
    std::exit(1);
}

KeClient::KeClient(const std::string& ca, std::uint16_t port, bool nagle)
    : port_{port}, nagle_{nagle}, context_{SSL_CTX_new(TLS_client_method())},
      offer_{.aeads = {ntp_shim::AeadId::siv_cmac_256}, .host_wish = {}, .port_wish = {}}, request_{
                                                                                               ntp_shim::make_request(
                                                                                                   offer_)}
{
    const bool ready = SSL_CTX_set_min_proto_version(context_, TLS1_3_VERSION) == 1 &&
                       SSL_CTX_load_verify_locations(context_, ca.c_str(), nullptr) == 1 &&
                       SSL_CTX_set_alpn_protos(context_, kAlpn.data(), kAlpn.size()) == 0;
    if (!ready) {
        fail("TLS with " + ca);
    }
    SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
}

KeClient::~KeClient()
{
    SSL_CTX_free(context_);
}

KeClient::Established KeClient::establish()
{
    const int descriptor = connect_to(port_, nagle_);
    const std::unique_ptr<SSL, decltype(&SSL_free)> session{SSL_new(context_), &SSL_free};
    std::string name = "localhost";
    const bool ready =
        SSL_set_fd(session.get(), descriptor) == 1 && SSL_set1_host(session.get(), name.c_str()) == 1 &&
        SSL_ctrl(session.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data()) == 1 &&
        SSL_connect(session.get()) == 1 &&
        SSL_write(session.get(), request_.data(), static_cast<int>(request_.size())) ==
            static_cast<int>(request_.size());
    if (!ready) {
        fail("handshake");
    }
    auto judged = ntp_shim::judge_response(read_answer(session.get()), offer_);
    auto* const result = std::get_if<ntp_shim::KeResult>(&judged);
    if (result == nullptr) {
        fail("the answer: " + std::string{ntp_shim::name(std::get<ntp_shim::KeRefusal>(judged).fault)});
    }
    Established made;
    made.ntp_port = result->port;
    made.session.keys.aead = result->aead;
    made.session.keys.client_to_server = export_key(session.get(), result->aead, ntp_shim::Direction::client_to_server);
    made.session.keys.server_to_client = export_key(session.get(), result->aead, ntp_shim::Direction::server_to_client);
    for (auto& cookie : result->cookies) {
        made.session.put(std::move(cookie));
    }
    SSL_shutdown(session.get());
    ::close(descriptor);
    return made;
}

} // namespace bench
