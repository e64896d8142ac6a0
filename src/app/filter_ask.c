/* SPDX-License-Identifier: ISC */
/*
 * What control asks in the name of posternctl: a JSON object with a command, answered by a JSON object; what cannot be done by one
 * with "error". Only control's socket leads here, never a worker's.
 */
#include "app/filter.h"

#include "app/json_put.h"
#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SECONDS_MAX 31536000

static json_t *fault(const char *text)
{
    return json_pack("{s:s}", "error", text);
}

static json_t *answer_filter(struct filter *f, const json_t *question)
{
    char *text = nft_list(f->nft, false);
    json_t *answer = text != NULL ? json_pack("{s:s}", "table", text) : fault("the table cannot be listed");

    (void)question;
    free(text);
    return answer;
}

static char *network_text(const struct network *network, char out[ADDR_TEXT + 4])
{
    char address[ADDR_TEXT];
    unsigned all = network->base.family == AF_INET ? 32 : 128;

    addr_text(&network->base, address);
    if (network->bits == all)
        snprintf(out, ADDR_TEXT + 4, "%s", address);
    else
        snprintf(out, ADDR_TEXT + 4, "%s/%u", address, network->bits);
    return out;
}

static const char *read_network(const json_t *question, struct network *out)
{
    return network_parse(out, text_at(question, "address")) ? NULL
                                                            : "\"address\" is an address or a network whose host bits are zero";
}

static json_t *answer_block(struct filter *f, const json_t *question)
{
    const json_t *given = json_object_get(question, "seconds");
    json_int_t seconds = given != NULL ? json_integer_value(given) : f->current->conf->packet_filter.block_seconds;
    char error[NFT_ERROR], text[ADDR_TEXT + 4];
    struct network network;
    const char *wrong = read_network(question, &network);

    if (wrong != NULL)
        return fault(wrong);
    if (seconds < 1 || seconds > BLOCK_SECONDS_MAX)
        return fault("\"seconds\" is a whole number from 1 to 31536000");
    if (!filter_block(f, &network, (uint32_t)seconds, "operator", error))
        return fault(error);
    log_info("%s is blocked for %lld s by an operator", network_text(&network, text), (long long)seconds);
    return json_pack("{s:s,s:I}", "address", text, "seconds", seconds);
}

static json_t *answer_unblock(struct filter *f, const json_t *question)
{
    char error[NFT_ERROR], text[ADDR_TEXT + 4];
    struct network network;
    const char *wrong = read_network(question, &network);
    bool was;

    if (wrong != NULL)
        return fault(wrong);
    was = blocks_holds(f->blocks, &network, clock_ms());
    if (!filter_unblock(f, &network, error))
        return fault(error);
    network_text(&network, text);
    if (was)
        log_info("%s is no longer blocked", text);
    return json_pack("{s:s,s:b}", "address", text, "was_blocked", was);
}

static json_t *answer_blocks(struct filter *f, const json_t *question)
{
    json_t *list = json_array();
    char text[ADDR_TEXT + 4];

    (void)question;
    for (size_t i = 0; i < blocks_count(f->blocks); i++) {
        const struct block *block = blocks_at(f->blocks, i);

        if (block->until_ms > clock_ms())
            (void)json_array_append_new(list,
                                        json_pack("{s:s,s:I,s:s}", "address", network_text(&block->network, text), "seconds",
                                                  (json_int_t)((block->until_ms - clock_ms() + 999) / 1000), "why", block->why));
    }
    return json_pack("{s:o}", "blocks", list);
}

/* A flow of ours: its conntrack entry goes, and with it the flow; of one to this machine its socket, too. */
static bool kill_flow(struct filter *f, json_int_t number, int *socket_error)
{
    unsigned ours = f->args->workers;
    struct conntrack_entry entry;

    if (number < 1 || !flows_find(f->flows, ours, (uint64_t)number, &entry))
        return false;
    flows_because(f->flows, ours, (uint64_t)number, R_KILLED);
    if (flows_end(f->conntrack, &entry, socket_error) || errno == ENOENT)
        return true;
    log_error("a flow cannot be deleted: %s", strerror(errno));
    return false;
}

/* The entry is gone, but the server on this machine goes on with its next packet. */
static void warn_of_sockets(json_t *object, int error)
{
    char text[256];

    snprintf(text, sizeof(text),
             "a socket on this machine cannot be ended (%s): it goes on when it sends next; end it at its server",
             error == EOPNOTSUPP ? "the kernel has no CONFIG_INET_DIAG_DESTROY" : strerror(error));
    log_warn("kill: %s", text);
    put_text(object, "warning", text);
}

static json_t *answer_kill(struct filter *f, const json_t *question)
{
    const json_t *numbers = json_object_get(question, "numbers");
    int socket_error = 0, killed = kill_flow(f, json_integer_value(json_object_get(question, "number")), &socket_error);
    json_t *object;

    for (size_t i = 0; i < json_array_size(numbers); i++)
        killed += kill_flow(f, json_integer_value(json_array_get(numbers, i)), &socket_error);
    object = json_pack("{s:i}", "killed", killed);
    if (socket_error != 0)
        warn_of_sockets(object, socket_error);
    return object;
}

static json_t *answer_doctor(struct filter *f, const json_t *question)
{
    (void)question;
    return filter_doctor(f);
}

static json_t *answer(struct filter *f, const json_t *question)
{
    static const struct {
        const char *name;
        json_t *(*answer)(struct filter *f, const json_t *question);
    } commands[] = { { "filter", answer_filter }, { "block", answer_block }, { "unblock", answer_unblock },
                     { "blocks", answer_blocks }, { "kill", answer_kill },   { "doctor", answer_doctor },
                     { "route", filter_route } };
    struct span name = text_at(question, "command");

    if (f->current == NULL)
        return fault("the packet filter is not ready");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (span_eq(name, span_str(commands[i].name)))
            return commands[i].answer(f, question);
    return fault("filter does not know this command");
}

void filter_on_ask(struct filter *f, uint64_t request, struct span question)
{
    json_t *object = json_loadb(question.at != NULL ? question.at : "", question.len, 0, NULL);
    json_t *said = json_is_object(object) ? answer(f, object) : fault("the question is not a JSON object");
    char *text = said != NULL ? json_dumps(said, JSON_COMPACT) : NULL;

    peers_answer(f, request, text != NULL ? text : "{\"error\":\"no memory\"}");
    free(text);
    json_decref(said);
    json_decref(object);
}
