/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_MONITOR_H
#define POSTERN_APP_MONITOR_H

#include "app/files.h"
#include "app/generation_make.h"
#include "app/ipc.h"
#include "app/listeners.h"
#include "app/notify.h"
#include "app/memory.h"
#include "app/privileges.h"
#include "app/process.h"
#include "app/runtime_dir.h"
#include "app/table_lock.h"
#include "app/upgrade.h"
#include "base/pressure.h"
#include "net/tls.h"

/*
 * The monitor's state, shared by its files: monitor.c (start, signals, the loop, the end), monitor_children.c (who runs, what they
 * say), monitor_fork.c (how they are born), monitor_introduce.c (what they are told first, and who speaks with whom),
 * monitor_lost.c (what the dead leave), monitor_watch.c (who hangs), monitor_memory.c (how short memory is), monitor_reload.c (a
 * new generation, from files to everybody's answer), monitor_upgrade.c and monitor_follow.c (a new binary, from both sides) and
 * monitor_orders.c (what is asked of the old one while it drains).
 */
#define CHILDREN_MAX (WORKERS_MAX + 4)

struct child {
    enum process_kind kind;
    unsigned index; /* of a worker; of filter: how many workers there are */
    bool wanted; /* it shall run: of all, but of filter only with a packet filter in the configuration, of minter with inspection */
    pid_t pid;   /* 0: not running */
    int ipc;     /* -1: closed */
    bool ready;  /* it has what it needs and serves */
    bool awaited; /* it owes an answer to the reload that runs */
    uint64_t started_ms;
    uint64_t restart_ms; /* when to start it again; 0: not planned */
    uint64_t backoff_ms;
    uint32_t restarts;
    uint32_t silent; /* looks of the watchdog since it was asked; 0: it answered */
};

struct reload {
    bool wanted, wanted_by_control; /* asked for, not begun */
    bool running, for_control;
    enum reload_end end;
    uint64_t deadline_ms;
    struct blueprint
        *next; /* what minter and filter are asked about first; with its listeners and its log. NULL: nothing, or it is in force */
    bool minter_agreed; /* ... or needs not be asked */
    struct listeners listeners;
    struct table_lock lock; /* of a table that is new */
    int log;
    FILE *report; /* errors and warnings, a line each */
    char *text;   /* what was written to it */
    size_t text_len;
};

/* Keys for session tickets: the first encrypts. */
struct tickets {
    struct tls_ticket_key *keys; /* TLS_TICKET_KEYS of them, in memory that no child has */
    size_t count;
    uint64_t renew_ms; /* when to make a new one */
};

/* What this posternd has to do with another one. */
enum upgrade_role {
    UPGRADE_NONE,
    UPGRADE_STARTING, /* a new one was started, and is not ready */
    UPGRADE_LENDING,  /* it is ready, and its workers accept beside those of this one, which serves on */
    UPGRADE_LEFT,     /* the new one serves, this one drains */
    UPGRADE_WAITING,  /* this is the new one: everything is prepared, the old one serves */
    UPGRADE_TRYING,   /* this is the new one: its workers accept, the old one serves, too */
    UPGRADE_FOLLOWING /* this one serves, the old one drains */
};

struct upgrade {
    enum upgrade_role role;
    bool wanted, for_control; /* asked for, not begun; control waits for the end */
    pid_t pid;                /* of the other one; 0: none */
    pid_t guardian;           /* our child, who ends as the new one does; 0: none */
    int channel;              /* to it; -1: none */
    uint64_t deadline_ms;     /* of STARTING and LENDING */
    bool reopened;            /* since STARTING began the log was opened again: the new one may have the one before */
    bool told;                /* of TRYING: the old one knows that this one serves */
    char why[UPGRADE_TEXT];   /* what the new one said before it failed; empty: nothing */
    struct handover from;     /* of the new one: what it was given */
};

/* How much memory all processes take together. */
struct memory_watch {
    struct memory_group group;
    struct pressure pressure;
    uint64_t used, limit;   /* bytes, when it was last looked at */
    uint64_t look_ms;       /* when to look again */
    uint64_t calm_ms;       /* the level may fall from then on */
    uint64_t told, tell_ms; /* control: how many MiB, and when to tell anew */
    bool untold;            /* a worker may believe something else */
};

enum life { LIFE_STARTING, LIFE_SERVING, LIFE_DRAINING, LIFE_STOPPING, LIFE_FLUSHING };

