// NTS requests to the server at 127.0.0.1 that the key establishment on KE-PORT names, OUTSTANDING at a time, until
// EXCHANGES are answered; prints how many requests went unanswered.
//
//   nts_load CA-FILE KE-PORT EXCHANGES OUTSTANDING
#include <array>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <span>

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ntp-shim/nts_fields.hpp"
#include "ntp-shim/seal.hpp"
#include "tests/bench/ke_link.hpp"

namespace {

constexpr int kPatience = 200; // ms without any answer: those outstanding are lost

/// Requests that differ in all that a server may look at, from one cookie: nobody but the client minds.
class Requests {
public:
    explicit Requests(const ntp_shim::NtsSession& session)
        : cookie_{session.cookies.front()}, cipher_{ntp_shim::Aead::make(session.keys.aead,
                                                                         session.keys.client_to_server.view())}
    {}

    std::span<const std::byte> next()
    {
        std::array<std::byte, 32> id{};
        std::array<std::byte, 16> nonce{};
        fill(id);
        fill(nonce);
        ntp_shim::write_reissued(std::span{buffer_}.first<ntp_shim::kHeaderSize>(), 4, random_());
        ntp_shim::FieldWriter fields{buffer_, ntp_shim::kHeaderSize};
        fields.add(ntp_shim::FieldType::unique_id, id);
        fields.add(ntp_shim::FieldType::cookie, cookie_);
        fields.seal({.aead = *cipher_, .nonce = nonce, .plain = {}, .least_room = 16, .least_total = 0});
        return fields.written();
    }

private:
    void fill(std::span<std::byte> octets)
    {
        for (auto& octet : octets) {
            octet = static_cast<std::byte>(random_());
        }
    }

    std::mt19937_64 random_{std::random_device{}()};
    std::vector<std::byte> cookie_;
    std::optional<ntp_shim::Aead> cipher_;
    ntp_shim::SealBuffer buffer_{};
};

int connected_to(std::uint16_t port)
{
    sockaddr_in peer{};
    peer.sin_family = AF_INET;
    peer.sin_port = htons(port);
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int descriptor = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0 || ::connect(descriptor, reinterpret_cast<const sockaddr*>(&peer), sizeof peer) != 0) {
        bench::fail("socket");
    }
    return descriptor;
}

struct Load {
    long exchanges;
    long outstanding;
};

long run(int descriptor, Requests& requests, const Load& load)
{
    long answered = 0;
    long lost = 0;
    long open = 0;
    const auto ask = [&] {
        const auto packet = requests.next();
        if (::send(descriptor, packet.data(), packet.size(), 0) < 0) {
            bench::fail("send");
        }
        ++open;
    };
    while (answered < load.exchanges) {
        while (open < load.outstanding) {
            ask();
        }
        pollfd ready{descriptor, POLLIN, 0};
        if (::poll(&ready, 1, kPatience) == 0) {
            lost += open;
            open = 0;
            if (lost > load.exchanges) {
                bench::fail("no answers");
            }
            continue;
        }
        std::array<std::byte, 2048> reply{};
        while (open > 0 && ::recv(descriptor, reply.data(), reply.size(), MSG_DONTWAIT) > 0) {
            --open;
            ++answered;
        }
    }
    return lost;
}

} // namespace

int main(int count, char** arguments)
{
    if (count != 5) {
        bench::fail("usage: nts_load CA-FILE KE-PORT EXCHANGES OUTSTANDING");
    }
    bench::KeClient client{arguments[1], static_cast<std::uint16_t>(std::atoi(arguments[2])), false};
    const auto established = client.establish();
    Requests requests{established.session};
    const int descriptor = connected_to(established.ntp_port);
    std::printf("%ld\n", run(descriptor, requests, {std::atol(arguments[3]), std::atol(arguments[4])}));
    ::close(descriptor);
}
