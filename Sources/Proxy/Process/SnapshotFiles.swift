// The certificate files of a configuration while a snapshot is built: whether they can be read, where a fault of one stands
// in the configuration, and which of them expire soon.

import Platform
import Policy

struct SnapshotFiles {
  /// A certificate that is valid for less is told of.
  static let expirySoonDays: Int64 = 21
  /// Lists are made anew each day or week.
  static let listSoonHours: Int64 = 48

  private let config: Config
  private let nowSeconds = Int64(Clock.wallMilliseconds() / 1_000)
  private(set) var findings: [Diagnostic] = []
  /// Each file once.
  private(set) var expiries: [CertificateExpiry] = []
  /// Nobody watches over how long the reading takes.
  private let refusesPipes: Bool

  init(_ config: Config, refusesPipes: Bool) {
    self.config = config
    self.refusesPipes = refusesPipes
  }

  /// A file, and the place of its name in the configuration.
  private typealias Named = (file: String, path: String)

  private static func files(_ listener: Config.Listener, at index: Int) -> [Named] {
    var files: [Named] = listener.certificates.enumerated().flatMap { position, pair in
      Self.files(pair, at: "listeners[\(index)].tls[\(position)]")
    }
    if let asked = listener.clientCertificates {
      files.append((asked.ca, "listeners[\(index)].client_certificates.ca"))
    }
    return files
  }

  private static func files(_ tls: Config.UpstreamTLS, at path: String) -> [Named] {
    [(tls.ca, "\(path).ca")] + (tls.certificate.map { files($0, at: path) } ?? [])
  }

  private static func files(_ pair: Config.Certificate, at path: String) -> [Named] {
    [(pair.certificate, "\(path).certificate"), (pair.key, "\(path).key")]
  }

  /// Whether the files that a listener names can be read. Each that cannot is a finding of its own, where it is named.
  mutating func areReadable(_ listener: Config.Listener, at index: Int) -> Bool {
    areReadable(Self.files(listener, at: index))
  }

  mutating func areReadable(_ tls: Config.UpstreamTLS, at path: String) -> Bool {
    areReadable(Self.files(tls, at: path))
  }

  private mutating func areReadable(_ files: [Named]) -> Bool {
    var all = true
    for (file, path) in files {
      guard let reason = TextFile.readFailure(path: file, refusesPipes: refusesPipes) else { continue }
      findings.append(Diagnostic(.error, at: config.place(of: path), "\(file): \(reason)"))
      all = false
    }
    return all
  }

  /// A listener's certificates are loaded together, up to the first fault: says what is wrong with each pair by itself, but for
  /// `told` and what cannot be read.
  mutating func checkOthers(_ listener: Config.Listener, at index: Int, than told: TLSError?, _ tickets: TicketKeys) {
    guard told == nil || listener.certificates.count > 1 else { return }
    let path = "listeners[\(index)].tls"
    // A pipe has been read, and would be waited for.
    for pair in listener.certificates
    where [pair.certificate, pair.key].allSatisfy({ TextFile.readFailure(path: $0, refusesPipes: true) == nil }) {
      do {
        let alone = try TLSServerContext(
          certificates: [CertificateFiles(certificate: pair.certificate, key: pair.key)], clientAuthorities: nil,
          requireClientCertificate: false, minimumTLS13: false, sessionContext: [], tickets: tickets)
        check(alone.expiries, in: path)
      } catch {
        guard error.description != told?.description else { continue }
        findings.append(
          Diagnostic(
            .error, at: place(of: error.file, in: "listeners[\(index)]"), "listener \(listener.name): \(error)"))
      }
    }
  }

  /// Where the file that is at fault stands below `path`; the place of `path` where it stands nowhere.
  func place(of file: String, in path: String) -> Place {
    let listeners = config.listeners.enumerated().flatMap { Self.files($1, at: $0) }
    let upstreams = config.upstreams.flatMap { upstream in
      var files: [Named] = upstream.tls.map { Self.files($0, at: "upstreams.\(upstream.name).tls") } ?? []
      if case .own(let tls)? = upstream.health?.tls {
        files += Self.files(tls, at: "upstreams.\(upstream.name).health.tls")
      }
      return files
    }
    let files = listeners + upstreams
    return config.place(of: files.first { $0.file == file && $0.path.hasPrefix(path) }?.path ?? path)
  }

  /// Notes until when certificates are valid, and tells of those that expire soon or have expired.
  mutating func check(_ found: [CertificateExpiry], in path: String) {
    for expiry in found where !expiries.contains(where: { $0.file == expiry.file && $0.kind == expiry.kind }) {
      expiries.append(expiry)
      let leftSeconds = expiry.seconds - nowSeconds
      guard let text = SnapshotFiles.text(expiry, leftSeconds: leftSeconds) else { continue }
      findings.append(Diagnostic(.warning, at: place(of: expiry.file, in: path), "\(expiry.file): \(text)"))
    }
  }

  /// What is to be said of it; nil while there is time.
  private static func text(_ expiry: CertificateExpiry, leftSeconds: Int64) -> String? {
    let when = time(expiry.seconds)
    switch expiry.kind {
    case .certificate:
      guard leftSeconds < expirySoonDays * 86_400 else { return nil }
      return leftSeconds < 0
        ? "the certificate has expired, at \(when)"
        : "the certificate expires in \(leftSeconds / 86_400) days, at \(when)"
    case .revocationList:
      guard leftSeconds < listSoonHours * 3_600 else { return nil }
      return leftSeconds < 0
        ? "a revocation list has expired, at \(when): every certificate that it is for is refused"
        : "a revocation list expires in \(leftSeconds / 3_600) hours, at \(when): from then on every certificate that it is for is refused"
    }
  }

  private static func time(_ seconds: Int64) -> String {
    guard seconds >= 0 else { return "a time before 1970" }
    var date = DateField()
    date.update(wallMilliseconds: UInt64(seconds) * 1_000)
    return String(decoding: (0..<19).map { date.rfc3339[$0] }, as: UTF8.self) + "Z"
  }

  /// For Prometheus.
  static func metrics(_ expiries: [CertificateExpiry]) -> String {
    func family(_ name: String, _ type: String, _ kind: CertificateExpiry.Kind, _ help: String) -> String {
      let its = expiries.filter { $0.kind == kind }
      guard !its.isEmpty else { return "" }
      return "# HELP countersign_\(name) \(help)\n# TYPE countersign_\(name) \(type)\n"
        + its.map { "countersign_\(name){file=\"\(MetricsPage.escaped($0.file))\"} \($0.seconds)\n" }.joined()
    }
    return family(
      "certificate_expiry_timestamp_seconds", "gauge", .certificate,
      "Until when the certificate in a file is valid, as it was read.")
      + family(
        "revocation_list_expiry_timestamp_seconds", "gauge", .revocationList,
        "Until when the revocation lists in a file are valid, as it was read; the first of them that expires.")
  }
}
