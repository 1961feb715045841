//! Who in the process may talk to a server: the VM that holds the lease.
//!
//! The lease is shared data with a time in it, because what a VM wrote outlives its trap. It is taken and
//! renewed by compare-and-set. Envoy does not check a compare-and-set on a key that is not there, so a lease
//! is put there first, expired, when a configuration is read: before any worker has a VM of its own.

use crate::shared;
use pinroute_core::random;

/// How long a lease lasts unless it is renewed, in milliseconds: how long values may stand still when the VM
/// that held it traps.
const LASTS: u64 = 1000;

/// How long before it is renewed.
const RENEW_AFTER: u64 = 250;

/// A lease as one VM sees it.
pub struct Lease {
    key: String,
    own_id: u64,
    held_until: u64,
    look_again: u64,
}

/// What the shared data says.
struct Record {
    holder: u64,
    until: u64,
}

impl Lease {
    /// The lease called `id`. Puts it there if it is not yet.
    pub fn new(id: &str) -> Self {
        let key = format!("pinroute lease {id}");
        if shared::read(&key).is_none() {
            Record { holder: 0, until: 0 }.write(&key, None);
        }
        // Never 0: that is nobody.
        let own_id = random::number() | 1;
        Self { key, own_id, held_until: 0, look_again: 0 }
    }

    /// Takes or renews the lease if that is due. Whether it is held now. Times are in milliseconds.
    pub fn hold(&mut self, now: u64) -> bool {
        if now >= self.look_again {
            self.look(now);
        }
        now < self.held_until
    }

    fn look(&mut self, now: u64) {
        let Some((record, cas)) = Record::read(&self.key) else {
            Record { holder: 0, until: 0 }.write(&self.key, None);
            return;
        };
        // A clock that was set back must not leave a lease in force for ever.
        let in_force = now < record.until && record.until <= now + LASTS;
        if record.holder != self.own_id && in_force {
            (self.held_until, self.look_again) = (0, record.until);
            return;
        }
        let until = now + LASTS;
        if (Record { holder: self.own_id, until }).write(&self.key, cas) {
            (self.held_until, self.look_again) = (until, now + RENEW_AFTER);
        } else {
            // Somebody else was faster.
            (self.held_until, self.look_again) = (0, now + RENEW_AFTER);
        }
    }

    /// Lets others have it at once.
    pub fn give_up(&mut self) {
        if let Some((Record { holder, .. }, cas)) = Record::read(&self.key) {
            if holder == self.own_id {
                Record { holder: 0, until: 0 }.write(&self.key, cas);
            }
        }
        self.held_until = 0;
    }
}

impl Record {
    fn read(key: &str) -> Option<(Self, Option<u32>)> {
        let (bytes, cas) = shared::read(key)?;
        let (holder, until) = bytes.split_first_chunk()?;
        let record =
            Self { holder: u64::from_le_bytes(*holder), until: u64::from_le_bytes(until.try_into().ok()?) };
        Some((record, cas))
    }

    fn write(&self, key: &str, cas: Option<u32>) -> bool {
        let bytes = [self.holder.to_le_bytes(), self.until.to_le_bytes()].concat();
        shared::write_if(key, &bytes, cas)
    }
}
