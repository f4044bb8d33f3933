#include "transports/nts_ke.hpp"

#include <utility>

namespace transports {

KeClient::KeClient(Loop& loop, std::unique_ptr<Connector> connector, const Options& options)
    : connector_{std::move(connector)}, options_{options},
      deadline_{loop, [this] { fail(CloseReason::handshake_timeout, "no answer to the question"); }}, turn_end_{
                                                                                                          loop, [this] {
                                                                                                              finish();
                                                                                                          }}
{}

KeClient::~KeClient() = default;

void KeClient::ask(const Target& target, std::vector<std::byte> question, Judge judge, Failure failure)
{
    cancel();
    question_ = std::move(question);
    judge_ = std::move(judge);
    failure_ = std::move(failure);
    attempt_ = connector_->connect(target, *this);
}

void KeClient::cancel()
{
    deadline_.stop();
    attempt_.reset();
    channel_.reset();
    received_.clear();
    failed_.reset();
    judge_ = nullptr;
    failure_ = nullptr;
}

void KeClient::on_open(std::unique_ptr<Channel> channel)
{
    channel_ = std::move(channel);
    deadline_.start(options_.answer);
    if (channel_->send(question_) != SendResult::sent) {
        fail(CloseReason::io_error, "the question could not be sent");
    }
}

void KeClient::on_message(Channel& from, std::span<const std::byte> message, Instant /*arrival*/)
{
    if (!judge_) {
        return; // the answer is settled
    }
    if (message.size() > options_.max_answer - received_.size()) {
        fail(CloseReason::protocol_error, "the answer is too long");
        return;
    }
    received_.insert(received_.end(), message.begin(), message.end());
    if (judge_(from, received_)) {
        judge_ = nullptr;
        turn_end_.request();
    }
}

void KeClient::on_end(Channel& /*from*/)
{
    if (judge_) {
        fail(CloseReason::protocol_error, "the answer was cut short");
    }
}

void KeClient::on_closed(Channel& /*channel*/, const Closed& why)
{
    if (judge_) {
        fail(why.reason, why.text);
    }
}

void KeClient::on_failed(const Failed& why)
{
    failed_ = why;
    judge_ = nullptr;
    turn_end_.request();
}

void KeClient::fail(CloseReason reason, const std::string& text)
{
    on_failed({reason, text, channel_ ? channel_->peer() : PeerIdentity{}});
}

/// Settled, well or not: nothing of the connection is needed any more.
void KeClient::finish()
{
    deadline_.stop();
    attempt_.reset();
    channel_.reset();
    received_.clear();
    if (const auto failed = std::exchange(failed_, std::nullopt); failed && failure_) {
        const Failure failure = std::exchange(failure_, nullptr); // which may ask again
        failure(*failed);
    }
}

} // namespace transports
