/* Loops for processors with AVX2: the same bytes as those in _kernel.c, which includes this once, and _lane.h.

   rANS, eight lanes at a time, for 16 lanes or more: symbols that stand beside each other belong to lanes that do, so
   eight states fill a vector, and the words come in the order of the lanes. */

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,popcnt")))

/* With fewer lanes a vector has to wait for itself. For decoding, share, symbol and place must fit into 32 bits. */
enum { VECTOR = 8, VECTOR_TILE = 256, LEAST_LANES = 16, VECTOR_PRECISION = 12 };

/* For each set of lanes: the places of the words of those below each lane, and the lanes themselves, last ones last. */
struct orders {
    uint8_t spread[256][8], gathered[256][16];
};

static void make_orders(struct orders *orders) {
    for (unsigned set = 0; set < 256; set++) {
        unsigned below = 0, place = 8;
        for (unsigned lane = 0; lane < 8; lane++) {
            orders->spread[set][lane] = (uint8_t)below;
            below += set >> lane & 1;
        }
        memset(orders->gathered[set], 0x80, 16);
        for (unsigned lane = 8; lane-- > 0;)
            if (set >> lane & 1) {
                place--;
                orders->gathered[set][2 * place] = (uint8_t)(2 * lane);
                orders->gathered[set][2 * place + 1] = (uint8_t)(2 * lane + 1);
            }
    }
}

/* Lanes of a block that is cut short by the end. */
AVX2 static inline __m256i first_lanes(size_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(count < VECTOR ? count : VECTOR)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* Quotients below 2^31 of unsigned numbers: doubles hold both exactly, and their quotient is never rounded up to a
   whole number, from which it is away by 2^-15 at least. */
AVX2 static inline __m128i four_quotients(__m128i numbers, __m128i divisors) {
    const __m256i magic = _mm256_set1_epi64x(0x4330000000000000); /* 2^52, below whose highest bit 52 bits are free */
    __m256d wide = _mm256_sub_pd(_mm256_castsi256_pd(_mm256_or_si256(_mm256_cvtepu32_epi64(numbers), magic)),
                                 _mm256_castsi256_pd(magic));
    return _mm256_cvttpd_epi32(_mm256_div_pd(wide, _mm256_cvtepi32_pd(divisors)));
}

/* `entries` has start and, 16 bits up, share of each of 256 symbols of each context, `rows` where a key's begin. */
AVX2 static uint8_t *encode_vectors(const uint8_t *restrict symbol, const uint8_t *restrict keys, size_t count,
                                    const uint32_t *entries, const uint32_t *rows, unsigned precision, size_t lanes,
                                    uint32_t *restrict states, uint8_t *restrict at) {
    struct orders orders;
    const __m128i up = _mm_cvtsi32_si128((int)precision), down = _mm_cvtsi32_si128(32 - (int)precision);
    const __m256i low = _mm256_set1_epi32(0xffff), one = _mm256_set1_epi32(1);
    uint32_t found[VECTOR_TILE] = {0};
    make_orders(&orders);
    for (size_t i = (count + VECTOR - 1) / VECTOR * VECTOR, ready = i; i > 0;) {
        if (i == ready) { /* looked up one by one: gathering costs more on some processors */
            ready = (i - 1) / VECTOR_TILE * VECTOR_TILE;
            for (size_t j = ready, stop = i < count ? i : count; j < stop; j++)
                found[j - ready] = entries[rows[keys[j]] + symbol[j]];
        }
        i -= VECTOR;
        size_t left = count - i;
        __m256i *place = (__m256i *)(states + (i & (lanes - 1)));
        __m256i old = _mm256_loadu_si256(place), live = first_lanes(left), state = old;
        __m256i entry = _mm256_loadu_si256((const __m256i *)(found + (i - ready)));
        __m256i share = _mm256_max_epi32(_mm256_srli_epi32(entry, 16), one), start = _mm256_and_si256(entry, low);
        __m256i full = _mm256_cmpgt_epi32(share, _mm256_srl_epi32(state, down)); /* not, so far */
        full = _mm256_andnot_si256(full, live);
        unsigned set = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(full));
        __m256i words = _mm256_and_si256(state, low);
        words = _mm256_permute4x64_epi64(_mm256_packus_epi32(words, words), 0x08);
        __m128i order = _mm_loadu_si128((const __m128i *)orders.gathered[set]);
        /* there is room for them all: the states come last */
        _mm_storeu_si128((__m128i *)(at - 16), _mm_shuffle_epi8(_mm256_castsi256_si128(words), order));
        at -= 2 * (size_t)__builtin_popcount(set);
        state = _mm256_blendv_epi8(state, _mm256_srli_epi32(state, 16), full);
        __m256i quotient = _mm256_set_m128i(
            four_quotients(_mm256_extracti128_si256(state, 1), _mm256_extracti128_si256(share, 1)),
            four_quotients(_mm256_castsi256_si128(state), _mm256_castsi256_si128(share)));
        __m256i rest = _mm256_sub_epi32(state, _mm256_mullo_epi32(quotient, share));
        state = _mm256_add_epi32(_mm256_add_epi32(_mm256_sll_epi32(quotient, up), rest), start);
        _mm256_storeu_si256(place, _mm256_blendv_epi8(old, state, live));
    }
    return at;
}

