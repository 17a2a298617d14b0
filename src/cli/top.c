/* top.c -- `gcmalloc top`: a running process's heap, leaks, cycles and threads, live.
 *
 * It costs the process next to nothing: the page is renewed by the collector's thread while
 * somebody says, once a refresh, that he watches.
 *
 *   .inv.quiet     No signal after attaching but for what a key asks for.
 *   .inv.restored  The terminal is as it was before, however this ends: by a key, by the end of the
 *                  process, or by a signal. Signals are taken from a descriptor, so there is no
 *                  moment at which one could come in between. */

#include "cli/command.h"
#include "cli/fault.h"
#include "cli/instant.h"
#include "cli/paint.h"
#include "cli/processes.h"
#include "cli/screen.h"
#include "cli/snapshot.h"
#include "cli/units.h"
#include "cli/values.h"

#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    BATCH_COLUMNS = 100,
    BATCH_CYCLES = 10,
    HEADER_LEAST = 20,  /* rows of a terminal that also has room for the graph */
};

/* How long the library's thread may be away: it comes back after setuid, or exec. */
#define AWAY (5 * NS_PER_SECOND)
#define WATCH_AHEAD (2 * NS_PER_SECOND)

enum panel { PANEL_SITES, PANEL_CYCLES, PANEL_THREADS, PANEL_STACK, PANEL_HELP };

struct top {
    struct process process;
    struct view view;
    struct names *names;
    uint64_t every, seen_ns;     /* seen_ns: when the page could last be read */
    unsigned long rounds;        /* 0: no end */
    struct sheet header, rows;
    struct screen_body body;
    enum panel panel;
    uint32_t stack;              /* that PANEL_STACK shows */
    uint32_t collects, snapshots; /* answers at the time of the request */
    bool collecting, snapping, over;
    int signals;                 /* a signalfd */
    char message[SNAPSHOT_NAME + 64];
};

/* ---- the figures ----------------------------------------------------------------------------- */

static enum status gone(const struct top *top)
{
    if (process_ended(&top->process))
        return fault(STATUS_NO_PROCESS, "process %d has ended", top->process.pid);
    return instant_now() - top->seen_ns < AWAY
               ? STATUS_OK
               : fault(STATUS_NO_LIBRARY, "the library's thread in process %d has gone",
                       top->process.pid);
}

static void take(struct top *top, const struct stats_page *page)
{
    if (top->view.page.started_unix_ns != page->started_unix_ns) {
        names_close(top->names);
        top->names = names_open(top->process.pid);
    }
    top->seen_ns = instant_now();
    view_take(&top->view, page);
}

static enum status look(struct top *top)
{
    static struct stats_page page;
    enum page_state state = process_ended(&top->process) ? PAGE_MISSING
                                                         : process_renew(&top->process);
    if (state != PAGE_GOOD)
        return gone(top);
    page_watch(&top->process.page, top->every + WATCH_AHEAD);
    enum status status = process_look(&top->process, &page);
    if (status == STATUS_OK)
        take(top, &page);
    return status;
}

static enum status first_look(struct top *top)
{
    static struct stats_page page;
    enum status status = process_look_anew(&top->process, &page, top->every + WATCH_AHEAD);
    if (status == STATUS_OK)
        take(top, &page);
    return status;
}

/* ---- as text --------------------------------------------------------------------------------- */

static enum status print_all(struct top *top)
{
    struct sheet *sheet = &top->header;
    sheet_clear(sheet);
    paint_header(sheet, &top->view, BATCH_COLUMNS);
    paint_graph(sheet, &top->view, BATCH_COLUMNS);
    sheet_add(sheet, LOOK_PLAIN, "%s", "");
    paint_sites(sheet, &top->view, top->names);
    sheet_add(sheet, LOOK_PLAIN, "%s", "");
    paint_cycles(sheet, &top->view, BATCH_CYCLES);
    sheet_add(sheet, LOOK_PLAIN, "%s", "");
    paint_threads(sheet, &top->view);
    sheet_add(sheet, LOOK_PLAIN, "%s", "");
    sheet_print(sheet, stdout);
    return fflush(stdout) == 0 ? STATUS_OK
                               : fault(STATUS_OUTPUT, "standard output cannot be written");
}

