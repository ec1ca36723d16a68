// Counts what a process allocates: preloaded into a real binary, or linked into one, it stands before malloc and its kin
// and adds one for each call to a word: in the file that ALLOCATION_COUNTER names, where a test can read it, or its own.
#define _GNU_SOURCE
#include "counter.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static _Atomic uint64_t own;
static _Atomic(_Atomic uint64_t *) counted = &own;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("ALLOCATION_COUNTER");
  if (!path) return;
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return;
  if (ftruncate(fd, sizeof(uint64_t)) == 0) {
    void *word = mmap(0, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (word != MAP_FAILED) counted = word;
  }
  close(fd);
}

static void count(void) { atomic_fetch_add_explicit(counted, 1, memory_order_relaxed); }

uint64_t allocation_count(void) { return atomic_load_explicit(counted, memory_order_relaxed); }

// glibc's own entries: dlsym(RTLD_NEXT) would allocate before there is anything to allocate with.
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

void *malloc(size_t n) {
  count();
  return __libc_malloc(n);
}
void *calloc(size_t n, size_t size) {
  count();
  return __libc_calloc(n, size);
}
void *realloc(void *p, size_t n) {
  count();
  return __libc_realloc(p, n);
}
void *aligned_alloc(size_t alignment, size_t n) {
  count();
  return __libc_memalign(alignment, n);
}
void *memalign(size_t alignment, size_t n) {
  count();
  return __libc_memalign(alignment, n);
}
int posix_memalign(void **p, size_t alignment, size_t n) {
  count();
  void *made = __libc_memalign(alignment, n);
  if (!made) return 12;
  *p = made;
  return 0;
}
