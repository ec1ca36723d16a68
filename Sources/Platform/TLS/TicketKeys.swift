// The keys that encrypt session tickets (RFC 5077 section 4, RFC 8446 section 4.6.1). One set for the process, so that a
// session can be resumed with any worker and after a reload. A new key each hour, so that whoever steals one can decrypt few
// of the connections that were resumed with it.
//
//   newest: encrypts and decrypts ──(an hour)──► decrypts only ──(the lifetime of a ticket)──► removed
//
// Invariant: at least one key, newest first. They are rotated when a ticket is encrypted; there is no timer.
// Called by libssl inside handshakes, on any worker's thread. No request waits here.

import COpenSSL
import Synchronization

@safe package final class TicketKeys: Sendable {
  /// How long a key encrypts.
  package static let rotationMilliseconds: UInt64 = 3_600_000
  /// How long a ticket is valid; the context's session timeout.
  package static let ticketLifetimeSeconds = 7_200

  private static let nameCount = 16
  private static let cipherKeyCount = 32
  private static let macKeyCount = 32

  private struct Key: Sendable {
    /// The key's name, with which its tickets begin, then the key of the cipher and the key of the MAC.
    let bytes: SecretBytes
    let madeMilliseconds: UInt64
  }

  private let keys: Mutex<[Key]>
  private let now: @Sendable () -> UInt64
  // Kept, because fetching it for each ticket would take longer than using it.
  // SAFETY: fetched in init, freed in deinit, and not changed in between; libcrypto allows many threads to read an EVP_CIPHER.
  private nonisolated(unsafe) let cipher: OpaquePointer

  /// - Parameter now: milliseconds on a monotonic clock.
  package init(now: @escaping @Sendable () -> UInt64 = Clock.monotonicMilliseconds) throws(TLSError) {
    // SAFETY: the cipher is new; self takes it, or it is freed here once.
    guard let cipher = unsafe EVP_CIPHER_fetch(nil, "AES-256-CBC", nil) else {
      throw .fromQueue(file: "", "AES-256-CBC for session tickets")
    }
    guard let first = TicketKeys.make(now()) else {
      unsafe EVP_CIPHER_free(cipher)
      throw TLSError(file: "", "no random bytes for ticket keys")
    }
    unsafe self.cipher = cipher
    self.now = now
    keys = Mutex([first])
  }

  // SAFETY: fetched in init and freed only here; nobody has a reference to self any more.
  deinit { unsafe EVP_CIPHER_free(cipher) }

  private static func make(_ now: UInt64) -> Key? {
    let count = nameCount + cipherKeyCount + macKeyCount
    // SAFETY: the closure gets room for the count bytes that libcrypto writes.
    let bytes = unsafe SecretBytes(count: count) { unsafe RAND_bytes($0, Int32(count)) == 1 }
    return bytes.map { Key(bytes: $0, madeMilliseconds: now) }
  }

  /// The key that encrypts now. If there are no random bytes for a new key, the current one stays in use.
  private func encryptionKey() -> Key {
    let now = now()
    return keys.withLock { keys in
      if now >= keys[0].madeMilliseconds + TicketKeys.rotationMilliseconds, let next = TicketKeys.make(now) {
        keys.insert(next, at: 0)
        keys.removeAll { !TicketKeys.decrypts($0, now) }
      }
      return keys[0]
    }
  }

  private static func decrypts(_ key: Key, _ now: UInt64) -> Bool {
    now < key.madeMilliseconds + rotationMilliseconds + UInt64(ticketLifetimeSeconds) * 1_000
  }

  /// The key of that name, if its tickets are still valid, and whether it is the one that encrypts.
  private func decryptionKey(_ name: UnsafePointer<UInt8>) -> (key: Key, isCurrent: Bool)? {
    let now = now()
    return keys.withLock { keys in
      // The newest key stays: it encrypts until there is another one.
      while let last = keys.last, keys.count > 1, !TicketKeys.decrypts(last, now) { keys.removeLast() }
      for (i, key) in keys.enumerated() where TicketKeys.decrypts(key, now) {
        // SAFETY: a key's bytes begin with a name of nameCount bytes, and libssl gives as many of the ticket's.
        let isIt = unsafe key.bytes.withPointer { unsafe CRYPTO_memcmp($0, name, TicketKeys.nameCount) == 0 }
        if isIt { return (key, i == 0 && now < key.madeMilliseconds + TicketKeys.rotationMilliseconds) }
      }
      return nil
    }
  }

  // MARK: In an upgrade

  private static let carriedCount = 8 + nameCount + cipherKeyCount + macKeyCount
  /// Two hours of tickets have three keys, and one that is just made is a fourth.
  private static let carriedMax = 8

  /// All keys with their times, for the process that goes on with them.
  package var carried: SecretBytes? {
    let keys = Array(keys.withLock { $0 }.prefix(TicketKeys.carriedMax))
    // SAFETY: the closure gets room for carriedCount bytes a key, and each key has that many but for its time.
    return unsafe SecretBytes(count: keys.count * TicketKeys.carriedCount) { room in
      for (i, key) in keys.enumerated() {
        let at = unsafe room + i * TicketKeys.carriedCount
        for byte in 0..<8 { unsafe at[byte] = UInt8(truncatingIfNeeded: key.madeMilliseconds >> UInt64(56 - 8 * byte)) }
        unsafe key.bytes.withPointer { unsafe (at + 8).update(from: $0, count: key.bytes.count) }
      }
      return true
    }
  }

  /// Goes on with the keys of another process. False where the bytes are none; nothing is changed then.
  package func take(carried bytes: SecretBytes) -> Bool {
    let one = TicketKeys.carriedCount
    guard bytes.count > 0, bytes.count % one == 0, bytes.count / one <= TicketKeys.carriedMax else { return false }
    let now = now()
    var taken: [Key] = []
    bytes.withBytes { bytes in
      for at in stride(from: 0, to: bytes.count, by: one) {
        let made = (0..<8).reduce(UInt64(0)) { $0 << 8 | UInt64(bytes[at + $1]) }
        taken.append(Key(bytes: SecretBytes(bytes.extracting(at + 8..<at + one)), madeMilliseconds: made))
      }
    }
    // Newest first, and none of the future.
    guard taken.allSatisfy({ $0.madeMilliseconds <= now }),
      zip(taken, taken.dropFirst()).allSatisfy({ $0.madeMilliseconds >= $1.madeMilliseconds })
    else { return false }
    keys.withLock { $0 = taken }
    return true
  }

  /// Makes a context use these keys. The context's owner keeps this object as long as the context can be in a handshake.
  func install(in context: OpaquePointer) -> Bool {
    // SAFETY: the context has this object without a reference, by the rule above. Index 0 of its application data is the
    // application's own, and `ticketKeyCallback` alone reads it.
    guard unsafe SSL_CTX_set_ex_data(context, 0, Unmanaged.passUnretained(self).toOpaque()) == 1 else { return false }
    return unsafe cs_ctx_set_ticket_callback(context, ticketKeyCallback) == 1
  }

  // SAFETY: libssl gives room for a name of 16 bytes and an IV of EVP_MAX_IV_LENGTH, and contexts that are its own. A key's
  // bytes are its name, the cipher's 32 bytes and the MAC's, which both contexts copy.
  fileprivate func encrypt(
    _ name: UnsafeMutablePointer<UInt8>, _ iv: UnsafeMutablePointer<UInt8>, _ cipherContext: OpaquePointer,
    _ macContext: OpaquePointer
  ) -> Int32 {
    guard unsafe RAND_bytes(iv, EVP_CIPHER_get_iv_length(cipher)) == 1 else { return -1 }
    return unsafe encryptionKey().bytes.withPointer { key in
      unsafe name.update(from: key, count: TicketKeys.nameCount)
      let cipherKey = unsafe key + TicketKeys.nameCount
      let cipherIsSet = unsafe EVP_EncryptInit_ex(cipherContext, cipher, nil, cipherKey, iv) == 1
      let macKey = unsafe cipherKey + TicketKeys.cipherKeyCount
      let macIsSet = unsafe cs_hmac_sha256_set(macContext, macKey, TicketKeys.macKeyCount) == 1
      // With TLS 1.3 there is no way to go on without a ticket here: the handshake fails.
      return cipherIsSet && macIsSet ? 1 : -1
    }
  }

  // SAFETY: libssl gives the name's 16 bytes and an IV of EVP_MAX_IV_LENGTH of a ticket that is longer than both, and contexts
  // that are its own. A key's bytes are as in `encrypt`.
  fileprivate func decrypt(
    _ name: UnsafePointer<UInt8>, _ iv: UnsafePointer<UInt8>, _ cipherContext: OpaquePointer,
    _ macContext: OpaquePointer, isSingleUse: Bool
  ) -> Int32 {
    guard let (key, isCurrent) = unsafe decryptionKey(name) else { return 0 }
    return unsafe key.bytes.withPointer { key in
      let cipherKey = unsafe key + TicketKeys.nameCount
      let cipherIsSet = unsafe EVP_DecryptInit_ex(cipherContext, cipher, nil, cipherKey, iv) == 1
      let macKey = unsafe cipherKey + TicketKeys.cipherKeyCount
      let macIsSet = unsafe cs_hmac_sha256_set(macContext, macKey, TicketKeys.macKeyCount) == 1
      // 2: the ticket is accepted, and the client gets a new one.
      guard cipherIsSet && macIsSet else { return -1 }
      return isCurrent && !isSingleUse ? 1 : 2
    }
  }
}

// SAFETY: libssl calls it inside a handshake, with pointers that are good for the call. `install` put the keys where they are
// found; the connection's transport keeps them meanwhile, through its TLSServerContext.
private let ticketKeyCallback:
  @convention(c) (
    OpaquePointer?, UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<UInt8>?, OpaquePointer?, OpaquePointer?, Int32
  ) -> Int32 = { session, name, iv, cipherContext, macContext, isCurrent in
    guard let session = unsafe session, let name = unsafe name, let iv = unsafe iv,
      let cipherContext = unsafe cipherContext, let macContext = unsafe macContext,
      let argument = unsafe SSL_CTX_get_ex_data(SSL_get_SSL_CTX(session), 0)
    else { return -1 }
    let keys = unsafe Unmanaged<TicketKeys>.fromOpaque(argument).takeUnretainedValue()
    if isCurrent == 1 { return unsafe keys.encrypt(name, iv, cipherContext, macContext) }
    // RFC 8446 appendix C.4: a client should use a ticket only once, so with TLS 1.3 it gets a new one each time.
    let isSingleUse = unsafe SSL_version(session) == cs_TLS1_3
    return unsafe keys.decrypt(name, iv, cipherContext, macContext, isSingleUse: isSingleUse)
  }
