// The load of bench/faults: requests at a fixed rate on many kept connections, each with a number of its own, and what became of
// every single one. A request's time counts from when it was due. One that finds no idle connection gets a new one: a server or a
// proxy that hangs keeps nothing from being sent.
//
//   paced --method GET|POST --rate N --seconds S --connections N --start NANOSECONDS --out FILE HOST PORT
//
// Request NUMBER is due at --start (of CLOCK_MONOTONIC) plus NUMBER / rate, and asks for /r/NUMBER; a POST has a small body. FILE
// gets two words for each, in order: its status, 0 where no whole answer came, and the microseconds until then. A failed
// connection is never tried again for the same request. One thread, one epoll instance.
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
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum state { CLOSED, CONNECTING, IDLE, BUSY };
enum { CONNECTIONS_MAX = 2000, BYTES_MAX = 16384, EVENTS_MAX = 256 };
static const uint64_t ANSWER_NS = 10000000000u; // so long an answer is waited for

struct connection {
  int fd;
  enum state state;
  long number;    // of its request; -1: none
  size_t bytes;
  char *buffer;
};

static struct connection table[CONNECTIONS_MAX];
static int idle_ring[CONNECTIONS_MAX]; // those that take a request, oldest first; open, or closed and opened for it
static unsigned idle_head, idle_count;
static int used, epoll_fd;
static struct sockaddr_in server;
static bool is_post;
static long total, next_number, done_count, oldest;
static uint64_t start_ns;
static double rate;
static int *status_of, *holder_of;
static uint64_t *took_ns, late_max_ns;

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *what) {
  fprintf(stderr, "paced: %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t due_ns(long number) { return start_ns + (uint64_t)((double)number * 1e9 / rate); }

static void open_connection(struct connection *c) {
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (c->fd < 0) fail("socket");
  int one = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  c->state = CONNECTING;
  c->bytes = 0;
  if (connect(c->fd, (struct sockaddr *)&server, sizeof server) != 0 && errno != EINPROGRESS) fail("connect");
  struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e) != 0) fail("epoll_ctl");
}

static void put_back(struct connection *c) {
  idle_ring[(idle_head + idle_count++) % CONNECTIONS_MAX] = (int)(c - table);
}

// Its request, if it has one, is over; status 0: without an answer.
static void settle(struct connection *c, int status) {
  if (c->number < 0) return;
  status_of[c->number] = status;
  took_ns[c->number] = now_ns() - due_ns(c->number);
  holder_of[c->number] = -1;
  done_count++;
  c->number = -1;
  put_back(c);
}

static void end(struct connection *c) {
  close(c->fd);
  c->fd = -1;
  c->state = CLOSED;
  settle(c, 0);
}

static void send_request(struct connection *c) {
  char text[512];
  int n = is_post
    ? snprintf(text, sizeof text, "POST /r/%ld HTTP/1.1\r\nHost: app.example\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\r\n%015ld\n",
               c->number, c->number)
    : snprintf(text, sizeof text, "GET /r/%ld HTTP/1.1\r\nHost: app.example\r\nAccept: */*\r\n\r\n", c->number);
  c->state = BUSY;
  c->bytes = 0;
  if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL) != n) end(c);
}

// The answer, once it is whole. False: more has to come.
static bool take(struct connection *c, bool is_ended) {
  c->buffer[c->bytes] = 0;
  char *head_end = strstr(c->buffer, "\r\n\r\n");
  if (!head_end) return false;
  size_t head = (size_t)(head_end + 4 - c->buffer);
  char *length = strcasestr(c->buffer, "\r\ncontent-length:"), *close = strcasestr(c->buffer, "\r\nconnection: close");
  bool has_length = length && length < head_end, ends = (close && close < head_end) || !has_length;
  if (has_length ? c->bytes - head < strtoull(length + 17, NULL, 10) : !is_ended) return false;
  int status = strncmp(c->buffer, "HTTP/1.", 7) == 0 ? atoi(c->buffer + 9) : 0;
  c->state = IDLE;
  settle(c, status);
  if (ends) end(c);
  return true;
}

static void read_some(struct connection *c) {
  while (c->state == BUSY || c->state == IDLE) {
    if (!c->buffer && !(c->buffer = malloc(BYTES_MAX + 1))) fail("malloc");
    if (c->state == IDLE) c->bytes = 0;
    ssize_t n = recv(c->fd, c->buffer + c->bytes, BYTES_MAX - c->bytes, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      if (n < 0 || c->state != BUSY || !take(c, true)) end(c);
      else if (c->state == IDLE) end(c);
      return;
    }
    c->bytes += (size_t)n;
    if (c->state == IDLE) { end(c); return; } // an answer that nobody asked for
    take(c, false);
  }
}

