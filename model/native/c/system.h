/* Threads, locks, atomics and the clock under one set of names: pthreads, or Win32. */
#ifndef QT_SYSTEM_H
#define QT_SYSTEM_H

#include <stdint.h>

#include "portability.h"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

typedef HANDLE sys_thread;
typedef CRITICAL_SECTION sys_mutex;
typedef CONDITION_VARIABLE sys_condition;
#define SYS_THREAD_FN static DWORD WINAPI
#define SYS_THREAD_END 0
typedef LPTHREAD_START_ROUTINE sys_thread_fn;
#define sys_mutex_init(m) InitializeCriticalSection(m)
#define sys_mutex_free(m) DeleteCriticalSection(m)
#define sys_lock(m) EnterCriticalSection(m)
#define sys_unlock(m) LeaveCriticalSection(m)
#define sys_condition_init(c) InitializeConditionVariable(c)
#define sys_condition_free(c) ((void)(c))
#define sys_wait(c, m) SleepConditionVariableCS(c, m, INFINITE)
#define sys_wake_all(c) WakeAllConditionVariable(c)
#define sys_yield() SwitchToThread()
#define sys_process() ((long)GetCurrentProcessId())
QT_INLINE int sys_start(sys_thread *t, sys_thread_fn fn, void *argument) {
    *t = CreateThread(NULL, 0, fn, argument, 0, NULL);
    return *t != NULL;
}
QT_INLINE void sys_join(sys_thread t) {
    WaitForSingleObject(t, INFINITE);
    CloseHandle(t);
}
QT_INLINE double sys_seconds(void) {
    LARGE_INTEGER now, rate;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&rate);
    return (double)now.QuadPart / (double)rate.QuadPart;
}
#else
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

typedef pthread_t sys_thread;
typedef pthread_mutex_t sys_mutex;
typedef pthread_cond_t sys_condition;
#define SYS_THREAD_FN static void *
#define SYS_THREAD_END NULL
typedef void *(*sys_thread_fn)(void *);
#define sys_mutex_init(m) pthread_mutex_init(m, NULL)
#define sys_mutex_free(m) pthread_mutex_destroy(m)
#define sys_lock(m) pthread_mutex_lock(m)
#define sys_unlock(m) pthread_mutex_unlock(m)
#define sys_condition_init(c) pthread_cond_init(c, NULL)
#define sys_condition_free(c) pthread_cond_destroy(c)
#define sys_wait(c, m) pthread_cond_wait(c, m)
#define sys_wake_all(c) pthread_cond_broadcast(c)
#define sys_yield() sched_yield()
#define sys_process() ((long)getpid())
QT_INLINE int sys_start(sys_thread *t, sys_thread_fn fn, void *argument) {
    return pthread_create(t, NULL, fn, argument) == 0;
}
QT_INLINE void sys_join(sys_thread t) { pthread_join(t, NULL); }
QT_INLINE double sys_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}
#endif

#if defined(_MSC_VER) && !defined(__clang__)
QT_INLINE long sys_load(volatile long *p) { return InterlockedOr(p, 0); }
QT_INLINE void sys_store(volatile long *p, long v) { InterlockedExchange(p, v); }
QT_INLINE long sys_add(volatile long *p, long n) { return InterlockedExchangeAdd(p, n) + n; }
QT_INLINE int64_t sys_load_wide(volatile int64_t *p) { return InterlockedCompareExchange64(p, 0, 0); }
QT_INLINE void sys_store_wide(volatile int64_t *p, int64_t v) { InterlockedExchange64(p, v); }
QT_INLINE int sys_swap_wide(volatile int64_t *p, int64_t old, int64_t v) {
    return InterlockedCompareExchange64(p, v, old) == old;
}
#define sys_pause() YieldProcessor()
#else
/* Sequentially consistent: `inside` and `closed` of the pool are each written by one side and read by the other. */
QT_INLINE long sys_load(volatile long *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
QT_INLINE void sys_store(volatile long *p, long v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
QT_INLINE long sys_add(volatile long *p, long n) { return __atomic_add_fetch(p, n, __ATOMIC_SEQ_CST); }
QT_INLINE int64_t sys_load_wide(volatile int64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
QT_INLINE void sys_store_wide(volatile int64_t *p, int64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
QT_INLINE int sys_swap_wide(volatile int64_t *p, int64_t old, int64_t v) {
    return __atomic_compare_exchange_n(p, &old, v, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
#if defined(QT_X86)
#define sys_pause() __builtin_ia32_pause()
#elif defined(QT_ARM)
#define sys_pause() __asm__ volatile("yield")
#else
#define sys_pause() ((void)0)
#endif
#endif

#endif
