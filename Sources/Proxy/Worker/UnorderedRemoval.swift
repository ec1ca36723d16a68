// Lists in no order whose elements know their places, so that one leaves in constant time: an HTTP/2 connection's streams.

extension ContiguousArray {
  /// Removes the element at `index`, whose place the last one takes.
  /// - Returns: the element that is at `index` now and has to learn it; nil where the removed one was the last.
  @inline(__always) mutating func removeUnordered(at index: Int) -> Element? {
    let last = removeLast()
    guard index < count else { return nil }
    self[index] = last
    return last
  }
}
