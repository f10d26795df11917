/* Shares of symbols by context (mvc/codecs/shares.py), in whole numbers only, so that here and in numpy the same tables
   are chosen. _kernel.c includes this once. */

enum { LOG_BITS = 16, LOG_PLACES = 10, LOG_PART = 32 - LOG_PLACES };
enum { STRETCHES = 256, FEWEST = 128 };               /* _FINE and FEW of shares.py */
enum { CONTEXT_BITS = 16, LAST_BITS = 4, SHARE_BITS = 3 }; /* what a table costs, as `_bits` of shares.py has it */

/* log2(count) in parts of 2^16 (mvc/codecs/logs.py); 0 of 0. `logs` has 2^10 + 1 logarithms of 1 to 2. */
static inline uint32_t log_of(uint32_t count, const uint32_t *logs) {
    if (count < 2)
        return 0;
    unsigned high = highest_bit(count);
    uint32_t below = (uint32_t)((uint64_t)count << (32 - high));
    uint32_t low = logs[below >> LOG_PART], step = logs[(below >> LOG_PART) + 1] - low;
    uint64_t part = below & (((uint32_t)1 << LOG_PART) - 1);
    return (high << LOG_BITS) + low + (uint32_t)(step * part >> LOG_PART);
}

static inline uint64_t weighed(uint32_t count, const uint32_t *logs) { return (uint64_t)count * log_of(count, logs); }

/* Descending. */
static void sort_words(uint64_t *words, size_t count) {
    static const size_t gaps[] = {132, 57, 23, 10, 4, 1}; /* M. Ciura, Best increments for the average case of Shellsort */
    for (size_t g = 0; g < sizeof gaps / sizeof *gaps; g++)
        for (size_t i = gaps[g]; i < count; i++) {
            uint64_t word = words[i];
            size_t place = i;
            for (; place >= gaps[g] && words[place - gaps[g]] < word; place -= gaps[g])
                words[place] = words[place - gaps[g]];
            words[place] = word;
        }
}

/* Shares that sum up to 2^precision, none of what occurs 0. The sum of counts is neither 0 nor 2^32 or more. */
static void normalise(const uint32_t *counts, size_t symbols, unsigned precision, uint16_t *shares) {
    uint64_t total = 0, words[256];
    int64_t missing = (int64_t)1 << precision;
    size_t present = 0;
    for (size_t s = 0; s < symbols; s++)
        total += counts[s];
    for (size_t s = 0; s < symbols; s++) {
        uint64_t scaled = (uint64_t)counts[s] << precision, share = scaled / total;
        if (counts[s]) {
            words[present++] = (scaled - share * total) << 8 | (255 - s);
            share += share == 0;
        }
        shares[s] = (uint16_t)share;
        missing -= (int64_t)share;
    }
    if (missing > 0) { /* to those that lost most by rounding, of which there are enough */
        sort_words(words, present);
        for (size_t i = 0; i < (size_t)missing && i < present; i++)
            shares[255 - (words[i] & 255)]++;
    }
    while (missing < 0) { /* from the greatest */
        int64_t taken = 0;
        present = 0;
        for (size_t s = 0; s < symbols; s++)
            if (shares[s])
                words[present++] = (uint64_t)shares[s] << 8 | (255 - s);
        sort_words(words, present);
        for (size_t i = 0; i < (size_t)-missing && i < present && words[i] >> 8 > 1; i++, taken++)
            shares[255 - (words[i] & 255)]--;
        missing += taken;
    }
}

/* Where contexts begin (the least cost together, tables included) and their counts. `counts` is [256][symbols];
   `pieces`, as large, gets the counts. Returns the number of contexts. */
