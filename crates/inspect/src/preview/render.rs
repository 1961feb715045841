//! Who moves, as text within 80 columns.

use std::fmt;

use super::{Moved, Overlap, Report};
use crate::text::{bar, cut, entry, grouped, percent, printable};

/// For people, within 80 columns.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:15}{:24}to", "", "from")?;
        let range = |range: Option<[u32; 2]>| match range {
            None => "-".to_owned(),
            Some([least, most]) if least == most => grouped(least.into()),
            Some([least, most]) => format!("{} to {}", grouped(least.into()), grouped(most.into())),
        };
        let Self { from, to, .. } = self;
        writeln!(f, "{:15}{:24}{}", "strategy", from.strategy, to.strategy)?;
        writeln!(f, "{:15}{:24}{}", "total hosts", range(from.total_hosts), range(to.total_hosts))?;
        writeln!(f, "{:15}{:24}{}", "shard size", range(from.shard_size), range(to.shard_size))?;
        writeln!(f)?;
        writeln!(f, "{:15}{}", "keys", grouped(self.keys))?;
        if self.refused > 0 {
            let refused = grouped(self.refused);
            writeln!(f, "{:15}skipped {refused} lines that are no key or not routed", "")?;
        }
        write!(f, "{:15}{} ({})", "moved", grouped(self.moved), percent(self.moved_share))?;
        match (self.expected, self.expected_share) {
            (Some(expected), Some(share)) => {
                writeln!(f, ", expected {} ({})", grouped(expected.round() as u64), percent(share))?;
            }
            _ => writeln!(f, ", no formula for what to expect")?,
        }
        writeln!(f, "\nHosts that a key keeps")?;
        for (hosts, keys) in &self.kept {
            let share = *keys as f64 / self.keys as f64;
            writeln!(f, "{hosts:>6}  {:>12}  {:>9}  {}", grouped(*keys), percent(share), bar(share))?;
        }
        let Overlap { sample, before, after } = &self.overlap;
        writeln!(f, "\nHosts that two keys share, in pairs of {} keys", grouped(*sample as u64))?;
        for (label, shares) in [("before", before), ("after", after)] {
            for (shared, share) in shares {
                writeln!(f, "{shared:>6}  {label:>12}  {:>9}  {}", percent(*share), bar(*share))?;
            }
        }
        if !self.examples.is_empty() {
            writeln!(f, "\nThe first keys that move")?;
            for Moved { key, from, to } in &self.examples {
                let hosts = format!("{} -> {}", from.join(", "), to.join(", "));
                let key = cut(&printable(key), 12);
                entry(f, &format!("  {key:12} "), &hosts)?;
            }
            let more = self.moved.saturating_sub(self.examples.len() as u64);
            if more > 0 {
                writeln!(f, "  … and {} more", grouped(more))?;
            }
        }
        for warning in from.warnings.iter().chain(&to.warnings) {
            entry(f, "warning", warning)?;
        }
        Ok(())
    }
}
