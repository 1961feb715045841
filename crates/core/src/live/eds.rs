//! The Endpoint Discovery Service: the endpoints of a cluster.

use super::compile::{Compiled, Compiler};
use super::discovery::find;
use super::endpoints::{Identity, Reported};
use super::snapshot::Snapshot;
use crate::protobuf::{ClusterLoadAssignment, LbEndpoint};
use prost_types::value::Kind;
use prost_types::{Any, Struct};

/// The type of the resource.
pub const TYPE_URL: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
/// The gRPC service.
pub const SERVICE: &str = "envoy.service.endpoint.v3.EndpointDiscoveryService";
/// The method of the service.
pub const METHOD: &str = "StreamEndpoints";

/// The namespace and the name of the metadata that identifies a host.
const NAMESPACE: &str = "envoy.lb";
const HOST_ID: &str = "host_id";

/// `envoy.config.core.v3.HealthStatus`: UNHEALTHY, DRAINING and TIMEOUT.
const UNHEALTHY: [i32; 3] = [2, 3, 4];

/// The endpoints of the assignment `name`, as those of `cluster`. Without that assignment, nothing changes.
///
/// # Errors
/// Why the response cannot be used.
pub fn read(
    resources: &[Any],
    name: &str,
    cluster: &str,
    version: u64,
    last: &Snapshot,
) -> Result<Option<Compiled>, String> {
    let assignment =
        find(resources, TYPE_URL, name, |assignment: &ClusterLoadAssignment| &assignment.cluster_name)?;
    Ok(assignment.map(|assignment| {
        let endpoints = assignment.endpoints.into_iter().flat_map(|locality| locality.lb_endpoints);
        let reported: Vec<Reported> = endpoints.filter_map(reported).collect();
        let mut compiler = Compiler::new(cluster, last);
        compiler.add_endpoints(&reported);
        compiler.finish(version)
    }))
}

/// An endpoint at an IP address; no other can be selected by a request.
fn reported(endpoint: LbEndpoint) -> Option<Reported> {
    let LbEndpoint { endpoint, health_status, metadata } = endpoint;
    let endpoint = endpoint?;
    let socket = endpoint.address?.socket_address?;
    let id = metadata.and_then(|mut metadata| identity(&metadata.filter_metadata.remove(NAMESPACE)?));
    let hostname = Some(endpoint.hostname).filter(|name| !name.is_empty()).map(Identity::Hostname);
    Reported::new(id.or(hostname), &socket.address, socket.port_value, !UNHEALTHY.contains(&health_status))
}

fn identity(metadata: &Struct) -> Option<Identity> {
    match metadata.fields.get(HOST_ID)?.kind.as_ref()? {
        Kind::NumberValue(number)
            if number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(number) =>
        {
            Some(Identity::Number(*number as u32))
        }
        Kind::StringValue(name) if !name.is_empty() => Some(Identity::Name(name.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::value::Number;
    use crate::protobuf::{Address, Endpoint, LocalityLbEndpoints, Metadata, SocketAddress};
    use prost::Message;
    use prost_types::Value;

    fn endpoint(ip: &str, hostname: &str, health_status: i32, host_id: Option<Kind>) -> LbEndpoint {
        let socket = SocketAddress { address: ip.to_owned(), port_value: 80 };
        let address = Some(Address { socket_address: Some(socket) });
        let fields =
            host_id.map(|kind| (HOST_ID.to_owned(), Value { kind: Some(kind) })).into_iter().collect();
        let filter_metadata = [(NAMESPACE.to_owned(), Struct { fields })].into();
        LbEndpoint {
            endpoint: Some(Endpoint { address, hostname: hostname.to_owned() }),
            health_status,
            metadata: Some(Metadata { filter_metadata }),
        }
    }

    fn assignment(endpoints: &[LbEndpoint]) -> Any {
        let halves = endpoints.chunks(2).map(|half| LocalityLbEndpoints { lb_endpoints: half.to_vec() });
        let assignment = ClusterLoadAssignment { cluster_name: "c".to_owned(), endpoints: halves.collect() };
        Any { type_url: TYPE_URL.to_owned(), value: assignment.encode_to_vec() }
    }

    fn compiled(endpoints: &[LbEndpoint], last: &Snapshot) -> Compiled {
        read(&[assignment(endpoints)], "c", "cluster.a", 7, last).unwrap().unwrap()
    }

    fn shown(snapshot: &Snapshot) -> Vec<String> {
        let endpoints = snapshot.endpoints().unwrap();
        let host = |place| {
            let host = endpoints.host(place).unwrap();
            let addresses = host
                .addresses
                .iter()
                .map(|one| format!(" {}{}", one.text, if one.is_healthy { "" } else { "!" }));
            format!("{}{}", host.name, addresses.collect::<String>())
        };
        (0..endpoints.count()).map(host).collect()
    }

    #[test]
    fn identity_and_health_are_read() {
        let list = [
            endpoint("10.0.0.1", "a", 0, None),
            endpoint("10.0.0.2", "b", 1, Some(Kind::StringValue("id".to_owned()))),
            endpoint("10.0.0.3", "c", 2, None),
            endpoint("10.0.0.4", "", 5, None),
            endpoint("/pipe", "d", 0, None),
            endpoint("10.0.0.5", "e", 3, Some(Kind::NumberValue(0.5))),
        ];
        let Compiled { snapshot, skipped } = compiled(&list, &Snapshot::default());
        assert_eq!(
            shown(&snapshot),
            [
                "10.0.0.4:80 10.0.0.4:80",
                "a 10.0.0.1:80",
                "c 10.0.0.3:80!",
                "e 10.0.0.5:80!",
                "id 10.0.0.2:80"
            ]
        );
        assert_eq!((snapshot.number(Number::TotalHosts), skipped.len()), (Some(5), 0));
        let opened = Snapshot::open(snapshot.bytes().to_vec()).unwrap();
        assert_eq!(opened, snapshot, "another VM reads the same");
    }

    #[test]
    fn numbers_are_places() {
        let numbered = |number, ip| endpoint(ip, "x", 0, Some(Kind::NumberValue(number)));
        let list = [numbered(2.0, "10.0.0.2"), numbered(0.0, "10.0.0.1")];
        let snapshot = compiled(&list, &Snapshot::default()).snapshot;
        assert_eq!(shown(&snapshot), ["0 10.0.0.1:80", "1", "2 10.0.0.2:80"]);
        assert_eq!(snapshot.number(Number::TotalHosts), Some(3));
    }

    #[test]
    fn no_endpoints_leave_the_last_ones() {
        let last = compiled(&[endpoint("10.0.0.1", "a", 0, None)], &Snapshot::default()).snapshot;
        let Compiled { snapshot, skipped } = compiled(&[], &last);
        assert!(snapshot.has_same_values(&last) && skipped.len() == 1, "{skipped:?}");
        let other = Any { type_url: TYPE_URL.to_owned(), value: Vec::new() };
        assert!(read(&[other], "c", "a", 1, &last).unwrap().is_none());
        let garbage = Any { type_url: TYPE_URL.to_owned(), value: vec![0xff] };
        assert!(read(&[garbage], "c", "a", 1, &last).unwrap_err().contains("cannot be decoded"));
    }
}
