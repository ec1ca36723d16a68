// The macros of libssl that Swift cannot import, as functions. Thin, no logic.
#pragma once
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/ssl.h>
#include <openssl/ui.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

static inline long cs_ctx_set_min_version(SSL_CTX *c, int v) { return SSL_CTX_set_min_proto_version(c, v); }
static inline uint64_t cs_ctx_set_options(SSL_CTX *c, uint64_t o) { return SSL_CTX_set_options(c, o); }
static inline long cs_ctx_set_mode(SSL_CTX *c, long m) { return SSL_CTX_set_mode(c, m); }
static inline long cs_ctx_set_session_cache_mode(SSL_CTX *c, long m) { return SSL_CTX_set_session_cache_mode(c, m); }
static inline long cs_ctx_set_groups(SSL_CTX *c, const char *g) { return SSL_CTX_set1_groups_list(c, g); }
// Nobody can be asked for a passphrase: a key that has one is refused, and `asked` is told so.
static int cs_no_passphrase(char *buffer, int count, int writes, void *asked) {
  (void)buffer, (void)count, (void)writes;
  if (asked) *(int *)asked = 1;
  return -1;
}
static inline void cs_ctx_refuse_passphrases(SSL_CTX *c, int *asked) {
  SSL_CTX_set_default_passwd_cb(c, cs_no_passphrase);
  SSL_CTX_set_default_passwd_cb_userdata(c, asked);
}
// The same for every other way in which libcrypto could open the terminal.
static int cs_no_terminal(UI *ui) {
  (void)ui;
  return 0;
}
static inline int cs_refuse_prompts(void) {
  UI_METHOD *m = UI_create_method("none");
  if (!m || UI_method_set_opener(m, cs_no_terminal) != 0) return 0;
  UI_set_default_method(m);
  return 1;
}
static inline void cs_ctx_set_read_ahead(SSL_CTX *c, int on) { SSL_CTX_set_read_ahead(c, on); }
static inline long cs_ctx_set_servername_callback(SSL_CTX *c, int (*f)(SSL *, int *, void *)) {
  return SSL_CTX_set_tlsext_servername_callback(c, f);
}
static inline long cs_ctx_set_servername_arg(SSL_CTX *c, void *p) { return SSL_CTX_set_tlsext_servername_arg(c, p); }
static inline int cs_ctx_set_ticket_callback(
    SSL_CTX *c, int (*f)(SSL *, unsigned char *, unsigned char *, EVP_CIPHER_CTX *, EVP_MAC_CTX *, int)) {
  return SSL_CTX_set_tlsext_ticket_key_evp_cb(c, f);
}
static inline int cs_hmac_sha256_set(EVP_MAC_CTX *c, const unsigned char *key, size_t key_count) {
  char digest[] = "SHA256";
  OSSL_PARAM with[] = {
      OSSL_PARAM_construct_octet_string("key", (void *)key, key_count),
      OSSL_PARAM_construct_utf8_string("digest", digest, 0),
      OSSL_PARAM_construct_end()};
  return EVP_MAC_CTX_set_params(c, with);
}
static inline long cs_set_host_name(SSL *s, const char *name) { return SSL_set_tlsext_host_name(s, name); }
static inline void cs_bio_clear_retry(BIO *b) { BIO_clear_retry_flags(b); }
static inline void cs_bio_retry_read(BIO *b) { BIO_set_retry_read(b); }
static inline void cs_bio_retry_write(BIO *b) { BIO_set_retry_write(b); }
static inline X509 *cs_peer_certificate(const SSL *s) { return SSL_get0_peer_certificate(s); }

// Where the file of authorities has revocation lists, each certificate of a chain is looked for in one: libssl loads them, and does
// not look at them by itself.
static inline void cs_ctx_check_revocation(SSL_CTX *c) {
  X509_STORE *store = SSL_CTX_get_cert_store(c);
  STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(store);
  for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
    if (X509_OBJECT_get_type(sk_X509_OBJECT_value(all, i)) == X509_LU_CRL) {
      X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
      return;
    }
  }
}

// Without it SSL_read returns when all records at hand were the protocol's own, instead of waiting for more of them on the socket.
static inline void cs_no_auto_retry(SSL_CTX *c) { SSL_CTX_clear_mode(c, SSL_MODE_AUTO_RETRY); }

static inline uint64_t cs_server_options(void) {
  return SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE;
}
static inline uint64_t cs_client_options(void) { return SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION; }
static inline long cs_modes(void) {
  return SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS;
}
static const int cs_TLS1_2 = TLS1_2_VERSION;
static const int cs_TLS1_3 = TLS1_3_VERSION;

