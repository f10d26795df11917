/* The inner loops of the tensor codecs, for hosts where a compiler was at hand.

   Every function gives, byte for byte, what the numpy code beside it gives (mvc/codecs/native.py says which); that
   code is the definition. Little-endian hosts only. Nothing here allocates, and nothing keeps state between calls.
   C99. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

enum { STEP_NONE = 0, STEP_ROTATE = 1, STEP_RESIDUAL = 2 };
enum { RUNS = 4, TILE = 512 };
enum { ESCAPE = 15 };

/* Tokens of residuals (mvc/codecs/tokens.py): 0 is a residual of 0, 1 a target of 0, 2 to 16 residuals of 1 to 15;
   then 2^keep tokens for each bit length, by the `keep` bits below the highest. */
enum { DIRECT = 16, DIRECT_BITS = 4, TOKEN_ZERO = 1, CLASSES = 17 };

/* The step before the planes; `mask` is not 0 where elements are grouped by (base >> low) & mask. */
struct step {
    unsigned kind, low, mask;
};

/* Symbols of elements (mvc/codecs/buckets.py): 0 is an element of 0, 1 one that is in no listed bucket. */
enum { BUCKET_OTHER = 1 };

/* rANS: states are at least this between symbols and below its square; words have 16 bits. */
enum { RANS_LEAST = 1 << 16, MOST_PRECISION = 14, MOST_LANES = 1024 };

static inline uint64_t load_8_bytes(const uint8_t *from) {
    uint64_t word;
    memcpy(&word, from, 8);
    return word;
}

static inline unsigned highest_bit(uint64_t value) {
#if defined(__GNUC__)
    return 63u - (unsigned)__builtin_clzll(value);
#else
    unsigned place = 0;
    while (value >>= 1)
        place++;
    return place;
#endif
}

/* Bits that are written one behind the other, the first one lowest in the first byte. */
struct bits {
    uint8_t *at;
    uint64_t waiting, total;
    unsigned held; /* of `waiting`, fewer than 8 between calls */
};

static inline void put_some_bits(struct bits *out, uint64_t value, unsigned count) {
    uint64_t word = out->waiting | value << out->held;
    out->held += count;
    memcpy(out->at, &word, 8);
    out->at += out->held >> 3;
    out->waiting = word >> (out->held & 56);
    out->held &= 7;
}

/* A value of so many bits, fewer than `most`. Writes up to eight bytes behind those that are full. */
static inline void put_bits(struct bits *out, uint64_t value, unsigned count, unsigned most) {
    out->total += count;
    if (most > 32) {
        unsigned first = count < 32 ? count : 32;
        put_some_bits(out, value & 0xffffffffu, first);
        value = value >> 16 >> 16;
        count -= first;
    }
    put_some_bits(out, value, count);
}

static inline uint64_t end_bits(struct bits *out) {
    *out->at = (uint8_t)out->waiting;
    return out->total;
}

/* So many bits, fewer than `most`, from bit `place` on; they lie within the `available` bytes. */
static inline uint64_t get_bits(const uint8_t *from, size_t available, uint64_t place, unsigned count, unsigned most) {
    size_t start = (size_t)(place >> 3);
    unsigned skip = (unsigned)(place & 7);
    uint64_t word = 0;
    if (start + 8 <= available)
        word = load_8_bytes(from + start);
    else
        for (size_t i = start; i < available; i++)
            word |= (uint64_t)from[i] << (8 * (i - start));
    word >>= skip;
    if (most > 32 && skip + count > 64)
        word |= (uint64_t)from[start + 8] << (64 - skip);
    return word & (((uint64_t)1 << count) - 1);
}

#define ELEMENT uint8_t
#define WIDTH 1
#define NAME(x) x##_8
#include "_lane.h"
#undef ELEMENT
#undef WIDTH
#undef NAME

#define ELEMENT uint16_t
#define WIDTH 2
#define NAME(x) x##_16
#include "_lane.h"
#undef ELEMENT
#undef WIDTH
#undef NAME

#define ELEMENT uint32_t
#define WIDTH 4
#define NAME(x) x##_32
#include "_lane.h"
#undef ELEMENT
#undef WIDTH
#undef NAME

#define ELEMENT uint64_t
#define WIDTH 8
#define NAME(x) x##_64
#include "_lane.h"
#undef ELEMENT
#undef WIDTH
#undef NAME

