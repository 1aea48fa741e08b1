//! Start and end of the webhook program.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use zstart_tests::cluster::built_binaries;
use zstart_tests::ports::free_ports;

/// Starts the webhook with a configuration and an unreachable API server.
fn start(config: &Path) -> Child {
    Command::new(built_binaries().expect("built binaries").join("zstart-webhook"))
        .arg(format!("--config={}", config.display()))
        .env("POD_NAMESPACE", "zstart-system")
        .env("KUBECONFIG", config.with_file_name("kubeconfig"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

fn folder(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("config.yaml"), config).expect("a file");
    let nowhere = "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
        clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]\n\
        contexts: [{name: a, context: {cluster: a, user: a}}]\nusers: [{name: a, user: {}}]\n";
    std::fs::write(folder.path().join("kubeconfig"), nowhere).expect("a file");
    folder
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn unknown_config_key_is_reported_and_exits_1() {
    let folder = folder("maxStalenes: 10m\n");
    let output = start(&folder.path().join("config.yaml")).wait_with_output().expect("the program ends");
    assert_eq!(output.status.code(), Some(1));
    let text = printed(&output);
    assert!(text.contains("config.yaml") && text.contains("maxStalenes"), "{text}");
}

fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Polls until `accepts` accepts the response, and returns it.
fn until(port: u16, path: &str, accepts: impl Fn(&str) -> bool) -> String {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match get(port, path) {
            Ok(answer) if accepts(&answer) => return answer,
            answer => assert!(Instant::now() < end, "{answer:?}"),
        }
    }
}

fn terminate(child: &Child) {
    let told = Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
    assert!(told.success());
}

#[test]
fn unreachable_api_server_leaves_webhook_alive_but_unready() {
    let [port] = free_ports().expect("a port");
    let folder = folder(&format!("listen: 127.0.0.1:0\nhealthListen: 127.0.0.1:{port}\n"));
    let child = start(&folder.path().join("config.yaml"));
    until(port, "/livez", |answer| answer.contains("200 OK"));
    until(port, "/readyz", |answer| answer.contains("503") && answer.contains("no serving certificate yet"));
    terminate(&child);
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
}

#[test]
fn second_signal_exits_immediately() {
    let [port] = free_ports().expect("a port");
    let folder = folder(&format!("listen: 127.0.0.1:0\nhealthListen: 127.0.0.1:{port}\n"));
    let child = start(&folder.path().join("config.yaml"));
    until(port, "/livez", |answer| answer.contains("200 OK"));
    terminate(&child);
    until(port, "/readyz", |answer| answer.contains("shutting down"));
    terminate(&child);
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!(output.status.code(), Some(1), "{}", printed(&output));
    assert!(printed(&output).contains("a second signal"), "{}", printed(&output));
}

#[test]
fn unknown_log_level_is_rejected() {
    let folder = folder("");
    let output = Command::new(built_binaries().expect("built binaries").join("zstart-webhook"))
        .args(["--config", &folder.path().join("config.yaml").display().to_string(), "--log=inof"])
        .env("POD_NAMESPACE", "zstart-system")
        .output()
        .expect("the program ends");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("inof") && said.contains("debug"), "{said}");
}
