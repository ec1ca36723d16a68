// What Glibc's module lacks: constants that are macros or enums it does not import, and calls whose C
// types do not import well. Thin, no logic.
// _GNU_SOURCE is not defined here: it changes types of the system's headers (fd_set, __rusage_who), which other clang
// modules of the same Swift module see without it, and the two are then refused as different. What it would declare
// is declared below.
#pragma once
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <malloc.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <resolv.h>
#include <sched.h>
#include <spawn.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <linux/openat2.h>
#include <linux/sockios.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict count, int flags);
int sched_getaffinity(pid_t pid, size_t count, cpu_set_t *set);
int sched_setaffinity(pid_t pid, size_t count, const cpu_set_t *set);
int pthread_setname_np(pthread_t thread, const char *name);
int memfd_create(const char *name, unsigned flags);
int fallocate(int fd, int mode, off_t offset, off_t count);

static const uint32_t cs_EPOLLIN = EPOLLIN;
static const uint32_t cs_EPOLLOUT = EPOLLOUT;
static const uint32_t cs_EPOLLERR = EPOLLERR;
static const uint32_t cs_EPOLLHUP = EPOLLHUP;
static const uint32_t cs_EPOLLRDHUP = EPOLLRDHUP;
static const uint32_t cs_EPOLLET = EPOLLET;
static const uint32_t cs_EPOLLEXCLUSIVE = EPOLLEXCLUSIVE;

static inline int cs_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }
static inline int cs_epoll_ctl(int ep, int op, int fd, uint32_t events, uint64_t data) {
  struct epoll_event e;
  e.events = events;
  e.data.u64 = data;
  return epoll_ctl(ep, op, fd, &e);
}
static inline int cs_epoll_add(int ep, int fd, uint32_t events, uint64_t data) {
  return cs_epoll_ctl(ep, EPOLL_CTL_ADD, fd, events, data);
}
static inline int cs_epoll_remove(int ep, int fd) { return epoll_ctl(ep, EPOLL_CTL_DEL, fd, 0); }
static inline uint64_t cs_epoll_data(const struct epoll_event *e) { return e->data.u64; }
static inline uint32_t cs_epoll_events(const struct epoll_event *e) { return e->events; }

// Bytes of a socket's send queue that the peer has not acknowledged (tcp(7), unix(7)); -1 when it cannot be told. 0 where the connection
// was reset: its queue is gone then, but SIOCOUTQ still says what was in it. The first byte of struct tcp_info is the connection's state.
static inline int cs_unacknowledged(int fd) {
  int count = 0;
  if (ioctl(fd, SIOCOUTQ, &count) != 0) return -1;
  uint8_t info[4] = {0};
  socklen_t n = sizeof info;
  if (count > 0 && getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &n) == 0 && info[0] == TCP_CLOSE) return 0;
  return count;
}

// openat2(2): opens a file for reading whose name leads nowhere outside of a directory, by no `..`, no absolute name and no link. It has no
// function in glibc. Opening what is no file does not wait, and is told from a file by its status.
static inline int cs_open_beneath(int directory, const char *name) {
  struct open_how how;
  memset(&how, 0, sizeof how);
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return (int)syscall(SYS_openat2, directory, name, &how, sizeof how);
}

static inline int cs_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

