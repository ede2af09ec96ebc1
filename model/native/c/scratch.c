/* Working memory of a trunk: grows to the largest call seen, is never shrunk. */
#include "trunk.h"

#include <stdlib.h>

static void *fresh(void *old, size_t bytes) {
    free(old);
    return malloc(bytes + 64);
}

static int make_row_room(qt_trunk *trunk, int rows) {
    const qt_model *m = trunk->model;
    const size_t n = (size_t)rows, all = (size_t)(m->heads + 2 * m->kv_heads) * m->head_dim;
    const size_t mixed = (size_t)m->heads * m->head_dim, widest = mixed > (size_t)m->width ? mixed : (size_t)m->width;
    trunk->room = 0;
    trunk->x = fresh(trunk->x, n * m->width * sizeof *trunk->x);
    trunk->heads = fresh(trunk->heads, n * all * sizeof *trunk->heads);
    trunk->inner = fresh(trunk->inner, n * m->width / QT_GROUP * sizeof *trunk->inner);
    trunk->mixed = fresh(trunk->mixed, n * widest / QT_GROUP * sizeof *trunk->mixed);
    trunk->wide = fresh(trunk->wide, n * m->ffn / QT_GROUP * sizeof *trunk->wide);
    if (!trunk->x || !trunk->heads || !trunk->inner || !trunk->mixed || !trunk->wide)
        return 0;
    trunk->room = rows;
    return 1;
}

int qt_make_room(qt_trunk *trunk, const qt_call *call) {
    const qt_model *m = trunk->model;
    const int rows = call->count <= 16 ? 16 : call->count <= 64 ? 64 : QT_CHUNK;
    if (trunk->room < rows && !make_row_room(trunk, rows))
        return 0;
    size_t scores = (size_t)QT_MAX_HEADS * (call->start + call->count + 2 * QT_POSITIONS);
    if (trunk->scores_room < scores) {
        scores = (size_t)QT_MAX_HEADS * (call->capacity + 2 * QT_POSITIONS);
        trunk->scores_room = 0;
        trunk->scores = fresh(trunk->scores, scores * trunk->threads * sizeof *trunk->scores);
        if (!trunk->scores)
            return 0;
        trunk->scores_room = scores;
    }
    const size_t slots = (size_t)((m->vocab + QT_SEGMENT - 1) / QT_SEGMENT) * call->asked;
    if (trunk->survey_room < slots) {
        trunk->survey_room = 0;
        trunk->survey = fresh(trunk->survey, 2 * slots * sizeof *trunk->survey);
        trunk->survey_at = fresh(trunk->survey_at, slots * sizeof *trunk->survey_at);
        if (!trunk->survey || !trunk->survey_at)
            return 0;
        trunk->survey_room = slots;
    }
    return 1;
}

void qt_free_room(qt_trunk *trunk) {
    free(trunk->x);
    free(trunk->heads);
    free(trunk->inner);
    free(trunk->mixed);
    free(trunk->wide);
    free(trunk->scores);
    free(trunk->survey);
    free(trunk->survey_at);
}