#include "_shares.h"
#include "_prices.h"

/* 1 if these are parameters that the loops can take. */
static int step_from(unsigned kind, unsigned width, unsigned shift, unsigned bits, struct step *step) {
    unsigned kept = bits < 8 ? bits : 8;
    if ((width != 1 && width != 2 && width != 4 && width != 8) || kind > STEP_RESIDUAL)
        return 0;
    if (bits > 8 * width || shift > 8 * width - bits || (bits && kind != STEP_RESIDUAL))
        return 0;
    step->kind = kind;
    step->low = bits ? shift + bits - kept : 0;
    step->mask = (1u << kept) - 1;
    return 1;
}

EXPORT uint32_t mvc_kernel_interface(void) { return 3; }

/* Cut `count` elements into blocks of `block` elements (the last may be shorter), do the step, and write each block's
   planes, least significant first. `scratch` holds one block. Returns 0, or -1 for parameters out of range. */
EXPORT int mvc_split(unsigned kind, unsigned width, unsigned shift, unsigned bits, const uint8_t *target,
                     const uint8_t *base, size_t count, size_t block, uint8_t *scratch, uint8_t *planes) {
    struct step step;
    if (!step_from(kind, width, shift, bits, &step) || block == 0 || block > UINT32_MAX)
        return -1;
    for (size_t start = 0; start < count; start += block) {
        size_t size = count - start < block ? count - start : block;
        const uint8_t *t = target + start * width, *b = base ? base + start * width : NULL;
        uint8_t *out = planes + start * width;
        switch (width) {
        case 1: split_8(&step, t, b, size, scratch, out); break;
        case 2: split_16(&step, t, b, size, scratch, out); break;
        case 4: split_32(&step, t, b, size, scratch, out); break;
        default: split_64(&step, t, b, size, scratch, out); break;
        }
    }
    return 0;
}

/* Undo mvc_split for one block of `count` elements; planes[0 .. width-1] have `count` bytes each. */
EXPORT int mvc_join(unsigned kind, unsigned width, unsigned shift, unsigned bits, const uint8_t *const *planes,
                    const uint8_t *base, size_t count, uint8_t *scratch, uint8_t *out) {
    struct step step;
    if (!step_from(kind, width, shift, bits, &step) || count > UINT32_MAX)
        return -1;
    switch (width) {
    case 1: join_8(&step, planes, base, count, scratch, out); break;
    case 2: join_16(&step, planes, base, count, scratch, out); break;
    case 4: join_32(&step, planes, base, count, scratch, out); break;
    default: join_64(&step, planes, base, count, scratch, out); break;
    }
    return 0;
}

/* Byte counts of a sample, [width][groups][256] in `counts`, which has room for 256 groups (one, if bits is 0).
   Returns the number of groups, or -1. */
EXPORT int mvc_histograms(unsigned kind, unsigned width, unsigned shift, unsigned bits, const uint8_t *target,
                          const uint8_t *base, size_t count, int64_t *counts) {
    struct step step;
    if (!step_from(kind, width, shift, bits, &step))
        return -1;
    switch (width) {
    case 1: return (int)histograms_8(&step, target, base, count, counts);
    case 2: return (int)histograms_16(&step, target, base, count, counts);
    case 4: return (int)histograms_32(&step, target, base, count, counts);
    default: return (int)histograms_64(&step, target, base, count, counts);
    }
}

#define EVERY(byte) (0x0101010101010101u * (uint64_t)(byte))

/* Not 0 if any of 8 bytes is ESCAPE or more: its low seven bits plus 0x71 reach the top bit, or it is set already. */
static inline uint64_t any_escape(uint64_t word) {
    return (((word & EVERY(0x7f)) + EVERY(0x80 - ESCAPE)) | word) & EVERY(0x80);
}

/* Two values in each byte of `packed`, (count + 1) / 2 of them; values of ESCAPE or more go to `escapes`, which has
   room for `count`. Returns how many these are. */
