// The bench's second backend, for what nginx cannot do as one: it reads uploads to their last byte before it answers, and
// answers `Upgrade: websocket` with 101 and then echoes whatever comes. `GET /status` tells how many requests there were,
// and how many bytes of bodies and echoes. One thread, level-triggered epoll, HTTP/1.1 with Content-Length only.
//
//   backend HOST PORT      writes "ready" to standard output
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FILES_MAX = 20000, HEAD_BYTES_MAX = 16384, EVENTS_MAX = 256 };

struct peer {
  bool echoes;
  uint64_t body_left;
  size_t head_bytes;
  char *head;
};

static struct peer peers[FILES_MAX];
static uint64_t requests, bytes_in;
static int epoll_fd;

static void fail(const char *what) {
  fprintf(stderr, "backend: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void end(int fd) {
  close(fd);
  peers[fd].head_bytes = 0;
  peers[fd].body_left = 0;
  peers[fd].echoes = false;
}

// Answers are small, and there is one at a time: a full socket buffer means a peer that does not read.
static bool answer(int fd, const char *bytes, size_t n) {
  return send(fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n;
}

static bool answer_ok(int fd) {
  static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n";
  requests++;
  return answer(fd, ok, sizeof ok - 1);
}

static bool answer_status(int fd) {
  char body[128], all[256];
  int n = snprintf(body, sizeof body, "requests %llu\nbytes %llu\n", (unsigned long long)requests, (unsigned long long)bytes_in);
  n = snprintf(all, sizeof all, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", n, body);
  return answer(fd, all, (size_t)n);
}

// One request's head is whole, `head_end` bytes of it; what follows is body. False: the connection ends.
static bool take_head(int fd, struct peer *p, size_t head_end) {
  static const char switching[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
  size_t after = p->head_bytes - head_end;
  p->head[head_end - 1] = 0;
  p->head_bytes = 0;
  if (strcasestr(p->head, "\r\ntransfer-encoding:")) return false;
  if (strcasestr(p->head, "\r\nupgrade: websocket")) {
    p->echoes = true;
    return after == 0 && answer(fd, switching, sizeof switching - 1);
  }
  if (strncmp(p->head, "GET /status ", 12) == 0) return after == 0 && answer_status(fd);
  char *length = strcasestr(p->head, "\r\ncontent-length:");
  uint64_t body = length ? strtoull(length + 17, NULL, 10) : 0;
  if (after > body) return false; // nobody here sends ahead
  bytes_in += after;
  p->body_left = body - after;
  return p->body_left > 0 || answer_ok(fd);
}

static bool readable(int fd, struct peer *p) {
  static char bytes[262144];
  if (p->echoes || p->body_left > 0) {
    ssize_t n = recv(fd, bytes, sizeof bytes, 0);
    if (n < 0) return errno == EAGAIN;
    if (n == 0) return false;
    bytes_in += (uint64_t)n;
    if (p->echoes) return answer(fd, bytes, (size_t)n);
    if ((uint64_t)n > p->body_left) return false;
    p->body_left -= (uint64_t)n;
    return p->body_left > 0 || answer_ok(fd);
  }
  if (!p->head && !(p->head = malloc(HEAD_BYTES_MAX + 1))) return false;
  ssize_t n = recv(fd, p->head + p->head_bytes, HEAD_BYTES_MAX - p->head_bytes, 0);
  if (n < 0) return errno == EAGAIN;
  if (n == 0) return false;
  p->head_bytes += (size_t)n;
  char *found = memmem(p->head, p->head_bytes, "\r\n\r\n", 4);
  if (!found) return p->head_bytes < HEAD_BYTES_MAX;
  return take_head(fd, p, (size_t)(found + 4 - p->head));
}

static void watch(int fd) {
  struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e) != 0) fail("epoll_ctl");
}

int main(int argc, char **argv) {
  if (argc != 3) { fprintf(stderr, "usage: backend HOST PORT\n"); return 2; }
  signal(SIGPIPE, SIG_IGN);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
  if (inet_pton(AF_INET, argv[1], &at.sin_addr) != 1) fail(argv[1]);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(listener, 4096) != 0) fail("listen");
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  watch(listener);
  puts("ready");
  fflush(stdout);
  struct epoll_event events[EVENTS_MAX];
  for (;;) {
    int n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
    if (n < 0 && errno != EINTR) fail("epoll_wait");
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      if (fd != listener) {
        if (!readable(fd, &peers[fd])) end(fd);
        continue;
      }
      int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (client < 0) continue;
      if (client >= FILES_MAX) { close(client); continue; }
      setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      watch(client);
    }
  }
}
