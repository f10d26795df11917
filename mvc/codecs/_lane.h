/* The loops over elements of one width; _kernel.c includes this once for each width.

   Expects ELEMENT (an unsigned type), WIDTH (its bytes) and NAME(x) (a name of this width's own). Elements may lie
   at any address, so they are read and written through memcpy, which compilers turn into plain moves. */

static inline ELEMENT NAME(load)(const uint8_t *from, size_t place) {
    ELEMENT value;
    memcpy(&value, from + place * WIDTH, WIDTH);
    return value;
}

static inline void NAME(store)(uint8_t *to, size_t place, ELEMENT value) {
    memcpy(to + place * WIDTH, &value, WIDTH);
}

/* What the step before the planes makes of an element. */
static inline ELEMENT NAME(forward)(unsigned step, ELEMENT target, ELEMENT base) {
    if (step == STEP_ROTATE)
        return (ELEMENT)((ELEMENT)(target + target) | (ELEMENT)(target >> (8 * WIDTH - 1)));
    if (step == STEP_RESIDUAL) {
        ELEMENT difference = (ELEMENT)(target - base);
        ELEMENT sign = (ELEMENT)(0 - (ELEMENT)(difference >> (8 * WIDTH - 1)));
        return (ELEMENT)((ELEMENT)(difference + difference) ^ sign);
    }
    return target;
}

static inline ELEMENT NAME(backward)(unsigned step, ELEMENT coded, ELEMENT base) {
    if (step == STEP_ROTATE)
        return (ELEMENT)((ELEMENT)(coded >> 1) | (ELEMENT)((ELEMENT)(coded & 1) << (8 * WIDTH - 1)));
    if (step == STEP_RESIDUAL)
        return (ELEMENT)((ELEMENT)((ELEMENT)(coded >> 1) ^ (ELEMENT)(0 - (ELEMENT)(coded & 1))) + base);
    return coded;
}

static inline unsigned NAME(key)(const uint8_t *base, size_t place, unsigned low, unsigned mask) {
    return (unsigned)(NAME(load)(base, place) >> low) & mask;
}

/* Elements apart into planes that follow each other in `planes`, least significant first. */
static inline void NAME(split_as)(unsigned step, const uint8_t *restrict target, const uint8_t *restrict base,
                                  size_t count, uint8_t *restrict planes) {
    for (size_t i = 0; i < count; i++) {
        ELEMENT from = step == STEP_RESIDUAL ? NAME(load)(base, i) : 0;
        ELEMENT value = NAME(forward)(step, NAME(load)(target, i), from);
        for (unsigned plane = 0; plane < WIDTH; plane++)
            planes[plane * count + i] = (uint8_t)(value >> (8 * plane));
    }
}

static inline void NAME(join_as)(unsigned step, const uint8_t *const *planes, const uint8_t *restrict base,
                                 size_t count, uint8_t *restrict out) {
    const uint8_t *at[WIDTH];
    for (unsigned plane = 0; plane < WIDTH; plane++)
        at[plane] = planes[plane];
    for (size_t i = 0; i < count; i++) {
        ELEMENT value = 0;
        for (unsigned plane = 0; plane < WIDTH; plane++)
            value = (ELEMENT)(value | (ELEMENT)((ELEMENT)at[plane][i] << (8 * plane)));
        NAME(store)(out, i, NAME(backward)(step, value, step == STEP_RESIDUAL ? NAME(load)(base, i) : 0));
    }
}

/* The keys of at most TILE elements. As many as fill a 64-bit word are shifted at once, for a shift that the compiler
   does not know has no vector form on 8 or 16 bits; what slips in from the element above is masked off. */
static inline void NAME(keys)(const uint8_t *restrict base, size_t count, unsigned low, unsigned mask,
                              uint8_t *restrict keys) {
    uint8_t shifted[TILE * WIDTH];
    uint64_t every = mask;
    size_t whole = count - count % (8 / WIDTH);
    for (unsigned bits = 8 * WIDTH; bits < 64; bits *= 2)
        every |= every << bits;
    for (size_t i = 0; i < whole * WIDTH; i += 8) {
        uint64_t word = load_8_bytes(base + i) >> low & every;
        memcpy(shifted + i, &word, 8);
    }
    for (size_t i = 0; i < whole; i++)
        keys[i] = (uint8_t)NAME(load)(shifted, i);
    for (size_t i = whole; i < count; i++)
        keys[i] = (uint8_t)NAME(key)(base, i, low, mask);
}

