// Ed25519 (RFC 8032). A key is immutable and may be shared; a context, which signs and verifies, belongs to one thread.
// Used by KeySet (keys), Signer and Verifier.

import COpenSSL

/// A public key, with or without its private key.
@safe package final class Ed25519Key: @unchecked Sendable {
  /// The public key's 32 bytes.
  package let point: [UInt8]
  package let isPrivate: Bool
  // SAFETY: made in init, freed in deinit, never changed in between; libcrypto allows many threads to read an EVP_PKEY. The
  // context below uses it only while it has a reference to this object.
  fileprivate let key: OpaquePointer

  /// The key pair of a 32-byte seed (`d`).
  package init(seed: SecretBytes) throws(CryptoError) {
    precondition(seed.count == 32)
    ERR_clear_error()
    // SAFETY: the seed's 32 bytes, checked above, are read during the call.
    guard let key = unsafe seed.withPointer({ unsafe cs_ed25519_private($0) }) else {
      throw CryptoError("Ed25519 private key")
    }
    unsafe self.key = key
    isPrivate = true
    var point = [UInt8](repeating: 0, count: 32)
    // SAFETY: there is room for the 32 bytes that are written.
    let done = unsafe point.withUnsafeMutableBufferPointer { unsafe cs_ed25519_point(key, $0.baseAddress!) == 1 }
    self.point = point
    guard done else { throw CryptoError("Ed25519 public key") }
  }

  /// The public key of 32 bytes (`x`).
  package init(point: [UInt8]) throws(CryptoError) {
    precondition(point.count == 32)
    ERR_clear_error()
    // SAFETY: there are 32 bytes; libcrypto copies them.
    guard let key = unsafe point.withUnsafeBufferPointer({ unsafe cs_ed25519_public($0.baseAddress!) }) else {
      throw CryptoError("Ed25519 public key")
    }
    unsafe self.key = key
    self.point = point
    isPrivate = false
  }

  // SAFETY: made in init and freed only here; nobody has a reference to self any more.
  deinit { unsafe EVP_PKEY_free(key) }
}

/// Signs and verifies with one key, on one thread.
@safe package final class Ed25519Context {
  package static let signatureCount = 64

  private let key: Ed25519Key
  // SAFETY: made in init, freed in deinit, never lent. Ed25519Context is not Sendable: one thread uses it.
  private let context: OpaquePointer

  package init(key: Ed25519Key) throws(CryptoError) {
    ERR_clear_error()
    // SAFETY: a new object or NULL; self owns it from here on.
    guard let context = unsafe EVP_MD_CTX_new() else { throw CryptoError("EVP_MD_CTX_new") }
    unsafe self.context = context
    self.key = key
  }

  // SAFETY: made in init and freed only here; nobody has a reference to self any more.
  deinit { unsafe EVP_MD_CTX_free(context) }

  /// Writes the 64-byte signature to the front of `signature`; false without a private key.
  package func sign(_ message: Span<UInt8>, into signature: inout MutableSpan<UInt8>) -> Bool {
    precondition(signature.count >= Ed25519Context.signatureCount)
    guard key.isPrivate else { return false }
    ERR_clear_error()
    // SAFETY: libcrypto reads the message's count bytes and writes 64, for which the precondition has made sure of room.
    return unsafe message.withUnsafeBufferPointer { source in
      unsafe signature.withUnsafeMutableBufferPointer { target in
        unsafe cs_ed25519_sign(context, key.key, source.baseAddress, source.count, target.baseAddress!) == 1
      }
    }
  }

  package func verify(_ message: Span<UInt8>, signature: Span<UInt8>) -> Bool {
    guard signature.count == Ed25519Context.signatureCount else { return false }
    ERR_clear_error()
    // SAFETY: libcrypto reads the message's count bytes and 64 of the signature, whose count was compared with that.
    let same = unsafe message.withUnsafeBufferPointer { source in
      unsafe signature.withUnsafeBufferPointer { signature in
        unsafe cs_ed25519_verify(context, key.key, source.baseAddress, source.count, signature.baseAddress!) == 1
      }
    }
    // A wrong signature leaves an error in the queue, which the next TLS call on this thread would take for its own.
    if !same { ERR_clear_error() }
    return same
  }
}
