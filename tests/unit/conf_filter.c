/* SPDX-License-Identifier: ISC */
/*
 * What conf_parse() says of the packet filter and of transparent listeners: each key at its limits and one past them, and what does
 * not go together.
 */
#include "conf_said.h"

/* Four zones, no listener; ssh from "in" is let in. */
#define FOUR                                                                                                                       \
    "zones = ({ name = \"in\"; networks = \"10.0.0.0/8\"; }, { name = \"out\"; networks = \"0.0.0.0/0\"; },"                       \
    "{ name = \"c\"; networks = \"172.16.0.0/12\"; }, { name = \"d\"; networks = \"fd00::/8\"; });"
#define SSH "{ name = \"ssh\"; from = \"in\"; to = \"self\"; protocols = \"tcp\"; ports = 22; action = \"allow\"; }"
#define FILTER(text) FOUR "policies = (" SSH "); packet_filter = { " text " };"
#define NFT(text) FILTER("backend = \"nftables\"; " text)
#define FORWARDS(text) NFT("forwards = (" text ");")
#define FORWARD(text) FORWARDS("{ " text " }")
/* One key of a forward is under test. */
#define TO(to_) FORWARD("from = \"out\"; protocol = \"tcp\"; port = 1; to = \"" to_ "\";")
#define PORT(port_) FORWARD("from = \"out\"; protocol = \"tcp\"; to = \"10.0.0.1:1\"; port = " port_ ";")
/* Listeners with and without a packet filter. */
#define WITHOUT(text) FOUR "policies = (" SSH "); listeners = (" text ");"
#define WITH(text) FOUR "policies = (" SSH "); packet_filter = { backend = \"nftables\"; }; listeners = (" text ");"
#define TRANSPARENT(text) WITH("{ name = \"t\"; mode = \"transparent\"; " text " }")
#define TPROXY(text) TRANSPARENT("intercept = \"tproxy\"; ports = 80; " text)
#define POLICED(text) FOUR "packet_filter = { backend = \"nftables\"; }; policies = (" SSH ",\n" text ");"
#define PACKETS(text) POLICED("{ name = \"p\"; action = \"allow\"; " text " }")

#define F "f:1: packet_filter."
#define WORDS_OF_HELPERS "is none of \"ftp\", \"tftp\", \"irc\", \"sip\", \"pptp\", \"amanda\", \"sane\""

