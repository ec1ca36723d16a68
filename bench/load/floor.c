// The floor under a proxy's cost: what the kernel and libssl take when nothing is parsed, decided or kept. One thread, one
// epoll instance, one connection to the backend for each client's.
//
//   floor [--tls CERTIFICATE KEY] HOST PORT [BACKEND-HOST BACKEND-PORT | unix:PATH]
//
// With a backend it passes on whatever comes, in both directions: a relay that knows no HTTP. Without one it answers each
// read with one fixed response: a server of idle connections, for the memory that libssl alone takes for each of them.
// With --tls the client's side is TLS 1.3 by libssl as it comes: one ticket, record buffers released between records.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { FILES_MAX = 20000, EVENTS_MAX = 256, PIECE_BYTES = 65536, RECORD_BYTES = 16384 };

struct side {
  int other; // the descriptor that its bytes go to; -1: it is answered here
  bool open;
  SSL *ssl;
};

static struct side sides[FILES_MAX];
static SSL_CTX *ctx;
static int epoll_fd;
static struct sockaddr_storage backend;
static socklen_t backend_bytes;

static void fail(const char *what) {
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void end_one(int fd) {
  if (fd < 0 || !sides[fd].open) return;
  SSL_free(sides[fd].ssl);
  sides[fd] = (struct side){.other = -1};
  close(fd);
}

static void end_both(int fd) {
  int other = sides[fd].other;
  end_one(fd);
  end_one(other);
}

static void wait_writable(int fd) {
  struct pollfd p = {.fd = fd, .events = POLLOUT};
  poll(&p, 1, -1);
}

// All of it, waiting where the socket is full: what is measured with this has one small message in flight.
static bool put_all(int fd, const char *bytes, size_t n) {
  while (n > 0) {
    ssize_t put;
    if (sides[fd].ssl) {
      int r = SSL_write(sides[fd].ssl, bytes, (int)n);
      int e = r > 0 ? 0 : SSL_get_error(sides[fd].ssl, r);
      if (r <= 0 && e != SSL_ERROR_WANT_WRITE) return false;
      put = r > 0 ? r : -1;
    } else {
      put = send(fd, bytes, n, MSG_NOSIGNAL);
      if (put < 0 && errno != EAGAIN) return false;
    }
    if (put < 0) wait_writable(fd);
    else bytes += put, n -= (size_t)put;
  }
  return true;
}

static bool pass_on(int fd, const char *bytes, size_t n) {
  static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n{}\n";
  return sides[fd].other >= 0 ? put_all(sides[fd].other, bytes, n) : put_all(fd, answer, sizeof answer - 1);
}

// Edge-triggered: it reads until the socket is known to be empty, which a read that was not filled says too. False: it ends.
static bool readable_plain(int fd) {
  static char bytes[PIECE_BYTES];
  for (;;) {
    ssize_t n = recv(fd, bytes, sizeof bytes, 0);
    if (n < 0) return errno == EAGAIN;
    if (n == 0 || !pass_on(fd, bytes, (size_t)n)) return false;
    if (n < PIECE_BYTES) return true;
  }
}

// libssl reads ahead, so below a record's size there is nothing left in the socket once it holds nothing itself.
static bool readable_tls(int fd) {
  static char bytes[RECORD_BYTES];
  size_t total = 0;
  for (;;) {
    ERR_clear_error();
    int n = SSL_read(sides[fd].ssl, bytes, sizeof bytes);
    if (n <= 0) return SSL_get_error(sides[fd].ssl, n) == SSL_ERROR_WANT_READ;
    if (!pass_on(fd, bytes, (size_t)n)) return false;
    total += (size_t)n;
    if (total < RECORD_BYTES && !SSL_has_pending(sides[fd].ssl)) return true;
  }
}

static void watch(int fd, uint32_t events) {
  struct epoll_event e = {.events = events, .data.fd = fd};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e) != 0) fail("epoll_ctl");
}

static int connect_backend(void) {
  int fd = socket(backend.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  if (fd < 0) return -1;
  if (fd >= FILES_MAX || connect(fd, (struct sockaddr *)&backend, backend_bytes) != 0) { close(fd); return -1; }
  if (backend.ss_family == AF_INET) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

static void accept_one(int listener) {
  int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1, server = -1;
  if (client < 0) return;
  if (client >= FILES_MAX || (backend_bytes > 0 && (server = connect_backend()) < 0)) { close(client); return; }
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  sides[client] = (struct side){.other = server, .open = true};
  if (server >= 0) sides[server] = (struct side){.other = client, .open = true};
  if (ctx) {
    sides[client].ssl = SSL_new(ctx);
    SSL_set_fd(sides[client].ssl, client);
    SSL_set_accept_state(sides[client].ssl);
  }
  watch(client, EPOLLIN | EPOLLET);
  if (server < 0) return;
  int on = 1;
  if (ioctl(server, FIONBIO, &on) != 0) fail("ioctl");
  watch(server, EPOLLIN | EPOLLET);
}

static void use_tls(const char *certificate, const char *key) {
  ctx = SSL_CTX_new(TLS_server_method());
  if (SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1 || SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
    ERR_print_errors_fp(stderr);
    exit(1);
  }
  SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256");
  SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384");
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(ctx, 1);
  SSL_CTX_set_read_ahead(ctx, 1);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_ENABLE_PARTIAL_WRITE);
}

int main(int argc, char **argv) {
  int i = 1, one = 1;
  if (argc > 3 && strcmp(argv[1], "--tls") == 0) use_tls(argv[2], argv[3]), i = 4;
  int left = argc - i;
  struct sockaddr_in at = {.sin_family = AF_INET};
  if (left < 2 || left > 4 || inet_pton(AF_INET, argv[i], &at.sin_addr) != 1) {
    fprintf(stderr, "usage: floor [--tls CERTIFICATE KEY] HOST PORT [BACKEND-HOST BACKEND-PORT | unix:PATH]\n");
    return 2;
  }
  at.sin_port = htons((uint16_t)atoi(argv[i + 1]));
  if (left == 4) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[i + 3]))};
    if (inet_pton(AF_INET, argv[i + 2], &to.sin_addr) != 1) fail(argv[i + 2]);
    memcpy(&backend, &to, backend_bytes = sizeof to);
  } else if (left == 3) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (strncmp(argv[i + 2], "unix:", 5) != 0 || strlen(argv[i + 2] + 5) >= sizeof to.sun_path) fail(argv[i + 2]);
    strcpy(to.sun_path, argv[i + 2] + 5);
    memcpy(&backend, &to, backend_bytes = sizeof to);
  }
  signal(SIGPIPE, SIG_IGN);
  for (int fd = 0; fd < FILES_MAX; fd++) sides[fd].other = -1;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(listener, 8192) != 0) fail("listen");
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  watch(listener, EPOLLIN);
  struct epoll_event events[EVENTS_MAX];
  for (;;) {
    int n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
    if (n < 0 && errno != EINTR) fail("epoll_wait");
    for (int e = 0; e < n; e++) {
      int fd = events[e].data.fd;
      if (fd == listener) accept_one(listener);
      else if (sides[fd].open && !(sides[fd].ssl ? readable_tls(fd) : readable_plain(fd))) end_both(fd);
    }
  }
}
