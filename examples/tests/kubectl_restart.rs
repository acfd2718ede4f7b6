//! The `standalone` example killed in mid-rollout: what was promised is there, pods go on.

mod common;

use common::{MANIFEST, Server, eventually};

fn shop<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["-n", "shop"][..], arguments].concat()
}

#[test]
fn a_server_that_is_killed_goes_on_where_it_was() {
    let Some(mut server) = Server::start() else { return };
    server.run(&["apply", "-f", &server.file("shop.yaml", MANIFEST)]);
    server.run(&shop(&["rollout", "status", "deployment/web", "--timeout=60s"]));
    let ids = "jsonpath={.items[*].status.containerStatuses[0].containerID}";
    let before = server.run(&shop(&["get", "pods", "-o", ids]));
    server.run(&shop(&["set", "env", "deployment/web", "COLOR=red"]));
    server.kill();
    let running = server.processes();
    assert!(!running.is_empty(), "what runs goes on without its agent");
    server.restart();
    let rolled = server.run(&shop(&["rollout", "status", "deployment/web", "--timeout=60s"]));
    assert!(rolled.contains("successfully rolled out"), "{rolled}");
    let color = "jsonpath={.items[*].spec.containers[0].env[0].value}";
    eventually("only the new pods are left", || {
        server.run(&shop(&["get", "pods", "-o", color])) == "red red red"
    });
    let after = server.run(&shop(&["get", "pods", "-o", ids]));
    assert_ne!(before, after);
    // Killed once more with nothing to do: no container is restarted (N1).
    server.kill();
    server.restart();
    eventually("the node is Ready", || server.run(&["get", "nodes"]).contains(" Ready "));
    let restarts = "jsonpath={.items[*].status.containerStatuses[0].restartCount}";
    assert_eq!(server.run(&shop(&["get", "pods", "-o", ids])), after, "N1");
    assert_eq!(server.run(&shop(&["get", "pods", "-o", restarts])), "0 0 0", "N1");
    server.run(&["delete", "namespace", "shop"]);
    eventually("no process is left", || server.processes().is_empty());
}
