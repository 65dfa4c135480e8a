// Sums over the patterns |W * G'X| of a batch, formed block by block in registers and cache and never written out.
// fused.py compiles this file and calls it; g++ and clang++ take it, on any processor with vectors.

#include <cstdint>
#include <cstring>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int WIDTH = 16, ROWS = 12, VECTORS = 2;
#elif defined(__AVX__)
constexpr int WIDTH = 8, ROWS = 6, VECTORS = 2;
#else
constexpr int WIDTH = 4, ROWS = 6, VECTORS = 2;
#endif
constexpr int64_t PANEL = WIDTH * VECTORS;  // columns of a block are a multiple of it
constexpr int CHAINS = 4;                   // sums that do not wait for each other

typedef float vec __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef int32_t bits __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

vec load(const float *from) { return *reinterpret_cast<const vec *>(from); }

typedef double wide __attribute__((vector_size(8 * WIDTH), aligned(8), may_alias));

// Adds the sums of a block to the lanes of one in double precision.
void add(const vec *sums, double *lanes) {
    *reinterpret_cast<wide *>(lanes) += __builtin_convertvector((sums[0] + sums[1]) + (sums[2] + sums[3]), wide);
}

}  // namespace

extern "C" {

// One map and one batch; the twin of Job in fused.py.
struct Job {
    const float *const *inputs, *const *grads;  // of each sentence: [tokens, d_in], [tokens, d_out]
    const int64_t *tokens, *start;              // of each sentence, and those of all before it
    int64_t sentences, all_tokens, d_in, d_out;
    const float *weight;                        // null: the pattern of the gradient alone
    int64_t weight_out, weight_in;              // its strides
    const int64_t *pairs, *slots;               // [n_pairs, 2]: sentences, and where their blocks lie
    const uint8_t *first;                       // [n_pairs, 2]: whether the sentence's block is formed for this pair
    int64_t n_pairs, n_slots;
    const float *threshold;                     // of each sentence's activated set; null: no sets
    const int64_t *tie_limit;                   // flat index in this map below which a tie belongs
    int64_t columns;                            // of a block
    int32_t absolute, minima;
    double *moments;                            // [n_pairs, MOMENTS], of pair_sums; null in abs_sums
    float *total;                               // [d_out, d_in], of abs_sums
    float *scratch;                             // as many as scratch_floats says
};

int64_t panel_width() { return PANEL; }
int64_t block_rows() { return ROWS; }

// Bytes of a core's second-level cache; a small one where the system does not say.
int64_t second_level_cache() {
    long found = 0;
#ifdef _SC_LEVEL2_CACHE_SIZE
    found = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    return found > 0 ? found : 512 * 1024;
}

}  // extern "C"

