/* SPDX-License-Identifier: ISC */
/*
 * From a command line to a request on the control socket. Arguments become values in a JSON object; what they mean is decided by
 * posternd alone, but an argument that cannot mean anything is refused here, before anything is sent.
 */
#include "app/ctl.h"

#include "base/addr.h"

#include <getopt.h>
#include <string.h>

const char ctl_commands[] = "  status                     what runs, since when, with how many sessions\n"
                            "  sessions [FILTER...]       live sessions\n"
                            "  watch [FILTER...]          the same, live, until interrupted\n"
                            "  show ID                    everything about a session (W-N) or request (W-N-K)\n"
                            "  explain ID                 why it was allowed or denied\n"
                            "  explain --from ADDR [--interface NAME] [--listener NAME] [--header 'NAME: VALUE']...\n"
                            "          [--resolve | --address ADDR] METHOD URL\n"
                            "                             what the packet filter and the proxy would decide: nothing\n"
                            "                             is sent; the name is looked up only with --resolve\n"
                            "  explain --from ADDR [--interface NAME] tcp://ADDR:PORT | udp://ADDR:PORT | icmp://ADDR\n"
                            "                             the same of a flow that is no request\n"
                            "  denials [COUNT]            the last denials, newest first (20)\n"
                            "  inspected                  names that TLS was inspected for, those first whose minted\n"
                            "                             certificates clients refused\n"
                            "  kill ID | FILTER...        ends sessions\n"
                            "  reload                     reads the configuration again\n"
                            "  upgrade                    replaces the program by the one that lies in its place now\n"
                            "  drain                      stops: lets streams end until timeouts.drain\n"
                            "  log LEVEL                  error, warn, info or debug\n"
                            "  block ADDR|NETWORK [SECONDS]\n"
                            "                             drops what these clients send, and ends their sessions\n"
                            "  unblock ADDR|NETWORK       lets them in again\n"
                            "  blocks                     who is blocked, and for how long\n"
                            "  filter                     the committed ruleset, with its counters\n"
                            "  doctor                     checks that packets can take their ways, and says what to do\n"
                            "\n"
                            "A FILTER is FIELD=VALUE, FIELD!=VALUE or FIELD~PART; all have to fit. Fields: id worker\n"
                            "state phase mode listener protocol client destination upstream server zone_in zone_out\n"
                            "interface_in interface_out host method path policy status generation conntrack\n"
                            "conntrack_state translated mark tls tls_version sni ja4 tls_subject. Addresses may be\n"
                            "networks: client=10.0.0.0/8. tls is none, ended, peeked or inspected.\n";

static json_t *fault(const char *what)
{
    fprintf(stderr, "posternctl: %s\n", what);
    return NULL;
}

static json_t *plain(const char *command)
{
    return json_pack("{s:s}", "command", command);
}

static json_t *with_filters(int argc, char **argv)
{
    json_t *request = plain(argv[0]), *filters = json_array();

    for (int i = 1; i < argc; i++)
        (void)json_array_append_new(filters, json_string(argv[i]));
    (void)json_object_set_new(request, "filters", filters);
    return request;
}

static json_t *with_word(int argc, char **argv, const char *key)
{
    if (argc != 2)
        return fault("this command takes one argument");
    return json_pack("{s:s,s:s}", "command", argv[0], key, argv[1]);
}

static json_t *kill_request(int argc, char **argv)
{
    if (argc == 2 && strpbrk(argv[1], "=~") == NULL)
        return with_word(argc, argv, "id");
    return argc > 1 ? with_filters(argc, argv) : fault("kill needs an id or a filter");
}

static json_t *denials_request(int argc, char **argv)
{
    uint64_t count = 20;

    if (argc > 2 || (argc == 2 && !span_u64(span_str(argv[1]), 1000, &count)))
        return fault("denials takes a number up to 1000");
    return json_pack("{s:s,s:I}", "command", argv[0], "count", (json_int_t)count);
}

#define BLOCK_SECONDS_MAX 31536000 /* as packet_filter.block_seconds */

static json_t *block_request(int argc, char **argv, bool timed)
{
    json_t *request;
    struct network network;
    uint64_t seconds = 0;

    if (argc < 2 || argc > (timed ? 3 : 2))
        return fault(timed ? "block takes an address or network, and maybe seconds" : "unblock takes an address or network");
    if (!network_parse(&network, span_str(argv[1])))
        return fault("that is neither an address nor a network (a network's host bits are zero)");
    if (argc == 3 && (!span_u64(span_str(argv[2]), BLOCK_SECONDS_MAX, &seconds) || seconds == 0))
        return fault("seconds are a whole number from 1 to 31536000");
    request = json_pack("{s:s,s:s}", "command", argv[0], "address", argv[1]);
    if (seconds > 0)
        (void)json_object_set_new(request, "seconds", json_integer((json_int_t)seconds));
    return request;
}

