// A network between two ends that is as bad as it is told to be, at the level of datagrams or of IP packets.
//
//   impair SEED udp SERVER-ADDRESS SERVER-PORT       a UDP relay
//   impair SEED tun LEFT-NAMESPACE RIGHT-NAMESPACE   a link "path" between two network namespaces
//
// Prints "ready WHERE", then answers each line of standard input with one line, until that ends. Durations are
// nanoseconds; DIRECTION is up or down.
//
//   set DIRECTION loss=0.01 delay=20000000 ...       anything not named is off
//   hook DIRECTION NUMBER drop|duplicate|swap|delay NANOSECONDS
//   renumber                                         the next datagram of each direction is number 1; no hooks
//   rebind                                           udp: other source ports towards the server
//   hand-over                                        udp: the next new client gets the last one's port
//   report                                           the counters as JSON
#include <array>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <exception>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/support/impair_sockets.hpp"

namespace support {
namespace {

Nanoseconds now()
{
    timespec read{};
    ::clock_gettime(CLOCK_MONOTONIC, &read);
    return std::chrono::seconds{read.tv_sec} + Nanoseconds{read.tv_nsec};
}

Impairment read_impairment(std::istringstream& words)
{
    Impairment wanted;
    std::string word;
    while (words >> word) {
        const auto equals = word.find('=');
        const std::string key = word.substr(0, equals);
        const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
        const auto duration = [&] { return Nanoseconds{std::stoll(value)}; };
        if (key == "loss") {
            wanted.loss = std::stod(value);
        } else if (key == "duplicate") {
            wanted.duplicate = std::stod(value);
        } else if (key == "reorder") {
            wanted.reorder = std::stod(value);
        } else if (key == "delay") {
            wanted.delay = duration();
        } else if (key == "jitter") {
            wanted.jitter = duration();
        } else if (key == "reorder_by") {
            wanted.reorder_by = duration();
        } else if (key == "rate") {
            wanted.rate = std::stoull(value);
        } else if (key == "queue") {
            wanted.queue = std::stoull(value);
        } else {
            throw std::invalid_argument{"unknown impairment " + word};
        }
    }
    return wanted;
}

Hook read_hook(std::istringstream& words)
{
    std::string act;
    std::int64_t delay = 0;
    words >> act;
    if (act == "drop") {
        return {Act::drop, {}};
    }
    if (act == "duplicate") {
        return {Act::duplicate, {}};
    }
    if (act == "swap") {
        return {Act::swap, {}};
    }
    if (act == "delay" && words >> delay) {
        return {Act::delay, Nanoseconds{delay}};
    }
    throw std::invalid_argument{"unknown hook " + act};
}

nlohmann::ordered_json report_of(const ImpairedPath& path)
{
    const PathCounters& counted = path.counters();
    nlohmann::ordered_json flows = nlohmann::ordered_json::object();
    for (const auto& [flow, counters] : counted.flows) {
        flows[std::to_string(flow)] = {{"received", counters.received}, {"dropped", counters.dropped}};
    }
    return {{"received", counted.received},
            {"lost", counted.lost},
            {"duplicated", counted.duplicated},
            {"reordered", counted.reordered},
            {"overflowed", counted.overflowed},
            {"hooked", counted.hooked},
            {"hooked_away", counted.hooked_away},
            {"sent", counted.sent},
            {"number", path.number()},
            {"largest", counted.largest},
            {"latest", counted.latest.count()},
            {"flows", flows}};
}

class Network {
public:
    Network(std::unique_ptr<Medium> medium, std::uint64_t seed)
        : medium_(std::move(medium)), paths_{ImpairedPath{seed}, ImpairedPath{seed + 1}}
    {}

    void run()
    {
        std::cout << "ready " << medium_->where() << std::endl;
        std::vector<pollfd> watched;
        while (true) {
            watched.assign(1, {STDIN_FILENO, POLLIN, 0});
            medium_->add_to(watched);
            wait(watched);
            for (std::size_t each = 1; each < watched.size(); ++each) {
                if (watched[each].revents != 0) {
                    receive(watched[each].fd);
                }
            }
            send_due();
            if (watched[0].revents != 0 && !obey()) {
                return;
            }
        }
    }

private:
    ImpairedPath& path(Direction direction) { return paths_.at(static_cast<std::size_t>(direction)); }

