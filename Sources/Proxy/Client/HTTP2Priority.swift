// The Priority field of a request (RFC 9218 sections 4 and 5): `u=N`, and `i`; and the frame that says the same of a stream (section 7.1).

import Wire

/// How urgent a stream is, from 0, first, to 7, and whether responses of one urgency take turns.
package struct HTTP2Priority: Equatable {
  package static let defaultUrgency = 3
  package var urgency: Int
  package var isIncremental: Bool

  package init(urgency: Int, isIncremental: Bool) {
    self.urgency = urgency
    self.isIncremental = isIncremental
  }

  /// What the field's value says; what it does not say, or says in a way that is not understood, is as if it said nothing.
  package static func read(_ value: Span<UInt8>) -> HTTP2Priority {
    var urgency = defaultUrgency
    var isIncremental = false
    var at = 0
    while let element = FieldList.next(value, &at) {
      let (begin, last) = (element.lowerBound, element.upperBound)
      // u=0 to u=7
      if last - begin == 3, value[begin] == 0x75, value[begin + 1] == 0x3d, (0x30...0x37).contains(value[begin + 2]) {
        urgency = Int(value[begin + 2] - 0x30)
      }
      if value[begin] == 0x69 {
        // i, i=?1, i=?0
        if last - begin == 1 { isIncremental = true }
        if last - begin == 4, value[begin + 1] == 0x3d, value[begin + 2] == 0x3f {
          isIncremental = value[begin + 3] == 0x31
        }
      }
    }
    return HTTP2Priority(urgency: urgency, isIncremental: isIncremental)
  }
}

/// What PRIORITY_UPDATE frames said of streams that are still to begin (RFC 9218 section 7.1), of the last few.
package struct EarlyPriorities {
  package static let most = 8
  // Stream 0 stands for none.
  private var streams = InlineArray<8, Int32>(repeating: 0)
  private var priorities = InlineArray<8, UInt8>(repeating: 0)
  private var next = 0

  package init() {}

  /// The last one for a stream is what counts.
  package mutating func note(_ priority: HTTP2Priority, stream: Int32) {
    var at = next
    for i in streams.indices where streams[i] == stream { at = i }
    if at == next { next = (next + 1) % EarlyPriorities.most }
    streams[at] = stream
    priorities[at] = UInt8(priority.urgency) | (priority.isIncremental ? 8 : 0)
  }

  /// Of a stream that begins, which has it no longer here.
  package mutating func take(stream: Int32) -> HTTP2Priority? {
    for i in streams.indices where streams[i] == stream {
      streams[i] = 0
      return HTTP2Priority(urgency: Int(priorities[i] & 7), isIncremental: priorities[i] & 8 != 0)
    }
    return nil
  }
}