static inline int cs_socket(int domain, int type) { return socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }
static inline int cs_accept(int fd, struct sockaddr_storage *a, socklen_t *n) {
  return accept4(fd, (struct sockaddr *)a, n, SOCK_NONBLOCK | SOCK_CLOEXEC);
}
static inline int cs_bind(int fd, const struct sockaddr_storage *a, socklen_t n) {
  return bind(fd, (const struct sockaddr *)a, n);
}
static inline int cs_connect(int fd, const struct sockaddr_storage *a, socklen_t n) {
  return connect(fd, (const struct sockaddr *)a, n);
}
static inline int cs_getsockname(int fd, struct sockaddr_storage *a, socklen_t *n) {
  return getsockname(fd, (struct sockaddr *)a, n);
}
static inline int cs_set_int(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value);
}
static inline int cs_get_error(int fd) {
  int e = 0;
  socklen_t n = sizeof e;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n) != 0) return errno;
  return e;
}
// Linux's struct ucred.
static inline int cs_peer_user(int fd, uint32_t *user) {
  struct { int32_t process; uint32_t user; uint32_t group; } credentials;
  socklen_t n = sizeof credentials;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &n) != 0 || n != sizeof credentials) return -1;
  *user = credentials.user;
  return 0;
}
static const int cs_MSG_MORE = MSG_MORE;
static inline ssize_t cs_send(int fd, const void *p, size_t n, int flags) {
  return send(fd, p, n, MSG_NOSIGNAL | flags);
}
static inline ssize_t cs_recv(int fd, void *p, size_t n) { return recv(fd, p, n, 0); }
static inline ssize_t cs_peek(int fd, void *p, size_t n) { return recv(fd, p, n, MSG_PEEK); }
static inline int cs_stream(void) { return SOCK_STREAM; }
static inline int cs_dgram(void) { return SOCK_DGRAM; }
static inline int cs_errno(void) { return errno; }
static inline void cs_set_errno(int code) { errno = code; }

// One question to the name servers of resolv.conf, with its search list. Returns the bytes of the answer, or -1 with the resolver's
// error (h_errno) in `error`. The state is the call's own, so that resolv.conf is read anew.
static inline int cs_dns_search(const char *name, int type, unsigned char *answer, int capacity, int *error) {
  struct __res_state state;
  memset(&state, 0, sizeof state);
  *error = NETDB_INTERNAL;
  if (res_ninit(&state) != 0) return -1;
  int count = res_nsearch(&state, name, ns_c_in, type, answer, capacity);
  *error = state.res_h_errno;
  res_nclose(&state);
  return count;
}

static inline uint64_t cs_monotonic_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}
static inline uint64_t cs_realtime_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}
static inline int cs_cpu_count(void) {
  cpu_set_t s;
  __CPU_ZERO_S(sizeof s, &s);
  if (sched_getaffinity(0, sizeof s, &s) != 0) return 1;
  return __CPU_COUNT_S(sizeof s, &s);
}
// Pins the calling thread to the nth processor that it is allowed to run on.
static inline int cs_pin_thread(int nth) {
  cpu_set_t all, one;
  __CPU_ZERO_S(sizeof all, &all);
  if (sched_getaffinity(0, sizeof all, &all) != 0) return -1;
  int count = __CPU_COUNT_S(sizeof all, &all);
  if (count <= 0) return -1;
  nth %= count;
  for (int c = 0; c < __CPU_SETSIZE; c++) {
    if (!__CPU_ISSET_S(c, sizeof all, &all)) continue;
    if (nth-- == 0) {
      __CPU_ZERO_S(sizeof one, &one);
      __CPU_SET_S(c, sizeof one, &one);
      return sched_setaffinity(0, sizeof one, &one);
    }
  }
  return -1;
}
// Blocks the signals that the supervisor reads from a signalfd; threads made later inherit the mask.
static inline int cs_signalfd(void) {
  sigset_t s;
  sigemptyset(&s);
  sigaddset(&s, SIGHUP);
  sigaddset(&s, SIGTERM);
  sigaddset(&s, SIGINT);
  sigaddset(&s, SIGUSR1);
  sigaddset(&s, SIGUSR2);
  if (pthread_sigmask(SIG_BLOCK, &s, 0) != 0) return -1;
  return signalfd(-1, &s, SFD_CLOEXEC);
}
static inline void cs_ignore_sigpipe(void) { signal(SIGPIPE, SIG_IGN); }
// A log that reaches RLIMIT_FSIZE is a failed write and no reason to end.
static inline void cs_ignore_sigxfsz(void) { signal(SIGXFSZ, SIG_IGN); }

