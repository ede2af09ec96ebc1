/* The doors that Python opens through ctypes. Nothing here touches the interpreter, so ctypes lets other
 * Python threads run meanwhile. */
#include "head.h"

#include <stdlib.h>
#include <string.h>

int qt_forward(qt_trunk *trunk, const qt_call *call);

static const qt_kernels *find_path(const char *name) {
    for (const qt_kernels *const *k = qt_runnable(); *k; k++)
        if (!name || strcmp((*k)->name, name) == 0)
            return *k;
    return NULL;
}

/* Name of the i-th path that runs here, best first; NULL past the end. */
QT_EXPORT const char *quatrain_path(int i) {
    const qt_kernels *const *k = qt_runnable();
    for (int n = 0; k[n]; n++)
        if (n == i)
            return k[n]->name;
    return NULL;
}

/* `model` and everything it points to must outlive the trunk. NULL: unknown path, or no memory or threads. */
QT_EXPORT qt_trunk *quatrain_trunk_new(const qt_model *model, const char *path, int threads) {
    const qt_kernels *kernels = find_path(path);
    qt_trunk *trunk = kernels ? calloc(1, sizeof *trunk) : NULL;
    if (!trunk)
        return NULL;
    trunk->model = model;
    trunk->kernels = kernels;
    trunk->threads = threads;
    trunk->pool = qt_pool_new(threads);
    if (trunk->pool)
        return trunk;
    free(trunk);
    return NULL;
}

QT_EXPORT void quatrain_trunk_free(qt_trunk *trunk) {
    if (!trunk)
        return;
    qt_pool_free(trunk->pool);
    qt_free_room(trunk);
    free(trunk);
}

/* 1 on success, 0 when memory or threads are refused. Arguments are checked in Python. */
QT_EXPORT int quatrain_forward(qt_trunk *trunk, const qt_call *call) { return qt_forward(trunk, call); }

/* A head works with its trunk's kernels and threads, one call at a time with it, and must be freed before it. */
QT_EXPORT qt_head *quatrain_head_new(const qt_head_model *model, qt_trunk *trunk) { return qt_head_new(model, trunk); }

QT_EXPORT void quatrain_head_free(qt_head *head) { qt_head_free(head); }

/* Tokens proposed, or -1 when memory or threads are refused. */
QT_EXPORT int quatrain_draft(qt_head *head, const qt_draft_call *call) { return qt_draft(head, call); }

/* out[row][output] = matrix . x[row], through quantised activations: the kernels by themselves, for tests. */
QT_EXPORT int quatrain_product(const char *path, const qt_matrix *matrix, const float *x, int rows, float *out) {
    const qt_kernels *kernels = find_path(path);
    const int groups = matrix->inputs / QT_GROUP;
    qt_group *acts = kernels ? malloc((size_t)groups * rows * sizeof *acts) : NULL;
    float *sums = acts ? malloc((size_t)rows * QT_BLOCK * sizeof *sums) : NULL;
    if (sums) {
        for (int r = 0; r < rows; r++)
            kernels->quantise(x + (size_t)r * matrix->inputs, groups, acts + r, (size_t)rows);
        for (int at = 0; at < matrix->outputs; at += QT_BLOCK) {
            const uint8_t *block = matrix->data + (size_t)(at / QT_BLOCK) * qt_block_bytes(matrix->kind, groups);
            kernels->product[matrix->kind](block, groups, acts, (size_t)rows, rows, sums);
            for (int r = 0; r < rows; r++)
                for (int o = 0; o < QT_BLOCK && at + o < matrix->outputs; o++)
                    out[(size_t)r * matrix->outputs + at + o] = sums[r * QT_BLOCK + o];
        }
    }
    const int done = sums != NULL;
    free(sums);
    free(acts);
    return done;
}

/* Rows `ids` of a packed matrix as floats, for tests and for whoever needs embeddings. */
QT_EXPORT void quatrain_decode_rows(const qt_matrix *matrix, const int32_t *ids, int count, float *out) {
    for (int i = 0; i < count; i++)
        qt_decode_row(matrix, ids[i], out + (size_t)i * matrix->inputs);
}

/* Never called: the file is opened as a plain library. Linkers for Windows ask extension modules for it. */
QT_EXPORT void *PyInit__kernels(void) { return NULL; }