static void keys(void **state)
{
    static const struct said cases[] = {
        { NFT(""), "" },
        { FILTER(""), F "backend: is required\n" },
        { FILTER("backend = \"nftable\";"), F "backend: \"nftable\" is none of \"nftables\"; did you mean \"nftables\"?\n" },
        { FOUR "policies = (" SSH "); packet_filter = 1;", "f:1: packet_filter: expected a group: { key = value; }\n" },
        { NFT("tabel = \"a\";"), F "tabel: unknown key; did you mean \"table\"?\n" },
        { NFT("table = \"a23456789-123456789-123456789-1\";"), "" },
        { NFT("table = \"self\";"), "" },
        { NFT("table = \"ip-filter\";"), "" },
        { NFT("table = \"ip\";"), F "table: \"ip\" is a word of nft's own language, which cannot be the name of a table\n" },
        { NFT("table = \"add\";"), F "table: \"add\" is a word of nft's own language, which cannot be the name of a table\n" },
        { NFT("table = \"xt\";"), F "table: \"xt\" is a word of nft's own language, which cannot be the name of a table\n" },
        { NFT("table = \"a23456789-123456789-123456789-12\";"),
          F "table: \"a23456789-123456789-123456789-12\" is no name: a letter, then at most 30 of a-z, 0-9 and \"-\"\n" },
        { NFT("table = \"1a\";"), F "table: \"1a\" is no name: a letter, then at most 30 of a-z, 0-9 and \"-\"\n" },
        { NFT("table = \"a;b\";"), F "table: \"a;b\" is no name: a letter, then at most 30 of a-z, 0-9 and \"-\"\n" },
        { NFT("table = \"\";"), F "table: expected a string that is not empty\n" },
        { NFT("on_exit = \"closed\";"), "" },
        { NFT("on_exit = \"open\";"), "" },
        { NFT("on_exit = \"opne\";"), F "on_exit: \"opne\" is none of \"closed\", \"open\"; did you mean \"open\"?\n" },
        { NFT("on_exit = true;"), F "on_exit: expected a string\n" },
        { NFT("masquerade = [ \"out\", \"in\" ];"), "" },
        { NFT("masquerade = [ ];"), "" },
        { NFT("masquerade = \"outt\";"), F "masquerade: no zone has the name \"outt\"; did you mean \"out\"?\n" },
        { NFT("masquerade = \"self\";"), F "masquerade: \"self\" is this machine: only policies may name it, in from and to\n" },
        { NFT("helpers = [ \"ftp\", \"tftp\", \"irc\", \"sip\", \"pptp\", \"amanda\", \"sane\" ];"), "" },
        { NFT("helpers = [ ];"), "" },
        { NFT("helpers = \"fttp\";"), F "helpers: \"fttp\" " WORDS_OF_HELPERS "; did you mean \"ftp\"?\n" },
        { NFT("helpers = \"h323\";"), F "helpers: \"h323\" " WORDS_OF_HELPERS "\n" },
        { NFT("helpers = [ \"ftp\", \"ftp\" ];"), F "helpers: \"ftp\" stands here twice\n" },
        { NFT("block_seconds = 1.5;"), F "block_seconds: expected a whole number from 1 to 31536000\n" },
        { NFT("block_seconds = 0;"), F "block_seconds: expected a whole number from 1 to 31536000\n" },
        { NFT("block_seconds = 31536001;"), F "block_seconds: expected a whole number from 1 to 31536000\n" },
        { NFT("block_after = 1000001;"), F "block_after: expected a whole number from 0 to 1000000\n" },
    };

    (void)state;
    CHECK(cases);
}

static void forward_keys(void **state)
{
    static const struct said cases[] = {
        { FORWARDS(""), "" },
        { FORWARD(""), F "forwards[0].from: is required\n" F "forwards[0].protocol: is required\n" F
                         "forwards[0].port: is required\n" F "forwards[0].to: is required\n" },
        { FORWARD("from = \"self\"; protocol = \"udp\"; port = 1; to = \"10.0.0.1:1\";"),
          F "forwards[0].from: \"self\" is this machine: only policies may name it, in from and to\n" },
        { FORWARD("from = [ ]; protocol = \"udp\"; port = 1; to = \"10.0.0.1:1\";"),
          F "forwards[0].from: the list is empty; leave the key out if any will do\n" },
        { FORWARD("from = \"ou\"; protocol = \"udp\"; port = 1; to = \"10.0.0.1:1\";"),
          F "forwards[0].from: no zone has the name \"ou\"; did you mean \"out\"?\n" },
        { FORWARD("from = \"in\"; protocol = \"icmp\"; port = 1; to = \"10.0.0.1:1\";"),
          F "forwards[0].protocol: \"icmp\" is none of \"tcp\", \"udp\"; did you mean \"tcp\"?\n" },
        { FORWARD("from = \"in\"; protocol = [ \"tcp\" ]; port = 1; to = \"10.0.0.1:1\";"),
          F "forwards[0].protocol: expected a string\n" },
        { FORWARDS("1"), F "forwards[0]: expected a group: { name = ...; }\n" },
        { PORT("1"), "" },
        { PORT("65535"), "" },
        { PORT("0"), F "forwards[0].port: expected a whole number from 1 to 65535\n" },
        { PORT("65536"), F "forwards[0].port: expected a whole number from 1 to 65535\n" },
        { PORT("-1"), F "forwards[0].port: expected a whole number from 1 to 65535\n" },
        { PORT("\"1-2\""), F "forwards[0].port: expected a whole number from 1 to 65535\n" },
        { TO("10.0.0.1:1"), "" },
        { TO("10.0.0.1:65535"), "" },
        { TO("[fd00::1]:1"), "" },
        { TO("10.0.0.1"), F "forwards[0].to: expected an address and a port, \"127.0.0.1:3128\" or \"[::1]:3128\"\n" },
        { TO("host:22"), F "forwards[0].to: expected an address and a port, \"127.0.0.1:3128\" or \"[::1]:3128\"\n" },
        { TO("0.0.0.0:1"), F "forwards[0].to: 0.0.0.0 is no address that packets can be sent on to\n" },
        { TO("1.0.0.0:1"), "" },
        { TO("126.255.255.255:1"), "" },
        { TO("127.0.0.1:1"), F "forwards[0].to: 127.0.0.1 is no address that packets can be sent on to\n" },
        { TO("223.255.255.255:1"), "" },
        { TO("224.0.0.1:1"), F "forwards[0].to: 224.0.0.1 is no address that packets can be sent on to\n" },
        { TO("255.255.255.255:1"), F "forwards[0].to: 255.255.255.255 is no address that packets can be sent on to\n" },
        { TO("[::]:1"), F "forwards[0].to: :: is no address that packets can be sent on to\n" },
        { TO("[::1]:1"), F "forwards[0].to: ::1 is no address that packets can be sent on to\n" },
        { TO("[fe80::1]:1"), F "forwards[0].to: fe80::1 is no address that packets can be sent on to\n" },
        { TO("[ff02::1]:1"), F "forwards[0].to: ff02::1 is no address that packets can be sent on to\n" },
    };

    (void)state;
    CHECK(cases);
}

