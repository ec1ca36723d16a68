// Making certificates: the macros and variadic calls of libcrypto that Swift cannot import, as functions. No logic.
#pragma once
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

static inline EVP_PKEY *cs_x509_new_key(void) { return EVP_EC_gen("P-256"); }
// Adds the extension `nid` with a value as in openssl.cnf; `issuer` may be `subject` itself.
static inline int cs_x509_add_extension(X509 *subject, X509 *issuer, int nid, const char *value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, subject, 0, 0, 0);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(0, &context, nid, value);
  if (!extension) return 0;
  int added = X509_add_ext(subject, extension, -1);
  X509_EXTENSION_free(extension);
  return added;
}
static inline int cs_x509_set_serial(X509 *x, const unsigned char *bytes, int count) {
  BIGNUM *number = BN_bin2bn(bytes, count, 0);
  if (!number) return 0;
  int set = BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x)) != 0;
  BN_free(number);
  return set;
}
static inline int cs_x509_sign(X509 *x, EVP_PKEY *key) { return X509_sign(x, key, EVP_sha256()) > 0; }
static inline int cs_x509_add_name(X509_NAME *name, const char *field, const char *value) {
  return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)value, -1, -1, 0);
}
// PKCS #8, not encrypted.
static inline int cs_x509_write_key(BIO *out, EVP_PKEY *key) {
  return PEM_write_bio_PKCS8PrivateKey(out, key, 0, 0, 0, 0, 0);
}
static inline long cs_x509_bio_bytes(BIO *b, const unsigned char **p) { return BIO_get_mem_data(b, (char **)p); }
