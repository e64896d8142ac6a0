/* SPDX-License-Identifier: ISC */
/*
 * posternd: reads its options and becomes the monitor (app/monitor.c). Everything else is in libraries, so that tests can link it.
 */
#include "app/check.h"
#include "app/monitor.h"
#include "app/teardown.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_PATH "/etc/postern/postern.conf"

static const char synopsis[] = "usage: posternd [-c FILE] [-n | -T | --teardown]\n"
                               "       posternd -V | -h\n";
static const char usage[] = "\n"
                            "An application-layer firewall for HTTP and WebSocket. Runs in the foreground.\n"
                            "\n"
                            "  -c FILE      the configuration; without it " DEFAULT_PATH " if there is one,\n"
                            "               or else the embedded default: an explicit proxy on 127.0.0.1:3128\n"
                            "  -n           check the configuration and the files it names, print every error\n"
                            "               and warning as FILE:LINE: KEY: MESSAGE, and exit: 0 good, 1 not\n"
                            "  -T           print the effective configuration, every key with its value, and exit\n"
                            "  --teardown   remove what posternd left in the packet filter and in policy routing, and exit\n"
                            "  -V           print the version and exit\n"
                            "  -h           print this and exit\n"
                            "\n"
                            "Signals: HUP reads the configuration again, USR1 opens the log again, USR2 replaces the\n"
                            "program by the one that lies in its place now, TERM stops and lets streams end until\n"
                            "timeouts.drain, a second TERM or INT stops at once.\n"
                            "Exit status: 0 a clean stop, 1 an error in the configuration or at the start.\n"
                            "posternctl(8) talks to a running posternd.\n";

enum what { RUN, CHECK, PRINT, TEARDOWN };

/* A log line must never go into a socket that happened to become descriptor 2. */
static void open_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

/* -1: go on; otherwise the exit status. */
static int read_options(int argc, char **argv, const char **path, enum what *what)
{
    static const struct option names[] = { { "teardown", no_argument, NULL, 't' },
                                           { "version", no_argument, NULL, 'V' },
                                           { "help", no_argument, NULL, 'h' },
                                           { NULL, 0, NULL, 0 } };
    int option;

    while ((option = getopt_long(argc, argv, "c:nTVh", names, NULL)) != -1) {
        if (option == 'c')
            *path = optarg;
        else if (option == 'n')
            *what = CHECK;
        else if (option == 'T')
            *what = PRINT;
        else if (option == 't')
            *what = TEARDOWN;
        else if (option == 'V')
            return puts("posternd " POSTERN_VERSION) < 0;
        else if (option == 'h')
            return printf("%s%s", synopsis, usage) < 0;
        else
            return fputs(synopsis, stderr) >= 0; /* what is wrong was said already */
    }
    if (optind == argc)
        return -1;
    fprintf(stderr, "posternd: %s: what is this?\n%s", argv[optind], synopsis);
    return 1;
}

int main(int argc, char **argv)
{
    const char *path = NULL;
    enum what what = RUN;
    int status;

    open_standard_descriptors();
    status = read_options(argc, argv, &path, &what);
    if (status >= 0)
        return status;
    if (path == NULL && (access(DEFAULT_PATH, F_OK) == 0 || errno != ENOENT))
        path = DEFAULT_PATH;
    switch (what) {
    case CHECK:
        return check_configuration(path);
    case PRINT:
        return check_print(path);
    case TEARDOWN:
        return teardown_main(path);
    case RUN:
        break;
    }
    return monitor_main(path, argv);
}