/* Two forwards: is the second one refused? */
static void forward_twins(void **state)
{
    static const struct {
        const char *one, *two;
        bool twins;
    } cases[] = {
        { "from = \"in\"; protocol = \"tcp\"; port = 1; to = \"10.0.0.1:1\";",
          "from = \"in\"; protocol = \"tcp\"; port = 1; to = \"10.0.0.2:2\";", true },
        { "from = \"in\"; protocol = \"tcp\"; port = 1; to = \"10.0.0.1:1\";",
          "from = \"in\"; protocol = \"udp\"; port = 1; to = \"10.0.0.1:1\";", false },
        { "from = \"in\"; protocol = \"tcp\"; port = 1; to = \"10.0.0.1:1\";",
          "from = \"in\"; protocol = \"tcp\"; port = 2; to = \"10.0.0.1:1\";", false },
        { "from = \"in\"; protocol = \"tcp\"; port = 1; to = \"10.0.0.1:1\";",
          "from = \"in\"; protocol = \"tcp\"; port = 1; to = \"[fd00::1]:1\";", false },
        { "from = \"in\"; protocol = \"tcp\"; port = 1; to = \"10.0.0.1:1\";",
          "from = [ \"out\", \"d\" ]; protocol = \"tcp\"; port = 1; to = \"10.0.0.1:1\";", false },
        { "from = [ \"in\", \"d\" ]; protocol = \"tcp\"; port = 1; to = \"10.0.0.1:1\";",
          "from = [ \"out\", \"d\" ]; protocol = \"tcp\"; port = 1; to = \"10.0.0.1:1\";", true },
    };
    char text[2048];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct said one = { text, "" };

        if (cases[i].twins)
            one.want = "f:3: packet_filter.forwards[1].port: tcp port 1 is forwarded already, line 1\n";
        snprintf(text, sizeof(text), FORWARDS("{ %s },\n\n{ %s }"), cases[i].one, cases[i].two);
        check(&one, 1);
    }
}

static void many_forwards(void **state)
{
    (void)state;
    for (unsigned count = 1000; count <= 1001; count++) {
        char *text = NULL, *all;
        size_t size;
        FILE *out = open_memstream(&text, &size);

        assert_non_null(out);
        fputs(FOUR "policies = (" SSH "); packet_filter = { backend = \"nftables\"; forwards = (", out);
        for (unsigned i = 1; i <= count; i++)
            fprintf(out, "%s{ from = \"in\"; protocol = \"udp\"; port = %u; to = \"10.0.0.1:1\"; }", i > 1 ? "," : "", i);
        fputs("); };", out);
        fclose(out);
        all = all_said(span_str(text));
        assert_string_equal(all, count == 1000 ? "" : F "forwards: expected a list of at most 1000 groups: ( { ... }, { ... } )\n");
        free(all);
        free(text);
    }
}

