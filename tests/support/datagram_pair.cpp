#include "tests/support/datagram_pair.hpp"

#include <algorithm>

namespace support {

using transports::DtlsEngine;
using transports::EngineState;
using transports::Nanoseconds;
using namespace std::chrono_literals;

DatagramScene::DatagramScene()
{
    for (transports::TlsSettings* const settings : {&server_settings, &client_settings}) {
        settings->datagrams = true;
        settings->policy.versions = {"DTLS1.2"};
        std::erase_if(settings->policy.suites,
                      [](const std::string& suite) { return suite.find("_WITH_") == std::string::npos; });
    }
}

transports::DatagramWire::Setting wire_of_mtu(std::size_t mtu)
{
    return {mtu - 28, false, 800ms};
}

std::unique_ptr<DtlsEngine> make_dtls_engine(const transports::TlsSettings& settings, std::size_t mtu)
{
    const bool client = settings.role == transports::TlsRole::client;
    return DtlsEngine::create(make_context(settings), client ? "server.test" : "", wire_of_mtu(mtu));
}

DatagramPair::DatagramPair(const DatagramScene& scene, Fate fate, std::size_t mtu)
    : client{make_dtls_engine(scene.client_settings, mtu)}, server{make_dtls_engine(scene.server_settings, mtu)},
      fate_{std::move(fate)}
{
    cookies_.current.fill(1);
    cookies_.previous.fill(2);
}

void DatagramPair::start()
{
    client->start(now);
    collect();
}

void DatagramPair::collect()
{
    for (const Towards to : {Towards::client, Towards::server}) {
        DtlsEngine& from = to == Towards::client ? *server : *client;
        auto& sent = to == Towards::client ? sent_to_client : sent_to_server;
        while (const auto datagram = from.next_output()) {
            sent.emplace_back(datagram->begin(), datagram->end());
            const auto delays = fate_ ? fate_(to, sent.size() - 1, sent.back()) : std::vector<Nanoseconds>{0ms};
            for (const Nanoseconds delay : delays) {
                way_.push_back({now + delay, to, sent.back()});
            }
        }
    }
    std::ranges::stable_sort(way_, {}, &OnTheWay::at);
}

void DatagramPair::deliver(Towards to, const Datagram& bytes)
{
    if (to == Towards::server && !proven_) {
        proven_ = server->listen(bytes, cookies_);
        if (proven_) {
            server->start(now);
        }
        return;
    }
    DtlsEngine& engine = to == Towards::client ? *client : *server;
    engine.receive(bytes, now);
    while (const auto message = engine.next_message()) {
        std::string text;
        for (const std::byte octet : *message) {
            text += static_cast<char>(octet);
        }
        (to == Towards::client ? to_client : to_server).push_back(std::move(text));
    }
}

Nanoseconds DatagramPair::next_event() const
{
    Nanoseconds next = way_.empty() ? Nanoseconds::max() : way_.front().at;
    for (const DtlsEngine* const engine : {client.get(), server.get()}) {
        next = std::min(next, engine->deadline().value_or(Nanoseconds::max()));
    }
    return next;
}

void DatagramPair::run(Nanoseconds span)
{
    const Nanoseconds until = now + span;
    collect();
    for (Nanoseconds next = next_event(); next <= until; next = next_event()) {
        now = std::max(now, next);
        if (!way_.empty() && way_.front().at <= now) {
            const OnTheWay arrived = std::move(way_.front());
            way_.erase(way_.begin());
            deliver(arrived.to, arrived.bytes);
        }
        client->on_deadline(now);
        server->on_deadline(now);
        collect();
    }
    now = until;
}

bool DatagramPair::agreed() const
{
    return client->state() == EngineState::established && server->state() == EngineState::established;
}

bool DatagramPair::agree()
{
    start();
    for (int step = 0; step < 500 && !agreed(); ++step) {
        run(10ms);
    }
    return agreed();
}

bool DatagramPair::say(Towards to, const std::string& text)
{
    DtlsEngine& from = to == Towards::client ? *server : *client;
    const bool sent = from.send(octets(text));
    collect();
    return sent;
}

void DatagramPair::inject(Towards to, const Datagram& datagram)
{
    deliver(to, datagram);
    collect();
}

} // namespace support
