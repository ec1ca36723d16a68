// The operational log: one line each on standard error, with the time and the level. Whoever reports posts to a bounded
// queue; a thread of its own writes, so that a standard error that nobody reads holds up neither signals nor workers.

import Logging
import Platform

package struct OperationalLog: Sendable {
  package let queue: LogQueue
  let logger: Logger

  /// - Parameter queue: read by whoever writes the lines.
  package init(queue: LogQueue) {
    self.queue = queue
    var logger = Logger(label: "countersign") { _ in Handler(queue: queue) }
    logger.logLevel = .info
    self.logger = logger
  }

  /// Begins the thread. The signals' mask must be set by then: threads inherit it.
  static func start() throws(SystemError) -> OperationalLog {
    let queue = try LogQueue(bytesMax: LogQueue.operationalBytesMax)
    let log = OperationalLog(queue: queue)
    let reporter = log.logger
    _ = try WorkerThread.start(name: "log-error", processor: nil) {
      LogThread(queue, to: LogFile(.error), name: "operational log", isToldWhileFull: false) {
        reporter.warning("\($0)")
      }.run()
    }
    return log
  }

  /// A line as it is: what `run` says about itself and about a configuration.
  func say(_ line: String) { queue.post(lines: Array((line + "\n").utf8)) }

  private struct Handler: LogHandler {
    let queue: LogQueue
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.info

    init(queue: LogQueue) { self.queue = queue }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
      var date = DateField()
      date.update(wallMilliseconds: Clock.wallMilliseconds())
      var time = ""
      for i in 0..<24 { time.unicodeScalars.append(Unicode.Scalar(date.rfc3339[i])) }
      queue.post(lines: Array("\(time) \(event.level) \(event.message)\n".utf8))
    }
  }
}