/* `entries` has for each slot of each context its symbol, 8 bits up the share less one, and 20 bits up how far into
   the share it is; `rows` where a key's begin. Returns where the words end that were used, or NULL where they run out. */
AVX2 static const uint8_t *decode_vectors(const uint8_t *restrict at, const uint8_t *end, const uint8_t *restrict keys,
                                          size_t count, const uint32_t *entries, const uint32_t *rows,
                                          unsigned precision, size_t lanes, uint32_t *restrict states,
                                          uint8_t *restrict symbol) {
    struct orders orders;
    const __m128i down = _mm_cvtsi32_si128((int)precision);
    const __m256i below = _mm256_set1_epi32((1 << precision) - 1), one = _mm256_set1_epi32(1);
    const __m256i shares = _mm256_set1_epi32(0xfff), zero = _mm256_setzero_si256();
    const __m256i bytes = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, /**/
                                           0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    uint32_t row[VECTOR_TILE] = {0};
    make_orders(&orders);
    for (size_t i = 0; i < count; i += VECTOR) {
        if (i % VECTOR_TILE == 0)
            for (size_t j = 0, stop = count - i < VECTOR_TILE ? count - i : VECTOR_TILE; j < stop; j++)
                row[j] = rows[keys[i + j]];
        size_t left = count - i;
        uint8_t last[16] = {0};
        const uint8_t *from = at;
        if (end - at < 16) {
            memcpy(last, at, (size_t)(end - at));
            from = last;
        }
        __m256i *place = (__m256i *)(states + (i & (lanes - 1)));
        __m256i old = _mm256_loadu_si256(place);
        __m256i slot = _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(row + i % VECTOR_TILE)),
                                        _mm256_and_si256(old, below));
        __m256i entry = _mm256_i32gather_epi32((const int *)entries, slot, 4);
        __m256i share = _mm256_add_epi32(_mm256_and_si256(_mm256_srli_epi32(entry, 8), shares), one);
        __m256i state = _mm256_add_epi32(_mm256_mullo_epi32(share, _mm256_srl_epi32(old, down)),
                                         _mm256_srli_epi32(entry, 20));
        __m256i under = _mm256_cmpeq_epi32(_mm256_srli_epi32(state, 16), zero);
        __m256i packed = _mm256_shuffle_epi8(entry, bytes);
        uint64_t found = (uint32_t)_mm256_extract_epi32(packed, 0) | (uint64_t)(uint32_t)_mm256_extract_epi32(packed, 4) << 32;
        if (left < VECTOR) {
            __m256i live = first_lanes(left);
            under = _mm256_and_si256(under, live);
            state = _mm256_blendv_epi8(old, state, live);
            memcpy(symbol + i, &found, left);
        } else
            memcpy(symbol + i, &found, VECTOR);
        unsigned set = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(under));
        __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from));
        words = _mm256_permutevar8x32_epi32(
            words, _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)orders.spread[set])));
        __m256i more = _mm256_or_si256(_mm256_slli_epi32(state, 16), words);
        _mm256_storeu_si256(place, _mm256_blendv_epi8(state, more, under));
        size_t used = 2 * (size_t)__builtin_popcount(set);
        if (from == last && used > (size_t)(end - at))
            return NULL;
        at += used;
    }
    return at;
}