#define ONE_FORWARD(text) "packet_filter = { backend = \"nftables\"; forwards = ({ " text "\nport = 1; to = \"10.0.0.1:2\"; }); };"
#define LISTEN(address_, from_) "{ name = \"e\"; mode = \"explicit\"; address = \"" address_ "\"; from = \"" from_ "\"; }"
#define BEHIND(listener, forward) FOUR "policies = (" SSH "); listeners = (" listener ");" ONE_FORWARD(forward)

/* A forward that takes the packets of a listener. */
static void forwards_and_listeners(void **state)
{
    static const char taken[] = "W f:2: packet_filter.forwards[0].port: port 1 is that of listener \"e\", line 1, which clients of "
                                "these zones no longer reach\n";
    static const struct said cases[] = {
        { BEHIND(LISTEN("0.0.0.0:1", "in"), "from = \"in\"; protocol = \"tcp\";"), taken },
        { BEHIND(LISTEN("10.0.0.9:1", "in"), "from = [ \"out\", \"in\" ]; protocol = \"tcp\";"), taken },
        { BEHIND(LISTEN("10.0.0.9:1", "in"), "from = \"out\"; protocol = \"tcp\";"), "" },
        { BEHIND(LISTEN("10.0.0.9:2", "in"), "from = \"in\"; protocol = \"tcp\";"), "" },
        { BEHIND(LISTEN("10.0.0.9:1", "in"), "from = \"in\"; protocol = \"udp\";"), "" },
        { BEHIND(LISTEN("[::]:1", "in"), "from = \"in\"; protocol = \"tcp\";"), "" },
        { BEHIND(LISTEN("127.0.0.1:1", "in"), "from = \"in\"; protocol = \"tcp\";"), "" },
        { "admin = { address = \"10.0.0.9:1\"; };" BEHIND(LISTEN("10.0.0.9:2", "in"), "from = \"in\"; protocol = \"tcp\";"),
          "W f:1: admin.address: whoever reaches this address reads the metrics\n"
          "W f:2: packet_filter.forwards[0].port: port 1 is that of admin.address, which clients of these zones no longer "
          "reach\n" },
    };

    (void)state;
    CHECK(cases);
}

#define ONLY ": only a transparent listener has it\n"
#define NO_PACKET "W f:1: listeners.t.mode: without packet_filter no packet gets here unless rules of your own send it\n"

