// Counts the allocations of a process. Preloaded into a real binary, or linked into one, it replaces malloc and its variants
// and adds one for each call to one of two words: calls from libssl and libcrypto, and all others. The words are in the file
// that ALLOCATION_COUNTER names, where a test can read them, or its own.
#define _GNU_SOURCE
#include "counter.h"

#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { OTHERS, OPENSSL, WORDS };
static _Atomic uint64_t own[WORDS];
static _Atomic(_Atomic uint64_t *) counted = own;

// Where libssl and libcrypto are loaded. They are never unloaded.
static struct { uintptr_t begin, end; } ranges[2];

static int find(struct dl_phdr_info *library, size_t size, void *found) {
  (void)size;
  int *n = found;
  if (*n == 2 || (!strstr(library->dlpi_name, "/libssl.so") && !strstr(library->dlpi_name, "/libcrypto.so"))) return 0;
  ranges[*n].begin = UINTPTR_MAX;
  for (int i = 0; i < library->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &library->dlpi_phdr[i];
    if (part->p_type != PT_LOAD) continue;
    uintptr_t begin = library->dlpi_addr + part->p_vaddr, end = begin + part->p_memsz;
    if (begin < ranges[*n].begin) ranges[*n].begin = begin;
    if (end > ranges[*n].end) ranges[*n].end = end;
  }
  ++*n;
  return 0;
}

__attribute__((constructor)) static void begin(void) {
  int found = 0;
  dl_iterate_phdr(find, &found);
  const char *path = getenv("ALLOCATION_COUNTER");
  if (!path) return;
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return;
  if (ftruncate(fd, sizeof own) == 0) {
    void *words = mmap(0, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (words != MAP_FAILED) counted = words;
  }
  close(fd);
}

static void count_from(const void *caller) {
  uintptr_t at = (uintptr_t)caller;
  int is_openssl = 0;
  for (int i = 0; i < 2; i++) is_openssl |= at >= ranges[i].begin && at < ranges[i].end;
  _Atomic uint64_t *words = counted;
  atomic_fetch_add_explicit(&words[is_openssl ? OPENSSL : OTHERS], 1, memory_order_relaxed);
}
#define count() count_from(__builtin_return_address(0))

uint64_t allocation_count(void) {
  _Atomic uint64_t *words = counted;
  return atomic_load_explicit(&words[OTHERS], memory_order_relaxed) + atomic_load_explicit(&words[OPENSSL], memory_order_relaxed);
}

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