/* Where the elements of each key begin in the grouped order.

   The block is cut into RUNS runs with a counter each: elements mostly have one of few keys, and one counter that
   goes up with every element would have to wait for itself each time. A run's elements of a key stand before the
   next run's, so the order is the stable one. What does not fill a tile evenly belongs to the last run. */
static void NAME(starts)(const uint8_t *base, size_t count, unsigned low, unsigned mask, uint32_t starts[RUNS][256]) {
    uint8_t keys[RUNS][TILE];
    size_t run = count / RUNS;
    memset(starts, 0, RUNS * sizeof starts[0]);
    for (size_t done = 0; done < run; done += TILE) {
        size_t size = run - done < TILE ? run - done : TILE;
        for (unsigned r = 0; r < RUNS; r++)
            NAME(keys)(base + (r * run + done) * WIDTH, size, low, mask, keys[r]);
        for (size_t i = 0; i < size; i++)
            for (unsigned r = 0; r < RUNS; r++)
                starts[r][keys[r][i]]++;
    }
    for (size_t i = RUNS * run; i < count; i++)
        starts[RUNS - 1][NAME(key)(base, i, low, mask)]++;
    uint32_t next = 0;
    for (unsigned key = 0; key < 256; key++)
        for (unsigned r = 0; r < RUNS; r++) {
            uint32_t here = starts[r][key];
            starts[r][key] = next;
            next += here;
        }
}

static void NAME(group)(const uint8_t *restrict target, const uint8_t *restrict base, size_t count, unsigned low,
                        unsigned mask, uint8_t *restrict grouped) {
    uint32_t starts[RUNS][256];
    uint8_t keys[RUNS][TILE];
    ELEMENT values[RUNS][TILE];
    size_t run = count / RUNS;
    NAME(starts)(base, count, low, mask, starts);
    for (size_t done = 0; done < run; done += TILE) {
        size_t size = run - done < TILE ? run - done : TILE;
        for (unsigned r = 0; r < RUNS; r++) {
            const uint8_t *from = base + (r * run + done) * WIDTH, *to = target + (r * run + done) * WIDTH;
            NAME(keys)(from, size, low, mask, keys[r]);
            for (size_t i = 0; i < size; i++)
                values[r][i] = NAME(forward)(STEP_RESIDUAL, NAME(load)(to, i), NAME(load)(from, i));
        }
        for (size_t i = 0; i < size; i++)
            for (unsigned r = 0; r < RUNS; r++)
                NAME(store)(grouped, starts[r][keys[r][i]]++, values[r][i]);
    }
    for (size_t i = RUNS * run; i < count; i++) {
        ELEMENT value = NAME(forward)(STEP_RESIDUAL, NAME(load)(target, i), NAME(load)(base, i));
        NAME(store)(grouped, starts[RUNS - 1][NAME(key)(base, i, low, mask)]++, value);
    }
}

static void NAME(ungroup)(const uint8_t *restrict grouped, const uint8_t *restrict base, size_t count, unsigned low,
                          unsigned mask, uint8_t *restrict out) {
    uint32_t starts[RUNS][256];
    uint8_t keys[RUNS][TILE];
    ELEMENT values[RUNS][TILE];
    size_t run = count / RUNS;
    NAME(starts)(base, count, low, mask, starts);
    for (size_t done = 0; done < run; done += TILE) {
        size_t size = run - done < TILE ? run - done : TILE;
        for (unsigned r = 0; r < RUNS; r++)
            NAME(keys)(base + (r * run + done) * WIDTH, size, low, mask, keys[r]);
        for (size_t i = 0; i < size; i++)
            for (unsigned r = 0; r < RUNS; r++)
                values[r][i] = NAME(load)(grouped, starts[r][keys[r][i]]++);
        for (unsigned r = 0; r < RUNS; r++) {
            const uint8_t *from = base + (r * run + done) * WIDTH;
            uint8_t *to = out + (r * run + done) * WIDTH;
            for (size_t i = 0; i < size; i++)
                NAME(store)(to, i, NAME(backward)(STEP_RESIDUAL, values[r][i], NAME(load)(from, i)));
        }
    }
    for (size_t i = RUNS * run; i < count; i++) {
        ELEMENT value = NAME(load)(grouped, starts[RUNS - 1][NAME(key)(base, i, low, mask)]++);
        NAME(store)(out, i, NAME(backward)(STEP_RESIDUAL, value, NAME(load)(base, i)));
    }
}

