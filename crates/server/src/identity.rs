//! Which host this server is: its name, and its number among the hosts.
//!
//! The number lets `/join` refuse a request for another host, which arrives here when a proxy still connects to
//! an address that belonged to that host before.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::dns::LookupError;
use crate::options::Options;
use crate::resolver::{Numbered, Resolver};

/// How long the name is looked up before the server does without it.
const LIMIT: Duration = Duration::from_secs(5);
/// How long to ask again after responses that do not hold the name: Docker may register a container's name a
/// moment after the container starts.
const SETTLE_TIME: Duration = Duration::from_secs(1);
/// Between two rounds of look-ups.
const INTERVAL: Duration = Duration::from_millis(100);

/// What the server knows about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// NAME in `/join`'s response.
    pub name: String,
    /// The number in the name, if it has the form that `/where` gives to hosts.
    pub number: Option<u64>,
}

impl Identity {
    /// The identity that the options give.
    ///
    /// # Errors
    /// If it must be looked up: how the hosts are named.
    pub fn from_options(options: &Options) -> Result<Self, &Numbered> {
        let Resolver::Numbered(numbered) = &options.resolver else {
            let name = options.name.clone().unwrap_or_else(|| options.hostname());
            return Ok(Self { name, number: None });
        };
        if let Some(name) = options.name.clone() {
            let number = numbered.number_of_label(&name).or_else(|| numbered.number_of_host(&name));
            return Ok(Self { name, number });
        }
        Self::from_label(&options.hostname(), numbered).ok_or(numbered)
    }

    /// The identity that a look-up of these addresses gives.
    ///
    /// # Errors
    /// The reason why there is none.
    pub async fn look_up<F>(
        numbered: &Numbered,
        addresses: &[IpAddr],
        lookup: impl Fn(IpAddr) -> F,
    ) -> Result<Self, String>
    where
        F: Future<Output = Result<Vec<String>, LookupError>>,
    {
        let mut reason = "no response to the reverse look-up".to_owned();
        let rounds = async {
            let start = Instant::now();
            loop {
                let mut failed = false;
                for &address in addresses {
                    match lookup(address).await {
                        Ok(names) => {
                            let labels = names.iter().filter_map(|name| name.split('.').next());
                            if let Some(found) = labels.filter_map(|it| Self::from_label(it, numbered)).next()
                            {
                                return Some(found);
                            }
                            reason = format!("the reverse look-up of {address} gives {names:?}");
                        }
                        Err(error) => {
                            failed = true;
                            reason = format!("the reverse look-up of {address} fails: {error}");
                        }
                    }
                }
                if !failed && start.elapsed() >= SETTLE_TIME {
                    return None;
                }
                sleep(INTERVAL).await;
            }
        };
        timeout(LIMIT, rounds).await.ok().flatten().ok_or(reason)
    }

    /// If `host`, as a `Host` header has it, is the name of another host than this one.
    pub fn is_other(&self, host: &str, resolver: &Resolver) -> bool {
        let (Some(own), Resolver::Numbered(numbered)) = (self.number, resolver) else { return false };
        numbered.number_of_host(without_port(host)).is_some_and(|number| number != own)
    }

    /// If this host has a number that no client gets: what is wrong, and how to mend it.
    pub fn excess(&self, resolver: &Resolver) -> Option<String> {
        let (Some(own), Resolver::Numbered(numbered)) = (self.number, resolver) else { return None };
        let first = u64::from(numbered.base);
        let last = first + u64::from(numbered.replicas) - 1;
        let Numbered { prefix, replicas, .. } = numbered;
        (!(first..=last).contains(&own)).then(|| {
            format!(
                "{name} owns no client: REPLICAS is {replicas}, so the owners are {prefix}-{first} to {prefix}-{last}. \
                 Set REPLICAS to the number of hosts; if one of the owners was removed, stop all hosts and start them \
                 again, so that they are numbered from {first}",
                name = self.name
            )
        })
    }