static void transparent(void **state)
{
    static const struct said cases[] = {
        { TPROXY("address = \"0.0.0.0:1\";"), "" },
        { TPROXY("address = \"127.0.0.1:1\"; host_check = \"strict\";"), "" },
        { TPROXY("address = \"[::1]:1\"; host_check = \"resolve\"; from = [ \"in\", \"d\" ]; preserve_client_address = true;"),
          "" },
        { TPROXY("address = \"10.0.0.1:1\";\nhost_check = \"off\";"),
          "W f:2: listeners.t.host_check: Host and SNI are only the client's word: it can name one server and dial another\n" },
        { TPROXY("address = \"0.0.0.0:1\"; host_check = \"of\";"),
          "f:1: listeners.t.host_check: \"of\" is none of \"strict\", \"resolve\", \"off\"; did you mean \"off\"?\n" },
        { TPROXY("address = \"0.0.0.0:1\"; preserve_client_address = 1;"),
          "f:1: listeners.t.preserve_client_address: expected true or false\n" },
        { TPROXY("address = \"0.0.0.0:1\"; from = \"self\";"),
          "f:1: listeners.t.from: \"self\" is this machine: only policies may name it, in from and to\n" },
        { TPROXY("address = \"0.0.0.0:1\";\nupstreams = \"a:1\";"),
          "f:2: listeners.t.upstreams: only a reverse listener has upstreams; clients of a transparent one name the server\n" },
        { TRANSPARENT("address = \"0.0.0.0:1\"; ports = ( 1, \"2-65535\" ); intercept = \"redirect\";"), "" },
        { TRANSPARENT("address = \"0.0.0.0:1\"; ports = 0; intercept = \"redirect\";"),
          "f:1: listeners.t.ports: item 1 is no port; expected 1 to 65535 or \"8000-8100\"\n" },
        { TRANSPARENT("address = \"0.0.0.0:1\"; ports = 65536; intercept = \"redirect\";"),
          "f:1: listeners.t.ports: item 1 is no port; expected 1 to 65535 or \"8000-8100\"\n" },
        { TRANSPARENT("address = \"0.0.0.0:1\"; ports = [ ]; intercept = \"redirect\";"),
          "f:1: listeners.t.ports: the list is empty; leave the key out if any will do\n" },
        { TRANSPARENT("ports = 80; intercept = \"redirect\";\naddress = \"127.0.0.1:1\";"),
          "f:2: listeners.t.address: redirected packets arrive at the address of their interface, never at a loopback address\n" },
        { TRANSPARENT("ports = 80; intercept = \"redirect\"; address = \"[::1]:1\";"),
          "f:1: listeners.t.address: redirected packets arrive at the address of their interface, never at a loopback address\n" },
        { TRANSPARENT("ports = 80; intercept = \"redirekt\"; address = \"0.0.0.0:1\";"),
          "f:1: listeners.t.intercept: \"redirekt\" is none of \"tproxy\", \"redirect\"; did you mean \"redirect\"?\n" },
        { TRANSPARENT("address = \"0.0.0.0:1\";"),
          "f:1: listeners.t.intercept: is required: how the kernel hands flows over, \"tproxy\" or \"redirect\"\n"
          "f:1: listeners.t.ports: is required: the ports that are intercepted\n" },
        { WITHOUT("{ name = \"t\"; mode = \"transparent\"; intercept = \"tproxy\"; ports = 80; address = \"0.0.0.0:1\"; }"),
          NO_PACKET "W f:1: policies.ssh.protocols: tcp, udp and icmp are never looked at without packet_filter\n" },
        { WITHOUT("{ name = \"t\"; mode = \"transparent\"; intercept = \"tproxy\"; ports = 80; address = \"0.0.0.0:1\";"
                  "preserve_client_address = true; }"),
          "f:1: listeners.t.preserve_client_address: needs packet_filter\n" NO_PACKET
          "W f:1: policies.ssh.protocols: tcp, udp and icmp are never looked at without packet_filter\n" },
        { WITH("{ name = \"e\"; mode = \"explicit\"; address = \"127.0.0.1:1\"; intercept = \"tproxy\"; ports = 80;"
               "host_check = \"strict\"; preserve_client_address = false; }"),
          "f:1: listeners.e.intercept" ONLY "f:1: listeners.e.ports" ONLY "f:1: listeners.e.host_check" ONLY
          "f:1: listeners.e.preserve_client_address" ONLY },
        { WITH("{ name = \"a23456789-123456789-123456789-1\"; mode = \"explicit\"; address = \"127.0.0.1:1\";"
               "preserve_client_address = true; }"),
          "f:1: listeners.a23456789-123456789-123456789-1.preserve_client_address" ONLY },
        { WITH("{ name = \"r\"; mode = \"reverse\"; address = \"127.0.0.1:1\"; upstreams = \"a:1\";\nports = 80; }"),
          "f:2: listeners.r.ports" ONLY },
    };

    (void)state;
    CHECK(cases);
}