static void on_event(struct connection *c, uint32_t events) {
  if (c->state == CLOSED) return;
  if (c->state == CONNECTING) {
    int e = 0;
    socklen_t length = sizeof e;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &length);
    if (e != 0) { end(c); return; }
    if (!(events & EPOLLOUT)) return;
    c->state = IDLE;
    if (c->number >= 0) send_request(c);
  }
  read_some(c);
}

static void send_due(void) {
  while (next_number < total) {
    uint64_t now = now_ns(), due = due_ns(next_number);
    if (due > now) return;
    struct connection *c = NULL;
    if (idle_count > 0) {
      c = &table[idle_ring[idle_head]];
      idle_head = (idle_head + 1) % CONNECTIONS_MAX;
      idle_count--;
    } else if (used < CONNECTIONS_MAX) c = &table[used++];
    else return; // it stays due
    if (now - due > late_max_ns) late_max_ns = now - due;
    c->number = next_number;
    holder_of[next_number++] = (int)(c - table);
    if (c->state == CLOSED) open_connection(c);
    else if (c->state == IDLE) send_request(c);
    if (c->state == BUSY) read_some(c);
  }
}

static void give_up_old(void) {
  uint64_t now = now_ns();
  while (oldest < next_number && (holder_of[oldest] < 0 || due_ns(oldest) + ANSWER_NS < now)) {
    if (holder_of[oldest] >= 0) end(&table[holder_of[oldest]]);
    oldest++;
  }
}

int main(int argc, char **argv) {
  int connections = 64, i = 1;
  double seconds = 0;
  const char *out = NULL;
  for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
    const char *name = argv[i] + 2, *value = argv[i + 1];
    if (strcmp(name, "method") == 0) is_post = strcmp(value, "POST") == 0;
    else if (strcmp(name, "rate") == 0) rate = atof(value);
    else if (strcmp(name, "seconds") == 0) seconds = atof(value);
    else if (strcmp(name, "connections") == 0) connections = atoi(value);
    else if (strcmp(name, "start") == 0) start_ns = strtoull(value, NULL, 10);
    else if (strcmp(name, "out") == 0) out = value;
    else { fprintf(stderr, "paced: no option %s\n", name); return 2; }
  }
  if (argc - i != 2 || rate <= 0 || seconds <= 0 || connections < 1 || connections > CONNECTIONS_MAX || !out || !start_ns) {
    fprintf(stderr, "usage: paced --method M --rate N --seconds S --connections N --start NS --out FILE HOST PORT\n");
    return 2;
  }
  server.sin_family = AF_INET;
  server.sin_port = htons((uint16_t)atoi(argv[i + 1]));
  if (inet_pton(AF_INET, argv[i], &server.sin_addr) != 1) fail(argv[i]);
  total = (long)(rate * seconds);
  status_of = calloc((size_t)total, sizeof *status_of);
  holder_of = calloc((size_t)total, sizeof *holder_of);
  took_ns = calloc((size_t)total, sizeof *took_ns);
  if (!status_of || !holder_of || !took_ns) fail("malloc");
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_TIMERSLACK, 1);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  for (int c = 0; c < CONNECTIONS_MAX; c++) table[c].fd = -1, table[c].number = -1;
  for (; used < connections; used++) {
    open_connection(&table[used]);
    put_back(&table[used]);
  }
  struct epoll_event events[EVENTS_MAX];
  while (done_count < total) {
    send_due();
    uint64_t now = now_ns(), until = now + 50000000;
    if (next_number < total && due_ns(next_number) < until) until = due_ns(next_number);
    struct timespec wait = {.tv_sec = 0, .tv_nsec = until > now ? (long)(until - now) : 0};
    if (next_number < total && until <= now) wait.tv_nsec = 1000000; // every connection is taken
    int n = epoll_pwait2(epoll_fd, events, EVENTS_MAX, &wait, NULL);
    if (n < 0 && errno != EINTR) fail("epoll_wait");
    for (int e = 0; e < n; e++) on_event(events[e].data.ptr, events[e].events);
    give_up_old();
  }
  FILE *file = fopen(out, "w");
  if (!file) fail(out);
  for (long r = 0; r < total; r++) fprintf(file, "%d %llu\n", status_of[r], (unsigned long long)(took_ns[r] / 1000));
  if (fclose(file) != 0) fail(out);
  printf("{\"connections\": %d, \"sent_late_max_us\": %llu}\n", used, (unsigned long long)(late_max_ns / 1000));
  return 0;
}
