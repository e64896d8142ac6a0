/* SPDX-License-Identifier: ISC */
/*
 * The last part of a dry run. A worker judges by what is written in the configuration; that the client stands in the block set, or
 * that the kernel would never route the packet to where it is judged, is known to the filter process alone. Where the kernel says
 * no the verdict is denied, whatever the policies said.
 */
#include "app/explain_join.h"

#include "app/json_put.h"

#include <string.h>

static bool has_fate(const json_t *packet, const char *fate)
{
    struct span text = text_at(packet, "fate");

    return span_eq(text, span_str(fate));
}

/* Where the packet is when it is routed: a port forward has changed its destination by then. */
static const char *routed_to(const json_t *packet)
{
    const char *forward = json_string_value(json_object_get(packet, "forward"));

    return forward != NULL ? forward : json_string_value(json_object_get(packet, "destination"));
}

json_t *explain_join_question(const json_t *answer)
{
    const json_t *packet = json_object_get(answer, "packet");
    const char *to = routed_to(packet), *interface = json_string_value(json_object_get(packet, "interface_in"));
    json_t *question;

    if (packet == NULL || has_fate(packet, "output"))
        return NULL;
    question = json_pack("{s:s,s:O}", "command", "route", "from", json_object_get(packet, "client"));
    if (interface != NULL && strcmp(interface, "lo") != 0) { /* what comes from here was routed when it was sent */
        put_text(question, "to", to);
        put_text(question, "interface", interface);
    }
    put_bool(question, "tproxy", span_eq(text_at(packet, "intercept"), SPAN("tproxy")));
    return question;
}

static void add_note(json_t *packet, const char *note)
{
    json_t *notes = json_object_get(packet, "notes");

    if (notes == NULL) {
        notes = json_array();
        (void)json_object_set_new(packet, "notes", notes);
    }
    (void)json_array_append_new(notes, json_string(note));
}

/* Then it was not for a policy to say. */
static void overrule(json_t *answer, enum reason why)
{
    put_verdict(answer, why);
    (void)json_object_del(answer, "policy");
}

static void deny(json_t *answer, enum reason why)
{
    if (span_eq(text_at(answer, "verdict"), SPAN("allowed")))
        overrule(answer, why);
}

/* Does the way that the kernel takes matter to this fate? A packet that is dropped anyway needs none. */
static bool goes_on(const json_t *packet)
{
    return !has_fate(packet, "drop") && !has_fate(packet, "reject") && text_at(packet, "intercept").len != strlen("redirect");
}

static void join_route(json_t *answer, json_t *packet, const json_t *route)
{
    struct span interface = text_at(route, "interface"), judged = text_at(packet, "interface_out");
    const char *error = json_string_value(json_object_get(route, "route_error"));
    bool local = json_is_true(json_object_get(route, "local")),
         wanted = !has_fate(packet, "forward") && !has_fate(packet, "translate");

    if (!goes_on(packet) || json_object_get(route, "local") == NULL)
        return;
    if (error != NULL) {
        put_text(packet, "route_error", error);
        put_text(packet, "fate", "drop");
        deny(answer, R_NO_ROUTE);
    } else if (local != wanted) {
        put_text(packet, "route_error",
                 wanted ? "the kernel would not deliver it to this machine (posternctl doctor)"
                        : "the kernel delivers it to this machine");
        deny(answer, R_NO_ROUTE);
    } else if (!local && interface.len > 0 && !span_eq(interface, judged))
        add_note(packet, "the kernel routes this client's packets by another interface than the zone was judged by");
}

void explain_join(json_t *answer, const json_t *route)
{
    json_t *packet = json_object_get(answer, "packet");
    const json_t *blocked = json_object_get(route, "blocked");

    if (packet == NULL)
        return;
    if (blocked == NULL) {
        add_note(packet, "the filter process was not asked: whether the client is blocked and how the kernel routes is not known");
        return;
    }
    put_bool(packet, "blocked", json_is_true(blocked));
    join_route(answer, packet, route);
    if (!json_is_true(blocked))
        return;
    put_text(packet, "fate", "drop");
    put_text(packet, "reason", reason_name(R_BLOCKED));
    overrule(answer, R_BLOCKED);
}
