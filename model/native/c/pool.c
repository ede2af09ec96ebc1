/* The thread pool: workers spin for a moment between calls, then sleep on a condition until the next one.
 *
 * A decoding loop calls again within microseconds and finds them awake; an editor that waits for a keystroke
 * finds them asleep and no processor time spent. Inside a call the threads take items of a phase as they come,
 * larger runs first, and nobody waits for a thread that holds none: on a busy machine a worker that is off the
 * processor costs nothing but its help. Who computes an item does not change its result.
 *
 * `next` holds the number of the open phase in its upper half and the first item not taken in its lower half.
 * A thread that comes late finds a later phase open and walks on.
 */
#include "pool.h"

#include "system.h"

#include <stdlib.h>

enum { SPINS_BEFORE_SLEEP = 4000, SPINS_BEFORE_YIELD = 1000 };

struct qt_pool {
    int threads;
    long process; /* a fork leaves the child without the workers */
    qt_work work;
    void *context;
    sys_thread *workers;
    qt_seat *seats;
    sys_mutex mutex;
    sys_condition called;
    uint32_t base; /* the phase a run begins with */
    char apart0[64];
    volatile long call; /* grows by one per run */
    volatile long quit;
    char apart1[64];
    volatile long inside; /* workers in the run */
    volatile long closed; /* no worker may enter */
    char apart2[64];
    volatile int64_t next;
    char apart3[64];
    volatile long finished; /* items of the open phase */
    char apart4[64];
};

static void await_call(qt_pool *pool, long seen) {
    for (int i = 0; i < SPINS_BEFORE_SLEEP; i++) {
        if (sys_load(&pool->call) != seen)
            return;
        sys_pause();
    }
    sys_lock(&pool->mutex);
    while (sys_load(&pool->call) == seen)
        sys_wait(&pool->called, &pool->mutex);
    sys_unlock(&pool->mutex);
}

SYS_THREAD_FN serve(void *argument) {
    qt_seat *seat = argument;
    qt_pool *pool = seat->pool;
    for (long seen = 0;; seen = sys_load(&pool->call)) {
        await_call(pool, seen);
        if (sys_load(&pool->quit))
            return SYS_THREAD_END;
        sys_add(&pool->inside, 1);
        if (!sys_load(&pool->closed)) {
            seat->phase = pool->base;
            pool->work(pool->context, seat);
        }
        sys_add(&pool->inside, -1);
    }
}

static void announce(qt_pool *pool) {
    sys_lock(&pool->mutex);
    sys_add(&pool->call, 1);
    sys_wake_all(&pool->called);
    sys_unlock(&pool->mutex);
}

static void dismiss(qt_pool *pool, int started) {
    sys_store(&pool->quit, 1);
    announce(pool);
    for (int i = 0; i < started; i++)
        sys_join(pool->workers[i]);
}

static int hire(qt_pool *pool) {
    sys_mutex_init(&pool->mutex);
    sys_condition_init(&pool->called);
    pool->call = pool->quit = pool->inside = pool->finished = 0;
    pool->closed = 1;
    pool->next = 0;
    pool->process = sys_process();
    for (int i = 0; i < pool->threads - 1; i++) {
        pool->seats[i].pool = pool;
        pool->seats[i].thread = i + 1;
        pool->seats[i].threads = pool->threads;
        if (!sys_start(&pool->workers[i], serve, &pool->seats[i])) {
            dismiss(pool, i);
            pool->process = -1;
            return 0;
        }
    }
    return 1;
}

qt_pool *qt_pool_new(int threads) {
    qt_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->threads = threads;
    pool->workers = calloc((size_t)threads, sizeof *pool->workers);
    pool->seats = calloc((size_t)threads, sizeof *pool->seats);
    if (pool->workers && pool->seats && hire(pool))
        return pool;
    free(pool->workers);
    free(pool->seats);
    free(pool);
    return NULL;
}

void qt_pool_free(qt_pool *pool) {
    if (!pool)
        return;
    if (pool->process == sys_process()) {
        dismiss(pool, pool->threads - 1);
        sys_mutex_free(&pool->mutex);
        sys_condition_free(&pool->called);
    }
    free(pool->workers);
    free(pool->seats);
    free(pool);
}

/* Spins, and gives way when that takes long: somebody else may need this processor to go on. */
static void wait_a_little(int *spins) {
    if ((*spins)++ < SPINS_BEFORE_YIELD)
        sys_pause();
    else
        sys_yield();
}

int qt_pool_run(qt_pool *pool, qt_work work, void *context) {
    if (pool->process != sys_process() && !hire(pool))
        return 0;
    qt_seat mine = {pool, 0, pool->threads, (uint32_t)((uint64_t)pool->next >> 32)};
    pool->work = work;
    pool->context = context;
    pool->base = mine.phase;
    sys_store(&pool->closed, 0);
    if (pool->threads > 1)
        announce(pool);
    work(context, &mine);
    sys_store(&pool->closed, 1);
    for (int spins = 0; sys_load(&pool->inside);)
        wait_a_little(&spins);
    return 1;
}

static int64_t opening(uint32_t phase) { return (int64_t)((uint64_t)phase << 32); }

int qt_take(qt_seat *seat, int total, int *first, int *last) {
    qt_pool *pool = seat->pool;
    for (;;) {
        const int64_t now = sys_load_wide(&pool->next);
        const int taken = (int)(uint32_t)now;
        if ((uint32_t)((uint64_t)now >> 32) != seat->phase || taken > total)
            return 0;
        if (total == 0) { /* nothing to do: whoever comes first opens the next phase */
            sys_swap_wide(&pool->next, now, opening(seat->phase + 1));
            return 0;
        }
        if (taken == total)
            return 0;
        const int run = (total - taken) / (2 * seat->threads);
        *first = taken;
        *last = taken + (run > 0 ? run : 1);
        if (sys_swap_wide(&pool->next, now, opening(seat->phase) + *last))
            return 1;
    }
}

void qt_finish(qt_seat *seat, int total, int items) {
    qt_pool *pool = seat->pool;
    if (sys_add(&pool->finished, items) != total)
        return;
    sys_store(&pool->finished, 0);
    sys_store_wide(&pool->next, opening(seat->phase + 1));
}

void qt_meet(qt_seat *seat) {
    for (int spins = 0; (uint32_t)((uint64_t)sys_load_wide(&seat->pool->next) >> 32) == seat->phase;)
        wait_a_little(&spins);
    seat->phase++;
}

void qt_share(int total, int part, int parts, int *first, int *last) {
    *first = (int)((int64_t)total * part / parts);
    *last = (int)((int64_t)total * (part + 1) / parts);
}

double qt_now(void) { return sys_seconds(); }