struct monitor {
    const char *path;   /* of the configuration; NULL: the embedded default */
    const char *binary; /* where a new one is looked for; NULL: not known */
    char **argv;
    struct blueprint *current;
    struct listeners listeners;
    struct runtime_dir runtime;
    struct table_lock lock; /* of the table that is ours */
    struct identities identities;
    struct sandbox sandbox;
    struct shared shared;
    struct child children[CHILDREN_MAX]; /* the logger, control, the workers, filter, minter */
    size_t child_count;
    struct reload reload;
    struct tickets tickets;
    struct upgrade upgrade;
    struct notify notify;
    uint64_t first_number; /* of sessions: those of the posternd before are below it */
    uint64_t watch_ms;     /* when the watchdog looks again */
    uint64_t look_ms;      /* when to look at the certificates again; 0: not planned */
    struct memory_watch memory;
    enum life life;
    uint64_t life_deadline_ms; /* of the states behind SERVING */
    int signals, devnull, admin, log;
    size_t files; /* RLIMIT_NOFILE */
    uint64_t started_us;
    enum log_level log_level;
    int exit_code;
};

struct child *monitor_logger(struct monitor *m);
struct child *monitor_control(struct monitor *m);
struct child *monitor_worker(struct monitor *m, unsigned index);
struct child *monitor_filter(struct monitor *m);
struct child *monitor_minter(struct monitor *m);
/* The sessions that the descriptors of all workers allow. */
uint64_t monitor_session_limit(const struct monitor *m);
/* Stops at once, with this exit status. */
void monitor_stop(struct monitor *m, int exit_code);
/* Lets streams end until timeouts.drain. */
void monitor_drain(struct monitor *m);
/* The same, while another posternd accepts. */
void monitor_leave(struct monitor *m);
/* The access log again, for everybody. */
void monitor_reopen_log(struct monitor *m);
/* Says on which addresses it serves. */
void monitor_say_ready(const struct monitor *m);
/* To the service manager: which generation is in force. */
void monitor_notify_ready(const struct monitor *m);

/* monitor_fork.c: what a child does after the fork; `ipc` is its end. */
_Noreturn void child_run(const struct monitor *m, const struct child *c, int ipc);

/* monitor_introduce.c */
/* The first messages to a child that was just born: its configuration and its peers. false with errno set. */
MUST_CHECK bool child_introduce(struct monitor *m, struct child *c);
/* New socket pairs between it and all who live and speak with it; filter and minter speak only when they are ready. */
void child_connect(struct monitor *m, struct child *c);

/* The sockets of `from` that this worker serves, without those at addresses of `without`. false with errno set. */
MUST_CHECK bool child_send_listeners(const struct monitor *m, const struct child *c, enum ipc_type type,
                                     const struct listeners *from, const struct listeners *without);

/* monitor_upgrade.c */
/* Replaces the binary; what speaks against it is logged, and told to control if it asked. */
void upgrade_ask(struct monitor *m, bool for_control);
/* Begins an upgrade that was asked for; ends one that takes too long. */
void upgrade_step(struct monitor *m);
/* Reads what the other posternd says. */
void upgrade_heard(struct monitor *m);
/* The new posternd's guardian, our child, has ended. */
void upgrade_child_died(struct monitor *m, int status);
/* This posternd stops: so does a new one that is not ready, or, if `at_once`, the old one that drains. */
void upgrade_stop(struct monitor *m, bool at_once);
/* The log was opened again: the other posternd has to do so, too, as soon as it can be told. */
void upgrade_reopened(struct monitor *m);
/* There is no other posternd any more. */
void upgrade_over(struct upgrade *u);
/* A new posternd was started and this one has not left yet: what ends that one leaves this one serving. */
bool upgrade_tries(const struct monitor *m);
/* false: what a reload would change is being passed on. */
bool upgrade_lets_reload(const struct monitor *m);
/* Must the end wait for the other posternd? */
bool upgrade_holds(const struct monitor *m);

/* monitor_follow.c */
/* Takes up what the environment says was passed on. false: it is not what it should be. */
MUST_CHECK bool upgrade_begin(struct monitor *m);
/* Does this posternd follow another one, with a configuration that it can follow with? false: `error` says why not. */
MUST_CHECK bool upgrade_fits(const struct monitor *m, const struct conf *conf, char *error, size_t size);
/* All children of the new posternd are ready: the old one may hand over. */
void upgrade_ready(struct monitor *m);
/* To the log, and to the posternd that waits for this one to get ready. */
void upgrade_complain(struct monitor *m, const char *text);
/* Says that this one serves, once it does. */
void follow_step(struct monitor *m);
/* What the old one says, and that it is gone. */
void follow_heard(struct monitor *m, enum upgrade_word word, const char *text);
void follow_gone(struct monitor *m);
/* This is the new one, and it was not told to take everything yet. */
bool follow_waits(const struct monitor *m);

