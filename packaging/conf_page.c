/* SPDX-License-Identifier: ISC */
/*
 * Writes postern.conf(5): copies its template from standard input, and in the place of the line that says so puts every key of the
 * one table that the reader goes by. A build runs it, so the page names no key that is not there, and forgets none.
 */
#include "conf/conf_keys.h"

#include <stdio.h>
#include <string.h>

#define MARK ".\\\" @KEYS@\n"

/* What a value of this type is. NULL: it is said by the words, or a group. */
static const char *const kinds[KEY_TYPE_COUNT] = { [KEY_U16] = "number",
                                                   [KEY_U32] = "number",
                                                   [KEY_U64] = "number",
                                                   [KEY_SECONDS] = "seconds",
                                                   [KEY_TIME] = "seconds",
                                                   [KEY_BOOL] = "bool",
                                                   [KEY_WORD] = "word",
                                                   [KEY_FLAG] = "word",
                                                   [KEY_BIT] = "word",
                                                   [KEY_BITS] = "list of words",
                                                   [KEY_TEXT] = "text",
                                                   [KEY_PATH] = "path",
                                                   [KEY_ACCESS] = "path, or \"-\"",
                                                   [KEY_REGEX] = "pattern",
                                                   [KEY_NAME] = "name",
                                                   [KEY_VIA] = "name",
                                                   [KEY_ADDRESS] = "address with port",
                                                   [KEY_SERVERS] = "list of addresses",
                                                   [KEY_UPSTREAMS] = "list of servers",
                                                   [KEY_NETWORKS] = "list of networks",
                                                   [KEY_PORTS] = "list of ports",
                                                   [KEY_HEADERS] = "list of conditions",
                                                   [KEY_PROTOCOLS] = "list of words",
                                                   [KEY_SENDERS] = "list of words",
                                                   [KEY_VERSION] = "word",
                                                   [KEY_FILE] = "file",
                                                   [KEY_HOST] = "host",
                                                   [KEY_PINS] = "list of pins",
                                                   [KEY_NAMES] = "list of names",
                                                   [KEY_INTERFACES] = "list of interfaces",
                                                   [KEY_HOSTS] = "list of hosts",
                                                   [KEY_METHODS] = "list of methods",
                                                   [KEY_PATTERNS] = "list of patterns",
                                                   [KEY_ORIGINS] = "list of origins",
                                                   [KEY_TOKENS] = "list of words",
                                                   [KEY_MEMBERS] = "list of names",
                                                   [KEY_FINGERPRINTS] = "list of fingerprints",
                                                   [KEY_CERTIFICATES] = "list of certificates",
                                                   [KEY_WORDS] = "list of words" };

/* Text that roff must not read: a period or quote at the beginning of a line, and backslashes. */
static void put_text(const char *text)
{
    if (text[0] == '.' || text[0] == '\'')
        fputs("\\&", stdout);
    for (; *text != '\0'; text++)
        if (*text == '\\')
            fputs("\\e", stdout);
        else
            putchar(*text);
}

static void put_words(const struct conf_key *key)
{
    const char *before = ": ";

    for (const char *const *w = key->words; w != NULL && *w != NULL; w++) {
        printf("%s%s", before, *w);
        before = ", ";
    }
}

static const char *word_at(const struct conf_key *key, uint64_t index)
{
    for (const char *const *w = key->words; w != NULL && *w != NULL; w++)
        if (index-- == 0)
            return *w;
    return NULL;
}

static void put_range(const struct conf_key *key)
{
    if (key->type == KEY_SECONDS || key->type == KEY_TIME)
        printf(", %g to %g", (double)key->min / 1000, (double)key->max / 1000);
    else if (key->type == KEY_U16 || key->type == KEY_U32 || key->type == KEY_U64)
        printf(", %llu to %llu", (unsigned long long)key->min, (unsigned long long)key->max);
}

static void put_default(const struct conf_key *key)
{
    const char *word = key->type == KEY_WORD || key->type == KEY_FLAG ? word_at(key, key->standard) : NULL;

    if (key->required)
        printf("; required");
    else if (key->type == KEY_SECONDS)
        printf("; default %g", (double)key->standard / 1000);
    else if (key->type == KEY_U16 || key->type == KEY_U32 || key->type == KEY_U64)
        printf("; default %llu", (unsigned long long)key->standard);
    else if (key->type == KEY_BOOL)
        printf("; default %s", key->standard != 0 ? "true" : "false");
    else if (word != NULL)
        printf("; default %s", word);
    else if (key->text != NULL)
        printf("; default %s", key->text);
}

static void put_key(const struct conf_key *key)
{
    printf(".It Ic %s\n", key->name);
    put_text(key->help);
    printf("\n.br\n(%s", kinds[key->type] != NULL ? kinds[key->type] : "value");
    put_words(key);
    put_range(key);
    put_default(key);
    puts(")");
}

static bool opens(const struct conf_key *key)
{
    return key->type == KEY_GROUP || key->type == KEY_ITEMS;
}

static void put_group(enum conf_group group, const char *path);

/* The keys that stand here, then the groups in it, each under its whole name. */
static void put_subgroups(enum conf_group group, const char *path)
{
    char name[256];

    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];

        if (key->in != group || !opens(key))
            continue;
        snprintf(name, sizeof(name), "%s%s%s", path, path[0] != '\0' ? "." : "", key->name);
        printf(".Ss %s = %s\n", name, key->type == KEY_ITEMS ? "( { ... }, { ... } )" : "{ ... }");
        put_text(key->help);
        puts("");
        put_group(key->opens, name);
    }
}

static void put_group(enum conf_group group, const char *path)
{
    bool any = false;

    for (size_t i = 0; i < conf_key_count; i++)
        if (conf_keys[i].in == group && !opens(&conf_keys[i])) {
            if (!any)
                puts(".Bl -tag -width Ds");
            any = true;
            put_key(&conf_keys[i]);
        }
    if (any)
        puts(".El");
    put_subgroups(group, path);
}

int main(void)
{
    char line[1024];

    while (fgets(line, sizeof(line), stdin) != NULL)
        if (strcmp(line, MARK) == 0)
            put_group(IN_TOP, "");
        else
            fputs(line, stdout);
    return ferror(stdin) || fflush(stdout) != 0;
}