/* Tokens of 16-bit elements, sixteen at a time, with `keep` of 1 to 3, and of 32-bit elements, eight at a time, with
   `keep` of 3: four of the former have 56 extra bits at most, and so have two of the latter. A block of either gives
   four words of extra bits. */

enum { BLOCK = 32 /* bytes */, BLOCK_WORDS = 4, MOST_WORDS = TILE / 2 };

/* What a tile is made into, and how. */
struct tokens {
    unsigned low, mask, keep;
    size_t number;
    uint64_t words[MOST_WORDS], lengths[MOST_WORDS];
    uint16_t cells[TILE]; /* of counts: key * number + token */
};

/* Of numbers of bits below 16 in 16-bit lanes the masks of so many bits; or the powers of two. */
AVX2 static inline __m256i by_bits(__m256i counts, __m128i lows, __m128i highs) {
    __m256i low = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(lows),
                                      _mm256_or_si256(counts, _mm256_set1_epi16((short)0x8000)));
    __m256i high = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(highs),
                                       _mm256_or_si256(_mm256_slli_epi16(counts, 8), _mm256_set1_epi16(0x80)));
    return _mm256_or_si256(low, high);
}

AVX2 static inline __m256i masks_of(__m256i counts) {
    return by_bits(counts, _mm_setr_epi8(0, 1, 3, 7, 15, 31, 63, 127, -1, -1, -1, -1, -1, -1, -1, -1),
                   _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 7, 15, 31, 63, 127));
}

AVX2 static inline __m256i powers_of(__m256i counts) {
    return by_bits(counts, _mm_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0),
                   _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, -128));
}

/* Sums of two numbers beside each other: 16 bits each into 32, and 32 into 64. */
AVX2 static inline __m256i pairs_32(__m256i counts) {
    return _mm256_add_epi32(_mm256_and_si256(counts, _mm256_set1_epi32(0xffff)), _mm256_srli_epi32(counts, 16));
}

AVX2 static inline __m256i pairs_64(__m256i counts) {
    return _mm256_add_epi64(_mm256_and_si256(counts, _mm256_set1_epi64x(0xffffffff)), _mm256_srli_epi64(counts, 32));
}

