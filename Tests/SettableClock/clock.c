// A wall clock that a test can set: preloaded into a real binary, it adds to CLOCK_REALTIME the nanoseconds that stand in
// the file that SETTABLE_CLOCK names. The monotonic clock is left alone, as it is when a host's clock is set.
#define _GNU_SOURCE
#include "clock.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Atomic int64_t none;
static _Atomic int64_t *offset = &none;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("SETTABLE_CLOCK");
  if (!path) return;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) abort();
  void *word = mmap(0, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
  if (word == MAP_FAILED) abort();
  offset = word;
  close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  int result = (int)syscall(SYS_clock_gettime, clock, time);
  if (result != 0 || clock != CLOCK_REALTIME) return result;
  int64_t now = (int64_t)time->tv_sec * 1000000000 + time->tv_nsec + atomic_load_explicit(offset, memory_order_relaxed);
  time->tv_sec = now / 1000000000;
  time->tv_nsec = now % 1000000000;
  return 0;
}

/* libcrypto asks this one whether a certificate is valid. */
time_t time(time_t *seconds) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (seconds) *seconds = now.tv_sec;
  return now.tv_sec;
}