static void NAME(split)(const struct step *step, const uint8_t *target, const uint8_t *base, size_t count,
                        uint8_t *scratch, uint8_t *planes) {
    if (step->mask) {
        NAME(group)(target, base, count, step->low, step->mask, scratch);
        NAME(split_as)(STEP_NONE, scratch, NULL, count, planes);
    } else if (step->kind == STEP_RESIDUAL)
        NAME(split_as)(STEP_RESIDUAL, target, base, count, planes);
    else if (step->kind == STEP_ROTATE)
        NAME(split_as)(STEP_ROTATE, target, NULL, count, planes);
    else
        NAME(split_as)(STEP_NONE, target, NULL, count, planes);
}

static void NAME(join)(const struct step *step, const uint8_t *const *planes, const uint8_t *base, size_t count,
                       uint8_t *scratch, uint8_t *out) {
    if (step->mask) {
        NAME(join_as)(STEP_NONE, planes, NULL, count, scratch);
        NAME(ungroup)(scratch, base, count, step->low, step->mask, out);
    } else if (step->kind == STEP_RESIDUAL)
        NAME(join_as)(STEP_RESIDUAL, planes, base, count, out);
    else if (step->kind == STEP_ROTATE)
        NAME(join_as)(STEP_ROTATE, planes, NULL, count, out);
    else
        NAME(join_as)(STEP_NONE, planes, NULL, count, out);
}

/* How often each byte occurs in each plane of the elements of each key, keys that occur in ascending order;
   `counts` is [WIDTH][groups][256], of which this writes all. */
static size_t NAME(histograms)(const struct step *step, const uint8_t *target, const uint8_t *base, size_t count,
                               int64_t *counts) {
    unsigned group_of[256] = {0};
    size_t groups = 0;
    if (step->mask) {
        for (size_t i = 0; i < count; i++)
            group_of[NAME(key)(base, i, step->low, step->mask)] = 1;
        for (unsigned key = 0; key < 256; key++)
            if (group_of[key])
                group_of[key] = (unsigned)groups++;
    } else
        groups = 1;
    memset(counts, 0, WIDTH * groups * 256 * sizeof *counts);
    for (size_t i = 0; i < count; i++) {
        ELEMENT from = step->kind == STEP_RESIDUAL ? NAME(load)(base, i) : 0;
        ELEMENT value = NAME(forward)(step->kind, NAME(load)(target, i), from);
        unsigned group = step->mask ? group_of[(unsigned)(from >> step->low) & step->mask] : 0;
        for (unsigned plane = 0; plane < WIDTH; plane++)
            counts[(plane * groups + group) * 256 + (uint8_t)(value >> (8 * plane))]++;
    }
    return groups;
}

/* Of each residual of a tile its token, how many extra bits it has, and these bits among its lowest.

   A floating-point number holds the highest bit of an integer as its exponent and the bits below as its mantissa; up
   to 2^24 (16-bit elements) a float is exact, up to 2^53 (32-bit ones) a double. No branch depends on values, which
   no processor could foretell. */
