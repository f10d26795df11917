/* The loops of rANS eight lanes at a time, for processors with AVX2: symbols that stand beside each other belong to
   lanes that do, so eight states fill a vector, and the words come in the order of the lanes. The same bytes as the
   loops in _kernel.c, which includes this once; for 16 lanes or more. */

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
