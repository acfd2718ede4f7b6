//! Real kubectl against the `standalone` example: tokens of ServiceAccounts.

mod common;

use std::process::Command;

use common::{Server, eventually};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  serviceAccountName: robot
  containers:
  - {name: web, image: host, command: [sleep, '1000']}
";

/// A Pod whose container asks the API who it is, with what it finds in its own volume.
const CURIOUS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: curious}
spec:
  serviceAccountName: robot
  restartPolicy: Never
  containers:
  - name: main
    image: host
    command: [sh, -c]
    args:
    - >-
      cd $KUBRICK_ROOT/api && cat namespace && KUBECTL --kubeconfig /dev/null
      --server https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT
      --certificate-authority ca.crt --tls-server-name kubernetes --token $(cat token)
      auth whoami -o 'jsonpath= {.status.userInfo.username} {.status.userInfo.extra}'
    volumeMounts: [{name: api, mountPath: /api}]
  volumes:
  - name: api
    projected:
      sources:
      - serviceAccountToken: {path: token, expirationSeconds: 600}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
";

/// Runs kubectl with nothing but a token: what it prints if it succeeds, or why it does not.
fn with_token(server: &Server, token: &str, arguments: &[&str]) -> Result<String, String> {
    let url = ["config", "view", "--raw", "-o", "jsonpath={.clusters[0].cluster.server}"];
    let url = server.run(&url);
    let mut command = Command::new(server.command(&[]).get_program());
    command.args(["--kubeconfig", "/dev/null", "--server", &url, "--token", token]);
    command.arg("--certificate-authority").arg(server.path("pki/ca.crt"));
    let output = command.args(arguments).output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

fn whoami(server: &Server, token: &str) -> Result<String, String> {
    let name = ["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"];
    with_token(server, token, &name)
}

#[test]
fn a_token_is_its_accounts_until_what_it_is_bound_to_is_gone_x5() {
    let Some(mut server) = Server::start() else { return };
    server.run(&["create", "serviceaccount", "robot"]);
    let free = server.run(&["create", "token", "robot"]);
    let robot = "system:serviceaccount:default:robot".to_owned();
    assert_eq!(whoami(&server, &free), Ok(robot.clone()));
    // It may do what the account may, which is nothing until somebody says so.
    let forbidden = with_token(&server, &free, &["get", "configmaps"]).unwrap_err();
    assert!(forbidden.contains(&format!("User \"{robot}\" cannot list")), "{forbidden}");
    server.run(&[
        "create",
        "rolebinding",
        "robot",
        "--clusterrole=view",
        "--serviceaccount=default:robot",
    ]);
    with_token(&server, &free, &["get", "configmaps"]).unwrap();
    server.apply("web.yaml", POD);
    let bound = server.run(&[
        "create",
        "token",
        "robot",
        "--bound-object-kind=Pod",
        "--bound-object-name=web",
        "--duration=10m",
    ]);
    assert_eq!(whoami(&server, &bound), Ok(robot.clone()));
    server.run(&["delete", "pod", "web", "--grace-period=1"]);
    eventually("a token without its Pod is refused", || {
        whoami(&server, &bound).is_err_and(|error| error.contains("Unauthorized"))
    });
    let door = server.run(&["create", "token", "robot", "--audience=door"]);
    whoami(&server, &door).unwrap_err();
    let short = server.fail(&["create", "token", "robot", "--duration=1m"]);
    assert!(short.contains("may not specify a duration less than 10 minutes"), "{short}");
    let nobody = server.fail(&["create", "token", "nobody"]);
    assert!(nobody.contains("serviceaccounts \"nobody\" not found"), "{nobody}");
    let keys = server.run(&["get", "--raw", "/openid/v1/jwks"]);
    assert!(keys.contains("\"alg\":\"ES256\""), "{keys}");
    // The key outlives the server.
    server.kill();
    server.restart();
    assert_eq!(whoami(&server, &free), Ok(robot));
}

#[test]
fn a_pod_talks_to_the_api_with_its_own_token_x5() {
    let Some(server) = Server::start() else { return };
    server.run(&["create", "serviceaccount", "robot"]);
    let kubectl = server.command(&[]).get_program().to_str().unwrap().to_owned();
    server.apply("curious.yaml", &CURIOUS.replace("KUBECTL", &kubectl));
    let phase = ["get", "pod", "curious", "-o", "jsonpath={.status.phase}"];
    eventually("the pod has asked", || matches!(&*server.run(&phase), "Succeeded" | "Failed"));
    let said = server.run(&["logs", "curious"]);
    assert!(said.starts_with("default system:serviceaccount:default:robot "), "{said}");
    assert!(said.contains(r#""authentication.kubernetes.io/pod-name":["curious"]"#), "{said}");
    assert!(said.contains(r#""authentication.kubernetes.io/node-name":["standalone"]"#), "{said}");
}
