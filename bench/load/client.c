// The bench's load client, for what wrk cannot do: a fixed rate whose latency counts from the moment a request was due
// (so that a stalled proxy cannot hide behind requests that were never sent), a new TLS connection for each request, full
// or resumed, thousands of connections that are all open before anything is measured, and bytes through a tunnel.
//
//   client [--tls] [--mode keepalive|new|resume|hold|tunnel] [--connections N] [--rate N] [--warm S] [--seconds S]
//          [--path P] [--header "K: V"]... [--message BYTES] HOST PORT
//
// It writes "open N" once all connections are open and have had one answer each (not with new and resume), and one line
// of JSON at the end, which comes after --warm plus --seconds, or on SIGTERM, SIGINT. One thread, one epoll instance.
// A connection that fails counts as an error and is opened again; a status other than 200 is an error, too.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum mode { KEEPALIVE, NEW, RESUME, HOLD, TUNNEL };
enum state { CLOSED, CONNECTING, HANDSHAKE, SENDING, READING, IDLE, ENDING };
enum { HEAD_BYTES_MAX = 16384, EVENTS_MAX = 512 };

struct connection {
  int fd;
  enum state state;
  bool upgraded, answered, in_ring;
  SSL *ssl;
  SSL_SESSION *session;
  const char *out;
  size_t out_bytes, out_sent;
  char *head;        // the response's head, until it is whole
  size_t head_bytes;
  uint64_t body_left;
  uint64_t due_ns;   // when the request in flight should have been sent
};

static enum mode mode = KEEPALIVE;
static bool tls;
static int connections = 64, epoll_fd;
static double rate, warm_s, duration_s = 5;
static size_t message_bytes = 512;
static struct sockaddr_in server;
static SSL_CTX *ctx;
static char request[8192], upgrade[8192], *message;
static size_t request_bytes, upgrade_bytes;

static struct connection *table;
static int *idle_ring;              // connections that wait for their next request, oldest first
static unsigned idle_head, idle_count;
static int open_count;
static bool told_open;
static volatile sig_atomic_t stopped;

