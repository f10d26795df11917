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

/* Where the elements of each key begin in the grouped order.

   The block is cut into LANES runs with a counter each: elements mostly have one of few keys, and one counter that
   goes up with every element would have to wait for itself each time. A run's elements of a key stand before the
   next run's, so the order is the stable one. */
static void NAME(starts)(const uint8_t *base, size_t count, unsigned low, unsigned mask, uint32_t starts[LANES][256]) {
    size_t run = count / LANES;
    memset(starts, 0, LANES * sizeof starts[0]);
    for (size_t i = 0; i < run; i++)
        for (unsigned lane = 0; lane < LANES; lane++)
            starts[lane][NAME(key)(base, lane * run + i, low, mask)]++;
    for (size_t i = LANES * run; i < count; i++)
        starts[LANES - 1][NAME(key)(base, i, low, mask)]++;
    uint32_t next = 0;
    for (unsigned key = 0; key < 256; key++)
        for (unsigned lane = 0; lane < LANES; lane++) {
            uint32_t here = starts[lane][key];
            starts[lane][key] = next;
            next += here;
        }
}

static inline void NAME(group_one)(const uint8_t *target, const uint8_t *base, size_t i, unsigned low, unsigned mask,
                                   uint32_t *starts, uint8_t *grouped) {
    ELEMENT from = NAME(load)(base, i);
    uint32_t place = starts[(unsigned)(from >> low) & mask]++;
    NAME(store)(grouped, place, NAME(forward)(STEP_RESIDUAL, NAME(load)(target, i), from));
}

static void NAME(group)(const uint8_t *restrict target, const uint8_t *restrict base, size_t count, unsigned low,
                        unsigned mask, uint8_t *restrict grouped) {
    uint32_t starts[LANES][256];
    size_t run = count / LANES;
    NAME(starts)(base, count, low, mask, starts);
    for (size_t i = 0; i < run; i++)
        for (unsigned lane = 0; lane < LANES; lane++)
            NAME(group_one)(target, base, lane * run + i, low, mask, starts[lane], grouped);
    for (size_t i = LANES * run; i < count; i++)
        NAME(group_one)(target, base, i, low, mask, starts[LANES - 1], grouped);
}

static inline void NAME(ungroup_one)(const uint8_t *grouped, const uint8_t *base, size_t i, unsigned low,
                                     unsigned mask, uint32_t *starts, uint8_t *out) {
    ELEMENT from = NAME(load)(base, i);
    uint32_t place = starts[(unsigned)(from >> low) & mask]++;
    NAME(store)(out, i, NAME(backward)(STEP_RESIDUAL, NAME(load)(grouped, place), from));
}

static void NAME(ungroup)(const uint8_t *restrict grouped, const uint8_t *restrict base, size_t count, unsigned low,
                          unsigned mask, uint8_t *restrict out) {
    uint32_t starts[LANES][256];
    size_t run = count / LANES;
    NAME(starts)(base, count, low, mask, starts);
    for (size_t i = 0; i < run; i++)
        for (unsigned lane = 0; lane < LANES; lane++)
            NAME(ungroup_one)(grouped, base, lane * run + i, low, mask, starts[lane], out);
    for (size_t i = LANES * run; i < count; i++)
        NAME(ungroup_one)(grouped, base, i, low, mask, starts[LANES - 1], out);
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
