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

/* The step before the planes; `mask` is not 0 where elements are grouped by (base >> low) & mask. */
struct step {
    unsigned kind, low, mask;
};

static inline uint64_t load_8_bytes(const uint8_t *from) {
    uint64_t word;
    memcpy(&word, from, 8);
    return word;
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

EXPORT uint32_t mvc_kernel_interface(void) { return 1; }

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
