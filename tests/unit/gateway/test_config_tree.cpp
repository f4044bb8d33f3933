#include <string>

#include <doctest/doctest.h>

#include "gateway/config_tree.hpp"

using namespace gateway;

namespace {

std::string nested(std::size_t levels)
{
    return std::string(levels, '[') + std::string(levels, ']');
}

std::string only_problem(const std::string& text)
{
    const auto tree = parse_yaml(text);
    REQUIRE(tree.problems.size() == 1);
    const auto& problem = tree.problems.front();
    return std::to_string(problem.at.line) + ":" + std::to_string(problem.at.column) + ": " + problem.key + ": " +
           problem.message;
}

} // namespace

TEST_SUITE_BEGIN("config_tree");

TEST_CASE("a tree keeps repeated keys, quotes and 1-based positions")
{
    const auto tree = parse_yaml("a: 1\nb:\n  - 'x'\na: ~\n");
    REQUIRE(tree.root);
    CHECK(tree.problems.empty());
    const auto& members = tree.root->children;
    REQUIRE(members.size() == 3);
    CHECK(members[0].text == "1");
    CHECK_FALSE(members[0].quoted);
    CHECK(members[0].at == Position{1, 4});
    CHECK(members[1].children.at(0).quoted);
    CHECK(members[1].children.at(0).at == Position{3, 5});
    CHECK(members[2].name == "a");
    CHECK(members[2].name_at == Position{4, 1});
    CHECK(members[2].kind == YamlNode::Kind::empty);
}

TEST_CASE("aliases, anchors, tags and a second document are refused")
{
    CHECK(parse_yaml("a: &x 1\nb: *x\n").problems.size() == 2);
    CHECK(only_problem("a: {b: &x 1}\n").starts_with("1:8: a.b: an anchor is not taken"));
    CHECK(only_problem("a: [0, !!int 1]\n").starts_with("1:8: a[1]: the tag 'tag:yaml.org,2002:int' is not taken"));
    CHECK(only_problem("a: !map {}\n").starts_with("1:4: a: the tag '!map' is not taken"));
    CHECK(only_problem("a: 1\n---\nb: 2\n").starts_with("2:1: yaml: a second document begins"));
    CHECK(only_problem("? [a]\n: 1\n").starts_with("1:3: yaml: a key is not a word"));
}

TEST_CASE("depth and size are bounded")
{
    CHECK(parse_yaml(nested(kMaxDepth)).root.has_value());
    CHECK_FALSE(parse_yaml(nested(kMaxDepth + 1)).root.has_value());
    const std::string filler = "a: 1 #";
    CHECK(parse_yaml(filler + std::string(kMaxFileSize - filler.size(), 'x')).problems.empty());
    CHECK(only_problem(filler + std::string(kMaxFileSize - filler.size() + 1, 'x'))
              .starts_with("0:0: yaml: is too large"));
}

TEST_CASE("what is not UTF-8 text is refused where it stands")
{
    CHECK(parse_yaml("a: \xc3\xa9\n").problems.empty());
    CHECK(only_problem("a: 1\nb: \xc3\n").starts_with("2:1: yaml: this line is not UTF-8"));
    CHECK(only_problem(std::string{"a: 1\nb: \0", 9}).starts_with("2:4: yaml: a control character"));
    CHECK(parse_yaml("a: 1\r\nb:\t2\r\n").problems.empty());
}

TEST_CASE("an unquoted IPv6 address is kept as what it was meant to be")
{
    for (const auto* text : {"a: [::1]:123\n", "{a: [::1]:123}\n", "a: [::1]:123 # [::2]:5\n"}) {
        CAPTURE(text);
        const auto tree = parse_yaml(text);
        REQUIRE(tree.root);
        const auto& value = tree.root->children.at(0);
        CHECK(value.unquoted_ipv6);
        CHECK(value.text == "[::1]:123");
    }
    const auto in_list = parse_yaml("a: [\"[::1]:1\", [fe80::1%eth0]:123, 127.0.0.1:5]\n");
    REQUIRE(in_list.root);
    const auto& entries = in_list.root->children.at(0).children;
    REQUIRE(entries.size() == 3);
    CHECK_FALSE(entries[0].unquoted_ipv6);
    CHECK(entries[1].text == "[fe80::1%eth0]:123");
    CHECK(entries[1].at == Position{1, 16});
}

TEST_CASE("text that holds such an address in quotes or a comment is left alone")
{
    const auto tree = parse_yaml("a: \"see [::1]:123\"\nb: |\n  [::1]:123\nc: 1 # [::1]:123\n");
    REQUIRE(tree.root);
    CHECK(tree.problems.empty());
    CHECK(tree.root->children.at(0).text == "see [::1]:123");
    CHECK(tree.root->children.at(1).text == "[::1]:123\n");
}

TEST_CASE("broken syntax beside such an address names both")
{
    const auto tree = parse_yaml("a: [::1]:123\nb: 1\n c: {\n");
    CHECK_FALSE(tree.root.has_value());
    REQUIRE(tree.problems.size() == 2);
    CHECK(tree.problems[0].at == Position{1, 4});
    CHECK(tree.problems[1].at.line >= 3);
}

TEST_CASE("nothing and comments are no tree and no problem")
{
    CHECK(parse_yaml("").problems.empty());
    CHECK_FALSE(parse_yaml("").root.has_value());
    CHECK_FALSE(parse_yaml("# a\n").root.has_value());
}

TEST_SUITE_END();