static inline int cs_general_name_count(const GENERAL_NAMES *n) { return sk_GENERAL_NAME_num(n); }
static inline const GENERAL_NAME *cs_general_name(const GENERAL_NAMES *n, int i) { return sk_GENERAL_NAME_value(n, i); }
// The bytes of a DNS name, or 0 where the entry is of another kind.
static inline const unsigned char *cs_general_name_dns(const GENERAL_NAME *g, int *length) {
  if (g->type != GEN_DNS) return 0;
  *length = ASN1_STRING_length(g->d.dNSName);
  return ASN1_STRING_get0_data(g->d.dNSName);
}
static inline void cs_general_names_free(GENERAL_NAMES *n) { GENERAL_NAMES_free(n); }
static inline int cs_x509_chain_count(const STACK_OF(X509) *s) { return s ? sk_X509_num(s) : 0; }
static inline X509 *cs_x509_chain_at(const STACK_OF(X509) *s, int i) { return sk_X509_value(s, i); }
static inline STACK_OF(X509) *cs_ctx_chain(SSL_CTX *c) {
  STACK_OF(X509) *s = 0;
  SSL_CTX_get0_chain_certs(c, &s);
  return s;
}
// Seconds since 1970; the far future where there is no time, or none that can be read.
static inline int64_t cs_seconds(const ASN1_TIME *t) {
  struct tm time;
  return t && ASN1_TIME_to_tm(t, &time) == 1 ? (int64_t)timegm(&time) : INT64_MAX;
}
static inline int64_t cs_not_after(const X509 *x) { return cs_seconds(X509_get0_notAfter(x)); }
// When the first of a context's revocation lists is to have been replaced.
static inline int64_t cs_ctx_lists_end(SSL_CTX *c) {
  STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(SSL_CTX_get_cert_store(c));
  int64_t end = INT64_MAX;
  for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
    X509_CRL *list = X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(all, i));
    int64_t its = list ? cs_seconds(X509_CRL_get0_nextUpdate(list)) : INT64_MAX;
    if (its < end) end = its;
  }
  return end;
}
// What a revocation list says of itself: whose it is (SHA-256 of the issuer's name, 32 bytes), and when it was made. 0 where the bytes are not
// one list, or say no time.
static inline int cs_crl_read(const unsigned char *der, long length, unsigned char *issuer, int64_t *made) {
  const unsigned char *at = der;
  X509_CRL *list = d2i_X509_CRL(0, &at, length);
  unsigned count = 32;
  int is_read = list && at == der + length && X509_NAME_digest(X509_CRL_get_issuer(list), EVP_sha256(), issuer, &count);
  if (is_read) *made = cs_seconds(X509_CRL_get0_lastUpdate(list));
  X509_CRL_free(list);
  return is_read && *made != INT64_MAX;
}
// Until when what the client of a session showed is believed, where that was noted.
static inline int cs_session_end(SSL_SESSION *session, int64_t *end) {
  void *known = 0;
  size_t size = 0;
  if (SSL_SESSION_get0_ticket_appdata(session, &known, &size) != 1 || size != sizeof *end) return 0;
  memcpy(end, known, sizeof *end);
  return 1;
}
// Notes with a session in which the client showed a certificate until when that is believed: no certificate of its chain, and no
// revocation list, may have come to its end. A session that is carried on has it from its ticket. 0 without memory.
static inline int cs_session_note_end(SSL *s) {
  SSL_SESSION *session = SSL_get_session(s);
  int64_t end;
  if (!SSL_SESSION_get0_peer(session) || cs_session_end(session, &end)) return 1;
  end = cs_ctx_lists_end(SSL_get_SSL_CTX(s));
  int64_t own = cs_not_after(SSL_SESSION_get0_peer(session));
  if (own < end) end = own;
  STACK_OF(X509) *chain = SSL_get0_verified_chain(s);
  for (int i = 0; chain && i < sk_X509_num(chain); i++) {
    int64_t its = cs_not_after(sk_X509_value(chain, i));
    if (its < end) end = its;
  }
  return SSL_SESSION_set1_ticket_appdata(session, &end, sizeof end);
}
// That time is over, or not known.
static inline int cs_session_is_over(SSL_SESSION *session) {
  int64_t end;
  if (!SSL_SESSION_get0_peer(session)) return 0;
  return !cs_session_end(session, &end) || (int64_t)time(0) >= end;
}
static inline int cs_is_early(const X509 *x) { return X509_cmp_current_time(X509_get0_notBefore(x)) > 0; }
