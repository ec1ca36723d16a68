// A server that can be made bad, for bench/faults. It answers every request with 200 and a small body, and writes down each one
// that it has read whole: when, on which of its ports, from which port, and its number (the path is /r/NUMBER).
//
//   faulty CONTROL LOG HOST PORT...
//
// CONTROL is a FIFO that takes a mode a line:
//   good     answers at once
//   refuse   stops listening and closes its connections, as a process that has ended
//   reset    resets its connections; accepts new ones, reads what comes first, and resets them
//   slow     answers after two seconds
//   error    answers 500
// All modes but the first hold for every path, so for that of a health check too. To hang it, stop its process.
//
// A line of the log, which is written out at SIGTERM: NANOSECONDS KIND PORT PEER-PORT NUMBER METHOD, with CLOCK_MONOTONIC. KIND is
// `p` for a request that was answered, or will be, `x` for one whose head was read and that was reset, `h` for another path than /r/NUMBER.
// One thread, level-triggered epoll, HTTP/1.0 and 1.1 with Content-Length only.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
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

enum { FILES_MAX = 20000, BYTES_MAX = 8192, EVENTS_MAX = 256, PORTS_MAX = 64, WAITING_MAX = 65536 };
enum mode { GOOD, REFUSE, RESET, SLOW, ERROR };
static const char *const MODES[] = {"good", "refuse", "reset", "slow", "error"};
static const uint64_t SLOW_NS = 2000000000u;

struct peer {
  bool is_open;
  uint32_t turn; // how often this descriptor has been a connection: an answer that waits must not go to another
  int port, peer_port;
  size_t bytes;
  char *buffer;
};

struct answer {
  uint64_t due_ns;
  int fd;
  uint32_t turn;
  bool ends, has_body;
};

static struct peer peers[FILES_MAX];
static struct answer waiting[WAITING_MAX]; // a ring; all wait equally long, so the oldest is due first
static unsigned waiting_head, waiting_count;
static enum mode mode = GOOD;
static const char *host;
static int ports[PORTS_MAX], listeners[PORTS_MAX], port_count, epoll_fd, control_fd;
static FILE *record;
static volatile sig_atomic_t stopped;

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *what) {
  fprintf(stderr, "faulty: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void on_signal(int number) { (void)number; stopped = 1; }

static void watch(int fd) {
  struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e) != 0) fail("epoll_ctl");
}

static void listen_all(void) {
  for (int i = 0; i < port_count; i++) {
    if (listeners[i] >= 0) continue;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)ports[i])};
    if (inet_pton(AF_INET, host, &at.sin_addr) != 1) fail(host);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 4096) != 0) fail("listen");
    if (fd >= FILES_MAX) fail("too many files");
    listeners[i] = fd;
    watch(fd);
  }
}

static void end(int fd, bool by_reset) {
  if (by_reset) {
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  close(fd);
  peers[fd].is_open = false;
  peers[fd].turn++;
  peers[fd].bytes = 0;
}

static void end_all(bool by_reset) {
  for (int fd = 0; fd < FILES_MAX; fd++)
    if (peers[fd].is_open) end(fd, by_reset);
}

static void enter(const char *name) {
  for (unsigned m = 0; m < sizeof MODES / sizeof *MODES; m++) {
    if (strcmp(name, MODES[m]) != 0) continue;
    mode = (enum mode)m;
    if (mode == REFUSE) {
      for (int i = 0; i < port_count; i++) {
        if (listeners[i] >= 0) close(listeners[i]);
        listeners[i] = -1;
      }
    } else listen_all();
    if (mode == REFUSE || mode == RESET) end_all(mode == RESET);
    return;
  }
  fprintf(stderr, "faulty: no mode %s\n", name);
  exit(1);
}

static void take_control(void) {
  char text[256];
  ssize_t n = read(control_fd, text, sizeof text - 1);
  if (n <= 0) return;
  text[n] = 0;
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) enter(line);
}

// Answers are small, and there is one at a time: a full socket buffer means a peer that does not read.
static void send_answer(int fd, bool ends, bool has_body) {
  char text[256];
  const char *status = mode == ERROR ? "500 Internal Server Error" : "200 OK", *body = has_body ? "ok\n" : "";
  int n = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n%s\r\n%s", status,
                   ends ? "Connection: close\r\n" : "", body);
  if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n || ends) end(fd, false);
}

// How many bytes the request at the buffer's start has; 0: it is not whole yet, -1: it is none that is understood.
static ssize_t request_bytes(struct peer *p) {
  char *found = memmem(p->buffer, p->bytes, "\r\n\r\n", 4);
  if (!found) return p->bytes < BYTES_MAX ? 0 : -1;
  *found = 0; // the head is text from here on
  char *length = strcasestr(p->buffer, "\r\ncontent-length:");
  bool is_chunked = strcasestr(p->buffer, "\r\ntransfer-encoding:") != NULL;
  size_t body = length ? strtoull(length + 17, NULL, 10) : 0, all = (size_t)(found + 4 - p->buffer) + body;
  if (is_chunked || body > BYTES_MAX || all > BYTES_MAX) return -1;
  if (p->bytes >= all) return (ssize_t)all;
  *found = '\r';
  return 0;
}

