/* The sums of the page's model engine: WebAssembly SIMD, one thread, float32.
 *
 * Weights are int8 with one float32 scale for each output row; what they meet is float32. Widening
 * every weight to a float would take longer than multiplying it, so the other side is changed, once
 * for all rows: a vector is written as two vectors of whole numbers of 16 bits, its large part and
 * its small part. Then eight products are one instruction, the sums of whole numbers are exact, and a
 * text read at once gives the same bits as one read token by token. tests/parity/test_page_engine.py
 * holds the result within 1e-5 of torch's float32; what is left is torch's rounding and ours.
 *
 * Freestanding: no libc, no allocation; the caller owns all memory. Built by web/native/build.py.
 * Shapes: n tokens, I inputs, O outputs, H query heads, K key heads, E head size.
 */
#include <stdint.h>
#include <wasm_simd128.h>

#define EXPORT __attribute__((visibility("default")))
#define MAX __builtin_wasm_max_f32 /* NaN, if one of both is */
#define LONGEST 992 /* inputs that one 32-bit sum takes: 992 · 128 · 2^14 < 2^31 */

static float total(v128_t v) {
    return (wasm_f32x4_extract_lane(v, 0) + wasm_f32x4_extract_lane(v, 1)) +
           (wasm_f32x4_extract_lane(v, 2) + wasm_f32x4_extract_lane(v, 3));
}

static v128_t mul_add(v128_t sum, v128_t a, v128_t b) {
    return wasm_f32x4_add(sum, wasm_f32x4_mul(a, b));
}

/* One row of weights as floats: `to` gets I of them. */
EXPORT void widen(float *to, const int8_t *w, float scale, int inputs) {
    for (int i = 0; i < inputs; i++) to[i] = w[i] * scale;
}

/* x as whole numbers: x = unit · (high + low / 32768), with both in 16 bits and `unit` a power of
 * two, so that nothing is rounded but what lies 2^-30 below the largest of x. Returns the unit. */
static float split(int16_t *high, int16_t *low, const float *x, int inputs) {
    float largest = 0;
    for (int i = 0; i < inputs; i++) largest = MAX(largest, __builtin_fabsf(x[i]));
    union { float value; uint32_t bits; } unit = {largest}, inverse;
    uint32_t exponent = unit.bits >> 23;
    if (exponent == 255) return largest; /* infinite, or no number: so will be what is computed */
    if (exponent < 32) exponent = 32;    /* nothing but zeros, or nearly */
    unit.bits = (exponent - 13) << 23;
    inverse.bits = (254 - (exponent - 13)) << 23;
    for (int i = 0; i < inputs; i++) {
        float value = x[i] * inverse.value, whole = __builtin_rintf(value);
        high[i] = (int16_t)whole;
        low[i] = (int16_t)__builtin_rintf((value - whole) * 32768.0f);
    }
    return unit.value;
}

/* The sums of the lanes of four vectors, as one vector. */
static v128_t across(v128_t a, v128_t b, v128_t c, v128_t d) {
    v128_t ab = wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 4, 1, 5),
                               wasm_i32x4_shuffle(a, b, 2, 6, 3, 7));
    v128_t cd = wasm_i32x4_add(wasm_i32x4_shuffle(c, d, 0, 4, 1, 5),
                               wasm_i32x4_shuffle(c, d, 2, 6, 3, 7));
    return wasm_i32x4_add(wasm_i32x4_shuffle(ab, cd, 0, 1, 4, 5),
                          wasm_i32x4_shuffle(ab, cd, 2, 3, 6, 7));
}

/* Eight int8 times eight int16 twice over, added to both sums. */
static void eight(v128_t w, v128_t high, v128_t low, v128_t *sum_high, v128_t *sum_low) {
    *sum_high = wasm_i32x4_add(*sum_high, wasm_i32x4_dot_i16x8(w, high));
    *sum_low = wasm_i32x4_add(*sum_low, wasm_i32x4_dot_i16x8(w, low));
}

/* y[n,O] = x[n,I] Wᵀ for int8 weights [O,I] with a scale for each row. The products are of whole
 * numbers, two for each weight, and their sums are exact, in whatever order. Four rows go together,
 * so that what is loaded of x serves four. `parts` has room for n times 2 I int16. */
