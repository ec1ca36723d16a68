// The calls that Platform makes, in place of the C library's. Those on simulated descriptors go to the functions below,
// which Kernel.swift and Calls.swift define: they return what the call returns, or a negative errno.
#define _GNU_SOURCE
#include "calls.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int64_t simulated_recv(int32_t fd, void *to, int64_t count, int32_t peeks);
int64_t simulated_send(int32_t fd, const void *from, int64_t count);
int32_t simulated_socket(void);
int32_t simulated_accept(int32_t fd, simulated_endpoint *peer);
int32_t simulated_connect(int32_t fd, uint32_t address, uint16_t port);
int32_t simulated_local(int32_t fd, simulated_endpoint *local);
int32_t simulated_error(int32_t fd);
int32_t simulated_linger(int32_t fd, int32_t seconds);
int32_t simulated_shutdown(int32_t fd);
int32_t simulated_close(int32_t fd);
int32_t simulated_unacknowledged(int32_t fd);
int32_t simulated_was_reset(int32_t fd);
int32_t simulated_epoll_create(void);
int32_t simulated_epoll_ctl(int32_t ep, int32_t operation, int32_t fd, uint32_t events, uint64_t data);
int32_t simulated_epoll_next(int32_t ep, uint32_t *events, uint64_t *data);
int32_t simulated_epoll_prepare(int32_t ep, int32_t timeout);
int32_t simulated_eventfd(void);
int32_t simulated_event_signal(int32_t fd);
int32_t simulated_event_clear(int32_t fd);
uint64_t simulated_nanoseconds(int32_t isWall);
void simulated_random(void *to, int32_t count);

static int is_on = 0;

void simulated_begin(void) { is_on = 1; }
void simulated_end(void) { is_on = 0; }

static int is_simulated(int fd) { return fd >= simulated_descriptor_base; }

// The C library's convention from the simulator's.
static int64_t result(int64_t value) {
  if (value >= 0) return value;
  errno = (int)-value;
  return -1;
}

static simulated_endpoint endpoint_of(const struct sockaddr *address) {
  const struct sockaddr_in *in = (const struct sockaddr_in *)address;
  simulated_endpoint endpoint = {0, 0};
  if (address->sa_family != AF_INET) return endpoint;
  endpoint.address = ntohl(in->sin_addr.s_addr);
  endpoint.port = ntohs(in->sin_port);
  return endpoint;
}

static void write_endpoint(simulated_endpoint endpoint, struct sockaddr *address, socklen_t *count) {
  struct sockaddr_in in;
  memset(&in, 0, sizeof in);
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(endpoint.address);
  in.sin_port = htons(endpoint.port);
  memcpy(address, &in, sizeof in);
  *count = sizeof in;
}

// MARK: Chance

// In place of libcrypto's: keys, identifiers of connections and nonces are the same in each run of a seed, and with them the sizes of
// heads that HTTP/2 compresses.
int RAND_bytes(unsigned char *to, int count) {
  simulated_random(to, count);
  return 1;
}

// MARK: Bytes

ssize_t recv(int fd, void *to, size_t count, int flags) {
  if (!is_simulated(fd)) return syscall(SYS_recvfrom, fd, to, count, flags, 0, 0);
  return result(simulated_recv(fd, to, (int64_t)count, (flags & MSG_PEEK) != 0));
}

ssize_t send(int fd, const void *from, size_t count, int flags) {
  if (!is_simulated(fd)) return syscall(SYS_sendto, fd, from, count, flags, 0, 0);
  return result(simulated_send(fd, from, (int64_t)count));
}

ssize_t read(int fd, void *to, size_t count) {
  if (!is_simulated(fd)) return syscall(SYS_read, fd, to, count);
  memset(to, 0, count);
  return simulated_event_clear(fd) == 0 ? (ssize_t)count : -1;
}

ssize_t write(int fd, const void *from, size_t count) {
  if (!is_simulated(fd)) return syscall(SYS_write, fd, from, count);
  return simulated_event_signal(fd) == 0 ? (ssize_t)count : -1;
}

int ioctl(int fd, unsigned long request, ...) {
  va_list list;
  va_start(list, request);
  void *argument = va_arg(list, void *);
  va_end(list);
  if (!is_simulated(fd)) return (int)syscall(SYS_ioctl, fd, request, argument);
  *(int *)argument = simulated_unacknowledged(fd);
  return 0;
}