EXPORT size_t mvc_pack_nibbles(const uint8_t *restrict plane, size_t count, uint8_t *restrict packed,
                               uint8_t *restrict escapes) {
    size_t found = 0, pairs = count / 2, i = 0;
    for (size_t pair = 0; pair < pairs; pair++) {
        uint8_t low = plane[2 * pair], high = plane[2 * pair + 1];
        low = low < ESCAPE ? low : ESCAPE;
        high = high < ESCAPE ? high : ESCAPE;
        packed[pair] = (uint8_t)(low | high << 4);
    }
    if (count % 2)
        packed[pairs] = plane[count - 1] < ESCAPE ? plane[count - 1] : ESCAPE;
    for (; i + 8 <= count; i += 8) {
        if (!any_escape(load_8_bytes(plane + i)))
            continue;
        for (size_t j = i; j < i + 8; j++) {
            escapes[found] = plane[j]; /* found <= j, so there is room; overwritten unless it counts */
            found += plane[j] >= ESCAPE;
        }
    }
    for (; i < count; i++)
        if (plane[i] >= ESCAPE)
            escapes[found++] = plane[i];
    return found;
}

/* The first `count` halves of `packed`, which has (count + 1) / 2 bytes. Returns how many of them are ESCAPE. */
EXPORT size_t mvc_unpack_nibbles(const uint8_t *restrict packed, size_t count, uint8_t *restrict plane) {
    size_t escapes = 0, pairs = count / 2;
    for (size_t pair = 0; pair < pairs; pair++) {
        plane[2 * pair] = packed[pair] & 15;
        plane[2 * pair + 1] = packed[pair] >> 4;
    }
    if (count % 2)
        plane[count - 1] = packed[pairs] & 15;
    for (size_t start = 0; start < count; start += 255) {
        size_t stop = count - start < 255 ? count : start + 255;
        uint8_t some = 0; /* at most 255: a narrow counter makes vector code that is many elements wide */
        for (size_t i = start; i < stop; i++)
            some = (uint8_t)(some + (plane[i] == ESCAPE));
        escapes += some;
    }
    return escapes;
}

/* Put `escapes` in the place of the ESCAPEs of `plane`, all of whose bytes are at most that. Returns 0, or -1 if
   there are not exactly `available` places. */
EXPORT int mvc_fill_escapes(uint8_t *restrict plane, size_t count, const uint8_t *restrict escapes, size_t available) {
    size_t used = 0, i = 0;
    while (i < count) {
        if (i + 8 <= count && !any_escape(load_8_bytes(plane + i))) {
            i += 8;
        } else if (i + 8 <= count && available - used >= 8) {
            for (size_t end = i + 8; i < end; i++) {
                uint8_t value = plane[i];
                plane[i] = value == ESCAPE ? escapes[used] : value;
                used += value == ESCAPE;
            }
        } else {
            if (plane[i] == ESCAPE) {
                if (used == available)
                    return -1;
                plane[i] = escapes[used++];
            }
            i++;
        }
    }
    return used == available ? 0 : -1;
}

/* mvc_tokenise and mvc_untokenise: residuals as tokens with extra bits, and back; `extras` has room for as many bytes
   as the elements have and eight more. The first returns the number of extra bits, or UINT64_MAX for parameters out of range. */
EXPORT uint64_t mvc_tokenise(unsigned width, unsigned shift, unsigned bits, unsigned keep, const uint8_t *target,
                             const uint8_t *base, size_t count, size_t tokens, uint8_t *token, uint8_t *keys,
                             uint32_t *counts, uint8_t *extras) {
    struct step step;
    if (!step_from(STEP_RESIDUAL, width, shift, bits, &step) || keep < 1 || keep > 3 || count > UINT32_MAX ||
        tokens < CLASSES + ((8 * (size_t)width - DIRECT_BITS) << keep))
        return UINT64_MAX;
    switch (width) {
    case 1: return tokenise_8(target, base, count, step.low, step.mask, keep, tokens, token, keys, counts, extras);
    case 2: return tokenise_16(target, base, count, step.low, step.mask, keep, tokens, token, keys, counts, extras);
    case 4: return tokenise_32(target, base, count, step.low, step.mask, keep, tokens, token, keys, counts, extras);
    default: return tokenise_64(target, base, count, step.low, step.mask, keep, tokens, token, keys, counts, extras);
    }
}