EXPORT void linear(float *y, const float *x, const int8_t *w, const float *scale, int n, int inputs,
                   int outputs, int16_t *parts, float *units) {
    for (int t = 0; t < n; t++)
        units[t] = split(parts + (long)t * 2 * inputs, parts + ((long)t * 2 + 1) * inputs,
                         x + (long)t * inputs, inputs);
    for (int o = 0; o < outputs; o += 4) {
        int rows[4];
        const int8_t *from[4];
        for (int r = 0; r < 4; r++) { /* past the end the last row is computed again */
            rows[r] = o + r < outputs ? o + r : outputs - 1;
            from[r] = w + (long)rows[r] * inputs;
        }
        for (int t = 0; t < n; t++) {
            const int16_t *high = parts + (long)t * 2 * inputs, *low = high + inputs;
            double sums[4] = {0, 0, 0, 0};
            for (int begin = 0; begin < inputs; begin += LONGEST) {
                int end = begin + LONGEST < inputs ? begin + LONGEST : inputs, i = begin;
                v128_t h0 = wasm_i32x4_splat(0), h1 = h0, h2 = h0, h3 = h0;
                v128_t l0 = h0, l1 = h0, l2 = h0, l3 = h0;
                for (; i + 16 <= end; i += 16) {
                    v128_t a = wasm_v128_load(high + i), b = wasm_v128_load(high + i + 8);
                    v128_t c = wasm_v128_load(low + i), d = wasm_v128_load(low + i + 8);
#define ROW(row, h, l)                                                     \
    do {                                                                   \
        v128_t bytes = wasm_v128_load(from[row] + i);                      \
        eight(wasm_i16x8_extend_low_i8x16(bytes), a, c, &h, &l);           \
        eight(wasm_i16x8_extend_high_i8x16(bytes), b, d, &h, &l);          \
    } while (0)
                    ROW(0, h0, l0);
                    ROW(1, h1, l1);
                    ROW(2, h2, l2);
                    ROW(3, h3, l3);
                }
                int32_t h[4], l[4];
                wasm_v128_store(h, across(h0, h1, h2, h3));
                wasm_v128_store(l, across(l0, l1, l2, l3));
                for (int r = 0; r < 4; r++) {
                    for (int j = i; j < end; j++)
                        h[r] += from[r][j] * high[j], l[r] += from[r][j] * low[j];
                    sums[r] += h[r] + l[r] / 32768.0;
                }
            }
            for (int r = 0; r < 4; r++)
                y[(long)t * outputs + rows[r]] = sums[r] * units[t] * scale[rows[r]];
        }
    }
}

/* y[n,O] = x[n,I] Wᵀ for float weights (a LoRA's), all small. */
EXPORT void linear_f32(float *y, const float *x, const float *w, int n, int inputs, int outputs) {
    for (int t = 0; t < n; t++, x += inputs)
        for (int o = 0; o < outputs; o++) {
            const float *row = w + (long)o * inputs;
            v128_t sum = wasm_f32x4_splat(0);
            int i = 0;
            for (; i + 4 <= inputs; i += 4)
                sum = mul_add(sum, wasm_v128_load(row + i), wasm_v128_load(x + i));
            float dot = total(sum);
            for (; i < inputs; i++) dot += row[i] * x[i];
            *y++ = dot;
        }
}

/* to[i] += factor · from[i] */
EXPORT void add_scaled(float *to, const float *from, float factor, int count) {
    v128_t f = wasm_f32x4_splat(factor);
    int i = 0;
    for (; i + 4 <= count; i += 4)
        wasm_v128_store(to + i, mul_add(wasm_v128_load(to + i), wasm_v128_load(from + i), f));
    for (; i < count; i++) to[i] += from[i] * factor;
}

/* y = x / sqrt(mean(x²) + eps) · gain for n rows of `dim`; y may be x. */
EXPORT void rms_norm(float *y, const float *x, const float *gain, int n, int dim, float eps) {
    for (; n > 0; n--, x += dim, y += dim) {
        v128_t squares = wasm_f32x4_splat(0);
        int i = 0;
        for (; i + 4 <= dim; i += 4) {
            v128_t v = wasm_v128_load(x + i);
            squares = mul_add(squares, v, v);
        }
        float sum = total(squares);
        for (; i < dim; i++) sum += x[i] * x[i];
        float root = __builtin_sqrtf(sum / dim + eps);
        for (i = 0; i < dim; i++) y[i] = x[i] / root * gain[i];
    }
}

/* y = (x - mean(x)) / sqrt(var(x) + eps) · gain + bias for n rows of `dim`; y may be x. */
EXPORT void layer_norm(float *y, const float *x, const float *gain, const float *bias, int n,
                       int dim, float eps) {
    for (; n > 0; n--, x += dim, y += dim) {
        double sum = 0, squares = 0;
        for (int i = 0; i < dim; i++) sum += x[i];
        float mean = sum / dim;
        for (int i = 0; i < dim; i++) squares += (x[i] - mean) * (x[i] - mean);
        float root = __builtin_sqrtf(squares / dim + eps);
        for (int i = 0; i < dim; i++) y[i] = (x[i] - mean) / root * gain[i] + bias[i];
    }
}

