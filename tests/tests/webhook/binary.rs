//! Start and end of the webhook program.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use zstart_tests::cluster::built_binaries;
use zstart_tests::ports::free_ports;

/// Starts the webhook with a configuration and an unreachable API server.
fn start(config: &Path) -> Child {
    start_with(config, &[])
}

fn start_with(config: &Path, arguments: &[&str]) -> Child {
    Command::new(built_binaries().expect("built binaries").join("zstart-webhook"))
        .arg(format!("--config={}", config.display()))
        .args(arguments)
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

/// Lines of a log in JSON.
fn json_lines(output: &Output) -> Vec<Value> {
    let text = printed(output);
    let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    lines.expect(&text)
}

#[test]
fn json_log_has_one_object_a_line() {
    let [port] = free_ports().expect("a port");
    let folder = folder(&format!("listen: 127.0.0.1:0\nhealthListen: 127.0.0.1:{port}\n"));
    let child = start_with(&folder.path().join("config.yaml"), &["--log-format=json"]);
    until(port, "/readyz", |answer| answer.contains("503"));
    terminate(&child);
    let output = child.wait_with_output().expect("the program ends");
    let lines = json_lines(&output);
    let started = lines.iter().find(|line| line["health"] == format!("127.0.0.1:{port}")).expect("a start");
    assert_eq!((&started["level"], started["target"].is_string()), (&json!("INFO"), true), "{started}");
    for line in &lines {
        let has = |key: &str| line[key].as_str().is_some_and(|text| !text.is_empty());
        assert!(has("timestamp") && has("level") && has("message"), "{line}");
    }
}

#[test]
fn startup_error_follows_the_log_format() {
    let folder = folder("maxStalenes: 10m\n");
    let config = folder.path().join("config.yaml");
    let output = start_with(&config, &["--log-format=json"]).wait_with_output().expect("the program ends");
    assert_eq!(output.status.code(), Some(1));
    let lines = json_lines(&output);
    assert_eq!((&lines[0]["level"], &lines[0]["message"]), (&json!("ERROR"), &json!("the program failed")));
    assert!(lines[0]["error"].as_str().is_some_and(|error| error.contains("maxStalenes")), "{lines:?}");
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
