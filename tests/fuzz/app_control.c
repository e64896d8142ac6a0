/* SPDX-License-Identifier: ISC */
/* A request line of the control socket: read, and if the view alone can answer it, answered; a list is written to its end. */
#include "app/command.h"
#include "app/listing.h"
#include "app/worker_explain.h"
#include "../unit/app_fake_view.h"

#include <event2/buffer.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
    if (!good)
        abort();
}

/* What leaves is one JSON object in a line, whatever came in. */
static void check_list(const struct view *v, const struct filters *filters)
{
    static struct listing listing;
    struct evbuffer *out = evbuffer_new();
    size_t len;
    char *line;
    json_t *object;

    must(out != NULL);
    listing_init(&listing, v, filters);
    must(listing_fill(&listing, v, out));
    line = evbuffer_readln(out, &len, EVBUFFER_EOL_LF);
    object = line != NULL ? json_loadb(line, len, 0, NULL) : NULL;
    must(object != NULL && evbuffer_get_length(out) == 0);
    json_decref(object);
    free(line);
    evbuffer_free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct explain_question question;
    static struct command command;
    static struct conf conf = { .packet_filter = { .line = 1, .block_seconds = 600 } };
    static struct generation generation = { .conf = &conf };
    static struct view view;
    char *text;

    if (view.workers == 0)
        fake_view(&view);
    view.generation = &generation;
    command_read(&command, &view, span_of((const char *)data, size));
    switch (command.kind) {
    case COMMAND_REPLY:
        text = json_dumps(command.reply, JSON_COMPACT);
        must(text != NULL && strchr(text, '\n') == NULL);
        must(!command.hang_up || json_object_get(command.reply, "error") != NULL);
        free(text);
        break;
    case COMMAND_SESSIONS:
    case COMMAND_WATCH:
        check_list(&view, &command.filters);
        break;
    case COMMAND_EXPLAIN:
        if (explain_read(&question, command.question) == NULL)
            must(question.query.headers.len < EXPLAIN_HEADERS && question.query.from.family != 0);
        break;
    case COMMAND_ASK:
        must(json_object_get(command.question, "command") != NULL);
        break;
    case COMMAND_KILL:
        must(command.by_id ? command.id.worker < view.writers : command.filters.count > 0);
        break;
    case COMMAND_RELOAD:
    case COMMAND_UPGRADE:
    case COMMAND_DRAIN:
    case COMMAND_LOG:
        break;
    }
    command_fini(&command);
    return 0;
}
