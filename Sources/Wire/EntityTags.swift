// Lists of entity tags, as If-None-Match has them (RFC 9110 sections 8.8.3 and 13.1.2). A comma may stand within a tag, so this is no
// FieldList. Callers: files that are sent from here, and Proxy's rule of compression.

public struct EntityTags: Sendable {
  /// The list has the tag as it is.
  public private(set) var hasStrong = false
  /// The list has it with `W/` in front.
  public private(set) var hasWeak = false

  /// Which forms of a tag, given with its quotes, a list has. What stands behind a mistake in the list is not read.
  public init(of tag: Span<UInt8>, in list: Span<UInt8>) {
    var at = 0
    while true {
      while at < list.count, Ascii.isBlank(list[at]) || list[at] == Ascii.comma { at &+= 1 }
      let isWeak = at &+ 1 < list.count && list[at] == 0x57 && list[at &+ 1] == 0x2f
      if isWeak { at &+= 2 }
      guard at < list.count, list[at] == 0x22 else { return }
      let start = at
      at &+= 1
      while at < list.count, list[at] != 0x22 { at &+= 1 }
      guard at < list.count else { return }
      at &+= 1
      guard at == list.count || Ascii.isBlank(list[at]) || list[at] == Ascii.comma else { return }
      guard Self.isEqual(list.extracting(start..<at), tag) else { continue }
      if isWeak { hasWeak = true } else { hasStrong = true }
    }
  }

  private static func isEqual(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Bool {
    guard left.count == right.count else { return false }
    for i in left.indices where left[i] != right[i] { return false }
    return true
  }
}