// MARK: A socket's life

int socket(int domain, int type, int protocol) {
  if (!is_on) return (int)syscall(SYS_socket, domain, type, protocol);
  return (int)result(simulated_socket());
}

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict count, int flags) {
  if (!is_simulated(fd)) return (int)syscall(SYS_accept4, fd, address, count, flags);
  simulated_endpoint peer;
  int32_t made = simulated_accept(fd, &peer);
  if (made >= 0) write_endpoint(peer, address, count);
  return (int)result(made);
}

int connect(int fd, const struct sockaddr *address, socklen_t count) {
  if (!is_simulated(fd)) return (int)syscall(SYS_connect, fd, address, count);
  simulated_endpoint to = endpoint_of(address);
  return (int)result(simulated_connect(fd, to.address, to.port));
}

int getsockname(int fd, struct sockaddr *restrict address, socklen_t *restrict count) {
  if (!is_simulated(fd)) return (int)syscall(SYS_getsockname, fd, address, count);
  simulated_endpoint local;
  int32_t code = simulated_local(fd, &local);
  if (code == 0) write_endpoint(local, address, count);
  return (int)result(code);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t count) {
  if (!is_simulated(fd)) return (int)syscall(SYS_setsockopt, fd, level, name, value, count);
  if (level == SOL_SOCKET && name == SO_LINGER) {
    const struct linger *option = value;
    return (int)result(simulated_linger(fd, option->l_onoff ? option->l_linger : -1));
  }
  return 0;
}

int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict count) {
  if (!is_simulated(fd)) return (int)syscall(SYS_getsockopt, fd, level, name, value, count);
  int answer = 0;
  if (level == SOL_SOCKET && name == SO_ERROR) answer = simulated_error(fd);
  if (level == IPPROTO_TCP && name == TCP_INFO) answer = simulated_was_reset(fd) ? TCP_CLOSE : TCP_ESTABLISHED;
  memcpy(value, &answer, *count < sizeof answer ? *count : sizeof answer);
  return 0;
}

int shutdown(int fd, int how) {
  if (!is_simulated(fd)) return (int)syscall(SYS_shutdown, fd, how);
  return (int)result(how == SHUT_WR ? simulated_shutdown(fd) : -EINVAL);
}

int close(int fd) {
  if (!is_simulated(fd)) return (int)syscall(SYS_close, fd);
  return (int)result(simulated_close(fd));
}

// MARK: Readiness

int epoll_create1(int flags) {
  if (!is_on) return (int)syscall(SYS_epoll_create1, flags);
  return (int)result(simulated_epoll_create());
}

int epoll_ctl(int ep, int operation, int fd, struct epoll_event *event) {
  if (!is_simulated(ep)) return (int)syscall(SYS_epoll_ctl, ep, operation, fd, event);
  return (int)result(simulated_epoll_ctl(ep, operation, fd, event ? event->events : 0, event ? event->data.u64 : 0));
}

// Never waits: the simulator moves the time on when there is nothing to do.
int epoll_wait(int ep, struct epoll_event *events, int most, int timeout) {
  if (!is_simulated(ep)) return (int)syscall(SYS_epoll_wait, ep, events, most, timeout);
  simulated_epoll_prepare(ep, timeout);
  int count = 0;
  while (count < most) {
    uint32_t ready;
    uint64_t data;
    if (simulated_epoll_next(ep, &ready, &data) != 1) break;
    events[count].events = ready;
    events[count].data.u64 = data;
    count++;
  }
  return count;
}

int eventfd(unsigned int initial, int flags) {
  if (!is_on) return (int)syscall(SYS_eventfd2, initial, flags);
  return (int)result(simulated_eventfd());
}

// MARK: Time

int clock_gettime(clockid_t clock, struct timespec *time) {
  if (!is_on || (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC)) {
    return (int)syscall(SYS_clock_gettime, clock, time);
  }
  uint64_t now = simulated_nanoseconds(clock == CLOCK_REALTIME);
  time->tv_sec = (time_t)(now / 1000000000u);
  time->tv_nsec = (long)(now % 1000000000u);
  return 0;
}
