/* The draft head's passes: threads walk through the steps of one token together, token after token. */
#include "head.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SEGMENT_BLOCKS = QT_SEGMENT / QT_BLOCK };

struct qt_head {
    const qt_head_model *model;
    const qt_kernels *kernels;
    qt_pool *pool;
    int threads;
    float *state, *x, *embedded, *queries; /* [width], [width], [width], [heads * head_dim] */
    qt_group *inner, *mixed, *wide;        /* [max(taps, 2) * width], [heads * head_dim], [ffn] groups */
    float *scores;
    size_t scores_room;
    float *logits, *survey; /* [vocab], [segments][greatest, sum] */
    int32_t *survey_at;
    const qt_draft_call *call;
    int token, drafted, done;
    float joint;
};

typedef struct {
    qt_head *head;
    qt_seat *seat;
} head_hand;

/* Where the sums of a product go. */
typedef struct {
    float *out;
    const float *bias, *base; /* added, or NULL */
} head_sink;

static int segments_of(const qt_head_model *m) { return (m->vocab + QT_SEGMENT - 1) / QT_SEGMENT; }

static void multiply(const qt_head *head, const qt_matrix *m, int block, const qt_group *acts, float *out) {
    const int groups = m->inputs / QT_GROUP;
    head->kernels->product[m->kind](m->data + (size_t)block * qt_block_bytes(m->kind, groups), groups, acts, 1, 1,
                                    out);
}

static void product(const head_hand *hand, const qt_matrix *m, const qt_group *acts, head_sink sink) {
    const int total = m->outputs / QT_BLOCK;
    _Alignas(64) float sums[QT_BLOCK];
    for (int first, last; qt_take(hand->seat, total, &first, &last); qt_finish(hand->seat, total, last - first))
        for (int block = first; block < last; block++) {
            multiply(hand->head, m, block, acts, sums);
            for (int o = 0; o < QT_BLOCK; o++) {
                const int at = block * QT_BLOCK + o;
                sink.out[at] = sums[o] + (sink.bias ? sink.bias[at] : 0.0f) + (sink.base ? sink.base[at] : 0.0f);
            }
        }
    qt_meet(hand->seat);
}

static void norm(const qt_head *head, const float *x, const float *weight, qt_group *out) {
    head->kernels->norm(x, weight, head->model->rms_eps, head->model->width, out, 1, NULL);
}

/* Norms of `count` vectors side by side: the items are the vectors. */
static void norms(const head_hand *hand, const float *const *x, const float *const *weights, int count) {
    const int groups = hand->head->model->width / QT_GROUP;
    for (int first, last; qt_take(hand->seat, count, &first, &last); qt_finish(hand->seat, count, last - first))
        for (int i = first; i < last; i++)
            norm(hand->head, x[i], weights[i], hand->head->inner + (size_t)i * groups);
    qt_meet(hand->seat);
}

static void fuse(const head_hand *hand) {
    const qt_head *head = hand->head;
    const qt_head_model *m = head->model;
    const float *x[8], *weights[8];
    for (int i = 0; i < m->taps; i++) {
        x[i] = head->call->taps + (size_t)i * m->width;
        weights[i] = m->tap_norms + (size_t)i * m->width;
    }
    norms(hand, x, weights, m->taps);
    product(hand, &m->fuse, head->inner, (head_sink){head->state, NULL, NULL});
}

static void embed(const head_hand *hand) {
    qt_head *head = hand->head;
    for (int first, last; qt_take(hand->seat, 1, &first, &last); qt_finish(hand->seat, 1, 1))
        qt_decode_row(&head->model->embedding, head->token, head->embedded);
    qt_meet(hand->seat);
}

static void join(const head_hand *hand) {
    const qt_head *head = hand->head;
    const qt_head_model *m = head->model;
    const float *x[2] = {head->state, head->embedded}, *weights[2] = {m->state_norm, m->token_norm};
    norms(hand, x, weights, 2);
    product(hand, &m->join, head->inner, (head_sink){head->x, NULL, head->state});
}