/* The elements i to i + 15 of a tile. */
AVX2 static inline void tokenise_16_wide(struct tokens *made, size_t i, const uint8_t *target, const uint8_t *base,
                                         uint8_t *token, uint8_t *keys) {
    const __m256i zero = _mm256_setzero_si256(), one = _mm256_set1_epi16(1), direct = _mm256_set1_epi16(DIRECT);
    const __m256i first = _mm256_set1_epi16((short)(CLASSES - ((127 + DIRECT_BITS) << made->keep)));
    const __m256i bias = _mm256_set1_epi16((short)(127 + made->keep)), halves = _mm256_set1_epi32(0xffff);
    const __m256i words = _mm256_set1_epi64x(0xffffffff), number = _mm256_set1_epi16((short)made->number);
    const __m128i down = _mm_cvtsi32_si128((int)(23 - made->keep)), kept = _mm_cvtsi32_si128((int)made->keep);
    __m256i now = _mm256_loadu_si256((const __m256i *)target), old = _mm256_loadu_si256((const __m256i *)base);
    __m256i moved = _mm256_sub_epi16(now, old);
    __m256i value = _mm256_xor_si256(_mm256_add_epi16(moved, moved), _mm256_srai_epi16(moved, 15));
    __m256i same = _mm256_cmpeq_epi16(value, zero);
    __m256i nought = _mm256_andnot_si256(same, _mm256_cmpeq_epi16(now, zero));
    __m256i large = _mm256_andnot_si256(nought, _mm256_cmpeq_epi16(_mm256_max_epu16(value, direct), value));
    /* exponent and first bits of the mantissa, as `classes` in _lane.h */
    __m256i lower = _mm256_castps_si256(_mm256_cvtepi32_ps(_mm256_unpacklo_epi16(value, zero)));
    __m256i upper = _mm256_castps_si256(_mm256_cvtepi32_ps(_mm256_unpackhi_epi16(value, zero)));
    __m256i both = _mm256_packus_epi32(_mm256_srl_epi32(lower, down), _mm256_srl_epi32(upper, down));
    __m256i more = _mm256_and_si256(_mm256_sub_epi16(_mm256_srl_epi16(both, kept), bias), large);
    __m256i found = _mm256_add_epi16(_mm256_add_epi16(value, one), same);
    found = _mm256_blendv_epi8(found, _mm256_add_epi16(both, first), large);
    found = _mm256_blendv_epi8(found, one, nought);
    __m256i key = _mm256_and_si256(_mm256_srl_epi16(old, _mm_cvtsi32_si128((int)made->low)),
                                   _mm256_set1_epi16((short)made->mask));
    _mm256_storeu_si256((__m256i *)(made->cells + i), _mm256_add_epi16(_mm256_mullo_epi16(key, number), found));
    __m256i narrow = _mm256_permute4x64_epi64(_mm256_packus_epi16(found, key), 0xd8);
    _mm_storeu_si128((__m128i *)token, _mm256_castsi256_si128(narrow));
    _mm_storeu_si128((__m128i *)keys, _mm256_extracti128_si256(narrow, 1));
    __m256i rest = _mm256_and_si256(value, masks_of(more)), length = pairs_32(more);
    rest = _mm256_or_si256(_mm256_and_si256(rest, halves),
                           _mm256_sllv_epi32(_mm256_srli_epi32(rest, 16), _mm256_and_si256(more, halves)));
    rest = _mm256_or_si256(_mm256_and_si256(rest, words),
                           _mm256_sllv_epi64(_mm256_srli_epi64(rest, 32), _mm256_and_si256(length, words)));
    _mm256_storeu_si256((__m256i *)(made->words + i / 4), rest);
    _mm256_storeu_si256((__m256i *)(made->lengths + i / 4), pairs_64(length));
}

