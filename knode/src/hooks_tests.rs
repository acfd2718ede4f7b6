//! Hooks against real servers on loopback and a scripted container.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::runtime::{ContainerId, Exec, Streaming};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[derive(Debug)]
struct ScriptedExec;

#[async_trait]
impl Exec for ScriptedExec {
    async fn exec_sync(
        &self,
        id: &ContainerId,
        command: &[String],
        _options: ExecOptions,
    ) -> Result<ExecOutput> {
        match command[0].as_str() {
            "good" => Ok(ExecOutput::default()),
            "bad" => Ok(ExecOutput::default().exit_code(3).stdout("out ").stderr("err")),
            _ => Err(Error::NotFound { kind: "container", id: id.to_string() }),
        }
    }

    fn streaming(&self) -> Option<Box<dyn Streaming>> {
        None
    }
}

async fn run(handler: Value) -> Result<(), String> {
    let handler: LifecycleHandler = serde_json::from_value(handler).unwrap();
    let metadata = json!({"name": "p", "namespace": "ns", "uid": "u"});
    let pod: Pod = serde_json::from_value(json!({"metadata": metadata})).unwrap();
    let container = Container { name: "c".into(), ..Container::default() };
    let id = ContainerId::from("id");
    let target = Target::new(LOOPBACK, &id, &ScriptedExec);
    run_hook(&handler, &pod, &container, target).await.map_err(|error| error.to_string())
}

/// Answers every request with 500, and keeps what it was asked.
async fn serve() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let keep = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let count = stream.read(&mut request).await.unwrap_or_default();
            keep.lock().push(String::from_utf8_lossy(&request[..count]).to_lowercase());
            let answer = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
    (port, asked)
}

#[tokio::test]
async fn commands_are_judged_by_their_exit_code() {
    let exec = |command: &[&str]| json!({"exec": {"command": command}});
    run(exec(&["good"])).await.unwrap();
    let expect = "Exec lifecycle hook ([bad -x]) for Container \"c\" in Pod \"p_ns(u)\" failed - \
                  error: command 'bad -x' exited with 3: err, message: \"out err\"";
    assert_eq!(run(exec(&["bad", "-x"])).await.unwrap_err(), expect);
    let expect = "Exec lifecycle hook ([lost]) for Container \"c\" in Pod \"p_ns(u)\" failed - \
                  error: container \"id\" not found, message: \"\"";
    assert_eq!(run(exec(&["lost"])).await.unwrap_err(), expect);
}

#[tokio::test]
async fn a_request_is_sent_and_its_status_does_not_matter() {
    let (port, asked) = serve().await;
    run(json!({"httpGet": {"port": port, "path": "/stop"}})).await.unwrap();
    let asked = asked.lock();
    assert!(asked[0].starts_with("get /stop http/1.1\r\n"), "{asked:?}");
    assert!(asked[0].contains("user-agent: kube-lifecycle/1.37\r\n"), "{asked:?}");
}

#[tokio::test]
async fn a_request_that_nobody_answers_is_a_failure() {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = run(json!({"httpGet": {"port": port, "path": "/x"}})).await.unwrap_err();
    let expect = format!(
        "HTTP lifecycle hook (/x) for Container \"c\" in Pod \"p_ns(u)\" failed - error: Get \
         \"http://127.0.0.1:{port}/x\": dial tcp 127.0.0.1:{port}: connect: connection refused"
    );
    assert_eq!(error, expect);
    let error = run(json!({"httpGet": {"port": "http"}})).await.unwrap_err();
    assert!(error.contains("lifecycle.httpGet.port: couldn't find port \"http\""), "{error}");
}

#[cfg(feature = "https-probe")]
#[tokio::test]
async fn a_server_without_tls_is_asked_in_the_clear_without_credentials() {
    let (port, asked) = serve().await;
    let headers = json!([{"name": "Authorization", "value": "hunter2"}]);
    let get = json!({"port": port, "scheme": "HTTPS", "path": "/s", "httpHeaders": headers});
    run(json!({ "httpGet": get })).await.unwrap();
    let asked = asked.lock();
    let last = asked.last().unwrap();
    assert!(last.starts_with("get /s ") && !last.contains("hunter2"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_takes_its_time() {
    let start = tokio::time::Instant::now();
    run(json!({"sleep": {"seconds": 30}})).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(30));
    run(json!({"sleep": {"seconds": 0}})).await.unwrap();
}

#[tokio::test]
async fn handlers_that_nothing_runs_fail() {
    let tcp = run(json!({"tcpSocket": {"port": 1}})).await.unwrap_err();
    assert_eq!(tcp, "Cannot run handler: invalid handler: tcpSocket");
    let none = run(json!({})).await.unwrap_err();
    assert_eq!(none, "Cannot run handler: invalid handler: none");
}
