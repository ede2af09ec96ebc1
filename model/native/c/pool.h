/* A few threads that walk through the same phases together, sharing out each phase's items. See pool.c. */
#ifndef QT_POOL_H
#define QT_POOL_H

#include <stdint.h>

typedef struct qt_pool qt_pool;

/* One thread's place in a run. */
typedef struct {
    qt_pool *pool;
    int thread, threads;
    uint32_t phase;
} qt_seat;

typedef void (*qt_work)(void *context, qt_seat *seat);

/* `threads` counts the caller. NULL if memory or threads are refused. */
qt_pool *qt_pool_new(int threads);
void qt_pool_free(qt_pool *pool);

/* Runs work on the caller and on whichever other threads come in time; returns when all phases are done.
 * One caller at a time. In a child after fork() the missing threads are started again; 0 if that fails. */
int qt_pool_run(qt_pool *pool, qt_work work, void *context);

/* The next items [*first, *last) of this phase's `total`, or 0 when none is left to take. Taken items must be
 * finished with qt_finish. Every thread names the same total. */
int qt_take(qt_seat *seat, int total, int *first, int *last);
void qt_finish(qt_seat *seat, int total, int items);

/* Ends the phase for this thread: returns when all items are finished. What was written before is seen after. */
void qt_meet(qt_seat *seat);

/* The half-open share [*first, *last) of `total` items that part `part` of `parts` has. */
void qt_share(int total, int part, int parts, int *first, int *last);

/* Seconds of a steady clock. */
double qt_now(void);

#endif
