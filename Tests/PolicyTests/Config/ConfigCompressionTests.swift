// `compress` of a route: what is read, what is refused, and what looks like a mistake.

import Policy
import Testing
import Wire

@Suite struct ConfigCompressionTests {
  private func text(_ more: String, upstream: String = "", to: String = "to: app, ") -> String {
    """
    listeners: [{ name: web, listen: "127.0.0.1:8080" }]
    routes: [{ \(to)\(more) }]
    upstreams: { app: { servers: ["127.0.0.1:3000"]\(upstream) } }

    """
  }

  private func compression(_ more: String) throws -> Config.Compression? {
    try config(text(more)).routes[0].compression
  }

  @Test func nothingIsCompressedUnlessAsked() throws {
    #expect(try compression("name: a") == nil && compression("compress: false") == nil)
    let usual = try #require(try compression("compress: true"))
    #expect(try compression("compress: {}") == usual && usual == Config.Compression())
    #expect(usual.minimumBytes == 1_024 && usual.level == 4 && !usual.includesCredentials)
    for type in [
      "text/html", "text/css", "application/json", "application/ld+json", "image/svg+xml", "application/rss+xml",
    ] {
      let bytes = Array(type.utf8)
      let isHeld = usual.types.holds(bytes.span)
      #expect(isHeld, "\(type)")
    }
    for type in ["image/png", "application/zip", "text/event-stream", "font/woff2", "application/grpc", "video/mp4"] {
      let bytes = Array(type.utf8)
      let isHeld = usual.types.holds(bytes.span)
      #expect(!isHeld, "\(type)")
    }
  }

  @Test func aRouteSaysWhatItCompresses() throws {
    let read = try #require(
      try compression(
        "compress: { types: [Text/*, application/*+json, text/event-stream], minimum: 64KiB, level: 9, with_credentials: true }"
      ))
    #expect(read.types.patterns.map(\.text) == ["text/*", "application/*+json", "text/event-stream"])
    #expect(read.minimumBytes == 65_536 && read.level == 9 && read.includesCredentials)
    #expect(try compression("compress: { types: text/html }")?.types.patterns.map(\.text) == ["text/html"])
  }

  @Test(arguments: [
    "compress: true", "compress: false", "compress: { level: 1 }",
    "compress: { types: [text/html, application/*+xml], minimum: 1B, with_credentials: true }, hsts: 1d, limits: { body: 0 }",
  ])
  func whatIsWrittenOutReadsBackTheSame(more: String) throws {
    let read = try config(text(more))
    let again = try config(read.resolved())
    #expect(again.withoutPlaces == read.withoutPlaces && again.resolved() == read.resolved())
  }

  @Test(arguments: [
    (
      "compress: gzip",
      "2:31: expected `true`, `false`, or a mapping such as `{ level: 6 }` for `routes[0].compress`, found `gzip`"
    ),
    (
      "compress: []",
      "2:31: expected `true`, `false`, or a mapping such as `{ level: 6 }` for `routes[0].compress`, found a list"
    ),
    (
      "compress: on",
      "2:31: expected `true`, `false`, or a mapping such as `{ level: 6 }` for `routes[0].compress`, found `on`: did you mean `true`?"
    ),
    ("compress: { level: 10 }", "2:40: expected a whole number from 1 to 9 for `routes[0].compress.level`, found `10`"),
    (
      "compress: { minimum: 0 }",
      "2:42: expected a size from 1B to 1GiB, with a unit (`B`, `KiB`, `MiB`, `GiB`) for `routes[0].compress.minimum`, found `0`"
    ),
    (
      "compress: { types: [html] }",
      "2:41: expected a media type such as `text/html`, `text/*` or `application/*+json` for `routes[0].compress.types`, found `html`"
    ),
    (
      "compress: { types: ['text/html; charset=utf-8'] }",
      "2:41: expected a media type such as `text/html`, `text/*` or `application/*+json` for `routes[0].compress.types`, found `text/html; charset=utf-8`: did you mean `text/html`?"
    ),
    ("compress: { types: [text/*, TEXT/*] }", "2:49: the type `TEXT/*` is given twice"),
    ("compress: { types: [] }", "2:40: expected 1 to 64 media types in `routes[0].compress.types`"),
    ("compress: { type: text/html }", "2:33: unknown key `type` in `routes[0].compress`: did you mean `types`?"),
    (
      "compress: true, response_headers: { set: { ETag: x } }",
      "2:55: `response_headers` writes `ETag`, which differs by whether a response is compressed: leave it, or `compress`, out"
    ),
  ])
  func whatIsWrongIsTold(more: String, message: String) {
    let found = findings(text(more))
    #expect(found == [message], "\(found)")
  }

  @Test(arguments: [
    "Accept-Ranges", "Content-MD5", "Digest", "content-digest", "Repr-Digest", "Content-Encoding", "Content-Range",
  ])
  func aRouteDoesNotWriteWhatCompressingMakesUntrue(name: String) {
    for way in ["set", "add"] {
      let found = findings(text("compress: true, response_headers: { \(way): { \(name): x } }"))
      #expect(found.count == 1 && found[0].contains("writes `\(name)`, which differs"), "\(found)")
      #expect(findings(text("compress: false, response_headers: { \(way): { \(name): x } }")).isEmpty)
    }
  }

  /// The rule sees what the server says, and would have left these responses as they are.
  @Test func aRouteDoesNotWriteWhatForbidsToCompress() {
    func of(_ more: String, _ changes: String) -> [String] {
      findings(text("\(more), response_headers: { set: { \(changes) } }"))
    }
    for value in [
      "no-transform", "'max-age=5, No-Transform'", "no-transform=1", "no-transform =x", "max-age=5; no-transform",
    ] {
      let found = of("compress: true", "Cache-Control: \(value)")
      #expect(found.count == 1 && found[0].contains("writes `no-transform`, which forbids"), "\(found)")
    }
    #expect(of("compress: true", "Cache-Control: max-age=5").isEmpty)
    let found = of("compress: true", "Set-Cookie: a=b")
    #expect(found.count == 1 && found[0].contains("responses that set a cookie are not compressed"), "\(found)")
    #expect(of("compress: { with_credentials: true }", "Set-Cookie: a=b").isEmpty)
  }

  @Test func onlyWhatComesFromAnUpstreamIsCompressed() {
    let found = findings(text("compress: true", to: "path: /a, redirect: { path: /b }, "))
    #expect(
      found.count == 1
        && found[0].hasSuffix("`compress` is only used with `to`: answers that are made here are not compressed"),
      "\(found)")
  }

  @Test func whatCompressesNextToNothingIsSuspect() throws {
    let sticky = ", sticky: { cookie: c, key: k.json }"
    for (more, upstream, part) in [
      ("compress: true", sticky, "`sticky` gives each client a cookie"),
      (
        "compress: { level: 1 }, access: { htpasswd: users }", "", "every request that passes `htpasswd` has a password"
      ),
    ] {
      #expect(findings(text(more, upstream: upstream)).contains { $0.contains(part) }, "\(more)")
      let knows = more.replacing("true", with: "{ with_credentials: true }").replacing(
        "level: 1", with: "with_credentials: true")
      #expect(!findings(text(knows, upstream: upstream)).contains { $0.contains(part) }, "\(more)")
    }
  }
}
