//! Which VM of the process may talk to a server: the one that holds the lease.
//!
//! The lease is shared data, which outlives a VM that crashes. It holds no time, so it depends neither on the clocks of
//! two VMs nor on a clock that is set back: the holder counts up, and a VM that sees no progress for the duration of a
//! lease takes it over. It is taken and renewed by compare-and-set. Envoy does not check a compare-and-set on an absent
//! key, so the lease is created first, free, when a configuration is read: before any worker has a VM of its own.

use super::vm::Vm;
use crate::time::Time;
use std::time::Duration;

/// How long a lease lasts unless it is renewed: how long values may stand still when its VM crashes.
const DURATION: Duration = Duration::from_secs(1);

/// How long after it was taken it is renewed, and how often other VMs look at it.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A lease as one VM sees it.
#[derive(Debug)]
pub struct Lease {
    key: String,
    own_id: u64,
    held_until: Time,
    next_look: Time,
    /// What another holder wrote last, and when this VM first saw it.
    seen: Option<(Record, Time)>,
}

/// The shared data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    /// 0 for nobody.
    holder: u64,
    /// Changes with each renewal.
    count: u64,
}

const FREE: Record = Record { holder: 0, count: 0 };

impl Lease {
    /// The lease called `name`, for a VM that identifies itself by a number drawn at random. Creates the lease if
    /// it does not exist.
    pub fn new(name: &str, random: u64, vm: &impl Vm) -> Self {
        let key = format!("pinroute lease {name}");
        if vm.shared(&key).is_none() {
            FREE.write(&key, None, vm);
        }
        // 0 is nobody.
        let own_id = random | 1;
        Self { key, own_id, held_until: Time::default(), next_look: Time::default(), seen: None }
    }

    /// Takes or renews the lease if that is due. Returns whether this VM holds it.
    pub fn hold(&mut self, now: Time, vm: &impl Vm) -> bool {
        if now >= self.next_look {
            self.look(now, vm);
        }
        now < self.held_until
    }

    fn look(&mut self, now: Time, vm: &impl Vm) {
        self.next_look = now + LOOK_AGAIN;
        let Some((record, cas)) = Record::read(&self.key, vm) else {
            FREE.write(&self.key, None, vm);
            return;
        };
        if record.holder != self.own_id && record.holder != FREE.holder {
            self.held_until = Time::default();
            let since = match self.seen {
                Some((seen, since)) if seen == record => since,
                _ => now,
            };
            self.seen = Some((record, since));
            if now < since + DURATION {
                return;
            }
        }
        let renewed = Record { holder: self.own_id, count: record.count.wrapping_add(1) };
        let taken = renewed.write(&self.key, cas, vm);
        self.held_until = if taken { now + DURATION } else { Time::default() };
    }

    /// Whether the shared data still names this VM. A VM that was stalled may have lost the lease without notice.
    pub fn is_own(&self, vm: &impl Vm) -> bool {
        Record::read(&self.key, vm).is_some_and(|(record, _)| record.holder == self.own_id)
    }

    /// Lets other VMs have it at once.
    pub fn give_up(&mut self, vm: &impl Vm) {
        if let Some((record, cas)) = Record::read(&self.key, vm)
            && record.holder == self.own_id
        {
            Record { count: record.count.wrapping_add(1), ..FREE }.write(&self.key, cas, vm);
        }
        self.held_until = Time::default();
    }
}

impl Record {
    fn read(key: &str, vm: &impl Vm) -> Option<(Self, Option<u32>)> {
        let (bytes, cas) = vm.shared(key)?;
        let (holder, count) = bytes.split_first_chunk()?;
        let record =
            Self { holder: u64::from_le_bytes(*holder), count: u64::from_le_bytes(count.try_into().ok()?) };
        Some((record, cas))
    }

    fn write(self, key: &str, cas: Option<u32>, vm: &impl Vm) -> bool {
        vm.set_shared(key, &[self.holder.to_le_bytes(), self.count.to_le_bytes()].concat(), cas)
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

    fn two(process: &FakeProcess) -> [Lease; 2] {
        [1, 3].map(|id| Lease::new("x", id, process))
    }

    #[test]
    fn one_vm_holds_it_and_another_takes_over_when_it_is_not_renewed() {
        let process = FakeProcess::default();
        let [mut a, mut b] = two(&process);
        assert!(a.hold(at(0), &process));
        for millis in [10, 260, 510, 760, 1_010] {
            a.hold(at(millis), &process);
            assert!(!b.hold(at(millis), &process), "renewed at {millis}");
        }
        assert!(!b.hold(at(1_260), &process), "seen at 1010 for the first time");
        assert!(!b.hold(at(2_009), &process));
        assert!(b.hold(at(2_259), &process), "not renewed for a second");
        assert!(!a.hold(at(2_260), &process), "the former holder notices");
        assert!(b.is_own(&process) && !a.is_own(&process));
    }

    #[test]
    fn clocks_need_not_agree() {
        let process = FakeProcess::default();
        let [mut a, mut b] = two(&process);
        assert!(a.hold(at(3_600_000), &process));
        assert!(!b.hold(at(0), &process));
        assert!(a.hold(at(3_600_300), &process));
        assert!(!b.hold(at(900), &process), "renewed");
        assert!(!b.hold(at(1_899), &process));
        assert!(b.hold(at(2_149), &process), "seen without progress for a second");
    }

    #[test]
    fn a_holder_that_gives_up_lets_the_next_one_have_it_at_once() {
        let process = FakeProcess::default();
        let [mut a, mut b] = two(&process);
        assert!(a.hold(at(0), &process));
        b.give_up(&process);
        assert!(!b.hold(at(10), &process), "only the holder can give it up");
        a.give_up(&process);
        assert!(!a.is_own(&process));
        assert!(b.hold(at(260), &process));
    }

    #[test]
    fn leases_of_other_names_do_not_matter() {
        let process = FakeProcess::default();
        let (mut a, mut b) = (Lease::new("x", 1, &process), Lease::new("y", 3, &process));
        assert!(a.hold(at(0), &process) && b.hold(at(0), &process));
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
        let rival = [7_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat();
        let race = Race(&process, RefCell::new(rival));
        assert!(!a.hold(at(0), &race), "the other VM wrote first");
        assert!(!a.hold(at(260), &race));
    }
}