enum explain_option { OPTION_FROM, OPTION_INTERFACE, OPTION_LISTENER, OPTION_HEADER, OPTION_RESOLVE, OPTION_ADDRESS, OPTION_AT };

static bool explain_option(json_t *request, json_t *headers, int option)
{
    static const char *const keys[] = { "from", "interface", "listener", NULL, NULL, "address", "at" };

    if (option < OPTION_FROM || option > OPTION_AT)
        return false;
    if (option == OPTION_HEADER)
        return json_array_append_new(headers, json_string(optarg)) == 0;
    if (option == OPTION_RESOLVE)
        return json_object_set_new(request, "resolve", json_true()) == 0;
    return json_object_set_new(request, keys[option], json_string(optarg)) == 0;
}

/* Is this a flow that no method belongs to? */
static bool is_flow(const char *url)
{
    static const char *const schemes[] = { "tcp://", "udp://", "icmp://" };

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (strncasecmp(url, schemes[i], strlen(schemes[i])) == 0)
            return true;
    return false;
}

static json_t *explain_request(int argc, char **argv)
{
    static const struct option names[] = { { "from", required_argument, NULL, OPTION_FROM },
                                           { "interface", required_argument, NULL, OPTION_INTERFACE },
                                           { "listener", required_argument, NULL, OPTION_LISTENER },
                                           { "header", required_argument, NULL, OPTION_HEADER },
                                           { "resolve", no_argument, NULL, OPTION_RESOLVE },
                                           { "address", required_argument, NULL, OPTION_ADDRESS },
                                           { "at", required_argument, NULL, OPTION_AT },
                                           { NULL, 0, NULL, 0 } };
    const char *what = "explain takes an id, or --from ADDR and then METHOD URL or a flow like udp://ADDR:PORT";
    json_t *request = plain("explain"), *headers = json_array();
    int option;

    optind = 0; /* the options of the command, not those of posternctl */
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1)
        if (!explain_option(request, headers, option))
            goto usage;
    if (argc - optind == 1 && is_flow(argv[optind]) && json_object_get(request, "from") == NULL) {
        what = "a flow has a client: --from ADDR is needed";
        goto usage;
    }
    if (argc - optind == 1 && json_object_size(request) == 1 && json_array_size(headers) == 0) {
        (void)json_object_set_new(request, "id", json_string(argv[optind]));
        json_decref(headers);
        return request;
    }
    if (argc - optind == 1 && is_flow(argv[optind]))
        (void)json_object_set_new(request, "method", json_string("-"));
    else if (argc - optind == 2)
        (void)json_object_set_new(request, "method", json_string(argv[optind++]));
    else
        goto usage;
    if (json_object_get(request, "from") == NULL)
        goto usage;
    (void)json_object_set_new(request, "url", json_string(argv[optind]));
    (void)json_object_set_new(request, "headers", headers);
    return request;
usage:
    json_decref(request);
    json_decref(headers);
    return fault(what);
}

json_t *ctl_request(int argc, char **argv)
{
    static const char *const alone[] = { "status", "reload", "upgrade", "drain", "filter", "doctor", "blocks", "inspected" };
    const char *command = argv[0];

    for (size_t i = 0; i < sizeof(alone) / sizeof(alone[0]); i++)
        if (strcmp(command, alone[i]) == 0)
            return argc == 1 ? plain(command) : fault("this command takes no argument");
    if (strcmp(command, "sessions") == 0 || strcmp(command, "watch") == 0)
        return with_filters(argc, argv);
    if (strcmp(command, "show") == 0)
        return with_word(argc, argv, "id");
    if (strcmp(command, "log") == 0)
        return with_word(argc, argv, "level");
    if (strcmp(command, "kill") == 0)
        return kill_request(argc, argv);
    if (strcmp(command, "denials") == 0)
        return denials_request(argc, argv);
    if (strcmp(command, "explain") == 0)
        return explain_request(argc, argv);
    if (strcmp(command, "block") == 0 || strcmp(command, "unblock") == 0)
        return block_request(argc, argv, command[0] == 'b');
    return fault("no such command; posternctl -h lists them");
}
