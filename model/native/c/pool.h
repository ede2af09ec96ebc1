/* A few threads that run one function together and meet at barriers. See pool.c. */
#ifndef QT_POOL_H
#define QT_POOL_H

typedef struct qt_pool qt_pool;
typedef void (*qt_work)(void *context, int thread, int threads);

/* `threads` counts the caller. NULL if memory or threads are refused. */
qt_pool *qt_pool_new(int threads);
void qt_pool_free(qt_pool *pool);

/* Runs work(context, i, threads) for every i, thread 0 on the caller; returns when all are done.
 * One caller at a time. In a child after fork() the missing threads are started again; 0 if that fails. */
int qt_pool_run(qt_pool *pool, qt_work work, void *context);

/* Called by every thread inside work: returns when all have called. What was written before is seen after. */
void qt_pool_meet(qt_pool *pool);

/* The half-open share [*first, *last) of `total` items that thread `thread` of `threads` owns. */
void qt_share(int total, int thread, int threads, int *first, int *last);

/* Seconds of a steady clock. */
double qt_now(void);

#endif