static uint64_t measure_from_ns, end_ns, start_ns, due_index;
static uint64_t count, errors, reused, handshakes, late_max_ns;
static uint32_t *latency_ns;
static size_t latency_count, latency_max;

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *what) {
  fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void on_signal(int number) { (void)number; stopped = 1; }

static int on_session(SSL *ssl, SSL_SESSION *session) {
  struct connection *c = SSL_get_app_data(ssl);
  if (c->session) SSL_SESSION_free(c->session);
  c->session = session;
  return 1; // kept
}

static void watch(struct connection *c, uint32_t events, int op) {
  struct epoll_event e = {.events = events | EPOLLET, .data.u32 = (uint32_t)(c - table)};
  if (epoll_ctl(epoll_fd, op, c->fd, &e) != 0) fail("epoll_ctl");
}

static void open_connection(struct connection *c) {
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (c->fd < 0) fail("socket");
  int one = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  c->state = CONNECTING;
  c->head_bytes = 0;
  c->body_left = 0;
  c->upgraded = false;
  if (connect(c->fd, (struct sockaddr *)&server, sizeof server) != 0 && errno != EINPROGRESS) fail("connect");
  watch(c, EPOLLIN | EPOLLOUT | EPOLLRDHUP, EPOLL_CTL_ADD);
}

static void close_connection(struct connection *c) {
  if (c->ssl) {
    SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    c->ssl = NULL;
  }
  close(c->fd);
  c->fd = -1;
  c->state = CLOSED;
}

static void reopen(struct connection *c, bool is_error) {
  if (is_error) {
    errors++;
    if (c->answered && mode != NEW && mode != RESUME) open_count--, c->answered = false;
  }
  close_connection(c);
  // Errors must not become a storm: give up when there is nothing but errors.
  if (errors > 10000 && errors > count) { fprintf(stderr, "client: too many errors\n"); exit(1); }
  open_connection(c);
}

static ssize_t put(struct connection *c, const void *bytes, size_t n) {
  if (!tls) return send(c->fd, bytes, n, MSG_NOSIGNAL);
  ERR_clear_error();
  int r = SSL_write(c->ssl, bytes, (int)n);
  if (r > 0) return r;
  int e = SSL_get_error(c->ssl, r);
  errno = e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
  return -1;
}

static ssize_t get(struct connection *c, void *bytes, size_t n) {
  if (!tls) return recv(c->fd, bytes, n, 0);
  ERR_clear_error();
  int r = SSL_read(c->ssl, bytes, (int)n);
  if (r > 0) return r;
  int e = SSL_get_error(c->ssl, r);
  if (e == SSL_ERROR_ZERO_RETURN || (e == SSL_ERROR_SYSCALL && ERR_peek_error() == 0 && r == 0)) return 0;
  errno = e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
  return -1;
}

static void push_out(struct connection *c) {
  while (c->out_sent < c->out_bytes) {
    ssize_t n = put(c, c->out + c->out_sent, c->out_bytes - c->out_sent);
    if (n < 0) {
      if (errno == EAGAIN) return;
      reopen(c, true);
      return;
    }
    c->out_sent += (size_t)n;
  }
  c->state = READING;
}

static void start_request(struct connection *c, uint64_t due) {
  c->due_ns = due;
  c->state = SENDING;
  c->head_bytes = 0;
  c->out_sent = 0;
  if (c->upgraded) c->out = message, c->out_bytes = message_bytes, c->body_left = message_bytes;
  else if (mode == TUNNEL) c->out = upgrade, c->out_bytes = upgrade_bytes;
  else c->out = request, c->out_bytes = request_bytes;
  push_out(c);
}

static void make_idle(struct connection *c) {
  c->state = IDLE;
  if (c->in_ring) return; // it was idle before, broke, and came back
  c->in_ring = true;
  idle_ring[(idle_head + idle_count++) % (unsigned)connections] = (int)(c - table);
}

// Begins the clock once every connection is open and has been used.
static void first_answer(struct connection *c) {
  if (c->answered) return;
  c->answered = true;
  if (++open_count < connections || told_open) return;
  told_open = true;
  printf("open %d\n", connections);
  fflush(stdout);
  start_ns = now_ns();
  measure_from_ns = start_ns + (uint64_t)(warm_s * 1e9);
  end_ns = measure_from_ns + (uint64_t)(duration_s * 1e9);
}

static void finished(struct connection *c) {
  uint64_t now = now_ns();
  bool was_setup = !told_open && mode != NEW && mode != RESUME;
  if (!was_setup && now >= measure_from_ns && now < end_ns) {
    count++;
    if (latency_count < latency_max) {
      uint64_t took = now - c->due_ns;
      latency_ns[latency_count++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
    }
  }
  if (mode == NEW || mode == RESUME) {
    c->state = ENDING; // the server said `Connection: close`: it ends the connection, we follow
    return;
  }
  make_idle(c);
  first_answer(c);
}

// Takes bytes of the answer; false: the connection is gone or was made anew.
static bool take(struct connection *c, char *bytes, size_t n) {
  if (c->state == ENDING) return true;
  if (c->body_left == 0 && !c->upgraded) {
    if (!c->head) c->head = malloc(HEAD_BYTES_MAX + 1);
    size_t room = HEAD_BYTES_MAX - c->head_bytes, part = n < room ? n : room;
    memcpy(c->head + c->head_bytes, bytes, part);
    c->head_bytes += part;
    c->head[c->head_bytes] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) {
      if (c->head_bytes == HEAD_BYTES_MAX) { reopen(c, true); return false; }
      return true;
    }
    size_t after = c->head_bytes - (size_t)(end + 4 - c->head);
    int status = strncmp(c->head, "HTTP/1.1 ", 9) == 0 ? atoi(c->head + 9) : 0;
    if (status != (mode == TUNNEL ? 101 : 200)) {
      if (errors == 0) fprintf(stderr, "client: %.*s\n", (int)strcspn(c->head, "\r"), c->head);
      reopen(c, true);
      return false;
    }
    if (mode == TUNNEL) {
      c->upgraded = true;
      make_idle(c);
      first_answer(c);
      return true;
    }
    char *length = strcasestr(c->head, "\r\ncontent-length:");
    if (!length || length > end) { reopen(c, true); return false; }
    uint64_t body = strtoull(length + 17, NULL, 10);
    if (after > body) { reopen(c, true); return false; }
    c->body_left = body - after;
    if (c->body_left == 0) finished(c);
    return true;
  }
  if (n > c->body_left) { reopen(c, true); return false; }
  c->body_left -= n;
  if (c->body_left == 0) finished(c);
  return true;
}

static void read_some(struct connection *c) {
  static char bytes[65536];
  while (c->state >= SENDING) {
    ssize_t n = get(c, bytes, sizeof bytes);
    if (n > 0) {
      if (!take(c, bytes, (size_t)n)) return;
      continue;
    }
    if (n < 0 && errno == EAGAIN) return;
    reopen(c, n < 0 || c->state != ENDING);
    return;
  }
}

static void opened(struct connection *c) {
  handshakes++;
  if (tls && SSL_session_reused(c->ssl)) reused++;
  start_request(c, c->due_ns);
}

static void on_event(struct connection *c, uint32_t events) {
  if (c->state == CONNECTING) {
    if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) return;
    int e = 0;
    socklen_t length = sizeof e;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &length);
    if (e != 0) { reopen(c, true); return; }
    c->due_ns = now_ns();
    if (!tls) { opened(c); read_some(c); return; }
    c->ssl = SSL_new(ctx);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_app_data(c->ssl, c);
    SSL_set_tlsext_host_name(c->ssl, "localhost");
    if (mode == RESUME && c->session) SSL_set_session(c->ssl, c->session);
    c->state = HANDSHAKE;
  }
  if (c->state == HANDSHAKE) {
    ERR_clear_error();
    int r = SSL_connect(c->ssl);
    if (r == 1) { opened(c); read_some(c); return; }
    int e = SSL_get_error(c->ssl, r);
    if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) reopen(c, true);
    return;
  }
  if (c->state == SENDING && (events & EPOLLOUT)) push_out(c);
  read_some(c);
}

