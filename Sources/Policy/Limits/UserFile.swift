// An htpasswd file: who has which password, by its hash. Read whole when a configuration is loaded, so that a line that nobody could
// ever log in with is an error then. Immutable, shared by the workers and the thread that checks passwords.
//
//     name:hash
//
// Hashes are those that cost whoever steals the file something: bcrypt (`htpasswd -B`), and SHA-512 and SHA-256 crypt (`openssl
// passwd -6`). What a check may cost is bounded, for whoever asks can have one made.

import Platform
import Wire

package final class UserFile: Sendable {
  /// By name.
  private let hashes: [String: String]
  /// Takes as long as the costliest in the file: checked for a name that is not in it, so that time does not tell.
  private let decoy: String

  package static let bytesMax = 1 << 20
  /// 2^14 rounds are about a second.
  static let bcryptCostMax = 14
  static let roundsMax = 1_000_000

  /// SHA-256 of the file.
  package let digest: [UInt8]

  /// The hash to check for `name`, and whether it is anybody's.
  package func hash(of name: String) -> (hash: String, isKnown: Bool) {
    if let hash = hashes[name] { return (hash, true) }
    return (decoy, false)
  }

  private init(digest: [UInt8], hashes: [String: String], decoy: String) {
    self.digest = digest
    self.hashes = hashes
    self.decoy = decoy
  }

  /// What is wrong with a file: each line that is, at most ten of them.
  package struct Fault: Error, Equatable, Sendable {
    package let messages: [String]
  }

  package static func load(path: String) throws(Fault) -> UserFile {
    if let reason = TextFile.readFailure(path: path, refusesPipes: true) {
      throw Fault(messages: ["\(path): \(reason)"])
    }
    let bytes: [UInt8]
    do { bytes = try TextFile.read(path: path, bytesMax: bytesMax + 1) } catch {
      throw Fault(messages: ["\(path): \(error.reason)"])
    }
    guard bytes.count <= bytesMax else { throw Fault(messages: ["\(path): is larger than \(bytesMax >> 20) MiB"]) }
    return try parse(bytes, path: path)
  }

  /// A message never holds anything of a line but its number and its user's name.
  package static func parse(_ bytes: [UInt8], path: String) throws(Fault) -> UserFile {
    var hashes: [String: String] = [:]
    var lines: [String: Int] = [:]
    var messages: [String] = []
    var costliest: (hash: String, cost: Int)?
    for (index, raw) in bytes.split(separator: 0x0a, omittingEmptySubsequences: false).enumerated() {
      func fail(_ message: String) { messages.append("\(path):\(index + 1): \(message)") }
      let line = raw.last == 0x0d ? raw.dropLast() : raw
      if line.isEmpty || line.first == 0x23 { continue }
      guard let text = String(validating: line, as: UTF8.self) else {
        fail("is not UTF-8")
        continue
      }
      // Further fields, as of a passwd file, are comments.
      let fields = text.split(separator: ":", omittingEmptySubsequences: false)
      guard fields.count >= 2, !fields[0].isEmpty else {
        fail("expected `name:hash`")
        continue
      }
      let (name, hash) = (String(fields[0]), String(fields[1]))
      guard name.utf8.count <= 255 else {
        fail("the name is longer than 255 bytes")
        continue
      }
      if let earlier = lines[name] {
        fail("the user \(quoted(name)) is in line \(earlier) already")
        continue
      }
      lines[name] = index + 1
      switch PasswordHashForm.read(hash) {
      case .fit(let cost):
        hashes[name] = hash
        if cost > costliest?.cost ?? 0 { costliest = (hash, cost) }
      case .unfit(let why): fail("user \(quoted(name)): \(why)")
      }
    }
    if messages.count > 10 { messages = messages.prefix(10) + ["\(path): and \(messages.count - 10) more"] }
    guard messages.isEmpty else { throw Fault(messages: messages) }
    guard let costliest else { throw Fault(messages: ["\(path): has no user in it, so nobody could pass"]) }
    guard let digest = try? SHA256.digest(bytes.span) else { throw Fault(messages: ["\(path): SHA-256 failed"]) }
    return UserFile(digest: (0..<32).map { digest[$0] }, hashes: hashes, decoy: costliest.hash)
  }
}

/// What a hash is by its form.
enum PasswordHashForm: Equatable {
  /// `cost` compares what checks take, roughly in microseconds.
  case fit(cost: Int)
  case unfit(String)

  private static let advice = "make it anew with `htpasswd -B` (bcrypt) or `openssl passwd -6` (SHA-512)"

  static func read(_ hash: String) -> PasswordHashForm {
    if hash.hasPrefix("$2") { return bcrypt(hash) }
    if hash.hasPrefix("$6$") { return sha(hash, digits: 86, costPerRound: 2) }
    if hash.hasPrefix("$5$") { return sha(hash, digits: 43, costPerRound: 1) }
    if hash.hasPrefix("$apr1$") || hash.hasPrefix("$1$") {
      return .unfit("the hash is MD5's (\(hash.hasPrefix("$1$") ? "crypt" : "apr1")), which is too weak: \(advice)")
    }
    if hash.hasPrefix("{") { return .unfit("the hash is of one round of SHA (`{…}`), which is too weak: \(advice)") }
    if hash.hasPrefix("$y$") || hash.hasPrefix("$gy$") || hash.hasPrefix("$7$") {
      return .unfit("the hash is yescrypt's or scrypt's, of which the cost cannot be bounded here: \(advice)")
    }
    return .unfit("this is no hash that is taken here (a plain password, or crypt's oldest): \(advice)")
  }

  /// `$2y$10$` and 53 digits.
  private static func bcrypt(_ hash: String) -> PasswordHashForm {
    let bytes = Array(hash.utf8)
    guard bytes.count == 60, [0x61, 0x62, 0x79].contains(bytes[2]), bytes[3] == 0x24, bytes[6] == 0x24,
      let cost = Int(String(decoding: bytes[4..<6], as: UTF8.self)), bytes[7...].allSatisfy(isDigit)
    else { return .unfit("this is not a whole bcrypt hash") }
    guard (4...UserFile.bcryptCostMax).contains(cost) else {
      return .unfit("a cost of \(cost) in a bcrypt hash is not from 4 to \(UserFile.bcryptCostMax)")
    }
    return .fit(cost: 50 << cost)
  }

  /// `$6$`, perhaps `rounds=N$`, up to 16 digits of salt, `$`, and the digits of the digest.
  private static func sha(_ hash: String, digits: Int, costPerRound: Int) -> PasswordHashForm {
    var parts = hash.split(separator: "$", omittingEmptySubsequences: false).dropFirst(2)
    var rounds = 5_000
    if let first = parts.first, first.hasPrefix("rounds=") {
      guard let number = Int(first.dropFirst("rounds=".count)), (1_000...UserFile.roundsMax).contains(number) else {
        return .unfit("the rounds of this hash are not from 1000 to \(UserFile.roundsMax)")
      }
      rounds = number
      parts = parts.dropFirst()
    }
    guard parts.count == 2, let salt = parts.first, let digest = parts.last, (1...16).contains(salt.utf8.count),
      salt.utf8.allSatisfy(isDigit), digest.utf8.count == digits, digest.utf8.allSatisfy(isDigit)
    else { return .unfit("this is not a whole SHA-crypt hash") }
    return .fit(cost: rounds * costPerRound)
  }

  /// `./0-9A-Za-z`.
  private static func isDigit(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x2e...0x39, 0x41...0x5a, 0x61...0x7a: true
    default: false
    }
  }
}
