/* Every runnable path against the portable one on random inputs, without Python: run under emulation for
 * processors we do not have. Prints one line per path and operation that disagrees; exits with their number. */
#include "kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 13, GROUPS = 5, WIDTH = GROUPS * QT_GROUP, DIM = 64, HEADS = 7, LENGTH = 75 };

static uint64_t state = 88172645463325252ull;
static double uniform(void) { /* -1 .. 1 */
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (double)(state >> 11) / 4503599627370496.0 - 1.0;
}
static void fill(float *x, int n) {
    for (int i = 0; i < n; i++)
        x[i] = (float)uniform();
}

static int failures;
static void expect(const char *path, const char *what, const float *a, const float *b, int n, double tolerance) {
    double worst = 0, top = 0;
    for (int i = 0; i < n; i++) {
        worst = fmax(worst, isnan(a[i]) != isnan(b[i]) ? INFINITY : isnan(a[i]) ? 0 : fabs((double)a[i] - b[i]));
        top = fmax(top, isnan(b[i]) ? 0 : fabs((double)b[i]));
    }
    if (!(worst <= tolerance * (top + 1e-20))) {
        printf("%s %s: off by %g of %g\n", path, what, worst, top);
        failures++;
    }
}

static void compare_product(const qt_kernels *k, int kind) {
    static const char *names[QT_KINDS] = {"q8", "q6", "q5", "q5m", "q4", "q4m"};
    _Alignas(64) static uint8_t block[GROUPS * 1152];
    _Alignas(64) static float got[ROWS * QT_BLOCK], want[ROWS * QT_BLOCK], alone[QT_BLOCK];
    static float x[ROWS * WIDTH];
    static qt_group acts[GROUPS * ROWS];
    const size_t bytes = qt_group_bytes(kind);
    for (size_t i = 0; i < GROUPS * bytes; i++)
        block[i] = (uint8_t)(uniform() * 128 + 128);
    for (int g = 0; g < GROUPS; g++) {
        uint16_t *scales = (uint16_t *)qt_scales(kind, block + g * bytes);
        for (int i = 0; i < (qt_kind_has_second(kind) ? 2 : 1) * QT_BLOCK; i++)
            scales[i] = qt_to_half((float)(0.01 + 0.005 * uniform()));
    }
    fill(x, ROWS * WIDTH);
    memset(x, 0, WIDTH * sizeof *x);
    for (int r = 0; r < ROWS; r++)
        qt_portable.quantise(x + r * WIDTH, GROUPS, acts + r, ROWS);
    qt_portable.product[kind](block, GROUPS, acts, ROWS, ROWS, want);
    k->product[kind](block, GROUPS, acts, ROWS, ROWS, got);
    expect(k->name, names[kind], got, want, ROWS * QT_BLOCK, 2e-6);
    for (int r = 0; r < ROWS; r++) {
        k->product[kind](block, GROUPS, acts + r, ROWS, 1, alone);
        if (memcmp(alone, got + r * QT_BLOCK, sizeof alone)) {
            printf("%s %s: row %d changes with its company\n", k->name, names[kind], r);
            failures++;
        }
    }
}

static void compare_rows(const qt_kernels *k) {
    static float x[WIDTH], w[WIDTH], a[WIDTH], b[WIDTH];
    qt_group ga[GROUPS], gb[GROUPS];
    for (int round = 0; round < 4; round++) {
        fill(x, WIDTH), fill(w, WIDTH);
        if (round == 1)
            memset(x, 0, sizeof x);
        if (round == 2)
            x[40] = NAN;
        if (round == 3)
            x[40] = INFINITY;
        k->norm(x, w, 1e-6f, WIDTH, ga, 1, a), qt_portable.norm(x, w, 1e-6f, WIDTH, gb, 1, b);
        expect(k->name, "norm", a, b, WIDTH, 1e-6);
        k->quantise(x, GROUPS, ga, 1), qt_portable.quantise(x, GROUPS, gb, 1);
        for (int g = 0; g < GROUPS; g++)
            if (memcmp(ga[g].q, gb[g].q, 32) || ga[g].offset != gb[g].offset || ga[g].offset_low != gb[g].offset_low)
                failures++, printf("%s quantise: group %d, round %d\n", k->name, g, round);
    }
    fill(x, WIDTH), fill(w, WIDTH);
    for (int i = 0; i < WIDTH; i++)
        x[i] *= 20;
    memcpy(a, x, sizeof a), memcpy(b, x, sizeof b);
    k->swiglu(a, w, WIDTH), qt_portable.swiglu(b, w, WIDTH);
    expect(k->name, "swiglu", a, b, WIDTH, 1e-6);
    k->rotate(a, w, DIM, 0.125f), qt_portable.rotate(b, w, DIM, 0.125f);
    expect(k->name, "rotate", a, b, DIM, 1e-6);
    float top[2], sum[2];
    int at[2];
    k->survey(x, WIDTH - 3, &top[0], &at[0], &sum[0]), qt_portable.survey(x, WIDTH - 3, &top[1], &at[1], &sum[1]);
    expect(k->name, "survey", &sum[0], &sum[1], 1, 1e-6);
    if (top[0] != top[1] || at[0] != at[1])
        failures++, printf("%s survey: %d, not %d\n", k->name, at[0], at[1]);
}

static void compare_attention(const qt_kernels *k) {
    enum { ROOM = (LENGTH + 15) / 16 * 16 };
    static uint16_t keys[ROOM * DIM], values[ROOM * DIM], other[ROOM * DIM];
    static float q[HEADS * DIM], head[DIM], scores[8 * ROOM], a[HEADS * DIM], b[HEADS * DIM];
    memset(keys, 0x7e, sizeof keys), memset(values, 0x7e, sizeof values); /* NaN behind the end */
    for (int p = 0; p < LENGTH; p++) {
        fill(head, DIM);
        k->store(head, DIM, keys + p / 16 * 16 * DIM + p % 16, 16);
        qt_portable.store(head, DIM, other + p / 16 * 16 * DIM + p % 16, 16);
        if (keys[p / 16 * 16 * DIM + p % 16 + 16] != other[p / 16 * 16 * DIM + p % 16 + 16])
            failures++, printf("%s store: position %d\n", k->name, p);
        fill(head, DIM);
        k->store(head, DIM, values + p * DIM, 1);
    }
    fill(q, HEADS * DIM);
    const qt_past past = {keys, values, DIM, LENGTH};
    k->attend(&past, q, HEADS, scores, a), qt_portable.attend(&past, q, HEADS, scores, b);
    expect(k->name, "attend", a, b, HEADS * DIM, 2e-6);
}

int main(void) {
    int paths = 0;
    for (const qt_kernels *const *k = qt_runnable(); *k; k++, paths++) {
        for (int kind = 0; kind < QT_KINDS; kind++)
            compare_product(*k, kind);
        compare_rows(*k);
        compare_attention(*k);
        printf("%s\n", (*k)->name);
    }
    return failures;
}
