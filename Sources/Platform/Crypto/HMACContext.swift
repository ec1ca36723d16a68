// HMAC-SHA-256 (RFC 2104) with the key set up once: the hash states after the two padded keys are kept, and a message
// begins with a copy of 112 bytes. It uses libcrypto's SHA256_* functions, because EVP_MAC allocates twice for each message
// and costs half as much again (decision 14); both end in the same assembly code.
// Invariant: one thread; `begin`, then any number of `update`, then `end`. Used by Signer and Verifier.

import COpenSSL

@safe package final class HMACContext {
  package static let tagCount = 32
  private static let blockCount = 64

  private struct State {
    var inner = SHA256_CTX()
    var outer = SHA256_CTX()
    /// Of the current message.
    var running = SHA256_CTX()
  }

  // SAFETY: initialized in init, wiped and freed in deinit, never lent. HMACContext is not Sendable: one thread uses it.
  private let state: UnsafeMutablePointer<State>

  package init(key: SecretBytes) throws(CryptoError) {
    // SAFETY: room for one State, initialized at once. Where the initializer throws, deinit frees it.
    unsafe state = .allocate(capacity: 1)
    unsafe state.initialize(to: State())
    var padded = [UInt8](repeating: 0, count: HMACContext.blockCount)
    // SAFETY: here and below, each pointer is passed with the number of bytes that it is good for; a digest of 32 bytes
    // fits in the block.
    defer { unsafe OPENSSL_cleanse(&padded, padded.count) }
    if key.count > HMACContext.blockCount {
      // A key longer than a block is hashed first (RFC 2104 section 2).
      _ = unsafe key.withPointer { unsafe COpenSSL.SHA256($0, key.count, &padded) }
    } else {
      key.withBytes { bytes in
        for i in bytes.indices { padded[i] = bytes[i] }
      }
    }
    for i in padded.indices { padded[i] ^= 0x36 }
    var done = unsafe SHA256_Init(&state.pointee.inner) == 1
    done = unsafe SHA256_Update(&state.pointee.inner, padded, padded.count) == 1 && done
    for i in padded.indices { padded[i] ^= 0x36 ^ 0x5c }
    done = unsafe SHA256_Init(&state.pointee.outer) == 1 && done
    done = unsafe SHA256_Update(&state.pointee.outer, padded, padded.count) == 1 && done
    guard done else { throw CryptoError("HMAC set-up") }
  }

  deinit {
    // Whoever has these states can make tags, as with the key itself.
    // SAFETY: one whole State is overwritten and freed; nobody has a reference to self any more.
    unsafe OPENSSL_cleanse(state, MemoryLayout<State>.size)
    unsafe state.deallocate()
  }

  /// Starts a message.
  package func begin() -> Bool {
    // SAFETY: the state is initialized in init and lives as long as self.
    unsafe state.pointee.running = state.pointee.inner
    return true
  }

  /// Adds to the message.
  package func update(_ bytes: Span<UInt8>) -> Bool {
    guard !bytes.isEmpty else { return true }
    // SAFETY: count bytes of the span are read during the call.
    return unsafe bytes.withUnsafeBufferPointer { source in
      unsafe SHA256_Update(&state.pointee.running, source.baseAddress, source.count) == 1
    }
  }

  /// Ends the message and writes its 32-byte tag to the front of `tag`.
  package func end(into tag: inout MutableSpan<UInt8>) -> Bool {
    precondition(tag.count >= HMACContext.tagCount)
    var digest = InlineArray<32, UInt8>(repeating: 0)
    var room = digest.mutableSpan
    // SAFETY: SHA256_Final writes 32 bytes: into a digest of 32, and into a tag of at least as many, as checked above.
    let inner = unsafe room.withUnsafeMutableBufferPointer {
      unsafe SHA256_Final($0.baseAddress, &state.pointee.running) == 1
    }
    unsafe state.pointee.running = state.pointee.outer
    let outer = unsafe digest.span.withUnsafeBufferPointer {
      unsafe SHA256_Update(&state.pointee.running, $0.baseAddress, 32) == 1
    }
    let last = unsafe tag.withUnsafeMutableBufferPointer {
      unsafe SHA256_Final($0.baseAddress, &state.pointee.running) == 1
    }
    return inner && outer && last
  }

  /// The tag of one whole message.
  package func tag(of message: Span<UInt8>, into tag: inout MutableSpan<UInt8>) -> Bool {
    begin() && update(message) && end(into: &tag)
  }
}
