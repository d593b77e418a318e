// y = a x + y on two streams: one fills x, the other waits for an event and adds. Built and run without a GPU:
//   nvcc -gencode arch=compute_80,code=compute_80 -cudart shared -lineinfo -o saxpy saxpy.cu
//   cargo xtask emulate -- ./saxpy
// With an argument the event is left out, which is a race between the streams.
#include <cstdio>
#include <vector>

#define CHECK(call)                                                                        \
    if (cudaError_t error = (call); error != cudaSuccess) {                                \
        std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, cudaGetErrorString(error)); \
        return 1;                                                                          \
    }

__global__ void iota(float *x, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) x[i] = i;
}

__global__ void saxpy(float a, const float *x, float *y, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) y[i] = a * x[i] + y[i];
}

int main(int arguments, char **) {
    const int count = 1000, threads = 256, blocks = (count + threads - 1) / threads;
    std::vector<float> y(count, 1.0f);
    float *device_x, *device_y;
    cudaStream_t fills, adds;
    cudaEvent_t filled;
    CHECK(cudaMalloc(&device_x, count * sizeof(float)));
    CHECK(cudaMalloc(&device_y, count * sizeof(float)));
    CHECK(cudaStreamCreateWithFlags(&fills, cudaStreamNonBlocking));
    CHECK(cudaStreamCreateWithFlags(&adds, cudaStreamNonBlocking));
    CHECK(cudaEventCreate(&filled));

    CHECK(cudaMemcpyAsync(device_y, y.data(), count * sizeof(float), cudaMemcpyHostToDevice, adds));
    iota<<<blocks, threads, 0, fills>>>(device_x, count);
    CHECK(cudaEventRecord(filled, fills));
    if (arguments == 1) CHECK(cudaStreamWaitEvent(adds, filled));
    saxpy<<<blocks, threads, 0, adds>>>(2.0f, device_x, device_y, count);
    CHECK(cudaMemcpyAsync(y.data(), device_y, count * sizeof(float), cudaMemcpyDeviceToHost, adds));
    CHECK(cudaStreamSynchronize(adds));

    int wrong = 0;
    for (int i = 0; i < count; i++) wrong += y[i] != 2.0f * i + 1.0f;
    std::printf("%d of %d values are wrong\n", wrong, count);
    CHECK(cudaStreamSynchronize(fills));
    CHECK(cudaEventDestroy(filled));
    CHECK(cudaStreamDestroy(fills));
    CHECK(cudaStreamDestroy(adds));
    CHECK(cudaFree(device_x));
    CHECK(cudaFree(device_y));
    return wrong != 0;
}
