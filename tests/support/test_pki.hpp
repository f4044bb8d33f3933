// Certificates, keys and revocation lists with every property a test may want to be wrong, and a folder to put them in.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace support {

/// A new directory that goes with everything in it.
class Folder {
public:
    Folder();
    ~Folder();
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
    std::filesystem::path write(const std::string& name, const std::string& text) const;

private:
    std::filesystem::path path_;
};

enum class KeyType : std::uint8_t { p256, p384, p256_explicit, ed25519, rsa1024, rsa2048 };

struct Wish {
    std::string common_name = "leaf"; // empty = no subject at all
    std::vector<std::string> names;   // "DNS:a" "IP:192.0.2.1" "URI:x" "EMAIL:a@b"; empty = no subjectAltName
    std::optional<std::string> usage = "serverAuth";     // extendedKeyUsage as OpenSSL's configuration spells it
    std::string basic = "critical,CA:FALSE";             // basicConstraints; empty = none
    std::string key_usage = "critical,digitalSignature"; // empty = none
    KeyType key = KeyType::p256;
    std::chrono::seconds starts = std::chrono::hours{-1}; // from now
    std::chrono::seconds ends = std::chrono::hours{24};
    bool sha1 = false;             // signed with it
    bool broken_signature = false; // one bit of it turned
    bool unique_identifier = false;
    bool must_staple = false;      // RFC 7633
    bool unknown_critical = false; // a critical extension that nobody knows
};

/// A certificate with its key.
class Identity {
public:
    struct Parts;
    /// `issuer` null = signed by itself.
    Identity(const Wish& wish, const Identity* issuer);

    [[nodiscard]] std::string certificate() const; // PEM
    [[nodiscard]] std::string key() const;         // PEM
    [[nodiscard]] std::string encrypted_key() const;
    [[nodiscard]] std::string spki_sha256_hex() const;
    [[nodiscard]] std::string spki_sha256_base64() const;
    [[nodiscard]] std::string serial() const; // lower-case hex
    [[nodiscard]] const Parts& parts() const noexcept { return *parts_; }

private:
    std::shared_ptr<Parts> parts_;
};

/// What an authority looks like when nothing is wrong with it.
[[nodiscard]] Wish authority_wish(const std::string& common_name);

struct ListWish {
    std::vector<const Identity*> revoked{};
    std::chrono::seconds starts = std::chrono::hours{-1};
    std::chrono::seconds ends = std::chrono::hours{24};
    const Identity* signer = nullptr; // null = the issuer
};
[[nodiscard]] std::string revocation_list(const Identity& issuer, const ListWish& wish); // PEM

} // namespace support