    void wait(std::vector<pollfd>& watched) const
    {
        std::optional<Nanoseconds> due;
        for (const ImpairedPath& each : paths_) {
            const auto next = each.next_due();
            due = due && next ? std::min(*due, *next) : (due ? due : next);
        }
        timespec timeout{};
        if (due) {
            const Nanoseconds left = std::max(*due - now(), Nanoseconds{});
            timeout = {left.count() / 1000000000, left.count() % 1000000000};
        }
        if (::ppoll(watched.data(), watched.size(), due ? &timeout : nullptr, nullptr) < 0 && errno != EINTR) {
            throw std::runtime_error{"ppoll"};
        }
    }

    void receive(int descriptor)
    {
        constexpr int batch = 64; // then what is due goes out first
        for (int count = 0; count < batch; ++count) {
            auto arrived = medium_->read(descriptor);
            if (!arrived) {
                return;
            }
            path(arrived->direction).submit(std::move(arrived->datagram), now());
        }
    }

    void send_due()
    {
        for (const Direction direction : {Direction::up, Direction::down}) {
            while (const auto datagram = path(direction).take(now())) {
                medium_->write(direction, *datagram);
            }
        }
    }

    /// Every whole line of standard input; false at its end.
    bool obey()
    {
        std::array<char, 4096> octets{};
        const ssize_t got = ::read(STDIN_FILENO, octets.data(), octets.size());
        if (got <= 0) {
            return false;
        }
        input_.append(octets.data(), static_cast<std::size_t>(got));
        for (auto end = input_.find('\n'); end != std::string::npos; end = input_.find('\n')) {
            std::string said;
            try {
                said = answer(input_.substr(0, end));
            } catch (const std::exception& error) {
                said = std::string{"error "} + error.what();
            }
            std::cout << said << std::endl;
            input_.erase(0, end + 1);
        }
        return true;
    }

    std::string answer(const std::string& line)
    {
        std::istringstream words{line};
        std::string command;
        words >> command;
        if (command == "report") {
            return nlohmann::ordered_json{{"up", report_of(paths_[0])}, {"down", report_of(paths_[1])}}.dump();
        }
        if (command == "renumber") {
            paths_[0].renumber();
            paths_[1].renumber();
            return "ok";
        }
        if (command == "rebind") {
            return medium_->rebind() ? "ok" : "error no ports to change";
        }
        if (command == "hand-over") {
            return medium_->hand_over() ? "ok" : "error no port to hand over";
        }
        std::string side;
        words >> side;
        if (side != "up" && side != "down") {
            throw std::invalid_argument{"unknown command " + line};
        }
        ImpairedPath& chosen = path(side == "up" ? Direction::up : Direction::down);
        std::uint64_t number = 0;
        if (command == "set") {
            chosen.set(read_impairment(words));
        } else if (command == "hook" && words >> number) {
            chosen.hook(number, read_hook(words));
        } else {
            throw std::invalid_argument{"unknown command " + line};
        }
        return "ok";
    }

    std::unique_ptr<Medium> medium_;
    std::array<ImpairedPath, 2> paths_;
    std::string input_;
};

} // namespace
} // namespace support

int main(int count, char** arguments)
{
    const std::vector<std::string> words{arguments + 1, arguments + count};
    try {
        if (words.size() != 4 || (words[1] != "udp" && words[1] != "tun")) {
            throw std::invalid_argument{"usage: impair SEED udp ADDRESS PORT | impair SEED tun LEFT RIGHT"};
        }
        ::prctl(PR_SET_TIMERSLACK, 1); // the kernel may else wake us 50 us late, on purpose
        auto medium = words[1] == "udp" ? support::relay_udp(words[2], static_cast<std::uint16_t>(std::stoul(words[3])))
                                        : support::join_namespaces(words[2], words[3]);
        support::Network{std::move(medium), std::stoull(words[0])}.run();
        return 0;
    } catch (const std::exception& error) {
        std::cerr << "impair: " << error.what() << std::endl;
        return 1;
    }
}
