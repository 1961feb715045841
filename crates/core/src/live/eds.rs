//! The Endpoint Discovery Service: the endpoints of a cluster.

use super::compile::{Compiled, Compiler};
use super::discovery::find;
use super::endpoints::{Identity, Reported};
use super::snapshot::Snapshot;
use crate::protobuf::{ClusterLoadAssignment, LbEndpoint};
use crate::shard::MAX_HOSTS;
use prost_types::Any;
use prost_types::value::Kind;

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
    let Some(assignment) = assignment else { return Ok(None) };
    let endpoints = assignment.endpoints.into_iter().flat_map(|locality| locality.lb_endpoints);
    let reported: Vec<Reported> =
        endpoints.filter_map(|one| reported(one).transpose()).collect::<Result<_, _>>()?;
    let numbered = reported.iter().filter(|one| matches!(one.identity, Some(Identity::Number(_)))).count();
    if numbered != 0 && numbered != reported.len() {
        // With some of them named, all would be, and every shard would be another.
        return Err(format!(
            "{numbered} of {} endpoints have a number as {HOST_ID}: all or none must",
            reported.len()
        ));
    }
    let mut compiler = Compiler::new(cluster, last);
    compiler.add_endpoints(&reported)?;
    Ok(Some(compiler.finish(version)))
}

/// An endpoint at an IP address; no other can be selected by a request.
fn reported(endpoint: LbEndpoint) -> Result<Option<Reported>, String> {
    let LbEndpoint { endpoint, health_status, metadata } = endpoint;
    let Some(endpoint) = endpoint else { return Ok(None) };
    let Some(socket) = endpoint.address.and_then(|address| address.socket_address) else { return Ok(None) };
    let is_healthy = !UNHEALTHY.contains(&health_status);
    let Some(reported) = Reported::new(None, &socket.address, socket.port_value, is_healthy) else {
        return Ok(None);
    };
    let metadata = metadata.and_then(|mut metadata| metadata.filter_metadata.remove(NAMESPACE));
    let id = metadata.as_ref().and_then(|metadata| metadata.fields.get(HOST_ID)?.kind.as_ref());
    let id = match id.map(identity).transpose() {
        Ok(id) => id.flatten(),
        Err(value) => {
            let expected = format!("a number from 0 to {} or text", MAX_HOSTS - 1);
            return Err(format!(
                "{}: {NAMESPACE} {HOST_ID}: must be {expected}, not {value}",
                reported.address
            ));
        }
    };
    let hostname = Some(endpoint.hostname).filter(|name| !name.is_empty()).map(Identity::Hostname);
    Ok(Some(Reported { identity: id.or(hostname), ..reported }))
}

/// The identity that this value of the metadata is, or the value if it can be none.
fn identity(id: &Kind) -> Result<Option<Identity>, String> {
    match id {
        Kind::NumberValue(number)
            if number.fract() == 0.0 && (0.0..f64::from(MAX_HOSTS)).contains(number) =>
        {
            Ok(Some(Identity::Number(*number as u32)))
        }
        Kind::NumberValue(number) => Err(number.to_string()),
        Kind::StringValue(name) => {
            Ok(Some(name).filter(|name| !name.is_empty()).cloned().map(Identity::Name))
        }
        Kind::NullValue(_) => Ok(None),
        Kind::BoolValue(value) => Err(value.to_string()),
        Kind::StructValue(_) => Err("an object".to_owned()),
        Kind::ListValue(_) => Err("a list".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::value::Number;
    use crate::protobuf::{Address, Endpoint, LocalityLbEndpoints, Metadata, SocketAddress};
    use prost::Message;
    use prost_types::{Struct, Value};

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
            endpoint("10.0.0.5", "e", 3, Some(Kind::NullValue(0))),
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
    fn an_id_that_would_make_names_of_all_numbers_is_refused() {
        let refused = |kind| {
            let list = [
                endpoint("10.0.0.1", "a", 0, Some(Kind::NumberValue(0.0))),
                endpoint("10.0.0.2", "b", 0, kind),
            ];
            read(&[assignment(&list)], "c", "a", 1, &Snapshot::default()).unwrap_err()
        };
        assert_eq!(refused(None), "1 of 2 endpoints have a number as host_id: all or none must");
        let text = Some(Kind::StringValue("1".to_owned()));
        assert_eq!(refused(text), "1 of 2 endpoints have a number as host_id: all or none must");
        let must_be = "10.0.0.2:80: envoy.lb host_id: must be a number from 0 to 65535 or text, not";
        for (kind, shown) in [
            (Kind::NumberValue(0.5), "0.5"),
            (Kind::NumberValue(-1.0), "-1"),
            (Kind::NumberValue(65_536.0), "65536"),
            (Kind::NumberValue(f64::NAN), "NaN"),
            (Kind::BoolValue(true), "true"),
            (Kind::StructValue(Struct::default()), "an object"),
        ] {
            assert_eq!(refused(Some(kind)), format!("{must_be} {shown}"));
        }
    }

    #[test]
    fn no_endpoints_leave_the_last_ones() {
        let last = compiled(&[endpoint("10.0.0.1", "a", 0, None)], &Snapshot::default()).snapshot;
        let refused = |list: &[LbEndpoint]| read(&[assignment(list)], "c", "a", 1, &last).unwrap_err();
        assert_eq!(refused(&[]), "0 endpoints at IP addresses; must be 1 to 65536 hosts");
        assert!(refused(&[endpoint("/pipe", "d", 0, None)]).starts_with("0 endpoints"));
        let many: Vec<_> = (0..=MAX_HOSTS)
            .map(|host| endpoint(&std::net::Ipv4Addr::from(host).to_string(), "", 0, None))
            .collect();
        assert!(refused(&many).starts_with("65537 endpoints"), "{}", refused(&many));
        let other = Any { type_url: TYPE_URL.to_owned(), value: Vec::new() };
        assert!(read(&[other], "c", "a", 1, &last).unwrap().is_none());
        let garbage = Any { type_url: TYPE_URL.to_owned(), value: vec![0xff] };
        assert!(read(&[garbage], "c", "a", 1, &last).unwrap_err().contains("cannot be decoded"));
    }
}