    fn from_label(label: &str, numbered: &Numbered) -> Option<Self> {
        let number = numbered.number_of_label(label)?;
        Some(Self { name: label.to_owned(), number: Some(number) })
    }
}

impl Numbered {
    /// N of `PREFIX-N`, in any case.
    fn number_of_label(&self, label: &str) -> Option<u64> {
        let (prefix, number) = label.rsplit_once('-')?;
        // Not left to `parse` alone, which takes a sign.
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        number.parse().ok().filter(|_| digits && prefix.eq_ignore_ascii_case(&self.prefix))
    }

    /// N of `PREFIX-NSUFFIX`, in any case, with or without a final dot.
    fn number_of_host(&self, host: &str) -> Option<u64> {
        let (host, suffix) = (without_dot(host), without_dot(&self.suffix));
        let (label, end) = host.split_at_checked(host.len().checked_sub(suffix.len())?)?;
        if end.eq_ignore_ascii_case(suffix) { self.number_of_label(label) } else { None }
    }
}

fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{pending, ready};

    use pinroute_core::mode::IndexMode;

    use super::*;

    const ADDRESSES: [IpAddr; 2] = [
        IpAddr::V4(std::net::Ipv4Addr::new(172, 18, 0, 2)),
        IpAddr::V4(std::net::Ipv4Addr::new(172, 19, 0, 2)),
    ];

    fn numbered(suffix: &str) -> Numbered {
        Numbered {
            prefix: "demo-server".to_owned(),
            suffix: suffix.to_owned(),
            replicas: 2,
            mode: IndexMode::Hash,
            base: 1,
        }
    }

    fn options(name: Option<&str>, hostname: &str, resolver: Resolver) -> Options {
        Options {
            address: "127.0.0.1:0".parse().unwrap(),
            name: name.map(str::to_owned),
            hostname: Some(hostname.to_owned()),
            resolver,
        }
    }

    fn identity(name: &str, number: Option<u64>) -> Identity {
        Identity { name: name.to_owned(), number }
    }

    #[test]
    fn options_give_the_name_in_order_of_precedence() {
        let read = |name, hostname| {
            Identity::from_options(&options(name, hostname, Resolver::Numbered(numbered(".svc")))).ok()
        };
        let two = Some(identity("demo-server-2", Some(2)));
        assert_eq!(read(Some("demo-server-2"), "demo-server-1"), two);
        assert_eq!(read(None, "demo-server-2"), two);
        assert_eq!(read(Some("demo-server-2.svc"), "box"), Some(identity("demo-server-2.svc", Some(2))));
        assert_eq!(read(Some("alpha"), "demo-server-1"), Some(identity("alpha", None)));
        assert_eq!(read(None, "4d1f0c2b9a55"), None);
    }

    #[test]
    fn without_a_prefix_nothing_is_looked_up() {
        let read = |name| Identity::from_options(&options(name, "box", Resolver::Itself)).ok();
        assert_eq!(read(None), Some(identity("box", None)));
        assert_eq!(read(Some("server-1")), Some(identity("server-1", None)));
    }

    #[test]
    fn only_a_label_with_the_prefix_and_a_number_counts() {
        let plain = numbered("");
        for (label, number) in [
            ("demo-server-1", Some(1)),
            ("Demo-Server-12", Some(12)),
            ("demo-server-4294967296", Some(4_294_967_296)),
            ("demo-server-", None),
            ("demo-server", None),
            ("demo-server-+1", None),
            ("demo-server-1a", None),
            ("demo-server--1", None),
            ("other-1", None),
            ("demo-server-99999999999999999999", None),
            ("", None),
        ] {
            assert_eq!(plain.number_of_label(label), number, "{label}");
        }
    }

    #[test]
    fn a_host_with_a_number_beyond_the_replicas_is_in_excess() {
        let resolver = Resolver::Numbered(numbered(""));
        for number in [None, Some(1), Some(2)] {
            assert_eq!(identity("demo-server", number).excess(&resolver), None, "{number:?}");
        }
        for number in [0, 3] {
            let message = identity("demo-server-x", Some(number)).excess(&resolver).unwrap();
            let start = "demo-server-x owns no client: REPLICAS is 2, so the owners are demo-server-1 to demo-server-2. ";
            assert!(message.starts_with(start), "{message}");
        }
        assert_eq!(identity("demo-server-3", Some(3)).excess(&Resolver::Itself), None);
    }

    #[test]
    fn another_host_is_one_with_the_prefix_the_suffix_and_another_number() {
        let own = identity("demo-server-1", Some(1));
        let plain = Resolver::Numbered(numbered(""));
        let suffixed = Resolver::Numbered(numbered(".svc.local"));
        for (host, other, other_with_suffix) in [
            ("demo-server-1", false, false),
            ("demo-server-1:8081", false, false),
            ("demo-server-2", true, false),
            ("DEMO-SERVER-2:8081", true, false),
            ("demo-server-2.", true, false),
            ("demo-server-2:", true, false),
            ("demo-server-1.svc.local:80", false, false),
            ("demo-server-2.svc.local:80", false, true),
            ("Demo-Server-2.SVC.local.", false, true),
            ("demo-server-2.svc.local:x", false, false),
            ("demo-server-x", false, false),
            ("localhost:8081", false, false),
            ("[::1]:8081", false, false),
            ("é", false, false),
            ("", false, false),
        ] {
            assert_eq!(own.is_other(host, &plain), other, "{host}");
            assert_eq!(own.is_other(host, &suffixed), other_with_suffix, "{host} with a suffix");
            assert!(!identity("alpha", None).is_other(host, &plain), "{host} without a number");
            assert!(!own.is_other(host, &Resolver::Itself), "{host} without a prefix");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_label_of_any_address_is_the_name() {
        let lookup = |address| {
            let name = if address == ADDRESSES[0] { "gateway.local." } else { "demo-server-2.demo_default." };
            ready(Ok(vec!["localhost".to_owned(), name.to_owned()]))
        };
        let found = Identity::look_up(&numbered(".svc"), &ADDRESSES, lookup).await;
        assert_eq!(found, Ok(identity("demo-server-2", Some(2))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_comes_late_is_found() {
        let calls = Cell::new(0);
        let lookup = |_| {
            calls.set(calls.get() + 1);
            ready(match calls.get() {
                1 => Ok(Vec::new()),
                2..=20 => Err(LookupError::from("refused")),
                _ => Ok(vec!["demo-server-1.".to_owned()]),
            })
        };
        let found = Identity::look_up(&numbered(""), &ADDRESSES[..1], lookup).await;
        assert_eq!(found, Ok(identity("demo-server-1", Some(1))));
    }

    #[tokio::test(start_paused = true)]
    async fn another_name_is_given_up_after_a_second_and_a_failure_after_five() {
        let names = |_| ready(Ok(vec!["box.local.".to_owned()]));
        let failure = |_| ready(Err(LookupError::from("refused")));
        let silence = |_| pending();
        let (numbered, addresses) = (numbered(""), &ADDRESSES[..1]);

        let start = Instant::now();
        let reason = Identity::look_up(&numbered, addresses, names).await.unwrap_err();
        assert_eq!(reason, r#"the reverse look-up of 172.18.0.2 gives ["box.local."]"#);
        assert_eq!(start.elapsed().as_secs(), 1);

        let reason = Identity::look_up(&numbered, addresses, failure).await.unwrap_err();
        assert_eq!(reason, "the reverse look-up of 172.18.0.2 fails: refused");
        let reason = Identity::look_up(&numbered, addresses, silence).await.unwrap_err();
        assert_eq!(reason, "no response to the reverse look-up");
        assert_eq!(start.elapsed().as_secs(), 11);
    }
}
