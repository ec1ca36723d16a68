// What `files` of a route would publish and must not: a directory that holds, at any depth, a file that the configuration itself keeps to
// this process (its keys, passwords and logs, and the configuration). Told by whoever builds a snapshot.

import Platform
import Policy

enum PublishedFiles {
  static func findings(_ config: Config) -> [Diagnostic] {
    let directories = config.routes.enumerated().compactMap { index, route -> (path: String, place: Place)? in
      guard case .files(let files)? = route.answer else { return nil }
      return (files.directory, config.place(of: "routes[\(index)].files"))
    }
    guard !directories.isEmpty else { return [] }
    // The first file in each directory, by what the kernel takes the directory for: two paths may lead to one.
    var held: [FileIdentity: (file: String, what: String, others: Int)] = [:]
    var seen: Set<String> = []
    for (file, what) in kept(by: config) where seen.insert(file).inserted {
      for directory in FileIdentity.directories(of: file) {
        held[directory, default: (file, what, -1)].others += 1
      }
    }
    return directories.compactMap { path, place in
      // One that cannot be opened has been told of.
      guard let identity = FileIdentity(path: path), let (file, what, others) = held[identity] else { return nil }
      let more = others == 0 ? "" : others == 1 ? " and another file like it" : " and \(others) other files like it"
      return Diagnostic(
        .error, at: place,
        "\(path): `files` would publish \(file) (\(what))\(more), which this configuration needs for itself: give it a directory "
          + "that holds only what anybody may read")
    }
  }

  /// Each with the key that names it.
  private static func kept(by config: Config) -> [(file: String, what: String)] {
    var files: [(file: String, what: String)] = []
    func keep(_ file: String?, _ key: String) { if let file { files.append((file, "`\(key)`")) } }
    keep(config.identity.keys, "identity.keys")
    keep(config.log.fieldsKey, "log.fields_key")
    for (index, listener) in config.listeners.enumerated() {
      for (position, pair) in listener.certificates.enumerated() {
        keep(pair.key, "listeners[\(index)].tls[\(position)].key")
      }
    }
    for upstream in config.upstreams {
      let path = "upstreams.\(upstream.name)"
      keep(upstream.tls?.certificate?.key, "\(path).tls.key")
      if case .own(let tls)? = upstream.health?.tls { keep(tls.certificate?.key, "\(path).health.tls.key") }
      keep(upstream.sticky?.key, "\(path).sticky.key")
    }
    for (index, route) in config.routes.enumerated() {
      keep(route.access.basic?.htpasswd, "routes[\(index)].access.htpasswd")
    }
    if case .file(let path) = config.log.access { keep(path, "log.access") }
    for (file, place) in config.references.sorted(by: { $0.key < $1.key }) {
      files.append((file, "`${file:…}` in \(place.name)"))
    }
    if !config.file.isEmpty { files.append((config.file, "the configuration")) }
    for file in config.included { files.append((file, "`include`")) }
    return files
  }
}
