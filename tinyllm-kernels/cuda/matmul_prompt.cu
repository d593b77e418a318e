// W8A16 products of many rows, as prompts need. Layouts and the parameter are in matmul.cuh.
//
//   kernel         rows a block   tiles a block (gated: outputs)   threads   dynamic shared bytes
//   matmul_prompt  128            8 = 128 outputs (64)             256       98304
//
// A grid of the parts' blocks (ceil(tiles / 8) each, in the order of the parts) by ceil(rows / 128); blocks beyond the rows
// leave at once. Any number of rows, columns and outputs from 1 on; any pieces. Bits: those of matmul_rows.cu.

#include "matmul_tile.cuh"

using Prompt = Shape<4, 4, 2, 4, 2>;

extern "C" __global__ void __launch_bounds__(Prompt::THREADS, 1) matmul_prompt(const __grid_constant__ Matmul matmul) {
    extern __shared__ __align__(16) unsigned char memory[];
    matmul_tile<Prompt>(matmul, memory);
}