namespace {

int64_t round_up(int64_t whole, int64_t part) { return (whole + part - 1) / part; }

// X of some columns: sentence after sentence [columns / PANEL][tokens][PANEL], zero beyond d_in.
void pack_inputs(const Job &job, int64_t first, float *packed) {
    const int64_t width = job.d_in - first < job.columns ? job.d_in - first : job.columns;
    for (int64_t s = 0; s < job.sentences; s++) {
        float *to = packed + job.start[s] * job.columns;
        for (int64_t t = 0; t < job.tokens[s]; t++) {
            const float *from = job.inputs[s] + t * job.d_in + first;
            for (int64_t panel = 0; panel < job.columns; panel += PANEL) {
                float *own = to + panel * job.tokens[s] + t * PANEL;
                if (panel + PANEL <= width) std::memcpy(own, from + panel, sizeof(float) * PANEL);
                else for (int64_t i = 0; i < PANEL; i++) own[i] = panel + i < width ? from[panel + i] : 0;
            }
        }
    }
}

// G of one sentence, scattered to [blocks of outputs][tokens of all sentences][ROWS], zero beyond d_out.
void pack_grads(const Job &job, int64_t s, float *packed) {
    constexpr int64_t TOGETHER = 8;  // tokens, so that reads and writes stay in few pages
    const int64_t blocks = round_up(job.d_out, ROWS);
    for (int64_t first = 0; first < job.tokens[s]; first += TOGETHER) {
        const int64_t last = first + TOGETHER < job.tokens[s] ? first + TOGETHER : job.tokens[s];
        for (int64_t block = 0; block < blocks; block++) {
            const int64_t rows = job.d_out - block * ROWS;
            float *to = packed + (block * job.all_tokens + job.start[s] + first) * ROWS;
            for (int64_t t = first; t < last; t++, to += ROWS) {
                const float *from = job.grads[s] + t * job.d_out + block * ROWS;
                if (rows >= ROWS) std::memcpy(to, from, sizeof(float) * ROWS);
                else for (int64_t r = 0; r < ROWS; r++) to[r] = r < rows ? from[r] : 0;
            }
        }
    }
}

// W of a block [columns / PANEL][ROWS][PANEL], zero beyond the map.
void pack_weight(const Job &job, int64_t first_row, int64_t first_column, float *packed) {
    for (int64_t panel = 0; panel < job.columns; panel += PANEL)
        for (int64_t row = first_row; row < first_row + ROWS; row++, packed += PANEL) {
            const int64_t first = first_column + panel, left = row < job.d_out ? job.d_in - first : 0;
            const float *from = job.weight ? job.weight + row * job.weight_out + first * job.weight_in : nullptr;
            if (left >= PANEL && from && job.weight_in == 1) std::memcpy(packed, from, sizeof(float) * PANEL);
            else for (int64_t i = 0; i < PANEL; i++) packed[i] = i >= left ? 0 : from ? from[i * job.weight_in] : 1;
        }
}

vec absolute(vec value) { return reinterpret_cast<vec>(reinterpret_cast<bits>(value) & 0x7fffffff); }

// G'X of one sentence on ROWS x PANEL parameters.
inline __attribute__((always_inline)) void multiply(
    const float *x, const float *g, int64_t tokens, vec (&product)[ROWS][VECTORS]) {
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) product[r][v] = vec{};
    for (int64_t t = 0; t < tokens; t++, x += PANEL, g += ROWS) {
        vec columns[VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) columns[v] = load(x + v * WIDTH);
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++) product[r][v] += g[r] * columns[v];
    }
}

// P of one sentence on ROWS x PANEL parameters, written to the block and added to the sentence's sums.
template <bool ABSOLUTE, bool SUMS>
inline __attribute__((always_inline)) void form(
    const float *x, const float *g, const float *weight, int64_t tokens, float *to, vec *squares, vec *sums) {
    vec product[ROWS][VECTORS];
    multiply(x, g, tokens, product);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) {
            vec pattern = product[r][v] * load(weight + r * PANEL + v * WIDTH);
            if (ABSOLUTE) pattern = absolute(pattern);
            *reinterpret_cast<vec *>(to + r * PANEL + v * WIDTH) = pattern;
            squares[(r * VECTORS + v) % CHAINS] += pattern * pattern;
            if (SUMS) sums[(r * VECTORS + v) % CHAINS] += pattern;
        }
}

// The block of a sentence, and its share of the sentence's sums.
template <bool ABSOLUTE, bool SUMS>
void form_block(const Job &job, int64_t s, const float *inputs, const float *grads, const float *weight, float *block,
                double *sums) {
    vec squares[CHAINS] = {}, plain[CHAINS] = {};
    const float *x = inputs + job.start[s] * job.columns, *g = grads + job.start[s] * ROWS;
    for (int64_t panel = 0; panel < job.columns; panel += PANEL)
        form<ABSOLUTE, SUMS>(x + panel * job.tokens[s], g, weight + panel * ROWS, job.tokens[s], block + panel * ROWS,
                             squares, plain);
    add(squares, sums);
    if (SUMS) add(plain, sums + WIDTH);
}

// Dot product and, with MINIMA, sum of minima of two blocks.
template <bool MINIMA> void compare(int64_t size, const float *a, const float *b, double *sums) {
    static_assert(ROWS * VECTORS % CHAINS == 0, "a block is a whole number of chains");
    vec dots[CHAINS] = {}, minima[CHAINS] = {};
    for (int64_t i = 0; i < size; i += CHAINS * WIDTH)
#pragma GCC unroll 4
        for (int chain = 0; chain < CHAINS; chain++) {
            const vec p = load(a + i + chain * WIDTH), q = load(b + i + chain * WIDTH);
            dots[chain] += p * q;
            if (MINIMA) minima[chain] += p < q ? p : q;
        }
    add(dots, sums);
    if (MINIMA) add(minima, sums + WIDTH);
}