/* One key/value head's share of an attention: its queries see all positions of the trunk's cache. */
static void attend_share(const head_hand *hand, const qt_head_block *block, int kv_head) {
    const qt_head *head = hand->head;
    const qt_head_model *m = head->model;
    const qt_draft_call *call = head->call;
    const int dim = m->head_dim, shared = m->heads / m->kv_heads, position = call->length + head->drafted;
    const size_t cache = ((size_t)block->layer * m->kv_heads + kv_head) * call->capacity * dim;
    const qt_past past = {call->keys + cache, call->values + cache, dim, call->length};
    float *scores = head->scores + (size_t)hand->seat->thread * head->scores_room;
    float out[QT_MAX_HEADS * 128];
    for (int from = 0; from < shared; from += QT_MAX_HEADS) {
        const int n = shared - from < QT_MAX_HEADS ? shared - from : QT_MAX_HEADS;
        float *q = head->queries + (size_t)(kv_head * shared + from) * dim;
        for (int h = 0; h < n; h++)
            head->kernels->rotate(q + h * dim, call->turns + (size_t)position * dim, dim, 1.0f / sqrtf((float)dim));
        head->kernels->attend(&past, q, n, scores, out);
        head->kernels->quantise(out, n * dim / QT_GROUP, head->mixed + (kv_head * shared + from) * dim / QT_GROUP, 1);
    }
}

static void attend(const head_hand *hand, const qt_head_block *block) {
    qt_head *head = hand->head;
    const int total = head->model->kv_heads;
    norms(hand, (const float *const[]){head->x}, &block->norm, 1);
    product(hand, &block->q, head->inner, (head_sink){head->queries, block->q_bias, NULL});
    for (int first, last; qt_take(hand->seat, total, &first, &last); qt_finish(hand->seat, total, last - first))
        for (int i = first; i < last; i++)
            attend_share(hand, block, i);
    qt_meet(hand->seat);
    product(hand, &block->o, head->mixed, (head_sink){head->x, NULL, head->x});
}

static void feed(const head_hand *hand) {
    const qt_head *head = hand->head;
    const qt_head_model *m = head->model;
    const int total = m->ffn / QT_GROUP;
    _Alignas(64) float gate[QT_BLOCK], up[QT_BLOCK];
    norms(hand, (const float *const[]){head->x}, &m->ffn_norm, 1);
    for (int first, last; qt_take(hand->seat, total, &first, &last); qt_finish(hand->seat, total, last - first))
        for (int group = first; group < last; group++) {
            multiply(head, &m->gate, group, head->inner, gate);
            multiply(head, &m->up, group, head->inner, up);
            head->kernels->swiglu(gate, up, QT_BLOCK);
            head->kernels->quantise(gate, 1, head->wide + group, 1);
        }
    qt_meet(hand->seat);
    product(hand, &m->down, head->wide, (head_sink){head->x, NULL, head->x});
}

static void write_segment(const qt_head *head, int segment) {
    const qt_head_model *m = head->model;
    const int from = segment * QT_SEGMENT, to = from + QT_SEGMENT < m->vocab ? from + QT_SEGMENT : m->vocab;
    _Alignas(64) float sums[QT_BLOCK];
    for (int at = from; at < to; at += QT_BLOCK) {
        multiply(head, &m->output, at / QT_BLOCK, head->inner, sums);
        memcpy(head->logits + at, sums, (size_t)(to - at < QT_BLOCK ? to - at : QT_BLOCK) * sizeof *sums);
    }
    int index;
    head->kernels->survey(head->logits + from, to - from, &head->survey[2 * segment], &index,
                          &head->survey[2 * segment + 1]);
    head->survey_at[segment] = from + index;
}