extern char **environ;
static inline char **cs_environment(void) { return environ; }
static inline int cs_socket_pair(int ends[2]) {
  return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends);
}
// The most descriptors that one call below sends or takes; the kernel has 253.
enum { cs_descriptors_max = 253 };
static inline ssize_t cs_send_descriptors(int fd, const void *p, size_t n, const int *descriptors, int count) {
  union { struct cmsghdr align; char room[CMSG_SPACE(sizeof(int) * cs_descriptors_max)]; } control;
  struct iovec part = {.iov_base = (void *)p, .iov_len = n};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (count > cs_descriptors_max) { errno = EINVAL; return -1; }
  if (count > 0) {
    memset(&control, 0, sizeof control);
    message.msg_control = control.room;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
    memcpy(CMSG_DATA(head), descriptors, sizeof(int) * (size_t)count);
  }
  return sendmsg(fd, &message, MSG_NOSIGNAL);
}
// `descriptors` has room for cs_descriptors_max; `*count` came, and are closed on exec. EMFILE: there was no room for all.
static inline ssize_t cs_receive_descriptors(int fd, void *p, size_t n, int *descriptors, int *count) {
  union { struct cmsghdr align; char room[CMSG_SPACE(sizeof(int) * cs_descriptors_max)]; } control;
  struct iovec part = {.iov_base = p, .iov_len = n};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1,
                           .msg_control = control.room, .msg_controllen = sizeof control.room};
  *count = 0;
  ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  if (got < 0) return got;
  for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    int its = (int)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    if (its > cs_descriptors_max - *count) its = cs_descriptors_max - *count;
    memcpy(descriptors + *count, CMSG_DATA(head), sizeof(int) * (size_t)its);
    *count += its;
  }
  if (message.msg_flags & MSG_CTRUNC) { errno = EMFILE; return -1; }
  return got;
}
static inline int cs_is_listening(int fd) {
  int on = 0;
  socklen_t n = sizeof on;
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &n) == 0 && on;
}
static inline int cs_shares_port(int fd) {
  int on = 0;
  socklen_t n = sizeof on;
  return getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, &n) == 0 && on;
}
static inline int cs_socket_family(int fd) {
  int family = -1;
  socklen_t n = sizeof family;
  return getsockopt(fd, SOL_SOCKET, 39 /* SO_DOMAIN */, &family, &n) == 0 ? family : -1;
}
static inline int cs_socket_type(int fd) {
  int type = -1;
  socklen_t n = sizeof type;
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 ? type : -1;
}
// How a process ended, as a shell says it: its code, or 128 and the signal.
static inline int cs_exit_status(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// A file in memory that is closed on exec and whose size can be sealed; never executable where the kernel knows of that (6.3).
static inline int cs_memory_file(const char *name) {
  const unsigned allow_sealing = 2u | 1u, no_exec = 8u;
  int fd = memfd_create(name, allow_sealing | no_exec);
  return fd >= 0 || errno != EINVAL ? fd : memfd_create(name, allow_sealing);
}
// F_ADD_SEALS: F_SEAL_SEAL, F_SEAL_SHRINK and F_SEAL_GROW.
static inline int cs_seal_size(int fd) { return fcntl(fd, 1024 + 9, 1 | 2 | 4); }
// F_GET_SEALS: whether the size can change no more.
static inline int cs_has_sealed_size(int fd) {
  int seals = fcntl(fd, 1024 + 10);
  return seals >= 0 && (seals & 6) == 6;
}
// FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE.
static inline int cs_punch_hole(int fd, off_t offset, off_t count) { return fallocate(fd, 1 | 2, offset, count); }
// The process's own lock on a whole file; -1 where another process has it.
static inline int cs_lock_file(int fd) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  return fcntl(fd, F_SETLK, &lock);
}
static inline int cs_unlock_file(int fd) {
  struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
  return fcntl(fd, F_SETLK, &lock);
}
static inline int cs_name_thread(const char *name) { return pthread_setname_np(pthread_self(), name); }