/* Turn the pairs (x[i], x[i + E/2]) of every head by their angles; cos and sin are [n, E/2]. */
EXPORT void rope(float *x, const float *cos, const float *sin, int n, int heads, int dim) {
    int half = dim / 2;
    for (int t = 0; t < n; t++, cos += half, sin += half)
        for (int h = 0; h < heads; h++, x += dim)
            for (int i = 0; i < half; i++) {
                float first = x[i], second = x[i + half];
                x[i] = first * cos[i] - second * sin[i];
                x[i + half] = second * cos[i] + first * sin[i];
            }
}

/* e^x: 2^k e^r with |r| ≤ ln 2 / 2, where seven terms of the series leave 5e-9. */
static v128_t exponential(v128_t x) {
    x = wasm_f32x4_max(wasm_f32x4_min(x, wasm_f32x4_splat(88.0f)), wasm_f32x4_splat(-87.0f));
    v128_t k = wasm_f32x4_nearest(wasm_f32x4_mul(x, wasm_f32x4_splat(1.44269504f)));
    /* ln 2 in two parts: k times the first is exact in float32 */
    v128_t r = wasm_f32x4_sub(x, wasm_f32x4_mul(k, wasm_f32x4_splat(0.693359375f)));
    r = wasm_f32x4_sub(r, wasm_f32x4_mul(k, wasm_f32x4_splat(-2.12194440e-4f)));
    v128_t y = wasm_f32x4_splat(1.0f / 5040);
    y = mul_add(wasm_f32x4_splat(1.0f / 720), y, r);
    y = mul_add(wasm_f32x4_splat(1.0f / 120), y, r);
    y = mul_add(wasm_f32x4_splat(1.0f / 24), y, r);
    y = mul_add(wasm_f32x4_splat(1.0f / 6), y, r);
    y = mul_add(wasm_f32x4_splat(0.5f), y, r);
    y = mul_add(wasm_f32x4_splat(1.0f), y, r);
    y = mul_add(wasm_f32x4_splat(1.0f), y, r);
    v128_t power = wasm_i32x4_shl(
        wasm_i32x4_add(wasm_i32x4_trunc_sat_f32x4(k), wasm_i32x4_splat(127)), 23);
    return wasm_f32x4_mul(y, power);
}

static float exponential1(float x) {
    return wasm_f32x4_extract_lane(exponential(wasm_f32x4_splat(x)), 0);
}

/* gate = silu(gate) · up, silu(x) = x / (1 + e^-x) */
EXPORT void swiglu(float *gate, const float *up, int count) {
    v128_t unit = wasm_f32x4_splat(1);
    int i = 0;
    for (; i + 4 <= count; i += 4) {
        v128_t g = wasm_v128_load(gate + i);
        v128_t s = wasm_f32x4_div(g, wasm_f32x4_add(unit, exponential(wasm_f32x4_neg(g))));
        wasm_v128_store(gate + i, wasm_f32x4_mul(s, wasm_v128_load(up + i)));
    }
    for (; i < count; i++) gate[i] = gate[i] / (1 + exponential1(-gate[i])) * up[i];
}

/* x = gelu(x) in its tanh form: x (1 + tanh u) / 2 = x / (1 + e^-2u), u = √(2/π) (x + 0.044715 x³) */
EXPORT void gelu(float *x, int count) {
    for (int i = 0; i < count; i += 4) {
        float four[4] = {0};
        for (int j = 0; j < 4 && i + j < count; j++) four[j] = x[i + j];
        v128_t v = wasm_v128_load(four), cube = wasm_f32x4_mul(wasm_f32x4_mul(v, v), v);
        v128_t u = mul_add(v, wasm_f32x4_splat(0.044715f), cube);
        v128_t e = exponential(wasm_f32x4_mul(wasm_f32x4_splat(-1.5957691216057308f), u));
        wasm_v128_store(four, wasm_f32x4_div(v, wasm_f32x4_add(wasm_f32x4_splat(1), e)));
        for (int j = 0; j < 4 && i + j < count; j++) x[i + j] = four[j];
    }
}