static enum status batch(struct top *top)
{
    struct pollfd end = {.fd = top->process.pidfd, .events = POLLIN};
    enum status status = first_look(top);
    for (unsigned long round = 1; status == STATUS_OK; round++) {
        status = print_all(top);
        if (status != STATUS_OK || round == top->rounds)
            break;
        poll(&end, 1, (int)(top->every / NS_PER_MS));
        status = look(top);
    }
    return status;
}

/* ---- on the screen --------------------------------------------------------------------------- */

static const struct view_site *shown_site(const struct top *top)
{
    for (uint32_t i = 0; i < top->view.page.sites_count; i++)
        if (top->view.sites[i].site.stack == top->stack)
            return &top->view.sites[i];
    return NULL;
}

static void paint_help(struct sheet *sheet)
{
    static const char *const lines[] = {
        "Tab          leaking sites, cycles, threads",
        "Up, Down     choose a line; also Page Up, Page Down, Home, End",
        "Enter        the whole stack of a site; again, or Escape: back",
        "b, r, n      sort sites by bytes, by rate, by number of blocks",
        "c            ask for a cycle now",
        "s            write a snapshot to gcmalloc.PID.N.profile",
        "q            end"};
    sheet_add(sheet, LOOK_COLUMNS, "KEYS");
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        sheet_add(sheet, LOOK_PLAIN, "  %s", lines[i]);
}

static void paint_panel(struct top *top)
{
    const struct view_site *site = shown_site(top);
    switch (top->panel) {
    case PANEL_SITES: paint_sites(&top->rows, &top->view, top->names); break;
    case PANEL_CYCLES: paint_cycles(&top->rows, &top->view, STATS_CYCLES); break;
    case PANEL_THREADS: paint_threads(&top->rows, &top->view); break;
    case PANEL_HELP: paint_help(&top->rows); break;
    case PANEL_STACK:
        if (site != NULL)
            paint_stack(&top->rows, site, top->names);
        else
            sheet_add(&top->rows, LOOK_COLUMNS, "this site is not among the largest any more");
        break;
    }
}

static void draw(struct top *top)
{
    static const char keys[] = "q end  c collect  s snapshot  b/r/n sort  Tab panels  ? help";
    sheet_clear(&top->header);
    sheet_clear(&top->rows);
    paint_header(&top->header, &top->view, screen_columns());
    if (screen_rows() >= HEADER_LEAST)
        paint_graph(&top->header, &top->view, screen_columns());
    paint_panel(top);
    top->body.sheet = &top->rows;
    screen_held(top->message, sizeof(top->message));
    screen_draw(&top->header, &top->body, top->message[0] != '\0' ? top->message : keys);
}

static void show(struct top *top, enum panel panel)
{
    top->panel = panel;
    top->body.top = top->body.selected = 0;
}

static void enter(struct top *top)
{
    size_t row = top->body.selected;
    if (top->panel == PANEL_SITES && row < top->view.page.sites_count) {
        top->stack = top->view.sites[row].site.stack;
        show(top, PANEL_STACK);
    } else if (top->panel == PANEL_STACK || top->panel == PANEL_HELP) {
        show(top, PANEL_SITES);
    }
}

static void ask(struct top *top, enum stats_command command)
{
    bool snapshot = command == STATS_SNAPSHOT;
    if (process_ask(&top->process, command) != STATUS_OK)
        return;
    *(snapshot ? &top->snapping : &top->collecting) = true;
    top->snapshots = top->view.page.snapshots_done;
    top->collects = top->view.page.collects_done;
    snprintf(top->message, sizeof(top->message), snapshot ? "a snapshot was asked for"
                                                          : "a cycle was asked for");
}