/* The elements i to i + 7 of a tile. */
AVX2 static inline void tokenise_32_wide(struct tokens *made, size_t i, const uint8_t *target, const uint8_t *base,
                                         uint8_t *token, uint8_t *keys) {
    const __m256i zero = _mm256_setzero_si256(), one = _mm256_set1_epi32(1), direct = _mm256_set1_epi32(DIRECT);
    const __m256i first = _mm256_set1_epi32(CLASSES - ((127 + DIRECT_BITS) << 3)), bias = _mm256_set1_epi32(127 + 3);
    const __m256i words = _mm256_set1_epi64x(0xffffffff), number = _mm256_set1_epi32((int)made->number);
    __m256i now = _mm256_loadu_si256((const __m256i *)target), old = _mm256_loadu_si256((const __m256i *)base);
    __m256i moved = _mm256_sub_epi32(now, old);
    __m256i value = _mm256_xor_si256(_mm256_add_epi32(moved, moved), _mm256_srai_epi32(moved, 31));
    __m256i same = _mm256_cmpeq_epi32(value, zero);
    __m256i nought = _mm256_andnot_si256(same, _mm256_cmpeq_epi32(now, zero));
    __m256i large = _mm256_andnot_si256(nought, _mm256_cmpeq_epi32(_mm256_max_epu32(value, direct), value));
    /* a float holds 24 bits: of longer numbers the lowest eight, which are no part of a token, are left out */
    __m256i fits = _mm256_cmpeq_epi32(_mm256_srli_epi32(value, 24), zero);
    __m256i held = _mm256_blendv_epi8(_mm256_srli_epi32(value, 8), value, fits);
    __m256i both = _mm256_srli_epi32(_mm256_castps_si256(_mm256_cvtepi32_ps(held)), 23 - 3);
    both = _mm256_add_epi32(both, _mm256_andnot_si256(fits, _mm256_set1_epi32(8 << 3)));
    __m256i more = _mm256_and_si256(_mm256_sub_epi32(_mm256_srli_epi32(both, 3), bias), large);
    __m256i found = _mm256_add_epi32(_mm256_add_epi32(value, one), same);
    found = _mm256_blendv_epi8(found, _mm256_add_epi32(both, first), large);
    found = _mm256_blendv_epi8(found, one, nought);
    __m256i key = _mm256_and_si256(_mm256_srl_epi32(old, _mm_cvtsi32_si128((int)made->low)),
                                   _mm256_set1_epi32((int)made->mask));
    __m256i cell = _mm256_add_epi32(_mm256_mullo_epi32(key, number), found);
    cell = _mm256_permute4x64_epi64(_mm256_packus_epi32(cell, cell), 0x08);
    _mm_storeu_si128((__m128i *)(made->cells + i), _mm256_castsi256_si128(cell));
    __m256i narrow = _mm256_packus_epi32(found, key);
    narrow = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(narrow, narrow), _mm256_setr_epi32(0, 4, 1, 5, 0, 0, 0, 0));
    _mm_storel_epi64((__m128i *)token, _mm256_castsi256_si128(narrow));
    _mm_storel_epi64((__m128i *)keys, _mm_srli_si128(_mm256_castsi256_si128(narrow), 8));
    __m256i rest = _mm256_andnot_si256(_mm256_sllv_epi32(_mm256_set1_epi32(-1), more), value);
    rest = _mm256_or_si256(_mm256_and_si256(rest, words),
                           _mm256_sllv_epi64(_mm256_srli_epi64(rest, 32), _mm256_and_si256(more, words)));
    _mm256_storeu_si256((__m256i *)(made->words + i / 2), rest);
    _mm256_storeu_si256((__m256i *)(made->lengths + i / 2), pairs_64(more));
}

AVX2 static uint64_t tokenise_vectors(size_t width, const uint8_t *restrict target, const uint8_t *restrict base,
                                      size_t count, unsigned low, unsigned mask, unsigned keep, size_t tokens,
                                      uint8_t *restrict token, uint8_t *restrict keys, uint32_t *restrict counts,
                                      uint8_t *restrict extras) {
    struct tokens made;
    struct bits out = {extras, 0, 0, 0};
    uint32_t *other = counts + 256 * tokens;
    const size_t block = BLOCK / width;
    made.low = low;
    made.mask = mask;
    made.keep = keep;
    made.number = tokens;
    memset(counts, 0, 2 * 256 * tokens * sizeof *counts);
    for (size_t start = 0; start < count; start += TILE) {
        size_t size = count - start < TILE ? count - start : TILE, whole = size - size % block, i = 0;
        const uint8_t *to = target + width * start, *from = base + width * start;
        if (width == 2)
            for (; i < whole; i += block)
                tokenise_16_wide(&made, i, to + 2 * i, from + 2 * i, token + start + i, keys + start + i);
        else
            for (; i < whole; i += block)
                tokenise_32_wide(&made, i, to + 4 * i, from + 4 * i, token + start + i, keys + start + i);
        if (i < size) { /* equal elements behind the last one: nothing to code */
            uint8_t ends[2][BLOCK] = {{0}}, last[2][BLOCK / 2];
            memcpy(ends[0], to + width * i, width * (size - i));
            memcpy(ends[1], from + width * i, width * (size - i));
            (width == 2 ? tokenise_16_wide : tokenise_32_wide)(&made, i, ends[0], ends[1], last[0], last[1]);
            memcpy(token + start + i, last[0], size - i);
            memcpy(keys + start + i, last[1], size - i);
            i += block;
        }
        for (size_t word = 0; word < i / block * BLOCK_WORDS; word++)
            put_bits(&out, made.words[word], (unsigned)made.lengths[word], 32);
        for (i = 0; i + 2 <= size; i += 2) { /* in turn: a counter that goes up again has to wait for itself */
            counts[made.cells[i]]++;
            other[made.cells[i + 1]]++;
        }
        if (i < size)
            counts[made.cells[i]]++;
    }
    for (size_t i = 0; i < 256 * tokens; i++)
        counts[i] += other[i];
    return end_bits(&out);
}