/* The scores of a query with the keys at places from…to-1, four keys at a time. */
static void score(float *s, const float *q, const float *keys, long step, int dim, float scale,
                  int from, int to) {
    for (; from < to; from += 4) {
        const float *k[4];
        for (int j = 0; j < 4; j++) k[j] = keys + (from + j < to ? from + j : to - 1) * step;
        v128_t a = wasm_f32x4_splat(0), b = a, c = a, d = a;
        int i = 0;
        for (; i + 4 <= dim; i += 4) {
            v128_t x = wasm_v128_load(q + i);
            a = mul_add(a, x, wasm_v128_load(k[0] + i));
            b = mul_add(b, x, wasm_v128_load(k[1] + i));
            c = mul_add(c, x, wasm_v128_load(k[2] + i));
            d = mul_add(d, x, wasm_v128_load(k[3] + i));
        }
        float dot[4] = {total(a), total(b), total(c), total(d)};
        for (int j = 0; j < 4 && from + j < to; j++) {
            for (int r = i; r < dim; r++) dot[j] += q[r] * k[j][r];
            s[from + j] = dot[j] * scale;
        }
    }
}

/* out += the values at places from…to-1, each times its weight, four values at a time. */
static void gather(float *out, const float *weight, const float *values, long step, int dim,
                   int from, int to) {
    for (; from + 4 <= to; from += 4) {
        const float *v = values + from * step;
        v128_t a = wasm_v128_load32_splat(weight + from);
        v128_t b = wasm_v128_load32_splat(weight + from + 1);
        v128_t c = wasm_v128_load32_splat(weight + from + 2);
        v128_t d = wasm_v128_load32_splat(weight + from + 3);
        int i = 0;
        for (; i + 4 <= dim; i += 4) {
            v128_t sum = mul_add(wasm_v128_load(out + i), a, wasm_v128_load(v + i));
            sum = mul_add(sum, b, wasm_v128_load(v + step + i));
            sum = mul_add(sum, c, wasm_v128_load(v + 2 * step + i));
            wasm_v128_store(out + i, mul_add(sum, d, wasm_v128_load(v + 3 * step + i)));
        }
        for (; i < dim; i++)
            for (int j = 0; j < 4; j++) out[i] += weight[from + j] * v[j * step + i];
    }
    for (; from < to; from++) add_scaled(out, values + from * step, weight[from], dim);
}

/* Scores become weights that sum to one; those from `sinks` to `first` are zero. */
static void softmax(float *s, int sinks, int first, int count) {
    float best = s[count - 1], sum = 0;
    for (int i = 0; i < sinks; i++) best = MAX(best, s[i]);
    for (int i = first; i < count; i++) best = MAX(best, s[i]);
    for (int i = sinks; i < first; i++) s[i] = 0;
    for (int part = 0; part < 2; part++) {
        int i = part ? first : 0, end = part ? count : sinks;
        for (; i + 4 <= end; i += 4) {
            v128_t e = exponential(wasm_f32x4_sub(wasm_v128_load(s + i), wasm_f32x4_splat(best)));
            wasm_v128_store(s + i, e);
            sum += total(e);
        }
        for (; i < end; i++) sum += s[i] = exponential1(s[i] - best);
    }
    for (int i = 0; i < count; i++) s[i] /= sum;
}

/* out[n,H,E]: what n queries at places start… gather from the keys and values [places,K,E] so far.
 * A query sees the last `window` places (0: all) and the first `sinks`; a score loses its head's
 * slope [H] for each place of distance (ALiBi; no slopes: nothing). `weights` [H,room] holds those
 * of the last query when this returns. */
EXPORT void attend(float *out, const float *q, const float *keys, const float *values,
                   float *weights, int room, int n, int start, int heads, int shared, int dim,
                   int window, int sinks, const float *slopes) {
    float scale = 1 / __builtin_sqrtf(dim);
    int group = heads / shared;
    long step = (long)shared * dim;
    for (int t = 0; t < n; t++) {
        int count = start + t + 1, first = window && count > window ? count - window : 0;
        int kept = sinks < first ? sinks : first;
        for (int h = 0; h < heads; h++, q += dim, out += dim) {
            const float *k = keys + (h / group) * dim, *v = values + (h / group) * dim;
            float *w = weights + (long)h * room;
            score(w, q, k, step, dim, scale, 0, kept);
            score(w, q, k, step, dim, scale, first, count);
            for (int i = 0; slopes && i < count; i++) w[i] -= slopes[h] * (count - 1 - i);
            softmax(w, kept, first, count);
            for (int i = 0; i < dim; i++) out[i] = 0;
            gather(out, w, v, step, dim, 0, kept);
            gather(out, w, v, step, dim, first, count);
        }
    }
}
