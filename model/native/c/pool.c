/* The thread pool: workers spin for a moment between calls, then sleep on a condition until the next one.
 *
 * A decoding loop calls again within microseconds and finds them awake; an editor that waits for a keystroke
 * finds them asleep and no processor time spent. Inside a call threads meet at a counting barrier that spins and,
 * when a partner seems to be off the processor, yields.
 */
#include "pool.h"

#include "system.h"

#include <stdlib.h>

enum { SPINS_BEFORE_SLEEP = 4000, SPINS_BEFORE_YIELD = 1000 };

typedef struct {
    qt_pool *pool;
    int index;
} qt_seat;

struct qt_pool {
    int threads;
    long process; /* a fork leaves the child without the workers */
    qt_work work;
    void *context;
    sys_thread *workers;
    qt_seat *seats;
    sys_mutex mutex;
    sys_condition called;
    char apart0[64];
    volatile long call; /* grows by one per run */
    volatile long quit;
    char apart1[64];
    volatile long arrived;
    char apart2[64];
    volatile long turn;
    char apart3[64];
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
    for (long seen = 0;; seen++) {
        await_call(pool, seen);
        if (sys_load(&pool->quit))
            return SYS_THREAD_END;
        pool->work(pool->context, seat->index, pool->threads);
        qt_pool_meet(pool);
    }
}

static void announce(qt_pool *pool) {
    sys_lock(&pool->mutex);
    sys_increment(&pool->call);
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
    pool->call = pool->quit = pool->arrived = pool->turn = 0;
    pool->process = sys_process();
    for (int i = 0; i < pool->threads - 1; i++) {
        pool->seats[i].pool = pool;
        pool->seats[i].index = i + 1;
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

int qt_pool_run(qt_pool *pool, qt_work work, void *context) {
    if (pool->process != sys_process() && !hire(pool))
        return 0;
    pool->work = work;
    pool->context = context;
    if (pool->threads > 1)
        announce(pool);
    work(context, 0, pool->threads);
    qt_pool_meet(pool);
    return 1;
}

void qt_pool_meet(qt_pool *pool) {
    const long turn = sys_load(&pool->turn);
    if (sys_increment(&pool->arrived) == pool->threads) {
        sys_store(&pool->arrived, 0);
        sys_store(&pool->turn, turn + 1);
        return;
    }
    for (int i = 0; sys_load(&pool->turn) == turn; i++) {
        if (i < SPINS_BEFORE_YIELD)
            sys_pause();
        else
            sys_yield();
    }
}

void qt_share(int total, int thread, int threads, int *first, int *last) {
    *first = (int)((int64_t)total * thread / threads);
    *last = (int)((int64_t)total * (thread + 1) / threads);
}

double qt_now(void) { return sys_seconds(); }
