// A route of the configuration: which requests it is for (RouteMatch), where they go or what answers them here, and what is changed about
// them on the way. Plain values; ConfigRoutes, ConfigRouteAnswers and ConfigRouteChanges read them.

import Wire

extension Config {
  /// First match wins.
  package struct Route: Sendable, Equatable {
    package var match = RouteMatch()
    /// An upstream; empty where `answer` says what to do.
    package var to: String
    /// Its requests are answered here, and reach no upstream.
    package var answer: RouteAnswer?
    /// By which operators close it; unique.
    package var name: String?
    /// False: closed, until the configuration says otherwise.
    package var isEnabled = true
    /// Nothing passes here while clients cannot be told apart.
    package var needsDistinctClients = false
    package var changes = RouteChanges()
    /// Nil: its responses go as they come.
    package var compression: Compression?
    package var limits = RouteLimits()
    package var access = Access()
    package var errorPages: [ErrorPage] = []
    package var place = Place.none

    package init(match: RouteMatch = RouteMatch(), to: String) {
      self.match = match
      self.to = to
    }

    /// Where its requests go, for people.
    package var goal: String {
      switch answer {
      case nil: to
      case .redirect: "redirect"
      case .respond: "respond"
      case .files: "files"
      }
    }
  }

  package enum PathMismatch: String, Sendable, CaseIterable { case refuse, stricter }

  // MARK: Answers of our own

  package enum RouteAnswer: Sendable, Equatable {
    case redirect(Redirect)
    case respond(Respond)
    case files(Files)
  }

  /// What is not given stays as it is in the request.
  package struct Redirect: Sendable, Equatable {
    package var scheme: LinkScheme?
    /// With a port where one is wanted. In lower case.
    package var host: String?
    /// The request's query is kept where it has none of its own.
    package var path: FieldTemplate?
    package var status = 308
    package init() {}
  }

  package enum LinkScheme: String, Sendable, CaseIterable { case http, https }

  package struct Respond: Sendable, Equatable {
    package var status = 200
    package var body: String?
    /// Path of the body's file, made absolute. It is read when the configuration is loaded.
    package var file: String?
    package var headers: [FieldValue] = []
    package init() {}

    package static let bodyBytesMax = 1 << 20
    /// Of all routes together.
    package static let bodiesBytesMax = 16 << 20
  }

  /// The files of a directory, by the path behind the route's `path_prefix`.
  package struct Files: Sendable, Equatable {
    /// Made absolute.
    package var directory: String
    package init(directory: String) { self.directory = directory }
  }

  // MARK: Changes on the way

  package struct RouteChanges: Sendable, Equatable {
    /// Taken from the front of the path; without a slash at its end.
    package var stripPrefix: String?
    /// The path anew, and where it has a `?` the query too.
    package var rewrite: FieldTemplate?
    package var request = FieldChanges()
    package var response = FieldChanges()
    package var hsts: HSTS?
    package init() {}

    package var rewritesPath: Bool { stripPrefix != nil || rewrite != nil }
  }

  package struct FieldChanges: Sendable, Equatable {
    /// Every line of that name is replaced by this one.
    package var set: [FieldValue] = []
    package var add: [FieldValue] = []
    package var remove: [String] = []
    package init() {}
  }

  package struct FieldValue: Sendable, Equatable {
    package var name: String
    package var value: FieldTemplate
    /// How the value is written where it comes from outside: that is what is shown of it.
    package var written: String?
    package init(name: String, value: FieldTemplate, written: String? = nil) {
      self.name = name
      self.value = value
      self.written = written
    }
  }

  /// Strict-Transport-Security (RFC 6797), for clients that used TLS.
  package struct HSTS: Sendable, Equatable {
    package var seconds: Int
    package var includesSubdomains = false
    package var isPreloaded = false
    package init(seconds: Int) { self.seconds = seconds }
  }

  /// Fields that every route's requests or responses get.
  package struct Headers: Sendable, Equatable {
    package var requestID = RequestIDMode.pass
    package var server = ServerField.pass
    /// The name in `Via`; nil: none is written.
    package var via: String?
    package init() {}
  }

  /// Of X-Request-Id.
  package enum RequestIDMode: String, Sendable, CaseIterable {
    /// As the client sent it, if it did.
    case pass
    /// The client's, where it is one; else ours.
    case keep
    /// Always ours.
    case make
  }

  package enum ServerField: Sendable, Equatable {
    case pass, remove
    case name(String)
  }
}