static size_t cut_contexts(const uint32_t *counts, size_t symbols, const uint32_t *logs, uint32_t *pieces,
                           uint8_t *firsts) {
    uint64_t totals[256], sum = 0, weight = 0;
    uint8_t starts[256];
    size_t number = 0;
    for (size_t key = 0; key < 256; key++) {
        totals[key] = 0;
        for (size_t s = 0; s < symbols; s++)
            totals[key] += counts[key * symbols + s];
        sum += totals[key];
    }
    /* neighbours with few elements go together, so that there are not many ways to cut */
    uint64_t least = sum / STRETCHES > FEWEST ? sum / STRETCHES : FEWEST;
    for (size_t key = 0; key < 256; key++) {
        if (!totals[key])
            continue;
        if (number == 0 || weight >= least) {
            starts[number++] = (uint8_t)key;
            weight = 0;
        }
        weight += totals[key];
    }
    if (number > 1 && weight < least)
        number--;
    memset(pieces, 0, number * symbols * sizeof *pieces);
    for (size_t key = 0, piece = 0; key < 256; key++) {
        if (!totals[key])
            continue;
        if (piece + 1 < number && key >= starts[piece + 1])
            piece++;
        for (size_t s = 0; s < symbols; s++)
            pieces[piece * symbols + s] += counts[key * symbols + s];
    }
    int64_t best[257];
    size_t back[257], cuts = 0;
    for (size_t start = 0; start < number; start++) { /* the best way up to here goes on with each context */
        uint32_t together[256] = {0};
        uint64_t costs[256] = {0}, inside = 0, size = 0;
        size_t last = 0, present = 0;
        for (size_t end = start; end < number; end++) {
            const uint32_t *piece = pieces + end * symbols;
            for (size_t s = 0; s < symbols; s++) {
                if (!piece[s])
                    continue;
                present += together[s] == 0;
                last = s + 1 > last ? s + 1 : last;
                size += piece[s];
                together[s] += piece[s];
                inside -= costs[s];
                costs[s] = weighed(together[s], logs);
                inside += costs[s];
            }
            int64_t cost = (int64_t)(weighed((uint32_t)size, logs) - inside);
            cost += (int64_t)(CONTEXT_BITS + LAST_BITS * last + SHARE_BITS * present) << LOG_BITS;
            cost += start ? best[start] : 0;
            if (start == 0 || cost < best[end + 1]) {
                best[end + 1] = cost;
                back[end + 1] = start;
            }
        }
    }
    size_t ends[257];
    for (size_t end = number; end; end = back[end])
        ends[cuts++] = end;
    for (size_t context = 0; context < cuts; context++) {
        size_t start = context ? ends[cuts - context] : 0, end = ends[cuts - 1 - context];
        firsts[context] = start ? starts[start] : 0;
        if (context != start)
            memcpy(pieces + context * symbols, pieces + start * symbols, symbols * sizeof *pieces);
        for (size_t piece = start + 1; piece < end; piece++)
            for (size_t s = 0; s < symbols; s++)
                pieces[context * symbols + s] += pieces[piece * symbols + s];
    }
    return cuts;
}

/* The best model for counts of the shape [256][symbols], whose sum is neither 0 nor 2^32 or more: the context of each
   key, shares [contexts][symbols], and their stored form. `pieces` and `shares` have room for 256 contexts, `stored`
   for 520 bytes and three for each of these shares. Returns the length of the stored form, or 0 for parameters out of range. */
