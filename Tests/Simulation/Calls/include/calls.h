// Answers the engine's system calls from a simulated kernel: what is linked into the simulator comes before the C library,
// so the engine itself is the one that is installed, without a switch in it.
#pragma once
#include <stdint.h>
#include <sys/types.h>

// Descriptors from here on are simulated; every other one is the real kernel's.
static const int32_t simulated_descriptor_base = 1 << 20;

// An IPv4 address and a port, both in the host's byte order.
typedef struct {
  uint32_t address;
  uint16_t port;
} simulated_endpoint;

// While set, new sockets, pollers and event descriptors are simulated ones, and so is the time. The simulator has one thread.
void simulated_begin(void);
void simulated_end(void);