EXPORT int mvc_untokenise(unsigned width, unsigned keep, const uint8_t *token, const uint8_t *base, size_t count,
                          const uint8_t *extras, size_t available, uint8_t *out) {
    if (keep > 3)
        return -1;
    switch (width) {
    case 1: return untokenise_8(token, base, count, keep, extras, available, out);
    case 2: return untokenise_16(token, base, count, keep, extras, available, out);
    case 4: return untokenise_32(token, base, count, keep, extras, available, out);
    case 8: return untokenise_64(token, base, count, keep, extras, available, out);
    default: return -1;
    }
}

/* mvc_bucketise and mvc_unbucketise: rotated elements as symbols by their upper bits, with the `low` lower ones as
   extra bits, and back. `symbol_of` has 2^16 entries, all 1 or more; `extras` has room for as many bytes as the
   elements have and eight more; `upper` has 256. The first returns the number of extra bits, or UINT64_MAX for
   parameters out of range. */
EXPORT uint64_t mvc_bucketise(unsigned width, unsigned low, const uint8_t *target, size_t count,
                              const uint8_t *symbol_of, uint8_t *symbol, uint32_t *counts, uint8_t *extras) {
    if (low >= 8 * width || 8 * width - low > 16)
        return UINT64_MAX;
    switch (width) {
    case 1: return bucketise_8(target, count, low, symbol_of, symbol, counts, extras);
    case 2: return bucketise_16(target, count, low, symbol_of, symbol, counts, extras);
    case 4: return bucketise_32(target, count, low, symbol_of, symbol, counts, extras);
    case 8: return bucketise_64(target, count, low, symbol_of, symbol, counts, extras);
    default: return UINT64_MAX;
    }
}

EXPORT int mvc_unbucketise(unsigned width, unsigned low, const uint8_t *symbol, size_t count, const uint64_t *upper,
                           const uint8_t *extras, size_t available, uint8_t *out) {
    if (low >= 8 * width)
        return -1;
    switch (width) {
    case 1: return unbucketise_8(symbol, count, low, upper, extras, available, out);
    case 2: return unbucketise_16(symbol, count, low, upper, extras, available, out);
    case 4: return unbucketise_32(symbol, count, low, upper, extras, available, out);
    case 8: return unbucketise_64(symbol, count, low, upper, extras, available, out);
    default: return -1;
    }
}

/* The key of each element of `base`. */
EXPORT int mvc_keys(unsigned width, unsigned shift, unsigned bits, const uint8_t *base, size_t count, uint8_t *keys) {
    struct step step;
    if (!step_from(STEP_RESIDUAL, width, shift, bits, &step))
        return -1;
    for (size_t start = 0; start < count; start += TILE) {
        size_t size = count - start < TILE ? count - start : TILE;
        const uint8_t *from = base + start * width;
        switch (width) {
        case 1: keys_8(from, size, step.low, step.mask, keys + start); break;
        case 2: keys_16(from, size, step.low, step.mask, keys + start); break;
        case 4: keys_32(from, size, step.low, step.mask, keys + start); break;
        default: keys_64(from, size, step.low, step.mask, keys + start); break;
        }
    }
    return 0;
}

/* What an encoder needs to know of a symbol: the reciprocal of its share, rounded up (states have 32 bits and shares
   at most 15, so that the product's whole part is the exact quotient); the greatest state that needs no word written
   first; where the share begins; and what it leaves of 2^precision. */
struct symbol {
    double reciprocal;
    uint32_t most;
    uint16_t start, others;
};

static int rans_parameters(const uint8_t *map, size_t contexts, size_t symbols, unsigned precision, size_t lanes) {
    if (precision < 1 || precision > MOST_PRECISION || lanes == 0 || lanes > MOST_LANES || (lanes & (lanes - 1)) ||
        symbols == 0 || symbols > 256 || contexts == 0 || contexts > 256)
        return 0;
    for (size_t key = 0; key < 256; key++)
        if (map[key] >= contexts)
            return 0;
    return 1;
}

