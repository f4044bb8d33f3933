// Two ends of one DTLS association in memory, with a network between them that a test may spoil, and time of its own.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/engine_pair.hpp"
#include "transports/dtls_engine.hpp"

namespace support {

/// A scene whose settings are of datagrams.
struct DatagramScene : Scene {
    DatagramScene();
};

[[nodiscard]] transports::DatagramWire::Setting wire_of_mtu(std::size_t mtu);
[[nodiscard]] std::unique_ptr<transports::DtlsEngine> make_dtls_engine(const transports::TlsSettings& settings,
                                                                       std::size_t mtu = 1200);

using Datagram = std::vector<std::byte>;

enum class Towards : std::uint8_t { client, server };

class DatagramPair {
public:
    /// What becomes of the datagram that is the `index`th in its direction: how late each copy comes; none = it is
    /// lost.
    using Fate = std::function<std::vector<transports::Nanoseconds>(Towards, std::size_t index, const Datagram&)>;

    explicit DatagramPair(const DatagramScene& scene, Fate fate = {}, std::size_t mtu = 1200);

    void start();
    /// Lets everything happen that happens within `span`.
    void run(transports::Nanoseconds span);
    /// Both established.
    [[nodiscard]] bool agreed() const;
    /// Shakes hands, at most for as long as the product would.
    [[nodiscard]] bool agree();
    [[nodiscard]] bool say(Towards to, const std::string& text);
    /// A datagram from nowhere.
    void inject(Towards to, const Datagram& datagram);

    std::unique_ptr<transports::DtlsEngine> client;
    std::unique_ptr<transports::DtlsEngine> server;
    std::vector<std::string> to_client; // messages that arrived
    std::vector<std::string> to_server;
    std::vector<Datagram> sent_to_client; // as they left, whatever became of them
    std::vector<Datagram> sent_to_server;
    transports::Nanoseconds now{std::chrono::hours{5}};

private:
    struct OnTheWay {
        transports::Nanoseconds at{};
        Towards to{};
        Datagram bytes;
    };
    void collect();
    void deliver(Towards to, const Datagram& bytes);
    [[nodiscard]] transports::Nanoseconds next_event() const;

    Fate fate_;
    bool proven_ = false; // the server has seen its cookie again
    transports::DtlsCookies cookies_;
    std::vector<OnTheWay> way_;
};

} // namespace support
