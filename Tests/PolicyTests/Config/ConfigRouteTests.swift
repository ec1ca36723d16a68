// Routes in the configuration: what is literal, what belongs together, and what no route may touch.

import Policy
import Testing

@Suite struct ConfigRouteTests {
  /// What is said of one route.
  private func said(_ route: String) -> [String] {
    findings(
      """
      identity: { claims: [X-Acme-Client] }
      listeners: [{ name: web, listen: "127.0.0.1:8080" }]
      upstreams: { app: { servers: ["127.0.0.1:3000"] } }
      routes:
        - { \(route) }
        - { to: app }
      """
    ).map { String($0.drop { $0 != " " }.dropFirst()) }
  }

  /// A pattern from before names and paths were literal is not taken for a name.
  @Test(arguments: [
    (
      #"host: 'app\.example\.com'"#, "host", #"app\.example\.com"#,
      "`host: app.example.com`, or `host_regex: 'app\\.example\\.com'` for the pattern"
    ),
    ("host: '.*'", "host", ".*", "`host_regex: '.*'`"),
    ("host: '(a|b).example'", "host", "(a|b).example", "`host_regex: '(a|b).example'`"),
    ("host: 'a*.example'", "host", "a*.example", "`host_regex: 'a*.example'`"),
    ("path: '/api/.*'", "path", "/api/.*", "`path_prefix: /api/`, or `path_regex: '/api/.*'` for the pattern"),
    ("path: '/api/*'", "path", "/api/*", "`path_prefix: /api/`, or `path_regex: '/api/*'` for the pattern"),
    ("path: '/api(/.*)?'", "path", "/api(/.*)?", "`path_prefix: /api`, or `path_regex: '/api(/.*)?'` for the pattern"),
    (
      #"path: '/robots\.txt'"#, "path", #"/robots\.txt"#,
      "`path: /robots.txt`, or `path_regex: '/robots\\.txt'` for the pattern"
    ),
    ("path: '/discovery.*'", "path", "/discovery.*", "`path_regex: '/discovery.*'`"),
    ("path: '/[0-9]+'", "path", "/[0-9]+", "`path_regex: '/[0-9]+'`"),
    ("path: '/.*'", "path", "/.*", "`path_prefix: /`, or `path_regex: '/.*'` for the pattern"),
    ("path: '^/a$'", "path", "^/a$", "`path_regex: '^/a$'`"),
    ("path_prefix: '/it''s.+'", "path_prefix", "/it's.+", "`path_regex: '/it''s.+'`"),
    ("path: '/a?b=c'", "path", "/a?b=c", "`path_regex: '/a?b=c'`"),
  ]) func aLiteralThatLooksLikeAPatternSaysWhatToWrite(
    _ route: String, _ key: String, _ shown: String, _ fix: String
  ) {
    #expect(
      said("\(route), to: app") == [
        "`routes[0].\(key)` is taken literally, and `\(shown)` looks like a pattern: write \(fix)"
          .replacing("\\\\", with: "\\")
      ])
  }

  @Test(arguments: [
    (
      "host: 'a.example:80', to: app",
      "expected a host name such as `www.example.com` or `*.example.com`, without a port for `routes[0].host`, found `a.example:80`: did you mean `a.example`?"
    ),
    (
      "host: 'https://a.example/x', to: app",
      "expected a host name such as `www.example.com` or `*.example.com`, without a port for `routes[0].host`, found `https://a.example/x`: did you mean `a.example`?"
    ),
    (
      "path: /café, to: app",
      "expected a path such as `/api/`, of at most 1024 visible ASCII characters, taken literally for `routes[0].path`, found `/café`: did you mean `/caf%C3%A9`?"
    ),
    ("host: a, host_regex: b, to: app", "`host_regex` beside `host`: a route has one of `host`, `host_regex`"),
    (
      "path: /a, path_prefix: /b, to: app",
      "`path_prefix` beside `path`: a route has one of `path`, `path_prefix`, `path_regex`"
    ),
    ("listener: wob, to: app", "there is no listener `wob`: did you mean `web`?"),
    (
      "listener: [], to: app",
      "expected `routes[0].listener` to hold at least one listener's name; for all, leave it out"
    ),
    (
      "to: app, error_pages: []",
      "`routes[0].error_pages` is empty, and would leave the pages of the configuration in use; leave it out"
    ),
    ("method: CONNECT, to: app", "CONNECT is always refused, before a route is found"),
    (
      "header: { name: X-Forwarded-For }, to: app",
      "`X-Forwarded-For` is what a client says of itself, or what is removed as that; `client` asks for the settled client"
    ),
    (
      "header: { name: X-Acme_Client }, to: app",
      "`X-Acme_Client` is what a client says of itself, or what is removed as that; `client` asks for the settled client"
    ),
    (
      "header: { name: Content-Length }, to: app", "`Content-Length` is read by rules of its own, and cannot be matched"
    ),
    ("client: [], to: app", "expected `routes[0].client` to hold at least one range"),
    ("normalize: true, to: app", "`normalize` is only used with `path`, `path_prefix` or `path_regex`"),
    (
      "path_prefix: /%61//b, normalize: true, to: app",
      "with `normalize: true` the path is written in its normal form: did you mean `path_prefix: /a/b`?"
    ),
    // Goals.
    (
      "to: app, respond: { status: 404 }",
      "`respond` beside `to`: a route has one of `to`, `redirect`, `respond`, `files`"
    ),
    (
      "redirect: {}",
      "expected `scheme`, `host` or `path` in `routes[0].redirect`: as it is, it leads to where the request came from"
    ),
    (
      "redirect: { status: 200, path: /a }",
      "expected one of `301`, `302`, `303`, `307`, `308` for `routes[0].redirect.status`, found `200`"
    ),
    (
      "redirect: { host: 'https://a.example' }",
      "expected a host name, perhaps with a port, such as `www.example.com`, without a scheme for `routes[0].redirect.host`, found `https://a.example`: did you mean `a.example`?"
    ),
    ("path: /a, redirect: { path: '/$1' }", "`$1` is a group of `path_regex`, and this route has none"),
    (
      "redirect: { path: '//evil.example' }",
      "expected a path such as `/new/$1`, of at most 1024 visible ASCII characters for `routes[0].redirect.path`, found `//evil.example`: did you mean `/evil.example`?"
    ),
    ("respond: { status: 100 }", "expected a whole number from 200 to 599 for `routes[0].respond.status`, found `100`"),
    ("respond: { status: 204, body: x }", "a response with status 204 has no body"),
    ("respond: { body: x, file: y.html }", "`file` beside `body`: a response has one of them"),
    (
      "respond: { headers: { Content-Length: '3' } }",
      "`Content-Length` is written by rules of its own, and cannot be changed"
    ),
    (
      "path: /a, files: www",
      "`files` needs a `path_prefix` beside it: what stands behind that in a request's path is the file's name"
    ),
    // Changes.
    ("strip_prefix: /a, to: app", "`strip_prefix` needs a `path_prefix` beside it that begins with it"),
    (
      "path_prefix: /api, strip_prefix: /ap, to: app",
      "expected what the route's `path_prefix` begins with for `routes[0].strip_prefix`, found `/ap`: did you mean `/api`?"
    ),
    ("path_prefix: /a, strip_prefix: /, to: app", "`strip_prefix: /` takes nothing away; leave it out"),
    (
      "path_regex: '/(a)', rewrite: '/$x', to: app",
      "`routes[0].rewrite` has `$x`, which is no group of `path_regex`; `$1` to `$9` are, and `$$` is a dollar sign"
    ),
    (
      "path_prefix: /a, strip_prefix: /a, rewrite: /b, to: app",
      "`rewrite` beside `strip_prefix`: a route has one of them"
    ),
    ("respond: {}, rewrite: /b", "`rewrite` is only used with `to`: this route answers by itself"),
    (
      "to: app, request_headers: { set: { X-Real-IP: a } }",
      "`X-Real-IP` speaks of the client, and only the upstream's `identity` decides what is said of it; no route can write or remove it"
    ),
    (
      "to: app, request_headers: { add: { x_forwarded_for: a } }",
      "`x_forwarded_for` speaks of the client, and only the upstream's `identity` decides what is said of it; no route can write or remove it"
    ),
    (
      "to: app, request_headers: { remove: [Client-Attest] }",
      "`Client-Attest` speaks of the client, and only the upstream's `identity` decides what is said of it; no route can write or remove it"
    ),
    (
      "to: app, request_headers: { set: { X-Acme-Client: a } }",
      "`X-Acme-Client` speaks of the client, and only the upstream's `identity` decides what is said of it; no route can write or remove it"
    ),
    (
      "to: app, response_headers: { set: { Countersign-Verified: enforce } }",
      "`Countersign-Verified` speaks of the client, and only the upstream's `identity` decides what is said of it; no route can write or remove it"
    ),
    (
      "to: app, request_headers: { set: { Transfer-Encoding: chunked } }",
      "`Transfer-Encoding` is written by rules of its own, and cannot be changed"
    ),
    (
      "to: app, request_headers: { remove: [Server] }", "`Server` is written by rules of its own, and cannot be changed"
    ),
    (
      "to: app, request_headers: { set: { X-A: $clinet } }",
      "`routes[0].request_headers.set.X-A` has `$clinet`, which is no variable; did you mean `$client`?"
    ),
    (
      "to: app, request_headers: { set: { X-A: a }, remove: [x-a] }",
      "`x-a` is removed and written in `routes[0].request_headers`; `set` does both"
    ),
    (
      "to: app, response_headers: { set: { X-A: \"a\\nb\" } }",
      "expected a field's value, of at most 1024 printable ASCII characters for `routes[0].response_headers.set.X-A`, found `a\u{FFFD}b`"
    ),
    (
      "to: app, hsts: 1000d",
      "expected a duration from 0 to 730d, with a unit (`s`, `m`, `h`, `d`) for `routes[0].hsts`, found `1000d`"
    ),
    (
      "to: app, hsts: 1d, response_headers: { set: { strict_transport_security: x } }",
      "`hsts` beside a change of Strict-Transport-Security: a route has one of them"
    ),
  ]) func aMistakeIsToldWithWhatToWrite(_ route: String, _ message: String) {
    #expect(said(route) == [message])
  }

  @Test func aTemplateHasTextVariablesAndGroups() throws {
    let field = try FieldTemplate("a$client $$5 $request_id", .field)
    #expect(
      field.parts == [
        .text(Array("a".utf8)), .variable(.client), .text(Array(" $5 ".utf8)), .variable(.requestID),
      ])
    let path = try FieldTemplate("/$2x/$10$$", .path)
    #expect(
      path.parts == [
        .text(Array("/".utf8)), .group(2), .text(Array("x/".utf8)), .group(1), .text(Array("0$".utf8)),
      ])
    #expect(path.lastGroup == 2)
    #expect(throws: FieldTemplate.Fault.self) { try FieldTemplate("a$", .field) }
  }
}
