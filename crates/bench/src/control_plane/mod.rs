//! What the control plane costs: from a change to its effect in an Envoy, one change to many Envoys, and one change of a large
//! runtime layer.

mod effect;
mod fleet;
mod layer;

use anyhow::Result;
use pinroute_report::table;
use pinroute_testkit::control_plane::ControlPlane;

use crate::machine::{Machine, resident, used};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Changes whose effect is timed.
    pub changes: usize,
    /// Simulated Envoys.
    pub envoys: usize,
    /// Customers with a shard size of their own.
    pub overrides: usize,
    /// Changes of the layer with all of them.
    pub layer_changes: usize,
}

impl Size {
    /// The size that the documentation has figures of.
    pub fn full() -> Self {
        Self { changes: 100, envoys: 1_000, overrides: 100_000, layer_changes: 20 }
    }

    /// For a test: whether it works at all.
    pub fn smoke() -> Self {
        Self { changes: 3, envoys: 10, overrides: 1_000, layer_changes: 2 }
    }
}

/// A line of the result.
type Row = (String, String);

/// Measures everything, and returns it as a table in Markdown.
pub fn measure(size: Size, progress: &dyn Fn(&str)) -> Result<String> {
    progress(&format!("{} changes, each until an Envoy shows it", size.changes));
    let mut rows = effect::measure(size.changes)?;
    progress(&format!("one change to {} simulated Envoys", size.envoys));
    rows.extend(fleet::measure(size.envoys)?);
    progress(&format!("a runtime layer with {} customers", size.overrides));
    rows.extend(layer::measure(size.overrides, size.layer_changes)?);
    let Machine { processor, processors, kernel } = Machine::this();
    let header = ["control plane", "figure"];
    let rows = rows.into_iter().map(|(name, figure)| vec![name, figure]);
    Ok(format!("{}\n{processors} × {processor}, Linux {kernel}\n", table(&header, rows)))
}

/// What a process has used.
#[derive(Clone, Copy, Debug)]
struct Usage {
    cpu_ms: f64,
    mib: f64,
}

impl Usage {
    fn of(process: u32) -> Result<Self> {
        Ok(Self {
            cpu_ms: used(process)?.as_secs_f64() * 1e3,
            mib: resident(process)? as f64 / f64::from(1 << 20),
        })
    }

    /// The processor time since an earlier reading, for one of `count` changes.
    fn since(self, before: Self, count: usize) -> f64 {
        (self.cpu_ms - before.cpu_ms) / count.max(1) as f64
    }
}

fn usage(plane: &ControlPlane) -> Result<Usage> {
    Usage::of(plane.process().pid())
}

/// Median, 90th percentile and maximum of times in ms.
fn spread(times: &[f64]) -> String {
    let at = |share: f64| crate::figure::quantile_of(times, share);
    format!("median {:.1} ms, 90 % within {:.1} ms, maximum {:.1} ms", at(0.5), at(0.9), at(1.0))
}
