//! Handing out what Services share: cluster addresses and node ports.
//!
//! Each is claimed by a key of its own in the transaction that writes the Service, so two
//! Services never get the same one, whichever servers write them, and nothing has to be repaired.
//! An address's claim is an `IPAddress` object.
//! <https://kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation/>

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::api::networking::v1::{IPAddress, IPAddressSpec, ParentReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kcore::kind::Typed;
use kcore::name::Resource;
use kcore::object::Encoded;
use kcore::status::{Cause, Status};
use kstore::{Compare, Op, Value};

use super::commit::Extras;
use super::{ClusterView, Result, Server};
use crate::strategy::NONE;
use crate::versions::of;

/// Where node ports are claimed.
const NODE_PORTS: &str = "/registry/ranges/nodeports/";

/// What a Service holds of what is shared.
#[derive(Debug, Default, PartialEq, Eq)]
struct Holdings {
    addresses: BTreeSet<IpAddr>,
    ports: BTreeSet<(i32, String)>,
}

impl Holdings {
    fn of(spec: Option<&ServiceSpec>) -> Self {
        let Some(spec) = spec else { return Self::default() };
        let addresses = spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten());
        let ports = spec.ports.iter().flatten().filter_map(|port| {
            let number = port.node_port.filter(|number| *number != 0)?;
            Some((number, port.protocol.clone().unwrap_or_default()))
        });
        Self {
            addresses: addresses.filter_map(|address| address.parse().ok()).collect(),
            ports: ports.collect(),
        }
    }
}

impl Server {
    /// Whether something may be handed out to an object.
    pub(super) fn allocates(object: &dyn Typed) -> bool {
        object.as_any().is::<Service>()
    }

    /// Gives a Service what it asks for, and says what its write has to claim and give back.
    /// For objects of other kinds there is nothing to do.
    pub(super) fn allocate(
        &self,
        new: Option<&mut dyn Typed>,
        old: Option<&dyn Typed>,
    ) -> Result<Extras> {
        let old = old.and_then(|old| old.as_any().downcast_ref::<Service>());
        let mut new = new.and_then(|new| new.as_any_mut().downcast_mut::<Service>());
        if old.is_none() && new.is_none() {
            return Ok(Extras::default());
        }
        let before = Holdings::of(old.and_then(|old| old.spec.as_ref()));
        if let Some(service) = &mut new {
            self.fill_in(service, &before)?;
        }
        let after = Holdings::of(new.as_ref().and_then(|new| new.spec.as_ref()));
        if after == before {
            return Ok(Extras::default());
        }
        let mut extras = Extras::default();
        if let Some(service) = new {
            self.claim(service, &before, &after, &mut extras)?;
        }
        for address in before.addresses.difference(&after.addresses) {
            extras.ops.push(Op::delete(self.address_key(*address)?));
        }
        for port in before.ports.difference(&after.ports) {
            extras.ops.push(Op::delete(port_key(port)));
        }
        Ok(extras)
    }

    /// Chooses what the Service leaves open, and refuses what cannot be had.
    fn fill_in(&self, service: &mut Service, before: &Holdings) -> Result<()> {
        let name = service.metadata.name.clone().unwrap_or_default();
        let Some(spec) = &mut service.spec else { return Ok(()) };
        let kind = spec.type_.clone().unwrap_or_default();
        if kind == "ExternalName" {
            return Ok(());
        }
        self.fill_in_address(&name, spec, before)?;
        let opened = kind == "NodePort"
            || (kind == "LoadBalancer" && spec.allocate_load_balancer_node_ports != Some(false));
        let mut taken = self.taken_ports();
        for (at, port) in spec.ports.iter_mut().flatten().enumerate() {
            let protocol = port.protocol.clone().unwrap_or_default();
            let asked = port.node_port.unwrap_or_default();
            let field = format!("spec.ports[{at}].nodePort");
            match asked {
                0 if opened => {
                    let free = self.free_port(&protocol, &taken).ok_or_else(|| {
                        invalid(
                            &name,
                            &field,
                            asked,
                            "failed to allocate a nodePort: range is full",
                        )
                    })?;
                    taken.insert((free, protocol));
                    port.node_port = Some(free);
                }
                0 => {}
                asked => {
                    let range = &self.options.node_ports;
                    let number = u16::try_from(asked).ok().filter(|n| range.contains(n));
                    if number.is_none() {
                        let detail = format!(
                            "provided port is not in the valid range. The range of valid ports is \
                             {}-{}",
                            range.start(),
                            range.end()
                        );
                        return Err(invalid(&name, &field, asked, &detail).into());
                    }
                    let held = (asked, protocol);
                    if taken.contains(&held) && !before.ports.contains(&held) {
                        let detail = "provided port is already allocated";
                        return Err(invalid(&name, &field, asked, detail).into());
                    }
                    taken.insert(held);
                }
            }
        }
        Ok(())
    }