EXPORT size_t mvc_fit(const uint32_t *counts, size_t symbols, unsigned precision, const uint32_t *logs,
                      uint32_t *pieces, uint8_t *map, uint16_t *shares, uint8_t *stored) {
    uint8_t firsts[256];
    if (symbols == 0 || symbols > 256 || precision > MOST_PRECISION || symbols > (size_t)1 << precision)
        return 0;
    size_t contexts = cut_contexts(counts, symbols, logs, pieces, firsts), place = 0;
    if (contexts == 0)
        return 0;
    uint8_t *lasts = stored + contexts, *halves = lasts + contexts;
    stored[0] = (uint8_t)(contexts - 1);
    memcpy(stored + 1, firsts + 1, contexts - 1);
    for (size_t context = 0, key = 0; context < contexts; context++) {
        size_t next = context + 1 < contexts ? firsts[context + 1] : 256, last = symbols - 1;
        uint16_t *row = shares + context * symbols;
        memset(map + key, (int)context, next - key);
        key = next;
        normalise(pieces + context * symbols, symbols, precision, row);
        while (row[last] == 0)
            last--;
        lasts[context] = (uint8_t)last;
        for (size_t s = 0; s <= last; s++, place++) {
            unsigned size = row[s] ? highest_bit(row[s]) + 1 : 0;
            if (place & 1)
                halves[place >> 1] |= (uint8_t)(size << 4);
            else
                halves[place >> 1] = (uint8_t)size;
        }
    }
    struct bits out = {halves + (place + 1) / 2, 0, 0, 0};
    const uint8_t *low = out.at;
    for (size_t context = 0; context < contexts; context++)
        for (size_t s = 0; s <= lasts[context]; s++) {
            unsigned share = shares[context * symbols + s], more = share ? highest_bit(share) : 0;
            put_bits(&out, share & ((1u << more) - 1), more, 16);
        }
    return (size_t)(low - stored) + (size_t)((end_bits(&out) + 7) / 8);
}

/* The stored form that mvc_fit writes, from the front of `stored`: the context of each key, and shares, which have room
   for 256 contexts. Returns its length, or 0 if it is not that of a model of so many symbols. */
EXPORT size_t mvc_read_shares(const uint8_t *stored, size_t available, size_t symbols, unsigned precision, uint8_t *map,
                              uint16_t *shares) {
    if (symbols == 0 || symbols > 256 || precision < 1 || precision > MOST_PRECISION)
        return 0;
    if (available < 1)
        return 0;
    size_t contexts = (size_t)stored[0] + 1, count = 0, more = 0;
    if (available < 2 * contexts)
        return 0;
    const uint8_t *firsts = stored, *lasts = stored + contexts, *halves = lasts + contexts;
    for (size_t context = 0, key = 0; context < contexts; context++) {
        if (lasts[context] >= symbols || (context && firsts[context] <= (context > 1 ? firsts[context - 1] : 0)))
            return 0;
        size_t next = context + 1 < contexts ? firsts[context + 1] : 256;
        if (next > key)
            memset(map + key, (int)context, next - key);
        key = next;
        count += (size_t)lasts[context] + 1;
    }
    size_t left = available - 2 * contexts;
    if (left < (count + 1) / 2)
        return 0;
    const uint8_t *low = halves + (count + 1) / 2;
    for (size_t i = 0; i < count; i++) {
        unsigned size = halves[i >> 1] >> (4 * (i & 1)) & 15;
        if (size > precision + 1)
            return 0;
        more += size > 1 ? size - 1 : 0;
    }
    if (count & 1 && halves[count >> 1] >> 4)
        return 0;
    left -= (count + 1) / 2;
    if (left < (more + 7) / 8)
        return 0;
    uint64_t place = 0;
    for (size_t context = 0, i = 0; context < contexts; context++) {
        uint16_t *row = shares + context * symbols;
        uint32_t sum = 0;
        for (size_t s = 0; s <= lasts[context]; s++, i++) {
            unsigned size = halves[i >> 1] >> (4 * (i & 1)) & 15, share = size;
            if (size > 1) {
                share = 1u << (size - 1) | (unsigned)get_bits(low, left, place, size - 1, 16);
                place += size - 1;
            }
            row[s] = (uint16_t)share;
            sum += share;
        }
        memset(row + lasts[context] + 1, 0, (symbols - lasts[context] - 1) * sizeof *row);
        if (sum != (uint32_t)1 << precision)
            return 0;
    }
    return (size_t)(low - stored) + (more + 7) / 8;
}