static inline void NAME(classes)(const uint8_t *restrict target, const uint8_t *restrict base, size_t count,
                                 unsigned keep, uint8_t *restrict token, uint8_t *restrict more,
                                 ELEMENT *restrict rest) {
    for (size_t i = 0; i < count; i++) {
        ELEMENT now = NAME(load)(target, i);
        ELEMENT value = NAME(forward)(STEP_RESIDUAL, now, NAME(load)(base, i));
        uint32_t class, length;
        if (WIDTH <= 2) {
            float held = (float)(int32_t)(uint32_t)value;
            uint32_t bits;
            memcpy(&bits, &held, 4);
            length = (bits >> 23) - 127;
            class = (bits >> (23 - keep)) - ((127 + DIRECT_BITS) << keep);
        } else if (WIDTH == 4) {
            double held = (double)(int64_t)(uint64_t)value;
            uint64_t bits;
            memcpy(&bits, &held, 8);
            length = (uint32_t)(bits >> 52) - 1023;
            class = (uint32_t)(bits >> (52 - keep)) - ((1023 + DIRECT_BITS) << keep);
        } else {
            length = highest_bit(value | DIRECT);
            class = ((length - DIRECT_BITS) << keep) + ((uint32_t)(value >> (length - keep)) & ((1u << keep) - 1));
        }
        uint32_t zero = 0 - (uint32_t)((now == 0) & (value != 0)), direct = (uint32_t)value + (value != 0);
        uint32_t large = (0 - (uint32_t)(value >= DIRECT)) & ~zero;
        token[i] = (uint8_t)((TOKEN_ZERO & zero) | ((class + CLASSES) & large) | (direct & ~(zero | large)));
        more[i] = (uint8_t)((length - keep) & large);
        rest[i] = value;
    }
}

/* The token of each residual, its extra bits into `extras`, and how often each token occurs beside each key.

   `counts` is [2][256][tokens]; its first half is the result. `keys` gets the key of each element. Returns the number
   of extra bits. */
static uint64_t NAME(tokenise)(const uint8_t *restrict target, const uint8_t *restrict base, size_t count,
                               unsigned low, unsigned mask, unsigned keep, size_t tokens, uint8_t *restrict token,
                               uint8_t *restrict keys, uint32_t *restrict counts, uint8_t *restrict extras) {
    struct bits out = {extras, 0, 0, 0};
    uint8_t more[TILE + 4];
    ELEMENT rest[TILE + 4];
    uint32_t *other = counts + 256 * tokens;
    memset(counts, 0, 2 * 256 * tokens * sizeof *counts);
    for (size_t start = 0; start < count; start += TILE) {
        size_t size = count - start < TILE ? count - start : TILE, i = 0;
        const uint8_t *from = base + start * WIDTH;
        uint8_t *key = keys + start, *one = token + start;
        NAME(keys)(from, size, low, mask, key);
        NAME(classes)(target + start * WIDTH, from, size, keep, one, more, rest);
        if (WIDTH <= 2) {
            /* four at once: they have at most 4 * 15 bits less what tokens keep, and the writer has to wait for its
               own last word each time */
            memset(more + size, 0, 4);
            memset(rest + size, 0, 4 * sizeof *rest);
            for (; i < size; i += 4) {
                uint64_t word = 0;
                unsigned length = 0;
                for (size_t j = i; j < i + 4; j++) {
                    word |= (rest[j] & (((uint64_t)1 << more[j]) - 1)) << length;
                    length += more[j];
                }
                put_bits(&out, word, length, 32);
            }
        } else
            for (; i < size; i++)
                put_bits(&out, rest[i] & (((uint64_t)1 << more[i]) - 1), more[i], 8 * WIDTH);
        for (i = 0; i + 2 <= size; i += 2) { /* in turn: a counter that goes up again has to wait for itself */
            counts[key[i] * tokens + one[i]]++;
            other[key[i + 1] * tokens + one[i + 1]]++;
        }
        if (i < size)
            counts[key[i] * tokens + one[i]]++;
    }
    for (size_t i = 0; i < 256 * tokens; i++)
        counts[i] += other[i];
    return end_bits(&out);
}