/* Two transparent listeners: is it said that the first gets this port? */
static void intercepted_twice(void **state)
{
    static const struct {
        const char *one, *two;
        unsigned port;
    } cases[] = {
        { "address = \"0.0.0.0:1\"; ports = 80;", "address = \"0.0.0.0:2\"; ports = 80;", 80 },
        { "address = \"0.0.0.0:1\"; ports = [ \"1-65535\" ];", "address = \"0.0.0.0:2\"; ports = 65535;", 65535 },
        { "address = \"0.0.0.0:1\"; ports = [ \"64-127\" ];", "address = \"0.0.0.0:2\"; ports = ( 63, 128, \"100-200\" );", 100 },
        { "address = \"0.0.0.0:1\"; ports = [ \"64-127\" ];", "address = \"0.0.0.0:2\"; ports = [ 63, 128 ];", 0 },
        { "address = \"0.0.0.0:1\"; ports = 80;", "address = \"[::]:2\"; ports = 80;", 0 },
        { "address = \"0.0.0.0:1\"; ports = 80; from = \"in\";", "address = \"0.0.0.0:2\"; ports = 80; from = \"out\";", 0 },
        { "address = \"0.0.0.0:1\"; ports = 80; from = \"in\";", "address = \"0.0.0.0:2\"; ports = 80; from = [ \"d\", \"in\" ];",
          80 },
        { "address = \"0.0.0.0:1\"; ports = 80; from = \"in\";", "address = \"0.0.0.0:2\"; ports = 80;", 80 },
    };
    char text[2048], want[256];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct said one = { text, want };

        snprintf(want, sizeof(want),
                 "W f:2: listeners.u.ports: port %u is intercepted by listener \"t\", line 1, already: the first gets it\n",
                 cases[i].port);
        if (cases[i].port == 0)
            want[0] = '\0';
        snprintf(text, sizeof(text),
                 WITH("{ name = \"t\"; mode = \"transparent\"; intercept = \"tproxy\"; %s },"
                      "{ name = \"u\"; mode = \"transparent\"; intercept = \"redirect\";\n%s }"),
                 cases[i].one, cases[i].two);
        check(&one, 1);
    }
}

#define NEVER "can never be seen: the protocols of this policy have no requests that are read\n"
#define UNSEEN(key) "W f:2: policies.p." key ": can never be true: "

#define WALL(text) POLICED("{ name = \"p\"; " text " }")
#define NO_WALL "W f:2: policies.p.action: does not stop tcp, udp or icmp that the kernel forwards: name them in protocols\n"

/* Policies that look as if they stopped packets, and do not. */
static void walls(void **state)
{
    static const struct said cases[] = {
        { WALL("clients = \"10.0.0.1\"; action = \"deny\";"), NO_WALL },
        { WALL("from = \"in\"; action = \"drop\";"), NO_WALL },
        { WALL("to = \"out\"; action = \"deny\";"), NO_WALL },
        { WALL("networks = \"192.0.2.0/24\"; action = \"drop\";"), NO_WALL },
        { WALL("ports = 25; action = \"deny\";"), NO_WALL },
        { WALL("ports = 25; action = \"allow\";"), "" },
        { WALL("ports = 25; protocols = \"http\"; action = \"deny\";"), "" },
        { WALL("ports = 25; protocols = \"tcp\"; action = \"deny\";"), "" },
        { WALL("from = \"in\"; hosts = \"a.example\"; action = \"deny\";"), "" },
        { WALL("from = \"in\"; hosts_file = \"/a\"; action = \"deny\";"), "" },
        { WALL("from = \"in\"; methods = \"PUT\"; action = \"deny\";"), "" },
        { WALL("from = \"in\"; paths = \"/a\"; action = \"deny\";"), "" },
        { WALL("from = \"in\"; headers = \"A\"; action = \"deny\";"), "" },
        { WALL("action = \"deny\";"), "" },
        { FOUR
          "policies = ({ name = \"p\"; from = \"in\"; action = \"deny\"; }); listeners = ({ name = \"e\"; mode = \"explicit\"; "
          "address = \"127.0.0.1:1\"; });",
          "" },
    };

    (void)state;
    CHECK(cases);
}

