//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};

const USAGE: &str = "usage: etcd_backend --endpoints http://A:P[,…] [--data-dir D]
                    [--listen A:P,A:P,A:P] [--balancer A:P]
                    [--service-cidr 127.80.0.0/16] [--pod-cidr 127.64.0.0/16]
                    [--etcd-ca F --etcd-cert F --etcd-key F]";

/// What a process of the cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It starts the others.
    Supervisor,
    ApiServer,
    Node,
}

/// What the command line says.
#[derive(Debug, Clone)]
pub(crate) struct Flags {
    pub(crate) role: Role,
    pub(crate) endpoints: Vec<String>,
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) balancer: Option<SocketAddr>,
    pub(crate) service_cidr: String,
    pub(crate) pod_cidr: String,
    /// Certificates for etcd: whom to believe, what to show.
    pub(crate) tls: [Option<PathBuf>; 3],
}

fn addresses(text: &str) -> anyhow::Result<Vec<SocketAddr>> {
    let parse = |part: &str| {
        part.parse().with_context(|| format!("{part} is no address like 127.0.0.1:16443"))
    };
    text.split(',').map(parse).collect()
}

impl Flags {
    pub(crate) fn parse() -> anyhow::Result<Self> {
        let mut this = Self {
            role: Role::Supervisor,
            endpoints: Vec::new(),
            data_dir: "data".into(),
            listen: addresses("127.0.0.1:16443,127.0.0.1:16444,127.0.0.1:16445")?,
            balancer: None,
            service_cidr: "127.80.0.0/16".to_owned(),
            pod_cidr: "127.64.0.0/16".to_owned(),
            tls: [None, None, None],
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{name} needs a value"));
            match name.as_str() {
                "--endpoints" => {
                    this.endpoints = value()?.split(',').map(ToOwned::to_owned).collect();
                }
                "--data-dir" => this.data_dir = value()?.into(),
                "--listen" => this.listen = addresses(&value()?)?,
                "--balancer" => this.balancer = addresses(&value()?)?.first().copied(),
                "--service-cidr" => this.service_cidr = value()?,
                "--pod-cidr" => this.pod_cidr = value()?,
                "--etcd-ca" => this.tls[0] = Some(value()?.into()),
                "--etcd-cert" => this.tls[1] = Some(value()?.into()),
                "--etcd-key" => this.tls[2] = Some(value()?.into()),
                // How the processes of one cluster start each other.
                "--role" => {
                    this.role = match value()?.as_str() {
                        "api-server" => Role::ApiServer,
                        "node" => Role::Node,
                        other => bail!("{other} is no role; {USAGE}"),
                    };
                }
                other => bail!("{other} is not known; {USAGE}"),
            }
        }
        ensure!(!this.endpoints.is_empty(), "etcd's endpoints are needed; {USAGE}");
        Ok(this)
    }

    /// The arguments of a process that is `role` and listens on `listen`.
    pub(crate) fn arguments(&self, role: &str, listen: &[SocketAddr]) -> Vec<String> {
        let text = |addresses: &[SocketAddr]| {
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        let mut arguments = vec![
            ("--role", role.to_owned()),
            ("--endpoints", self.endpoints.join(",")),
            ("--data-dir", self.data_dir.display().to_string()),
            ("--listen", text(listen)),
            ("--service-cidr", self.service_cidr.clone()),
            ("--pod-cidr", self.pod_cidr.clone()),
        ];
        arguments.extend(self.balancer.map(|balancer| ("--balancer", balancer.to_string())));
        for (name, file) in ["--etcd-ca", "--etcd-cert", "--etcd-key"].iter().zip(&self.tls) {
            arguments.extend(file.as_ref().map(|file| (*name, file.display().to_string())));
        }
        arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    /// Where clients are sent: to the balancer, or to the first server.
    pub(crate) fn front(&self) -> anyhow::Result<SocketAddr> {
        let first = self.listen.first().copied();
        self.balancer.or(first).context("at least one address to listen on is needed")
    }
}
