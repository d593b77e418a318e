// Of cuBLASLt what llm.c's common header names; see cublas_v2.h.
#pragma once
#include "cublas_v2.h"
typedef struct cublasLtContext *cublasLtHandle_t;
static inline cublasStatus_t cublasLtCreate(cublasLtHandle_t *) { return CUBLAS_STATUS_SUCCESS; }
static inline cublasStatus_t cublasLtDestroy(cublasLtHandle_t) { return CUBLAS_STATUS_SUCCESS; }
