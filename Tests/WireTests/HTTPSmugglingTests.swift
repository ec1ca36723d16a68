// Requests that two readers could divide in two ways. Each is refused by name, and at no split point taken for something else.

import TestSupport
import Testing
import Wire

@Suite struct HTTPSmugglingTests {
  static let documents = Document.smuggling

  @Test(arguments: documents) func reads(_ document: Document) {
    let reader = RequestReader()
    check(document, parse: reader.parse, summary: reader.summary)
  }
}
