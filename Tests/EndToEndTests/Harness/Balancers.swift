// Real HAProxy and nginx, in the foreground, on a listening socket that the test opened and hands over: so the port
// is free for certain, and a client that comes before they are up just waits in the queue.

import Foundation

final class HAProxy: Sendable {
  let process: ChildProcess
  let address: Address

  /// `body` may say `fd@3` where it binds; it is put after the defaults.
  init(_ body: String, in workspace: Workspace) throws {
    let (descriptor, address) = try Socket.listen()
    defer { close(descriptor) }
    self.address = address
    let file = try workspace.write(
      "haproxy-\(address.port).cfg",
      """
      global
        maxconn 512
        nbthread 1
        log stderr format raw local0
      defaults
        timeout connect 5s
        timeout client 30s
        timeout server 30s
      \(body)

      """)
    process = try ChildProcess([try Programs.haproxy, "-db", "-f", file], passing: [descriptor])
  }

  /// A TCP balancer in front of one server; `options` are of its `server` line.
  static func tcp(to server: Address, options: String, in workspace: Workspace) throws -> HAProxy {
    try HAProxy(
      """
      listen balancer
        mode tcp
        bind fd@3
        server edge \(server) source \(Peer.balancer) \(options)
      """, in: workspace)
  }
}

final class Nginx: Sendable {
  let process: ChildProcess
  let address: Address
  /// Has its files as long as it runs.
  private let workspace: Workspace

  enum Context { case http, stream }

  /// The text goes into the `http` or `stream` block; `LISTEN` in it becomes the address.
  init(_ context: Context, _ body: String, in workspace: Workspace) throws {
    let (descriptor, address) = try Socket.listen()
    defer { close(descriptor) }
    self.address = address
    self.workspace = workspace
    let temporary = workspace.file("nginx-\(address.port)")
    let text = body.replacingOccurrences(of: "LISTEN", with: "\(address)")
    let block =
      switch context {
      case .http:
        """
        http {
          access_log off;
          client_max_body_size 0;
          client_body_temp_path \(temporary).body; proxy_temp_path \(temporary).proxy;
          fastcgi_temp_path \(temporary).fastcgi; uwsgi_temp_path \(temporary).uwsgi; scgi_temp_path \(temporary).scgi;
        \(text)
        }
        """
      case .stream: "stream {\n\(text)\n}"
      }
    let module = context == .stream ? "load_module \(try Programs.nginxStreamModule);\n" : ""
    let file = try workspace.write(
      "nginx-\(address.port).conf",
      """
      \(module)daemon off;
      worker_processes 1;
      user root;
      pid \(temporary).pid;
      error_log stderr warn;
      events { worker_connections 512; }
      \(block)

      """)
    // The way nginx hands its sockets to its next binary; it matches them by their address.
    process = try ChildProcess(
      [try Programs.nginx, "-e", "stderr", "-c", file], environment: ["NGINX": "3;"], passing: [descriptor],
      endSignal: SIGTERM)
  }
}
