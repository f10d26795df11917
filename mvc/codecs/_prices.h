/* What rows of counts cost as codes (mvc/odb/estimate.py), in parts of 2^16 of a bit and whole numbers only, so that
   here and in numpy the same is chosen. _kernel.c includes this once. */

enum { MILLER_MADOW = 47274 };                         /* half a nat */
enum { REPEAT_BITS = 28, PAIRED_PERCENT = 86 };        /* _REPEAT_BITS and _PAIRED_PERCENT of estimate.py */

/* Bits of each plane of [planes][groups][256] counts, each group with a Huffman code of its own; sums of a group are
   not 0 and below 2^20. */
EXPORT void mvc_huffman(const int64_t *counts, size_t planes, size_t groups, const uint32_t *logs, int64_t *bits) {
    for (size_t plane = 0; plane < planes; plane++) {
        const int64_t *first = counts + plane * groups * 256;
        int64_t small = 0, all = 0, sum = 0;
        for (size_t group = 0; group < groups; group++)
            for (size_t s = 0; s < 256; s++) {
                small += s < ESCAPE ? first[group * 256 + s] : 0;
                all += first[group * 256 + s];
            }
        int paired = 100 * small >= PAIRED_PERCENT * all;
        for (size_t group = 0; group < groups; group++) {
            const int64_t *row = first + group * 256;
            int64_t total = 0, most = 0, present = 0, inside = 0;
            for (size_t s = 0; s < 256; s++) {
                if (!row[s])
                    continue;
                total += row[s];
                most = row[s] > most ? row[s] : most;
                present++;
                inside += (int64_t)weighed((uint32_t)row[s], logs);
            }
            int64_t whole = (int64_t)weighed((uint32_t)total, logs);
            int64_t cost = whole - inside + MILLER_MADOW * (present - 1);
            cost = cost > 0 ? cost : 0;
            if (paired && 2 * most * most > total * total) {
                int64_t top = (most * most << LOG_BITS) / (total * total), rest = ((int64_t)1 << LOG_BITS) - top;
                int64_t twice = 2 * (int64_t)log_of((uint32_t)total, logs);
                int64_t lost = top * (twice - 2 * (int64_t)log_of((uint32_t)most, logs)) +
                               rest * (twice - (int64_t)log_of((uint32_t)(total - most), logs) -
                                       (int64_t)log_of((uint32_t)(total + most), logs));
                int64_t waste = ((int64_t)1 << LOG_BITS) - (lost >> LOG_BITS);
                cost += waste > 0 ? waste * total >> 1 : 0;
            } else if (!paired && 2 * most > total)
                cost += (total << LOG_BITS) + (int64_t)weighed((uint32_t)most, logs) +
                        (int64_t)weighed((uint32_t)(total - most), logs) - whole;
            if (!paired && present == 2 && 10 * most < 9 * total)
                cost += total << (LOG_BITS - 1);
            int64_t repeats = REPEAT_BITS * (total - most) << LOG_BITS;
            sum += cost < repeats ? cost : repeats;
        }
        bits[plane] = sum;
    }
}

/* Of [rows][columns] counts: found[0] bits of all rows, each with a code of its own, found[1] how many rows have a sum
   of `least` or more, and found[2] how many counts of these are not 0. */
EXPORT void mvc_entropies(const uint32_t *counts, size_t rows, size_t columns, uint64_t least, const uint32_t *logs,
                          int64_t *found) {
    found[0] = found[1] = found[2] = 0;
    for (size_t r = 0; r < rows; r++) {
        const uint32_t *row = counts + r * columns;
        uint32_t total = 0;
        int64_t present = 0, inside = 0;
        for (size_t s = 0; s < columns; s++)
            total += row[s];
        if (!total)
            continue;
        for (size_t s = 0; s < columns; s++)
            if (row[s]) {
                present++;
                inside += (int64_t)weighed(row[s], logs);
            }
        found[0] += (int64_t)weighed(total, logs) - inside + MILLER_MADOW * (present - 1);
        found[1] += total >= least;
        found[2] += total >= least ? present : 0;
    }
}
