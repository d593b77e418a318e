// The source distribution lacks this header, which declares nothing that the kernels need.
#pragma once