// Sends what is due: at a fixed rate what the clock says, otherwise one on every idle connection.
static void send_due(void) {
  if (!told_open || mode == HOLD || mode == NEW || mode == RESUME) return;
  while (idle_count > 0) {
    uint64_t now = now_ns(), due = now;
    if (now >= end_ns) return;
    struct connection *c = &table[idle_ring[idle_head]];
    bool is_idle = c->state == IDLE;
    if (is_idle && rate > 0) {
      due = start_ns + (uint64_t)((double)due_index * 1e9 / rate);
      if (due > now) return;
      if (now - due > late_max_ns) late_max_ns = now - due;
      due_index++;
    }
    idle_head = (idle_head + 1) % (unsigned)connections;
    idle_count--;
    c->in_ring = false;
    if (!is_idle) continue;
    start_request(c, due);
    // Its answer may be there already; edge-triggered, so it is looked for here too.
    if (c->state == READING) read_some(c);
  }
}

static int by_value(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

static double percentile_us(double p) {
  if (latency_count == 0) return 0;
  size_t i = (size_t)(p / 100 * (double)latency_count);
  return latency_ns[i < latency_count ? i : latency_count - 1] / 1e3;
}

static size_t write_request(char *into, const char *host, const char *path, const char *headers, const char *last) {
  return (size_t)snprintf(into, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\n%s%s\r\n", path, host, headers, last);
}

int main(int argc, char **argv) {
  const char *path = "/", *modes[] = {"keepalive", "new", "resume", "hold", "tunnel"};
  static char headers[4096];
  int i = 1;
  for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
    const char *name = argv[i] + 2;
    if (strcmp(name, "tls") == 0) { tls = true; continue; }
    const char *value = ++i < argc ? argv[i] : "";
    if (strcmp(name, "mode") == 0) {
      int m = 0;
      while (m < 5 && strcmp(value, modes[m]) != 0) m++;
      if (m == 5) { fprintf(stderr, "client: no mode %s\n", value); return 2; }
      mode = (enum mode)m;
    } else if (strcmp(name, "connections") == 0) connections = atoi(value);
    else if (strcmp(name, "rate") == 0) rate = atof(value);
    else if (strcmp(name, "warm") == 0) warm_s = atof(value);
    else if (strcmp(name, "seconds") == 0) duration_s = atof(value);
    else if (strcmp(name, "path") == 0) path = value;
    else if (strcmp(name, "message") == 0) message_bytes = (size_t)atoi(value);
    else if (strcmp(name, "header") == 0) {
      size_t used = strlen(headers);
      snprintf(headers + used, sizeof headers - used, "%s\r\n", value);
    } else { fprintf(stderr, "client: no option %s\n", name); return 2; }
  }
  if (argc - i != 2 || connections < 1 || connections > 100000 || message_bytes < 1) {
    fprintf(stderr, "usage: client [options] HOST PORT\n");
    return 2;
  }
  server.sin_family = AF_INET;
  server.sin_port = htons((uint16_t)atoi(argv[i + 1]));
  if (inet_pton(AF_INET, argv[i], &server.sin_addr) != 1) fail(argv[i]);

  const char *last = mode == NEW || mode == RESUME ? "Connection: close\r\n" : "";
  request_bytes = write_request(request, "localhost", path, headers, last);
  upgrade_bytes = write_request(upgrade, "localhost", path, headers,
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
  if (request_bytes >= sizeof request || upgrade_bytes >= sizeof upgrade) { fprintf(stderr, "client: head too long\n"); return 2; }
  message = malloc(message_bytes);
  memset(message, 'm', message_bytes);

  struct rlimit files = {0};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  prctl(PR_SET_TIMERSLACK, 1);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGTERM, on_signal);
  signal(SIGINT, on_signal);
  if (tls) {
    ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set1_groups_list(ctx, "X25519");
    // The chain is checked once by who runs this; here it would only cost the client's time.
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    if (mode == RESUME) SSL_CTX_sess_set_new_cb(ctx, on_session);
  }
  latency_max = (size_t)((rate > 0 ? rate : 200000) * (duration_s < 60 ? duration_s : 60) * 1.1) + 1000;
  latency_ns = malloc(latency_max * sizeof *latency_ns);
  table = calloc((size_t)connections, sizeof *table);
  idle_ring = calloc((size_t)connections, sizeof *idle_ring);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (!latency_ns || !table || !idle_ring || epoll_fd < 0) fail("start");

  end_ns = UINT64_MAX;
  if (mode == NEW || mode == RESUME) {
    start_ns = now_ns();
    measure_from_ns = start_ns + (uint64_t)(warm_s * 1e9);
    end_ns = measure_from_ns + (uint64_t)(duration_s * 1e9);
  }
  int begun = 0;
  struct epoll_event events[EVENTS_MAX];
  while (!stopped) {
    uint64_t now = now_ns();
    if (mode != HOLD && now >= end_ns) break;
    // At most 256 handshakes at a time, so that no listener's backlog overflows.
    while (begun < connections && begun - open_count < 256) open_connection(&table[begun++]);
    send_due();
    uint64_t until = now + 50000000;
    if (rate > 0 && told_open && idle_count > 0) until = start_ns + (uint64_t)((double)due_index * 1e9 / rate);
    now = now_ns();
    uint64_t wait = until > now ? until - now : 0;
    struct timespec timeout = {.tv_sec = 0, .tv_nsec = (long)(wait < 50000000 ? wait : 50000000)};
    int n = epoll_pwait2(epoll_fd, events, EVENTS_MAX, &timeout, NULL);
    if (n < 0 && errno != EINTR) fail("epoll_wait");
    for (int e = 0; e < n; e++) {
      struct connection *c = &table[events[e].data.u32];
      if (c->state != CLOSED) on_event(c, events[e].events);
    }
  }

  uint64_t stop_ns = now_ns();
  double measured = (double)((stop_ns < end_ns ? stop_ns : end_ns) - measure_from_ns) / 1e9;
  qsort(latency_ns, latency_count, sizeof *latency_ns, by_value);
  printf("{\"count\": %llu, \"errors\": %llu, \"handshakes\": %llu, \"reused\": %llu, \"seconds\": %.3f, "
    "\"sent_late_max_us\": %.1f, \"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f}\n",
    (unsigned long long)count, (unsigned long long)errors, (unsigned long long)handshakes, (unsigned long long)reused,
    measured, (double)late_max_ns / 1e3, percentile_us(50), percentile_us(90), percentile_us(99), percentile_us(99.9));
  return 0;
}