// Which parameters of a sentence's block are in its activated set, and how many.
int64_t mark(const Job &job, int64_t s, int64_t first_row, int64_t first_column, const float *block, uint8_t *inside) {
    const float threshold = job.threshold[s];
    int64_t members = 0;
    for (int64_t i = 0; i < ROWS * job.columns; i++) {
        const int64_t row = first_row + i / PANEL % ROWS, column = first_column + i / (PANEL * ROWS) * PANEL + i % PANEL;
        const bool tie = block[i] == threshold && row < job.d_out && column < job.d_in
            && row * job.d_in + column < job.tie_limit[s];
        members += inside[i] = block[i] > threshold || tie;
    }
    return members;
}

int64_t common(int64_t size, const uint8_t *a, const uint8_t *b) {
    int64_t members = 0;
    for (int64_t i = 0; i < size; i++) members += a[i] & b[i];
    return members;
}

// The sum over all sentences of |G'X| on a block.
void sum_absolute(const Job &job, const float *inputs, const float *grads, float *block) {
    std::memset(block, 0, sizeof(float) * ROWS * job.columns);
    for (int64_t s = 0; s < job.sentences; s++) {
        const float *x = inputs + job.start[s] * job.columns, *g = grads + job.start[s] * ROWS;
        for (int64_t panel = 0; panel < job.columns; panel += PANEL) {
            vec product[ROWS][VECTORS];
            multiply(x + panel * job.tokens[s], g, job.tokens[s], product);
            float *to = block + panel * ROWS;
#pragma GCC unroll 16
            for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
                for (int v = 0; v < VECTORS; v++, to += WIDTH)
                    *reinterpret_cast<vec *>(to) = load(to) + absolute(product[r][v]);
        }
    }
}

// Adds |W| times a block to the total; what lies beyond the map is left out.
void add_weighted(const Job &job, int64_t first_row, int64_t first_column, const float *block, const float *weight) {
    const int64_t rows = job.d_out - first_row < ROWS ? job.d_out - first_row : ROWS;
    const int64_t width = job.d_in - first_column < job.columns ? job.d_in - first_column : job.columns;
    for (int64_t row = 0; row < rows; row++) {
        float *to = job.total + (first_row + row) * job.d_in + first_column;
        for (int64_t i = 0; i < width; i++) {
            const int64_t place = i / PANEL * (PANEL * ROWS) + row * PANEL + i % PANEL;
            to[i] += (weight[place] < 0 ? -weight[place] : weight[place]) * block[place];
        }
    }
}

// The sums of one thread, lane by lane: three of each sentence, then three of each pair.
int64_t sums_doubles(const Job &job) { return job.moments ? 3 * WIDTH * (job.sentences + job.n_pairs) : 0; }

int64_t grads_floats(const Job &job) { return round_up(job.d_out, ROWS) * ROWS * job.all_tokens; }

// Inputs, the blocks that are held, weight and, in bytes, the membership of the blocks.
int64_t thread_floats(const Job &job) {
    const int64_t size = ROWS * job.columns, blocks = job.n_slots * size;
    return job.all_tokens * job.columns + blocks + size + (job.threshold ? round_up(blocks, 4) : 0);
}

// Calls work(thread, first row, first column, inputs, grads, scratch) for every block of the map, the operands packed.
template <typename Work> void over_blocks(const Job &job, int threads, const Work &work) {
    float *grads = job.scratch + 2 * threads * sums_doubles(job);
#pragma omp parallel num_threads(threads)
    {
#ifdef _OPENMP
        const int thread = omp_get_thread_num(), team = omp_get_num_threads();
#else
        const int thread = 0, team = 1;
#endif
        float *inputs = grads + grads_floats(job) + thread * thread_floats(job);
        float *scratch = inputs + job.all_tokens * job.columns;
#pragma omp for schedule(static)
        for (int64_t s = 0; s < job.sentences; s++) pack_grads(job, s, grads);
        const int64_t rows = round_up(job.d_out, ROWS), blocks = rows * round_up(job.d_in, job.columns);
        int64_t packed = -1;  // blocks go column by column, and a thread has neighbours: it packs few inputs twice
        for (int64_t block = blocks * thread / team; block < blocks * (thread + 1) / team; block++) {
            const int64_t row = block % rows, column = block / rows * job.columns;
            if (column != packed) pack_inputs(job, packed = column, inputs);
            work(thread, row * ROWS, column, inputs, grads + row * job.all_tokens * ROWS, scratch);
        }
    }
}

