// The Priority field of a request (RFC 9218 sections 4 and 5): `u=N`, and `i`.

import Wire

package enum HTTP2Priority {
  package static let defaultUrgency = 3

  /// What the field's value says; what it does not say, or says in a way that is not understood, is as if it said nothing.
  package static func read(_ value: Span<UInt8>) -> (urgency: Int, isIncremental: Bool) {
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
    return (urgency, isIncremental)
  }
}
