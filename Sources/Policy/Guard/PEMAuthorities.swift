// What is in a file of authorities, for comparing two of them: certificates, revocation lists, and all else (RFC 7468).
//
// libssl reads the same file, and less strictly: it passes over a byte order mark, takes a line of more than 254 bytes for several, ends lines
// at LF alone and strings at NUL, and for it a line that goes on behind its last dashes begins nothing. Where the two could find other
// certificates in one file, a certificate could come in that no comparison shows. So what is not written as programs write it is not
// compared: nil, which counts as changed.

import Platform
import Wire

enum PEMAuthorities {
  /// Longer lines are several to libssl.
  private static let lineBytesMax = 250
  private static let byteOrderMark: [UInt8] = [0xef, 0xbb, 0xbf]
  private static let begin = Array("-----BEGIN ".utf8)
  private static let end = Array("-----END ".utf8)
  private static let dashes = Array("-----".utf8)

  static func read(_ bytes: [UInt8]) -> TrustBoundary.Authorities? {
    var found = TrustBoundary.Authorities()
    var rest: [UInt8] = []
    // Of the block that has begun, if any.
    var label: ArraySlice<UInt8>?
    var text: [UInt8] = []
    // Windows' editors put one in front.
    var at = bytes.starts(with: byteOrderMark) ? byteOrderMark.count : 0
    while at < bytes.count {
      var line = bytes[at...].prefix { $0 != 0x0a }
      at = line.endIndex + 1
      if line.last == 0x0d { line.removeLast() }
      guard !line.contains(where: { $0 == 0 || $0 == 0x0d }) else { return nil }
      if line.starts(with: begin) {
        guard label == nil, let its = boundary(line.dropFirst(begin.count)) else { return nil }
        label = its
        text.removeAll(keepingCapacity: true)
      } else if let its = label {
        guard line.starts(with: end) else {
          guard let part = content(line, of: its) else { return nil }
          text += part
          continue
        }
        guard boundary(line.dropFirst(end.count)) == its, found.take(its, text, &rest) else { return nil }
        label = nil
      } else {
        // What stands outside of the boundaries is a comment.
        guard !contains(line, begin), !contains(line, end) else { return nil }
      }
    }
    guard label == nil, let digest = digest(rest) else { return nil }
    found.rest = digest
    return found
  }

  /// Of a boundary, behind its first word: what stands before the dashes at its end.
  private static func boundary(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    var line = line
    while let last = line.last, last == 0x20 || last == 0x09 { line.removeLast() }
    guard line.count <= lineBytesMax, line.suffix(dashes.count).elementsEqual(dashes) else { return nil }
    let label = line.dropLast(dashes.count)
    return label.isEmpty || contains(label, dashes) ? nil : label
  }

  /// A line between boundaries, without the spaces at its end.
  private static func content(_ line: ArraySlice<UInt8>, of label: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    var line = line
    while let last = line.last, last == 0x20 || last == 0x09 { line.removeLast() }
    guard line.count <= lineBytesMax, !contains(line, dashes) else { return nil }
    // Keys may have fields in front; they are part of what is compared as a whole.
    guard isCompared(label) else { return line }
    return line.isEmpty || !line.allSatisfy(isBase64) ? nil : line
  }

  private static func isBase64(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2b, 0x2f, 0x3d: true
    default: false
    }
  }

  private static func contains(_ line: ArraySlice<UInt8>, _ text: [UInt8]) -> Bool {
    var at = line.startIndex
    while line.endIndex - at >= text.count {
      if line[at...].starts(with: text) { return true }
      at += 1
    }
    return false
  }

  private static let certificate = Array("CERTIFICATE".utf8)
  private static let list = Array("X509 CRL".utf8)

  fileprivate static func isCertificate(_ label: ArraySlice<UInt8>) -> Bool { label.elementsEqual(certificate) }
  fileprivate static func isList(_ label: ArraySlice<UInt8>) -> Bool { label.elementsEqual(list) }
  private static func isCompared(_ label: ArraySlice<UInt8>) -> Bool { isCertificate(label) || isList(label) }

  fileprivate static func revocationList(_ text: [UInt8]) -> RevocationList? {
    var bytes = [UInt8](repeating: 0, count: text.count)
    var room = bytes.mutableSpan
    guard let count = Base64.decode(text.span, .standard, into: &room) else { return nil }
    return RevocationList(Array(bytes[..<count]))
  }

  fileprivate static func digest(_ bytes: [UInt8]) -> String? {
    guard let digest = try? SHA256.digest(bytes.span) else { return nil }
    return Base64.text((0..<32).map { digest[$0] }, .url)
  }
}

extension TrustBoundary.Authorities {
  /// Takes what stood between two boundaries. False where it cannot be compared.
  fileprivate mutating func take(_ label: ArraySlice<UInt8>, _ text: [UInt8], _ rest: inout [UInt8]) -> Bool {
    if PEMAuthorities.isCertificate(label) {
      guard let digest = PEMAuthorities.digest(text) else { return false }
      certificates.insert(digest)
    } else if PEMAuthorities.isList(label) {
      guard let digest = PEMAuthorities.digest(text), let list = PEMAuthorities.revocationList(text) else {
        return false
      }
      revocations[digest] = list
    } else {
      // The label as earlier versions took it, whose digests an upgrade compares with ours.
      rest += label + Array("-----".utf8) + text
    }
    return true
  }
}
