//! Which VM of the process may talk to a server: the one that holds the lease.
//!
//! The lease is shared data that holds a time, because shared data outlives a VM that crashes. It is taken and renewed
//! by compare-and-set. Envoy does not check a compare-and-set on an absent key, so the lease is created first, expired,
//! when a configuration is read: before any worker has a VM of its own.

use super::vm::Vm;
use crate::time::Time;
use std::time::Duration;

/// How long a lease lasts unless it is renewed: how long values may stand still when its VM crashes.
const DURATION: Duration = Duration::from_secs(1);

/// How long after it was taken it is renewed.
const RENEW_AFTER: Duration = Duration::from_millis(250);

/// A lease as one VM sees it.
#[derive(Debug)]
pub struct Lease {
    key: String,
    own_id: u64,
    held_until: Time,
    next_look: Time,
}

/// The shared data.
#[derive(Clone, Copy, Debug)]
struct Record {
    /// 0 for nobody.
    holder: u64,
    until: u64,
}

const FREE: Record = Record { holder: 0, until: 0 };

impl Lease {
    /// The lease called `name`, for a VM that identifies itself by a number drawn at random. Creates the lease if
    /// it does not exist.
    pub fn new(name: &str, random: u64, vm: &impl Vm) -> Self {
        let key = format!("pinroute lease {name}");
        if vm.shared(&key).is_none() {
            FREE.write(&key, None, vm);
        }
        // 0 is nobody.
        Self { key, own_id: random | 1, held_until: Time::default(), next_look: Time::default() }
    }

    /// Takes or renews the lease if that is due. Returns whether this VM holds it.
    pub fn hold(&mut self, now: Time, vm: &impl Vm) -> bool {
        if now >= self.next_look {
            self.look(now, vm);
        }
        now < self.held_until
    }

    fn look(&mut self, now: Time, vm: &impl Vm) {
        let Some((record, cas)) = Record::read(&self.key, vm) else {
            FREE.write(&self.key, None, vm);
            return;
        };
        let until = now + DURATION;
        // A clock that was set back must not keep a lease in force for ever.
        let in_force = now.as_millis() < record.until && record.until <= until.as_millis();
        if record.holder != self.own_id && in_force {
            (self.held_until, self.next_look) = (Time::default(), Time::from_millis(record.until));
            return;
        }
        let taken = Record { holder: self.own_id, until: until.as_millis() }.write(&self.key, cas, vm);
        self.held_until = if taken { until } else { Time::default() };
        self.next_look = now + RENEW_AFTER;
    }

    /// Lets other VMs have it at once.
    pub fn give_up(&mut self, vm: &impl Vm) {
        if let Some((Record { holder, .. }, cas)) = Record::read(&self.key, vm) {
            if holder == self.own_id {
                FREE.write(&self.key, cas, vm);
            }
        }
        self.held_until = Time::default();
    }
}

impl Record {
    fn read(key: &str, vm: &impl Vm) -> Option<(Self, Option<u32>)> {
        let (bytes, cas) = vm.shared(key)?;
        let (holder, until) = bytes.split_first_chunk()?;
        let record =
            Self { holder: u64::from_le_bytes(*holder), until: u64::from_le_bytes(until.try_into().ok()?) };
        Some((record, cas))
    }

    fn write(self, key: &str, cas: Option<u32>, vm: &impl Vm) -> bool {
        vm.set_shared(key, &[self.holder.to_le_bytes(), self.until.to_le_bytes()].concat(), cas)
    }
}

#[cfg(test)]
mod tests {
    use super::super::vm::fake::FakeProcess;
    use super::super::vm::{Node, Vm};
    use super::*;
    use std::cell::RefCell;

    fn at(millis: u64) -> Time {
        Time::from_millis(1_000_000 + millis)
    }

    #[test]
    fn one_vm_holds_it_and_another_follows_when_it_is_not_renewed() {
        let process = FakeProcess::default();
        let [mut a, mut b] = [1, 3].map(|id| Lease::new("x", id, &process));
        assert!(a.hold(at(0), &process));
        assert!(!b.hold(at(10), &process));
        assert!(a.hold(at(250), &process), "renewed until 1250");
        assert!(!b.hold(at(1_100), &process), "the renewal counts");
        assert!(!b.hold(at(1_249), &process));
        assert!(b.hold(at(1_250), &process), "expired");
        assert!(!a.hold(at(1_300), &process), "the former holder notices");
    }

    #[test]
    fn a_holder_that_gives_up_lets_the_next_one_have_it_at_once() {
        let process = FakeProcess::default();
        let [mut a, mut b] = [1, 3].map(|id| Lease::new("x", id, &process));
        assert!(a.hold(at(0), &process));
        b.give_up(&process);
        assert!(!b.hold(at(10), &process), "only the holder can give it up");
        a.give_up(&process);
        let mut c = Lease::new("x", 5, &process);
        assert!(c.hold(at(20), &process));
    }

    #[test]
    fn leases_of_other_names_do_not_matter() {
        let process = FakeProcess::default();
        let (mut a, mut b) = (Lease::new("x", 1, &process), Lease::new("y", 3, &process));
        assert!(a.hold(at(0), &process) && b.hold(at(0), &process));
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_keep_a_lease_in_force() {
        let process = FakeProcess::default();
        let [mut a, mut b] = [1, 3].map(|id| Lease::new("x", id, &process));
        assert!(a.hold(at(3_600_000), &process));
        assert!(b.hold(at(0), &process), "until is further away than a lease lasts");
    }

    /// A process in which another VM writes between this VM's reading and writing.
    struct Race<'p>(&'p FakeProcess, RefCell<Vec<u8>>);

    impl Vm for Race<'_> {
        fn node(&self) -> Node {
            self.0.node()
        }

        fn shared(&self, key: &str) -> Option<(Vec<u8>, Option<u32>)> {
            let read = self.0.shared(key);
            let rival = self.1.take();
            if !rival.is_empty() {
                self.0.set_shared(key, &rival, None);
            }
            read
        }

        fn set_shared(&self, key: &str, value: &[u8], cas: Option<u32>) -> bool {
            self.0.set_shared(key, value, cas)
        }
    }

    #[test]
    fn of_two_vms_that_take_it_at_once_one_gets_it() {
        let process = FakeProcess::default();
        let mut a = Lease::new("x", 1, &process);
        let rival = [7_u64.to_le_bytes(), at(1_000).as_millis().to_le_bytes()].concat();
        let race = Race(&process, RefCell::new(rival));
        assert!(!a.hold(at(0), &race), "the other VM wrote first");
        assert!(!a.hold(at(999), &race));
    }
}
