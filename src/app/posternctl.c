/* SPDX-License-Identifier: ISC */
/*
 * posternctl: one request to a running posternd, one answer, printed for people or as it came. It finds the control socket where
 * posternd puts it.
 */
#include "app/ctl.h"
#include "app/socket_path.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { EXIT_GOOD, EXIT_FAULT, EXIT_USAGE };

static int connect_to(const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd;

    if (!span_cstr(span_str(path), sa.sun_path, sizeof(sa.sun_path))) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
        int saved = errno;

        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static int say_unreachable(const char *path)
{
    const char *hint = errno == EACCES || errno == EPERM
                           ? "the socket is its user's and root's"
                           : "is posternd running? With a runtime_dir of its own, say -s RUNTIME_DIR/" SOCKET_NAME;

    fprintf(stderr, "posternctl: cannot connect to %s: %s: %s\n", path, strerror(errno), hint);
    return -1;
}

static int connect_in(const char *folder, char path[PATH_MAX])
{
    if (snprintf(path, PATH_MAX, "%s/%s", folder, SOCKET_NAME) < PATH_MAX)
        return connect_to(path);
    errno = ENAMETOOLONG;
    return -1;
}

/* The first place where a posternd answers: the system's, the user's, the temporary one. The user's is what a complaint names. */
static int connect_default(void)
{
    char folder[PATH_MAX], path[PATH_MAX];
    int fd = connect_in(SYSTEM_RUNTIME_DIR, path);

    if (fd < 0) {
        socket_default_dir(folder);
        fd = connect_in(folder, path);
    }
    if (fd < 0) {
        int saved = errno;
        char temporary[PATH_MAX], tried[PATH_MAX];

        socket_temporary_dir(temporary);
        fd = connect_in(temporary, tried);
        errno = saved;
    }
    return fd >= 0 ? fd : say_unreachable(path);
}

static bool send_request(int fd, const json_t *request)
{
    char *text = json_dumps(request, JSON_COMPACT);
    size_t len = text != NULL ? strlen(text) : 0, sent = 0;
    ssize_t put = 0;

    if (text != NULL)
        text[len] = '\n'; /* in place of the NUL: a line */
    while (text != NULL && sent < len + 1 && (put = send(fd, text + sent, len + 1 - sent, MSG_NOSIGNAL)) > 0)
        sent += (size_t)put;
    free(text);
    return sent == len + 1;
}

static void print_errors(const json_t *answer)
{
    const json_t *errors = json_object_get(answer, "errors");

    for (size_t i = 0; i < json_array_size(errors); i++)
        fprintf(stderr, "%s\n", json_string_value(json_array_get(errors, i)));
    fprintf(stderr, "posternctl: %s\n", json_string_value(json_object_get(answer, "error")));
}

static int show_answer(const char *command, const char *line, bool raw)
{
    json_t *answer = json_loads(line, 0, NULL);
    bool failed = json_is_string(json_object_get(answer, "error"));
    int status;

    if (raw) {
        fputs(line, stdout);
        fflush(stdout);
    }
    if (answer == NULL)
        fprintf(stderr, "posternctl: the answer cannot be read\n");
    else if (failed && !raw)
        print_errors(answer);
    else if (!failed && !raw)
        ctl_print(command, answer);
    status = answer == NULL || failed ? EXIT_FAULT : ctl_status(command, answer);
    json_decref(answer);
    return status;
}

static int exchange(int fd, const char *command, const json_t *request, bool raw)
{
    FILE *in = fdopen(fd, "r");
    bool watch = strcmp(command, "watch") == 0;
    size_t room = 0, lines = 0;
    char *line = NULL;
    int status = EXIT_FAULT;

    if (in == NULL || !send_request(fd, request)) {
        fprintf(stderr, "posternctl: %s\n", strerror(errno));
        if (in != NULL)
            fclose(in);
        return EXIT_FAULT;
    }
    while ((watch || lines == 0) && getline(&line, &room, in) > 0) {
        status = show_answer(command, line, raw);
        lines++;
        if (ferror(stdout))
            break;
    }
    if (lines == 0)
        fprintf(stderr, "posternctl: posternd closed the connection without an answer\n");
    free(line);
    fclose(in);
    return status;
}

static int usage(FILE *out, int status)
{
    fprintf(out,
            "usage: posternctl [-s SOCKET] [--json] COMMAND\n\nTalks to a running posternd over its control socket.\n\n"
            "  -s SOCKET    the socket; without it those of /run/postern, of the user's runtime\n"
            "               folder and of the temporary folder are tried\n"
            "  --json       print the answer as it came, one JSON object a line\n"
            "  -V, -h       print the version, print this\n\nCommands:\n%s\n"
            "Exit status: 0 done; 1 an error, nothing like that, or an ill finding; 2 a wrong command line.\n",
            ctl_commands);
    return status;
}

/* getopt_long() has said what is wrong. */
static int say_wrong(void)
{
    fputs("posternctl: -h says how it is called\n", stderr);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    static const struct option names[] = { { "json", no_argument, NULL, 'j' },
                                           { "socket", required_argument, NULL, 's' },
                                           { "version", no_argument, NULL, 'V' },
                                           { "help", no_argument, NULL, 'h' },
                                           { NULL, 0, NULL, 0 } };
    const char *path = NULL, *command;
    bool raw = false;
    json_t *request;
    int option, fd, status;

    while ((option = getopt_long(argc, argv, "+s:Vh", names, NULL)) != -1) {
        if (option == 's')
            path = optarg;
        else if (option == 'j')
            raw = true;
        else if (option == 'V')
            return puts("posternctl " POSTERN_VERSION) < 0;
        else
            return option == 'h' ? usage(stdout, EXIT_GOOD) : say_wrong();
    }
    if (optind == argc)
        return usage(stderr, EXIT_USAGE);
    command = argv[optind];
    request = ctl_request(argc - optind, argv + optind);
    if (request == NULL)
        return EXIT_USAGE;
    fd = path != NULL ? connect_to(path) : connect_default();
    if (fd < 0 && path != NULL)
        (void)say_unreachable(path);
    status = fd >= 0 ? exchange(fd, command, request, raw) : EXIT_FAULT;
    json_decref(request);
    return status;
}
