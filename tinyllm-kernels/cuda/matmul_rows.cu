// W8A16 products of few rows, as decoding needs: out[row][output] of up to three matrices with the same input. Layouts and
// the parameter are in matmul.cuh.
//
//   kernel          rows a block   tiles a block (gated: outputs)   threads   dynamic shared bytes
//   matmul_rows_8   8              2 = 32 outputs (16)              512       65536
//   matmul_rows_16  16             2 = 32 outputs (16)              256       65536
//   matmul_rows_32  32             4 = 64 outputs (32)              128       65536
//   matmul_rows_64  64             4 = 64 outputs (32)              128       98304
//
// A grid of the parts' blocks (ceil(tiles / tiles a block) each, in the order of the parts) by ceil(rows / rows a block); blocks
// beyond the rows leave at once, so a grid may have more. Any number of rows, columns and outputs from 1 on; any pieces.
// Bits: the law's, whatever the shape, the rows beside and the kernel. `out` may not overlap what is read, but where it
// accumulates.

#include "matmul_split.cuh"
#include "matmul_tile.cuh"

using Rows32 = Shape<2, 2, 2, 2, 4>;
using Rows64 = Shape<2, 4, 2, 2, 4>;

extern "C" __global__ void __launch_bounds__(SPLIT_THREADS<1>, 1) matmul_rows_8(const __grid_constant__ Matmul matmul) {
    extern __shared__ float4 products[];
    matmul_split<1>(matmul, products);
}

extern "C" __global__ void __launch_bounds__(SPLIT_THREADS<2>, 1) matmul_rows_16(const __grid_constant__ Matmul matmul) {
    extern __shared__ float4 products[];
    matmul_split<2>(matmul, products);
}

extern "C" __global__ void __launch_bounds__(Rows32::THREADS, 3) matmul_rows_32(const __grid_constant__ Matmul matmul) {
    extern __shared__ float4 products[];
    matmul_tile<Rows32>(matmul, reinterpret_cast<unsigned char*>(products));
}

extern "C" __global__ void __launch_bounds__(Rows64::THREADS, 2) matmul_rows_64(const __grid_constant__ Matmul matmul) {
    extern __shared__ float4 products[];
    matmul_tile<Rows64>(matmul, reinterpret_cast<unsigned char*>(products));
}
