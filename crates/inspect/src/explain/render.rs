//! The answer as text, within 80 columns.

use std::fmt;

use serde_json::Value;

use super::{CallReport, Number, Report};
use crate::overlap::Sharing;
use crate::text::{entry, grouped, more, percent};

/// How many allowed targets are shown.
const SHOWN: usize = 5;

/// For people, within 80 columns.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = match &self.key {
            Value::Object(parts) => {
                let part = |(name, value): (&String, &Value)| {
                    format!("{name}={}", value.as_str().unwrap_or_default())
                };
                parts.iter().map(part).collect::<Vec<_>>().join(" ")
            }
            Value::String(key) => key.clone(),
            _ => "none".to_owned(),
        };
        entry(f, "key", &key)?;
        let algorithm = self.algorithm.map(|algorithm| format!(", {algorithm}")).unwrap_or_default();
        entry(f, "strategy", &format!("{}{algorithm}", self.strategy))?;
        let is_index = self.strategy == "index";
        let numbers = [
            ("total hosts", self.total_hosts, if is_index { "replicas" } else { "total_hosts" }),
            ("shard size", self.shard_size, "default_shard_size"),
        ];
        for (label, number, runtime) in numbers {
            if let Some(number) = number {
                entry(f, label, &format!("{} from {}", number.value, self.source(number, runtime)))?;
            }
        }
        if let Some(shard) = &self.shard {
            entry(f, "shard", &shard.join(", "))?;
        }
        if let Some(host) = &self.outcome.host {
            let picked = self.picked.as_ref().map(|picked| format!(", {picked}")).unwrap_or_default();
            entry(f, "host", &format!("{host}{picked}"))?;
        }
        match &self.call {
            None => entry(f, "goes to", &self.outcome.to_string())?,
            Some(CallReport { cluster, method, path, body, headers, timeout_seconds, cache, .. }) => {
                entry(f, "call", &format!("{method} {path} to the cluster {cluster}"))?;
                if !headers.is_empty() {
                    entry(f, "  headers", &headers.join(", "))?;
                }
                if let Some(body) = body {
                    entry(f, "  body", body)?;
                }
                entry(f, "  timeout", &format!("{timeout_seconds}s"))?;
                if let Some(cache) = cache {
                    entry(f, "  cache", &cache.to_string())?;
                }
                entry(f, "goes to", &self.outcome.to_string())?;
            }
        }
        if let Some(allowed) = &self.allowed_targets {
            let shown = allowed.get(..SHOWN).unwrap_or(allowed);
            entry(f, "only to", &more(shown, allowed.len() as u64))?;
        }
        for (label, outcome) in [("if not found", &self.on_not_found), ("if it fails", &self.on_error)] {
            if let Some(outcome) = outcome {
                entry(f, label, &outcome.to_string())?;
            }
        }
        if let Some(sharing) = &self.sharing {
            write!(f, "\n{sharing}")?;
        }
        for warning in &self.warnings {
            entry(f, "warning", warning)?;
        }
        Ok(())
    }
}

impl Report {
    /// The source of a number, and its name there.
    fn source(&self, number: Number, runtime: &str) -> String {
        let Some(prefix) = self.prefix.as_ref().filter(|_| number.is_runtime) else {
            return number.source.to_owned();
        };
        match (number.source, self.key.as_str()) {
            ("runtime_key", Some(key)) => {
                format!("runtime, for this key: {prefix}.customer.{key}.shard_size")
            }
            _ => format!("runtime: {prefix}.{runtime}"),
        }
    }
}

/// A table of how much is shared.
impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, all, part, none, refused, is_shard } = self;
        writeln!(f, "Of {} other keys", grouped(*keys))?;
        let [same, overlapping, disjoint] = if *is_shard {
            [Some("same shard"), Some("overlapping"), Some("disjoint")]
        } else {
            [Some("same host"), None, Some("other host")]
        };
        for (label, group) in [(same, all), (overlapping, part), (disjoint, none)] {
            let Some(label) = label else { continue };
            let share = group.keys as f64 / (*keys).max(1) as f64;
            let expected =
                group.expected.map(|expected| format!(", expected {expected:.1}")).unwrap_or_default();
            let line = format!("{} ({}{expected})", grouped(group.keys), percent(share));
            entry(f, &format!("  {label}"), &line)?;
        }
        for (label, group) in [(same, all), (overlapping, part)] {
            if let Some(label) = label.filter(|_| !group.first.is_empty()) {
                entry(f, &format!("{label}:"), &more(&group.first, group.keys))?;
            }
        }
        if *refused > 0 {
            entry(f, "", &format!("skipped {} lines that are no key or not routed", grouped(*refused)))?;
        }
        Ok(())
    }
}
