// What a change depends on where it is not certain which requests it touches: something of every route. Thousands of changes may depend on
// the same, so it is written once, and where it is long a digest stands for it.
// One belongs to what is compared: TrustDiff, or the routes of one listener (RoutesMet).

import Platform
import Wire

final class RoutesText {
  private var texts: [String: String] = [:]
  private static let bytesMax = 4_096

  /// - Parameters:
  ///   - kind: what it is of each route, and of which routes: the key under which it is kept.
  ///   - parts: of one route.
  func whole(_ kind: String, _ routes: [Config.Route], _ parts: (Config.Route) -> [String]) -> String {
    if let known = texts[kind] { return known }
    var text = TrustChange.joined(routes.flatMap(parts))
    if text.utf8.count > RoutesText.bytesMax, let digest = try? SHA256.digest(Array(text.utf8).span) {
      text = "sha-256 " + Base64.text((0..<32).map { digest[$0] }, .url)
    }
    texts[kind] = text
    return text
  }
}