    fn fill_in_address(&self, name: &str, spec: &mut ServiceSpec, before: &Holdings) -> Result<()> {
        let cidr = &self.options.service_cidr;
        let listed = spec.cluster_ips.as_ref().and_then(|all| all.first()).cloned();
        let asked = spec.cluster_ip.clone().filter(|text| !text.is_empty()).or(listed);
        let family = |v4: bool| if v4 { "IPv4" } else { "IPv6" }.to_owned();
        let address = match asked.as_deref() {
            Some(NONE) => {
                spec.cluster_ip = Some(NONE.to_owned());
                spec.cluster_ips = Some(vec![NONE.to_owned()]);
                spec.ip_families.get_or_insert_with(|| vec![family(cidr.first().is_ipv4())]);
                spec.ip_family_policy.get_or_insert_with(|| "SingleStack".to_owned());
                return Ok(());
            }
            Some(text) => {
                // Validation has seen that it is an address.
                let Ok(address) = text.parse::<IpAddr>() else { return Ok(()) };
                let refused = |why: &str| {
                    let detail = format!("failed to allocate IP {address}: {why}");
                    Err(invalid(name, "spec.clusterIPs", [text], &detail).into())
                };
                if !cidr.contains(address) {
                    return refused(&format!(
                        "the provided IP ({address}) is not in the valid range. The range of \
                         valid IPs is {cidr}"
                    ));
                }
                if self.is_taken(&address) && !before.addresses.contains(&address) {
                    return refused("provided IP is already allocated");
                }
                address
            }
            None => cidr.pick(&self.options.random, |address| self.is_taken(address)).ok_or_else(
                || {
                    let detail = format!("failed to allocate an IP: range {cidr} is full");
                    invalid(name, "spec.clusterIPs", "", &detail)
                },
            )?,
        };
        spec.cluster_ip = Some(address.to_string());
        spec.cluster_ips = Some(vec![address.to_string()]);
        spec.ip_families = Some(vec![family(address.is_ipv4())]);
        spec.ip_family_policy.get_or_insert_with(|| "SingleStack".to_owned());
        Ok(())
    }

    fn is_taken(&self, address: &IpAddr) -> bool {
        let resource = Resource::of::<IPAddress>();
        ClusterView::get(self, &resource, "", &address.to_string()).is_some()
    }

    fn taken_ports(&self) -> BTreeSet<(i32, String)> {
        let services = ClusterView::list(self, &Resource::of::<Service>(), None);
        services
            .iter()
            .filter_map(|object| object.view::<Service>().ok())
            .flat_map(|service| Holdings::of(service.spec.as_ref()).ports)
            .collect()
    }

    /// A free port: first at random, then wherever one is left.
    fn free_port(&self, protocol: &str, taken: &BTreeSet<(i32, String)>) -> Option<i32> {
        /// Random tries before the range is walked.
        const TRIES: usize = 32;
        let range = &self.options.node_ports;
        let span = u64::from(range.end().saturating_sub(*range.start())) + 1;
        let free = |port: &u16| !taken.contains(&(i32::from(*port), protocol.to_owned()));
        let tries = (0..TRIES).map(|_| {
            // Below the span of the range, so it fits.
            range.start() + self.options.random.below(span) as u16
        });
        tries.chain(range.clone()).find(free).map(i32::from)
    }

    fn claim(
        &self,
        service: &Service,
        before: &Holdings,
        after: &Holdings,
        extras: &mut Extras,
    ) -> Result<()> {
        for address in after.addresses.difference(&before.addresses) {
            let key = self.address_key(*address)?;
            let encoded = self.address_object(*address, service)?;
            let value = Value::new(encoded.bytes().clone());
            extras.compares.push(Compare::absent(key.clone()));
            extras.ops.push(Op::put(key, value));
        }
        let meta = &service.metadata;
        let owner = format!(
            "{}/{}",
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default()
        );
        for port in after.ports.difference(&before.ports) {
            let key = port_key(port);
            extras.compares.push(Compare::absent(key.clone()));
            extras.ops.push(Op::put(key, Value::new(owner.clone())));
        }
        Ok(())
    }

    fn address_key(&self, address: IpAddr) -> Result<String> {
        Ok(self.row(&Resource::of::<IPAddress>())?.key("", &address.to_string()))
    }

    fn address_object(&self, address: IpAddr, service: &Service) -> Result<Encoded> {
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let labels = [
            ("ipaddress.kubernetes.io/ip-family", family),
            ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io"),
        ];
        let object = IPAddress {
            metadata: ObjectMeta {
                name: Some(address.to_string()),
                uid: Some(self.options.random.uuid()),
                creation_timestamp: Some(Time(self.options.clock.now())),
                generation: Some(1),
                labels: Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
                ..ObjectMeta::default()
            },
            spec: of(IPAddressSpec {
                parent_ref: of(ParentReference {
                    group: Some(String::new()),
                    resource: of("services".to_owned()),
                    namespace: service.metadata.namespace.clone(),
                    name: of(service.metadata.name.clone().unwrap_or_default()),
                }),
            }),
        };
        Encoded::from_typed(Box::new(object), Vec::new())
            .map_err(|error| Status::internal(error).into())
    }
}

fn port_key((port, protocol): &(i32, String)) -> String {
    format!("{NODE_PORTS}{protocol}/{port}")
}

fn invalid(name: &str, field: &str, value: impl serde::Serialize, detail: &str) -> Status {
    let value = serde_json::to_string(&value).unwrap_or_default();
    let cause = Cause {
        reason: "FieldValueInvalid".to_owned(),
        message: format!("Invalid value: {value}: {detail}"),
        field: field.to_owned(),
    };
    Status::invalid("", "Service", name, vec![cause])
}
