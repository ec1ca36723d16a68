// What a route answers by itself: a redirect, a fixed response, or a file of a directory. Such a request has an exchange like any other, is
// logged with its route, and reaches no upstream: the head is written at once, and a body moves with the exchange's steps (AnswerBody).
// Made with a plan, never changed.

import Platform
import Policy
import Wire

/// What a route's answer needs from outside of the configuration, loaded with the snapshot.
enum RouteContent: Sendable {
  case body([UInt8])
  case directory(FileDirectory)
}

struct RouteAnswer {
  enum Kind {
    case redirect(Config.Redirect, host: [UInt8], PathChange?)
    case respond(status: Int, body: [UInt8], type: [UInt8])
    case files(FileDirectory, prefix: [UInt8])
  }

  let kind: Kind
  /// Fields of its own, without those that the route's changes take away.
  let lines: FieldLines

  init(
    _ answer: Config.RouteAnswer, _ match: Config.RouteMatch, _ content: RouteContent?, _ edit: HeadEdit?,
    _ workspace: PatternWorkspace, scratch: Buffer
  ) throws(Pattern.SyntaxError) {
    switch (answer, content) {
    case (.redirect(let redirect), _):
      let change = try redirect.path.map { path throws(Pattern.SyntaxError) in
        try PathChange(path, match, workspace, scratch: scratch)
      }
      kind = .redirect(redirect, host: Array((redirect.host ?? "").utf8), change)
      lines = FieldLines()
    case (.respond(let respond), let content):
      var body = Array((respond.body ?? "").utf8)
      if case .body(let bytes)? = content { body = bytes }
      let hasType = respond.headers.contains { $0.name.lowercased() == "content-type" }
      let type = respond.file.map { ContentType.of(Array($0.utf8).span) } ?? "text/plain; charset=utf-8"
      kind = .respond(status: respond.status, body: body, type: hasType || body.isEmpty ? [] : Array("\(type)".utf8))
      lines = FieldLines(respond.headers.filter { !(edit?.drops($0.name) ?? false) })
    case (.files, .directory(let directory)?):
      guard case .prefix(let prefix)? = match.path else { preconditionFailure("files are served below a prefix") }
      kind = .files(directory, prefix: Array(prefix.utf8))
      lines = FieldLines()
    case (.files, _): preconditionFailure("a directory that was opened with the snapshot is not there")
    }
  }
}

/// The media types of files, by the endings of their names.
enum ContentType {
  private static let types: [(ending: String, type: StaticString)] = [
    ("html", "text/html; charset=utf-8"), ("htm", "text/html; charset=utf-8"), ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"), ("mjs", "text/javascript; charset=utf-8"),
    ("txt", "text/plain; charset=utf-8"), ("md", "text/markdown; charset=utf-8"), ("xml", "application/xml"),
    ("json", "application/json"), ("map", "application/json"), ("webmanifest", "application/manifest+json"),
    ("svg", "image/svg+xml"), ("png", "image/png"), ("jpg", "image/jpeg"), ("jpeg", "image/jpeg"), ("gif", "image/gif"),
    ("webp", "image/webp"), ("avif", "image/avif"), ("ico", "image/x-icon"), ("woff", "font/woff"),
    ("woff2", "font/woff2"), ("ttf", "font/ttf"), ("pdf", "application/pdf"), ("wasm", "application/wasm"),
    ("mp4", "video/mp4"), ("webm", "video/webm"), ("mp3", "audio/mpeg"), ("zip", "application/zip"),
    ("gz", "application/gzip"),
  ]
  /// With lengths and bytes at hand, so that nothing is made for a request.
  private static let table = types.map { (ending: Array($0.ending.utf8), type: $0.type) }

  static func of(_ name: Span<UInt8>) -> StaticString {
    var at = name.count
    while at > 0, name[at - 1] != 0x2e, name[at - 1] != 0x2f { at -= 1 }
    guard at > 1, name[at - 1] == 0x2e else { return "application/octet-stream" }
    let ending = name.extracting(droppingFirst: at)
    for known in table where ending.equalsIgnoringCase(lowercase: known.ending.span) { return known.type }
    return "application/octet-stream"
  }
}

enum ReasonPhrase {
  /// RFC 9110's words for the statuses that we send, and those that a configuration may have; empty for others, as RFC 9112 section 4 allows.
  static func of(_ status: Int) -> StaticString {
    switch status {
    case 200: "OK"
    case 201: "Created"
    case 202: "Accepted"
    case 204: "No Content"
    case 205: "Reset Content"
    case 301: "Moved Permanently"
    case 302: "Found"
    case 303: "See Other"
    case 304: "Not Modified"
    case 307: "Temporary Redirect"
    case 308: "Permanent Redirect"
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 406: "Not Acceptable"
    case 408: "Request Timeout"
    case 409: "Conflict"
    case 410: "Gone"
    case 413: "Content Too Large"
    case 415: "Unsupported Media Type"
    case 417: "Expectation Failed"
    case 418: "I'm a teapot"
    case 421: "Misdirected Request"
    case 425: "Too Early"
    case 429: "Too Many Requests"
    case 431: "Request Header Fields Too Large"
    case 451: "Unavailable For Legal Reasons"
    case 500: "Internal Server Error"
    case 501: "Not Implemented"
    case 502: "Bad Gateway"
    case 503: "Service Unavailable"
    case 504: "Gateway Timeout"
    case 505: "HTTP Version Not Supported"
    default: ""
    }
  }
}