/* The best token and its probability: kept, or the end of the draft. */
static void choose(qt_head *head) {
    const int segments = segments_of(head->model);
    int top = 0;
    for (int s = 1; s < segments; s++)
        if (head->survey[2 * s] > head->survey[2 * top])
            top = s;
    double sum = 0.0;
    for (int s = 0; s < segments; s++)
        sum += head->survey[2 * s + 1] * exp((double)head->survey[2 * s] - head->survey[2 * top]);
    const float prob = (float)(1.0 / sum);
    head->joint *= prob;
    head->done = head->joint < head->call->floor;
    if (head->done)
        return;
    head->token = head->model->ids[head->survey_at[top]];
    head->call->tokens[head->drafted] = head->token;
    head->call->probs[head->drafted] = prob;
    head->drafted++;
    head->done = head->drafted == head->call->limit;
    float *spent = head->state;
    head->state = head->x;
    head->x = spent;
}

static void say(const head_hand *hand) {
    qt_head *head = hand->head;
    const int total = segments_of(head->model);
    norms(hand, (const float *const[]){head->x}, &head->model->final_norm, 1);
    for (int first, last; qt_take(hand->seat, total, &first, &last); qt_finish(hand->seat, total, last - first))
        for (int segment = first; segment < last; segment++)
            write_segment(head, segment);
    qt_meet(hand->seat);
    for (int first, last; qt_take(hand->seat, 1, &first, &last); qt_finish(hand->seat, 1, 1))
        choose(head);
    qt_meet(hand->seat);
}

static void draft_thread(void *context, qt_seat *seat) {
    const head_hand hand = {context, seat};
    fuse(&hand);
    do {
        embed(&hand);
        join(&hand);
        for (int i = 0; i < hand.head->model->blocks; i++)
            attend(&hand, &hand.head->model->block[i]);
        feed(&hand);
        say(&hand);
    } while (!hand.head->done);
}

int qt_draft(qt_head *head, const qt_draft_call *call) {
    const size_t scores = (size_t)QT_MAX_HEADS * (call->capacity + 2 * QT_POSITIONS);
    if (head->scores_room < scores) {
        free(head->scores);
        head->scores = malloc(scores * head->threads * sizeof *head->scores);
        head->scores_room = head->scores ? scores : 0;
        if (!head->scores)
            return -1;
    }
    head->call = call;
    head->token = call->token;
    head->drafted = head->done = 0;
    head->joint = 1.0f;
    return qt_pool_run(head->pool, draft_thread, head) ? head->drafted : -1;
}

static int make_head_room(qt_head *head) {
    const qt_head_model *m = head->model;
    const size_t width = (size_t)m->width, all = (size_t)m->heads * m->head_dim;
    head->state = malloc(width * sizeof(float));
    head->x = malloc(width * sizeof(float));
    head->embedded = malloc(width * sizeof(float));
    head->queries = malloc(all * sizeof(float));
    head->inner = malloc((m->taps > 2 ? m->taps : 2) * width / QT_GROUP * sizeof(qt_group));
    head->mixed = malloc(all / QT_GROUP * sizeof(qt_group));
    head->wide = malloc((size_t)m->ffn / QT_GROUP * sizeof(qt_group));
    head->logits = malloc((size_t)m->vocab * sizeof(float) + 64);
    head->survey = malloc(2 * (size_t)segments_of(m) * sizeof(float));
    head->survey_at = malloc((size_t)segments_of(m) * sizeof(int32_t));
    return head->state && head->x && head->embedded && head->queries && head->inner && head->mixed && head->wide &&
           head->logits && head->survey && head->survey_at;
}

qt_head *qt_head_new(const qt_head_model *model, qt_trunk *trunk) {
    qt_head *head = calloc(1, sizeof *head);
    if (!head)
        return NULL;
    head->model = model;
    head->kernels = trunk->kernels;
    head->pool = trunk->pool;
    head->threads = trunk->threads;
    if (make_head_room(head))
        return head;
    qt_head_free(head);
    return NULL;
}

void qt_head_free(qt_head *head) {
    if (!head)
        return;
    float *floats[] = {head->state, head->x, head->embedded, head->queries, head->scores, head->logits, head->survey};
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        free(floats[i]);
    free(head->inner);
    free(head->mixed);
    free(head->wide);
    free(head->survey_at);
    free(head);
}
