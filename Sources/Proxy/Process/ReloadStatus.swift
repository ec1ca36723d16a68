// How the configuration in use came to be, and what became of the last attempt to replace it: for /metrics, /status and
// systemd. The start counts as the first, successful load.

import Platform
import Wire

struct ReloadStatus: Sendable {
  /// Counts the configurations that came into force.
  private(set) var generation: UInt64
  private(set) var lastSuccessMilliseconds: UInt64
  /// Why the last reload was refused; nil where the last was a success.
  private(set) var failure: (milliseconds: UInt64, why: String)?

  /// Until when the certificates in use are valid.
  private var expiries: [CertificateExpiry]
  /// Reloads of this process, by what became of them.
  private var taken = 0
  private var refused = 0

  init(nowMilliseconds: UInt64, generation: UInt64 = 1, expiries: [CertificateExpiry] = []) {
    self.generation = generation
    lastSuccessMilliseconds = nowMilliseconds
    self.expiries = expiries
  }

  mutating func noteSuccess(_ snapshot: Snapshot, nowMilliseconds: UInt64) {
    generation = snapshot.generation
    expiries = snapshot.expiries
    lastSuccessMilliseconds = nowMilliseconds
    failure = nil
    taken += 1
  }

  mutating func noteFailure(_ why: String, nowMilliseconds: UInt64) {
    failure = (nowMilliseconds, why)
    refused += 1
  }

  var metrics: String {
    """
    # HELP countersign_config_last_reload_successful Whether the last configuration that was read came into force.
    # TYPE countersign_config_last_reload_successful gauge
    countersign_config_last_reload_successful \(failure == nil ? 1 : 0)
    # HELP countersign_config_last_reload_success_timestamp_seconds When the configuration in use came into force.
    # TYPE countersign_config_last_reload_success_timestamp_seconds gauge
    countersign_config_last_reload_success_timestamp_seconds \(lastSuccessMilliseconds / 1_000)
    # HELP countersign_config_generation Configurations that came into force since the start, upgrades counted in.
    # TYPE countersign_config_generation gauge
    countersign_config_generation \(generation)
    # HELP countersign_config_reloads_total Reloads of this process, by what became of them.
    # TYPE countersign_config_reloads_total counter
    countersign_config_reloads_total{result="taken"} \(taken)
    countersign_config_reloads_total{result="refused"} \(refused)

    """ + SnapshotFiles.metrics(expiries)
  }

  /// An object for /status.
  var json: String {
    var text = "{\"generation\":\(generation),\"since\":\"\(ReloadStatus.time(lastSuccessMilliseconds))\""
    text += ",\"last_reload_successful\":\(failure == nil)"
    if let failure {
      text +=
        ",\"last_failure\":{\"time\":\"\(ReloadStatus.time(failure.milliseconds))\",\"why\":\(JSONText.quote(failure.why))}"
    }
    return text + "}"
  }

  /// One line for `systemctl status`.
  var text: String {
    guard let failure else { return "serving configuration \(generation)" }
    let why = failure.why.split(whereSeparator: \.isNewline).joined(separator: "; ").prefix(400)
    return
      "reload refused at \(ReloadStatus.time(failure.milliseconds)), still serving configuration \(generation): \(why)"
  }

  private static func time(_ milliseconds: UInt64) -> String {
    var date = DateField()
    date.update(wallMilliseconds: milliseconds)
    return String(decoding: (0..<24).map { date.rfc3339[$0] }, as: UTF8.self)
  }
}
