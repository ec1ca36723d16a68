// What a route asks of requests, what becomes of them, and what is changed about them, for ConfigSchema.

extension ConfigSchema {
  private static let path = SchemaValue.text("a path such as `/api/`, taken literally")
  private static let pathTemplate = SchemaValue.text("a path such as `/new/$1`")
  private static let fieldText = SchemaValue.text("a field's value, which may have variables such as `$client`")
  private static let method = SchemaValue.text("a method such as `GET`", pattern: "^[A-Z][A-Z-]*$")

  static let routeMatch: [SchemaKey] = [
    SchemaKey("listener", .either([name, .list(name)]), "The listeners at which requests come in."),
    SchemaKey("host", .text("a host name such as `www.example.com` or `*.example.com`"), "Of Host, without its port."),
    SchemaKey("host_regex", pattern, "The same, by a pattern."),
    SchemaKey("path", path, "Exactly this path, as the client sent it, without the query."),
    SchemaKey("path_prefix", path, "This path and all below it."),
    SchemaKey("path_regex", pattern, "Paths that the whole pattern matches."),
    SchemaKey("method", .either([method, .list(method)]), "The request's method."),
    SchemaKey(
      "header", .either([.mapping(headerMatch), .list(.mapping(headerMatch))]), "Fields that the request has."),
    SchemaKey("client", .either([range, .list(range)]), "Ranges that the settled client is in."),
    SchemaKey("normalize", .truth, "The path is matched in its normal form.", standard: "false"),
  ]

  private static let headerMatch: [SchemaKey] = [
    SchemaKey("name", .text("the name of a request field"), "The field.", required: true),
    SchemaKey("value", .text("a field's whole value"), "What one of its lines says; without it, any."),
  ]

  static let routeGoals: [SchemaKey] = [
    SchemaKey("to", name, "The upstream that requests go to."),
    SchemaKey(
      "redirect",
      .mapping([
        SchemaKey("scheme", .words(["http", "https"]), "The scheme; the client's, if it is not given."),
        SchemaKey("host", .text("a host name, perhaps with a port"), "The host; the request's, if it is not given."),
        SchemaKey("path", pathTemplate, "The path; the request's, if it is not given."),
        SchemaKey(
          "status", .words(["301", "302", "303", "307", "308"]), "The answer's status.", standard: "308"),
      ]), "Requests are led elsewhere."),
    SchemaKey(
      "respond",
      .mapping([
        SchemaKey("status", .count(200...599), "The response's status.", standard: "200"),
        SchemaKey("body", .text("the body's text, of at most 64KiB"), "The body."),
        SchemaKey("file", file, "The file that has the body, of at most 1 MiB."),
        SchemaKey("headers", .named(fieldText), "Fields of the response."),
      ]), "Requests get this response."),
    SchemaKey(
      "files", .text("the path of a directory"), "Requests get a file of it, by what stands behind path_prefix."),
  ]

  private static let fieldChanges: [SchemaKey] = [
    SchemaKey("set", .named(fieldText), "Fields in place of those of their names."),
    SchemaKey("add", .named(fieldText), "Further fields."),
    SchemaKey(
      "remove", .either([.text("the name of a field"), .list(.text("the name of a field"))]),
      "Fields that are left out."),
  ]

  static let routeChanges: [SchemaKey] = [
    SchemaKey("strip_prefix", path, "Is taken from the front of the path."),
    SchemaKey("rewrite", pathTemplate, "Stands in place of the path."),
    SchemaKey("request_headers", .mapping(fieldChanges), "Changes of the request's fields."),
    SchemaKey("response_headers", .mapping(fieldChanges), "Changes of the response's fields."),
    SchemaKey(
      "hsts",
      .either([
        .text("a duration from 0 to 730d, with a unit (`s`, `m`, `h`, `d`)"),
        .mapping([
          SchemaKey(
            "max_age", .text("a duration from 0 to 730d, with a unit (`s`, `m`, `h`, `d`)"),
            "How long browsers remember it.", required: true),
          SchemaKey("include_subdomains", .truth, "It holds for all names below, too.", standard: "false"),
          SchemaKey("preload", .truth, "Browsers may know it before they come.", standard: "false"),
        ]),
      ]), "Strict-Transport-Security, for clients that used TLS."),
    SchemaKey(
      "compress", .either([.truth, .mapping(compression)]),
      "Responses are compressed by gzip for clients that take it; false by default."),
  ]

  private static let mediaType = SchemaValue.text("a media type such as `text/html`, `text/*` or `application/*+json`")

  private static let compression: [SchemaKey] = [
    SchemaKey("types", .either([mediaType, .list(mediaType)]), "The types of content that are compressed."),
    SchemaKey(
      "minimum", .size(1...1 << 30), "Less content, where its length is known, is not compressed.", standard: "1KiB"),
    SchemaKey("level", .count(1...9), "1 is quick, 9 is small.", standard: "4"),
    SchemaKey(
      "with_credentials", .truth,
      "Also where the request has Cookie, Authorization or a client certificate, or the response Set-Cookie.",
      standard: "false"),
  ]

  static let headers: [SchemaKey] = [
    SchemaKey("request_id", .words(["pass", "keep", "make"]), "X-Request-Id of requests.", standard: "pass"),
    SchemaKey(
      "server", .text("`pass`, `remove` or the text that the field says"), "Server of responses.", standard: "pass"),
    SchemaKey("via", .text("`off`, or the name that stands in Via"), "Via of requests and responses.", standard: "off"),
  ]
}