/* Policies about packets that no packet fits. */
static void packet_policies(void **state)
{
    static const struct said cases[] = {
        { PACKETS("protocols = [ \"tcp\", \"udp\", \"icmp\" ]; from = \"in\"; to = \"out\"; clients = \"10.0.0.1\"; ports = 1;"
                  "networks = \"1.2.3.4\"; hosts = [ \"a.example\", \"1.2.3.4\" ];"),
          "" },
        { PACKETS("protocols = \"udp\"; listeners = \"e\";") "listeners = ({ name = \"e\"; mode = \"explicit\"; address = "
                                                             "\"127.0.0.1:1\"; });",
          UNSEEN("listeners") "tcp, udp and icmp are forwarded by the kernel and come in by no listener\n" },
        { PACKETS("protocols = \"tcp\"; hosts_file = \"/a\";"), UNSEEN("hosts_file") "packets name no host\n" },
        { PACKETS("protocols = \"tcp\"; hosts = [ \"a\", \"*.b\" ];"),
          UNSEEN("hosts") "packets name no host, and there is no address among them\n" },
        { PACKETS("protocols = [ \"tcp\", \"http\" ]; hosts = [ \"a\", \"*.b\" ];"), "" },
        { PACKETS("protocols = \"icmp\"; methods = \"GET\"; paths = \"/\"; headers = \"A\";"),
          "W f:2: policies.p.methods: " NEVER "W f:2: policies.p.paths: " NEVER "W f:2: policies.p.headers: " NEVER },
        { PACKETS("protocols = \"icmp\"; ports = 1;"), UNSEEN("ports") "icmp has no ports\n" },
        { PACKETS("protocols = [ \"udp\", \"icmp\" ]; ports = 1;"), "" },
        { PACKETS("protocols = \"icmp\"; from = [ \"self\" ];"),
          "W f:2: policies.p.from: is never looked at: what this machine itself sends always passes the packet filter\n" },
        { PACKETS("protocols = \"icmp\"; from = [ \"self\", \"in\" ];"), "" },
        { PACKETS("protocols = [ \"icmp\", \"http\" ]; from = [ \"self\" ];"), "" },
        /* Listeners of other zones have nothing to do with packets. */
        { PACKETS("protocols = \"tcp\"; from = \"out\"; to = \"in\";") "listeners = (" LISTEN("10.0.0.1:1", "in") ");", "" },
        { POLICY("protocols = [ \"http\", \"icmp\" ]; from = \"in\";"),
          "W f:1: policies.p.protocols: tcp, udp and icmp are never looked at without packet_filter\n" },
    };

    (void)state;
    CHECK(cases);
}

#define WAY(text) FOUR "policies = (" text ");\npacket_filter = { backend = \"nftables\"; };"
#define LOCKED "W f:2: packet_filter: no policy allows tcp to \"self\": ssh to this machine will be cut off\n"

static void way_in(void **state)
{
    static const struct said cases[] = {
        { WAY(SSH), "" },
        { WAY("{ name = \"p\"; from = \"in\"; protocols = \"tcp\"; action = \"allow\"; }"), LOCKED },
        { WAY("{ name = \"p\"; to = [ \"out\", \"self\" ]; protocols = [ \"icmp\", \"tcp\" ]; action = \"allow\"; }"), "" },
        { WAY("{ name = \"p\"; to = \"out\"; protocols = \"tcp\"; action = \"allow\"; }"), LOCKED },
        { WAY("{ name = \"p\"; to = \"self\"; protocols = \"udp\"; action = \"allow\"; }"), LOCKED },
        { WAY("{ name = \"p\"; to = \"self\"; action = \"allow\"; }"), LOCKED },
        { WAY("{ name = \"p\"; to = \"self\"; protocols = \"tcp\"; action = \"deny\"; }"), LOCKED },
        { WAY("{ name = \"p\"; to = \"self\"; from = \"self\"; protocols = \"tcp\"; action = \"allow\"; }"),
          "W f:1: policies.p.from: is never looked at: what this machine itself sends always passes the packet filter\n" LOCKED },
        { WAY("{ name = \"p\"; to = \"self\"; from = [ \"self\", \"in\" ]; protocols = \"tcp\"; action = \"allow\"; }"), "" },
        { WAY("{ name = \"p\"; to = \"self\"; hosts = \"a\"; protocols = [ \"tcp\", \"http\" ]; action = \"allow\"; }"), LOCKED },
        { WAY(""), "W f:1: policies: there are none: everything is denied\n" LOCKED },
    };

    (void)state;
    CHECK(cases);
}

/* One policy to self, and this many to any of 99 zones and to self: 1 + 100 rules for each. */
static char *big(unsigned policies, const char *more)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    fputs("zones = (", out);
    for (unsigned i = 0; i < 99; i++)
        fprintf(out, "%s{ name = \"z%u\"; networks = \"10.0.%u.0/24\"; }", i ? "," : "", i, i);
    fputs("); policies = ( { name = \"ssh\"; to = \"self\"; protocols = \"tcp\"; ports = 22; action = \"allow\"; }, ", out);
    for (unsigned i = 0; i < policies; i++)
        fprintf(out, "{ name = \"p%u\"; action = \"deny\"; protocols = \"tcp\"; ports = %u; },", i, i + 1);
    fprintf(out, "%s);\npacket_filter = { backend = \"nftables\"; };", more);
    fclose(out);
    return text;
}