static void take_answers(struct top *top)
{
    const struct stats_page *page = &top->view.page;
    if (top->collecting && page->collects_done != top->collects) {
        top->collecting = false;
        snprintf(top->message, sizeof(top->message), "the cycle has ended: %s live",
                 units_bytes(page->totals.heap_live).text);
    }
    if (top->snapping && page->snapshots_done != top->snapshots) {
        char name[SNAPSHOT_NAME];
        top->snapping = false;
        if (snapshot_fetch(&top->process, page, NULL, false, name) == STATUS_OK)
            snprintf(top->message, sizeof(top->message), "written: %s", name);
    }
}

static void sort(struct top *top, enum view_order order)
{
    view_sort(&top->view, order);
    show(top, PANEL_SITES);
}

/* Beyond an end of the list is the end: `screen_draw` sees to the lower one. */
static void move(struct screen_body *body, long lines)
{
    if (lines < 0 && body->selected < (size_t)-lines)
        body->selected = 0;
    else
        body->selected += (size_t)lines;
}

static bool move_key(struct screen_body *body, int key)
{
    long rows = body->sheet != NULL ? (long)body->sheet->count : 0;
    switch (key) {
    case SCREEN_UP: move(body, -1); return true;
    case SCREEN_DOWN: move(body, 1); return true;
    case SCREEN_PAGE_UP: move(body, -10); return true;
    case SCREEN_PAGE_DOWN: move(body, 10); return true;
    case SCREEN_HOME: move(body, -rows); return true;
    case SCREEN_END: move(body, rows); return true;
    default: return false;
    }
}

static void press(struct top *top, int key)
{
    top->message[0] = '\0';
    if (move_key(&top->body, key))
        return;
    switch (key) {
    case 'q': top->over = true; break;
    case 'c': ask(top, STATS_COLLECT); break;
    case 's': ask(top, STATS_SNAPSHOT); break;
    case 'b': sort(top, VIEW_BY_BYTES); break;
    case 'r': sort(top, VIEW_BY_RATE); break;
    case 'n': sort(top, VIEW_BY_BLOCKS); break;
    case '?': show(top, PANEL_HELP); break;
    case SCREEN_TAB:
        show(top, top->panel < PANEL_THREADS ? top->panel + 1 : PANEL_SITES);
        break;
    case SCREEN_ENTER: enter(top); break;
    case SCREEN_ESCAPE: show(top, PANEL_SITES); break;
    default: break;
    }
}

/* The signal that ended the wait for good; 0: none. */
static int wait_for_key(const struct top *top, uint64_t until)
{
    struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                           {.fd = top->signals, .events = POLLIN},
                           {.fd = top->process.pidfd, .events = POLLIN}};
    uint64_t now = instant_now();
    poll(fds, 3, now >= until ? 0 : (int)((until - now) / NS_PER_MS) + 1);
    struct signalfd_siginfo info;
    if ((fds[1].revents & POLLIN) != 0 && read(top->signals, &info, sizeof(info)) == sizeof(info))
        return (int)info.ssi_signo;
    return (fds[0].revents & (POLLHUP | POLLERR)) != 0 ? SIGHUP : 0;
}

static int handle_keys(struct top *top, uint64_t until)
{
    int signal = wait_for_key(top, until);
    for (int key; signal == 0 && !top->over && (key = screen_key()) != SCREEN_NOTHING;)
        press(top, key);
    return signal;
}

static enum status watch(struct top *top, int *signal)
{
    enum status status = first_look(top);
    uint64_t next = instant_now() + top->every;
    unsigned long round = 1;
    while (status == STATUS_OK && !top->over && *signal == 0) {
        draw(top);
        *signal = handle_keys(top, next);
        if (process_ended(&top->process))
            return gone(top);
        if (instant_now() < next)
            continue;
        if (round++ == top->rounds)
            break;
        next = instant_now() + top->every;
        status = look(top);
        take_answers(top);
    }
    return status;
}

/* Blocked for good: they are read from the descriptor. */
static int take_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void die_of(int number)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    signal(number, SIG_DFL);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static enum status on_screen(struct top *top)
{
    int signal = 0;
    top->signals = take_signals();
    enum status status = screen_open();
    if (status == STATUS_OK)
        status = watch(top, &signal);
    screen_close();
    close(top->signals);
    if (signal != 0)
        die_of(signal);
    return status;
}

