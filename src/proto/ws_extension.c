/* SPDX-License-Identifier: ISC */
/*
 * The grammar of a WebSocket extension, as offers and answers write it (RFC 6455 9.1):
 *
 *     extension = token *( ";" token [ "=" ( token / quoted-string ) ] )
 *
 * where a quoted string must be a token once its quotes and escapes are gone. White space may stand around the semicolons and
 * nowhere else. What the parameters mean is not known here.
 */
#include "proto/ws_extension.h"

#include <string.h>

static bool take_token(struct span *s, struct span *token)
{
    size_t n = 0;

    while (n < s->len && byte_is_token((unsigned char)s->at[n]))
        n++;
    *token = span_of(s->at, n);
    *s = span_skip(*s, n);
    return n > 0;
}

static bool skip_byte(struct span *s, char c)
{
    if (s->len == 0 || s->at[0] != c)
        return false;
    *s = span_skip(*s, 1);
    return true;
}

static bool take_quoted(struct span *s, struct ws_param *param)
{
    size_t n = 0;

    while (!skip_byte(s, '"')) {
        skip_byte(s, '\\');
        if (s->len == 0 || !byte_is_token((unsigned char)s->at[0]))
            return false;
        if (n < sizeof(param->value) - 1)
            param->value[n] = s->at[0];
        *s = span_skip(*s, 1);
        n++;
    }
    return n > 0;
}

static bool take_value(struct span *s, struct ws_param *param)
{
    struct span token;

    if (skip_byte(s, '"'))
        return take_quoted(s, param);
    if (!take_token(s, &token))
        return false;
    memcpy(param->value, token.at, token.len < sizeof(param->value) ? token.len : sizeof(param->value) - 1);
    return true;
}

bool ws_extension_name(struct span *item, struct span *name)
{
    bool found = take_token(item, name);

    *item = span_trim(*item);
    return found;
}

bool ws_extension_param(struct span *item, struct ws_param *param)
{
    memset(param, 0, sizeof(*param));
    if (!skip_byte(item, ';'))
        return false;
    *item = span_trim(*item);
    if (!take_token(item, &param->name))
        return false;
    param->has_value = skip_byte(item, '=');
    if (param->has_value && !take_value(item, param))
        return false;
    *item = span_trim(*item);
    return true;
}
