// Bearer tokens: made from 32 random bytes, shown once, kept only as their SHA-256. A plain hash is enough here, since
// nobody can guess 256 random bits; that would not be so for a password.

import COpenSSL
import Foundation

/// A secret that says who an owner or a printer is.
package struct Token: Sendable {
  /// The secret itself; it leaves the program in one answer and is never stored.
  package let text: String

  package init(text: String) { self.text = text }

  /// A new secret; the prefix tells people and secret scanners what they are looking at.
  package static func make(prefix: String) -> Token {
    Token(text: "\(prefix)_" + base64URL(randomBytes(32)))
  }

  /// What the database keeps.
  package var digest: Data { sha256(Data(text.utf8)) }
}

/// A new identifier: 16 random bytes as hexadecimal digits.
func makeID() -> String { hexadecimal(randomBytes(16)) }

/// Whether a text has the form of what `makeID` makes.
func isIdentifier(_ text: some StringProtocol) -> Bool {
  let isDigit = { (byte: UInt8) in
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
  }
  return text.utf8.count == 32 && text.utf8.allSatisfy(isDigit)
}

func sha256(_ data: Data) -> Data {
  var digest = [UInt8](repeating: 0, count: 32)
  let done = data.withUnsafeBytes { EVP_Digest($0.baseAddress, $0.count, &digest, nil, EVP_sha256(), nil) }
  precondition(done == 1, "SHA-256 of bytes in memory does not fail")
  return Data(digest)
}

func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
  bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

private func randomBytes(_ count: Int) -> [UInt8] {
  // On Linux this reads getrandom(2).
  var generator = SystemRandomNumberGenerator()
  return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
}

private func base64URL(_ bytes: [UInt8]) -> String {
  Data(bytes).base64EncodedString()
    .replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
    .replacingOccurrences(of: "=", with: "")
}
