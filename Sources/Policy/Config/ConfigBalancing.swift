// How an upstream's requests are spread over its servers, and what is done about servers that fail: the values.
// ConfigServers reads them.

extension Config {
  /// Entries of one upstream's `servers`, and servers that it can have by them.
  package static let serversMax = 1_000

  /// One entry of `servers`. A host name may stand for several servers, each with these settings.
  package struct Server: Sendable, Equatable {
    package var endpoint: Endpoint
    /// Its share of the requests, beside the others' weights.
    package var weight = 1
    /// It serves only while no other server of the upstream can.
    package var isBackup = false
    /// Requests that it has at the same time, from all workers; 0: no limit.
    package var connectionsMax = 0

    package init(_ endpoint: Endpoint) { self.endpoint = endpoint }
  }

  package enum Balance: String, Sendable, CaseIterable {
    case roundRobin = "round-robin", leastRequests = "least-requests", clientHash = "client-hash"
  }

  /// Checks of our own: a server that fails them gets no requests.
  package struct Health: Sendable, Equatable {
    package var kind: Kind
    package var intervalMilliseconds = 2_000
    package var timeoutMilliseconds = 1_000
    package var rise = 2
    package var fall = 3
    /// Another port than the server's.
    package var port: UInt16?
    /// Nil: as the upstream is reached.
    package var tls: TLS?
    /// What is spoken, where it is not what the upstream's servers speak.
    package var statedProtocol: ServerProtocol?

    /// What the checks of an upstream's servers speak.
    package func serverProtocol(of upstream: Upstream) -> ServerProtocol {
      if case .grpc = kind { return .http2 }
      return statedProtocol ?? upstream.serverProtocol
    }

    package init(_ kind: Kind) { self.kind = kind }

    package enum Kind: Sendable, Equatable {
      /// A connection comes about, with TLS where there is TLS.
      case tcp
      /// - Parameters:
      ///   - host: the Host field; nil: the name of the upstream's certificate, or the server as it is written.
      ///   - statuses: the good ones.
      case http(path: String, host: String?, statuses: [ClosedRange<Int>])
      /// grpc.health.v1.Health/Check.
      /// - Parameter service: empty: the server.
      case grpc(service: String, host: String?)
    }

    package enum TLS: Sendable, Equatable { case off, own(UpstreamTLS) }

    package static let statuses = [200...399]
  }

  /// What requests themselves show of a server: so many failures within a time, and it gets none for a while.
  package struct Passive: Sendable, Equatable {
    package var failures = 5
    package var windowMilliseconds = 10_000
    /// The first time; twice as long each time that it fails again at once, up to 16 times as long.
    package var ejectMilliseconds = 10_000
    /// Of the upstream's servers, at the same time; one of two or more may always be.
    package var ejectedPercentMax = 50
    /// Statuses of responses that count as failures.
    package var statuses: [ClosedRange<Int>] = []

    package init() {}
  }

  /// Further tries of one request.
  package struct Retries: Sendable, Equatable {
    package var count = 1
    /// Of the requests of the last ten seconds, so many may be tries beyond the first, beside ten that may always be; by worker.
    package var budgetPercent = 20
    package var on: Occasions = [.connect, .reset, .timeout]
    /// Statuses after which an idempotent request is tried again.
    package var statuses: [Int] = []

    package init() {}

    package struct Occasions: OptionSet, Sendable, Equatable {
      package let rawValue: UInt8
      package init(rawValue: UInt8) { self.rawValue = rawValue }
      /// No connection comes about, in time or at all, or it cannot be secured.
      package static let connect = Occasions(rawValue: 1)
      /// The connection ends before a response's head came.
      package static let reset = Occasions(rawValue: 2)
      /// No response's head in time.
      package static let timeout = Occasions(rawValue: 4)

      package static let named: [(name: String, occasion: Occasions)] = [
        ("connect", .connect), ("reset", .reset), ("timeout", .timeout),
      ]
    }

    /// Those that may stand in `on`.
    package static let statusesKnown = [500, 502, 503, 504]
  }

  /// Keeps a client at a server by a cookie.
  package struct Sticky: Sendable, Equatable {
    package var cookie: String
    /// Path of the key set whose one key makes the tokens, made absolute.
    package var key: String

    package init(cookie: String, key: String) {
      self.cookie = cookie
      self.key = key
    }
  }

  /// Where requests wait while every server has as many as it may.
  package struct Queue: Sendable, Equatable {
    /// Of one upstream, over all workers.
    package var requestsMax = 1_000
    package var timeoutMilliseconds = 3_000

    package init() {}
  }
}