/* How many extra bits 16-bit tokens have in 16-bit lanes; which of them have classes, into `large`. */
AVX2 static inline __m256i extra_16_wide(__m256i found, unsigned keep, __m256i *large) {
    const __m256i classes = _mm256_set1_epi16(CLASSES), least = _mm256_set1_epi16((short)(DIRECT_BITS - keep));
    const __m256i beyond = _mm256_set1_epi16((short)(CLASSES + ((16 - DIRECT_BITS) << keep)));
    __m256i class = _mm256_srl_epi16(_mm256_sub_epi16(found, classes), _mm_cvtsi32_si128((int)keep));
    *large = _mm256_andnot_si256(_mm256_cmpgt_epi16(classes, found), _mm256_cmpgt_epi16(beyond, found));
    return _mm256_and_si256(_mm256_add_epi16(class, least), *large);
}

AVX2 static inline __m256i extra_32_wide(__m256i found, __m256i *large) {
    const __m256i classes = _mm256_set1_epi32(CLASSES), least = _mm256_set1_epi32(DIRECT_BITS - 3);
    const __m256i beyond = _mm256_set1_epi32(CLASSES + ((32 - DIRECT_BITS) << 3));
    __m256i class = _mm256_srli_epi32(_mm256_sub_epi32(found, classes), 3);
    *large = _mm256_andnot_si256(_mm256_cmpgt_epi32(classes, found), _mm256_cmpgt_epi32(beyond, found));
    return _mm256_and_si256(_mm256_add_epi32(class, least), *large);
}

AVX2 static inline __m256i elements_16_wide(const uint8_t *token, const uint8_t *base, unsigned keep,
                                            const uint64_t *words) {
    const __m256i one = _mm256_set1_epi16(1), classes = _mm256_set1_epi16(CLASSES);
    const __m256i implied = _mm256_set1_epi16((short)(1 << keep)), part = _mm256_set1_epi16((short)((1 << keep) - 1));
    __m256i found = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)token)), large;
    __m256i more = extra_16_wide(found, keep, &large);
    __m256i rest = _mm256_loadu_si256((const __m256i *)words);
    __m256i length = _mm256_and_si256(pairs_32(more), _mm256_set1_epi64x(0xffffffff));
    rest = _mm256_blend_epi32(rest, _mm256_slli_epi64(_mm256_srlv_epi64(rest, length), 32), 0xaa);
    length = _mm256_and_si256(more, _mm256_set1_epi32(0xffff));
    rest = _mm256_blend_epi16(rest, _mm256_slli_epi32(_mm256_srlv_epi32(rest, length), 16), 0xaa);
    rest = _mm256_and_si256(rest, masks_of(more));
    __m256i high = _mm256_or_si256(implied, _mm256_and_si256(_mm256_sub_epi16(found, classes), part));
    high = _mm256_or_si256(_mm256_mullo_epi16(high, powers_of(more)), rest);
    __m256i value = _mm256_blendv_epi8(_mm256_subs_epu16(found, one), high, large);
    __m256i sign = _mm256_sub_epi16(_mm256_setzero_si256(), _mm256_and_si256(value, one));
    __m256i plain = _mm256_add_epi16(_mm256_xor_si256(_mm256_srli_epi16(value, 1), sign),
                                     _mm256_loadu_si256((const __m256i *)base));
    return _mm256_andnot_si256(_mm256_cmpeq_epi16(found, one), plain);
}

