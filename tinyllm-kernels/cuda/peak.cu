// The int8 tensor cores' peak, for benches: warps multiply fragments that stay in registers.

// 256 threads a block, any number of blocks; out [blocks][256]: sums, so that no product is left out. A warp does
// rounds * CHAINS products of 16 x 8 x 32.
constexpr unsigned CHAINS = 8;

extern "C" __global__ void __launch_bounds__(256) int8_peak(int* out, unsigned rounds) {
    int sums[CHAINS][4] = {};
    const unsigned a = 0x01020304u + threadIdx.x, b = 0x04030201u ^ threadIdx.x;
    for (unsigned round = 0; round < rounds; ++round) {
#pragma unroll
        for (unsigned chain = 0; chain < CHAINS; ++chain) {
            int* sum = sums[chain];
            asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %4, %5}, {%6, %4}, {%0, %1, %2, %3};"
                : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3])
                : "r"(a), "r"(b), "r"(a ^ chain));
        }
    }
    int total = 0;
#pragma unroll
    for (unsigned chain = 0; chain < CHAINS; ++chain) {
        total += sums[chain][0] + sums[chain][1] + sums[chain][2] + sums[chain][3];
    }
    out[blockIdx.x * 256 + threadIdx.x] = total;
}