static inline uint8_t *encode_all(const uint8_t *restrict symbol, const uint8_t *restrict keys, size_t count,
                                  const struct symbol *const *rows, size_t lanes, uint32_t *restrict states,
                                  uint8_t *restrict at) {
    for (size_t i = count; i-- > 0;) {
        const struct symbol *one = rows[keys[i]] + symbol[i];
        uint32_t state = states[i & (lanes - 1)];
        uint16_t word = (uint16_t)state; /* there is room for it: the states come last */
        memcpy(at - 2, &word, 2);
        unsigned full = state > one->most;
        at -= 2 * full;
        state >>= 16 * full;
        uint32_t quotient = (uint32_t)(int64_t)((double)(int64_t)(uint64_t)state * one->reciprocal);
        /* quotient * 2^precision + (state - quotient * share) + start */
        states[i & (lanes - 1)] = state + one->start + quotient * one->others;
    }
    return at;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include "_vector.h"
#define VECTORS(lanes) ((lanes) >= LEAST_LANES && __builtin_cpu_supports("avx2"))
#endif

/* rANS with static shares (mvc/codecs/rans.py): symbol i belongs to lane i mod `lanes`, and its shares are those of
   context map[keys[i]], where it has one. `shares` is [contexts][symbols]; `table` has room for 256 struct symbol for
   each context. The coded bytes (states, then words) are put at the end of `out`; returns how many they are, or 0 for
   parameters out of range. Without branches that depend on values. */
EXPORT size_t mvc_rans_encode(const uint8_t *restrict symbol, const uint8_t *restrict keys, size_t count,
                              const uint8_t *map, const uint16_t *shares, size_t contexts, size_t symbols,
                              unsigned precision, size_t lanes, struct symbol *restrict table,
                              uint8_t *restrict out, size_t capacity) {
    uint32_t states[MOST_LANES];
    const struct symbol *rows[256];
    if (!rans_parameters(map, contexts, symbols, precision, lanes) || capacity < 2 * count + 4 * lanes)
        return 0;
    for (size_t lane = 0; lane < lanes; lane++)
        states[lane] = RANS_LEAST;
#ifdef VECTORS
    if (VECTORS(lanes)) {
        uint32_t *entries = (uint32_t *)table, starts[256];
        for (size_t context = 0; context < contexts; context++) {
            uint32_t start = 0, whole = (uint32_t)1 << precision, *row = entries + context * 256;
            memset(row, 0, 256 * sizeof *row);
            for (size_t s = 0; s < symbols; s++) {
                uint32_t share = shares[context * symbols + s];
                if (share > whole - start)
                    return 0;
                row[s] = share << 16 | start;
                start += share;
            }
            if (start != whole)
                return 0;
        }
        for (size_t key = 0; key < 256; key++)
            starts[key] = 256 * map[key];
        uint8_t *from = encode_vectors(symbol, keys, count, entries, starts, precision, lanes, states, out + capacity);
        for (size_t lane = lanes; lane-- > 0;)
            memcpy(from -= 4, &states[lane], 4);
        return (size_t)(out + capacity - from);
    }
#endif
    memset(table, 0, contexts * 256 * sizeof *table);
    for (size_t context = 0; context < contexts; context++) {
        uint32_t start = 0, whole = (uint32_t)1 << precision;
        for (size_t s = 0; s < symbols; s++) {
            struct symbol *one = table + context * 256 + s;
            uint32_t share = shares[context * symbols + s];
            if (share > whole - start)
                return 0;
            one->start = (uint16_t)start;
            one->others = (uint16_t)(whole - share);
            one->most = (uint32_t)(((uint64_t)share << (32 - precision)) - 1);
            one->reciprocal = share ? 1.0 / share * (1.0 + 4.0 / 9007199254740992.0) : 0;
            start += share;
        }
        if (start != whole)
            return 0;
    }
    for (size_t key = 0; key < 256; key++)
        rows[key] = table + 256 * map[key];
    uint8_t *at = encode_all(symbol, keys, count, rows, lanes, states, out + capacity);
    for (size_t lane = lanes; lane-- > 0;)
        memcpy(at -= 4, &states[lane], 4);
    return (size_t)(out + capacity - at);
}

/* Decode a symbol; 1 if the state now needs a word. A row has the symbol of each slot, then share and start of each
   symbol. */
static inline unsigned decode_one(uint32_t *state, const uint8_t *row, unsigned precision, uint8_t *symbol) {
    uint32_t slot = *state & (((uint32_t)1 << precision) - 1), both;
    uint8_t found = row[slot];
    memcpy(&both, row + ((size_t)1 << precision) + 4 * (size_t)found, sizeof both);
    *state = (both >> 16) * (*state >> precision) + slot - (both & 0xffff);
    *symbol = found;
    return *state < RANS_LEAST;
}

/* Returns where the words end that were used, or NULL where they run out. */
static inline const uint8_t *decode_all(const uint8_t *restrict at, const uint8_t *end, const uint8_t *restrict keys,
                                        size_t count, const uint8_t *const *rows, unsigned precision, size_t lanes,
                                        uint32_t *restrict states, uint8_t *restrict symbol) {
    size_t i = 0;
    while (i < count) {
        /* as many symbols as there are words for certain, without a branch: a symbol takes at most one */
        size_t sure = (size_t)(end - at) / 2, stop = count - i < sure ? count : i + sure;
        if (sure == 0) {
            if (decode_one(&states[i & (lanes - 1)], rows[keys[i]], precision, symbol + i))
                return NULL;
            i++;
            continue;
        }
        for (; i < stop; i++) {
            uint32_t state = states[i & (lanes - 1)];
            unsigned under = decode_one(&state, rows[keys[i]], precision, symbol + i);
            uint16_t word;
            memcpy(&word, at, 2);
            at += 2 * under;
            states[i & (lanes - 1)] = state << 16 * under | (word & (0 - under));
        }
    }
    return at;
}

/* The symbol of each slot of a context, then share and start of each symbol. Returns 0, or -1 if the shares do not sum
   up. */
static int decoder_row(const uint16_t *shares, size_t symbols, uint32_t size, uint8_t *row) {
    uint32_t start = 0;
    for (size_t s = 0; s < symbols; s++) {
        uint32_t share = shares[s], both = share << 16 | start;
        if (share > size - start)
            return -1;
        memset(row + start, (int)s, share);
        memcpy(row + size + 4 * s, &both, 4);
        start += share;
    }
    return start == size ? 0 : -1;
}

/* Undo mvc_rans_encode. `room` begins at a multiple of 4 and has 4 * 2^precision + 4 * 256 bytes for each context.
   Returns 0, or -1 if the bytes are not exactly such a code. */
EXPORT int mvc_rans_decode(const uint8_t *restrict coded, size_t length, const uint8_t *restrict keys, size_t count,
                           const uint8_t *map, const uint16_t *shares, size_t contexts, size_t symbols,
                           unsigned precision, size_t lanes, uint8_t *restrict room, uint8_t *restrict symbol) {
    uint32_t states[MOST_LANES];
    if (!rans_parameters(map, contexts, symbols, precision, lanes) || length < 4 * lanes || length % 2)
        return -1;
    const uint32_t size = (uint32_t)1 << precision;
    const uint8_t *at = coded, *end = coded + length;
    for (size_t lane = 0; lane < lanes; lane++, at += 4) {
        memcpy(&states[lane], at, 4);
        if (states[lane] < RANS_LEAST)
            return -1;
    }
#ifdef VECTORS
    if (VECTORS(lanes) && precision <= VECTOR_PRECISION) {
        uint32_t starts[256], *entry = (uint32_t *)room;
        for (size_t context = 0; context < contexts; context++) {
            uint32_t left = size;
            for (size_t s = 0; s < symbols; s++) {
                uint32_t share = shares[context * symbols + s];
                if (share > left)
                    return -1;
                uint32_t first = (uint32_t)s | (share - 1) << 8;
                for (uint32_t i = 0; i < share; i++)
                    entry[i] = first | i << 20;
                entry += share;
                left -= share;
            }
            if (left)
                return -1;
        }
        for (size_t key = 0; key < 256; key++)
            starts[key] = size * map[key];
        at = decode_vectors(at, end, keys, count, (const uint32_t *)room, starts, precision, lanes, states, symbol);
    } else
#endif
    {
        const uint8_t *rows[256];
        for (size_t context = 0; context < contexts; context++)
            if (decoder_row(shares + context * symbols, symbols, size, room + context * (size + 4 * 256)))
                return -1;
        for (size_t key = 0; key < 256; key++)
            rows[key] = room + map[key] * (size + 4 * 256);
        /* a shift by a constant is cheaper */
        at = precision == 12 ? decode_all(at, end, keys, count, rows, 12, lanes, states, symbol)
                             : decode_all(at, end, keys, count, rows, precision, lanes, states, symbol);
    }
    for (size_t lane = 0; lane < lanes; lane++)
        if (states[lane] != RANS_LEAST)
            return -1;
    return at == end ? 0 : -1;
}
