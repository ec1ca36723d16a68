// Digests of request fields for the access log (`log.fields`): whoever reads the log can see that two requests had the same
// account, and not which. HMAC-SHA-256 of the value as the client sent it, cut to 64 bits, with a key of each field's own
// (LogFieldKeys). One for each worker and plan; a value is read where it lies, whatever its size, and nothing is allocated.

import Platform
import Policy
import Wire

package final class FieldDigests {
  private struct Entry {
    /// Of a field in lower case; of a cookie as it is.
    let name: [UInt8]
    let isCookie: Bool
    /// `,"account":"`
    let member: [UInt8]
    let mac: HMACContext
  }

  private let entries: ContiguousArray<Entry>
  /// What stands between the values of a field that is there more than once (RFC 9110 section 5.3).
  private static let separator = Array(", ".utf8)

  /// Nil where libcrypto refuses a key.
  package init?(_ fields: [Config.Log.Field], _ keys: LogFieldKeys) {
    var entries: ContiguousArray<Entry> = []
    for (field, secret) in zip(fields, keys.secrets) {
      guard let mac = try? HMACContext(key: secret) else { return nil }
      let member = Array(",\"\(field.name)\":\"".utf8)
      switch field.source {
      case .header(let name):
        entries.append(Entry(name: Array(name.lowercased().utf8), isCookie: false, member: member, mac: mac))
      case .cookie(let name):
        entries.append(Entry(name: Array(name.utf8), isCookie: true, member: member, mac: mac))
      }
    }
    self.entries = entries
  }

  /// Appends a member for each of the fields that the request has.
  package func write(_ bytes: Span<UInt8>, _ head: RequestHead, into line: Buffer) {
    for entry in entries {
      guard entry.mac.begin() else { continue }
      let isThere = entry.isCookie ? addCookie(entry, bytes, head) : addField(entry, bytes, head)
      guard isThere else { continue }
      var tag = InlineArray<32, UInt8>(repeating: 0)
      var room = tag.mutableSpan
      guard entry.mac.end(into: &room) else { continue }
      var word: UInt64 = 0
      for i in 0..<8 { word = word &<< 8 | UInt64(tag[i]) }
      line.append(members: entry.member)
      line.appendHex16(word)
      line.append(0x22)
    }
  }

  /// All values of a field, as one list: a request with two of them is neither that of the first nor that of the second.
  private func addField(_ entry: Entry, _ bytes: Span<UInt8>, _ head: RequestHead) -> Bool {
    var isThere = false
    for index in 0..<head.fieldCount {
      let field = head.field(index)
      guard bytes.extracting(field.name.range).equalsIgnoringCase(lowercase: entry.name.span) else { continue }
      if isThere, !entry.mac.update(FieldDigests.separator.span) { return false }
      guard entry.mac.update(bytes.extracting(field.value.range)) else { return false }
      isThere = true
    }
    return isThere
  }

  private func addCookie(_ entry: Entry, _ bytes: Span<UInt8>, _ head: RequestHead) -> Bool {
    guard let value = CookieField.value(bytes, head, named: entry.name) else { return false }
    return entry.mac.update(bytes.extracting(value))
  }
}