/* Undo `tokenise`. Returns 0, or -1 if there are not exactly `available` bytes of extra bits. */
static int NAME(untokenise)(const uint8_t *restrict token, const uint8_t *restrict base, size_t count, unsigned keep,
                            const uint8_t *restrict extras, size_t available, uint8_t *restrict out) {
    uint64_t least[256] = {0}, place = 0;
    uint8_t more[256] = {0};
    for (unsigned one = 0; one < 256; one++) {
        unsigned class = one < CLASSES ? 0 : one - CLASSES, length = (class >> keep) + DIRECT_BITS;
        if (one < CLASSES)
            least[one] = one - (one > 0);
        else if (length < 8 * WIDTH) {
            more[one] = (uint8_t)(length - keep);
            least[one] = ((uint64_t)1 << keep | (class & ((1u << keep) - 1))) << more[one];
        }
    }
    size_t i = 0;
    if (WIDTH <= 2 && keep) /* four at once: at most 4 * 14 bits, of one word */
        for (; i + 4 <= count && (place >> 3) + 8 <= available; i += 4) {
            uint64_t word = load_8_bytes(extras + (place >> 3)) >> (place & 7);
            for (size_t j = i; j < i + 4; j++) {
                unsigned one = token[j], length = more[one];
                uint64_t value = least[one] | (word & (((uint64_t)1 << length) - 1));
                word >>= length;
                place += length;
                ELEMENT plain = NAME(backward)(STEP_RESIDUAL, (ELEMENT)value, NAME(load)(base, j));
                NAME(store)(out, j, one == TOKEN_ZERO ? 0 : plain);
            }
        }
    for (; i < count; i++) {
        unsigned one = token[i];
        if (place + more[one] > 8 * (uint64_t)available)
            return -1;
        uint64_t value = least[one] | get_bits(extras, available, place, more[one], 8 * WIDTH);
        place += more[one];
        ELEMENT plain = NAME(backward)(STEP_RESIDUAL, (ELEMENT)value, NAME(load)(base, i));
        NAME(store)(out, i, one == TOKEN_ZERO ? 0 : plain);
    }
    if (place > 8 * (uint64_t)available)
        return -1;
    return (place + 7) / 8 == available ? 0 : -1;
}

/* The symbol of each rotated element: 0 for 0, else that of its upper bits; its extra bits into `extras`, and how often
   each symbol occurs. Returns the number of extra bits. */
static uint64_t NAME(bucketise)(const uint8_t *restrict target, size_t count, unsigned low,
                                const uint8_t *restrict symbol_of, uint8_t *restrict symbol, uint32_t *restrict counts,
                                uint8_t *restrict extras) {
    struct bits out = {extras, 0, 0, 0};
    uint32_t other[256] = {0};
    memset(counts, 0, 256 * sizeof *counts);
    for (size_t i = 0; i < count; i++) {
        ELEMENT value = NAME(forward)(STEP_ROTATE, NAME(load)(target, i), 0);
        unsigned one = symbol_of[(uint64_t)value >> low] & (0 - (unsigned)(value != 0));
        unsigned length = one == BUCKET_OTHER ? 8 * WIDTH : one ? low : 0;
        symbol[i] = (uint8_t)one;
        (i & 1 ? other : counts)[one]++;
        put_bits(&out, one == BUCKET_OTHER ? value : value & (((uint64_t)1 << low) - 1), length, 8 * WIDTH);
    }
    for (unsigned i = 0; i < 256; i++)
        counts[i] += other[i];
    return end_bits(&out);
}

/* Undo `bucketise`; `upper` has the upper bits of each symbol. Returns 0, or -1 if there are not exactly `available`
   bytes of extra bits. */
static int NAME(unbucketise)(const uint8_t *restrict symbol, size_t count, unsigned low, const uint64_t *upper,
                             const uint8_t *restrict extras, size_t available, uint8_t *restrict out) {
    uint64_t place = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned one = symbol[i], length = one == BUCKET_OTHER ? 8 * WIDTH : one ? low : 0;
        uint64_t value = upper[one];
        if (place + length > 8 * (uint64_t)available)
            return -1;
        if (WIDTH == 8 && length == 64) {
            value = get_bits(extras, available, place, 32, 64);
            value |= get_bits(extras, available, place + 32, 32, 64) << 32;
        } else
            value |= get_bits(extras, available, place, length, 8 * WIDTH);
        place += length;
        NAME(store)(out, i, NAME(backward)(STEP_ROTATE, (ELEMENT)value, 0));
    }
    return (place + 7) / 8 == available ? 0 : -1;
}