/* ---- which process --------------------------------------------------------------------------- */

static void paint_processes(struct sheet *sheet, const struct processes *all)
{
    sheet_add(sheet, LOOK_COLUMNS, "%8s %10s  %s", "PROCESS", "RESIDENT", "COMMAND");
    for (size_t i = 0; i < all->count; i++)
        sheet_add(sheet, LOOK_PLAIN, "%8d %10s  %s", all->list[i].pid,
                  units_bytes(all->list[i].resident).text, all->list[i].command);
}

/* The index of the one that was chosen, or -1. */
static int choose(const struct sheet *rows, int *signal)
{
    const struct sheet header = {0};
    struct screen_body body = {.sheet = rows};
    struct top waiting = {.signals = take_signals(), .process = {.pidfd = -1}};
    int chosen = -1;
    if (screen_open() != STATUS_OK)
        return -1;
    for (bool open = true; open && *signal == 0;) {
        screen_draw(&header, &body, "Enter: watch this process   q: end");
        *signal = wait_for_key(&waiting, instant_now() + NS_PER_SECOND);
        for (int key; open && (key = screen_key()) != SCREEN_NOTHING;) {
            move_key(&body, key);
            chosen = key == SCREEN_ENTER ? (int)body.selected : -1;
            open = key != SCREEN_ENTER && key != 'q';
        }
    }
    screen_close();
    close(waiting.signals);
    return chosen;
}

/* Without a terminal the list is the result. */
static enum status choose_process(bool terminal, char *pid, size_t size)
{
    int signal = 0, chosen = -1;
    struct processes all = processes_find();
    struct sheet rows = {0};
    paint_processes(&rows, &all);
    pid[0] = '\0';
    if (!terminal)
        sheet_print(&rows, stdout);
    else if (all.count > 0)
        chosen = choose(&rows, &signal);
    if (chosen >= 0 && (size_t)chosen < all.count)
        snprintf(pid, size, "%d", all.list[chosen].pid);
    bool none = terminal && all.count == 0;
    sheet_free(&rows);
    free(all.list);
    if (signal != 0)
        die_of(signal);
    return none ? fault(STATUS_NO_PROCESS, "no process of this user has the library") : STATUS_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

static enum status run(const char *pid, bool as_text, struct top *top)
{
    enum status status = process_find(&top->process, pid);
    if (status != STATUS_OK)
        return status;
    status = process_attach(&top->process);
    view_open(&top->view, &top->process);
    if (status == STATUS_OK)
        status = as_text ? batch(top) : on_screen(top);
    names_close(top->names);
    view_close(&top->view);
    process_release(&top->process);
    sheet_free(&top->header);
    sheet_free(&top->rows);
    return status;
}

int top_main(int argc, char **argv)
{
    static const struct option options[] = {
        {"batch", no_argument, NULL, 'b'}, {"every", required_argument, NULL, 'e'}, {0}};
    static struct top top = {.every = NS_PER_SECOND};
    bool as_text = false;
    char chosen[16];
    for (int c; (c = getopt_long(argc, argv, "bn:", options, NULL)) != -1;) {
        enum status status = STATUS_OK;
        if (c == 'b')
            as_text = true;
        else if (c == 'n')
            status = values_count("-n", optarg, &top.rounds);
        else if (c == 'e')
            status = values_seconds("--every", optarg, &top.every);
        else
            status = STATUS_USAGE;
        if (status != STATUS_OK)
            return status;
    }
    if (optind < argc) {
        const char *pid = values_only(argv[0], argc, argv);
        return pid != NULL ? run(pid, as_text, &top) : STATUS_USAGE;
    }
    bool terminal = !as_text && isatty(STDOUT_FILENO) && isatty(STDIN_FILENO);
    enum status status = choose_process(terminal, chosen, sizeof(chosen));
    return status == STATUS_OK && chosen[0] != '\0' ? run(chosen, as_text, &top) : status;
}
