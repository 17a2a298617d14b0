/* api_control.c -- gcmalloc.h, section 2: what a program may have the collector do.
 *
 * Checks arguments, and translates errors; the work is done below. What may wait for a cycle is
 * entered through a stub (mutator/entry.h), so that no frame of ours is taken for the program's.
 *
 * Options at run time: each is read where it is used, and by whom:
 *
 *   percent, limit, confirm    the collector, under the CYCLE lock, to which they are handed
 *   gctrace                    who has run a cycle, after it
 *   report, profile            who writes one: by a copy of the text (options_text)
 *   suppressions               the same; the file is read again when its name is another one
 *   max_leaks, exitcode        the same, and who ends the process
 *
 * The others are read when the library, a thread or the collector starts. */
#define GCMALLOC_IMPLEMENTATION
#include "gcmalloc.h"

#include "api.h"
#include "final_thread.h"
#include "report.h"
#include "runtime.h"

#include "base/atomic.h"
#include "base/base.h"
#include "cycle/collector.h"
#include "gc/world.h"
#include "heap/heap.h"
#include "heap/meta.h"
#include "mutator/entry.h"
#include "sys/lock.h"
#include "sys/options.h"
#include "sys/signal.h"

#include <errno.h>
#include <string.h>

int collect_behind(void);
int give_back_behind(void);
int report_behind(const char *path, bool profile);
int change_behind(void);
int collect_stub(void);
int give_back_stub(void);
int report_stub(const char *path, bool profile);
int change_stub(void);
ENTRY_STUB(collect_stub, collect_behind);
ENTRY_STUB(give_back_stub, give_back_behind);
ENTRY_STUB(report_stub, report_behind);
ENTRY_STUB(change_stub, change_behind);

static bool is_there(void)
{
    runtime_start();
    return runtime_has_collector();
}

int gcmalloc_active(void)
{
    return runtime_collects();
}

const char *gcmalloc_reason(void)
{
    if (runtime_started() && options.mode == MODE_OFF)
        return "mode is off";
    return runtime_trust().interlock;
}

/* errno as it was: a cycle makes system calls. */
int collect_behind(void)
{
    int saved = errno;
    bool done = collector_run_to_end();
    errno = saved;
    return done ? 0 : api_fail(EAGAIN);
}

/* What is due then is called by a thread, which in fork's child may not be there. */
int gcmalloc_collect(void)
{
    if (!is_there())
        return api_fail(ENOSYS);
    if (final_thread_is_here())
        return api_fail(EDEADLK);
    int result = collect_stub();
    final_thread_poll();
    return result;
}

int gcmalloc_collect_soon(void)
{
    if (!runtime_has_collector())
        return api_fail(ENOSYS);
    if (!runtime_collects() || collector_is_inhibited())
        return api_fail(EAGAIN);
    int saved = errno;
    uint64_t blocked = signal_block(~world_signals()); /* in a handler, none interrupts this */
    collector_ask(COLLECTOR_ASK_SOON);
    signal_unblock(blocked);
    errno = saved;
    return 0;
}

int give_back_behind(void)
{
    if (lock_any_held())
        return api_fail(EAGAIN);
    int error = !runtime_has_collector() ? ENOSYS : collector_run_to_end() ? 0 : EAGAIN;
    if (relaxed_load(&hot.granules) != 0)
        heap_trim();
    return error == 0 ? 0 : api_fail(error);
}

int gcmalloc_give_back(void)
{
    runtime_start();
    int result = give_back_stub();
    final_thread_poll();
    return result;
}

int change_behind(void)
{
    return runtime_options_changed() ? 0 : api_fail(EAGAIN);
}

int64_t gcmalloc_set_percent(int64_t percent)
{
    int64_t most = 1000000, value = percent < 0 ? -1 : percent > most ? most : percent;
    runtime_start();
    if (lock_any_held())
        return once(options.percent);
    int64_t old = __atomic_exchange_n(&options.percent, value, __ATOMIC_RELAXED);
    if (runtime_has_collector())
        change_stub();
    return old;
}

uint64_t gcmalloc_set_limit(uint64_t bytes)
{
    runtime_start();
    if (lock_any_held())
        return once(options.limit);
    uint64_t value = size_min(bytes, TIB);
    uint64_t old = __atomic_exchange_n(&options.limit, value, __ATOMIC_RELAXED);
    if (runtime_has_collector())
        change_stub();
    return old;
}

void gcmalloc_disable(void)
{
    collector_inhibit();
}

void gcmalloc_enable(void)
{
    collector_enable();
}

long gcmalloc_get_option(const char *name, char *buffer, size_t room)
{
    if (name == NULL || (buffer == NULL && room != 0))
        return api_fail(EINVAL);
    if (lock_any_held())
        return api_fail(EAGAIN);
    runtime_start();
    long length = options_get(name, buffer, room);
    return length >= 0 ? length : api_fail(EINVAL);
}

enum change { CHANGES_NEVER, CHANGES_COLLECTOR, CHANGES_FREELY, CHANGES_IF_RECORDED };

static enum change how_it_changes(const char *name)
{
    static const struct {
        char name[16];
        enum change how;
    } known[] = {
        {"percent", CHANGES_COLLECTOR},    {"limit", CHANGES_COLLECTOR},
        {"confirm", CHANGES_COLLECTOR},    {"gctrace", CHANGES_FREELY},
        {"max_leaks", CHANGES_FREELY},     {"suppressions", CHANGES_FREELY},
        {"report", CHANGES_IF_RECORDED},   {"profile", CHANGES_IF_RECORDED},
        {"exitcode", CHANGES_IF_RECORDED},
    };
    for (size_t i = 0; i < GC_COUNT(known); i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].how;
    return CHANGES_NEVER;
}

int gcmalloc_set_option(const char *name, const char *value)
{
    if (name == NULL || value == NULL)
        return api_fail(EINVAL);
    if (!is_there())
        return api_fail(ENOSYS);
    if (lock_any_held())
        return api_fail(EAGAIN);
    enum change how = how_it_changes(name);
    if (how == CHANGES_NEVER)
        return api_fail(options_get(name, NULL, 0) < 0 ? EINVAL : EPERM);
    if (how == CHANGES_IF_RECORDED && !report_records())
        return api_fail(EPERM);
    if (options_set(name, value) != OPTION_SET)
        return api_fail(EINVAL);
    return how == CHANGES_COLLECTOR ? change_stub() : 0;
}

int report_behind(const char *path, bool profile)
{
    int saved = errno, error = report_to(path, profile);
    errno = saved;
    return error == 0 ? 0 : api_fail(error);
}

static int tell(const char *path, bool profile)
{
    if (path == NULL)
        return api_fail(EINVAL);
    if (!is_there())
        return api_fail(ENOSYS);
    if (lock_any_held() || !runtime_collects())
        return api_fail(EAGAIN);
    return report_stub(path, profile);
}

int gcmalloc_report(const char *path)
{
    return tell(path, false);
}

int gcmalloc_profile(const char *path)
{
    return tell(path, true);
}
