// Preloaded, there is nothing to call. bench/micro is linked with it, and asks.
#pragma once
#include <stdint.h>

/// Allocations of this process so far.
uint64_t allocation_count(void);
