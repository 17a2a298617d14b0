/* process.h -- a running process with the library: found, checked, asked, and watched.
 *
 * Works from the same name space of process ids and from one above it (outside of the process's
 * container): all numbers here are as our own /proc has them. */
#ifndef GC_CLI_PROCESS_H
#define GC_CLI_PROCESS_H

#include "cli/command.h"
#include "cli/page.h"

#include <stdbool.h>
#include <stdint.h>

struct process {
    int pid;
    int inside;      /* the process's id as it knows itself; another one in a container */
    int pidfd;       /* readable when it has ended; keeps `pid` from meaning another process */
    int tid;         /* the library's thread that has the page */
    int signal;      /* the reserved one */
    uint64_t answer_ns; /* how long an answer may take */
    char name[64];   /* of the program */
    struct page page;
};

enum { PROCESS_ANSWER_SECONDS = 10 };

/* Parses the process id and finds out whether the process may be asked, without touching it. On
 * failure one line was printed, and nothing needs to be released. */
enum status process_find(struct process *p, const char *text);
/* The same, silently, for a list of processes: does it have the library, and is it ours? */
bool process_has_library(int pid);
/* Opens the page; a process that has none yet is asked to show one (one signal). */
enum status process_attach(struct process *p);
/* Opens the page anew if the thread that showed it has gone. No signal. */
enum page_state process_renew(struct process *p);
void process_release(struct process *p);

bool process_ended(const struct process *p);
enum status process_ask(struct process *p, enum stats_command command);
/* Asks for a command, and waits until the page's counter of answers has moved; `page` is what it
 * shows then. */
enum status process_request(struct process *p, enum stats_command command,
                            struct stats_page *page);
/* A copy of the page, or the line that says why there is none. */
enum status process_look(struct process *p, struct stats_page *page);
/* The same after a renewal of the page, if one comes in time: without a reader the process leaves
 * it as it is. `watch_ns`: how long it is to be renewed from now on. */
enum status process_look_anew(struct process *p, struct stats_page *page, uint64_t watch_ns);

#endif
