//! What the live values may ask of the VM they run in.

/// The VM of a Wasm module, one of several in an Envoy process, or whatever takes its place.
pub trait Vm {
    /// The identity of this Envoy.
    fn node(&self) -> Node;

    /// A value of the data that all VMs of the process share, with the number that [`Self::set_shared`] needs to
    /// replace exactly this value.
    fn shared(&self, key: &str) -> Option<(Vec<u8>, Option<u32>)>;

    /// Sets a value of the shared data. With `cas`, only if the value is still the one that came with that
    /// number. Returns whether the value was set. Envoy does not check `cas` for a key that has no value.
    fn set_shared(&self, key: &str, value: &[u8], cas: Option<u32>) -> bool;
}

/// Identifies an Envoy to a control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// `node.id`
    pub id: String,
    /// `node.cluster`
    pub cluster: String,
}

#[cfg(test)]
pub mod fake {
    //! The shared data of a process, for tests.

    use super::*;
    use std::cell::RefCell;
    use std::collections::HashMap;

    /// Several VMs that share data: each test VM is a reference to the same value.
    #[derive(Debug, Default)]
    pub struct FakeProcess(RefCell<HashMap<String, (Vec<u8>, u32)>>);

    impl Vm for FakeProcess {
        fn node(&self) -> Node {
            Node { id: "node".to_owned(), cluster: "cluster".to_owned() }
        }

        fn shared(&self, key: &str) -> Option<(Vec<u8>, Option<u32>)> {
            self.0.borrow().get(key).map(|(value, cas)| (value.clone(), Some(*cas)))
        }

        fn set_shared(&self, key: &str, value: &[u8], cas: Option<u32>) -> bool {
            let mut data = self.0.borrow_mut();
            let current = data.get(key).map_or(0, |(_, current)| *current);
            if current != 0 && cas.is_some_and(|cas| cas != current) {
                return false;
            }
            data.insert(key.to_owned(), (value.to_vec(), current + 1));
            true
        }
    }
}