// Writes down the request whose head is the text at the buffer's start.
static void note(const struct peer *p, char method[16]) {
  unsigned long long number = 0;
  bool is_numbered = sscanf(p->buffer, "%15[A-Z] /r/%llu", method, &number) == 2;
  fprintf(record, "%llu %c %d %d %llu %s\n", (unsigned long long)now_ns(), !is_numbered ? 'h' : mode == RESET ? 'x' : 'p', p->port,
          p->peer_port, number, method);
}

// Takes the requests that are whole; the connection may have ended afterwards.
static void take(int fd, struct peer *p) {
  char method[16] = "-";
  ssize_t n;
  while (mode != RESET && (n = request_bytes(p)) > 0) {
    note(p, method);
    char *line_end = strstr(p->buffer, "\r\n");
    bool ends = strcasestr(p->buffer, "\r\nconnection: close") != NULL;
    if (line_end && line_end - p->buffer >= 8 && memcmp(line_end - 8, "HTTP/1.0", 8) == 0)
      ends = strcasestr(p->buffer, "\r\nconnection: keep-alive") == NULL;
    p->bytes -= (size_t)n;
    memmove(p->buffer, p->buffer + n, p->bytes);
    bool has_body = strcmp(method, "HEAD") != 0;
    if (mode == SLOW) {
      if (waiting_count == WAITING_MAX) fail("too many answers that wait");
      waiting[(waiting_head + waiting_count++) % WAITING_MAX] =
        (struct answer){.due_ns = now_ns() + SLOW_NS, .fd = fd, .turn = p->turn, .ends = ends, .has_body = has_body};
      continue;
    }
    send_answer(fd, ends, has_body);
    if (!p->is_open) return;
  }
  if (mode == RESET) {
    // A head is enough: whoever has sent it cannot know what became of it, whether or not its body had come.
    if (memmem(p->buffer, p->bytes, "\r\n\r\n", 4)) {
      p->buffer[p->bytes] = 0;
      note(p, method);
    }
    end(fd, true);
    return;
  }
  if (n < 0) end(fd, false);
}

static void readable(int fd) {
  struct peer *p = &peers[fd];
  ssize_t n = recv(fd, p->buffer + p->bytes, BYTES_MAX - p->bytes, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) { end(fd, false); return; }
  p->bytes += (size_t)n;
  take(fd, p);
}

static void accept_some(int port, int listener) {
  struct sockaddr_in from;
  socklen_t length = sizeof from;
  int fd;
  while ((fd = accept4(listener, (struct sockaddr *)&from, &length, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    if (fd >= FILES_MAX) fail("too many files");
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct peer *p = &peers[fd];
    if (!p->buffer && !(p->buffer = malloc(BYTES_MAX + 1))) fail("malloc");
    p->is_open = true;
    p->bytes = 0;
    p->port = port;
    p->peer_port = ntohs(from.sin_port);
    watch(fd);
  }
}

static void answer_due(void) {
  while (waiting_count > 0 && waiting[waiting_head].due_ns <= now_ns()) {
    struct answer a = waiting[waiting_head];
    waiting_head = (waiting_head + 1) % WAITING_MAX;
    waiting_count--;
    if (peers[a.fd].is_open && peers[a.fd].turn == a.turn) send_answer(a.fd, a.ends, a.has_body);
  }
}

int main(int argc, char **argv) {
  if (argc < 5 || argc - 4 > PORTS_MAX) {
    fprintf(stderr, "usage: faulty CONTROL LOG HOST PORT...\n");
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL); // it may be stopped when the bench is killed, and would heed nothing less
  host = argv[3];
  for (int i = 4; i < argc; i++) {
    ports[port_count] = atoi(argv[i]);
    listeners[port_count++] = -1;
  }
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  if (!(record = fopen(argv[2], "w"))) fail(argv[2]);
  // Open for writing too, so that it never reads as ended between two writers.
  if ((control_fd = open(argv[1], O_RDWR | O_NONBLOCK | O_CLOEXEC)) < 0) fail(argv[1]);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  watch(control_fd);
  listen_all();
  struct epoll_event events[EVENTS_MAX];
  while (!stopped) {
    int wait_ms = -1;
    if (waiting_count > 0) {
      uint64_t now = now_ns(), due = waiting[waiting_head].due_ns;
      wait_ms = due > now ? (int)((due - now) / 1000000 + 1) : 0;
    }
    int n = epoll_wait(epoll_fd, events, EVENTS_MAX, wait_ms);
    if (n < 0 && errno != EINTR) fail("epoll_wait");
    bool has_command = false;
    for (int e = 0; e < n; e++) {
      int fd = events[e].data.fd, port = -1;
      if (fd == control_fd) { has_command = true; continue; }
      for (int i = 0; i < port_count; i++)
        if (listeners[i] == fd) port = ports[i];
      if (port >= 0) accept_some(port, fd);
      else if (peers[fd].is_open) readable(fd);
    }
    // Last: it closes descriptors that the events above may name.
    if (has_command) take_control();
    answer_due();
  }
  if (fclose(record) != 0) fail(argv[2]);
  return 0;
}