static void size(void **state)
{
    static const struct {
        unsigned policies;
        const char *more, *want;
    } cases[] = {
        { 1999, "{ name = \"q\"; action = \"allow\"; protocols = \"udp\"; ports = 1; }", "" }, /* allowing: 99, without self */
        { 1999, "{ name = \"q\"; action = \"deny\"; protocols = \"udp\"; ports = 1; }",
          "f:2: packet_filter: 200001 rules, one for each policy and zone of its servers, are more than 200000: name fewer zones "
          "in "
          "to\n" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *text = big(cases[i].policies, cases[i].more);
        struct said one = { text, cases[i].want };

        check(&one, 1);
        free(text);
    }
}

/* Two policies: does the first hide the second? With and without a listener that intercepts. */
static void reach(void **state)
{
    static const struct {
        const char *first, *second;
        bool hides, hides_intercepted;
    } cases[] = {
        { "protocols = \"tcp\";", "protocols = \"tcp\"; to = \"self\"; from = \"in\";", true, true },
        { "protocols = \"tcp\"; to = \"self\";", "protocols = \"tcp\"; from = \"in\";", false, false },
        { "protocols = \"tcp\"; to = [ \"in\", \"self\" ];", "protocols = \"tcp\"; to = \"self\";", true, true },
        { "protocols = \"tcp\"; to = \"out\";", "protocols = \"tcp\"; to = \"self\";", false, false },
        { "from = \"in\";", "protocols = \"tcp\"; from = \"in\";", false, false },
        { "protocols = \"tcp\";", "protocols = \"udp\";", false, false },
        { "protocols = [ \"tcp\", \"udp\" ];", "protocols = \"tcp\"; ports = 443;", true, true },
        { "protocols = [ \"tcp\", \"udp\", \"icmp\" ];", "protocols = [ \"icmp\", \"tcp\" ]; networks = \"1.2.3.4\";", true, true },
        { "protocols = [ \"tcp\", \"udp\" ];", "protocols = [ \"tcp\", \"icmp\" ];", false, false },
        /* UDP to a port that is intercepted passes only by a policy that names it. */
        { "protocols = \"udp\"; action = \"allow\";", "protocols = \"udp\"; ports = 443;", true, false },
        { "protocols = \"udp\"; action = \"drop\";", "protocols = \"udp\"; ports = 443;", true, true },
        { "protocols = \"udp\"; ports = \"1-65535\"; action = \"allow\";", "protocols = \"udp\"; ports = 443;", true, true },
    };
    static const char *const listeners[] = {
        "", "listeners = ({ name = \"t\"; mode = \"transparent\"; intercept = \"tproxy\"; ports = 443; address = \"[::]:1\"; });"
    };
    char text[2048];

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        const char *first = cases[i / 2].first;
        char *all;

        snprintf(text, sizeof(text), POLICED("{ name = \"p\"; %s %s },\n{ name = \"q\"; action = \"deny\"; %s }") "%s", first,
                 strstr(first, "action") ? "" : "action = \"deny\";", cases[i / 2].second, listeners[i % 2]);
        all = all_said(span_str(text));
        if ((strstr(all, "policies.q: can never decide: all that it matches is decided by \"p\"") != NULL) !=
            (i % 2 ? cases[i / 2].hides_intercepted : cases[i / 2].hides))
            fail_msg("%s -> %s%s: %s", first, cases[i / 2].second, listeners[i % 2], all);
        free(all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys),
        cmocka_unit_test(forward_keys),
        cmocka_unit_test(forward_twins),
        cmocka_unit_test(many_forwards),
        cmocka_unit_test(forwards_and_listeners),
        cmocka_unit_test(transparent),
        cmocka_unit_test(intercepted_twice),
        cmocka_unit_test(walls),
        cmocka_unit_test(packet_policies),
        cmocka_unit_test(way_in),
        cmocka_unit_test(size),
        cmocka_unit_test(reach),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
