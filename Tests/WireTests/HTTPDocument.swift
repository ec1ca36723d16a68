// What a case's document says of a parser, at every point at which it could be split.

import TestSupport
import Testing
import Wire

extension Refusal {
  var text: String { name.description }
}

/// Runs one document at every split point. `parse` gets a prefix and how much of it was seen before.
func check(
  _ document: Document, parse: ([UInt8], _ seen: Int) -> HeadOutcome, summary: ([UInt8]) -> [String],
  sourceLocation: SourceLocation = #_sourceLocation
) {
  let whole = parse(document.bytes, 0)
  switch document.expected {
  case .complete(let facts):
    #expect(whole == .complete(length: document.length), sourceLocation: sourceLocation)
    let known = summary(document.bytes)
    for fact in facts {
      #expect(known.contains(fact), "\(fact) not in \(known)", sourceLocation: sourceLocation)
    }
  case .incomplete: #expect(whole == .incomplete, sourceLocation: sourceLocation)
  case .refused(let name):
    guard case .refused(let refusal) = whole else {
      Issue.record("expected \(name), got \(whole)", sourceLocation: sourceLocation)
      return
    }
    #expect(refusal.text == name, sourceLocation: sourceLocation)
  }
  // Every prefix is incomplete, or says what the whole says and from then on goes on to say it.
  var settled: HeadOutcome?
  for count in 0...document.bytes.count {
    let prefix = Array(document.bytes.prefix(count))
    let outcome = parse(prefix, 0)
    if let settled {
      #expect(outcome == settled, "after \(count) bytes", sourceLocation: sourceLocation)
    } else if outcome != .incomplete {
      #expect(outcome == whole, "after \(count) bytes", sourceLocation: sourceLocation)
      if case .complete(let length) = outcome {
        #expect(length == count, "complete before its end", sourceLocation: sourceLocation)
      }
      settled = outcome
    }
    // Told what was seen before, the parser may wait for the end of a line, but says nothing else.
    for step in [1, 5] where settled == nil || settled == outcome {
      let hinted = parse(prefix, max(0, count - step))
      if case .complete = outcome, count - step < document.length {
        #expect(hinted == outcome, "after \(count) bytes, hinted", sourceLocation: sourceLocation)
      } else {
        #expect(
          hinted == .incomplete || hinted == outcome, "after \(count) bytes, hinted", sourceLocation: sourceLocation)
      }
    }
  }
  // The one after it is not looked at: whatever it is, the message reads the same.
  guard case .complete = document.expected else { return }
  for tail in ["GET / HTTP/1.1\r\n\r\n", "\0\0\0\0\0\0\0\0\0", " folded\r\n", "\n\n\n\n\n\n\n\n"] {
    let followed = Array(document.bytes.prefix(document.length)) + Array(tail.utf8)
    #expect(parse(followed, 0) == whole, "followed by \(tail)", sourceLocation: sourceLocation)
  }
}

extension BodyFraming {
  var text: String {
    switch self {
    case .none: "none"
    case .length(let length): "\(length)"
    case .chunked: "chunked"
    case .untilClose: "until-close"
    }
  }
}

func text(_ range: ByteRange, _ bytes: [UInt8]) -> String {
  // Through Latin-1, so that every byte is a character and none is lost.
  String(String.UnicodeScalarView(bytes[range.range].map { Unicode.Scalar($0) }))
}
