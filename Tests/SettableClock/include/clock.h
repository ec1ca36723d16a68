// Preloaded; there is nothing to call.
#pragma once
#include <stdint.h>