/* monitor_orders.c */
/* Control's order to end sessions of the posternd before this one: passed on. */
void orders_kill(struct monitor *m, const struct ipc_message *message);
/* This one drains, and the one that serves says so. */
void orders_heard(struct monitor *m, enum upgrade_word word, const char *text);

/* monitor_lost.c: reports the rows of a dead worker as lost and clears its shard; filter's flows live on, so nothing is reported.
 */
void children_clear_worker(struct monitor *m, unsigned index);
void children_clear_filter(struct monitor *m);

/* monitor_children.c */
const char *child_name(const struct child *c, char out[32]);
/* With a packet filter: filter alone, the others when it has committed. */
void children_start(struct monitor *m);
void child_start(struct monitor *m, struct child *c);
/* Its socket has ended, SIGCHLD is to come: until then it can neither be told nor started again. */
bool child_is_dying(const struct child *c);
/* After SIGCHLD: forgets the dead, plans their return. */
void children_reap(struct monitor *m);
/* Starts those whose time has come. */
void children_restart(struct monitor *m);
/* Reads what a child says. */
void child_read(struct monitor *m, struct child *c);
void child_tell(struct child *c, enum ipc_type type, const void *data, size_t len);
void children_tell(struct monitor *m, enum ipc_type type, const void *data, size_t len);
void children_tell_workers(struct monitor *m, enum ipc_type type, const void *data, size_t len);
void children_kill_workers(struct monitor *m);
void children_kill_all(struct monitor *m);
void monitor_tell_status(struct monitor *m);
void monitor_set_log_level(struct monitor *m, enum log_level level);
bool children_all_ready(const struct monitor *m);
bool children_workers_gone(const struct monitor *m);
bool children_all_gone(const struct monitor *m);

/* monitor_tls.c */
void tickets_open(struct monitor *m);
void tickets_close(struct monitor *m);
/* Replaces the keys when their time has come, and tells the workers. */
void tickets_step(struct monitor *m);
/* The keys to the posternd that takes over, so that clients can resume their sessions with it; its side of that. */
void tickets_pass_on(const struct monitor *m, int channel);
void tickets_take(struct monitor *m, const char *text);
/* Once a day: warns of certificates that are about to expire. */
void certificates_step(struct monitor *m);
/* What makes a generation, without listeners and without IPC_COMMIT. false with errno set. */
MUST_CHECK bool monitor_send_generation(const struct monitor *m, const struct blueprint *b, const struct child *c);

/* monitor_watch.c: once a second; a child whose loop does not turn any more is killed, and so replaced. */
void watch_step(struct monitor *m);
/* Asks one now. Whoever has answered is not `silent`; whoever dies and comes back is not either. */
void watch_ask(struct child *c);

/* monitor_memory.c */
void memory_open(struct monitor *m);
/* Looks how much memory is taken, when it is time, and tells workers and control. */
void memory_step(struct monitor *m);

/* monitor_minter.c */
/* Does the configuration inspect? */
bool minter_is_wanted(const struct conf *conf);
/* Its first messages: the key that it is asked about, or the one that is in force. false with errno set. */
MUST_CHECK bool minter_introduce(struct monitor *m, struct child *c);
/* Is the key of the next generation good? One that does not run is started with the question. false: nobody can be asked. */
MUST_CHECK bool minter_ask(struct monitor *m);
/* What is in force now is what it shall use, or it shall end. */
void minter_settle(struct monitor *m);
/* Its sentence, with the place in the configuration that it is about. */
void minter_refused(const struct monitor *m, const char *why, char *out, size_t size);

/* monitor_reload.c */
/* Begins a reload that was asked for, ends one that everybody has answered or that takes too long. */
void reload_step(struct monitor *m);
/* A child that is awaited has answered (error NULL: good), or died. */
void reload_answer(struct monitor *m, struct child *c, const char *error);
void reload_child_died(struct monitor *m, struct child *c, bool clean);
/* Refuses a reload that filter has not answered yet: posternd stops. */
void reload_cancel(struct monitor *m);
/* Only root may program the packet filter; false: `error` says so. */
MUST_CHECK bool monitor_may_filter(const struct conf *conf, char *error, size_t size);
/* Logs a text line by line, each behind `before`: errors if something failed, or else warnings. */
void monitor_log_lines(const char *before, const char *text, bool failed);
/* The access log again, under its name. */
bool monitor_open_log(struct monitor *m, const struct conf *conf, char *error);
void monitor_send_log(struct monitor *m);

/* Runs posternd with this configuration (NULL: the embedded default) until it is stopped; returns the exit status. `argv`: how
 * it was started, and how a new binary is. */
int monitor_main(const char *path, char **argv);

#endif
