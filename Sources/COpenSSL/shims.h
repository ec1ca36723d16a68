// libssl and libcrypto; the macros that Swift cannot import stand here as static inline functions.
#pragma once
// The SHA256_* functions below are called «deprecated» since OpenSSL 3.0 in favour of EVP; HMACContext says why they are
// used here.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

// Empties the error queue, as ERR_clear_error, which costs a thousand instructions even when nothing is in it.
static inline void cs_clear_errors(void) {
  if (ERR_peek_error() != 0) ERR_clear_error();
}

// MARK: MAC, key derivation and signatures. Each returns 1 on success, like OpenSSL itself.

static inline int cs_hkdf_sha256(
    const unsigned char *key, size_t key_count, const unsigned char *salt, size_t salt_count,
    const unsigned char *info, size_t info_count, unsigned char *out, size_t out_count) {
  char digest[] = "SHA256";
  OSSL_PARAM with[] = {
      OSSL_PARAM_construct_utf8_string("digest", digest, 0),
      OSSL_PARAM_construct_octet_string("key", (void *)key, key_count),
      OSSL_PARAM_construct_octet_string("salt", (void *)salt, salt_count),
      OSSL_PARAM_construct_octet_string("info", (void *)info, info_count),
      OSSL_PARAM_construct_end()};
  EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
  EVP_KDF_CTX *c = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
  int done = c ? EVP_KDF_derive(c, out, out_count, with) : 0;
  EVP_KDF_CTX_free(c);
  EVP_KDF_free(kdf);
  return done == 1;
}
static inline EVP_PKEY *cs_ed25519_private(const unsigned char seed[32]) {
  return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
}
static inline EVP_PKEY *cs_ed25519_public(const unsigned char point[32]) {
  return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, point, 32);
}
static inline int cs_ed25519_point(const EVP_PKEY *key, unsigned char point[32]) {
  size_t count = 32;
  return EVP_PKEY_get_raw_public_key(key, point, &count) == 1 && count == 32;
}
static inline int cs_ed25519_sign(
    EVP_MD_CTX *c, EVP_PKEY *key, const unsigned char *message, size_t count, unsigned char signature[64]) {
  size_t signature_count = 64;
  return EVP_DigestSignInit(c, NULL, NULL, NULL, key) == 1 &&
         EVP_DigestSign(c, signature, &signature_count, message, count) == 1 && signature_count == 64;
}
static inline int cs_ed25519_verify(
    EVP_MD_CTX *c, EVP_PKEY *key, const unsigned char *message, size_t count, const unsigned char signature[64]) {
  return EVP_DigestVerifyInit(c, NULL, NULL, NULL, key) == 1 &&
         EVP_DigestVerify(c, signature, 64, message, count) == 1;
}
static inline int cs_sha256(const unsigned char *message, size_t count, unsigned char digest[32]) {
  size_t written = 0;
  return EVP_Q_digest(NULL, "SHA256", NULL, message, count, digest, &written) == 1 && written == 32;
}
static inline int cs_sha1(const unsigned char *message, size_t count, unsigned char digest[20]) {
  size_t written = 0;
  return EVP_Q_digest(NULL, "SHA1", NULL, message, count, digest, &written) == 1 && written == 20;
}
