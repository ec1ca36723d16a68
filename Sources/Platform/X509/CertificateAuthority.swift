// A certificate authority that exists for the time of one command: it makes its own certificate and issues a few others, all
// ECDSA on P-256. For trying things out, not for production. Used by DevelopmentCertificates.

import COpenSSL
import Wire

/// A certificate and its key as PEM text.
package struct IssuedCertificate: Sendable {
  package let certificate: [UInt8]
  /// PKCS #8, not encrypted.
  package let key: [UInt8]
}

/// The purpose of a certificate, which determines its extensions (RFC 5280 section 4.2).
package enum CertificateRole: Sendable {
  case authority
  /// For these DNS names (with `*.` in front: for one label) and addresses.
  case server(names: [String], addresses: [IPAddress])
  case client
}

package struct CertificateError: Error, CustomStringConvertible, Sendable {
  package let description: String
}

@safe package final class CertificateAuthority {
  package let issued: IssuedCertificate
  // SAFETY: made in init, freed in deinit, never lent beyond a call. CertificateAuthority is not Sendable: one thread uses it.
  private let certificate: OpaquePointer
  private let key: OpaquePointer
  private let days: Int

  package init(commonName: String, days: Int) throws(CertificateError) {
    self.days = days
    // SAFETY: the key and the certificate are new, and self owns them from the end of this initializer on. Where it throws,
    // deinit does not run, and each is freed here once.
    guard let key = unsafe cs_x509_new_key() else { throw CertificateAuthority.failed("making a key") }
    do throws(CertificateError) {
      let certificate = unsafe try CertificateAuthority.make(
        .authority, commonName: commonName, days: days, key: key, issuer: nil, issuerKey: key)
      do throws(CertificateError) {
        issued = unsafe try CertificateAuthority.text(certificate, key)
      } catch {
        unsafe X509_free(certificate)
        throw error
      }
      unsafe self.certificate = certificate
    } catch {
      unsafe EVP_PKEY_free(key)
      throw error
    }
    unsafe self.key = key
  }

  deinit {
    // SAFETY: made in init and freed only here; nobody has a reference to self any more.
    unsafe X509_free(certificate)
    unsafe EVP_PKEY_free(key)
  }

  /// A certificate with a new key, signed by this authority.
  package func issue(_ role: CertificateRole, commonName: String) throws(CertificateError) -> IssuedCertificate {
    // SAFETY: the key and the certificate are new, and freed once, when this function ends, after their text was made.
    guard let leafKey = unsafe cs_x509_new_key() else { throw CertificateAuthority.failed("making a key") }
    defer { unsafe EVP_PKEY_free(leafKey) }
    let leaf = unsafe try CertificateAuthority.make(
      role, commonName: commonName, days: days, key: leafKey, issuer: certificate, issuerKey: key)
    defer { unsafe X509_free(leaf) }
    return unsafe try CertificateAuthority.text(leaf, leafKey)
  }

  /// The caller frees what is returned. Without an issuer the certificate is self-signed.
  private static func make(
    _ role: CertificateRole, commonName: String, days: Int, key: OpaquePointer, issuer: OpaquePointer?,
    issuerKey: OpaquePointer
  ) throws(CertificateError) -> OpaquePointer {
    ERR_clear_error()
    // SAFETY: x is new, and freed here or returned. Key and issuers are the caller's and live for the call; libcrypto counts
    // what x keeps of them. The subject's name belongs to x or the issuer, and is only used while they live. The serial
    // number's array has the sixteen bytes that are written and read; strings are NUL-terminated copies for their call.
    guard let x = unsafe X509_new() else { throw failed("making a certificate") }
    var done = unsafe X509_set_version(x, 2) == 1  // counts from 0: X.509 v3
    var serial = [UInt8](repeating: 0, count: 16)
    done = unsafe done && RAND_bytes(&serial, 16) == 1
    serial[0] = serial[0] & 0x7f | 0x40  // positive, and always of the same length (RFC 5280 section 4.1.2.2)
    done = unsafe done && cs_x509_set_serial(x, serial, 16) == 1
    // Valid from an hour ago, for peers whose clock is behind.
    done = unsafe done && X509_gmtime_adj(X509_getm_notBefore(x), -3600) != nil
    done = unsafe done && X509_time_adj_ex(X509_getm_notAfter(x), Int32(days), 0, nil) != nil
    done = unsafe done && X509_set_pubkey(x, key) == 1
    done = unsafe done && cs_x509_add_name(X509_get_subject_name(x), "CN", commonName) == 1
    done = unsafe done && X509_set_issuer_name(x, X509_get_subject_name(issuer ?? x)) == 1
    for (kind, value) in extensions(role) {
      done = unsafe done && cs_x509_add_extension(x, issuer ?? x, kind, value) == 1
    }
    done = unsafe done && cs_x509_sign(x, issuerKey) == 1
    guard done else {
      unsafe X509_free(x)
      throw failed("making the certificate of \(commonName)")
    }
    return unsafe x
  }

  private static func extensions(_ role: CertificateRole) -> [(kind: Int32, value: String)] {
    switch role {
    case .authority:
      return [
        (NID_basic_constraints, "critical,CA:TRUE,pathlen:0"), (NID_key_usage, "critical,keyCertSign,cRLSign"),
        (NID_subject_key_identifier, "hash"),
      ]
    case .server(let names, let addresses):
      let alternatives = names.map { "DNS:\($0)" } + addresses.map { "IP:\($0)" }
      return leaf("serverAuth") + [(NID_subject_alt_name, alternatives.joined(separator: ","))]
    case .client: return leaf("clientAuth")
    }
  }

  private static func leaf(_ usage: String) -> [(kind: Int32, value: String)] {
    [
      (NID_basic_constraints, "critical,CA:FALSE"), (NID_key_usage, "critical,digitalSignature"),
      (NID_ext_key_usage, usage), (NID_subject_key_identifier, "hash"), (NID_authority_key_identifier, "keyid"),
    ]
  }

  private static func text(
    _ certificate: OpaquePointer, _ key: OpaquePointer
  ) throws(CertificateError) -> IssuedCertificate {
    // SAFETY: both are the caller's and live for the call; they are only read.
    let certificateText = unsafe try pem { unsafe PEM_write_bio_X509($0, certificate) }
    let keyText = unsafe try pem { unsafe cs_x509_write_key($0, key) }
    return IssuedCertificate(certificate: certificateText, key: keyText)
  }

  private static func pem(_ write: (OpaquePointer) -> Int32) throws(CertificateError) -> [UInt8] {
    ERR_clear_error()
    // SAFETY: the BIO is new, and freed once, when this function ends. Its bytes are its own: they are copied before that.
    guard let out = unsafe BIO_new(BIO_s_mem()) else { throw failed("writing PEM") }
    defer { unsafe BIO_free(out) }
    guard unsafe write(out) == 1 else { throw failed("writing PEM") }
    var bytes: UnsafePointer<UInt8>?
    let count = unsafe cs_x509_bio_bytes(out, &bytes)
    guard count > 0, let bytes = unsafe bytes else { throw failed("writing PEM") }
    return unsafe Array(UnsafeBufferPointer(start: bytes, count: count))
  }

  private static func failed(_ what: String) -> CertificateError {
    CertificateError(description: "\(what) failed: \(TLSError.lastReason() ?? "no reason given")")
  }
}