// The sums over threads and lanes, three of each sentence and of each pair, in place of the first of them.
void add_up(const Job &job, int threads, double *sums) {
    const int64_t own = sums_doubles(job);
    for (int64_t i = 0; i < own / WIDTH; i++) {
        double whole = 0;
        for (int thread = 0; thread < threads; thread++)
            for (int lane = 0; lane < WIDTH; lane++) whole += sums[thread * own + i * WIDTH + lane];
        sums[i] = whole;
    }
}

// Of three sums of the left sentence, the right one and both: where they stand among a pair's moments, MOMENTS in
// __init__.py.
constexpr int MOMENTS = 9, LEFT[] = {1, 3, 6}, RIGHT[] = {2, 4, 7}, BOTH[] = {0, 5, 8};

void write_moments(const Job &job, const double *by_sentence, const double *by_pair) {
    for (int64_t pair = 0; pair < job.n_pairs; pair++) {
        double *to = job.moments + pair * MOMENTS;
        for (int kind = 0; kind < 3; kind++) {
            to[LEFT[kind]] = by_sentence[3 * job.pairs[2 * pair] + kind];
            to[RIGHT[kind]] = by_sentence[3 * job.pairs[2 * pair + 1] + kind];
            to[BOTH[kind]] = by_pair[3 * pair + kind];
        }
    }
}

}  // namespace

extern "C" {

int64_t scratch_floats(const Job *job, int threads) {
    return grads_floats(*job) + threads * (2 * sums_doubles(*job) + thread_floats(*job));
}

// The moments of every pair; those that are not asked for are zero, but for the products.
void pair_sums(const Job *described, int threads) {
    const Job &job = *described;
    const int64_t size = ROWS * job.columns, own = sums_doubles(job);
    double *sums = reinterpret_cast<double *>(job.scratch);
    std::memset(sums, 0, sizeof(double) * threads * own);
    const auto form_some = job.absolute ? (job.minima ? form_block<true, true> : form_block<true, false>)
                                        : (job.minima ? form_block<false, true> : form_block<false, false>);
    const auto compare_some = job.minima ? compare<true> : compare<false>;
    over_blocks(job, threads, [&](int thread, int64_t row, int64_t column, const float *inputs, const float *grads,
                                  float *blocks) {
        double *by_sentence = sums + thread * own, *by_pair = by_sentence + 3 * WIDTH * job.sentences;
        float *weight = blocks + job.n_slots * size;
        uint8_t *inside = reinterpret_cast<uint8_t *>(weight + size);
        pack_weight(job, row, column, weight);
        for (int64_t pair = 0; pair < job.n_pairs; pair++, by_pair += 3 * WIDTH) {
            const int64_t a = job.slots[2 * pair] * size, b = job.slots[2 * pair + 1] * size;
            for (int64_t side = 2 * pair; side < 2 * pair + 2; side++) {
                if (!job.first[side]) continue;
                const int64_t s = job.pairs[side], place = job.slots[side] * size;
                double *of_sentence = by_sentence + 3 * WIDTH * s;
                form_some(job, s, inputs, grads, weight, blocks + place, of_sentence);
                if (job.threshold)
                    of_sentence[2 * WIDTH] += mark(job, s, row, column, blocks + place, inside + place);
            }
            compare_some(size, blocks + a, blocks + b, by_pair);
            if (job.threshold) by_pair[2 * WIDTH] += common(size, inside + a, inside + b);
        }
    });
    add_up(job, threads, sums);
    write_moments(job, sums, sums + 3 * job.sentences);
}

// Adds the sum over the sentences of |W * G'X| to the total.
void abs_sums(const Job *described, int threads) {
    const Job &job = *described;
    over_blocks(job, threads, [&](int, int64_t row, int64_t column, const float *inputs, const float *grads, float *sums) {
        float *weight = sums + ROWS * job.columns;
        sum_absolute(job, inputs, grads, sums);
        pack_weight(job, row, column, weight);
        add_weighted(job, row, column, sums, weight);
    });
}

}  // extern "C"