AVX2 static inline __m256i elements_32_wide(const uint8_t *token, const uint8_t *base, const uint64_t *words) {
    const __m256i one = _mm256_set1_epi32(1), classes = _mm256_set1_epi32(CLASSES);
    __m256i found = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)token)), large;
    __m256i more = extra_32_wide(found, &large);
    __m256i rest = _mm256_loadu_si256((const __m256i *)words);
    __m256i length = _mm256_and_si256(more, _mm256_set1_epi64x(0xffffffff));
    rest = _mm256_blend_epi32(rest, _mm256_slli_epi64(_mm256_srlv_epi64(rest, length), 32), 0xaa);
    rest = _mm256_andnot_si256(_mm256_sllv_epi32(_mm256_set1_epi32(-1), more), rest);
    __m256i high = _mm256_and_si256(_mm256_sub_epi32(found, classes), _mm256_set1_epi32(7));
    high = _mm256_sllv_epi32(_mm256_or_si256(high, _mm256_set1_epi32(8)), more);
    __m256i direct = _mm256_max_epi32(_mm256_sub_epi32(found, one), _mm256_setzero_si256());
    __m256i value = _mm256_blendv_epi8(direct, _mm256_or_si256(high, rest), large);
    __m256i sign = _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_and_si256(value, one));
    __m256i plain = _mm256_add_epi32(_mm256_xor_si256(_mm256_srli_epi32(value, 1), sign),
                                     _mm256_loadu_si256((const __m256i *)base));
    return _mm256_andnot_si256(_mm256_cmpeq_epi32(found, one), plain);
}

AVX2 static int untokenise_vectors(size_t width, const uint8_t *restrict token, const uint8_t *restrict base,
                                   size_t count, unsigned keep, const uint8_t *restrict extras, size_t available,
                                   uint8_t *restrict out) {
    uint64_t place = 0, words[MOST_WORDS], lengths[MOST_WORDS];
    const size_t block = BLOCK / width;
    for (size_t start = 0; start < count; start += TILE) {
        size_t size = count - start < TILE ? count - start : TILE, whole = size - size % block;
        uint8_t made[TILE] = {0}, end[BLOCK] = {0};
        memcpy(made, token + start, size);
        for (size_t i = 0; i < size; i += block) {
            __m256i large, *to = (__m256i *)(lengths + i / block * BLOCK_WORDS);
            if (width == 2) {
                __m256i found = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(made + i)));
                _mm256_storeu_si256(to, pairs_64(pairs_32(extra_16_wide(found, keep, &large))));
            } else {
                __m256i found = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(made + i)));
                _mm256_storeu_si256(to, pairs_64(extra_32_wide(found, &large)));
            }
        }
        for (size_t i = 0; i < (size + block - 1) / block * BLOCK_WORDS; i++) {
            size_t byte = (size_t)(place >> 3);
            if (byte + 8 <= available)
                words[i] = load_8_bytes(extras + byte) >> (place & 7);
            else if (place + lengths[i] <= 8 * (uint64_t)available)
                words[i] = get_bits(extras, available, place, (unsigned)lengths[i], 32);
            else
                return -1;
            place += lengths[i];
        }
        for (size_t i = 0; i < size; i += block) {
            uint8_t *to = out + width * (start + i);
            const uint8_t *from = base + width * (start + i);
            const uint64_t *word = words + i / block * BLOCK_WORDS;
            if (i == whole) {
                memcpy(end, from, width * (size - i));
                from = end;
            }
            __m256i plain = width == 2 ? elements_16_wide(made + i, from, keep, word)
                                       : elements_32_wide(made + i, from, word);
            if (i == whole) {
                _mm256_storeu_si256((__m256i *)end, plain);
                memcpy(to, end, width * (size - i));
            } else
                _mm256_storeu_si256((__m256i *)to, plain);
        }
    }
    if (place > 8 * (uint64_t)available)
        return -1;
    return (place + 7) / 8 == available ? 0 : -1;
}
