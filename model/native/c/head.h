/* A causal draft head: one small layer, applied again for each token it proposes. `heads.py` mirrors
 * qt_head_model and qt_draft_call field by field.
 *
 *   once per draft:  state = fuse . [norm(tap 0), norm(tap 1), ..]
 *   per token:       x = state + join . [norm(state), norm(embedding of the last token)]
 *                    x += attention over the trunk's own keys and values of a layer, for each block
 *                    x += feed-forward
 *                    token = argmax of the unembedding rows of a draft vocabulary; state = x
 *
 * It writes nothing into the trunk's cache and has none of its own, so a rejected draft leaves no trace.
 */
#ifndef QT_HEAD_H
#define QT_HEAD_H

#include "trunk.h"

typedef struct {
    const float *norm;   /* [width] */
    qt_matrix q, o;
    const float *q_bias; /* NULL where there is none */
    int32_t layer;       /* whose keys and values are read */
} qt_head_block;

typedef struct {
    int32_t taps, width, heads, kv_heads, head_dim, ffn, vocab, blocks;
    float rms_eps;
    const float *tap_norms;              /* [taps][width] */
    const float *state_norm, *token_norm; /* [width] */
    qt_matrix fuse, join, gate, up, down, output;
    const qt_head_block *block;
    const float *ffn_norm, *final_norm;  /* [width] */
    const int32_t *ids;                  /* [vocab]: the trunk's ids of the output's rows */
    qt_matrix embedding;                 /* the trunk's */
} qt_head_model;

typedef struct {
    const float *taps;      /* [taps][width] of position length - 1 */
    int32_t token;          /* what the trunk said there; it will stand at position `length` */
    int32_t length;         /* positions in the cache */
    int32_t capacity;
    const uint16_t *keys, *values; /* the trunk's cache, all layers */
    const float *turns;
    int32_t limit;          /* most tokens, at least 1 */
    float floor;            /* ends before a token that makes the draft less probable than this */
    int32_t *tokens;        /* [limit] */
    float *probs;           /* [limit] */
} qt_draft_call;

typedef struct qt_head qt_head;

qt_head *qt_head_new(const qt_head_model *model, qt_trunk *trunk);
void qt_head_free(qt_head *head);
/* Number of tokens proposed, or -1 when memory or threads are refused. */
int qt_draft(qt_head *head, const qt_draft_call *call);

#endif
